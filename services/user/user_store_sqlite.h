/* user_store_sqlite.h: users in one SQLite file. */
#ifndef USER_USER_STORE_SQLITE_H
#define USER_USER_STORE_SQLITE_H

#include <stddef.h>

#include <weft/sqlite.h>

#include "user_store.h"

/**
 * Opens a database and brings its schema up to date.
 *
 * @param options migrations and statements are the store's own.
 * @param error   gets what went wrong, for the operator.
 * @return as weft_sqlite_open.
 */
int user_store_sqlite_open(struct user_store **out, const weft_sqlite_options *options, char *error, size_t error_size);

#endif
