#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

#include <weft/uuid.h>

#include "order_migrations.h"
#include "order_store_sqlite.h"
#include "support/temp_dir.h"

static const char ada[] = "0190a000-0000-7000-8000-00000000000a";
static const char bob[] = "0190a000-0000-7000-8000-00000000000b";

static char path[TEMP_PATH_BYTES];
static char error[256];
static weft_arena *arena;
static struct order_store *store;

static weft_sqlite_options default_options(void)
{
    weft_sqlite_options options = WEFT_SQLITE_OPTIONS_INIT;
    options.path = path;
    options.readers = 2;
    return options;
}

static int open_store(const weft_sqlite_options *options)
{
    order_store_destroy(store);
    store = NULL;
    return order_store_sqlite_open(&store, options, error, sizeof error);
}

static int make(void **state)
{
    (void)state;
    if (temp_dir_make() != 0 || weft_arena_new(&arena, 4 << 20) != 0)
        return -1;
    temp_path("order.db", path);
    weft_sqlite_options options = default_options();
    return open_store(&options);
}

static int drop(void **state)
{
    (void)state;
    order_store_destroy(store);
    store = NULL;
    weft_arena_free(arena);
    temp_dir_remove();
    return 0;
}

#define ITEMS 20

/* Adds an order of ITEMS items. */
static int add(struct order_store *to, const char *user_id, const char *key, char id[WEFT_UUID_TEXT_BYTES])
{
    struct order_item items[ITEMS];
    for (int i = 0; i < ITEMS; i++)
        items[i] = (struct order_item){"tea", i + 1, 2};
    if (weft_uuid7(id) != 0)
        return -EIO;
    struct order order = {id, user_id, key, "EUR", items, ITEMS, ITEMS * (ITEMS + 1), ORDER_PENDING, 1};
    return order_store_create(to, &order);
}

/* Runs SQL on a connection of its own, as another program would. @return the first column of the first row. */
static int64_t ask(const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, 10000), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    int code = sqlite3_step(statement);
    int64_t number = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    assert_true(code == SQLITE_ROW || code == SQLITE_DONE);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

