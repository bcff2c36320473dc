/* A database of notes, for the tests of this folder. */
#ifndef WEFT_TESTS_SQLITE_NOTES_H
#define WEFT_TESTS_SQLITE_NOTES_H

#include <weft/sqlite.h>

#include "support/temp_dir.h"

enum {
    FIND,
    ADD,
    COUNT,
    BROKEN,
    STATEMENT_COUNT
};

static const char *const statements[STATEMENT_COUNT] = {
    [FIND] = "SELECT text FROM notes WHERE id = ?1",
    [ADD] = "INSERT INTO notes (id, text) VALUES (?1, ?2)",
    [COUNT] = "SELECT count(*) FROM notes",
    [BROKEN] = "SELECT text FROM nowhere",
};

static const weft_sqlite_migration migrations[] = {
    {"0001_notes.sql", "CREATE TABLE notes (id TEXT NOT NULL PRIMARY KEY, text TEXT) STRICT"},
};

static char path[TEMP_PATH_BYTES];

static inline weft_sqlite_options notes_options(void)
{
    weft_sqlite_options options = WEFT_SQLITE_OPTIONS_INIT;
    options.path = temp_path("notes.db", path);
    options.readers = 2;
    options.migrations = migrations;
    options.migration_count = 1;
    options.statements = statements;
    options.statement_count = STATEMENT_COUNT;
    return options;
}

/* Adds a note in a transaction of its own, which ends with `rc` if all goes well. */
static inline int add_note(weft_sqlite *database, const char *id, const char *text, int rc)
{
    weft_sqlite_tx *tx;
    int begun = weft_sqlite_write(database, &tx);
    if (begun < 0)
        return begun;
    sqlite3_stmt *add = weft_sqlite_statement(tx, ADD);
    weft_sqlite_bind_text(add, 1, id);
    weft_sqlite_bind_text(add, 2, text);
    int added = weft_sqlite_step(tx, add);
    return weft_sqlite_end(tx, added < 0 ? added : rc);
}

static inline int64_t count_notes(weft_sqlite_tx *tx)
{
    sqlite3_stmt *count = weft_sqlite_statement(tx, COUNT);
    return weft_sqlite_step(tx, count) == 1 ? sqlite3_column_int64(count, 0) : -1;
}

#endif
