/* balanced_call.c: a call of the seam on a balancer: it is picked for a backend, and is one of that backend's from then
 * on; or it waits, and its messages with it.
 *
 *   new ──start──▶ pick ──endpoint──▶ on a backend ──its end──▶ told ──▶ free
 *                   │ ▲                    │ never reached the server, and there are others
 *           nothing │ │ again              ▼
 *                   ▼ │◀───────────────── (another attempt)
 *                  waiting ──late, cancelled──▶ ended here ──▶ told ──▶ free
 *
 * Design notes
 * - `real` is set once a backend has taken the call, and from then on recv, send and half-close are handed through
 *   without a lock. What a stream does before waits in here: one of each, as the seam allows.
 * - The end is told on a thread of the engine's, by an alarm if need be: never inside the function that started the
 *   call.
 * - The arguments stay valid until the end, so an attempt can be made again; of the message a reference is kept.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "client/balancer.h"
#include "client/tried.h"

static const double MIN_WARM = 0.1; /* the share of its picks that a cold backend takes at least */

typedef struct balanced_call {
    weft__ccall base;
    weft__balancer *balancer;
    weft__waiter waiter;
    bool counted;     /* in the balancer's gate */
    weft__alarm soon; /* goes on with it where the program may be called */
    weft__call_args args;
    weft__tx message; /* of the args, while `holds_message` */
    bool holds_message;
    bool unary;
    bool refused;
    bool began_anew;
    bool patient; /* waits for ready: here, not at a backend that has just lost its connection */
    weft__op *end_op;
    weft__op real_end;
    atomic_int parties;           /* of the attempt that runs */
    weft__backend *backend;       /* of `real`, and a reference until that is freed */
    weft__connection *connection; /* and its place there, until the picker is told */
    int64_t waits_since_ns;       /* while it waits; else 0 */
    int64_t waited_ns;            /* before that */
    bool told;                    /* the picker, of this attempt */
    bool hopeless;                /* on a backend that cannot be reached, to hear why */
    uint64_t seen;                /* the snapshot that was picked from last */
    int64_t picked_ns;
    weft__tried tried; /* by this one alone; with args.tried that counts */
    bool noted;        /* what it has picked, in args.tried, and by this pick */

    pthread_mutex_t lock; /* of the rest; but `real`, once it is set, is read without it */
    _Atomic(weft__ccall *) real;
    weft_code cancel_code; /* once the waiter is cancelled */
    const char *cancel_message;
    bool over; /* ended here: nothing starts any more */
    weft__op *recv_op;
    weft__op *send_op;
    weft__op *close_op;
    weft__tx waiting;
    bool more;

    weft__result result;
    char text[512]; /* of the result, when it ended here, or could not reach anybody */
} balanced_call;

static balanced_call *from_base(weft__ccall *base)
{
    return WEFT__CONTAINER_OF(base, balanced_call, base);
}

static weft__ccall *real_of(balanced_call *call)
{
    return atomic_load_explicit(&call->real, memory_order_acquire);
}

static bool is_cancelled(const balanced_call *call)
{
    return atomic_load(&call->waiter.cancelled);
}

static void drop_message(balanced_call *call)
{
    if (call->holds_message)
        call->balancer->engine->vtable->tx_unref(&call->message);
    call->holds_message = false;
}

/* ---- ending here ------------------------------------------------------------------------------------------------- */

static void complete(weft__op *op, int result)
{
    if (op != NULL)
        op->done(op, result);
}

/* Ends what waits in here, and had no backend take it. */
static void fail_waiting(balanced_call *call, bool over)
{
    pthread_mutex_lock(&call->lock);
    call->over = over;
    weft__op *recv_op = call->recv_op;
    weft__op *send_op = call->send_op;
    weft__op *close_op = call->close_op;
    call->recv_op = call->send_op = call->close_op = NULL;
    pthread_mutex_unlock(&call->lock);
    if (send_op != NULL)
        call->balancer->engine->vtable->tx_unref(&call->waiting);
    complete(recv_op, -ECANCELED);
    complete(send_op, -ECANCELED);
    complete(close_op, -ECANCELED);
}

