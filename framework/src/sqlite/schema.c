/* schema.c: migrations. The table schema_version has a row for each that was applied. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sqlite/database.h"

int weft__sqlite_number(sqlite3 *db, const char *sql, int64_t fallback, int64_t *out)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return weft__sqlite_errno(db);
    int code = sqlite3_step(statement);
    int64_t number = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : fallback;
    int rc = code == SQLITE_ROW || code == SQLITE_DONE ? 0 : weft__sqlite_errno(db);
    sqlite3_finalize(statement);
    if (rc == 0)
        *out = number;
    return rc;
}

/* 0 for an empty database. */
static int read_version(sqlite3 *db, int64_t *version)
{
    int64_t tables = 0;
    int rc = weft__sqlite_number(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_version'", 0, &tables);
    if (rc < 0)
        return rc;
    if (tables == 0) {
        *version = 0;
        return 0;
    }
    return weft__sqlite_number(db, "SELECT coalesce(max(version), 0) FROM schema_version", 0, version);
}

/* Whether a row of schema_version names the migration that this program has for its version. */
static bool is_ours(sqlite3_stmt *row, const weft_sqlite_options *options, char *error, size_t error_size)
{
    int64_t version = sqlite3_column_int64(row, 0);
    const char *name = (const char *)sqlite3_column_text(row, 1);
    if (version < 1 || version > (int64_t)options->migration_count || name == NULL)
        return true;
    const char *ours = options->migrations[version - 1].name;
    if (strcmp(name, ours) == 0)
        return true;
    snprintf(error, error_size,
             "the database is another program's: its schema version %" PRId64 " is %s, and %s here; name another file",
             version, name, ours);
    return false;
}

/* Versions alone do not tell the database of one program from that of another. */
static int check_names(sqlite3 *db, const weft_sqlite_options *options, char *error, size_t error_size)
{
    sqlite3_stmt *row;
    int code = sqlite3_prepare_v2(db, "SELECT version, name FROM schema_version ORDER BY version", -1, &row, NULL);
    if (code != SQLITE_OK)
        return weft__sqlite_describe(db, "schema_version", error, error_size);
    int rc = 0;
    while (rc == 0 && (code = sqlite3_step(row)) == SQLITE_ROW)
        if (!is_ours(row, options, error, error_size))
            rc = -ENOTSUP;
    if (rc == 0 && code != SQLITE_DONE)
        rc = weft__sqlite_describe(db, "schema_version", error, error_size);
    sqlite3_finalize(row);
    return rc;
}

static bool apply(sqlite3 *db, const weft_sqlite_migration *migration, size_t version)
{
    sqlite3_stmt *statement = NULL;
    bool done = sqlite3_exec(db, migration->sql, NULL, NULL, NULL) == SQLITE_OK &&
                sqlite3_prepare_v2(db, "INSERT INTO schema_version (version, name) VALUES (?1, ?2)", -1, &statement,
                                   NULL) == SQLITE_OK &&
                sqlite3_bind_int64(statement, 1, (sqlite3_int64)version) == SQLITE_OK &&
                sqlite3_bind_text(statement, 2, migration->name, -1, SQLITE_STATIC) == SQLITE_OK &&
                sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_finalize(statement);
    return done;
}

/* Applies what is missing. Holds the write lock, so that of two programs one does it. */
static int migrate_locked(sqlite3 *db, const weft_sqlite_options *options, char *error, size_t error_size)
{
    int64_t version = 0;
    int rc = read_version(db, &version);
    if (rc < 0)
        return weft__sqlite_describe(db, "schema_version", error, error_size);
    if (version > 0)
        rc = check_names(db, options, error, error_size);
    if (rc < 0)
        return rc;
    if (version > (int64_t)options->migration_count) {
        snprintf(error, error_size,
                 "the database has schema version %" PRId64 "; this program knows %zu: it is too old", version,
                 options->migration_count);
        return -ENOTSUP;
    }
    if (sqlite3_exec(db,
                     "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL PRIMARY KEY,"
                     " name TEXT NOT NULL) STRICT",
                     NULL, NULL, NULL) != SQLITE_OK)
        return weft__sqlite_describe(db, "schema_version", error, error_size);
    for (size_t i = (size_t)version; i < options->migration_count; i++)
        if (!apply(db, &options->migrations[i], i + 1))
            return weft__sqlite_describe(db, options->migrations[i].name, error, error_size);
    return 0;
}

int weft__sqlite_migrate(sqlite3 *db, const weft_sqlite_options *options, char *error, size_t error_size)
{
    int64_t version = 0;
    int rc = read_version(db, &version);
    if (rc == 0 && version == (int64_t)options->migration_count) /* nothing to write, as on a read-only disk */
        return version > 0 ? check_names(db, options, error, error_size) : 0;
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return weft__sqlite_describe(db, "BEGIN", error, error_size);
    rc = migrate_locked(db, options, error, error_size);
    if (rc == 0 && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        rc = weft__sqlite_describe(db, "COMMIT", error, error_size);
    if (rc < 0)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}
