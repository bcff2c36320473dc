#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "notes.h"

static weft_sqlite *database;
static char error[512];

static int make(void **state)
{
    (void)state;
    if (temp_dir_make() != 0)
        return -1;
    weft_sqlite_options options = notes_options();
    options.busy_timeout_ms = 30;
    return weft_sqlite_open(&database, &options, error, sizeof error);
}

static int drop(void **state)
{
    (void)state;
    weft_sqlite_close(database);
    database = NULL;
    temp_dir_remove();
    return 0;
}

static void what_a_transaction_wrote_is_there_after_it_ended_well(void **state)
{
    (void)state;
    weft_arena *arena;
    weft_sqlite_tx *tx;
    const char *text = NULL;
    assert_int_equal(weft_arena_new(&arena, 0), 0);
    assert_int_equal(add_note(database, "1", "one", 0), 0);
    assert_int_equal(weft_sqlite_read(database, &tx), 0);
    sqlite3_stmt *find = weft_sqlite_statement(tx, FIND);
    weft_sqlite_bind_text(find, 1, "1");
    assert_int_equal(weft_sqlite_step(tx, find), 1);
    assert_int_equal(weft_sqlite_text(find, 0, arena, &text), 0);
    assert_string_equal(text, "one");
    find = weft_sqlite_statement(tx, FIND); /* again, without its value */
    assert_int_equal(weft_sqlite_step(tx, find), 0);
    assert_int_equal(weft_sqlite_end(tx, 7), 7);
    weft_arena_free(arena);
}

static void what_a_transaction_wrote_is_undone_when_it_ends_badly(void **state)
{
    (void)state;
    weft_sqlite_tx *tx;
    assert_int_equal(add_note(database, "1", "one", -ENOMEM), -ENOMEM);
    assert_int_equal(add_note(database, "2", "two", 0), 0);
    assert_int_equal(add_note(database, "2", "again", 0), -EEXIST);
    assert_int_equal(weft_sqlite_read(database, &tx), 0);
    assert_int_equal(count_notes(tx), 1);
    assert_int_equal(weft_sqlite_end(tx, 0), 0);
}

static void a_transaction_that_reads_sees_one_state(void **state)
{
    (void)state;
    weft_sqlite_tx *tx;
    assert_int_equal(weft_sqlite_read(database, &tx), 0);
    assert_int_equal(count_notes(tx), 0);
    assert_int_equal(add_note(database, "1", "one", 0), 0);
    assert_int_equal(count_notes(tx), 0);
    assert_int_equal(weft_sqlite_end(tx, 0), 0);
    assert_int_equal(weft_sqlite_read(database, &tx), 0);
    assert_int_equal(count_notes(tx), 1);
    assert_int_equal(weft_sqlite_end(tx, 0), 0);
}

static void a_transaction_that_reads_cannot_write(void **state)
{
    (void)state;
    weft_sqlite_tx *tx;
    assert_int_equal(weft_sqlite_read(database, &tx), 0);
    sqlite3_stmt *add = weft_sqlite_statement(tx, ADD);
    weft_sqlite_bind_text(add, 1, "1");
    assert_int_equal(weft_sqlite_step(tx, add), -EROFS);
    assert_int_equal(weft_sqlite_end(tx, -EROFS), -EROFS);
}

static void a_statement_that_cannot_be_prepared_fails_at_its_step(void **state)
{
    (void)state;
    weft_sqlite_tx *tx;
    assert_int_equal(weft_sqlite_read(database, &tx), 0);
    sqlite3_stmt *broken = weft_sqlite_statement(tx, BROKEN);
    assert_null(broken);
    weft_sqlite_bind_text(broken, 1, "x");
    assert_int_equal(weft_sqlite_step(tx, broken), -EIO);
    assert_string_equal(sqlite3_errmsg(weft_sqlite_handle(tx)), "no such table: nowhere");
    assert_int_equal(weft_sqlite_end(tx, -EIO), -EIO);
}

static void who_waits_too_long_for_a_connection_is_told_so(void **state)
{
    (void)state;
    weft_sqlite_tx *readers[2];
    weft_sqlite_tx *writer;
    weft_sqlite_tx *none = NULL;
    assert_int_equal(weft_sqlite_read(database, &readers[0]), 0);
    assert_int_equal(weft_sqlite_read(database, &readers[1]), 0);
    assert_int_equal(weft_sqlite_write(database, &writer), 0);
    assert_int_equal(weft_sqlite_read(database, &none), -EBUSY);
    assert_int_equal(weft_sqlite_write(database, &none), -EBUSY);
    assert_null(none);
    assert_int_equal(weft_sqlite_end(readers[0], 0), 0);
    assert_int_equal(weft_sqlite_end(readers[1], 0), 0);
    assert_int_equal(weft_sqlite_end(writer, 0), 0);
    assert_int_equal(add_note(database, "1", "one", 0), 0);
}