/* Goes on soon, on a thread of the engine's. Its alarms work: weft__balancer_new has seen to that. */
static void go_on_soon(balanced_call *call, void (*run)(weft__alarm *alarm))
{
    weft_engine *engine = call->balancer->engine;
    call->soon.run = run;
    (void)engine->vtable->alarm_set(engine, &call->soon, 0);
}

static void on_ended_here(weft__alarm *alarm)
{
    balanced_call *call = WEFT__CONTAINER_OF(alarm, balanced_call, soon);
    drop_message(call);
    fail_waiting(call, true);
    call->end_op->done(call->end_op, 0);
}

/* It waits no more. */
static void note_wait(balanced_call *call)
{
    if (call->waits_since_ns == 0)
        return;
    int64_t waited_ns = weft_engine_now_ns(call->balancer->engine) - call->waits_since_ns;
    call->waited_ns += waited_ns;
    call->waits_since_ns = 0;
    weft__balancer_waited(call->balancer, waited_ns);
}

/* Ends the call, which no backend has: by its cancel, if there was one. */
static void end_here(balanced_call *call, weft_code code, const char *text)
{
    note_wait(call);
    pthread_mutex_lock(&call->lock);
    if (is_cancelled(call)) {
        code = call->cancel_code;
        text = call->cancel_message;
    }
    pthread_mutex_unlock(&call->lock);
    (void)snprintf(call->text, sizeof call->text, "%s", text);
    call->result = (weft__result){
        .code = code, .final = call->refused, .seen = WEFT__SEEN_NO, .message = weft_sv_from(call->text)};
    go_on_soon(call, on_ended_here);
}

/* The same for good: nobody is to try it again. */
static void refuse_here(balanced_call *call, weft_code code, const char *text)
{
    call->refused = true;
    end_here(call, code, text);
}

/* ---- on a backend ------------------------------------------------------------------------------------------------ */

static int start_real(balanced_call *call, weft__ccall *real)
{
    weft_engine *engine = call->balancer->engine;
    if (call->holds_message)
        engine->vtable->tx_ref(&call->message);
    int rc = call->unary ? real->vtable->unary(real, &call->args, &call->real_end)
                         : real->vtable->start(real, &call->args, &call->real_end);
    if (rc < 0 && call->holds_message)
        engine->vtable->tx_unref(&call->message);
    return rc;
}

/* What a stream was given before a backend took it. Those that cannot start are left in the call, which cannot go on
 * without them. Locked. */
static void hand_over(balanced_call *call, weft__ccall *real)
{
    if (call->send_op != NULL && real->vtable->send(real, &call->waiting, call->more, call->send_op) == 0)
        call->send_op = NULL;
    if (call->close_op != NULL && real->vtable->half_close(real, call->close_op) == 0)
        call->close_op = NULL;
    if (call->recv_op != NULL && real->vtable->recv(real, call->recv_op) == 0)
        call->recv_op = NULL;
    if (call->send_op != NULL || call->close_op != NULL || call->recv_op != NULL)
        real->vtable->cancel(real, WEFT_RESOURCE_EXHAUSTED, "no memory for a message");
}

static void real_ended(balanced_call *call);

/* Two come here for each attempt, who has started it and its end: after the second it is over. */
static bool leave_attempt(balanced_call *call)
{
    return atomic_fetch_sub_explicit(&call->parties, 1, memory_order_acq_rel) == 1;
}

static void on_started(weft__alarm *alarm)
{
    balanced_call *call = WEFT__CONTAINER_OF(alarm, balanced_call, soon);
    fail_waiting(call, false);
    if (leave_attempt(call))
        real_ended(call);
}

static void on_over(weft__alarm *alarm)
{
    real_ended(WEFT__CONTAINER_OF(alarm, balanced_call, soon));
}

/* Starts the call on a backend: at its place there, or, without one, where it cannot be reached. 0, and the call may be
 * gone; -errno: it is not there. On whatever thread: nothing of the program's is called from here. */
