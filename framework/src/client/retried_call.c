/* retried_call.c: a call of the seam that is made of attempts: calls of the seam below it.
 *
 *              ┌────────────── retry: after the backoff ◀─────────────┐
 *              ▼                                                      │ NEXT
 *   start ──▶ attempt ──▶ its end, or its first message ──▶ judged ───┤
 *              ▲                                                      │ END
 *              └─ hedging: when the delay is over, beside the others  ▼
 *                                                    chosen: its answer is the call's
 *                                                    the others are cancelled; when all have ended: the end is told
 *
 * Design notes
 * - Attempts are calls of the balancer, which share the list of endpoints that they are on, so that each goes to
 *   another.
 * - What a stream sends is kept, by reference, and each attempt sends it at its own pace; a send of the upper side is
 *   complete when the first attempt has sent it. A receive is made on all attempts; the first that has a message is
 *   chosen. Once it has caught up, `in` and `out` are it, and nothing of this file stands between any more.
 * - `pump` starts what is to be started, outside the lock, because a send or a receive may complete inside its start.
 *   One thread pumps a direction at a time; what the others change meanwhile, under the lock, it sees before it stops.
 * - A thread of the program's starts and completes only what goes its own direction: a callback of the receiver's must
 *   not come from inside a send. What else there is to do it leaves to an alarm, `soon`.
 * - An attempt is left by its users: who starts something on it, what is outstanding, its alarm. The last one judges
 *   it, on a thread of the engine's: the end itself, or an alarm. The call is over when no attempt is left, no timer is
 *   set and no function of the upper side's is inside.
 */
#include "client/retried_call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/thread.h"
#include "client/balancer.h"
#include "client/tried.h"

enum {
    MAX_LIVE = WEFT__MAX_ATTEMPTS + 1 /* one more that no server has seen */
};

typedef struct retried_call retried_call;

struct attempt {
    retried_call *call;
    weft__ccall *real; /* NULL: there was no memory for it */
    weft__call_args args;
    weft__tx message;         /* of the args: a reference, the engine's once it has started */
    weft_metadatum *metadata; /* of the args, if it says more than the call's */
    weft__op end;
    weft__op in;
    weft__op out;
    weft__alarm late; /* the policy's time for an answer is over */
    weft__alarm soon; /* it is judged where the program may be called */
    weft__result result;

    size_t users; /* the call's lock, from here on */
    bool started;
    bool ended;
    bool late_set;
    bool timed_out;
    const char *lost; /* what could not be done on it; or NULL */
    bool wants_end;   /* a send has failed: the status is there once all is received */
    bool in_busy;
    bool in_over;
    bool out_busy;
    bool out_over;
    size_t next;   /* of the kept messages, that it sends */
    weft__rx held; /* received, and not asked for yet */
};

/* What a stream sends: a message, or that there are no more. */
struct item {
    weft__tx message;
    bool more;
    bool close;
};

struct retried_call {
    weft__ccall base;
    weft_engine *engine;
    weft__tchannel *below;
    weft__policy *policy;
    const weft__retry_policy *retry;
    const weft__hedging_policy *hedging;
    bool unary;
    weft__call_args args;
    weft__tx message; /* of the args: a reference, while `holds_message` */
    bool holds_message;
    weft__tried tried;
    weft__op *end_op;
    weft__result result;

    pthread_mutex_t lock; /* of the rest */
    weft__retry_state state;
    int begun;         /* attempts, all of them */
    int64_t waited_ns; /* of those that have ended */
    struct attempt *live[MAX_LIVE];
    size_t live_count;
    struct attempt *chosen; /* live, or kept */
    struct attempt *last;   /* has ended; its answer is the call's if there is no other */
    weft__alarm timer;      /* the next attempt is due */
    bool timer_set;
    weft__alarm soon; /* goes on where the program may be called */
    bool soon_set;
    size_t inside; /* functions of the upper side's */
    bool pumping_in;
    bool pumping_out;
    bool over;
    bool cancelled;
    bool discarded; /* by the cancel: something that was received, so that the answer is none any more */
    weft_code cancel_code;
    const char *cancel_message;

    struct item *items;
    size_t item_count;
    size_t item_space;
    size_t item_bytes;
    bool full; /* what would be kept is too much: the next attempt is chosen as it starts */
    weft__op *recv_op;
    weft__op *out_op;
    size_t out_index; /* of the item that `out_op` is about */
    weft__rx taken;   /* for the upper side to take, while `has_taken` */
    bool has_taken;
    _Atomic(weft__ccall *) in; /* once nothing stands between any more */
    _Atomic(weft__ccall *) out;
};

static retried_call *from_base(weft__ccall *base)
{
    return WEFT__CONTAINER_OF(base, retried_call, base);
}

