/* sample_store_sqlite.h: the store on SQLite. */
#ifndef SAMPLE_SAMPLE_STORE_SQLITE_H
#define SAMPLE_SAMPLE_STORE_SQLITE_H

#include <weft/sqlite.h>

#include "sample_store.h"

/**
 * Opens a database and brings its schema up to date.
 *
 * @param out     freed by sample_store_destroy().
 * @param options of weft/sqlite.h; migrations and statements are the store's own.
 * @param error   gets what went wrong, for the log.
 * @return 0; -ENOMEM; or as weft_sqlite_open.
 */
int sample_store_sqlite_open(struct sample_store **out, const weft_sqlite_options *options, char *error,
                             size_t error_size);

#endif
