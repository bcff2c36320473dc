#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include "notes.h"

/* Long enough for a poll never to come in a test; and short enough for one that waits for it. */
#define NEVER_MS 3600000
#define SOON_MS  5

static weft_sqlite *database;
static weft_sqlite_watch *watch;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t heard = PTHREAD_COND_INITIALIZER;
static int64_t notes;  /* that the watch has counted last */
static int calls;      /* of it */
static int results[2]; /* of its first calls; later ones return 0 */

static int count(void *arg)
{
    weft_sqlite_tx *tx;
    (void)arg;
    if (weft_sqlite_read(database, &tx) < 0)
        return -EBUSY;
    int64_t found = count_notes(tx);
    (void)weft_sqlite_end(tx, 0);
    pthread_mutex_lock(&lock);
    notes = found;
    int result = calls < 2 ? results[calls] : 0;
    calls++;
    pthread_cond_broadcast(&heard);
    pthread_mutex_unlock(&lock);
    return result;
}

/* Waits until the watch has counted so many. */
static bool hears(int64_t wanted)
{
    struct timespec deadline;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 20;
    pthread_mutex_lock(&lock);
    while (notes != wanted && rc == 0)
        rc = pthread_cond_timedwait(&heard, &lock, &deadline);
    bool heard_it = notes == wanted;
    pthread_mutex_unlock(&lock);
    return heard_it;
}

static int make(void **state)
{
    char error[256];
    (void)state;
    notes = -1;
    calls = 0;
    results[0] = results[1] = 0;
    if (temp_dir_make() != 0)
        return -1;
    weft_sqlite_options options = notes_options();
    return weft_sqlite_open(&database, &options, error, sizeof error);
}

static int drop(void **state)
{
    (void)state;
    weft_sqlite_watch_stop(watch);
    watch = NULL;
    weft_sqlite_close(database);
    temp_dir_remove();
    return 0;
}

static void a_commit_of_this_process_is_told_at_once(void **state)
{
    (void)state;
    assert_int_equal(weft_sqlite_watch_start(&watch, database, NEVER_MS, count, NULL), 0);
    for (int i = 1; i <= 5; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        assert_int_equal(add_note(database, id, "text", 0), 0);
        assert_true(hears(i));
    }
}

static void a_commit_of_another_process_is_told_at_the_next_poll(void **state)
{
    (void)state;
    sqlite3 *other;
    assert_int_equal(weft_sqlite_watch_start(&watch, database, SOON_MS, count, NULL), 0);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "INSERT INTO notes VALUES ('1', 'one'), ('2', 'two')", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(other);
    assert_true(hears(2));
}

static void what_was_undone_is_no_change(void **state)
{
    (void)state;
    assert_int_equal(add_note(database, "0", "before the watch", 0), 0);
    assert_int_equal(weft_sqlite_watch_start(&watch, database, NEVER_MS, count, NULL), 0);
    assert_true(hears(1)); /* the beginning */
    assert_int_equal(add_note(database, "1", "one", -ECANCELED), -ECANCELED);
    weft_sqlite_watch_stop(watch); /* what it had to tell, it has told or never will */
    watch = NULL;
    assert_int_equal(calls, 1);
}

/* Waits for so many calls in all. */
static bool is_called(int wanted)
{
    struct timespec deadline;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 20;
    pthread_mutex_lock(&lock);
    while (calls < wanted && rc == 0)
        rc = pthread_cond_timedwait(&heard, &lock, &deadline);
    pthread_mutex_unlock(&lock);
    return rc == 0;
}

static void who_leaves_something_is_called_again_at_once(void **state)
{
    (void)state;
    results[0] = 5;
    results[1] = 1;
    assert_int_equal(weft_sqlite_watch_start(&watch, database, NEVER_MS, count, NULL), 0);
    assert_true(is_called(3));
    assert_int_equal(add_note(database, "1", "one", 0), 0);
    assert_true(hears(1));
    assert_int_equal(calls, 4);
}

static void who_could_not_look_is_called_again_after_the_pause(void **state)
{
    (void)state;
    results[0] = -EBUSY;
    assert_int_equal(weft_sqlite_watch_start(&watch, database, SOON_MS, count, NULL), 0);
    assert_true(is_called(2));
}

static void several_watches_all_hear(void **state)
{
    (void)state;
    weft_sqlite_watch *others[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft_sqlite_watch_start(&others[i], database, NEVER_MS, count, NULL), 0);
    assert_int_equal(add_note(database, "1", "one", 0), 0);
    assert_true(hears(1));
    for (int i = 0; i < 3; i++)
        weft_sqlite_watch_stop(others[i]);
    assert_int_equal(weft_sqlite_watch_start(&watch, database, 0, count, NULL), -EINVAL);
    assert_null(watch);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(a_commit_of_this_process_is_told_at_once),
        TEST(a_commit_of_another_process_is_told_at_the_next_poll),
        TEST(what_was_undone_is_no_change),
        TEST(who_leaves_something_is_called_again_at_once),
        TEST(who_could_not_look_is_called_again_after_the_pause),
        TEST(several_watches_all_hear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
