/* A function of the store is one transaction of weft/sqlite.h, which commits it or leaves nothing behind. */
#include "sample_store_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "sample_migrations.h"

enum statement {
    COUNT
};

static const char *const statements[] = {
    [COUNT] = "INSERT INTO greetings (name, count) VALUES (?1, 1)"
              " ON CONFLICT (name) DO UPDATE SET count = count + 1 RETURNING count",
};

struct sqlite_store {
    struct sample_store base;
    weft_sqlite *database;
};

static weft_sqlite *database_of(struct sample_store *store)
{
    return ((struct sqlite_store *)store)->database;
}

static int store_count(struct sample_store *store, const char *name, int64_t *count)
{
    weft_sqlite_tx *tx;
    int64_t found = 0;
    int rc = weft_sqlite_write(database_of(store), &tx);
    if (rc < 0)
        return rc;
    sqlite3_stmt *statement = weft_sqlite_statement(tx, COUNT);
    weft_sqlite_bind_text(statement, 1, name);
    rc = weft_sqlite_step(tx, statement);
    if (rc == 1)
        found = sqlite3_column_int64(statement, 0);
    rc = weft_sqlite_end(tx, rc);
    if (rc < 0)
        return rc;
    *count = found;
    return 0;
}

static void store_destroy(struct sample_store *store)
{
    weft_sqlite_close(database_of(store));
    free(store);
}

static const struct sample_store_vtable sqlite_vtable = {
    .name = "sqlite",
    .count = store_count,
    .destroy = store_destroy,
};

int sample_store_sqlite_open(struct sample_store **out, const weft_sqlite_options *options, char *error,
                             size_t error_size)
{
    weft_sqlite_options sqlite = *options;
    sqlite.migrations = sample_migrations;
    sqlite.migration_count = sample_migration_count;
    sqlite.statements = statements;
    sqlite.statement_count = sizeof statements / sizeof statements[0];
    struct sqlite_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        snprintf(error, error_size, "out of memory");
        return -ENOMEM;
    }
    store->base.vtable = &sqlite_vtable;
    int rc = weft_sqlite_open(&store->database, &sqlite, error, error_size);
    if (rc < 0) {
        free(store);
        return rc;
    }
    *out = &store->base;
    return 0;
}