static int run_on(balanced_call *call, weft__backend *backend, weft__connection *connection)
{
    weft__ccall *real = NULL;
    bool picked = connection != NULL;
    weft__tchannel *transport = (picked ? connection : weft__connections_first(&backend->connections))->transport;
    int rc = transport->vtable->call_new(transport, &real);
    if (rc < 0)
        return rc;
    note_wait(call);
    atomic_store_explicit(&call->parties, 2, memory_order_relaxed);
    call->picked_ns = weft_engine_now_ns(call->balancer->engine);
    pthread_mutex_lock(&call->lock);
    if (is_cancelled(call))
        real->vtable->cancel(real, call->cancel_code, call->cancel_message);
    rc = start_real(call, real);
    if (rc < 0) {
        pthread_mutex_unlock(&call->lock);
        real->vtable->free(real);
        return rc;
    }
    call->backend = backend;
    call->connection = connection;
    call->told = !picked;
    call->hopeless = !picked;
    /* Before anything is handed over: what completes is taken from it. Each half of a stream has one operation at most,
     * so none overtakes those that wait here. */
    atomic_store_explicit(&call->real, real, memory_order_release);
    hand_over(call, real);
    bool some_left = call->recv_op != NULL || call->send_op != NULL || call->close_op != NULL;
    pthread_mutex_unlock(&call->lock);
    if (some_left)
        go_on_soon(call, on_started);
    else if (leave_attempt(call))
        go_on_soon(call, on_over);
    return 0;
}

/* `tried` and `full`: what not to pick while there is another. */
static weft_pick pick_but(balanced_call *call, const weft__tried *tried, const weft__tried *full, weft__backend **out)
{
    weft_endpoint *both[2 * WEFT__MAX_TRIED];
    weft_pick_args args = {
        .struct_size = sizeof args,
        .method = call->args.method->path,
        .metadata = {call->args.metadata, call->args.metadata_count},
        .hash = call->args.hash,
        .has_hash = call->args.hash != 0,
        .now_ns = weft_engine_now_ns(call->balancer->engine),
        .deadline_ns = call->args.deadline_ns,
        .tried = tried->endpoints,
        .tried_count = tried->count,
    };
    if (full->count > 0) {
        memcpy(both, tried->endpoints, tried->count * sizeof *both);
        memcpy(both + tried->count, full->endpoints, full->count * sizeof *both);
        args.tried = both;
        args.tried_count += full->count;
    }
    return weft__balancer_pick(call->balancer, &args, out, &call->seen);
}

/* `any`: those that were tried, too. `again`: all have been tried, or are full, and this is one of them. */
static weft_pick pick(balanced_call *call, const weft__tried *full, bool any, weft__backend **out, bool *again)
{
    static const weft__tried none = {.count = 0};
    weft__tried *shared = call->args.tried;
    weft__tried *tried = shared != NULL ? shared : &call->tried;
    if (shared != NULL)
        pthread_mutex_lock(&shared->lock);
    weft_pick pick = pick_but(call, any ? &none : tried, full, out);
    *again = pick == WEFT_PICK_ENDPOINT &&
             (weft__tried_has(tried, (*out)->endpoint) || weft__tried_has(full, (*out)->endpoint));
    if (shared != NULL) {
        call->noted = pick == WEFT_PICK_ENDPOINT && !*again &&
                      weft__tried_add(shared, (*out)->endpoint); /* now: another attempt may be about to pick, too */
        pthread_mutex_unlock(&shared->lock);
    }
    return pick;
}

