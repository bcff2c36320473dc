/* health_call.c: checks by grpc.health.v1, over the backend's own channel of the engine.
 *
 *     idle ──alarm──▶ asking ──end──▶ pausing ──alarm──▶ asking …      Check
 *                      │  ▲
 *              a word  ▼  │ end, and a pause if it came too soon
 *                    watching                                          Watch
 *     any ──not ready──▶ (its call is cancelled) ──end──▶ idle
 *
 * Design notes
 * - Calls begin in the alarm only, so always on a thread of the engine's, and with the lock: after close none begins.
 * - There is one alarm: for the next call, or, while a watch has brought nothing yet, for its time being over. One that
 *   could not be taken back any more finds by `due_ns` that it is not meant.
 * - The call's end is told after all else of it, so whoever handles that has the call for itself. It stays in `call`,
 *   where it can be cancelled, until it is about to be freed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call/message.h"
#include "client/health_check.h"
#include "grpc/health/v1/health.weft.h"

enum {
    MAX_ANSWER_BYTES = 64 * 1024, /* with what a newer version of the protocol may say besides */
    REASON_BYTES = 256
};

static const int64_t ns_per_ms = 1000000;

typedef struct call_checker {
    weft__checker base;
    bool watches;
    /* the rest is guarded by the base's lock */
    weft__alarm alarm;
    bool alarm_set;
    int64_t due_ns;
    weft__ccall *call; /* under way; or NULL */
    weft__op received;
    weft__op ended;
    weft__call_args args;
    weft__tx request;
    bool answered;    /* the watch has brought something */
    bool first;       /* no check has ended on this connection */
    bool given_up;    /* the server does not know the method: until the next connection */
    int64_t begun_ns; /* the call */
    int64_t backoff_ms;
} call_checker;

static call_checker *from_base(weft__checker *base)
{
    return WEFT__CONTAINER_OF(base, call_checker, base);
}

static weft_engine *engine_of(const call_checker *checker)
{
    return checker->base.checks->engine;
}

/* ---- when -------------------------------------------------------------------------------------------------------- */

/* Has the alarm come at a time, and at no other; INT64_MAX: never. Its alarms work: weft__balancer_new has seen to
 * that. */
static void wake_at_locked(call_checker *checker, int64_t at_ns)
{
    weft_engine *engine = engine_of(checker);
    checker->due_ns = at_ns;
    if (checker->alarm_set && engine->vtable->alarm_cancel(engine, &checker->alarm)) {
        checker->alarm_set = false;
        checker->base.users--;
    }
    if (checker->alarm_set || at_ns == INT64_MAX) /* the one that is about to run sets itself again */
        return;
    checker->alarm_set = engine->vtable->alarm_set(engine, &checker->alarm, at_ns) == 0;
    checker->base.users += checker->alarm_set;
}

static void cancel_locked(call_checker *checker, weft_code code, const char *text)
{
    if (checker->call != NULL)
        checker->call->vtable->cancel(checker->call, code, text);
}

static bool may_check(const call_checker *checker)
{
    return checker->base.ready && !checker->base.closed && !checker->given_up;
}

/* When to ask again. Of watches the first word ends the backoff, but one that breaks at once is not opened at once. */
static int64_t next_ns(call_checker *checker, int64_t now_ns)
{
    const weft__health_checks *checks = checker->base.checks;
    if (!checker->watches) {
        bool first = checker->first;
        checker->first = false;
        return weft__checker_next_ns(&checker->base, checker->begun_ns, first);
    }
    if (checker->answered)
        checker->backoff_ms = checks->min_backoff_ms;
    double jitter = 0.8 + 0.4 * weft__random_unit(checks->engine->random);
    int64_t at_ns = checker->begun_ns + (int64_t)((double)(checker->backoff_ms * ns_per_ms) * jitter);
    int64_t grown_ms = checker->backoff_ms + checker->backoff_ms * 6 / 10;
    checker->backoff_ms = grown_ms < checks->max_backoff_ms ? grown_ms : checks->max_backoff_ms;
    return at_ns > now_ns ? at_ns : now_ns;
}