static int64_t now_of(const retried_call *call)
{
    return weft_engine_now_ns(call->engine);
}

/* ---- small things ------------------------------------------------------------------------------------------------ */

static void drop_message(retried_call *call)
{
    if (call->holds_message)
        call->engine->vtable->tx_unref(&call->message);
    call->holds_message = false;
}

static void drop_items(retried_call *call)
{
    for (size_t i = 0; i < call->item_count; i++)
        if (!call->items[i].close)
            call->engine->vtable->tx_unref(&call->items[i].message);
    free(call->items);
    call->items = NULL;
    call->item_count = call->item_space = call->item_bytes = 0;
}

static void free_attempt(struct attempt *attempt)
{
    retried_call *call = attempt->call;
    if (attempt->held.impl != NULL)
        call->engine->vtable->rx_release(&attempt->held);
    if (attempt->result.response.impl != NULL)
        call->engine->vtable->rx_release(&attempt->result.response);
    if (attempt->real != NULL)
        attempt->real->vtable->free(attempt->real);
    free(attempt->metadata);
    free(attempt);
}

/* Drops what was received and nobody takes any more: whether there was something. Locked. */
static bool discard(retried_call *call, weft__rx *message)
{
    if (message->impl == NULL)
        return false;
    call->engine->vtable->rx_release(message);
    call->discarded = true;
    return true;
}

/* What is to be completed, outside the lock. */
struct told {
    weft__op *in;
    weft__op *out;
    int out_result;
};

static void tell(const struct told *told)
{
    if (told->in != NULL)
        told->in->done(told->in, 0);
    if (told->out != NULL)
        told->out->done(told->out, told->out_result);
}

/* Sets an alarm for an attempt or the call: whether it will come. */
static bool set_alarm(const retried_call *call, weft__alarm *alarm, int64_t after_ns)
{
    weft_engine *engine = call->engine;
    return engine->vtable->alarm_set(engine, alarm, weft__clock_deadline_ns(weft_engine_now_ns(engine), after_ns)) == 0;
}

static void go_on_soon(const retried_call *call, weft__alarm *alarm)
{
    (void)set_alarm(call, alarm, 0); /* alarms work: the balancer has seen to that */
}

/* ---- what is so; all of this with the lock held ------------------------------------------------------------------ */

/* What was received for the upper side to take comes before the end. */
static bool is_idle(const retried_call *call)
{
    bool holds = call->chosen != NULL && call->chosen->held.impl != NULL;
    return call->live_count == 0 && !call->timer_set && call->inside == 0 && !call->soon_set && !holds;
}

/* Whether the end is to be told now; true once. */
static bool is_over(retried_call *call)
{
    if (call->over || !is_idle(call))
        return false;
    call->over = true;
    return true;
}

static bool is_wanted(const retried_call *call, const struct attempt *attempt)
{
    return attempt->started && !attempt->ended && (call->chosen == NULL || call->chosen == attempt);
}

/* An attempt on which a receive is to be started; or NULL. */
static struct attempt *find_in(const retried_call *call)
{
    for (size_t i = 0; i < call->live_count; i++) {
        struct attempt *attempt = call->live[i];
        if (is_wanted(call, attempt) && !attempt->in_busy && !attempt->in_over && attempt->held.impl == NULL &&
            (call->recv_op != NULL || (attempt->wants_end && call->chosen == NULL)))
            return attempt;
    }
    return NULL;
}

/* Whether a receive of the upper side's can be completed. */
static bool can_deliver(const retried_call *call)
{
    return call->recv_op != NULL && call->chosen != NULL && (call->chosen->held.impl != NULL || call->chosen->in_over);
}

static bool is_broken(const retried_call *call)
{
    return call->chosen != NULL && call->chosen->out_over;
}

static bool is_sent(const retried_call *call)
{
    bool sent = call->chosen != NULL && call->chosen->next > call->out_index;
    for (size_t i = 0; i < call->live_count; i++)
        sent = sent || call->live[i]->next > call->out_index;
    return sent;
}

/* Whether a send of the upper side's can be completed. */
static bool can_confirm(const retried_call *call)
{
    return call->out_op != NULL && (is_broken(call) || is_sent(call));
}

/* Completes what can be of these directions, and opens the short ways where nothing is left in between. */
static void settle(retried_call *call, struct told *told, bool in, bool out)
{
    struct attempt *chosen = call->chosen;
    if (in && can_deliver(call)) {
        call->taken = chosen->held;
        call->has_taken = true;
        chosen->held.impl = NULL;
        told->in = call->recv_op;
        call->recv_op = NULL;
    }
    if (out && can_confirm(call)) {
        told->out = call->out_op;
        told->out_result = is_sent(call) ? 0 : -ECANCELED;
        call->out_op = NULL;
    }
    if (chosen == NULL || chosen->real == NULL)
        return;
    if (!chosen->in_busy && chosen->held.impl == NULL && call->recv_op == NULL)
        atomic_store_explicit(&call->in, chosen->real, memory_order_release);
    if (!chosen->out_busy && call->out_op == NULL && (is_broken(call) || chosen->next >= call->item_count)) {
        drop_items(call);
        atomic_store_explicit(&call->out, chosen->real, memory_order_release);
    }
}