/* Tells the picker how the attempt went; `result` NULL: there was none. */
static void tell_picker(balanced_call *call, weft__backend *backend, weft__connection *connection,
                        const weft__result *result)
{
    int64_t now_ns = weft_engine_now_ns(call->balancer->engine);
    const weft__tried *shared = call->args.tried;
    const weft__ccall *answered = shared != NULL ? atomic_load(&shared->answered) : NULL;
    /* An attempt whose time is over, or that another one has overtaken, was slow: that is not the caller's doing. */
    bool given_up = is_cancelled(call) && call->cancel_code != WEFT_DEADLINE_EXCEEDED &&
                    (answered == NULL || answered == &call->base);
    const weft_pick_result told = {
        .struct_size = sizeof told,
        .code = result != NULL ? result->code : WEFT_CANCELLED,
        .from_peer = result != NULL && result->from_peer,
        .caller_cancelled = result == NULL || (given_up && !result->from_peer),
        .now_ns = now_ns,
        .latency_ns = result != NULL ? now_ns - call->picked_ns : 0,
    };
    weft__balancer_done(backend, connection, &told);
}

/* Nothing was tried there after all. */
static void give_up(balanced_call *call, weft__backend *backend, weft__connection *connection)
{
    weft__tried *shared = call->args.tried;
    if (call->noted) {
        pthread_mutex_lock(&shared->lock);
        weft__tried_remove(shared, backend->endpoint);
        pthread_mutex_unlock(&shared->lock);
    }
    call->noted = false;
    tell_picker(call, backend, connection, NULL);
    weft__balancer_let_go(backend);
}

/* Whether a backend that is new, or back, is to be passed by this time: in nine of ten at first, and ever less. */
static bool is_cold(const balanced_call *call, const weft__backend *backend)
{
    weft_engine *engine = call->balancer->engine;
    int64_t window_ns = call->balancer->slow_start_ns;
    if (window_ns == 0)
        return false;
    int64_t age_ns = weft_engine_now_ns(engine) - atomic_load_explicit(&backend->ready_ns, memory_order_relaxed);
    if (age_ns >= window_ns)
        return false;
    double share = (double)age_ns / (double)window_ns;
    return weft__random_unit(engine->random) >= (share > MIN_WARM ? share : MIN_WARM);
}

/* Picks until there is a place where it has picked, but not on and on: then every endpoint has its hands full. Those
 * that were tried come after the others, and are better than to wait. */
static weft_pick pick_place(balanced_call *call, weft__tried *passed, weft__backend **backend,
                            weft__connection **connection, bool *again)
{
    weft_pick picked;
    bool was_cold = false;
    bool any = false;
    bool goes_on;
    call->waiter.for_place = false;
    *connection = NULL;
    do {
        picked = pick(call, passed, any, backend, again);
        if (picked != WEFT_PICK_ENDPOINT)
            break;
        bool cold = !was_cold && is_cold(call, *backend);
        *connection = cold ? NULL : weft__connections_take(&(*backend)->connections);
        was_cold = was_cold || cold;
        if (*connection != NULL)
            break;
        goes_on = !any || was_cold || !weft__tried_has(passed, (*backend)->endpoint);
        any = any || *again;
        (void)weft__tried_add(passed, (*backend)->endpoint);
        give_up(call, *backend, NULL);
    } while (goes_on && passed->count < WEFT__MAX_TRIED);
    if (picked == WEFT_PICK_ENDPOINT && *connection == NULL) {
        call->waiter.for_place = true;
        picked = WEFT_PICK_QUEUE;
    }
    return picked;
}

/* ---- attempts ---------------------------------------------------------------------------------------------------- */

/* Nothing can be reached. Why, the engine tells a call on one of the backends; the balancer says what there is. */
static void fail_to_reach(balanced_call *call, const char *reason)
{
    weft__backend *failed = weft__balancer_failed(call->balancer);
    (void)snprintf(call->text, sizeof call->text, "%s", reason);
    if (failed != NULL && run_on(call, failed, NULL) == 0)
        return;
    if (failed != NULL)
        weft__balancer_let_go(failed);
    end_here(call, WEFT_UNAVAILABLE, reason);
}