/* The file is well, and every order has its items and its changes. */
static void assert_sound(void)
{
    assert_int_equal(ask("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
    assert_int_equal(ask("SELECT count(*) FROM pragma_foreign_key_check"), 0);
    assert_int_equal(
        ask("SELECT count(*) FROM orders WHERE (SELECT count(*) FROM order_items WHERE order_id = id) <> 20"), 0);
    assert_int_equal(ask("SELECT count(*) FROM orders WHERE (SELECT group_concat(status) FROM order_changes"
                         " WHERE order_id = id ORDER BY position) <> iif(status = 2, '1,2', '1')"),
                     0);
}

/* ---- One order --------------------------------------------------------------------------------------------------- */

static void assert_same(const struct order *found, const struct order *order)
{
    assert_string_equal(found->id, order->id);
    assert_true(order_asks_the_same(found, order));
    assert_true(found->total == order->total);
    assert_int_equal(found->status, order->status);
    assert_true(found->created_at_ns == order->created_at_ns);
}

static void a_created_order_is_found_by_id_and_by_key(void **state)
{
    (void)state;
    struct order_item items[] = {{"t\xc3\xa9", 1000000, INT64_C(1) << 40}, {"pot", 1, 0}, {"an 'x'", 7, 5}};
    struct order order = {"0190a000-0000-7000-8000-000000000001",
                          ada,
                          "key",
                          "EUR",
                          items,
                          3,
                          INT64_MAX,
                          ORDER_PENDING,
                          1764440000123456789};
    struct order found;
    int64_t position = -1;
    assert_int_equal(order_store_create(store, &order), 0);
    assert_int_equal(order_store_get(store, order.id, arena, &found, &position), 0);
    assert_same(&found, &order);
    assert_int_equal(position, 1);
    assert_int_equal(order_store_find(store, ada, "key", arena, &found), 0);
    assert_same(&found, &order);
}

static void a_missing_order_is_enoent_and_the_output_untouched(void **state)
{
    (void)state;
    struct order found = {.user_id = "untouched"};
    int64_t position = -1;
    assert_int_equal(order_store_get(store, "0190a000-0000-7000-8000-000000000009", arena, &found, &position), -ENOENT);
    assert_int_equal(order_store_find(store, ada, "key", arena, &found), -ENOENT);
    assert_int_equal(order_store_cancel(store, "no-id", arena, &found), -ENOENT);
    assert_string_equal(found.user_id, "untouched");
    assert_int_equal(position, -1);
}

static void a_key_belongs_to_one_order_of_a_user(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    char other[WEFT_UUID_TEXT_BYTES];
    struct order found;
    assert_int_equal(add(store, ada, "key", id), 0);
    assert_int_equal(add(store, ada, "key", other), -EEXIST);
    assert_int_equal(order_store_get(store, other, arena, &found, NULL), -ENOENT);
    assert_int_equal(add(store, bob, "key", other), 0);
    assert_int_equal(add(store, ada, "KEY", other), 0);
    assert_int_equal(order_store_find(store, ada, "key", arena, &found), 0);
    assert_string_equal(found.id, id);
    assert_int_equal(ask("SELECT count(*) FROM orders"), 3);
    assert_sound();
}

static void a_cancelled_order_stays_cancelled(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    struct order found;
    assert_int_equal(add(store, ada, "key", id), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(order_store_cancel(store, id, arena, &found), 0);
        assert_string_equal(found.id, id);
        assert_int_equal(found.status, ORDER_CANCELLED);
        assert_int_equal(found.item_count, ITEMS);
    }
    assert_int_equal(ask("SELECT count(*) FROM order_changes"), 2); /* the second time nothing changed */
    assert_int_equal(order_store_get(store, id, arena, &found, NULL), 0);
    assert_int_equal(found.status, ORDER_CANCELLED);
    assert_sound();
}

static void a_cancel_whose_answer_does_not_fit_changes_nothing(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    struct order found;
    assert_int_equal(add(store, ada, "key", id), 0);
    while (!weft_arena_failed(arena))
        (void)weft_arena_alloc(arena, 4096);
    assert_int_equal(order_store_cancel(store, id, arena, &found), -ENOMEM);
    weft_arena_reset(arena);
    assert_int_equal(order_store_get(store, id, arena, &found, NULL), 0);
    assert_int_equal(found.status, ORDER_PENDING);
    assert_sound();
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

static void pages_hold_every_order_of_a_user_once_the_newest_first(void **state)
{
    (void)state;
    char ids[25][WEFT_UUID_TEXT_BYTES];
    char other[WEFT_UUID_TEXT_BYTES];
    char key[16];
    const char *before = NULL;
    size_t seen = 0;
    for (int i = 0; i < 25; i++) {
        snprintf(key, sizeof key, "%d", i);
        assert_int_equal(add(store, ada, key, ids[i]), 0);
        assert_int_equal(add(store, bob, key, other), 0);
    }
    for (int page = 0; page < 4; page++) {
        struct order *orders;
        size_t count = 99;
        assert_int_equal(order_store_list(store, ada, before, 10, arena, &orders, &count), 0);
        assert_int_equal(count, page < 2 ? 10 : page == 2 ? 5 : 0);
        for (size_t i = 0; i < count; i++, seen++) {
            assert_string_equal(orders[i].id, ids[24 - seen]);
            assert_int_equal(orders[i].item_count, ITEMS);
        }
        if (count > 0)
            before = orders[count - 1].id;
    }
    assert_int_equal(seen, 25);
}

/* ---- Changes ----------------------------------------------------------------------------------------------------- */

static void changes_come_in_the_order_of_commits_with_what_they_made(void **state)
{
    (void)state;
    char first[WEFT_UUID_TEXT_BYTES];
    char second[WEFT_UUID_TEXT_BYTES];
    char other[WEFT_UUID_TEXT_BYTES];
    struct order found;
    struct order_change *changes;
    size_t count;
    int64_t position = -1;
    assert_int_equal(order_store_position(store, &position), 0);
    assert_int_equal(position, 0);
    assert_int_equal(add(store, ada, "1", first), 0);
    assert_int_equal(add(store, ada, "2", second), 0);
    assert_int_equal(add(store, ada, "2", other), -EEXIST); /* and no position is lost */
    assert_int_equal(order_store_cancel(store, first, arena, &found), 0);
    assert_int_equal(order_store_changes(store, 0, 10, arena, &changes, &count), 0);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(changes[i].position, i + 1);
    assert_string_equal(changes[0].order.id, first);
    assert_int_equal(changes[0].order.status, ORDER_PENDING); /* as it was then */
    assert_int_equal(changes[0].order.item_count, ITEMS);
    assert_string_equal(changes[2].order.id, first);
    assert_int_equal(changes[2].order.status, ORDER_CANCELLED);
    assert_int_equal(order_store_changes(store, 1, 1, arena, &changes, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(changes[0].position, 2);
    assert_int_equal(order_store_changes(store, 3, 10, arena, &changes, &count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(order_store_position(store, &position), 0);
    assert_int_equal(position, 3);
}

static void the_last_10000_changes_are_kept(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    struct order_change *changes;
    size_t count;
    int64_t position;
    assert_int_equal(add(store, ada, "1", id), 0);
    (void)ask("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)"
              " INSERT INTO order_changes (order_id, status) SELECT id, 1 FROM orders, n");
    assert_int_equal(ask("SELECT count(*) FROM order_changes"), 10000);
    assert_int_equal(add(store, ada, "2", id), 0);
    assert_int_equal(add(store, ada, "3", id), 0);
    assert_int_equal(ask("SELECT count(*) FROM order_changes"), 10000);
    assert_int_equal(order_store_changes(store, 0, 1, arena, &changes, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(changes[0].position, 3); /* whoever wants the first two sees that they are missing */
    assert_int_equal(order_store_position(store, &position), 0);
    assert_int_equal(position, 10002);
}

struct bell {
    pthread_mutex_t lock;
    pthread_cond_t rung;
    int times;
};

static int ring(void *arg)
{
    struct bell *bell = arg;
    pthread_mutex_lock(&bell->lock);
    bell->times++;
    pthread_cond_signal(&bell->rung);
    pthread_mutex_unlock(&bell->lock);
    return 0;
}

static void wait_for_ring(struct bell *bell)
{
    struct timespec deadline;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 30;
    pthread_mutex_lock(&bell->lock);
    while (bell->times == 0 && rc == 0)
        rc = pthread_cond_timedwait(&bell->rung, &bell->lock, &deadline);
    bell->times = 0;
    pthread_mutex_unlock(&bell->lock);
    assert_int_equal(rc, 0);
}

static void a_change_by_whomever_is_told(void **state)
{
    (void)state;
    struct bell bell = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    weft_sqlite_options options = default_options();
    struct order_store *other;
    char id[WEFT_UUID_TEXT_BYTES];
    assert_int_equal(order_store_sqlite_open(&other, &options, error, sizeof error), 0);
    assert_int_equal(order_store_watch(store, ring, &bell), 0);
    wait_for_ring(&bell); /* the beginning */
    assert_int_equal(add(store, ada, "1", id), 0);
    wait_for_ring(&bell);
    assert_int_equal(add(other, ada, "2", id), 0);
    wait_for_ring(&bell);
    order_store_unwatch(store);
    order_store_destroy(other);
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static void orders_outlive_the_program(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    struct order found;
    int64_t position;
    weft_sqlite_options options = default_options();
    options.sync_commits = true;
    assert_int_equal(open_store(&options), 0);
    assert_int_equal(add(store, ada, "key", id), 0);
    assert_int_equal(open_store(&options), 0);
    assert_int_equal(order_store_get(store, id, arena, &found, &position), 0);
    assert_int_equal(position, 1);
    assert_int_equal(ask("SELECT max(version) FROM schema_version"), (int64_t)order_migration_count);
}

static void a_newer_schema_is_refused_with_a_clear_text(void **state)
{
    (void)state;
    weft_sqlite_options options = default_options();
    (void)ask("INSERT INTO schema_version (version, name) VALUES (99, '0099_future.sql')");
    assert_int_equal(open_store(&options), -ENOTSUP);
    assert_non_null(strstr(error, "schema version 99"));
    assert_null(store);
}

/* ---- Trouble ----------------------------------------------------------------------------------------------------- */

static void a_locked_database_is_ebusy_and_reads_go_on(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    char other[WEFT_UUID_TEXT_BYTES];
    struct order found;
    sqlite3 *db;
    weft_sqlite_options options = default_options();
    options.busy_timeout_ms = 20;
    assert_int_equal(open_store(&options), 0);
    assert_int_equal(add(store, ada, "1", id), 0);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(add(store, ada, "2", other), -EBUSY);
    assert_int_equal(order_store_cancel(store, id, arena, &found), -EBUSY);
    assert_int_equal(order_store_get(store, id, arena, &found, NULL), 0);
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(add(store, ada, "2", other), 0);
    assert_sound();
}

static void a_full_database_is_enospc_and_no_order_is_half_written(void **state)
{
    (void)state;
    weft_sqlite_options options = default_options();
    char id[WEFT_UUID_TEXT_BYTES];
    char key[16];
    int rc = 0;
    int orders = 0;
    struct order *list;
    size_t count;
    options.max_bytes = 200 << 10;
    assert_int_equal(open_store(&options), 0);
    for (; orders < 10000; orders++) {
        snprintf(key, sizeof key, "%d", orders);
        if ((rc = add(store, ada, key, id)) != 0)
            break;
    }
    assert_int_equal(rc, -ENOSPC);
    assert_true(orders > 10);
    assert_int_equal(ask("SELECT count(*) FROM orders"), orders);
    assert_int_equal(ask("SELECT count(*) FROM order_changes"), orders);
    assert_int_equal(order_store_list(store, ada, NULL, 10, arena, &list, &count), 0);
    assert_int_equal(count, 10);
    assert_sound();
}

/* ---- Threads and crashes ----------------------------------------------------------------------------------------- */

#define THREADS 8
#define KEYS    40

struct worker {
    pthread_t thread;
    int created;
    int failures;
};

/* Places the same KEYS orders as all others, and finds each of them. */
static void *race(void *arg)
{
    struct worker *worker = arg;
    weft_arena *mine;
    if (weft_arena_new(&mine, 1 << 20) != 0)
        return NULL;
    for (int i = 0; i < KEYS; i++) {
        char id[WEFT_UUID_TEXT_BYTES];
        char key[16];
        struct order found;
        snprintf(key, sizeof key, "%d", i);
        weft_arena_reset(mine);
        int rc = add(store, ada, key, id);
        worker->created += rc == 0;
        worker->failures += rc != 0 && rc != -EEXIST;
        worker->failures += order_store_find(store, ada, key, mine, &found) != 0;
        worker->failures += rc == 0 && strcmp(found.id, id) != 0;
        if (i % 2 == 0)
            worker->failures += order_store_cancel(store, found.id, mine, &found) != 0;
    }
    weft_arena_free(mine);
    return NULL;
}

static void many_threads_with_the_same_keys_make_one_order_each(void **state)
{
    (void)state;
    struct worker workers[THREADS] = {{.created = 0}};
    int created = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, race, &workers[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].failures, 0);
        created += workers[i].created;
    }
    assert_int_equal(created, KEYS);
    assert_int_equal(ask("SELECT count(*) FROM orders"), KEYS);
    assert_int_equal(ask("SELECT count(*) FROM order_changes"), KEYS + KEYS / 2);
    assert_int_equal(ask("SELECT max(position) FROM order_changes"), KEYS + KEYS / 2);
    assert_sound();
}

/* The child's life: adds orders, cancels every other one, and tells the id of each that the store has taken. */
static void add_until_killed(int round, int out)
{
    weft_sqlite_options options = default_options();
    struct order_store *mine;
    struct order order;
    char key[32];
    char id[WEFT_UUID_TEXT_BYTES];
    if (order_store_sqlite_open(&mine, &options, error, sizeof error) != 0)
        _exit(1);
    for (int i = 0; i < 1000000; i++) {
        snprintf(key, sizeof key, "%d-%d", round, i);
        weft_arena_reset(arena);
        if (add(mine, ada, key, id) != 0 || (i % 2 == 1 && order_store_cancel(mine, id, arena, &order) != 0) ||
            write(out, id, sizeof id) != sizeof id)
            _exit(2);
    }
    _exit(3);
}

/* Kills a process that has acknowledged so many orders, whatever it does just then. */
static void kill_after(int round, int orders)
{
    int ends[2];
    int status;
    char id[WEFT_UUID_TEXT_BYTES];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0)
        add_until_killed(round, ends[1]);
    assert_true(child > 0);
    close(ends[1]);
    for (int i = 0; i < orders; i++)
        for (size_t got = 0; got < sizeof id;) {
            ssize_t n = read(ends[0], id + got, sizeof id - got);
            assert_true(n > 0);
            got += (size_t)n;
        }
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    close(ends[0]);
}

static void a_killed_process_leaves_no_half_order_and_loses_none_it_has_acknowledged(void **state)
{
    (void)state;
    enum {
        ROUNDS = 20
    };
    int acknowledged = 0;
    weft_sqlite_options options = default_options();
    order_store_destroy(store);
    store = NULL;
    for (int round = 0; round < ROUNDS; round++) {
        kill_after(round, 1 + round);
        acknowledged += 1 + round;
        assert_int_equal(open_store(&options), 0); /* recovers what there is */
        order_store_destroy(store);
        store = NULL;
        assert_true(ask("SELECT count(*) FROM orders") >= acknowledged);
        assert_sound();
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(a_created_order_is_found_by_id_and_by_key),
        TEST(a_missing_order_is_enoent_and_the_output_untouched),
        TEST(a_key_belongs_to_one_order_of_a_user),
        TEST(a_cancelled_order_stays_cancelled),
        TEST(a_cancel_whose_answer_does_not_fit_changes_nothing),
        TEST(pages_hold_every_order_of_a_user_once_the_newest_first),
        TEST(changes_come_in_the_order_of_commits_with_what_they_made),
        TEST(the_last_10000_changes_are_kept),
        TEST(a_change_by_whomever_is_told),
        TEST(orders_outlive_the_program),
        TEST(a_newer_schema_is_refused_with_a_clear_text),
        TEST(a_locked_database_is_ebusy_and_reads_go_on),
        TEST(a_full_database_is_enospc_and_no_order_is_half_written),
        TEST(many_threads_with_the_same_keys_make_one_order_each),
        TEST(a_killed_process_leaves_no_half_order_and_loses_none_it_has_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
