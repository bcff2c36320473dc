/* weft/config.h: what a program may be told, in one table, and where it was told so.
 *
 * A program states its keys once; their values come in layers, of which the later wins: the table's default, a file
 * (YAML or JSON), the environment, the command line.
 *
 *     static const weft_config_key keys[] = {
 *         {.name = "database.path", .type = WEFT_CONFIG_STRING, .fallback = "user.db", .doc = "Where the users are"},
 *         {.name = "server.drain", .type = WEFT_CONFIG_DURATION, .fallback = "10s", .doc = "What running calls get"},
 *     };
 *     char errors[4096];
 *     weft_config_options options = WEFT_CONFIG_OPTIONS_INIT;
 *     options.keys = keys;
 *     options.key_count = sizeof keys / sizeof keys[0];
 *     options.env_prefix = "USER";
 *     options.errors = errors;
 *     options.errors_size = sizeof errors;
 *     rc = weft_config_new(&config, &options);
 *     rc = weft_config_read_file(config, "user.yaml");
 *     rc = weft_config_read_environment(config);
 *     rc = weft_config_set(config, "--set", "database.path", "/var/lib/user.db");
 *     if (weft_config_check(config) < 0)
 *         fputs(errors, stderr);      // user.yaml:3: unknown key "databse.path"; did you mean "database.path"?
 *
 * How values are written, in every layer:
 *
 *     STRING    text. In a file, text that YAML reads as a number, a truth value or null needs quotes
 *     INT       decimal digits, '-' before them or not
 *     BOOL      true or false
 *     DURATION  digits and one of ms s m h d, several of them largest first: 250ms, 1h30m; or 0
 *     SIZE      digits, and KiB, MiB, GiB or TiB or nothing for bytes: 4MiB
 *     LIST      in a file a list of strings or one string; elsewhere strings between commas
 *
 * In a file `database: {path: x}` and `database.path: x` are the same. Anchors, aliases and tags are refused, as is a
 * file over WEFT_CONFIG_MAX_FILE_BYTES or nested deeper than WEFT_CONFIG_MAX_DEPTH.
 */
#ifndef WEFT_CONFIG_H
#define WEFT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/arena.h>
#include <weft/sv.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

#define WEFT_CONFIG_MAX_FILE_BYTES (1 << 20)
#define WEFT_CONFIG_MAX_DEPTH      16
#define WEFT_CONFIG_MAX_NAME       64

typedef struct weft_config weft_config;

typedef enum weft_config_type {
    WEFT_CONFIG_STRING = 1,
    WEFT_CONFIG_INT = 2,
    WEFT_CONFIG_BOOL = 3,
    WEFT_CONFIG_DURATION = 4,
    WEFT_CONFIG_SIZE = 5,
    WEFT_CONFIG_LIST = 6
} weft_config_type;

/* One key. Its strings outlive the configuration. */
typedef struct weft_config_key {
    const char
        *name; /* required; "database.path": words of a-z, 0-9 and '_', which begin with a letter, between dots */
    weft_config_type type; /* required */
    bool secret;           /* optional; true masks the value wherever it would be shown */
    bool reloadable;       /* optional; a program that reads its configuration again takes on a new value; others need
                              a restart (weft/program.h) */
    const char *fallback;  /* optional; the default, written as above. NULL: some layer must set the key */
    const char *unit;      /* optional; what an INT counts, for the reader: "threads" */
    const char *doc;       /* optional; one line for the reader */
    const char *choices;   /* optional; the only values of a STRING: "debug|info|warn" */
    int64_t min; /* optional; with max, the range of an INT, a DURATION (milliseconds) or a SIZE (bytes). Both 0: any */
    int64_t max;
    const void *reserved[2]; /* NULL */
} weft_config_key;

