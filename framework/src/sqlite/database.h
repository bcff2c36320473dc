/* sqlite/database.h: a database, as the files of this folder share it. */
#ifndef WEFT_SRC_SQLITE_DATABASE_H
#define WEFT_SRC_SQLITE_DATABASE_H

#include <pthread.h>
#include <stdint.h>

#include <weft/sqlite.h>

/* Connections that nobody uses. */
typedef struct weft__sqlite_pool {
    pthread_mutex_t lock;
    pthread_cond_t returned;
    weft_sqlite_tx *idle;
    bool locked; /* who waited last for another process's lock waited in vain */
} weft__sqlite_pool;

struct weft_sqlite {
    weft_sqlite_options options; /* normalized; `path` is a copy */
    weft__sqlite_pool writer;    /* of one */
    weft__sqlite_pool readers;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t told;  /* waited on by watches, with the monotonic clock */
    uint64_t commits;
};

/* ---- error.c ---- */

/* Why the last operation on a connection failed; always negative. */
int weft__sqlite_errno(sqlite3 *db);

/* The same, and says what failed. */
int weft__sqlite_describe(sqlite3 *db, const char *what, char *error, size_t error_size);

/* ---- database.c ---- */

/* Opens a connection to the database's file and runs `pragmas`. 0; or -errno, with `error` said. */
int weft__sqlite_connect(const weft_sqlite_options *options, const char *pragmas, sqlite3 **out, char *error,
                         size_t error_size);

/* A condition that waits on the monotonic clock. 0; -errno. */
int weft__sqlite_cond_init(pthread_cond_t *cond);

int64_t weft__sqlite_now_ms(void);
struct timespec weft__sqlite_time(int64_t ms);

/* ---- schema.c ---- */

/* The number in the first row, or `fallback` when there is no row. */
int weft__sqlite_number(sqlite3 *db, const char *sql, int64_t fallback, int64_t *out);

/* Brings the schema up to date. 0; -ENOTSUP; or another -errno, with `error` said. */
int weft__sqlite_migrate(sqlite3 *db, const weft_sqlite_options *options, char *error, size_t error_size);

#endif
