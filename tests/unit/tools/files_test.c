/* tools/weft/files.h: all files or none. */
#define _GNU_SOURCE /* unshare */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "files.h"
#include "support/temp_dir.h"

static pool p;
static const char *problem;
static const stamp_list nothing_read = {NULL, 0, 0};

/* In place of libc's: from the n-th call on, counted from 1, it fails; 0: never. */
static unsigned rename_fails_from;
static unsigned renames;

/* The same: with links_fail_with no link can be made. */
static int links_fail_with;

int link(const char *from, const char *to)
{
    if (links_fail_with != 0) {
        errno = links_fail_with;
        return -1;
    }
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int rename(const char *from, const char *to)
{
    if (rename_fails_from > 0 && ++renames >= rename_fails_from) {
        errno = EIO;
        return -1;
    }
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

static int make(void **state)
{
    (void)state;
    pool_init(&p);
    problem = NULL;
    rename_fails_from = 0;
    renames = 0;
    links_fail_with = 0;
    return temp_dir_make();
}

static int drop(void **state)
{
    (void)state;
    pool_fini(&p);
    temp_dir_remove();
    return 0;
}

static const char *in_temp(const char *name)
{
    char full[TEMP_PATH_BYTES];
    return pool_printf(&p, "%s", temp_path(name, full));
}

static void add(file_list *list, const char *name, const char *content)
{
    text t = text_new(&p);
    text_add(&t, content);
    file_list_add(&p, list, name, t);
}

static void put(const char *name, const char *content)
{
    FILE *file = fopen(in_temp(name), "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_content(const char *name, const char *content)
{
    text found;
    if (!file_read(&p, in_temp(name), &found, &problem))
        fail_msg("%s", problem);
    assert_string_equal(found.data, content);
}

/* How many names the folder has. */
static size_t count_names(const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    size_t count = 0;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return count;
}

static file_list two_files(void)
{
    file_list files = {NULL, 0, 0};
    add(&files, "a.txt", "A\n");
    add(&files, "b/c/d.txt", "D\n");
    return files;
}

/* ---- Making a folder --------------------------------------------------------------------------------------------- */

static void a_folder_appears_with_all_its_files(void **state)
{
    (void)state;
    file_list files = two_files();
    struct stat status;
    assert_true(folder_make(&p, in_temp("made"), &files, &problem));
    assert_content("made/a.txt", "A\n");
    assert_content("made/b/c/d.txt", "D\n");
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(stat(in_temp("made"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0777 & ~mask);
    assert_int_equal(stat(in_temp("made/a.txt"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0666 & ~mask);
    assert_int_equal(count_names(temp_dir), 1);
    folder_remove(&p, in_temp("made"), &files);
    assert_int_equal(count_names(temp_dir), 0);
}

static void what_is_there_is_not_overwritten(void **state)
{
    (void)state;
    file_list files = two_files();
    assert_int_equal(mkdir(in_temp("empty"), 0700), 0);
    put("file", "mine");
    assert_int_equal(symlink("nowhere", in_temp("link")), 0);
    static const char *const names[] = {"empty", "file", "link"};
    for (size_t i = 0; i < 3; i++) {
        assert_false(folder_make(&p, in_temp(names[i]), &files, &problem));
        assert_non_null(strstr(problem, "is there already"));
    }
    assert_content("file", "mine");
    assert_int_equal(count_names(temp_dir), 3);
    assert_int_equal(rmdir(in_temp("empty")), 0);
}

static void a_folder_whose_parent_is_missing_is_told(void **state)
{
    (void)state;
    file_list files = two_files();
    assert_false(folder_make(&p, in_temp("no/such/made"), &files, &problem));
    assert_non_null(strstr(problem, "no/such"));
    assert_int_equal(count_names(temp_dir), 0);
}

/* A file whose place another file takes as a folder cannot be written. */
static void what_cannot_be_written_leaves_nothing(void **state)
{
    (void)state;
    file_list files = two_files();
    add(&files, "a.txt/inside", "x");
    assert_false(folder_make(&p, in_temp("made"), &files, &problem));
    assert_non_null(strstr(problem, "a.txt/inside"));
    assert_int_equal(count_names(temp_dir), 0);
}

static void a_limit_on_the_size_of_files_leaves_nothing(void **state)
{
    (void)state;
    file_list files = two_files();
    struct rlimit before;
    add(&files, "long.txt", "more than the limit allows");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {.rlim_cur = 8, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool made = folder_make(&p, in_temp("made"), &files, &problem);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_false(made);
    assert_non_null(strstr(problem, "long.txt: File too large"));
    assert_int_equal(count_names(temp_dir), 0);
}

/* In a child with a file system of its own, which is full after 64 KiB. @return the exit code. */
static int make_on_a_full_disk(const char *mount_point)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, "") != 0 ||
        mount("tmpfs", mount_point, "tmpfs", 0, "size=64k") != 0)
        return 77;
    file_list files = two_files();
    char *content = pool_alloc(&p, 100001);
    memset(content, 'x', 100000);
    add(&files, "large.txt", content);
    if (folder_make(&p, pool_printf(&p, "%s/made", mount_point), &files, &problem))
        return 1;
    if (strstr(problem, "large.txt: No space left on device") == NULL)
        return 2;
    return count_names(mount_point) == 0 ? 0 : 3;
}

static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    int status;
    const char *mount_point = in_temp("disk");
    assert_int_equal(mkdir(mount_point, 0700), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(make_on_a_full_disk(mount_point));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(rmdir(mount_point), 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip(); /* not allowed to mount here; the limit above is the same path */
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- Changing files ---------------------------------------------------------------------------------------------- */

static void files_change_together_and_keep_their_modes(void **state)
{
    (void)state;
    struct stat status;
    file_list changed = {NULL, 0, 0};
    file_list added = {NULL, 0, 0};
    put("a", "old a");
    put("b", "old b");
    assert_int_equal(chmod(in_temp("a"), 0640), 0);
    add(&changed, in_temp("a"), "new a");
    add(&changed, in_temp("b"), "new b");
    add(&added, in_temp("c"), "new c");
    assert_true(files_change(&p, &changed, &added, &nothing_read, &problem));
    assert_content("a", "new a");
    assert_content("b", "new b");
    assert_content("c", "new c");
    assert_int_equal(stat(in_temp("a"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    assert_int_equal(count_names(temp_dir), 3);
}

static void a_link_stays_one_and_its_file_changes(void **state)
{
    (void)state;
    struct stat status;
    file_list changed = {NULL, 0, 0};
    file_list added = {NULL, 0, 0};
    put("real", "old");
    assert_int_equal(symlink("real", in_temp("link")), 0);
    add(&changed, in_temp("link"), "new");
    assert_true(files_change(&p, &changed, &added, &nothing_read, &problem));
    assert_int_equal(lstat(in_temp("link"), &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_content("real", "new");
}

static void one_that_cannot_be_prepared_leaves_all_as_they_were(void **state)
{
    (void)state;
    file_list changed = {NULL, 0, 0};
    file_list added = {NULL, 0, 0};
    put("a", "old a");
    put("b", "old b");
    add(&changed, in_temp("a"), "new a");
    add(&changed, in_temp("missing"), "new");
    assert_false(files_change(&p, &changed, &added, &nothing_read, &problem));
    assert_non_null(strstr(problem, "missing: No such file or directory; nothing was changed"));
    assert_content("a", "old a");
    changed.count = 1;
    add(&added, in_temp("b"), "new b");
    assert_false(files_change(&p, &changed, &added, &nothing_read, &problem));
    assert_non_null(strstr(problem, "File exists"));
    assert_content("a", "old a");
    assert_content("b", "old b");
    assert_int_equal(count_names(temp_dir), 2);
}

/* A file on which something is mounted cannot be replaced, and that shows only after the first one was. */
static int change_what_is_mounted(void)
{
    file_list changed = {NULL, 0, 0};
    file_list added = {NULL, 0, 0};
    add(&changed, in_temp("a"), "new a");
    add(&changed, in_temp("b"), "new b");
    add(&added, in_temp("c"), "new c");
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, "") != 0 ||
        mount(in_temp("b"), in_temp("b"), "none", MS_BIND, "") != 0)
        return 77;
    if (files_change(&p, &changed, &added, &nothing_read, &problem))
        return 1;
    assert_content("a", "old a");
    assert_content("b", "old b");
    return count_names(temp_dir) == 2 ? 0 : 2;
}

static void one_that_cannot_take_its_place_puts_the_others_back(void **state)
{
    (void)state;
    int status;
    put("a", "old a");
    put("b", "old b");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(change_what_is_mounted());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_content("a", "old a");
}

static void one_that_cannot_be_put_back_keeps_its_old_content(void **state)
{
    (void)state;
    file_list changed = {NULL, 0, 0};
    file_list added = {NULL, 0, 0};
    put("a", "old a");
    put("b", "old b");
    add(&changed, in_temp("a"), "new a");
    add(&changed, in_temp("b"), "new b");
    rename_fails_from = 2; /* b to its place, and a back */
    assert_false(files_change(&p, &changed, &added, &nothing_read, &problem));
    assert_non_null(strstr(problem, "/b: Input/output error; "));
    assert_null(strstr(problem, "nothing was changed"));
    static const char before[] = "could not be put back: its old content is ";
    const char *kept = strstr(problem, before);
    assert_non_null(kept);
    kept = strrchr(kept, '/') + 1;
    assert_content(kept, "old a");
    assert_content("a", "new a");
    assert_content("b", "old b");
    assert_int_equal(count_names(temp_dir), 3);
    assert_int_equal(unlink(in_temp(kept)), 0);
}

/* What somebody else made when all was prepared: here the first of two new files for one place. */
static void a_new_file_never_replaces_one(void **state)
{
    (void)state;
    static const int errors[] = {0, EPERM, EOPNOTSUPP};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        file_list changed = {NULL, 0, 0};
        file_list added = {NULL, 0, 0};
        links_fail_with = errors[i];
        add(&added, in_temp("first"), "1");
        add(&added, in_temp("c"), "2");
        assert_true(files_change(&p, &changed, &added, &nothing_read, &problem));
        assert_content("c", "2");
        assert_int_equal(unlink(in_temp("first")), 0);
        assert_int_equal(unlink(in_temp("c")), 0);
        add(&added, in_temp("c"), "3");
        assert_false(files_change(&p, &changed, &added, &nothing_read, &problem));
        assert_non_null(strstr(problem, "/c: File exists; nothing was changed"));
        assert_int_equal(count_names(temp_dir), 0);
    }
}

static void touch(const char *name)
{
    struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1, .tv_nsec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, in_temp(name), times, 0), 0);
}

static void what_was_changed_since_it_was_read_stays(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        file_list changed = {NULL, 0, 0};
        file_list added = {NULL, 0, 0};
        stamp_list read = {NULL, 0, 0};
        put("a", "old a");
        put("b", "old b");
        touch("b");
        stamp_list_add(&p, &read, in_temp("a"));
        stamp_list_add(&p, &read, in_temp("b"));
        add(&changed, in_temp("a"), "new a");
        add(&added, in_temp("c"), "new c");
        if (way == 0) { /* at another time */
            put("b", "her b");
        } else if (way == 1) {
            put("b", "longer b");
            touch("b");
        } else if (way == 2) { /* another file */
            put("d", "her b");
            assert_int_equal(rename(in_temp("d"), in_temp("b")), 0);
            touch("b");
        } else {
            assert_int_equal(unlink(in_temp("b")), 0);
        }
        stamp_list_add(&p, &read, in_temp("b")); /* keeps the first */
        assert_false(files_change(&p, &changed, &added, &read, &problem));
        assert_non_null(strstr(problem, "/b was changed meanwhile; nothing was changed here: try again"));
        assert_content("a", "old a");
        assert_int_equal(count_names(temp_dir), way == 3 ? 1 : 2);
    }
}

static void what_is_still_as_it_was_read_changes(void **state)
{
    (void)state;
    file_list changed = {NULL, 0, 0};
    file_list added = {NULL, 0, 0};
    stamp_list read = {NULL, 0, 0};
    put("a", "old a");
    stamp_list_add(&p, &read, in_temp("a"));
    add(&changed, in_temp("a"), "new a");
    assert_true(files_change(&p, &changed, &added, &read, &problem));
    assert_content("a", "new a");
}

/* ---- Finding ----------------------------------------------------------------------------------------------------- */

static void files_are_found_below_in_order(void **state)
{
    (void)state;
    path_list found = {NULL, 0, 0};
    file_list files = {NULL, 0, 0};
    add(&files, "b.proto", "");
    add(&files, "a/z.proto", "");
    add(&files, "a.txt", "");
    add(&files, ".hidden.proto", "");
    add(&files, ".git/x.proto", "");
    assert_true(folder_make(&p, in_temp("protos"), &files, &problem));
    assert_true(path_list_find(&p, &found, in_temp("protos"), ".proto", &problem));
    assert_int_equal(found.count, 2);
    assert_string_equal(found.items[0], in_temp("protos/a/z.proto"));
    assert_string_equal(found.items[1], in_temp("protos/b.proto"));
    assert_false(path_list_find(&p, &found, in_temp("none"), ".proto", &problem));
    folder_remove(&p, in_temp("protos"), &files);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(a_folder_appears_with_all_its_files),
        TEST(what_is_there_is_not_overwritten),
        TEST(a_folder_whose_parent_is_missing_is_told),
        TEST(what_cannot_be_written_leaves_nothing),
        TEST(a_limit_on_the_size_of_files_leaves_nothing),
        TEST(a_full_disk_leaves_nothing),
        TEST(files_change_together_and_keep_their_modes),
        TEST(a_link_stays_one_and_its_file_changes),
        TEST(one_that_cannot_be_prepared_leaves_all_as_they_were),
        TEST(one_that_cannot_take_its_place_puts_the_others_back),
        TEST(one_that_cannot_be_put_back_keeps_its_old_content),
        TEST(a_new_file_never_replaces_one),
        TEST(what_was_changed_since_it_was_read_stays),
        TEST(what_is_still_as_it_was_read_changes),
        TEST(files_are_found_below_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
