/* order-service as its operator sees it: a process with a command line, signals, exit codes and a log, and user-service
 * beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "order.weft.h"
#include "support/service.h"
#include "support/temp_dir.h"
#include "user.weft.h"

#define start(process, ...) start_program((process), ORDER_SERVICE, __VA_ARGS__)

static char database[TEMP_PATH_BYTES];

static int make(void **state)
{
    (void)state;
    temp_dir_make();
    temp_path("orders.db", database);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    temp_dir_remove();
    return 0;
}

/* ---- Two services ------------------------------------------------------------------------------------------------ */

/* A user-service and a client of it. */
struct users {
    struct process process;
    struct client client;
    char address[128];
    char ada[WEFT_UUID_TEXT_BYTES];
};

static void users_start(struct users *users, const char *address)
{
    char file[TEMP_PATH_BYTES];
    char set[TEMP_PATH_BYTES + 16];
    snprintf(set, sizeof set, "database.path=%s", temp_path("users.db", file));
    start_program(&users->process, USER_SERVICE, "--listen", address, "--set", set, NULL);
    read_address(&users->process, 0, users->address, sizeof users->address);
    client_open(&users->client, users->address);
}

static void users_stop(struct users *users)
{
    client_close(&users->client);
    assert_int_equal(kill(users->process.pid, SIGTERM), 0);
    assert_int_equal(wait_for_end(&users->process), 0);
}

/* @return her id, which outlives the service. */
static char *add_ada(struct users *users)
{
    User__CreateUserRequest request = USER__CREATE_USER_REQUEST__INIT;
    User__CreateUserResponse *response = NULL;
    request.name = "Ada";
    request.email = "ada@example.org";
    assert_code(user_UserService_CreateUser(users->client.channel, users->client.arena, NULL, &request, &response),
                WEFT_OK);
    snprintf(users->ada, sizeof users->ada, "%s", response->id);
    return users->ada;
}

/* An order-service that asks users at an address, and a client of it. */
struct orders {
    struct process process;
    struct client client;
    char address[128];
};

static void orders_start(struct orders *orders, const char *users)
{
    char target[160];
    char set[TEMP_PATH_BYTES + 16];
    snprintf(target, sizeof target, "users.target=static:///%s", users);
    snprintf(set, sizeof set, "database.path=%s", database);
    start(&orders->process, "--listen", "127.0.0.1:0", "--set", set, "--set", target, "--set", "server.drain=1h", NULL);
    read_address(&orders->process, 0, orders->address, sizeof orders->address);
    client_open(&orders->client, orders->address);
}

static void orders_stop(struct orders *orders)
{
    client_close(&orders->client);
    assert_int_equal(kill(orders->process.pid, SIGTERM), 0);
    assert_int_equal(wait_for_end(&orders->process), 0);
    assert_non_null(strstr(orders->process.text, "\"phase\":\"stopped\""));
}

static weft_status create_in(struct orders *orders, char *user_id, char *key, int64_t timeout_ms, char **id)
{
    Order__Money price = ORDER__MONEY__INIT;
    Order__OrderItem item = ORDER__ORDER_ITEM__INIT;
    Order__OrderItem *items[] = {&item};
    Order__CreateOrderRequest request = ORDER__CREATE_ORDER_REQUEST__INIT;
    Order__CreateOrderResponse *response = NULL;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.timeout_ms = timeout_ms;
    price.currency_code = "EUR";
    price.minor_units = 500;
    item.product_id = "tea";
    item.quantity = 2;
    item.price = &price;
    request.user_id = user_id;
    request.idempotency_key = key;
    request.items = items;
    request.n_items = 1;
    weft_status status =
        order_OrderService_CreateOrder(orders->client.channel, orders->client.arena, &options, &request, &response);
    if (status.code == WEFT_OK && id != NULL)
        *id = response->order->id;
    return status;
}

