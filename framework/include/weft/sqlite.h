/* weft/sqlite.h: a SQLite database as a service wants it (libweft-sqlite): one connection that writes while some read,
 * cached statements, migrations, errors as -errno, and word of changes. Values are bound and read by SQLite's own
 * functions; there is no second SQL here.
 *
 *     enum { FIND, ADD };
 *     static const char *const statements[] = {
 *         [FIND] = "SELECT text FROM notes WHERE id = ?1",
 *         [ADD] = "INSERT INTO notes (id, text) VALUES (?1, ?2)",
 *     };
 *
 *     weft_sqlite_tx *tx;
 *     int rc = weft_sqlite_read(database, &tx);
 *     if (rc < 0)
 *         return rc;
 *     sqlite3_stmt *find = weft_sqlite_statement(tx, FIND);
 *     weft_sqlite_bind_text(find, 1, id);
 *     rc = weft_sqlite_step(tx, find);                       // 1: a row, 0: none
 *     rc = rc == 1 ? weft_sqlite_text(find, 0, arena, &text) : rc == 0 ? -ENOENT : rc;
 *     return weft_sqlite_end(tx, rc);                        // always
 *
 * In SQLite's WAL mode readers see the state that they began with and wait for nobody. There is one writer at a time,
 * in all processes together.
 *
 * Functions return 0 or more, or
 *
 *     -EBUSY   locked by others for too long; may be tried again    -EEXIST  a UNIQUE constraint or primary key
 *     -ENOSPC  the disk, or max_bytes, is full                      -EROFS   the database cannot be written, or its
 *                                                                            file is not at its path any more
 *     -ENOMEM  out of memory, or the arena is full                  -EBADMSG the file is damaged, or no database
 *     -EIO     anything else
 */
#ifndef WEFT_SQLITE_H
#define WEFT_SQLITE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/arena.h>
#include <weft/config.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_sqlite weft_sqlite;
typedef struct weft_sqlite_tx weft_sqlite_tx; /* a transaction; belongs to one thread */
typedef struct weft_sqlite_watch weft_sqlite_watch;

/* One step of the schema; weft_migrations() of CMake makes these of SQL files. */
typedef struct weft_sqlite_migration {
    const char *name; /* "0001_users.sql" */
    const char *sql;
} weft_sqlite_migration;

/* Arrays and texts but `path` outlive the database. */
typedef struct weft_sqlite_options {
    size_t struct_size; /* set by WEFT_SQLITE_OPTIONS_INIT */
    const char *path;   /* required; a file, which is made, for its owner alone, if it is missing; not ":memory:", which
                           every connection has for itself */
    const weft_sqlite_migration *migrations; /* optional; migration_count of them; the n-th (from 1) takes a database of
                                                schema version n - 1 to n */
    size_t migration_count;
    const char *const *statements; /* required; statement_count of them: the SQL that transactions use, by number */
    size_t statement_count;
    int64_t readers;         /* optional; connections that read at the same time. Default: 4 */
    int64_t busy_timeout_ms; /* optional; how long a transaction waits for a connection and for locks, in all. While a
                                lock of another process lasts longer, only one waits. Default: 5,000 */
    int64_t max_bytes;       /* optional; what the database may grow to, without the log beside it. Default: whatever
                                the disk has */
    bool sync_commits; /* optional; a commit waits for the disk, so that a power cut costs none. Default: it may cost
                                the last ones, never the consistency; a killed process costs nothing */
} weft_sqlite_options;
#define WEFT_SQLITE_OPTIONS_INIT WEFT__INIT(weft_sqlite_options)

/**
 * Opens a database and brings its schema up to date, all of it or nothing.
 *
 * @param error on failure what went wrong, for the operator; NUL-terminated and cut to `error_size`.
 * @return 0; -EINVAL no path or statements, or an option out of range; -E2BIG an option that this library does not
 *         know; -ENOTSUP the schema is newer than the program, or another program's; -EACCES, -EISDIR, -ENOENT there is
 *         no folder, or what else open() says of the file; or as above. Thread: setup; blocks.
 */
WEFT_API int weft_sqlite_open(weft_sqlite **out, const weft_sqlite_options *options, char *error, size_t error_size);

/* The keys of a program's configuration that weft_sqlite_configure reads: entries of its table (weft/program.h).
 * `path_` and `sync_` are the defaults of database.path and database.sync: "users.db", "false". */