/* Nothing could be picked, or those are full: waits, or ends. False: there is something now. */
static bool wait_or_end(balanced_call *call, const weft__tried *full)
{
    char reason[256];
    int64_t since_ns = call->waits_since_ns;
    if (since_ns == 0)
        call->waits_since_ns = weft_engine_now_ns(call->balancer->engine);
    int rc = weft__balancer_wait(call->balancer, &call->waiter, full, call->patient, call->seen, reason);
    if (rc == 0)
        return true; /* and it may be gone */
    call->waits_since_ns = since_ns;
    switch (rc) {
    case -EAGAIN:
        return false;
    case -ECANCELED:
        end_here(call, WEFT_CANCELLED, "");
        return true;
    case -EHOSTUNREACH:
        fail_to_reach(call, reason);
        return true;
    case -EUSERS:
        refuse_here(call, WEFT_RESOURCE_EXHAUSTED,
                    call->waiter.for_place ? "too many calls wait for a place on a connection"
                                           : "too many calls wait for a connection");
        return true;
    case -ENOMEM:
        refuse_here(call, WEFT_RESOURCE_EXHAUSTED, "no memory for a connection");
        return true;
    default:
        refuse_here(call, WEFT_INTERNAL, "the call cannot wait for a connection");
        return true;
    }
}

/* What is to be done with the call, now that it has been picked for. True: it is done with here. */
static bool go_on(balanced_call *call, weft_pick picked, weft__backend *backend, weft__connection *place)
{
    switch (picked) {
    case WEFT_PICK_ENDPOINT:
        if (run_on(call, backend, place) < 0) {
            give_up(call, backend, place);
            refuse_here(call, WEFT_RESOURCE_EXHAUSTED, "no memory for the call");
        }
        return true;
    case WEFT_PICK_DROP:
        refuse_here(call, WEFT_UNAVAILABLE, "dropped by the picker");
        return true;
    case WEFT_PICK_FAIL:
        if (call->patient)
            break;
        end_here(call, WEFT_UNAVAILABLE, "the picker finds no endpoint good enough");
        return true;
    case WEFT_PICK_QUEUE:
        break;
    }
    return false;
}

static void attempt(balanced_call *call)
{
    bool over = false;
    while (!over) {
        weft__tried full = {.count = 0};
        weft__backend *backend = NULL;
        weft__connection *place;
        bool again;
        weft_pick picked = pick_place(call, &full, &backend, &place, &again);
        over = go_on(call, picked, backend, place) || wait_or_end(call, &full);
        weft__tried_clear(&full);
    }
}

/* Something may be ready. On whatever thread that was found out, which must not call the program from here. */
static void on_again(weft__waiter *waiter)
{
    balanced_call *call = WEFT__CONTAINER_OF(waiter, balanced_call, waiter);
    bool was_loop = weft__thread_is_loop();
    weft__thread_set_loop(true);
    attempt(call);
    weft__thread_set_loop(was_loop);
}

static void on_late(weft__waiter *waiter)
{
    end_here(WEFT__CONTAINER_OF(waiter, balanced_call, waiter), WEFT_DEADLINE_EXCEEDED, "Deadline Exceeded");
}

/* Whether the call can be made again, because its server has surely not seen it. */
static bool was_not_seen(balanced_call *call, const weft__result *result)
{
    return call->unary && !call->hopeless && result->code == WEFT_UNAVAILABLE && result->seen == WEFT__SEEN_NO &&
           !is_cancelled(call);
}

/* Tries another backend for a call that its server has surely not seen. True: it is on its way, and may be over. */
static bool try_another(balanced_call *call, weft__ccall *old, const weft__result *result)
{
    weft__backend *failed = call->backend;
    weft__backend *next = NULL;
    weft__connection *place;
    weft__tried full = {.count = 0};
    if (!was_not_seen(call, result) || call->tried.count == WEFT__MAX_TRIED)
        return false;
    tell_picker(call, failed, call->connection, result);
    call->told = true;
    (void)weft__tried_add(&call->tried, failed->endpoint);
    call->backend = NULL; /* the old attempt is freed last, when the call may be gone */
    bool started = false;
    bool again;
    if (pick_place(call, &full, &next, &place, &again) == WEFT_PICK_ENDPOINT) {
        started = !again && run_on(call, next, place) == 0;
        if (!started)
            give_up(call, next, place);
    }
    weft__tried_clear(&full);
    if (started)
        old->vtable->free(old);
    weft__balancer_let_go(failed);
    return started;
}