static weft_status create(struct orders *orders, char *user_id, char *key, char **id)
{
    return create_in(orders, user_id, key, 60000, id);
}

static weft_status cancel(struct orders *orders, char *id)
{
    Order__CancelOrderRequest request = ORDER__CANCEL_ORDER_REQUEST__INIT;
    Order__CancelOrderResponse *response = NULL;
    request.id = id;
    return order_OrderService_CancelOrder(orders->client.channel, orders->client.arena, NULL, &request, &response);
}

typedef order_OrderService_WatchOrder_client watcher;

/* Watches an order, and takes the first message. */
static watcher *watch(struct orders *orders, char *id)
{
    Order__WatchOrderRequest request = ORDER__WATCH_ORDER_REQUEST__INIT;
    Order__WatchOrderResponse *first;
    watcher *stream = NULL;
    request.id = id;
    assert_int_equal(order_OrderService_WatchOrder(&stream, orders->client.channel, NULL, &request), 0);
    assert_int_equal(order_OrderService_WatchOrder_client_recv(stream, &first), 1);
    assert_int_equal(first->order->status, ORDER__ORDER_STATUS__ORDER_STATUS_PENDING);
    return stream;
}

/* From now on the client tries again what is UNAVAILABLE, for some seconds. */
static void be_patient(struct orders *orders)
{
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.service_config = "{\"methodConfig\": [{\"name\": [{}], \"retryPolicy\": {\"maxAttempts\": 5,"
                             " \"initialBackoff\": \"0.5s\", \"maxBackoff\": \"2s\", \"backoffMultiplier\": 2,"
                             " \"retryableStatusCodes\": [\"UNAVAILABLE\"]}}]}";
    weft_channel_free(orders->client.channel);
    assert_int_equal(weft_channel_new(&orders->client.channel, orders->client.engine, orders->address, &options), 0);
}

static void users_of_the_user_service_order_and_others_do_not(void **state)
{
    (void)state;
    static char nobody[] = "0190a000-0000-7000-8000-000000000000";
    struct users users;
    struct orders orders;
    char *id = NULL;
    char *again = NULL;
    users_start(&users, "127.0.0.1:0");
    orders_start(&orders, users.address);
    char *ada = add_ada(&users);
    assert_code(create(&orders, ada, "key", &id), WEFT_OK);
    assert_code(create(&orders, nobody, "key", NULL), WEFT_FAILED_PRECONDITION);
    users_stop(&users);
    assert_code(create(&orders, ada, "key", &again), WEFT_OK); /* known already: nobody is asked */
    assert_string_equal(again, id);
    orders_stop(&orders);
}

static void a_user_service_that_is_down_is_unavailable_within_the_deadline_until_it_is_back(void **state)
{
    (void)state;
    struct users users;
    struct orders orders;
    struct timespec before;
    struct timespec after;
    weft_status status = {.code = WEFT_UNAVAILABLE};
    users_start(&users, "127.0.0.1:0");
    char *ada = add_ada(&users);
    char address[128];
    snprintf(address, sizeof address, "%s", users.address);
    users_stop(&users);
    orders_start(&orders, address);
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_code(create_in(&orders, ada, "key", 20000, NULL), WEFT_UNAVAILABLE);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true(after.tv_sec - before.tv_sec < 20);
    users_start(&users, address);
    be_patient(&orders);
    for (int i = 0; i < 30 && status.code == WEFT_UNAVAILABLE; i++)
        status = create(&orders, ada, "key", NULL);
    assert_code(status, WEFT_OK);
    orders_stop(&orders);
    users_stop(&users);
}

