/* CreateOrder with a user service beside it: two instances, which answer as they are told, over the memory engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>

#include <weft/testing.h>

#include "rig.h"
#include "user.weft.h"
#include "users_grpc.h"

#define INSTANCES  2
#define TIMEOUT_MS 1000

static const int64_t ns_per_ms = 1000000;

struct instance {
    weft_server *server;
    atomic_int answer; /* a weft_code */
    atomic_bool holds; /* answers when nobody waits any more */
    atomic_int asked;
    atomic_int gave_up;           /* questions whose answer nobody waits for any more */
    _Atomic int64_t remaining_ns; /* of the last question */
};

static struct instance instances[INSTANCES];
static weft_channel *users;

struct held {
    weft_call *call;
    struct instance *instance;
};

static void give_up(void *arg)
{
    struct held *held = arg;
    struct instance *instance = held->instance;
    weft_call_finish(held->call, WEFT_CANCELLED, NULL);
    atomic_fetch_add(&instance->gave_up, 1);
}

/* Answers when nobody waits any more. */
static weft_code hold(weft_call *call, struct instance *instance)
{
    struct held *held = weft_arena_alloc(weft_call_arena(call), sizeof *held);
    if (held == NULL)
        return weft_fail_errno(call, -ENOMEM);
    *held = (struct held){call, instance};
    (void)weft_call_defer(call);
    if (weft_call_when_cancelled(call, give_up, held) != 0)
        give_up(held);
    return WEFT_OK;
}

static weft_code get_user(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                          void *self)
{
    struct instance *instance = self;
    weft_code answer = (weft_code)atomic_load(&instance->answer);
    response->user = weft_arena_alloc(weft_call_arena(call), sizeof *response->user);
    if (response->user == NULL)
        return weft_fail_errno(call, -ENOMEM);
    user__user__init(response->user);
    response->user->id = request->id;
    atomic_store(&instance->remaining_ns, weft_call_remaining_ns(call));
    atomic_fetch_add(&instance->asked, 1);
    if (atomic_load(&instance->holds))
        return hold(call, instance);
    return answer == WEFT_OK ? WEFT_OK : weft_fail(call, answer, "as it was told");
}

static void start_instance(int index)
{
    static const user_UserService_ops ops = {.GetUser = get_user};
    struct instance *instance = &instances[index];
    char address[32];
    snprintf(address, sizeof address, "10.0.0.%d:1", index + 1);
    assert_int_equal(weft_server_new(&instance->server, rig.engine, NULL), 0);
    assert_int_equal(user_UserService_register(instance->server, &ops, instance, NULL), 0);
    assert_int_equal(weft_server_listen(instance->server, address), 0);
    assert_int_equal(weft_server_start(instance->server), 0);
}

static void stop_instance(int index)
{
    weft_server_free(instances[index].server);
    instances[index].server = NULL;
}

static int make(void **state)
{
    if (rig_make(state) != 0)
        return -1;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    users_grpc_options(&options);
    memset(instances, 0, sizeof instances);
    for (int i = 0; i < INSTANCES; i++)
        start_instance(i);
    if (weft_channel_new(&users, rig.engine, "static:///10.0.0.1:1,10.0.0.2:1", &options) != 0)
        return -1;
    return users_grpc_new(&service.users, users, TIMEOUT_MS, NULL);
}

static int drop(void **state)
{
    struct user_directory *directory = service.users;
    weft_channel_free(rig.channel); /* no call runs any more */
    rig.channel = NULL;
    user_directory_destroy(directory);
    for (int i = 0; i < INSTANCES; i++)
        stop_instance(i);
    return rig_drop(state);
}

static void all_answer(weft_code code, bool hold)
{
    for (int i = 0; i < INSTANCES; i++) {
        atomic_store(&instances[i].answer, (int)code);
        atomic_store(&instances[i].holds, hold);
    }
}

static int asked(void)
{
    return atomic_load(&instances[0].asked) + atomic_load(&instances[1].asked);
}

/* How a call that takes virtual time has ended. */
struct outcome {
    atomic_bool ended;
    weft_code code;
    char message[128];
};

static void on_done(const weft_status *status, Order__CreateOrderResponse *response, weft_result *result, void *arg)
{
    struct outcome *outcome = arg;
    (void)response;
    (void)result;
    outcome->code = status->code;
    snprintf(outcome->message, sizeof outcome->message, "%s", status->message);
    atomic_store(&outcome->ended, true);
}

/* Orders while time passes. @param timeout_ms 0: none. @return how long it took, in ms, to 10. */
static int64_t order_in_time(int64_t timeout_ms, weft_code code, const char *message)
{
    struct outcome outcome = {.code = WEFT_OK};
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    int64_t begun_ns = weft_engine_now_ns(rig.engine);
    options.timeout_ms = timeout_ms;
    assert_int_equal(
        order_OrderService_CreateOrder_async(rig.channel, &options, request_of(ADA, "key"), on_done, &outcome), 0);
    for (int i = 0; i < 10000 && !atomic_load(&outcome.ended); i++)
        weft_test_advance(rig.engine, 10 * ns_per_ms);
    assert_true(atomic_load(&outcome.ended));
    if (outcome.code != code || strcmp(outcome.message, message) != 0)
        fail_msg("%s \"%s\"", weft_code_name(outcome.code), outcome.message);
    return (weft_engine_now_ns(rig.engine) - begun_ns) / ns_per_ms;
}

