/* weft_call_when_cancelled: who defers is told, once, that nobody waits any more. The same cases on every engine. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <weft/testing.h>

#include "integration/unary/rig.h"

enum {
    SHORT_MS = 1500
};

/* What a handler of these tests saw. */
static struct {
    atomic_int asked; /* what weft_call_when_cancelled returned */
    atomic_int again; /* the second time */
    atomic_int told;  /* how often */
    bool answers;     /* who is told answers the call */
    weft_call *call;
} seen;

static void on_cancelled(void *arg)
{
    struct rig *rig = arg;
    atomic_fetch_add(&seen.told, 1);
    if (seen.answers) {
        RIG_CHECK(rig, weft_call_cancelled(seen.call));
        weft_call_finish(seen.call, weft_fail(seen.call, WEFT_CANCELLED, "nobody waits"), NULL);
    }
    weft__event_post(&rig->release);
}

static weft_code ask_and_defer(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                               struct rig *rig)
{
    (void)request;
    (void)response;
    seen.call = call;
    RIG_CHECK(rig, weft_call_defer(call) == 0);
    atomic_store(&seen.again, -1);
    int rc = weft_call_when_cancelled(call, on_cancelled, rig);
    atomic_store(&seen.asked, rc);
    if (rc == 0 && !seen.answers) /* else the call may be gone */
        atomic_store(&seen.again, weft_call_when_cancelled(call, on_cancelled, rig));
    weft__event_post(&rig->entered);
    return WEFT_OK;
}

static void start(struct rig *rig, rig_handler handler, bool answers)
{
    rig_options options = rig_default_options();
    options.get_user.run_inline = true;
    memset(&seen, 0, sizeof seen);
    seen.answers = answers;
    rig->get_user = handler;
    rig_start(rig, &options);
}

static void who_defers_is_told_that_a_call_has_expired(void **state)
{
    struct rig *rig = *state;
    struct rig_caller caller;
    start(rig, ask_and_defer, true);
    if (rig->kind == RIG_STEPPED) {
        weft_call_options options = WEFT_CALL_OPTIONS_INIT;
        options.timeout_ms = SHORT_MS;
        assert_int_equal(rig_get(rig, "1", &options, NULL).code, WEFT_DEADLINE_EXCEEDED);
        weft_test_step(rig->engine, SIZE_MAX);
    } else {
        rig_caller_start(&caller, rig, "1", SHORT_MS);
        assert_int_equal(weft__event_wait(&rig->entered, INT64_MAX), 0);
        if (rig->kind == RIG_THREADED)
            weft_test_advance(rig->engine, (int64_t)(SHORT_MS + 1) * 1000000);
        rig_caller_join(&caller);
        assert_int_equal(caller.status.code, WEFT_DEADLINE_EXCEEDED);
        assert_int_equal(weft__event_wait(&rig->release, INT64_MAX), 0);
    }
    assert_int_equal(seen.asked, 0);
    assert_int_equal(weft_server_stop(rig->server, -1), 0); /* nothing runs any more */
    assert_int_equal(seen.told, 1);
}

static void who_defers_is_told_when_the_grace_of_a_stop_is_over(void **state)
{
    struct rig *rig = *state;
    struct rig_caller caller;
    if (rig->kind == RIG_STEPPED)
        skip(); /* nobody to call beside */
    start(rig, ask_and_defer, true);
    rig_caller_start(&caller, rig, "1", -1);
    assert_int_equal(weft__event_wait(&rig->entered, INT64_MAX), 0);
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
    rig_caller_join(&caller);
    assert_int_not_equal(caller.status.code, WEFT_OK);
    assert_int_equal(seen.told, 1);
}

/* Answers from within the handler, so that no cancellation can come. */
static weft_code ask_and_answer(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                                struct rig *rig)
{
    (void)ask_and_defer(call, request, response, rig);
    weft_call_finish(call, WEFT_NOT_FOUND, NULL);
    return WEFT_OK;
}

static weft_code ask_and_return(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                                struct rig *rig)
{
    (void)request;
    (void)response;
    atomic_store(&seen.asked, weft_call_when_cancelled(call, on_cancelled, rig));
    atomic_store(&seen.again, weft_call_when_cancelled(call, on_cancelled, rig));
    return WEFT_NOT_FOUND;
}

static void an_answered_call_tells_once_at_its_end(void **state)
{
    struct rig *rig = *state;
    const rig_handler handlers[] = {ask_and_answer, ask_and_return};
    start(rig, NULL, false);
    for (int i = 1; i <= 10; i++) {
        rig->get_user = handlers[i % 2];
        assert_int_equal(rig_get(rig, "1", NULL, NULL).code, WEFT_NOT_FOUND);
        assert_int_equal(seen.asked, 0);
        assert_int_equal(seen.again, -EALREADY);
        if (rig->kind == RIG_STEPPED)
            weft_test_step(rig->engine, SIZE_MAX);
        while (atomic_load(&seen.told) < i)
            sched_yield();
    }
    assert_int_equal(weft_server_stop(rig->server, -1), 0);
    assert_int_equal(seen.told, 10);
}

static weft_code wait_then_ask(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                               struct rig *rig)
{
    (void)request;
    (void)response;
    weft__event_post(&rig->entered);
    while (!weft_call_cancelled(call))
        sched_yield();
    atomic_store(&seen.asked, weft_call_when_cancelled(call, on_cancelled, rig));
    atomic_store(&seen.again, weft_call_when_cancelled(call, on_cancelled, rig));
    return WEFT_CANCELLED;
}

static void who_asks_too_late_is_not_told(void **state)
{
    struct rig *rig = *state;
    struct rig_caller caller;
    if (rig->kind == RIG_STEPPED)
        skip(); /* no workers */
    memset(&seen, 0, sizeof seen);
    rig->get_user = wait_then_ask;
    rig_start(rig, NULL);
    rig_caller_start(&caller, rig, "1", -1);
    assert_int_equal(weft__event_wait(&rig->entered, INT64_MAX), 0);
    weft_channel_free(rig->channel);
    rig->channel = NULL;
    rig_caller_join(&caller);
    assert_int_equal(weft_server_stop(rig->server, -1), 0);
    assert_int_equal(seen.asked, 1);
    assert_int_equal(seen.again, 1);
    assert_int_equal(seen.told, 0);
}

#define CASE(setup, test) cmocka_unit_test_setup_teardown(test, setup, rig_teardown)
#define CASES(setup)                                                                                                   \
    CASE(setup, who_defers_is_told_that_a_call_has_expired),                                                           \
        CASE(setup, who_defers_is_told_when_the_grace_of_a_stop_is_over),                                              \
        CASE(setup, an_answered_call_tells_once_at_its_end), CASE(setup, who_asks_too_late_is_not_told)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(rig_setup_core)};
    static const struct CMUnitTest stepped[] = {CASES(rig_setup_stepped)};
    static const struct CMUnitTest threaded[] = {CASES(rig_setup_threaded)};
    const char *engine = argc > 1 ? argv[1] : "core";
    if (strcmp(engine, "stepped") == 0)
        return cmocka_run_group_tests(stepped, NULL, NULL);
    if (strcmp(engine, "threaded") == 0)
        return cmocka_run_group_tests(threaded, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