static void cancel_attempt(struct attempt *attempt, weft_code code, const char *message)
{
    if (attempt->real != NULL) /* else it sees to that itself when it begins */
        attempt->real->vtable->cancel(attempt->real, code, message);
}

static void stop_timer(retried_call *call)
{
    if (call->timer_set && call->engine->vtable->alarm_cancel(call->engine, &call->timer))
        call->timer_set = false;
}

/* The call's answer is this attempt's. */
static void choose(retried_call *call, struct attempt *attempt)
{
    call->chosen = attempt;
    if (attempt->ended || attempt->held.impl != NULL) /* else there was no room to keep another */
        atomic_store(&call->tried.answered, attempt->real);
    stop_timer(call);
    for (size_t i = 0; i < call->live_count; i++)
        if (call->live[i] != attempt)
            cancel_attempt(call->live[i], WEFT_CANCELLED, "another attempt was answered");
}

/* Chooses that which is ahead of the others. */
static void choose_best(retried_call *call)
{
    size_t best = 0;
    for (size_t i = 1; i < call->live_count; i++)
        if (call->live[i]->next > call->live[best]->next)
            best = i;
    if (call->live_count > 0)
        choose(call, call->live[best]);
}

/* The call's metadata, and how many attempts there were before. 0; -ENOMEM. */
static int number_attempt(struct attempt *attempt, int before)
{
    static const char *const numbers[WEFT__MAX_ATTEMPTS + 1] = {"0", "1", "2", "3", "4", "5"};
    weft__call_args *args = &attempt->args;
    if (before == 0)
        return 0;
    attempt->metadata = calloc(args->metadata_count + 1, sizeof *attempt->metadata);
    if (attempt->metadata == NULL)
        return -ENOMEM;
    if (args->metadata_count > 0)
        memcpy(attempt->metadata, args->metadata, args->metadata_count * sizeof *args->metadata);
    attempt->metadata[args->metadata_count] = (weft_metadatum){
        .key = weft_sv_from("grpc-previous-rpc-attempts"),
        .value = weft_sv_from(numbers[before]),
    };
    args->metadata = attempt->metadata;
    args->metadata_count++;
    return 0;
}

static void on_end(weft__op *op, int ignored);
static void on_in(weft__op *op, int ignored);
static void on_out(weft__op *op, int result);
static void on_late(weft__alarm *alarm);
static void on_judged_soon(weft__alarm *alarm);

/* A new attempt, for run_attempt; NULL: no memory. */
static struct attempt *add_attempt(retried_call *call)
{
    struct attempt *new = calloc(1, sizeof *new);
    if (new == NULL)
        return NULL;
    new->call = call;
    new->args = call->args;
    if (call->holds_message) {
        new->message = call->message;
        new->args.message = &new->message;
    }
    if (number_attempt(new, call->state.attempts) < 0) {
        free(new);
        return NULL;
    }
    new->end.done = on_end;
    new->in.done = on_in;
    new->out.done = on_out;
    new->late.run = on_late;
    new->soon.run = on_judged_soon;
    new->users = 2; /* who begins it, and its end */
    call->live[call->live_count++] = new;
    weft__retry_start(&call->state);
    if (call->begun++ > 0)
        weft__balancer_retries(call->below);
    return new;
}