static void linked(weft__checker *base)
{
    call_checker *checker = from_base(base);
    checker->given_up = false;
    checker->first = true;
    checker->backoff_ms = base->checks->min_backoff_ms;
    cancel_locked(checker, WEFT_CANCELLED, "the connection has gone");
    bool begins = may_check(checker) && checker->call == NULL; /* else its end goes on */
    wake_at_locked(checker, begins ? weft_engine_now_ns(engine_of(checker)) : INT64_MAX);
}

/* ---- what the server says ---------------------------------------------------------------------------------------- */

static const char *status_name(Grpc__Health__V1__HealthCheckResponse__ServingStatus status)
{
    switch (status) {
    case GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING:
        return "SERVING";
    case GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING:
        return "NOT_SERVING";
    case GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN:
        return "SERVICE_UNKNOWN";
    default:
        return "UNKNOWN";
    }
}

/* Reads an answer, and releases it. */
static bool is_serving(const call_checker *checker, weft__rx *rx, char *reason)
{
    static const weft__guard_limits limits = {.max_depth = 10, .max_fields = 1000};
    _Alignas(max_align_t) char block[1024];
    weft_arena *arena = NULL;
    weft__guard_error error;
    ProtobufCMessage *message = NULL;
    (void)weft_arena_init(&arena, block, sizeof block, MAX_ANSWER_BYTES); /* the block is large enough */
    int rc = weft__message_unpack(engine_of(checker), rx, grpc_health_v1_Health_Check_method.response, &limits,
                                  MAX_ANSWER_BYTES, arena, &message, &error);
    bool serving = false;
    if (rc == 0) {
        const Grpc__Health__V1__HealthCheckResponse *response = (const Grpc__Health__V1__HealthCheckResponse *)message;
        serving = response->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
        (void)snprintf(reason, REASON_BYTES, "%s", status_name(response->status));
    } else {
        (void)snprintf(reason, REASON_BYTES, "an answer that cannot be read: %s", rc == -ENOMEM ? "" : error.text);
    }
    weft_arena_fini(arena);
    return serving;
}

/* A word of the watch, or that there is none any more. */
static void on_received(weft__op *op, int ignored)
{
    call_checker *checker = WEFT__CONTAINER_OF(op, call_checker, received);
    char reason[REASON_BYTES];
    weft__rx rx;
    (void)ignored;
    pthread_mutex_lock(&checker->base.lock);
    weft__ccall *call = checker->call;
    call->vtable->take(call, &rx);
    if (rx.impl != NULL && !checker->answered) {
        checker->answered = true;
        wake_at_locked(checker, INT64_MAX);
    }
    pthread_mutex_unlock(&checker->base.lock);
    if (rx.impl == NULL)
        return; /* the end follows */
    weft__checker_note(&checker->base, is_serving(checker, &rx, reason), reason);
    if (call->vtable->recv(call, &checker->received) < 0)
        call->vtable->cancel(call, WEFT_INTERNAL, "the watch cannot go on");
}

static void judge_end(call_checker *checker, weft__result *result)
{
    char reason[REASON_BYTES];
    if (result->code == WEFT_UNIMPLEMENTED && result->from_peer) {
        weft__checker_note_unimplemented(&checker->base);
    } else if (checker->watches && checker->answered) {
        weft__checker_note_unknown(&checker->base);
    } else if (result->code == WEFT_OK && !checker->watches) {
        weft__checker_note(&checker->base, is_serving(checker, &result->response, reason), reason);
    } else {
        (void)snprintf(reason, sizeof reason, "%s: %.*s", weft_code_name(result->code), (int)result->message.len,
                       result->message.data != NULL ? result->message.data : "");
        weft__checker_note(&checker->base, false, reason);
    }
}

