/* user_store_sqlite.h: users in one SQLite file. */
#ifndef USER_USER_STORE_SQLITE_H
#define USER_USER_STORE_SQLITE_H

#include <stddef.h>
#include <stdint.h>

#include "user_store.h"

struct user_store_sqlite_options {
    const char *path;        /* required; made, for its owner alone, if it is missing */
    int readers;             /* connections that read at the same time; 1 at least */
    int64_t busy_timeout_ms; /* how long a call waits for a connection and for locks, in all */
    int64_t max_bytes;       /* what the database may grow to; 0: whatever the disk has */
};

/**
 * Opens a database and brings its schema up to date.
 *
 * @param error gets what went wrong, for the operator.
 * @return 0; -ENOTSUP the schema is newer than this program; or as in user_store.h.
 */
int user_store_sqlite_open(struct user_store **out, const struct user_store_sqlite_options *options, char *error,
                           size_t error_size);

#endif
