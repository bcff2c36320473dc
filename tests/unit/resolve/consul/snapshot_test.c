#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "resolve/consul/snapshot.h"
#include "support/alloc_fault.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/weft-snapshot.XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

/* The files of the folder; the last one's path. */
static int files(char path[512])
{
    const struct dirent *entry;
    int count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.') {
            snprintf(path, 512, "%s/%.255s", folder, entry->d_name);
            count++;
        }
    closedir(dir);
    return count;
}

static int remove_folder(void **state)
{
    char path[512];
    (void)state;
    while (files(path) > 0)
        assert_int_equal(unlink(path), 0);
    return rmdir(folder);
}

static void save(const char *key, const char *answer)
{
    assert_int_equal(weft__consul_snapshot_save(folder, "users", key, weft_sv_from(answer)), 0);
}

static void assert_loads(const char *key, int expected, const char *answer)
{
    weft__buf file;
    weft_sv got;
    weft__buf_init(&file, 1 << 20);
    int rc = weft__consul_snapshot_load(folder, "users", key, &file, &got);
    assert_int_equal(rc, expected);
    if (rc == 0)
        assert_true(weft_sv_is(got, answer));
    weft__buf_fini(&file);
}

static void what_is_saved_is_loaded_and_the_last_one_counts(void **state)
{
    char path[512];
    (void)state;
    assert_loads("k", -ENOENT, NULL);
    save("k", "[1]");
    save("k", "[]");
    save("other", "[2]");
    assert_loads("k", 0, "[]");
    assert_loads("other", 0, "[2]");
    assert_int_equal(files(path), 2); /* no drafts */
}

static void every_damaged_byte_and_every_cut_is_noticed(void **state)
{
    char good[256], bad[256];
    char path[512];
    weft_sv answer;
    (void)state;
    save("k", "[1,2]");
    assert_int_equal(files(path), 1);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(good, 1, sizeof good, file);
    fclose(file);
    assert_int_equal(weft__consul_snapshot_check(weft_sv_of(good, len), "k", &answer), 0);
    assert_int_equal(weft__consul_snapshot_check(weft_sv_of(good, len), "l", &answer), -EBADMSG);
    for (size_t i = 0; i < len; i++) {
        memcpy(bad, good, len);
        bad[i] ^= 1;
        assert_int_equal(weft__consul_snapshot_check(weft_sv_of(bad, len), "k", &answer), -EBADMSG);
        assert_int_equal(weft__consul_snapshot_check(weft_sv_of(good, i), "k", &answer), -EBADMSG);
    }
}

static void a_service_cannot_choose_another_folder(void **state)
{
    char path[512];
    (void)state;
    assert_int_equal(weft__consul_snapshot_save(folder, "../../etc/users", "k", weft_sv_from("[]")), 0);
    assert_int_equal(files(path), 1);
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
    weft__buf file;
    weft_sv answer;
    (void)state;
    weft__buf_init(&file, 1024);
    assert_int_equal(weft__consul_snapshot_save("/nonexistent", "users", "k", weft_sv_from("[]")), -ENOENT);
    assert_int_equal(weft__consul_snapshot_load("/nonexistent", "users", "k", &file, &answer), -ENOENT);
    weft__buf_fini(&file);
}

static void a_file_over_the_limit_is_not_read(void **state)
{
    weft__buf file;
    weft_sv answer;
    (void)state;
    save("k", "[1,2]");
    weft__buf_init(&file, 16);
    assert_int_equal(weft__consul_snapshot_load(folder, "users", "k", &file, &answer), -EFBIG);
    weft__buf_fini(&file);
}

static int scenario(void *context)
{
    weft__buf file;
    weft_sv answer;
    (void)context;
    weft__buf_init(&file, 0);
    int rc = weft__consul_snapshot_save(folder, "users", "k", weft_sv_from("[]"));
    if (rc == 0)
        rc = weft__consul_snapshot_load(folder, "users", "k", &file, &answer);
    weft__buf_fini(&file);
    return rc;
}

static void without_memory_it_says_so(void **state)
{
    (void)state;
    assert_true(weft_test_oom_sweep(scenario, NULL) > 4);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_saved_is_loaded_and_the_last_one_counts),
        CASE(every_damaged_byte_and_every_cut_is_noticed),
        CASE(a_service_cannot_choose_another_folder),
        CASE(a_folder_that_is_not_there_is_an_error),
        CASE(a_file_over_the_limit_is_not_read),
        CASE(without_memory_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
