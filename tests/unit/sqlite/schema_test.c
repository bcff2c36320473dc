/* Schema migrations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <weft/sqlite.h>

#include "support/temp_dir.h"

static const weft_sqlite_migration migrations[] = {
    {"0001_users.sql", "CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT, email TEXT, email_key TEXT) STRICT;"
                       "INSERT INTO users VALUES ('1', 'Ada', 'a', 'a');"},
    {"0002_hash.sql", "ALTER TABLE users ADD COLUMN password_hash TEXT; UPDATE users SET name = 'Countess';"
                      "INSERT INTO more VALUES (1);"},
};
static const char *const statements[] = {"SELECT 1"};

static char path[TEMP_PATH_BYTES];

static int make(void **state)
{
    (void)state;
    if (temp_dir_make() != 0)
        return -1;
    temp_path("user.db", path);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    temp_dir_remove();
    return 0;
}

static void run_sql(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static int try_open(size_t count, char *error, size_t error_size)
{
    weft_sqlite *database = NULL;
    weft_sqlite_options options = WEFT_SQLITE_OPTIONS_INIT;
    options.path = path;
    options.migrations = migrations;
    options.migration_count = count;
    options.statements = statements;
    options.statement_count = 1;
    int rc = weft_sqlite_open(&database, &options, error, error_size);
    if (rc < 0)
        assert_null(database);
    weft_sqlite_close(database);
    return rc;
}

static void a_migration_that_fails_is_named_and_leaves_nothing_behind(void **state)
{
    (void)state;
    char error[256];
    assert_true(try_open(2, error, sizeof error) < 0);
    assert_string_equal(error, "0002_hash.sql: no such table: more");
    run_sql("CREATE TABLE schema_version (x); CREATE TABLE users (x); DROP TABLE schema_version; DROP TABLE users");
}

static void what_is_applied_already_is_not_applied_again(void **state)
{
    (void)state;
    char error[256];
    run_sql("CREATE TABLE more (x);"
            "CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT, email TEXT, email_key TEXT) STRICT;"
            "CREATE TABLE schema_version (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL) STRICT;"
            "INSERT INTO schema_version VALUES (1, '0001_users.sql')");
    if (try_open(2, error, sizeof error) != 0)
        fail_msg("%s", error);
    assert_int_equal(try_open(2, error, sizeof error), 0);
    run_sql("CREATE TEMP TABLE t (x CHECK (x)); INSERT INTO t SELECT (SELECT count(*) FROM more) = 1;"
            "INSERT INTO t SELECT count(*) = 2 AND max(version) = 2 FROM schema_version");
}

static void a_schema_that_is_newer_than_the_program_is_refused_and_stays(void **state)
{
    (void)state;
    char error[256];
    run_sql("CREATE TABLE more (x)");
    assert_int_equal(try_open(2, error, sizeof error), 0);
    assert_int_equal(try_open(1, error, sizeof error), -ENOTSUP);
    assert_string_equal(error, "the database has schema version 2; this program knows 1: it is too old");
    assert_int_equal(try_open(2, error, sizeof error), 0);
}

static void the_database_of_another_program_is_refused_and_stays(void **state)
{
    (void)state;
    char error[256];
    run_sql("CREATE TABLE schema_version (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL) STRICT;"
            "INSERT INTO schema_version VALUES (1, '0001_orders.sql')");
    for (size_t count = 1; count <= 2; count++) { /* as new as the program, and older */
        assert_int_equal(try_open(count, error, sizeof error), -ENOTSUP);
        assert_string_equal(error, "the database is another program's: its schema version 1 is 0001_orders.sql, and"
                                   " 0001_users.sql here; name another file");
    }
    run_sql("INSERT INTO schema_version VALUES (2, '0002_more.sql'), (3, '0003_more.sql')"); /* newer */
    assert_int_equal(try_open(2, error, sizeof error), -ENOTSUP);
    assert_non_null(strstr(error, "another program's"));
    run_sql("CREATE TABLE users (x)"); /* which nobody has made */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(a_migration_that_fails_is_named_and_leaves_nothing_behind),
        TEST(a_schema_that_is_newer_than_the_program_is_refused_and_stays),
        TEST(the_database_of_another_program_is_refused_and_stays),
        TEST(what_is_applied_already_is_not_applied_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
