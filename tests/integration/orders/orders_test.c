/* Orders while processes are killed: test_orders [KILLS].
 *
 * Three processes of user-service share one database; order-service asks them whether users exist. Threads place orders
 * without a pause, each under a key of its own, and some of them twice, while processes are killed and started again.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "order.weft.h"
#include "support/process.h"
#include "support/temp_dir.h"
#include "user.weft.h"

#define USERS            3
#define THREADS          4
#define ORDERS_BY_KILL   60                  /* acknowledged between two kills */
#define MAX_ORDERS       65536               /* of a thread: more than it comes to between all kills */
#define PATIENCE_SECONDS 60                  /* for anything */
#define USERS_TIMEOUT    "users.timeout=15s" /* the machine may be busy */

static int kills = 4;

struct placed {
    char id[64]; /* as acknowledged; "": not */
};

struct shop {
    int ports[USERS + 1]; /* the last is order-service's */
    pid_t pids[USERS + 1];
    weft_engine *engine;
    weft_channel *orders;
    char user_id[64];
};

struct placer {
    struct shop *shop;
    int number;
    pthread_t thread;
    struct placed *placed; /* MAX_ORDERS */
    size_t count;          /* of keys that were used */
};

static bool repeats; /* placers try again what ends with UNAVAILABLE */
static atomic_bool enough;
static atomic_int failures;
static char failure[256]; /* the first */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int acknowledged;

/* ---- processes --------------------------------------------------------------------------------------------------- */

static void start_users(struct shop *shop, int index)
{
    char listen[32], path[TEMP_PATH_BYTES], database[TEMP_PATH_BYTES + 32], log[TEMP_PATH_BYTES];
    const char *args[] = {"user-service", "--listen", listen, "--set", database, "--set", "database.readers=2", NULL};
    snprintf(listen, sizeof listen, "127.0.0.1:%d", shop->ports[index]);
    snprintf(database, sizeof database, "database.path=%s", temp_path("users.db", path));
    shop->pids[index] = process_start(USER_SERVICE, temp_path("users.log", log), args);
}

static void start_orders(struct shop *shop)
{
    char listen[32], path[TEMP_PATH_BYTES], database[TEMP_PATH_BYTES + 32], log[TEMP_PATH_BYTES], target[128];
    const char *args[] = {"order-service", "--listen", listen,  "--set",       database,
                          "--set",         target,     "--set", USERS_TIMEOUT, NULL};
    snprintf(listen, sizeof listen, "127.0.0.1:%d", shop->ports[USERS]);
    snprintf(database, sizeof database, "database.path=%s", temp_path("orders.db", path));
    snprintf(target, sizeof target, "users.target=static:///127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", shop->ports[0],
             shop->ports[1], shop->ports[2]);
    shop->pids[USERS] = process_start(ORDER_SERVICE, temp_path("orders.log", log), args);
}

static weft_channel *channel_to(struct shop *shop, int index)
{
    char target[32];
    weft_channel *channel;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.min_backoff_ms = 10;
    options.max_backoff_ms = 100;
    snprintf(target, sizeof target, "127.0.0.1:%d", shop->ports[index]);
    assert_int_equal(weft_channel_new(&channel, shop->engine, target, &options), 0);
    return channel;
}

/* Waits until it serves. */
static void await(struct shop *shop, int index)
{
    weft_channel *channel = channel_to(shop, index);
    assert_int_equal(weft_channel_connect(channel, PATIENCE_SECONDS * 1000), 0);
    weft_channel_free(channel);
}