static void a_lock_of_another_process_is_waited_for_and_then_told(void **state)
{
    (void)state;
    sqlite3 *other;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(add_note(database, "1", "one", 0), -EBUSY);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(add_note(database, "1", "one", 0), 0);
    sqlite3_close(other);
}

/* A transaction that has written something. */
static weft_sqlite_tx *begin_to_write(void)
{
    weft_sqlite_tx *tx;
    assert_int_equal(weft_sqlite_write(database, &tx), 0);
    sqlite3_stmt *add = weft_sqlite_statement(tx, ADD);
    weft_sqlite_bind_text(add, 1, "1");
    assert_int_equal(weft_sqlite_step(tx, add), 0);
    return tx;
}

/* Nothing of a transaction that has ended is there: neither what it wrote nor its lock, which others would wait for. */
static void assert_undone(void)
{
    weft_sqlite_tx *tx;
    sqlite3 *other;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE; ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(weft_sqlite_read(database, &tx), 0);
    assert_int_equal(count_notes(tx), 0);
    assert_int_equal(weft_sqlite_end(tx, 0), 0);
}

static void a_commit_that_is_refused_is_undone(void **state)
{
    (void)state;
    static const char sql[] = "CREATE TABLE replies (id TEXT REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED);"
                              "INSERT INTO notes (id) VALUES ('1');"
                              "INSERT INTO replies VALUES ('nothing')";
    weft_sqlite_tx *tx;
    assert_int_equal(weft_sqlite_write(database, &tx), 0);
    assert_int_equal(sqlite3_exec(weft_sqlite_handle(tx), sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(weft_sqlite_end(tx, 0), -EIO); /* SQLite leaves it open: the reply might be taken back */
    assert_undone();
    assert_int_equal(add_note(database, "1", "one", 0), 0);
}

static void a_commit_that_cannot_be_written_is_undone(void **state)
{
    (void)state;
    struct rlimit before;
    weft_sqlite_tx *tx = begin_to_write();
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    int rc = weft_sqlite_end(tx, 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, -EIO);
    assert_undone();
    assert_int_equal(add_note(database, "1", "one", 0), 0);
}

static void a_rollback_needs_no_memory(void **state)
{
    (void)state;
    weft_sqlite_tx *tx = begin_to_write(); /* the first one: nothing is there from another */
    sqlite3_hard_heap_limit64(1);
    assert_null(sqlite3_malloc(1000));
    int rc = weft_sqlite_end(tx, -ENOMEM);
    sqlite3_hard_heap_limit64(0);
    assert_int_equal(rc, -ENOMEM);
    assert_undone();
    assert_int_equal(add_note(database, "1", "one", 0), 0);
}

/* SQLite interrupts whatever begins while a statement runs that was interrupted: here a commit, and the rollback. */
static void a_rollback_that_fails_is_made_good_before_the_next_transaction(void **state)
{
    (void)state;
    sqlite3_stmt *running;
    weft_sqlite_tx *tx = begin_to_write();
    sqlite3 *db = weft_sqlite_handle(tx);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT id FROM notes", -1, &running, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(running), SQLITE_ROW);
    sqlite3_interrupt(db);
    assert_int_equal(weft_sqlite_end(tx, 0), -EIO);
    assert_int_equal(sqlite3_get_autocommit(db), 0);
    sqlite3_finalize(running);
    assert_int_equal(add_note(database, "2", "two", -ENOMEM), -ENOMEM);
    assert_undone();
    assert_int_equal(add_note(database, "1", "one", 0), 0);
}

#define LOCKED_MS  300
#define AT_ONCE_MS 100

struct attempts {
    weft_sqlite *database;
    atomic_int *at_once; /* refused without waiting, by all */
};

/* Adds notes, which cannot be, until somebody was refused at once. */
static void *add_in_vain(void *arg)
{
    const struct attempts *attempts = arg;
    for (int i = 0; i < 10 && atomic_load(attempts->at_once) == 0; i++) {
        struct timespec before;
        struct timespec after;
        clock_gettime(CLOCK_MONOTONIC, &before);
        int rc = add_note(attempts->database, "2", "two", 0);
        clock_gettime(CLOCK_MONOTONIC, &after);
        int64_t ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
        if (rc == -EBUSY && ms < AT_ONCE_MS)
            atomic_fetch_add(attempts->at_once, 1);
    }
    return NULL;
}

static void of_a_lock_that_lasts_one_transaction_waits_and_others_are_refused_at_once(void **state)
{
    (void)state;
    weft_sqlite_options options = notes_options();
    atomic_int at_once = 0;
    struct attempts attempts = {NULL, &at_once};
    pthread_t thread;
    sqlite3 *other;
    options.busy_timeout_ms = LOCKED_MS;
    assert_int_equal(weft_sqlite_open(&attempts.database, &options, error, sizeof error), 0);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(add_note(attempts.database, "1", "one", 0), -EBUSY);
    assert_int_equal(pthread_create(&thread, NULL, add_in_vain, &attempts), 0);
    add_in_vain(&attempts);
    pthread_join(thread, NULL);
    assert_true(atomic_load(&at_once) > 0);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(add_note(attempts.database, "1", "one", 0), 0);
    assert_int_equal(add_note(attempts.database, "2", "two", 0), 0);
    sqlite3_close(other);
    weft_sqlite_close(attempts.database);
}

static void a_null_is_a_null_pointer(void **state)
{
    (void)state;
    weft_arena *arena;
    weft_sqlite_tx *tx;
    const char *text = "untouched";
    assert_int_equal(weft_arena_new(&arena, 0), 0);
    assert_int_equal(add_note(database, "1", NULL, 0), 0);
    assert_int_equal(weft_sqlite_read(database, &tx), 0);
    sqlite3_stmt *find = weft_sqlite_statement(tx, FIND);
    weft_sqlite_bind_text(find, 1, "1");
    assert_int_equal(weft_sqlite_step(tx, find), 1);
    assert_int_equal(weft_sqlite_text(find, 0, arena, &text), 0);
    assert_null(text);
    assert_int_equal(weft_sqlite_end(tx, 0), 0);
    weft_arena_free(arena);
}

static void a_text_that_has_no_room_in_the_arena_is_not_given_out(void **state)
{
    (void)state;
    char block[512];
    char large[512];
    weft_arena *arena;
    weft_sqlite_tx *tx;
    const char *text = "untouched";
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    weft_arena_init(&arena, block, sizeof block, 256);
    assert_int_equal(add_note(database, "1", large, 0), 0);
    assert_int_equal(weft_sqlite_read(database, &tx), 0);
    sqlite3_stmt *find = weft_sqlite_statement(tx, FIND);
    weft_sqlite_bind_text(find, 1, "1");
    assert_int_equal(weft_sqlite_step(tx, find), 1);
    assert_int_equal(weft_sqlite_text(find, 0, arena, &text), -ENOMEM);
    assert_string_equal(text, "untouched");
    assert_int_equal(weft_sqlite_end(tx, -ENOMEM), -ENOMEM);
    weft_arena_fini(arena);
}

/* What a second database in the same file returns. */
static int open_with(weft_sqlite_options options)
{
    weft_sqlite *other = NULL;
    int rc = weft_sqlite_open(&other, &options, error, sizeof error);
    weft_sqlite_close(other);
    return rc;
}

static void commits_are_synced_if_that_is_wanted(void **state)
{
    (void)state;
    weft_sqlite_options options = notes_options();
    options.sync_commits = true;
    weft_sqlite *synced;
    weft_sqlite_tx *tx;
    sqlite3_stmt *pragma;
    assert_int_equal(weft_sqlite_open(&synced, &options, error, sizeof error), 0);
    for (int expected = 1; expected <= 2; expected++) { /* NORMAL, FULL */
        assert_int_equal(weft_sqlite_write(expected == 1 ? database : synced, &tx), 0);
        assert_int_equal(sqlite3_prepare_v2(weft_sqlite_handle(tx), "PRAGMA synchronous", -1, &pragma, NULL),
                         SQLITE_OK);
        assert_int_equal(sqlite3_step(pragma), SQLITE_ROW);
        assert_int_equal(sqlite3_column_int(pragma, 0), expected);
        sqlite3_finalize(pragma);
        assert_int_equal(weft_sqlite_end(tx, 0), 0);
    }
    weft_sqlite_close(synced);
}

static void the_file_is_its_owners_alone(void **state)
{
    struct stat info;
    (void)state;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void nothing_is_written_to_a_file_that_was_moved_or_deleted(void **state)
{
    (void)state;
    char elsewhere[TEMP_PATH_BYTES];
    weft_sqlite_tx *tx;
    assert_int_equal(add_note(database, "1", "one", 0), 0);
    assert_int_equal(rename(path, temp_path("moved.db", elsewhere)), 0);
    assert_int_equal(add_note(database, "2", "two", 0), -EROFS);
    assert_int_equal(weft_sqlite_read(database, &tx), 0);
    assert_int_equal(count_notes(tx), 1);
    assert_int_equal(weft_sqlite_end(tx, 0), 0);
    assert_int_equal(rename(elsewhere, path), 0);
    assert_int_equal(add_note(database, "2", "two", 0), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(add_note(database, "3", "three", 0), -EROFS);
}

static void a_database_that_may_not_grow_is_full(void **state)
{
    (void)state;
    char large[4096];
    weft_sqlite_options options = notes_options();
    weft_sqlite *small;
    int rc = 0;
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    options.max_bytes = 64 << 10;
    assert_int_equal(weft_sqlite_open(&small, &options, error, sizeof error), 0);
    for (int i = 0; i < 100 && rc == 0; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        rc = add_note(small, id, large, 0);
    }
    assert_int_equal(rc, -ENOSPC);
    weft_sqlite_close(small);
}

static void who_has_no_descriptors_left_is_told_so(void **state)
{
    (void)state;
    weft_sqlite_options options = notes_options();
    struct rlimit before;
    int next = dup(STDIN_FILENO);
    assert_true(next >= 0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (rlim_t left = 0; left < 3; left++) { /* for the file, its log, what they share */
        struct rlimit few = {(rlim_t)next + left, before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        int rc = open_with(options);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(rc, -EMFILE);
        assert_non_null(strstr(error, strerror(EMFILE)));
    }
}

static void what_cannot_be_opened_says_why(void **state)
{
    (void)state;
    char not_there[TEMP_PATH_BYTES];
    weft_sqlite_options options = notes_options();
    options.path = temp_path("missing/notes.db", not_there);
    assert_int_equal(open_with(options), -ENOENT);
    assert_non_null(strstr(error, "missing/notes.db: the folder does not exist"));
    char too_long[400];
    snprintf(too_long, sizeof too_long, "%s/%0300d", temp_dir, 0);
    options.path = too_long;
    assert_int_equal(open_with(options), -ENAMETOOLONG);
    assert_non_null(strstr(error, "cannot be made: "));
    static const char *const no_files[] = {"", ":memory:", "file:notes.db?mode=memory"};
    for (size_t i = 0; i < sizeof no_files / sizeof no_files[0]; i++) {
        options = notes_options();
        options.path = no_files[i];
        assert_int_equal(open_with(options), -EINVAL);
        assert_string_equal(error, "no file is named, or an option is out of range");
    }
    options = notes_options();
    options.statements = NULL;
    assert_int_equal(open_with(options), -EINVAL);
    options = notes_options();
    options.readers = 1025;
    assert_int_equal(open_with(options), -EINVAL);
    options = notes_options();
    options.struct_size = 0;
    assert_int_equal(open_with(options), -EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(what_a_transaction_wrote_is_there_after_it_ended_well),
        TEST(what_a_transaction_wrote_is_undone_when_it_ends_badly),
        TEST(a_transaction_that_reads_sees_one_state),
        TEST(a_transaction_that_reads_cannot_write),
        TEST(a_statement_that_cannot_be_prepared_fails_at_its_step),
        TEST(who_waits_too_long_for_a_connection_is_told_so),
        TEST(a_lock_of_another_process_is_waited_for_and_then_told),
        TEST(a_commit_that_is_refused_is_undone),
        TEST(a_commit_that_cannot_be_written_is_undone),
        TEST(a_rollback_needs_no_memory),
        TEST(a_rollback_that_fails_is_made_good_before_the_next_transaction),
        TEST(of_a_lock_that_lasts_one_transaction_waits_and_others_are_refused_at_once),
        TEST(a_null_is_a_null_pointer),
        TEST(a_text_that_has_no_room_in_the_arena_is_not_given_out),
        TEST(commits_are_synced_if_that_is_wanted),
        TEST(the_file_is_its_owners_alone),
        TEST(a_database_that_may_not_grow_is_full),
        TEST(nothing_is_written_to_a_file_that_was_moved_or_deleted),
        TEST(who_has_no_descriptors_left_is_told_so),
        TEST(what_cannot_be_opened_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