/* Lets a call that its server has surely not seen, and that no other backend takes, begin anew: once, or, if it is
 * patient, as often as it takes. False: it ends. */
static bool begin_anew(balanced_call *call, weft__ccall *old, const weft__result *result)
{
    if ((call->began_anew && !call->patient) || !was_not_seen(call, result))
        return false;
    call->began_anew = true;
    if (!call->told)
        tell_picker(call, call->backend, call->connection, result);
    pthread_mutex_lock(&call->lock);
    atomic_store_explicit(&call->real, NULL, memory_order_release);
    pthread_mutex_unlock(&call->lock);
    old->vtable->free(old);
    if (call->backend != NULL)
        weft__balancer_let_go(call->backend);
    call->backend = NULL;
    weft__tried_clear(&call->tried);
    const weft__tried none = {.count = 0};
    call->waiter.for_place = false;
    if (!wait_or_end(call, &none))
        attempt(call);
    return true;
}

/* Puts what the balancer knows before the reason that the engine gives. */
static void explain(balanced_call *call, weft__result *result)
{
    size_t len = strlen(call->text);
    if (result->from_peer || call->balancer->resolver == NULL)
        return;
    (void)snprintf(call->text + len, sizeof call->text - len, ": %.*s", (int)result->message.len, result->message.data);
    result->message = weft_sv_from(call->text);
}

static void real_ended(balanced_call *call)
{
    weft__ccall *real = real_of(call);
    weft__result result;
    real->vtable->result(real, &result);
    if (try_another(call, real, &result) || begin_anew(call, real, &result))
        return;
    if (call->hopeless)
        explain(call, &result);
    call->result = result;
    if (!call->told)
        tell_picker(call, call->backend, call->connection, &result);
    drop_message(call);
    call->end_op->done(call->end_op, 0);
}

static void on_real_end(weft__op *op, int ignored)
{
    balanced_call *call = WEFT__CONTAINER_OF(op, balanced_call, real_end);
    (void)ignored;
    if (leave_attempt(call))
        real_ended(call);
}

/* ---- the call of the seam ---------------------------------------------------------------------------------------- */

/* From now on the message is the call's. */
static int begin(balanced_call *call, const weft__call_args *args, weft__op *op, bool is_unary)
{
    call->args = *args;
    call->patient = args->wait_for_ready;
    call->args.wait_for_ready = false;
    call->unary = is_unary;
    call->end_op = op;
    call->waiter.deadline_ns = args->deadline_ns;
    if (args->message != NULL) {
        call->message = *args->message;
        call->args.message = &call->message;
        call->holds_message = true;
    }
    call->counted = weft__gate_enter(&call->balancer->running);
    if (!call->counted)
        atomic_fetch_add_explicit(&call->balancer->counters.refused, 1, memory_order_relaxed);
    if (!call->counted)
        refuse_here(call, WEFT_RESOURCE_EXHAUSTED, "too many calls run on the channel");
    else if (is_cancelled(call))
        end_here(call, WEFT_CANCELLED, "");
    else if (args->deadline_ns <= weft_engine_now_ns(call->balancer->engine))
        end_here(call, WEFT_DEADLINE_EXCEEDED, "Deadline Exceeded");
    else
        attempt(call);
    return 0;
}

static int unary(weft__ccall *base, const weft__call_args *args, weft__op *op)
{
    return begin(from_base(base), args, op, true);
}

static int start(weft__ccall *base, const weft__call_args *args, weft__op *end)
{
    return begin(from_base(base), args, end, false);
}

/* Keeps an operation, and what it sends, for the backend that is to come: 0; -ESHUTDOWN; 1: there is one by now. */
static int keep(balanced_call *call, weft__op **where, weft__op *op, const weft__tx *message, bool more)
{
    int rc = 0;
    pthread_mutex_lock(&call->lock);
    if (call->over) {
        rc = -ESHUTDOWN;
    } else if (real_of(call) != NULL) {
        rc = 1;
    } else {
        *where = op;
        if (message != NULL) {
            call->waiting = *message;
            call->more = more;
        }
    }
    pthread_mutex_unlock(&call->lock);
    return rc;
}