static void orders_outlive_a_killed_process(void **state)
{
    (void)state;
    struct users users;
    struct orders orders;
    char *id = NULL;
    char *again = NULL;
    char keep[64];
    users_start(&users, "127.0.0.1:0");
    char *ada = add_ada(&users);
    orders_start(&orders, users.address);
    assert_code(create(&orders, ada, "key", &id), WEFT_OK);
    snprintf(keep, sizeof keep, "%s", id);
    client_close(&orders.client);
    assert_int_equal(kill(orders.process.pid, SIGKILL), 0);
    assert_int_equal(wait_for_end(&orders.process), -1);
    orders_start(&orders, users.address);
    assert_code(create(&orders, ada, "key", &again), WEFT_OK);
    assert_string_equal(again, keep);
    orders_stop(&orders);
    users_stop(&users);
}

static void a_process_tells_what_another_one_does_and_ends_its_watches_with_sigterm(void **state)
{
    (void)state;
    struct users users;
    struct orders here;
    struct orders there;
    char *first = NULL;
    char *second = NULL;
    Order__WatchOrderResponse *message;
    users_start(&users, "127.0.0.1:0");
    char *ada = add_ada(&users);
    orders_start(&here, users.address);
    orders_start(&there, users.address);
    assert_code(create(&here, ada, "1", &first), WEFT_OK);
    assert_code(create(&here, ada, "2", &second), WEFT_OK);

    watcher *stream = watch(&here, first);
    watcher *open = watch(&here, second);
    assert_code(cancel(&there, first), WEFT_OK);
    assert_int_equal(order_OrderService_WatchOrder_client_recv(stream, &message), 1);
    assert_int_equal(message->order->status, ORDER__ORDER_STATUS__ORDER_STATUS_CANCELLED);
    assert_int_equal(order_OrderService_WatchOrder_client_recv(stream, &message), 0);
    assert_code(order_OrderService_WatchOrder_client_finish(stream, here.client.arena), WEFT_OK);

    /* The other watch ends long before the hour that calls have to end. */
    assert_int_equal(kill(here.process.pid, SIGTERM), 0);
    assert_int_equal(order_OrderService_WatchOrder_client_recv(open, &message), 0);
    assert_code(order_OrderService_WatchOrder_client_finish(open, here.client.arena), WEFT_UNAVAILABLE);
    assert_int_equal(wait_for_end(&here.process), 0);
    client_close(&here.client);
    orders_stop(&there);
    users_stop(&users);
}

/* Runs the example client. @return what it printed; its exit code is the expected one. */
static const char *run_client(struct process *client, int code, char *address, char *command, char *id, char *item)
{
#ifdef ORDER_CLIENT
    start_program(client, ORDER_CLIENT, address, command, id, item, NULL);
    assert_int_equal(wait_for_end(client), code);
#else
    (void)client, (void)code, (void)address, (void)command, (void)id, (void)item;
    print_message("skipped: the example client is not built (WEFT_BUILD_EXAMPLES)\n");
    skip();
#endif
    return client->text;
}

static void the_example_client_prints_status_and_orders(void **state)
{
    (void)state;
    struct users users;
    struct orders orders;
    struct process client;
    char id[WEFT_UUID_TEXT_BYTES];
    char expected[512];
    users_start(&users, "127.0.0.1:0");
    orders_start(&orders, users.address);
    char *ada = add_ada(&users);
    const char *text = run_client(&client, 0, orders.address, "create", ada, "tea:2:350");
    assert_int_equal(sscanf(text, "OK\n  id: %36s", id), 1);
    snprintf(expected, sizeof expected,
             "OK\n  id: %s\n  user: %s\n  item: tea 2 350\n  total: 700 EUR\n  status: PENDING\n", id, ada);
    assert_string_equal(text, expected);
    assert_string_equal(run_client(&client, 0, orders.address, "get", id, NULL), expected);
    assert_string_equal(run_client(&client, 0, orders.address, "list", ada, NULL), expected);
    assert_non_null(strstr(run_client(&client, 0, orders.address, "cancel", id, NULL), "  status: CANCELLED\n"));
    assert_non_null(strstr(run_client(&client, 0, orders.address, "watch", id, NULL), "  status: CANCELLED\n"));
    assert_string_equal(run_client(&client, 1, orders.address, "get", "x", NULL),
                        "NOT_FOUND: order x does not exist\n");
    (void)run_client(&client, 2, orders.address, "create", ada, "tea:2");
    (void)run_client(&client, 2, orders.address, "create", ada, "tea:4294967297:1");
    orders_stop(&orders);
    users_stop(&users);
}