static void remove_attempt(retried_call *call, const struct attempt *attempt)
{
    size_t i = 0;
    while (call->live[i] != attempt)
        i++;
    call->live[i] = call->live[--call->live_count];
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

/* On a thread of the engine's, once. Nobody else is in the call any more. */
static void finish(retried_call *call)
{
    struct attempt *answer = call->chosen != NULL ? call->chosen : call->last;
    if (answer != NULL && !call->discarded) {
        call->result = answer->result;
        answer->result.response.impl = NULL;
    } else if (call->cancelled) {
        call->result = (weft__result){.code = call->cancel_code, .message = weft_sv_from(call->cancel_message)};
    } else {
        call->result =
            (weft__result){.code = WEFT_RESOURCE_EXHAUSTED, .message = weft_sv_from("no memory for another attempt")};
    }
    call->result.waited_ns = call->waited_ns;
    call->result.attempts = (uint32_t)call->begun;
    pthread_mutex_lock(&call->lock);
    struct told told = {.in = call->recv_op, .out = call->out_op, .out_result = -ECANCELED};
    call->recv_op = call->out_op = NULL;
    pthread_mutex_unlock(&call->lock);
    tell(&told);
    drop_items(call);
    drop_message(call);
    call->end_op->done(call->end_op, 0);
}

static void pump(retried_call *call, bool in, bool out);

static void on_soon(weft__alarm *alarm)
{
    retried_call *call = WEFT__CONTAINER_OF(alarm, retried_call, soon);
    struct told told = {NULL, NULL, 0};
    pthread_mutex_lock(&call->lock);
    call->soon_set = false;
    settle(call, &told, true, true);
    call->inside++; /* what is told now comes before the end */
    pthread_mutex_unlock(&call->lock);
    tell(&told);
    pump(call, true, true);
    pthread_mutex_lock(&call->lock);
    call->inside--;
    bool over = is_over(call);
    pthread_mutex_unlock(&call->lock);
    if (over)
        finish(call);
}

/* Whether there is something left that the upper side's thread must not do itself. */
static bool has_work(const retried_call *call)
{
    return can_deliver(call) || can_confirm(call) || (!call->pumping_in && find_in(call) != NULL);
}

/* A function of the upper side's goes. */
static void leave_call(retried_call *call)
{
    pthread_mutex_lock(&call->lock);
    call->inside--;
    if (!call->over && !call->soon_set && (is_idle(call) || has_work(call))) {
        call->soon_set = true;
        go_on_soon(call, &call->soon);
    }
    pthread_mutex_unlock(&call->lock);
}

/* ---- judging ----------------------------------------------------------------------------------------------------- */

static weft__throttle *throttle_of(retried_call *call)
{
    static weft__throttle none;
    return call->policy != NULL ? &call->policy->throttle : &none;
}

static int64_t pushback_of(const retried_call *call, const weft__result *result)
{
    weft_metadatum found[2];
    weft_metadata pairs = {found, 0};
    for (size_t i = 0; i < result->trailers.count && pairs.count < 2; i++) {
        weft_metadatum pair = call->engine->vtable->md_at(&result->trailers, i);
        if (weft_sv_is(pair.key, "grpc-retry-pushback-ms"))
            found[pairs.count++] = pair;
    }
    return weft__retry_pushback_ms(&pairs);
}

/* What becomes of the call, now that an attempt has ended. Locked. */
static weft__retry_verdict judge(retried_call *call, const struct attempt *attempt, int64_t *wait_ns)
{
    const weft__result *result = &attempt->result;
    const weft__retry_outcome outcome = {
        .code = result->code,
        .seen = result->seen,
        .timed_out = attempt->timed_out && result->code != WEFT_OK,
        .committed = call->chosen != NULL,
        .cancelled = call->cancelled,
        .pushback_ms = pushback_of(call, result),
        .left_ns = call->args.deadline_ns == INT64_MAX ? INT64_MAX : call->args.deadline_ns - now_of(call),
    };
    weft__throttle *throttle = throttle_of(call);
    if (result->final && call->hedging != NULL) /* it fails alone: the others have got through */
        call->state.stopped = true;
    if (result->final)
        return call->hedging != NULL ? WEFT__RETRY_WAIT : WEFT__RETRY_END;
    return call->hedging != NULL
               ? weft__hedge_judge(&call->state, call->hedging, throttle, &outcome, wait_ns)
               : weft__retry_judge(&call->state, call->retry, throttle, &outcome, call->engine->random, wait_ns);
}

/* Locked. @return the attempt that is to begin, or NULL. `unused` is that of which nothing is needed any more. */
static struct attempt *follow(retried_call *call, struct attempt *ended, struct attempt **unused)
{
    struct attempt *next = NULL;
    int64_t wait_ns = 0;
    if (call->chosen != NULL && call->chosen != ended) {
        *unused = ended;
        return NULL;
    }
    weft__retry_verdict verdict = judge(call, ended, &wait_ns);
    if (call->chosen != NULL) /* judged for the throttle only */
        return NULL;
    if (verdict == WEFT__RETRY_NEXT) {
        stop_timer(call);
        if (wait_ns > 0 && !call->timer_set)
            call->timer_set = set_alarm(call, &call->timer, wait_ns);
        else if (!call->timer_set)
            next = add_attempt(call);
        if (next != NULL || call->timer_set)
            *unused = ended;
    } else if (verdict == WEFT__RETRY_WAIT) {
        stop_timer(call); /* no more attempts: it is not waited for */
        if (call->live_count > 0 || call->timer_set) {
            *unused = call->last;
            call->last = ended;
            return NULL;
        }
    }
    if (*unused != ended)
        choose(call, ended);
    return next;
}

static void run_attempt(struct attempt *attempt);

/* An attempt has ended and nobody uses it any more. On a thread of the engine's. */
static void over(struct attempt *ended)
{
    retried_call *call = ended->call;
    struct told told = {NULL, NULL, 0};
    struct attempt *unused = NULL;
    if (ended->real != NULL)
        ended->real->vtable->result(ended->real, &ended->result);
    ended->result.final = ended->result.final || ended->lost != NULL;
    if (ended->lost != NULL && ended->result.code == WEFT_OK) { /* the cancel came too late, but something is missing */
        ended->result.code = WEFT_RESOURCE_EXHAUSTED;
        ended->result.message = weft_sv_from(ended->lost);
    }
    pthread_mutex_lock(&call->lock);
    call->waited_ns += ended->result.waited_ns;
    remove_attempt(call, ended);
    struct attempt *next = follow(call, ended, &unused);
    settle(call, &told, true, true);
    call->inside++;
    pthread_mutex_unlock(&call->lock);
    tell(&told);
    if (unused != NULL)
        free_attempt(unused);
    if (next != NULL)
        run_attempt(next);
    pthread_mutex_lock(&call->lock);
    call->inside--;
    bool done = is_over(call);
    pthread_mutex_unlock(&call->lock);
    if (done)
        finish(call);
}

static void on_judged_soon(weft__alarm *alarm)
{
    over(WEFT__CONTAINER_OF(alarm, struct attempt, soon));
}

/* Who used an attempt, on any thread, does so no more. */
static void leave_attempt(struct attempt *attempt)
{
    retried_call *call = attempt->call;
    pthread_mutex_lock(&call->lock);
    if (--attempt->users == 0)
        go_on_soon(call, &attempt->soon);
    pthread_mutex_unlock(&call->lock);
}

static void on_end(weft__op *op, int ignored)
{
    struct attempt *ended = WEFT__CONTAINER_OF(op, struct attempt, end);
    retried_call *call = ended->call;
    (void)ignored;
    pthread_mutex_lock(&call->lock);
    ended->ended = true;
    if (ended->late_set && call->engine->vtable->alarm_cancel(call->engine, &ended->late))
        ended->users--;
    bool last = --ended->users == 0;
    pthread_mutex_unlock(&call->lock);
    if (last)
        over(ended);
}

static void on_late(weft__alarm *alarm)
{
    struct attempt *late = WEFT__CONTAINER_OF(alarm, struct attempt, late);
    retried_call *call = late->call;
    pthread_mutex_lock(&call->lock);
    if (!late->ended && call->chosen == NULL) {
        late->timed_out = true;
        cancel_attempt(late, WEFT_DEADLINE_EXCEEDED, "no answer within perAttemptRecvTimeout");
    }
    pthread_mutex_unlock(&call->lock);
    leave_attempt(late);
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

/* One that is to send the next `item`, which has a reference of its own. Locked. */
static struct attempt *find_out(retried_call *call, struct item *item)
{
    for (size_t i = 0; i < call->live_count; i++) {
        struct attempt *attempt = call->live[i];
        if (is_wanted(call, attempt) && !attempt->out_busy && !attempt->out_over && attempt->next < call->item_count) {
            *item = call->items[attempt->next];
            if (!item->close)
                call->engine->vtable->tx_ref(&item->message);
            attempt->out_busy = true;
            attempt->users++;
            return attempt;
        }
    }
    return NULL;
}

/* Something could not be started. Where that is not because the attempt is over, it cannot go on without. Locked. */
static void lose(struct attempt *attempt, int rc, const char *what)
{
    if (rc == -ESHUTDOWN)
        return;
    attempt->lost = what;
    cancel_attempt(attempt, WEFT_RESOURCE_EXHAUSTED, what);
}

static void start_in(struct attempt *attempt)
{
    int rc = attempt->real->vtable->recv(attempt->real, &attempt->in);
    if (rc == 0)
        return;
    pthread_mutex_lock(&attempt->call->lock);
    lose(attempt, rc, "a message could not be received");
    attempt->in_busy = false;
    attempt->in_over = true;
    pthread_mutex_unlock(&attempt->call->lock);
    leave_attempt(attempt);
}

static int send_now(weft__ccall *out, struct item *item, weft__op *op)
{
    return item->close ? out->vtable->half_close(out, op) : out->vtable->send(out, &item->message, item->more, op);
}

static void start_out(struct attempt *attempt, struct item *item)
{
    int rc = send_now(attempt->real, item, &attempt->out);
    if (rc == 0)
        return;
    if (!item->close)
        attempt->call->engine->vtable->tx_unref(&item->message);
    pthread_mutex_lock(&attempt->call->lock);
    lose(attempt, rc, "a message could not be sent");
    attempt->out_busy = false;
    attempt->out_over = true;
    attempt->wants_end = true;
    pthread_mutex_unlock(&attempt->call->lock);
    leave_attempt(attempt);
}

/* What a pump does next. */
struct work {
    bool pumps_in;
    bool pumps_out;
    struct attempt *in;
    struct attempt *out;
    struct item item;
};

/* Takes the next receive to be started, or else the next send; false: there is none. Locked. */
static bool take_work(retried_call *call, struct work *work)
{
    work->in = work->pumps_in ? find_in(call) : NULL;
    if (work->in != NULL) {
        work->in->in_busy = true;
        work->in->users++;
        return true;
    }
    work->out = work->pumps_out ? find_out(call, &work->item) : NULL;
    return work->out != NULL;
}

/* Starts all that can be of these directions. The caller is in the call, or uses an attempt of it. */
static void pump(retried_call *call, bool in, bool out)
{
    struct work work;
    pthread_mutex_lock(&call->lock);
    work.pumps_in = in && !call->pumping_in && !call->unary;
    work.pumps_out = out && !call->pumping_out && !call->unary;
    call->pumping_in = call->pumping_in || work.pumps_in;
    call->pumping_out = call->pumping_out || work.pumps_out;
    while (take_work(call, &work)) {
        pthread_mutex_unlock(&call->lock);
        if (work.in != NULL)
            start_in(work.in);
        else
            start_out(work.out, &work.item);
        pthread_mutex_lock(&call->lock);
    }
    if (work.pumps_in)
        call->pumping_in = false;
    if (work.pumps_out)
        call->pumping_out = false;
    pthread_mutex_unlock(&call->lock);
}

/* After a receive (`in`) or a send: completes and starts what that makes possible. Unlocks. */
static void go_on_and_unlock(struct attempt *attempt, bool in)
{
    retried_call *call = attempt->call;
    struct told told = {NULL, NULL, 0};
    bool both = weft__thread_is_loop(); /* else leave_call follows, where the thread has come in */
    settle(call, &told, in || both, !in || both);
    pthread_mutex_unlock(&call->lock);
    tell(&told);
    pump(call, in || both, !in || both);
    leave_attempt(attempt);
}

static void on_in(weft__op *op, int ignored)
{
    struct attempt *attempt = WEFT__CONTAINER_OF(op, struct attempt, in);
    retried_call *call = attempt->call;
    weft__rx message;
    (void)ignored;
    attempt->real->vtable->take(attempt->real, &message);
    pthread_mutex_lock(&call->lock);
    attempt->in_busy = false;
    if (call->cancelled && call->chosen == attempt && call->recv_op == NULL)
        (void)discard(call, &message);
    attempt->held = message;
    attempt->in_over = message.impl == NULL;
    if (!attempt->in_over && call->chosen == NULL)
        choose(call, attempt);
    go_on_and_unlock(attempt, true);
}

static void on_out(weft__op *op, int result)
{
    struct attempt *attempt = WEFT__CONTAINER_OF(op, struct attempt, out);
    pthread_mutex_lock(&attempt->call->lock);
    attempt->out_busy = false;
    if (result == 0) {
        attempt->next++;
    } else {
        attempt->out_over = true;
        attempt->wants_end = true;
    }
    go_on_and_unlock(attempt, false);
}

/* ---- beginning an attempt ---------------------------------------------------------------------------------------- */

static int start_real(struct attempt *attempt, weft__ccall *real)
{
    retried_call *call = attempt->call;
    if (call->holds_message)
        call->engine->vtable->tx_ref(&attempt->message);
    int rc = call->unary ? real->vtable->unary(real, &attempt->args, &attempt->end)
                         : real->vtable->start(real, &attempt->args, &attempt->end);
    if (rc < 0 && call->holds_message)
        call->engine->vtable->tx_unref(&attempt->message);
    return rc;
}

/* It runs: sets the times at which something else is to happen. Locked. */
static void started(struct attempt *attempt)
{
    retried_call *call = attempt->call;
    attempt->started = true;
    if (call->full && call->chosen == NULL)
        choose(call, attempt);
    if (call->retry != NULL && call->retry->attempt_timeout_ns != INT64_MAX && !attempt->ended) {
        attempt->late_set = set_alarm(call, &attempt->late, call->retry->attempt_timeout_ns);
        attempt->users += attempt->late_set;
    }
    if (call->hedging != NULL && call->chosen == NULL && !call->timer_set && !call->cancelled && !call->state.stopped &&
        call->state.attempts < call->hedging->max_attempts)
        call->timer_set = set_alarm(call, &call->timer, call->hedging->delay_ns);
}

/* 0: its end may be told before this returns, and the call be gone; -errno: nothing has begun. */
static int try_to_run(struct attempt *attempt)
{
    retried_call *call = attempt->call;
    weft__ccall *real = NULL;
    int rc = call->below->vtable->call_new(call->below, &real);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&call->lock);
    attempt->real = real;
    if (call->cancelled)
        cancel_attempt(attempt, call->cancel_code, call->cancel_message);
    else if (call->chosen != NULL)
        cancel_attempt(attempt, WEFT_CANCELLED, "another attempt was answered");
    pthread_mutex_unlock(&call->lock);
    rc = start_real(attempt, real);
    pthread_mutex_lock(&call->lock);
    if (rc == 0)
        started(attempt);
    else
        attempt->real = NULL;
    pthread_mutex_unlock(&call->lock);
    if (rc < 0) {
        real->vtable->free(real);
        return rc;
    }
    pump(call, true, true);
    leave_attempt(attempt);
    return 0;
}

/* The call may be gone afterwards. On a thread of the engine's. */
static void run_attempt(struct attempt *attempt)
{
    if (try_to_run(attempt) == 0)
        return;
    attempt->result = (weft__result){
        .code = WEFT_RESOURCE_EXHAUSTED, .final = true, .message = weft_sv_from("no memory for another attempt")};
    over(attempt); /* nobody else uses what has not begun */
}

/* The backoff, or the delay between two hedges, is over. */
static void on_timer(weft__alarm *alarm)
{
    retried_call *call = WEFT__CONTAINER_OF(alarm, retried_call, timer);
    struct attempt *next = NULL;
    pthread_mutex_lock(&call->lock);
    call->timer_set = false;
    bool due = call->chosen == NULL && !call->cancelled;
    if (due && call->hedging != NULL)
        due = weft__hedge_due(&call->state, call->hedging, throttle_of(call));
    if (due)
        next = add_attempt(call);
    bool done = is_over(call);
    pthread_mutex_unlock(&call->lock);
    if (next != NULL)
        run_attempt(next);
    else if (done)
        finish(call);
}

/* ---- the call of the seam ---------------------------------------------------------------------------------------- */

/* From now on the message is the call's. 0; -ENOMEM. */
static int begin(retried_call *call, const weft__call_args *args, weft__op *end, bool unary)
{
    call->args = *args;
    call->args.tried = &call->tried;
    call->unary = unary;
    call->end_op = end;
    if (args->message != NULL) {
        call->message = *args->message;
        call->holds_message = true;
    }
    pthread_mutex_lock(&call->lock);
    struct attempt *first = add_attempt(call);
    pthread_mutex_unlock(&call->lock);
    int rc = first != NULL ? try_to_run(first) : -ENOMEM;
    if (rc == 0)
        return 0;
    call->holds_message = false;
    pthread_mutex_lock(&call->lock); /* a cancel may look at it */
    call->live_count = 0;
    pthread_mutex_unlock(&call->lock);
    if (first != NULL)
        free_attempt(first);
    return rc;
}

static int unary(weft__ccall *base, const weft__call_args *args, weft__op *op)
{
    return begin(from_base(base), args, op, true);
}

static int start(weft__ccall *base, const weft__call_args *args, weft__op *end)
{
    return begin(from_base(base), args, end, false);
}

static int recv_message(weft__ccall *base, weft__op *op)
{
    retried_call *call = from_base(base);
    weft__ccall *in = atomic_load_explicit(&call->in, memory_order_acquire);
    if (in != NULL)
        return in->vtable->recv(in, op);
    pthread_mutex_lock(&call->lock);
    in = atomic_load_explicit(&call->in, memory_order_relaxed); /* another thread may just have opened the short way */
    if (in != NULL || call->over) {
        pthread_mutex_unlock(&call->lock);
        return in != NULL ? in->vtable->recv(in, op) : -ESHUTDOWN;
    }
    call->inside++;
    call->recv_op = op;
    pthread_mutex_unlock(&call->lock);
    pump(call, true, false);
    leave_call(call);
    return 0;
}

static void take(weft__ccall *base, weft__rx *out)
{
    retried_call *call = from_base(base);
    weft__ccall *in = atomic_load_explicit(&call->in, memory_order_acquire);
    if (call->has_taken) {
        *out = call->taken;
        call->has_taken = false;
    } else if (in != NULL) {
        in->vtable->take(in, out);
    } else {
        *out = (weft__rx){.impl = NULL};
    }
}

/* Keeps what is to be sent; -ENOMEM. Locked. */
static int keep(retried_call *call, const struct item *item)
{
    if (call->item_count == call->item_space) {
        size_t space = call->item_space == 0 ? 4 : call->item_space * 2;
        struct item *items = realloc(call->items, space * sizeof *items);
        if (items == NULL)
            return -ENOMEM;
        call->items = items;
        call->item_space = space;
    }
    call->items[call->item_count++] = *item;
    call->item_bytes += sizeof *item + (item->close ? 0 : item->message.len); /* empty ones are not free either */
    return 0;
}

static int send_item(retried_call *call, struct item *item, weft__op *op)
{
    pthread_mutex_lock(&call->lock);
    weft__ccall *out = atomic_load_explicit(&call->out, memory_order_relaxed);
    if (out != NULL) { /* another thread has just opened the short way: nobody looks at what is kept any more */
        pthread_mutex_unlock(&call->lock);
        return send_now(out, item, op);
    }
    int rc = call->over ? -ESHUTDOWN : keep(call, item);
    if (rc < 0) {
        pthread_mutex_unlock(&call->lock);
        return rc;
    }
    call->inside++;
    call->out_op = op;
    call->out_index = call->item_count - 1;
    call->full = call->full || call->item_bytes > WEFT__RETRY_MAX_BYTES;
    if (call->full && call->chosen == NULL)
        choose_best(call);
    pthread_mutex_unlock(&call->lock);
    pump(call, false, true);
    leave_call(call);
    return 0;
}

static int send_message(weft__ccall *base, weft__tx *message, bool more, weft__op *op)
{
    retried_call *call = from_base(base);
    weft__ccall *out = atomic_load_explicit(&call->out, memory_order_acquire);
    if (out != NULL)
        return out->vtable->send(out, message, more, op);
    struct item item = {.message = *message, .more = more};
    return send_item(call, &item, op);
}

static int half_close(weft__ccall *base, weft__op *op)
{
    retried_call *call = from_base(base);
    weft__ccall *out = atomic_load_explicit(&call->out, memory_order_acquire);
    if (out != NULL)
        return out->vtable->half_close(out, op);
    struct item item = {.close = true};
    return send_item(call, &item, op);
}

static void cancel(weft__ccall *base, weft_code code, const char *message)
{
    retried_call *call = from_base(base);
    pthread_mutex_lock(&call->lock);
    if (!call->cancelled && !call->over) {
        call->cancelled = true;
        call->cancel_code = code;
        call->cancel_message = message != NULL ? message : "";
        for (size_t i = 0; i < call->live_count; i++)
            cancel_attempt(call->live[i], code, call->cancel_message);
        bool waited = call->timer_set;
        stop_timer(call);
        if (call->chosen != NULL && discard(call, &call->chosen->held)) /* which the end waits for, too */
            waited = true;
        if (waited && is_idle(call)) {
            call->soon_set = true;
            go_on_soon(call, &call->soon);
        }
    }
    pthread_mutex_unlock(&call->lock);
}

static void result(weft__ccall *base, weft__result *out)
{
    retried_call *call = from_base(base);
    *out = call->result;
    call->result.response.impl = NULL;
}

static size_t peer(weft__ccall *base, char *out, size_t size)
{
    retried_call *call = from_base(base);
    pthread_mutex_lock(&call->lock);
    struct attempt *attempt = call->chosen != NULL ? call->chosen : call->live_count > 0 ? call->live[0] : call->last;
    size_t len = 0;
    if (attempt != NULL && attempt->real != NULL)
        len = attempt->real->vtable->peer(attempt->real, out, size);
    else if (size > 0)
        out[0] = '\0';
    pthread_mutex_unlock(&call->lock);
    return len;
}

static void free_call(weft__ccall *base)
{
    retried_call *call = from_base(base);
    if (call->has_taken && call->taken.impl != NULL)
        call->engine->vtable->rx_release(&call->taken);
    if (call->result.response.impl != NULL)
        call->engine->vtable->rx_release(&call->result.response);
    if (call->chosen != NULL)
        free_attempt(call->chosen);
    if (call->last != NULL)
        free_attempt(call->last);
    drop_items(call);
    drop_message(call);
    weft__tried_clear(&call->tried);
    pthread_mutex_destroy(&call->tried.lock);
    pthread_mutex_destroy(&call->lock);
    weft__policy_unref(call->policy);
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

int weft__retried_call_new(weft_engine *engine, weft__tchannel *below, const weft__method_config *config,
                           weft__policy *policy, weft__ccall **out)
{
    retried_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return -ENOMEM;
    int rc = -pthread_mutex_init(&call->lock, NULL);
    if (rc < 0)
        goto fail_lock;
    rc = -pthread_mutex_init(&call->tried.lock, NULL);
    if (rc < 0)
        goto fail_tried;
    call->base.vtable = &vtable;
    call->engine = engine;
    call->below = below;
    call->policy = policy;
    call->retry = policy != NULL ? config->retry : NULL;
    call->hedging = policy != NULL ? config->hedging : NULL;
    call->timer.run = on_timer;
    call->soon.run = on_soon;
    *out = &call->base;
    return 0;

fail_tried:
    pthread_mutex_destroy(&call->lock);
fail_lock:
    free(call);
    return rc;
}
