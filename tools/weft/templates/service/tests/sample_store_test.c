/* The store on SQLite. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "sample_store_sqlite.h"
#include "temp_dir.h"

static char path[TEMP_PATH_BYTES];
static char error[256];
static struct sample_store *store;

static int open_store(const char *at)
{
    weft_sqlite_options options = WEFT_SQLITE_OPTIONS_INIT;
    options.path = at;
    return sample_store_sqlite_open(&store, &options, error, sizeof error);
}

static int make(void **state)
{
    (void)state;
    if (temp_dir_make() != 0)
        return -1;
    temp_path("sample.db", path);
    return open_store(path);
}

static int drop(void **state)
{
    (void)state;
    sample_store_destroy(store);
    store = NULL;
    temp_dir_remove();
    return 0;
}

static int64_t count(const char *name)
{
    int64_t n = -1;
    assert_int_equal(sample_store_count(store, name, &n), 0);
    return n;
}

static void each_name_has_a_count_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(count("Ada"), 1);
    assert_int_equal(count("Ada"), 2);
    assert_int_equal(count("Grace"), 1);
    assert_int_equal(count("Ada"), 3);
}

static void counts_outlive_the_store(void **state)
{
    (void)state;
    assert_int_equal(count("Ada"), 1);
    sample_store_destroy(store);
    store = NULL;
    assert_int_equal(open_store(path), 0);
    assert_int_equal(count("Ada"), 2);
}

static void a_file_that_cannot_be_opened_is_told(void **state)
{
    (void)state;
    char missing[TEMP_PATH_BYTES];
    sample_store_destroy(store);
    store = NULL;
    assert_true(open_store(temp_path("no/such/folder.db", missing)) < 0);
    assert_null(store);
    assert_true(strlen(error) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_name_has_a_count_of_its_own, make, drop),
        cmocka_unit_test_setup_teardown(counts_outlive_the_store, make, drop),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_opened_is_told, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