static void what_it_cannot_do_is_logged_with_1_and_what_is_a_mistake_with_2(void **state)
{
    (void)state;
    struct process process;
    char set[TEMP_PATH_BYTES + 16];
    start(&process, "--listen", "127.0.0.1:0", "--set", "database.path=/nonexistent/orders.db", NULL);
    assert_int_equal(wait_for_end(&process), 1);
    assert_non_null(strstr(process.text, "/nonexistent/orders.db"));
    snprintf(set, sizeof set, "database.path=%s", database);
    start(&process, "--listen", "127.0.0.1:0", "--set", set, "--set", "users.target=gopher://users", NULL);
    assert_int_equal(wait_for_end(&process), 2);
    assert_non_null(strstr(process.text, "users.target"));
}

/* ---- Command line ------------------------------------------------------------------------------------------------ */

static void mistakes_in_the_configuration_are_all_told_and_end_with_2(void **state)
{
    (void)state;
    struct process process;
    char file[TEMP_PATH_BYTES];
    char expected[2 * TEMP_PATH_BYTES + 200];
    temp_path("order.yaml", file);
    write_file(file, "users:\n  targt: x\ndatabase: {sync: perhaps}\n");
    snprintf(expected, sizeof expected,
             "%s:2: unknown key \"users.targt\"; did you mean \"users.target\"?\n"
             "%s:3: database.sync: expected true or false, found \"perhaps\"\n",
             file, file);
    start(&process, "--config", file, "--check", NULL);
    assert_int_equal(wait_for_end(&process), 2);
    assert_string_equal(process.text, expected);
}

static void its_keys_come_from_the_environment_too(void **state)
{
    (void)state;
    struct process process;
    assert_int_equal(setenv("ORDER_USERS_TARGET", "dns:///users:50051", 1), 0);
    start(&process, "--set", "users.timeout=250ms", "--print-config", NULL);
    assert_int_equal(unsetenv("ORDER_USERS_TARGET"), 0);
    assert_int_equal(wait_for_end(&process), 0);
    assert_non_null(strstr(process.text, "\nusers.target: \"dns:///users:50051\"  # environment ORDER_USERS_TARGET\n"));
    assert_non_null(strstr(process.text, "\nusers.timeout: 250ms  # --set\n"));
    assert_non_null(strstr(process.text, "\ndatabase.sync: true  # default\n"));
    assert_non_null(strstr(process.text, "\ndatabase.path: \"orders.db\"  # default\n"));
}

static void what_is_only_asked_for_ends_with_0(void **state)
{
    (void)state;
    static char *const asked[][2] = {{"--check", ""},
                                     {"--version", "order-service 0"},
                                     {"--help", "Usage: order-service"},
                                     {"--print-config", "# "}};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        struct process process;
        start(&process, asked[i][0], NULL);
        assert_int_equal(wait_for_end(&process), 0);
        assert_int_equal(strncmp(process.text, asked[i][1], strlen(asked[i][1])), 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(users_of_the_user_service_order_and_others_do_not),
        TEST(a_user_service_that_is_down_is_unavailable_within_the_deadline_until_it_is_back),
        TEST(orders_outlive_a_killed_process),
        TEST(a_process_tells_what_another_one_does_and_ends_its_watches_with_sigterm),
        TEST(the_example_client_prints_status_and_orders),
        TEST(what_it_cannot_do_is_logged_with_1_and_what_is_a_mistake_with_2),
        TEST(mistakes_in_the_configuration_are_all_told_and_end_with_2),
        TEST(its_keys_come_from_the_environment_too),
        TEST(what_is_only_asked_for_ends_with_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
