/* The file resolver: what changes about a file, and how it is noticed. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "resolve/runner.h"
#include "support/alloc_fault.h"
#include "unit/resolve/watcher.h"

#define NEVER_MS INT64_C(3600000)

struct rig {
    char folder[64];
    char path[128];   /* users.yaml in it */
    char target[192]; /* file:// and that */
    weft_resolver *file;
    struct watcher watcher;
};

static void set_up(struct rig *rig, int64_t poll_ms)
{
    weft_file_resolver_options options = WEFT_FILE_RESOLVER_OPTIONS_INIT;
    options.poll_ms = poll_ms;
    snprintf(rig->folder, sizeof rig->folder, "/tmp/weft-file.XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    snprintf(rig->path, sizeof rig->path, "%s/users.yaml", rig->folder);
    snprintf(rig->target, sizeof rig->target, "file://%s", rig->path);
    assert_int_equal(weft_file_resolver_new(&rig->file, &options), 0);
}

static void tear_down(struct rig *rig)
{
    weft_resolver_free(rig->file);
    unlink(rig->path);
    rmdir(rig->folder);
}

static void write_to(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Writes a new file and renames it over the old one. */
static void replace(const struct rig *rig, const char *text)
{
    char draft[128];
    snprintf(draft, sizeof draft, "%s/draft", rig->folder);
    write_to(draft, text);
    assert_int_equal(rename(draft, rig->path), 0);
}

/* Where inotify counts, no poll comes within the test's time. */
static void start(struct rig *rig, const char *text)
{
    set_up(rig, NEVER_MS);
    write_to(rig->path, text);
    watcher_start(&rig->watcher, rig->file, rig->target);
}

static void a_file_is_read_and_again_when_another_is_renamed_over_it(void **state)
{
    struct rig rig;
    (void)state;
    start(&rig, "- 10.0.0.1:1\n");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    replace(&rig, "[{\"address\": \"10.0.0.2:1\", \"weight\": 4, \"zone\": \"eu\", \"metadata\": {\"v\": \"2\"}}]");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.2:1*4@eu{v=2}");
    replace(&rig, "- 10.0.0.3:1\n");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.3:1");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void a_file_is_read_again_when_it_is_written_in_place(void **state)
{
    struct rig rig;
    (void)state;
    start(&rig, "- 10.0.0.1:1\n");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    for (int i = 1; i <= 9; i++) {
        char text[32], list[32];
        snprintf(text, sizeof text, "- 10.0.0.%d:1\n", i);
        snprintf(list, sizeof list, "ipv4:10.0.0.%d:1", i);
        write_to(rig.path, text);
        watcher_expect(&rig.watcher, list);
    }
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

/* Two writes within one tick of a file system's clock look the same, so the event counts, not the look. */
static void a_file_that_was_closed_after_writing_is_read_though_it_looks_the_same(void **state)
{
    struct rig rig;
    (void)state;
    start(&rig, "- 10.0.0.1:1\n");
    watcher_expect_lists(&rig.watcher, 1);
    int fd = open(rig.path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    watcher_expect_lists(&rig.watcher, 2);
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void half_of_a_file_is_not_read(void **state)
{
    struct rig rig;
    (void)state;
    start(&rig, "- 10.0.0.1:1\n");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    FILE *file = fopen(rig.path, "w");
    assert_non_null(file);
    assert_true(fputs("- 10.0.0.2:1\n", file) >= 0);
    assert_int_equal(fflush(file), 0);
    assert_true(fputs("- 10.0.0.3:1\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    watcher_expect(&rig.watcher, "ipv4:10.0.0.2:1 ipv4:10.0.0.3:1");
    assert_int_equal(watcher_lists(&rig.watcher), 2);
    assert_int_equal(watcher_fails(&rig.watcher), 0);
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void a_mistake_in_the_file_is_told_with_its_line_and_the_list_stays(void **state)
{
    struct rig rig;
    char told[192];
    (void)state;
    start(&rig, "- 10.0.0.1:1\n");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    replace(&rig, "- 10.0.0.1:1\n- users\n");
    snprintf(told, sizeof told, "%s:2: \"users\" is no address", rig.path);
    watcher_expect_text(&rig.watcher, told);
    replace(&rig, "");
    watcher_expect_text(&rig.watcher, "expected a list");
    assert_int_equal(watcher_lists(&rig.watcher), 1);
    replace(&rig, "[]");
    watcher_expect(&rig.watcher, "");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void a_file_that_is_deleted_keeps_its_list_until_it_is_back(void **state)
{
    struct rig rig;
    (void)state;
    start(&rig, "- 10.0.0.1:1\n");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    assert_int_equal(unlink(rig.path), 0);
    watcher_expect_text(&rig.watcher, "No such file");
    assert_int_equal(watcher_lists(&rig.watcher), 1);
    write_to(rig.path, "- 10.0.0.1:1\n");
    watcher_expect_lists(&rig.watcher, 2);
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void a_file_that_comes_later_is_read_then(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, NEVER_MS);
    watcher_start(&rig.watcher, rig.file, rig.target);
    watcher_expect_text(&rig.watcher, "No such file");
    replace(&rig, "- 10.0.0.1:1\n");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

/* As Kubernetes mounts a ConfigMap: users.yaml -> ..data/users.yaml, ..data -> ..1, which is swapped for ..2. */
static void a_link_that_is_swapped_beside_the_file_is_seen(void **state)
{
    struct rig rig;
    char one[96], two[96], data[96], draft[96], path[128];
    (void)state;
    set_up(&rig, NEVER_MS);
    snprintf(one, sizeof one, "%s/..1", rig.folder);
    snprintf(two, sizeof two, "%s/..2", rig.folder);
    snprintf(data, sizeof data, "%s/..data", rig.folder);
    snprintf(draft, sizeof draft, "%s/..draft", rig.folder);
    assert_int_equal(mkdir(one, 0700), 0);
    snprintf(path, sizeof path, "%s/users.yaml", one);
    write_to(path, "- 10.0.0.1:1\n");
    assert_int_equal(symlink("..1", data), 0);
    assert_int_equal(symlink("..data/users.yaml", rig.path), 0);
    watcher_start(&rig.watcher, rig.file, rig.target);
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    assert_int_equal(mkdir(two, 0700), 0);
    snprintf(path, sizeof path, "%s/users.yaml", two);
    write_to(path, "- 10.0.0.2:1\n");
    assert_int_equal(symlink("..2", draft), 0);
    assert_int_equal(rename(draft, data), 0);
    watcher_expect(&rig.watcher, "ipv4:10.0.0.2:1");
    watcher_stop(&rig.watcher);
    unlink(path);
    snprintf(path, sizeof path, "%s/users.yaml", one);
    unlink(path);
    unlink(data);
    rmdir(one);
    rmdir(two);
    tear_down(&rig);
}

static void a_folder_that_comes_later_is_found_by_the_poll(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, 5);
    assert_int_equal(rmdir(rig.folder), 0);
    watcher_start(&rig.watcher, rig.file, rig.target);
    watcher_expect_text(&rig.watcher, "No such file");
    assert_int_equal(watcher_fails(&rig.watcher), 1); /* once, not at each poll */
    assert_int_equal(mkdir(rig.folder, 0700), 0);
    write_to(rig.path, "- 10.0.0.1:1\n");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void a_folder_that_is_replaced_is_watched_from_the_next_poll_on(void **state)
{
    struct rig rig;
    char old[96], path[128];
    (void)state;
    set_up(&rig, 500);
    write_to(rig.path, "- 10.0.0.1:1\n");
    watcher_start(&rig.watcher, rig.file, rig.target);
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    snprintf(old, sizeof old, "%s.old", rig.folder);
    assert_int_equal(rename(rig.folder, old), 0);
    assert_int_equal(mkdir(rig.folder, 0700), 0);
    write_to(rig.path, "- 10.0.0.2:1\n");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.2:1");
    int64_t start_ns = weft__runner_now_ns();
    for (int i = 1; i <= 10; i++) { /* by the poll they would take five seconds */
        char text[32], list[32];
        snprintf(text, sizeof text, "- 10.0.1.%d:1\n", i);
        snprintf(list, sizeof list, "ipv4:10.0.1.%d:1", i);
        write_to(rig.path, text);
        watcher_expect(&rig.watcher, list);
    }
    assert_true(weft__runner_now_ns() - start_ns < INT64_C(3000000000));
    watcher_stop(&rig.watcher);
    snprintf(path, sizeof path, "%s/users.yaml", old);
    unlink(path);
    rmdir(old);
    tear_down(&rig);
}

static void what_is_not_a_file_or_too_large_is_a_failure(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, NEVER_MS);
    assert_int_equal(mkfifo(rig.path, 0600), 0);
    watcher_start(&rig.watcher, rig.file, rig.target);
    watcher_expect_text(&rig.watcher, "Invalid argument");
    assert_int_equal(unlink(rig.path), 0);
    assert_int_equal(mkdir(rig.path, 0700), 0);
    watcher_expect_text(&rig.watcher, "Is a directory");
    assert_int_equal(rmdir(rig.path), 0);
    write_to(rig.path, "[]");
    watcher_expect(&rig.watcher, "");
    replace(&rig, "- 10.0.0.1:1\n");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    FILE *file = fopen(rig.path, "w");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), WEFT_FILE_RESOLVER_MAX_BYTES + 1), 0);
    assert_int_equal(fclose(file), 0);
    watcher_expect_text(&rig.watcher, "File too large");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void the_end_of_a_watch_waits_for_the_publish_under_way(void **state)
{
    struct rig rig;
    struct watcher other;
    (void)state;
    start(&rig, "- 10.0.0.1:1\n");
    watcher_start(&other, rig.file, rig.target);
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    watcher_hold(&rig.watcher);
    replace(&rig, "- 10.0.0.2:1\n");
    watcher_expect_inside(&rig.watcher);
    watcher_expect_end_waits(&rig.watcher);
    int lists = watcher_lists(&rig.watcher);
    replace(&rig, "- 10.0.0.3:1\n");
    watcher_expect(&other, "ipv4:10.0.0.3:1");
    assert_int_equal(watcher_lists(&rig.watcher), lists);
    watcher_stop(&other);
    watcher_fini(&rig.watcher);
    tear_down(&rig);
}

static void a_forked_child_is_refused_and_leaves_the_parent_alone(void **state)
{
    struct rig rig;
    char reason[256];
    (void)state;
    set_up(&rig, NEVER_MS);
    write_to(rig.path, "- 10.0.0.1:1\n");
    watcher_init(&rig.watcher);
    watcher_hold(&rig.watcher);
    assert_int_equal(watcher_watch(&rig.watcher, rig.file, rig.target, reason), 0);
    watcher_expect_inside(&rig.watcher); /* to end the watch is to wait for this */
    watcher_expect_fork_refused(&rig.watcher, rig.target);
    watcher_release(&rig.watcher);
    replace(&rig, "- 10.0.0.2:1\n");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.2:1");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void a_target_that_is_no_file_is_refused_with_the_reason(void **state)
{
    static const char *const bad[] = {"file:///", "file:///etc/", "file://host/etc/a", "file:", "file:///etc/a?b"};
    struct rig rig;
    char reason[256];
    (void)state;
    set_up(&rig, NEVER_MS);
    watcher_init(&rig.watcher);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(watcher_watch(&rig.watcher, rig.file, bad[i], reason), -EINVAL);
        assert_non_null(strstr(reason, "is no file: write file:///etc/users.yaml"));
    }
    watcher_fini(&rig.watcher);
    tear_down(&rig);
}

static void an_option_out_of_range_is_refused(void **state)
{
    static const weft_file_resolver_options bad[] = {
        {.struct_size = 0}, {sizeof bad[0], -1}, {sizeof bad[0], -2}, {sizeof bad[0], INT64_MAX}};
    weft_resolver *file;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(weft_file_resolver_new(&file, &bad[i]), -EINVAL);
    assert_int_equal(weft_file_resolver_new(&file, NULL), 0);
    weft_resolver_free(file);
}

/* One watch until it has been told something. */
static int read_once(void *context)
{
    weft_resolver *file;
    struct watcher watcher;
    char reason[256];
    int rc = weft_file_resolver_new(&file, NULL);
    if (rc < 0)
        return rc;
    watcher_init(&watcher);
    rc = watcher_watch(&watcher, file, context, reason);
    if (rc == 0) {
        rc = watcher_expect_any(&watcher) ? 0 : -ENOMEM;
        watcher_stop(&watcher);
    } else {
        watcher_fini(&watcher);
    }
    weft_resolver_free(file);
    return rc;
}

static void a_file_that_finds_no_memory_is_a_failure_and_leaves_nothing_behind(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, NEVER_MS);
    write_to(rig.path, "- {address: 10.0.0.1:1, zone: a}\n");
    assert_true(weft_test_oom_sweep(read_once, rig.target) >= 8);
    tear_down(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_and_again_when_another_is_renamed_over_it),
        cmocka_unit_test(a_file_is_read_again_when_it_is_written_in_place),
        cmocka_unit_test(a_file_that_was_closed_after_writing_is_read_though_it_looks_the_same),
        cmocka_unit_test(half_of_a_file_is_not_read),
        cmocka_unit_test(a_mistake_in_the_file_is_told_with_its_line_and_the_list_stays),
        cmocka_unit_test(a_file_that_is_deleted_keeps_its_list_until_it_is_back),
        cmocka_unit_test(a_file_that_comes_later_is_read_then),
        cmocka_unit_test(a_link_that_is_swapped_beside_the_file_is_seen),
        cmocka_unit_test(a_folder_that_comes_later_is_found_by_the_poll),
        cmocka_unit_test(a_folder_that_is_replaced_is_watched_from_the_next_poll_on),
        cmocka_unit_test(what_is_not_a_file_or_too_large_is_a_failure),
        cmocka_unit_test(the_end_of_a_watch_waits_for_the_publish_under_way),
        cmocka_unit_test(a_forked_child_is_refused_and_leaves_the_parent_alone),
        cmocka_unit_test(a_target_that_is_no_file_is_refused_with_the_reason),
        cmocka_unit_test(an_option_out_of_range_is_refused),
        cmocka_unit_test(a_file_that_finds_no_memory_is_a_failure_and_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