#define WEFT_SQLITE_KEYS(path_, sync_)                                                                                 \
    {.name = "database.path", .type = WEFT_CONFIG_STRING, .fallback = (path_), .doc = "The SQLite file"},              \
        {.name = "database.readers",                                                                                   \
         .type = WEFT_CONFIG_INT,                                                                                      \
         .fallback = "4",                                                                                              \
         .min = 1,                                                                                                     \
         .max = 64,                                                                                                    \
         .unit = "connections",                                                                                        \
         .doc = "What may read at the same time"},                                                                     \
        {.name = "database.busy_timeout",                                                                              \
         .type = WEFT_CONFIG_DURATION,                                                                                 \
         .fallback = "5s",                                                                                             \
         .min = 1,                                                                                                     \
         .max = 3600000,                                                                                               \
         .doc = "How long a call waits for a locked database"},                                                        \
        {.name = "database.max_size",                                                                                  \
         .type = WEFT_CONFIG_SIZE,                                                                                     \
         .fallback = "0",                                                                                              \
         .doc = "What the database may grow to; 0: whatever the disk has"},                                            \
    {                                                                                                                  \
        .name = "database.sync", .type = WEFT_CONFIG_BOOL, .fallback = (sync_),                                        \
        .doc = "Whether a change waits for the disk, so that a power cut loses none that was answered for"             \
    }

/* Sets path, readers, busy_timeout_ms, max_bytes and sync_commits from these keys. `config` outlives the options. */
WEFT_API void weft_sqlite_configure(weft_sqlite_options *options, const weft_config *config);

/* Closes a database that no thread uses any more; nothing watches it. NULL is fine. */
WEFT_API void weft_sqlite_close(weft_sqlite *database);

/* ---- transactions ------------------------------------------------------------------------------------------------ */

/* Begins a transaction that reads: all its statements see one state. End it with weft_sqlite_end. @return as above.
 * Thread: any; blocks until a reader is free. */
WEFT_API int weft_sqlite_read(weft_sqlite *database, weft_sqlite_tx **out);

/* Begins the one transaction that writes (BEGIN IMMEDIATE). As above. */
WEFT_API int weft_sqlite_write(weft_sqlite *database, weft_sqlite_tx **out);

/**
 * The statement with a number, ready to be bound: prepared once a connection, reset, without values.
 *
 * @return the statement, until weft_sqlite_end; NULL when it could not be prepared. Binding and weft_sqlite_step take
 *         that, and the latter returns why.
 */
WEFT_API sqlite3_stmt *weft_sqlite_statement(weft_sqlite_tx *tx, size_t number);

/* Runs it up to the next row. @return 1 a row; 0 no more; or as above. */
WEFT_API int weft_sqlite_step(weft_sqlite_tx *tx, sqlite3_stmt *statement);

/* The connection, for sqlite3_changes() and the like. */
WEFT_API sqlite3 *weft_sqlite_handle(weft_sqlite_tx *tx);

/**
 * Ends a transaction. What was written is committed if all went well, that is if `rc` is 0 or more, and undone if not.
 *
 * @return `rc`, or the error of the commit: then nothing was written.
 */
WEFT_API int weft_sqlite_end(weft_sqlite_tx *tx, int rc);

/* Binds a text, which must live until weft_sqlite_end; NULL is SQL's NULL. One that SQLite refuses (too large) stays
 * NULL. */
static inline void weft_sqlite_bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    (void)sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

/* Copies a text of the current row into an arena. NULL is SQL's NULL. @return 0; -ENOMEM. */
WEFT_API int weft_sqlite_text(sqlite3_stmt *statement, int column, weft_arena *arena, const char **out);

/* ---- changes ----------------------------------------------------------------------------------------------------- */

/**
 * Watches for changes: has `changed` called once at the beginning, then after a commit of this process at once, and
 * after one of another process within `poll_ms`. Of several commits it may hear once. What has changed it looks up by
 * itself, so what was there before the watch is no special case.
 *
 * @param poll_ms 1 at least.
 * @param changed on a thread of the watch's own, one call at a time; may block, and use the database. It returns 0;
 *                more when it has left something for another call, which follows at once; negative when it could not
 *                look, and is called again after `poll_ms` or the next commit.
 * @return 0; -EINVAL; -EAGAIN no thread; or as weft_sqlite_open. Thread: setup.
 */
WEFT_API int weft_sqlite_watch_start(weft_sqlite_watch **out, weft_sqlite *database, int64_t poll_ms,
                                     int (*changed)(void *arg), void *arg);

/* Ends a watch: `changed` is not called any more when this returns. Not from inside it. NULL is fine. */
WEFT_API void weft_sqlite_watch_stop(weft_sqlite_watch *watch);

WEFT_END_DECLS
#endif