static const char cannot[] = "the user service cannot be asked; try again";

static void somebody_the_user_service_knows_may_order(void **state)
{
    (void)state;
    create_order("key");
    assert_int_equal(asked(), 1);
}

static void somebody_it_does_not_know_may_not(void **state)
{
    (void)state;
    all_answer(WEFT_NOT_FOUND, false);
    assert_status(create(request_of(ADA, "key"), NULL), WEFT_FAILED_PRECONDITION, "user " ADA " does not exist");
    assert_int_equal(asked(), 1);
}

static void an_instance_that_cannot_answer_is_passed_over(void **state)
{
    (void)state;
    atomic_store(&instances[0].answer, WEFT_UNAVAILABLE);
    for (int i = 0; i < 10; i++) {
        int before = atomic_load(&instances[1].asked);
        char key[16];
        struct outcome outcome = {.code = WEFT_OK};
        snprintf(key, sizeof key, "%d", i);
        assert_int_equal(
            order_OrderService_CreateOrder_async(rig.channel, NULL, request_of(ADA, key), on_done, &outcome), 0);
        for (int k = 0; k < 1000 && !atomic_load(&outcome.ended); k++)
            weft_test_advance(rig.engine, 10 * ns_per_ms);
        assert_int_equal(outcome.code, WEFT_OK);
        assert_int_equal(atomic_load(&instances[1].asked), before + 1);
    }
    assert_true(atomic_load(&instances[0].asked) > 0);
}

static void when_all_are_down_it_is_unavailable_soon(void **state)
{
    (void)state;
    all_answer(WEFT_UNAVAILABLE, false);
    assert_true(order_in_time(0, WEFT_UNAVAILABLE, cannot) <= TIMEOUT_MS);
    assert_int_equal(asked(), 4);
    for (int i = 0; i < INSTANCES; i++)
        stop_instance(i);
    assert_true(order_in_time(0, WEFT_UNAVAILABLE, cannot) <= TIMEOUT_MS + 10);
}

static void what_another_attempt_would_not_better_is_not_unavailable(void **state)
{
    (void)state;
    static const weft_code codes[] = {WEFT_INTERNAL, WEFT_UNIMPLEMENTED, WEFT_PERMISSION_DENIED, WEFT_INVALID_ARGUMENT};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        all_answer(codes[i], false);
        assert_int_equal(create(request_of(ADA, "key"), NULL).code, WEFT_INTERNAL);
    }
    all_answer(WEFT_RESOURCE_EXHAUSTED, false);
    assert_status(create(request_of(ADA, "key"), NULL), WEFT_UNAVAILABLE, cannot);
}

static void a_user_service_that_hangs_is_unavailable_after_its_time(void **state)
{
    (void)state;
    all_answer(WEFT_OK, true);
    int64_t took_ms = order_in_time(60000, WEFT_UNAVAILABLE, cannot);
    assert_true(took_ms >= TIMEOUT_MS && took_ms <= TIMEOUT_MS + 50);
}

static void the_deadline_of_the_caller_is_passed_on(void **state)
{
    (void)state;
    create_order("first"); /* connected */
    assert_true(atomic_load(&instances[0].remaining_ns) + atomic_load(&instances[1].remaining_ns) <=
                TIMEOUT_MS * ns_per_ms);
    all_answer(WEFT_OK, true);
    int64_t took_ms = order_in_time(100, WEFT_DEADLINE_EXCEEDED, "the deadline has passed");
    assert_true(took_ms <= 110);
    for (int i = 0; i < INSTANCES; i++)
        assert_true(atomic_load(&instances[i].remaining_ns) <= TIMEOUT_MS * ns_per_ms);
}

static void a_caller_who_goes_takes_the_question_along(void **state)
{
    (void)state;
    struct outcome outcome = {.code = WEFT_OK};
    int64_t begun_ns = weft_engine_now_ns(rig.engine);
    all_answer(WEFT_OK, true);
    assert_int_equal(order_OrderService_CreateOrder_async(rig.channel, NULL, request_of(ADA, "key"), on_done, &outcome),
                     0);
    for (int i = 0; i < 1000 && asked() == 0; i++)
        weft_test_advance(rig.engine, 1000);
    assert_int_equal(asked(), 1);
    weft_channel_free(rig.channel);
    rig.channel = NULL;
    assert_true(atomic_load(&outcome.ended));
    assert_int_equal(outcome.code, WEFT_CANCELLED);
    for (int i = 0; i < 1000 && atomic_load(&instances[0].gave_up) + atomic_load(&instances[1].gave_up) == 0; i++)
        weft_test_advance(rig.engine, 1000);
    assert_int_equal(atomic_load(&instances[0].gave_up) + atomic_load(&instances[1].gave_up), 1);
    assert_true(weft_engine_now_ns(rig.engine) - begun_ns < TIMEOUT_MS * ns_per_ms);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(somebody_the_user_service_knows_may_order),
        TEST(somebody_it_does_not_know_may_not),
        TEST(an_instance_that_cannot_answer_is_passed_over),
        TEST(when_all_are_down_it_is_unavailable_soon),
        TEST(what_another_attempt_would_not_better_is_not_unavailable),
        TEST(a_user_service_that_hangs_is_unavailable_after_its_time),
        TEST(the_deadline_of_the_caller_is_passed_on),
        TEST(a_caller_who_goes_takes_the_question_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