typedef struct weft_config_options {
    size_t struct_size;          /* set by WEFT_CONFIG_OPTIONS_INIT */
    const weft_config_key *keys; /* required; key_count of them, which outlive the configuration */
    size_t key_count;
    const char *env_prefix; /* optional; "USER" makes database.path USER_DATABASE_PATH. NULL: no environment. Copied */
    char *errors;           /* optional; gets one line a mistake, NUL-terminated; outlives the configuration */
    size_t errors_size;     /* of `errors`. What does not fit is cut, and counted by weft_config_error_count */
} weft_config_options;
#define WEFT_CONFIG_OPTIONS_INIT WEFT__INIT(weft_config_options)

/**
 * Makes a configuration that holds the defaults.
 *
 * @return 0; -EINVAL options or table are wrong (`errors` says where: a name, a default, two keys with one environment
 *         variable); -ENOMEM. Thread: setup, as all that follows; a configuration that is no longer changed may be read
 *         from any thread.
 */
WEFT_API int weft_config_new(weft_config **out, const weft_config_options *options);

/* Frees it and every value it gave out. NULL is fine. */
WEFT_API void weft_config_free(weft_config *config);

/**
 * Reads a file. Every mistake in it is reported with its line; what is right is taken.
 *
 * @return 0; -EINVAL mistakes were reported; -EFBIG; -ENOMEM; or the -errno of open or read. All are reported.
 */
WEFT_API int weft_config_read_file(weft_config *config, const char *path);

/* The same from memory; `name` stands for the file in messages. */
WEFT_API int weft_config_read_text(weft_config *config, const char *name, weft_sv text);

/**
 * Takes the environment variables that belong to keys. Others are not looked at, whatever they begin with: Kubernetes
 * sets USER_SERVICE_HOST for a service "user".
 *
 * @return 0; -EINVAL mistakes were reported; -ENOMEM.
 */
WEFT_API int weft_config_read_environment(weft_config *config);

/**
 * Sets a key from the command line; set again, the last counts.
 *
 * @param origin what to call it in messages: "--set".
 * @return 0; -EINVAL a mistake was reported; -ENOMEM.
 */
WEFT_API int weft_config_set(weft_config *config, const char *origin, const char *name, const char *value);

/**
 * Reports the keys that nothing has set. Call it last.
 *
 * @return 0; -EINVAL when anything was reported, now or before.
 */
WEFT_API int weft_config_check(weft_config *config);

/* How many mistakes have been reported, those that `errors` had no room for included. */
WEFT_API size_t weft_config_error_count(const weft_config *config);

/* The values, alive as long as the configuration. A name that is not in the table, or has another type, is a mistake in
 * the program; it gives NULL, 0 or false. */
WEFT_API const char *weft_config_string(const weft_config *config, const char *name);
WEFT_API int64_t weft_config_int(const weft_config *config, const char *name);
WEFT_API bool weft_config_bool(const weft_config *config, const char *name);
WEFT_API int64_t weft_config_duration_ms(const weft_config *config, const char *name);
WEFT_API int64_t weft_config_size_bytes(const weft_config *config, const char *name);

/* The entries of a LIST, `*count` of them. */
WEFT_API const char *const *weft_config_list(const weft_config *config, const char *name, size_t *count);

/* Where a value comes from: "default", "user.yaml:3", "environment USER_DATABASE_PATH", "--set"; NULL if it is unset.
 */
WEFT_API const char *weft_config_source(const weft_config *config, const char *name);

/**
 * Tells of each key whose value is another one in `now` than in `before`, two configurations of the same table. Where a
 * value comes from does not count.
 *
 * @param changed called from inside, in the order of the table.
 */
WEFT_API void weft_config_compare(const weft_config *before, const weft_config *now,
                                  void (*changed)(void *arg, const weft_config_key *key), void *arg);

/**
 * Writes every key with its value, its source and its documentation, secrets masked. The text is YAML that
 * weft_config_read_file takes.
 *
 * @return the text, in `arena`; NULL when that is full.
 */
WEFT_API char *weft_config_format(const weft_config *config, weft_arena *arena);

WEFT_END_DECLS
#endif