static void on_ended(weft__op *op, int ignored)
{
    call_checker *checker = WEFT__CONTAINER_OF(op, call_checker, ended);
    weft_engine *engine = engine_of(checker);
    weft__ccall *call = checker->call; /* it has not changed since it began */
    weft__result result;
    (void)ignored;
    call->vtable->result(call, &result);
    judge_end(checker, &result);
    if (result.response.impl != NULL) /* of a call that failed all the same */
        engine->vtable->rx_release(&result.response);
    pthread_mutex_lock(&checker->base.lock);
    int64_t now_ns = weft_engine_now_ns(engine);
    checker->call = NULL;
    call->vtable->free(call);
    if (result.code == WEFT_UNIMPLEMENTED && result.from_peer && !checker->base.renewed)
        checker->given_up = true;
    int64_t at_ns = INT64_MAX;
    if (may_check(checker))
        at_ns = checker->base.renewed ? now_ns : next_ns(checker, now_ns);
    wake_at_locked(checker, at_ns);
    weft__checker_leave_and_unlock(&checker->base);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* Starts a call that was made, and is in `call`. */
static int start_locked(call_checker *checker)
{
    weft_engine *engine = engine_of(checker);
    weft__ccall *call = checker->call;
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    int64_t timeout_ns = checker->base.checks->options.timeout_ms * ns_per_ms;
    request.service = checker->base.checks->service;
    int rc = weft__message_pack(engine, &request.base, false, INT64_MAX, &checker->request);
    if (rc < 0)
        return rc;
    checker->args = (weft__call_args){
        .method = checker->watches ? &grpc_health_v1_Health_Watch_method : &grpc_health_v1_Health_Check_method,
        .deadline_ns = checker->watches ? INT64_MAX : weft__clock_deadline_ns(checker->begun_ns, timeout_ns),
        .message = &checker->request,
        .half_close = true,
    };
    rc = checker->watches ? call->vtable->start(call, &checker->args, &checker->ended)
                          : call->vtable->unary(call, &checker->args, &checker->ended);
    if (rc < 0) {
        engine->vtable->tx_unref(&checker->request);
        return rc;
    }
    checker->base.users++;
    if (!checker->watches)
        return 0;
    wake_at_locked(checker, weft__clock_deadline_ns(checker->begun_ns, timeout_ns));
    if (call->vtable->recv(call, &checker->received) < 0)
        cancel_locked(checker, WEFT_INTERNAL, "the watch cannot begin");
    return 0;
}

static void ask_locked(call_checker *checker, int64_t now_ns)
{
    weft__tchannel *transport = checker->base.about.transport;
    checker->begun_ns = now_ns;
    checker->base.renewed = false;
    checker->answered = false;
    int rc = transport->vtable->call_new(transport, &checker->call);
    if (rc == 0) {
        rc = start_locked(checker);
        if (rc < 0)
            checker->call->vtable->free(checker->call);
    }
    if (rc < 0) { /* no memory here says nothing of the backend */
        checker->call = NULL;
        wake_at_locked(checker, next_ns(checker, now_ns));
    }
}

static void on_alarm(weft__alarm *alarm)
{
    call_checker *checker = WEFT__CONTAINER_OF(alarm, call_checker, alarm);
    pthread_mutex_lock(&checker->base.lock);
    int64_t now_ns = weft_engine_now_ns(engine_of(checker));
    int64_t due_ns = checker->due_ns;
    checker->alarm_set = false;
    checker->due_ns = INT64_MAX;
    if (due_ns > now_ns)
        wake_at_locked(checker, due_ns);
    else if (checker->call != NULL)
        cancel_locked(checker, WEFT_DEADLINE_EXCEEDED, "it says nothing");
    else if (may_check(checker))
        ask_locked(checker, now_ns);
    weft__checker_leave_and_unlock(&checker->base);
}

/* ---- the checker ------------------------------------------------------------------------------------------------- */

static void free_checker(weft__checker *base)
{
    weft__checker_fini(base);
    free(from_base(base));
}

static const weft__checker_kind kind = {.linked = linked, .free = free_checker};

int weft__call_checker_new(weft__checker **out, weft__health_checks *checks, const weft__checked *about)
{
    call_checker *checker = calloc(1, sizeof *checker);
    if (checker == NULL)
        return -ENOMEM;
    int rc = weft__checker_init(&checker->base, &kind, checks, about);
    if (rc < 0) {
        free(checker);
        return rc;
    }
    checker->watches = checks->options.kind == WEFT_HEALTH_CHECK_WATCH;
    checker->alarm = (weft__alarm){.run = on_alarm, .background = true};
    checker->due_ns = INT64_MAX;
    checker->received.done = on_received;
    checker->ended.done = on_ended;
    *out = &checker->base;
    return 0;
}
