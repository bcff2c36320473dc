/* weft/log.h: structured log, as JSON or text. A log call formats into a bounded queue and returns; one thread writes.
 * When the queue is full the line is dropped and counted: logging never blocks a call.
 *
 *     weft_log_info(log, "listening", WEFT_FIELDS(WEFT_STR("address", address), WEFT_INT("port", port)));
 *
 *     {"time":"2026-01-02T03:04:05.678901234Z","level":"info","msg":"listening","address":"127.0.0.1","port":50051}
 *     2026-01-02T03:04:05.678Z info  listening address=127.0.0.1 port=50051
 */
#ifndef WEFT_LOG_H
#define WEFT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/sv.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_log weft_log;

typedef enum weft_log_level {
    WEFT_LOG_DEBUG = 1,
    WEFT_LOG_INFO = 2,
    WEFT_LOG_WARN = 3,
    WEFT_LOG_ERROR = 4,
    WEFT_LOG_OFF = 5
} weft_log_level;

typedef enum weft_log_format {
    WEFT_LOG_JSON = 0,
    WEFT_LOG_TEXT = 1
} weft_log_format;

/* One key and its value. Make it with the macros below. */
typedef struct weft_log_field {
    const char *key;
    int kind; /* 's' text, 'i' signed, 'u' unsigned, 'f' floating, 'b' bool */
    union {
        weft_sv text;
        int64_t i;
        uint64_t u;
        double f;
        bool b;
    } value;
} weft_log_field;

static inline weft_log_field weft_log_text(const char *key, weft_sv value)
{
    weft_log_field field;
    field.key = key;
    field.kind = 's';
    field.value.text = value;
    return field;
}
static inline weft_log_field weft_log_int(const char *key, int64_t value)
{
    weft_log_field field;
    field.key = key;
    field.kind = 'i';
    field.value.i = value;
    return field;
}
static inline weft_log_field weft_log_double(const char *key, double value)
{
    weft_log_field field;
    field.key = key;
    field.kind = 'f';
    field.value.f = value;
    return field;
}
static inline weft_log_field weft_log_bool(const char *key, bool value)
{
    weft_log_field field;
    field.key = key;
    field.kind = 'b';
    field.value.b = value;
    return field;
}

#define WEFT_STR(key, text)     weft_log_text((key), weft_sv_from(text))
#define WEFT_SVF(key, view)     weft_log_text((key), (view))
#define WEFT_INT(key, number)   weft_log_int((key), (int64_t)(number))
#define WEFT_DOUBLE(key, value) weft_log_double((key), (value))
#define WEFT_BOOL(key, value)   weft_log_bool((key), (value))

typedef struct weft_log_options {
    size_t struct_size;       /* set by WEFT_LOG_OPTIONS_INIT */
    int fd;                   /* optional; where lines go; not closed. Default (0): standard error */
    weft_log_level level;     /* optional. Default: WEFT_LOG_INFO */
    weft_log_format format;   /* optional. Default: JSON */
    int64_t max_queued_bytes; /* optional; lines that wait to be written; 1 GiB at most. Default: 1 MiB */
    int64_t max_line_bytes;   /* optional; longer lines are cut and say so; 256 at least. Default: 8 KiB */
} weft_log_options;
#define WEFT_LOG_OPTIONS_INIT WEFT__INIT(weft_log_options)

/**
 * Makes a log and starts its thread.
 *
 * @param options may be NULL: all defaults.
 * @return 0; -EINVAL an option out of range, a line limit over the queue's, or struct_size 0; -E2BIG an option that
 *         this library does not know; -ENOMEM; -EAGAIN no thread could be started. Thread: setup.
 */
WEFT_API int weft_log_new(weft_log **out, const weft_log_options *options);

/**
 * Writes what is queued, says how many lines were dropped, and frees. NULL is fine.
 *
 * Thread: one, when no other uses the log any more. Blocks while the descriptor takes nothing, 2 s at most; what is
 * then left is lost.
 */
WEFT_API void weft_log_free(weft_log *log);

/* Whether a line of this level would be kept: guard costly fields with it. False for a NULL log. Thread: any. */
WEFT_API bool weft_log_enabled(const weft_log *log, weft_log_level level);

/* Changes the level of a running log. Thread: any. */
WEFT_API void weft_log_set_level(weft_log *log, weft_log_level level);

/**
 * Queues one line, or drops and counts it when the queue is full. Does nothing for a NULL log or a level below the
 * log's. Control characters are escaped; each byte that is not UTF-8 becomes U+FFFD.
 *
 * @param message what happened, the same words every time; what varies goes into fields.
 * @param fields  `count` of them, read before this returns; keys are trusted, values are not.
 *
 * Thread: any; never blocks on I/O. Allocates only for lines over 1 KiB.
 */
WEFT_API void weft_log_write(weft_log *log, weft_log_level level, const char *message, const weft_log_field *fields,
                             size_t count);

/* Lines dropped so far, because the queue was full or they could not be written. Thread: any. */
WEFT_API uint64_t weft_log_dropped(const weft_log *log);

/* The fields of a line, each evaluated once: weft_log_info(log, "stopped", WEFT_FIELDS(WEFT_INT("calls", n))). */
#define WEFT_FIELDS(...)                                                                                               \
    (const weft_log_field[]){__VA_ARGS__}, sizeof((const weft_log_field[]){__VA_ARGS__}) / sizeof(weft_log_field)
#define WEFT_NO_FIELDS NULL, 0

static inline void weft_log_debug(weft_log *log, const char *message, const weft_log_field *fields, size_t count)
{
    weft_log_write(log, WEFT_LOG_DEBUG, message, fields, count);
}
static inline void weft_log_info(weft_log *log, const char *message, const weft_log_field *fields, size_t count)
{
    weft_log_write(log, WEFT_LOG_INFO, message, fields, count);
}
static inline void weft_log_warn(weft_log *log, const char *message, const weft_log_field *fields, size_t count)
{
    weft_log_write(log, WEFT_LOG_WARN, message, fields, count);
}
static inline void weft_log_error(weft_log *log, const char *message, const weft_log_field *fields, size_t count)
{
    weft_log_write(log, WEFT_LOG_ERROR, message, fields, count);
}

WEFT_END_DECLS
#endif