static void kill_and_restart(struct shop *shop, int index)
{
    assert_int_equal(kill(shop->pids[index], SIGKILL), 0);
    assert_int_equal(process_wait(shop->pids[index]), -1);
    if (index == USERS)
        start_orders(shop);
    else
        start_users(shop, index);
    await(shop, index);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static void create_user(struct shop *shop)
{
    weft_arena *arena;
    weft_channel *users = channel_to(shop, 0);
    User__CreateUserRequest request = USER__CREATE_USER_REQUEST__INIT;
    User__CreateUserResponse *response = NULL;
    request.name = (char *)(uintptr_t) "Ada";
    request.email = (char *)(uintptr_t) "ada@example.org";
    assert_int_equal(weft_arena_new(&arena, 0), 0);
    weft_status status = user_UserService_CreateUser(users, arena, NULL, &request, &response);
    if (status.code != WEFT_OK)
        fail_msg("%s: %s", weft_code_name(status.code), status.message);
    snprintf(shop->user_id, sizeof shop->user_id, "%s", response->id);
    weft_arena_free(arena);
    weft_channel_free(users);
}

/* Places an order under a key. @return the status's code; `id` is set when it is OK. */
static weft_code place(struct shop *shop, const char *key, char id[64], char *text, size_t text_size)
{
    char block[8192];
    weft_arena *arena;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Order__CreateOrderRequest request = ORDER__CREATE_ORDER_REQUEST__INIT;
    Order__CreateOrderResponse *response = NULL;
    Order__OrderItem item = ORDER__ORDER_ITEM__INIT;
    Order__OrderItem *items[] = {&item};
    Order__Money price = ORDER__MONEY__INIT;
    price.currency_code = (char *)(uintptr_t) "EUR";
    price.minor_units = 1250;
    item.product_id = (char *)(uintptr_t) "tea";
    item.quantity = 2;
    item.price = &price;
    request.user_id = shop->user_id;
    request.items = items;
    request.n_items = 1;
    request.idempotency_key = (char *)(uintptr_t)key;
    options.timeout_ms = 20000;
    options.wait_for_ready = repeats;
    if (weft_arena_init(&arena, block, sizeof block, 1 << 20) < 0)
        return WEFT_INTERNAL;
    weft_status status = order_OrderService_CreateOrder(shop->orders, arena, &options, &request, &response);
    if (status.code == WEFT_OK)
        snprintf(id, 64, "%s", response->order->id);
    snprintf(text, text_size, "%s: %s", weft_code_name(status.code), status.message);
    weft_arena_fini(arena);
    return status.code;
}

static void note_failure(const char *text)
{
    if (atomic_fetch_add(&failures, 1) == 0)
        snprintf(failure, sizeof failure, "%s", text);
}

/* Places an order, again and again if that is allowed, until it is acknowledged. */
static bool place_for_good(struct placer *placer, const char *key, char id[64])
{
    char text[200];
    weft_code code;
    int attempts = 0;
    do
        code = place(placer->shop, key, id, text, sizeof text);
    while (repeats && code == WEFT_UNAVAILABLE && ++attempts < 1000);
    if (code != WEFT_OK)
        note_failure(text);
    return code == WEFT_OK;
}

static void *run_placer(void *arg)
{
    struct placer *placer = arg;
    char key[32];
    char again[64];
    while (!atomic_load(&enough) && placer->count < MAX_ORDERS) {
        char *id = placer->placed[placer->count].id;
        snprintf(key, sizeof key, "order-%d-%zu", placer->number, placer->count);
        placer->count++;
        if (!place_for_good(placer, key, id))
            continue;
        if (placer->count % 5 == 0 && place_for_good(placer, key, again) && strcmp(id, again) != 0)
            note_failure("one key has made two orders");
        pthread_mutex_lock(&lock);
        acknowledged++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

/* Waits for so many more acknowledged orders. */
static void await_orders(int more)
{
    struct timespec deadline;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE_SECONDS;
    pthread_mutex_lock(&lock);
    int wanted = acknowledged + more;
    while (acknowledged < wanted && rc == 0)
        rc = pthread_cond_timedwait(&changed, &lock, &deadline);
    pthread_mutex_unlock(&lock);
    assert_int_equal(rc, 0);
}

static void begin(struct shop *shop, struct placer *placers)
{
    atomic_store(&enough, false);
    atomic_store(&failures, 0);
    acknowledged = 0;
    for (int i = 0; i < THREADS; i++) {
        placers[i] = (struct placer){.shop = shop, .number = i, .placed = calloc(MAX_ORDERS, sizeof(struct placed))};
        assert_non_null(placers[i].placed);
        assert_int_equal(pthread_create(&placers[i].thread, NULL, run_placer, &placers[i]), 0);
    }
}

/* The first lines that order-service has logged as warnings. */
static void show_warnings(void)
{
    char path[TEMP_PATH_BYTES];
    char line[1024];
    int shown = 0;
    FILE *log = fopen(temp_path("orders.log", path), "r");
    while (log != NULL && shown < 10 && fgets(line, sizeof line, log) != NULL)
        if (strstr(line, "\"level\":\"warn\"") != NULL)
            shown += printf("%s", line) > 0;
    if (log != NULL)
        (void)fclose(log);
}

static void end(struct placer *placers)
{
    atomic_store(&enough, true);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(placers[i].thread, NULL), 0);
    if (atomic_load(&failures) > 0) {
        show_warnings();
        fail_msg("%d of the calls failed; the first: %s", atomic_load(&failures), failure);
    }
}

/* ---- what is there in the end ------------------------------------------------------------------------------------ */

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* All ids that the service lists, sorted, 64 bytes each; to be freed. */
static char (*list_ids(struct shop *shop, size_t *count))[64]
{
    char(*ids)[64] = calloc((size_t)THREADS * MAX_ORDERS + 1000, sizeof *ids);
    char token[128] = "";
    weft_arena *arena;
    assert_non_null(ids);
    assert_int_equal(weft_arena_new(&arena, 0), 0);
    *count = 0;
    do {
        Order__ListOrdersRequest request = ORDER__LIST_ORDERS_REQUEST__INIT;
        Order__ListOrdersResponse *page = NULL;
        request.user_id = shop->user_id;
        request.page_size = 1000;
        request.page_token = token;
        weft_status status = order_OrderService_ListOrders(shop->orders, arena, NULL, &request, &page);
        if (status.code != WEFT_OK)
            fail_msg("%s: %s", weft_code_name(status.code), status.message);
        assert_true(*count + page->n_orders <= (size_t)THREADS * MAX_ORDERS);
        for (size_t i = 0; i < page->n_orders; i++) {
            assert_int_equal(page->orders[i]->total_amount->minor_units, 2500);
            assert_int_equal(page->orders[i]->n_items, 1);
            snprintf(ids[(*count)++], sizeof ids[0], "%s", page->orders[i]->id);
        }
        snprintf(token, sizeof token, "%s", page->next_page_token);
        weft_arena_reset(arena);
    } while (token[0] != '\0');
    weft_arena_free(arena);
    qsort(ids, *count, sizeof *ids, compare_ids);
    return ids;
}

/* Every key has made one order, and that is the one which was acknowledged. */
static void nothing_is_lost_or_doubled(struct shop *shop, struct placer *placers)
{
    size_t listed;
    size_t keys = 0;
    char(*ids)[64] = list_ids(shop, &listed);
    for (int i = 0; i < THREADS; i++) {
        for (size_t k = 0; k < placers[i].count; k++)
            assert_non_null(bsearch(placers[i].placed[k].id, ids, listed, sizeof *ids, compare_ids));
        keys += placers[i].count;
        free(placers[i].placed);
    }
    printf("%zu orders, %d kills\n", keys, kills);
    assert_int_equal(listed, keys);
    free(ids);
}

/* ---- the tests --------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    struct shop *shop = calloc(1, sizeof *shop);
    assert_non_null(shop);
    *state = shop;
    assert_int_equal(temp_dir_make(), 0);
    process_choose_ports(shop->ports, USERS + 1);
    assert_int_equal(weft_core_engine_new(&shop->engine, NULL), 0);
    for (int i = 0; i < USERS; i++) {
        start_users(shop, i);
        await(shop, i); /* the first makes the database */
    }
    start_orders(shop);
    await(shop, USERS);
    shop->orders = channel_to(shop, USERS);
    assert_int_equal(weft_channel_connect(shop->orders, PATIENCE_SECONDS * 1000), 0);
    create_user(shop);
    return 0;
}

