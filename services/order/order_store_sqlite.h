/* order_store_sqlite.h: orders in one SQLite file. */
#ifndef ORDER_ORDER_STORE_SQLITE_H
#define ORDER_ORDER_STORE_SQLITE_H

#include <stddef.h>

#include <weft/sqlite.h>

#include "order_store.h"

/**
 * Opens a database and brings its schema up to date.
 *
 * @param options migrations and statements are the store's own.
 * @param error   gets what went wrong, for the operator.
 * @return as weft_sqlite_open.
 */
int order_store_sqlite_open(struct order_store **out, const weft_sqlite_options *options, char *error,
                            size_t error_size);

#endif