static int recv_message(weft__ccall *base, weft__op *op)
{
    balanced_call *call = from_base(base);
    int rc = real_of(call) != NULL ? 1 : keep(call, &call->recv_op, op, NULL, false);
    return rc <= 0 ? rc : real_of(call)->vtable->recv(real_of(call), op);
}

static void take(weft__ccall *base, weft__rx *out)
{
    weft__ccall *real = real_of(from_base(base));
    *out = (weft__rx){.impl = NULL};
    if (real != NULL)
        real->vtable->take(real, out);
}

static int send_message(weft__ccall *base, weft__tx *message, bool more, weft__op *op)
{
    balanced_call *call = from_base(base);
    int rc = real_of(call) != NULL ? 1 : keep(call, &call->send_op, op, message, more);
    return rc <= 0 ? rc : real_of(call)->vtable->send(real_of(call), message, more, op);
}

static int half_close(weft__ccall *base, weft__op *op)
{
    balanced_call *call = from_base(base);
    int rc = real_of(call) != NULL ? 1 : keep(call, &call->close_op, op, NULL, false);
    return rc <= 0 ? rc : real_of(call)->vtable->half_close(real_of(call), op);
}

static void cancel(weft__ccall *base, weft_code code, const char *message)
{
    balanced_call *call = from_base(base);
    pthread_mutex_lock(&call->lock);
    weft__ccall *real = real_of(call);
    bool first = !is_cancelled(call);
    if (first) {
        call->cancel_code = code;
        call->cancel_message = message != NULL ? message : "";
        atomic_store(&call->waiter.cancelled, true);
        if (real != NULL)
            real->vtable->cancel(real, code, call->cancel_message);
    }
    pthread_mutex_unlock(&call->lock);
    if (first && real == NULL && weft__balancer_forget(&call->waiter))
        end_here(call, code, "");
}

static void result(weft__ccall *base, weft__result *out)
{
    balanced_call *call = from_base(base);
    *out = call->result;
    out->waited_ns = call->waited_ns;
    call->result.response.impl = NULL;
}

static size_t peer(weft__ccall *base, char *out, size_t size)
{
    weft__ccall *real = real_of(from_base(base));
    if (real != NULL)
        return real->vtable->peer(real, out, size);
    if (size > 0)
        out[0] = '\0';
    return 0;
}

static void free_call(weft__ccall *base)
{
    balanced_call *call = from_base(base);
    weft__ccall *real = real_of(call);
    if (real != NULL)
        real->vtable->free(real);
    drop_message(call);
    if (call->backend != NULL)
        weft__balancer_let_go(call->backend);
    weft__tried_clear(&call->tried);
    if (call->counted)
        weft__gate_leave(&call->balancer->running);
    pthread_mutex_destroy(&call->lock);
    free(call);
}

static const weft__ccall_vtable vtable = {
    .unary = unary,
    .start = start,
    .recv = recv_message,
    .take = take,
    .send = send_message,
    .half_close = half_close,
    .cancel = cancel,
    .result = result,
    .peer = peer,
    .free = free_call,
};

int weft__balanced_call_new(weft__tchannel *base, weft__ccall **out)
{
    balanced_call *call = malloc(sizeof *call);
    if (call == NULL)
        return -ENOMEM;
    memset(call, 0, offsetof(balanced_call, text));
    int rc = -pthread_mutex_init(&call->lock, NULL);
    if (rc < 0) {
        free(call);
        return rc;
    }
    call->base.vtable = &vtable;
    call->balancer = WEFT__CONTAINER_OF(base, weft__balancer, base);
    call->waiter.balancer = call->balancer;
    call->waiter.again = on_again;
    call->waiter.late = on_late;
    call->real_end.done = on_real_end;
    *out = &call->base;
    return 0;
}