static int tear_down(void **state)
{
    struct shop *shop = *state;
    weft_channel_free(shop->orders);
    weft_engine_free(shop->engine);
    for (int i = 0; i <= USERS; i++) {
        if (shop->pids[i] <= 0)
            continue;
        kill(shop->pids[i], SIGKILL);
        (void)process_wait(shop->pids[i]);
    }
    temp_dir_remove();
    free(shop);
    return 0;
}

static void users_that_are_killed_make_no_order_fail(void **state)
{
    struct shop *shop = *state;
    struct placer placers[THREADS];
    repeats = false;
    begin(shop, placers);
    for (int i = 0; i < kills; i++) {
        await_orders(ORDERS_BY_KILL);
        kill_and_restart(shop, i % USERS);
    }
    await_orders(ORDERS_BY_KILL);
    end(placers);
    nothing_is_lost_or_doubled(shop, placers);
}

static void an_order_service_that_is_killed_loses_nothing_it_has_acknowledged(void **state)
{
    struct shop *shop = *state;
    struct placer placers[THREADS];
    repeats = true;
    begin(shop, placers);
    for (int i = 0; i < kills; i++) {
        await_orders(ORDERS_BY_KILL + i); /* at another moment of a call each time */
        kill_and_restart(shop, USERS);
    }
    await_orders(ORDERS_BY_KILL);
    end(placers);
    nothing_is_lost_or_doubled(shop, placers);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(users_that_are_killed_make_no_order_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_order_service_that_is_killed_loses_nothing_it_has_acknowledged, set_up,
                                        tear_down),
    };
    if (argc > 1)
        kills = (int)strtol(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
