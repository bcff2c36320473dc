#include "integration/retry/rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <weft/core.h>
#include <weft/testing.h>

#include "base/list.h"

/* ---- a resolver that says what the test says --------------------------------------------------------------------- */

static int told_watch(weft_resolver *self, const weft_target *target, weft_sink *sink, weft_watch **out, char *reason,
                      size_t reason_size)
{
    (void)target;
    if (reason_size > 0)
        reason[0] = '\0';
    ((struct told *)self)->sink = sink;
    *out = (weft_watch *)self;
    return 0;
}

static void told_unwatch(weft_resolver *self, weft_watch *watch)
{
    (void)watch;
    ((struct told *)self)->sink = NULL;
}

static const weft_resolver_vtable told_vtable = {
    .struct_size = sizeof told_vtable,
    .scheme = "told",
    .watch = told_watch,
    .unwatch = told_unwatch,
};

static const char connects[] = "connects"; /* the text of rig_connect's calls */

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

/* An attempt at its server. It is the rig's, because an alarm may come when the call is gone. */
struct session {
    struct session *next;
    struct node *node;
    struct act act;
    size_t index; /* of the seen */
    weft_call *call;
    weft_stream *stream; /* or NULL: Say */
    weft__alarm alarm;
    Chat__Text *response;
    Chat__Text *unsent;
    Chat__Text message;
    int64_t wanted; /* of Spread */
    int64_t received;
    int64_t sent;
    bool spreads;
    bool talks;
    bool answered; /* the rig's lock */
    bool waits;    /* for nothing but its cancel, or its alarm; the rig's lock */
    bool gone;     /* nobody waits for the answer; the rig's lock */
    bool alarmed;  /* the rig's lock */
};

static struct seen *seen_of(struct session *s)
{
    return &s->node->rig->seen[s->index];
}

static void copy_metadatum(char *out, size_t size, const weft_call *call, const char *key)
{
    weft_sv value = weft_call_metadata(call, key);
    snprintf(out, size, "%.*s", (int)value.len, value.len > 0 ? value.data : "");
}

static uint64_t draw(struct rig *rig, uint64_t below)
{
    rig->chance ^= rig->chance << 13;
    rig->chance ^= rig->chance >> 7;
    rig->chance ^= rig->chance << 17;
    return rig->chance % below;
}

/* One act in three fails, some are slow, a few are never answered. Locked. */
static struct act draw_act(struct rig *rig)
{
    static const char *const pushbacks[] = {NULL, NULL, "0", "0", "3", "-1"};
    struct act act = {.code = WEFT_OK};
    uint64_t kind = draw(rig, 30);
    if (kind < 10) {
        act.code = kind == 0 ? WEFT_INTERNAL : WEFT_UNAVAILABLE;
        act.pushback = pushbacks[draw(rig, 6)];
        act.read_first = (int64_t)draw(rig, 4);
        act.send_first = (int64_t)draw(rig, 12) - 9;
    } else if (kind < 14) {
        act.after_ms = 1 + (int64_t)draw(rig, 10);
    } else if (kind == 14) {
        act.after_ms = -1;
    }
    return act;
}

/* Notes an attempt, and finds out what becomes of it. */
static struct session *enter(weft_call *call, struct node *node, const char *text)
{
    struct rig *rig = node->rig;
    struct session *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    pthread_mutex_lock(&rig->lock);
    size_t turn = rig->seen_count - rig->first_seen;
    if (rig->seen_count == MAX_SEEN - 1)
        abort();
    s->next = rig->sessions;
    rig->sessions = s;
    s->node = node;
    s->call = call;
    bool is_noted = rig->chance == 0;
    if (strcmp(text, connects) == 0) { /* may come when the call is over, and the test's own are under way */
        is_noted = false;
        rig->connected |= 1U << node->number;
        s->act = (struct act){.after_ms = 2}; /* so that hedges get there, too */
    } else {
        s->act = rig->chance != 0 ? draw_act(rig) : rig->acts[turn < rig->act_count ? turn : rig->act_count - 1];
    }
    s->index = is_noted ? rig->seen_count++ : MAX_SEEN - 1;
    struct seen *seen = seen_of(s);
    seen->node = node->number;
    seen->at_ns = weft_engine_now_ns(rig->engine);
    copy_metadatum(seen->previous, sizeof seen->previous, call, "grpc-previous-rpc-attempts");
    copy_metadatum(seen->key, sizeof seen->key, call, "x-key");
    snprintf(seen->text, sizeof seen->text, "%s", text);
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->lock);
    return s;
}

/* Whether the caller is to answer it: nobody else has. */
static bool takes(struct session *s, bool only_if_it_waits, bool cancelled)
{
    struct rig *rig = s->node->rig;
    pthread_mutex_lock(&rig->lock);
    bool mine = !s->answered && (s->waits || !only_if_it_waits);
    seen_of(s)->cancelled = seen_of(s)->cancelled || (cancelled && !s->answered);
    seen_of(s)->ended = seen_of(s)->ended || (mine && !cancelled);
    s->answered = s->answered || mine;
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->lock);
    return mine;
}

/* The attempt's status, with what goes along. */
static weft_code conclude(struct session *s)
{
    char text[16];
    snprintf(text, sizeof text, "%d", s->node->number);
    if (weft_call_add_trailer(s->call, "x-trailer", weft_sv_from(text)) < 0)
        abort();
    if (s->sent == 0 && weft_call_add_header(s->call, "x-header", weft_sv_from(text)) < 0)
        abort();
    if (s->act.pushback != NULL &&
        weft_call_add_trailer(s->call, "grpc-retry-pushback-ms", weft_sv_from(s->act.pushback)) < 0)
        abort();
    return s->act.code == WEFT_OK ? WEFT_OK : weft_fail(s->call, s->act.code, "node %d fails", s->node->number);
}

static void answer(struct session *s)
{
    if (!takes(s, false, false))
        return;
    weft_code code = conclude(s);
    weft_call_finish(s->call, code, code == WEFT_OK ? (const ProtobufCMessage *)s->response : NULL);
}

static void drop(struct session *s, bool only_if_it_waits)
{
    if (takes(s, only_if_it_waits, true))
        weft_call_finish(s->call, WEFT_CANCELLED, NULL);
}

static void on_cancelled(void *arg)
{
    struct session *s = arg;
    struct rig *rig = s->node->rig;
    pthread_mutex_lock(&rig->lock);
    s->gone = true;
    bool alarmed = s->alarmed;
    pthread_mutex_unlock(&rig->lock);
    if (alarmed)
        (void)rig->engine->vtable->alarm_cancel(rig->engine, &s->alarm);
    drop(s, true);
}

static void on_alarm(weft__alarm *alarm)
{
    answer(WEFT__CONTAINER_OF(alarm, struct session, alarm));
}

/* Lets an attempt be, until it is cancelled, or its time has come. */
static void let_be(struct session *s)
{
    struct rig *rig = s->node->rig;
    pthread_mutex_lock(&rig->lock);
    s->waits = true;
    bool gone = s->gone;
    if (s->act.after_ms > 0 && s->stream == NULL && !gone) {
        s->alarm.run = on_alarm;
        int64_t at_ns = weft_engine_now_ns(rig->engine) + s->act.after_ms * MS;
        if (rig->engine->vtable->alarm_set(rig->engine, &s->alarm, at_ns) < 0)
            abort();
        s->alarmed = true;
    }
    pthread_mutex_unlock(&rig->lock);
    if (gone)
        drop(s, true);
}

static void defer(struct session *s)
{
    if (weft_call_defer(s->call) < 0)
        abort();
    if (weft_call_when_cancelled(s->call, on_cancelled, s) == 1)
        s->gone = true; /* and nobody else says so */
    if (s->act.after_ms < 0 && s->node->rig->relay != NULL)
        s->node->rig->relay(s->call, s->node->rig->relay_arg);
}

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    struct node *node = self;
    struct session *s = enter(call, node, request->text);
    s->response = response;
    response->number = node->number;
    response->text = request->text;
    defer(s);
    if (s->act.after_ms == 0)
        answer(s);
    else
        let_be(s);
    return WEFT_OK;
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

static void go_on(void *arg);

static void note_received(struct session *s, const Chat__Text *message)
{
    struct rig *rig = s->node->rig;
    pthread_mutex_lock(&rig->lock);
    s->received++;
    seen_of(s)->received = s->received;
    seen_of(s)->sum += message->number * s->received;
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->lock);
}

static void note_half_close(struct session *s)
{
    struct rig *rig = s->node->rig;
    pthread_mutex_lock(&rig->lock);
    seen_of(s)->half_closed = true;
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->lock);
}

/* Whether it ends before the client has. */
static bool ends_now(const struct session *s)
{
    return (s->act.code != WEFT_OK || s->act.read_first > 0) && s->received >= s->act.read_first &&
           s->sent >= s->act.send_first;
}

/* 1: goes on; 0: it was told to wait, or is over. */
static int receive_one(struct session *s)
{
    Chat__Text *message = NULL;
    int rc = weft_stream_recv(s->stream, (ProtobufCMessage **)&message);
    if (rc == -EAGAIN)
        return weft_stream_when_readable(s->stream, go_on, s) == 1;
    if (rc < 0) {
        drop(s, false);
        return 0;
    }
    if (rc == 0) {
        note_half_close(s);
        if (s->act.after_ms < 0)
            let_be(s);
        else
            answer(s);
        return 0;
    }
    note_received(s, message);
    if (s->response != NULL)
        s->response->number += message->number;
    if (s->talks && s->act.after_ms >= 0 && (s->act.code == WEFT_OK || s->sent < s->act.send_first))
        s->unsent = message;
    return 1;
}

static int send_one(struct session *s)
{
    int rc = weft_stream_send(s->stream, (const ProtobufCMessage *)s->unsent);
    if (rc == -EAGAIN)
        return weft_stream_when_writable(s->stream, go_on, s) == 1;
    if (rc < 0) {
        drop(s, false);
        return 0;
    }
    s->unsent = NULL;
    s->sent++;
    return 1;
}

static int spread_one(struct session *s)
{
    if (s->sent == s->wanted) {
        answer(s);
        return 0;
    }
    s->message.number = s->sent;
    s->unsent = &s->message;
    return send_one(s);
}

static void go_on(void *arg)
{
    struct session *s = arg;
    int more = 1;
    while (more) {
        if (s->unsent == NULL && ends_now(s) && s->act.after_ms >= 0) {
            answer(s);
            return;
        }
        if (s->unsent != NULL)
            more = send_one(s);
        else if (s->spreads)
            more = spread_one(s);
        else
            more = receive_one(s);
    }
}

static struct session *enter_stream(weft_call *call, struct node *node, const char *text)
{
    struct session *s = enter(call, node, text);
    s->stream = weft_call_stream(call);
    defer(s);
    return s;
}

static weft_code gather(weft_call *call, chat_Chat_Gather_server *stream, Chat__Text *response, void *self)
{
    (void)stream;
    struct session *s = enter_stream(call, self, "");
    s->response = response;
    go_on(s);
    return WEFT_OK;
}

static weft_code spread(weft_call *call, const Chat__Text *request, chat_Chat_Spread_server *stream, void *self)
{
    (void)stream;
    struct session *s = enter_stream(call, self, request->text);
    s->message = (Chat__Text)CHAT__TEXT__INIT;
    s->spreads = true;
    s->wanted = request->number;
    if (s->act.after_ms < 0)
        let_be(s);
    else
        go_on(s);
    return WEFT_OK;
}

static weft_code talk(weft_call *call, chat_Chat_Talk_server *stream, void *self)
{
    (void)stream;
    struct session *s = enter_stream(call, self, "");
    s->talks = true;
    go_on(s);
    return WEFT_OK;
}

static const chat_Chat_ops ops = {.Say = say, .Gather = gather, .Spread = spread, .Talk = talk};

/* ---- the rig ----------------------------------------------------------------------------------------------------- */

static void start_node(struct rig *rig, int number)
{
    static const char *const names[] = {"Say", "Gather", "Spread", "Talk"};
    struct node *node = &rig->nodes[number];
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    weft_service_options service = WEFT_SERVICE_OPTIONS_INIT;
    weft_method_options methods[4];
    for (size_t i = 0; i < 4; i++) {
        methods[i] = (weft_method_options)WEFT_METHOD_OPTIONS_INIT;
        methods[i].method = names[i];
        methods[i].run_inline = true;
    }
    service.methods = methods;
    service.method_count = 4;
    options.workers = -1;
    options.quiet_ms = 20;
    node->rig = rig;
    node->number = number;
    assert_int_equal(weft_server_new(&node->server, rig->engine, &options), 0);
    assert_int_equal(weft_health_new(&node->health, NULL), 0);
    assert_int_equal(weft_health_register(node->server, node->health), 0);
    assert_int_equal(chat_Chat_register(node->server, &ops, node, &service), 0);
    assert_int_equal(weft_server_listen(node->server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(node->server), 0);
    snprintf(node->address, sizeof node->address, "ipv4:%s", weft_server_address(node->server, 0));
}

static int setup(void **state, bool core, bool stepped)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->core = core;
    rig->stepped = stepped;
    rig->told.base.vtable = &told_vtable;
    assert_int_equal(pthread_mutex_init(&rig->lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&rig->changed, NULL), 0);
    if (core) {
        weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
        options.threads = 2;
        assert_int_equal(weft_core_engine_new(&rig->engine, &options), 0);
    } else {
        weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
        options.threaded = !stepped;
        assert_int_equal(weft_memory_engine_new(&rig->engine, &options), 0);
    }
    assert_int_equal(weft_arena_new(&rig->arena, 0), 0);
    for (int i = 0; i < NODES; i++)
        start_node(rig, i);
    ACT(rig, {.code = WEFT_OK});
    *state = rig;
    return 0;
}

int rig_setup_core(void **state)
{
    return setup(state, true, false);
}

int rig_setup_threaded(void **state)
{
    return setup(state, false, false);
}

int rig_setup_stepped(void **state)
{
    return setup(state, false, true);
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    rig_close(rig);
    for (int i = 0; i < NODES; i++) {
        weft_server_free(rig->nodes[i].server);
        weft_health_free(rig->nodes[i].health);
    }
    assert_int_equal(weft_engine_free(rig->engine), 0);
    weft_arena_free(rig->arena);
    for (struct session *s = rig->sessions, *next; s != NULL; s = next) {
        next = s->next;
        free(s);
    }
    pthread_cond_destroy(&rig->changed);
    pthread_mutex_destroy(&rig->lock);
    free(rig);
    return 0;
}

void rig_open_with(struct rig *rig, const weft_channel_options *given)
{
    weft_resolver *const resolvers[] = {&rig->told.base};
    weft_channel_options options = *given;
    options.resolvers = resolvers;
    options.resolver_count = 1;
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, "told:///chat", &options), 0);
}

void rig_open(struct rig *rig, const char *config, const char *nodes)
{
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.service_config = config != NULL ? config : "{" IN_TURN "}";
    rig_open_with(rig, &options);
    rig_connect(rig, nodes);
}

void rig_close(struct rig *rig)
{
    weft_channel_free(rig->channel);
    rig->channel = NULL;
}

void rig_tell(struct rig *rig, const char *nodes)
{
    weft_address addresses[NODES];
    weft_resolution resolution = {
        .struct_size = sizeof resolution,
        .addresses = addresses,
        .address_count = strlen(nodes),
        .service_config = rig->published,
    };
    memset(addresses, 0, sizeof addresses);
    for (size_t i = 0; nodes[i] != '\0'; i++)
        addresses[i].address = rig->nodes[nodes[i] - 'a'].address;
    weft_sink_publish(rig->told.sink, &resolution);
}

void rig_act(struct rig *rig, const struct act *acts, size_t count)
{
    assert_true(count <= MAX_ACTS);
    pthread_mutex_lock(&rig->lock);
    memcpy(rig->acts, acts, count * sizeof *acts);
    rig->act_count = count;
    if (rig->seen_count > MAX_SEEN / 2) { /* what runs on is noted where it was */
        bool all_over = true;
        for (struct session *s = rig->sessions; s != NULL; s = s->next)
            all_over = all_over && s->answered;
        if (all_over) {
            memset(rig->seen, 0, sizeof rig->seen);
            rig->seen_count = 0;
        }
    }
    rig->first_seen = rig->seen_count;
    pthread_mutex_unlock(&rig->lock);
}

size_t rig_attempts(struct rig *rig)
{
    pthread_mutex_lock(&rig->lock);
    size_t count = rig->seen_count - rig->first_seen;
    pthread_mutex_unlock(&rig->lock);
    return count;
}

struct seen rig_seen(struct rig *rig, size_t index)
{
    pthread_mutex_lock(&rig->lock);
    assert_true(rig->first_seen + index < rig->seen_count);
    struct seen seen = rig->seen[rig->first_seen + index];
    pthread_mutex_unlock(&rig->lock);
    return seen;
}

static size_t cancelled_locked(const struct rig *rig)
{
    size_t count = 0;
    for (size_t i = rig->first_seen; i < rig->seen_count; i++)
        count += rig->seen[i].cancelled;
    return count;
}

static void await(struct rig *rig, size_t attempts, size_t cancelled)
{
    struct timespec limit;
    int rc = 0;
    if (rig->stepped)
        (void)weft_test_step(rig->engine, SIZE_MAX);
    (void)clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 30;
    pthread_mutex_lock(&rig->lock);
    while (rc == 0 && !rig->stepped &&
           (rig->seen_count - rig->first_seen < attempts || cancelled_locked(rig) < cancelled))
        rc = pthread_cond_timedwait(&rig->changed, &rig->lock, &limit);
    bool holds = rig->seen_count - rig->first_seen >= attempts && cancelled_locked(rig) >= cancelled;
    pthread_mutex_unlock(&rig->lock);
    assert_true(holds);
}

void rig_await_attempts(struct rig *rig, size_t count)
{
    await(rig, count, 0);
}

void rig_await_cancelled(struct rig *rig, size_t count)
{
    await(rig, 0, count);
}

void rig_settle(struct rig *rig)
{
    if (!rig->core)
        weft_test_advance(rig->engine, 0);
}

void rig_assert_cancelled(const struct rig *rig, weft_code code)
{
    if (!rig->core || code != WEFT_UNAVAILABLE) /* there the cancel may be faster than the failure */
        assert_int_equal(code, WEFT_CANCELLED);
}

void rig_pass_ms(struct rig *rig, int64_t ms)
{
    weft__event never;
    if (!rig->core) {
        weft_test_advance(rig->engine, ms * MS);
        return;
    }
    assert_int_equal(weft__event_init(&never), 0);
    assert_int_equal(weft__event_wait(&never, weft_engine_now_ns(rig->engine) + ms * MS), -ETIMEDOUT);
    weft__event_fini(&never);
}

/* ---- callers ----------------------------------------------------------------------------------------------------- */

static void find(char *out, size_t size, const weft_metadata *metadata, const char *key)
{
    for (size_t i = 0; i < metadata->count; i++)
        if (weft_sv_is(metadata->items[i].key, key))
            snprintf(out, size, "%.*s", (int)metadata->items[i].value.len, metadata->items[i].value.data);
}

static void on_said(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    struct outcome *outcome = arg;
    const weft_call_info *info = weft_result_info(result);
    outcome->code = status->code;
    outcome->at_ns = weft_engine_now_ns(outcome->rig->engine);
    if (response != NULL) {
        outcome->number = response->number;
        snprintf(outcome->text, sizeof outcome->text, "%s", response->text);
    }
    snprintf(outcome->message, sizeof outcome->message, "%s", status->message);
    snprintf(outcome->peer, sizeof outcome->peer, "%s", info->peer);
    find(outcome->header, sizeof outcome->header, &info->headers, "x-header");
    find(outcome->trailer, sizeof outcome->trailer, &info->trailers, "x-trailer");
    outcome->told++;
    weft__event_post(&outcome->over);
}

static void begin_say(struct rig *rig, weft_channel *channel, struct outcome *outcome, const weft_call_options *options,
                      const char *text)
{
    Chat__Text request = CHAT__TEXT__INIT;
    request.text = (char *)(uintptr_t)text;
    memset(outcome, 0, sizeof *outcome);
    outcome->rig = rig;
    outcome->number = -1;
    assert_int_equal(weft__event_init(&outcome->over), 0);
    assert_int_equal(chat_Chat_Say_async(channel, options, &request, on_said, outcome), 0);
}

void rig_begin_say_on(struct rig *rig, weft_channel *channel, struct outcome *outcome, const weft_call_options *options)
{
    begin_say(rig, channel, outcome, options, "said");
}

void rig_begin_say(struct rig *rig, struct outcome *outcome, const weft_call_options *options)
{
    rig_begin_say_on(rig, rig->channel, outcome, options);
}

void rig_end_say(struct rig *rig, struct outcome *outcome)
{
    for (int i = 0; !rig->core && i < 200000 && outcome->told == 0; i++)
        weft_test_advance(rig->engine, MS);
    assert_int_equal(weft__event_wait(&outcome->over, rig->stepped ? 0 : INT64_MAX), 0);
    assert_int_equal(outcome->told, 1);
    weft__event_fini(&outcome->over);
}

weft_code rig_say(struct rig *rig, struct outcome *outcome, int64_t timeout_ms)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.timeout_ms = timeout_ms;
    rig_begin_say(rig, outcome, &options);
    rig_end_say(rig, outcome);
    return outcome->code;
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

/* One call: the nodes that it and those before have reached. */
static unsigned call_to_connect(struct rig *rig)
{
    struct outcome outcome;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.timeout_ms = 10000;
    begin_say(rig, rig->channel, &outcome, &options, connects);
    rig_end_say(rig, &outcome);
    assert_int_equal(outcome.code, WEFT_OK);
    pthread_mutex_lock(&rig->lock);
    unsigned connected = rig->connected;
    pthread_mutex_unlock(&rig->lock);
    return connected;
}

void rig_connect(struct rig *rig, const char *nodes)
{
    char some[NODES + 1] = "";
    unsigned wanted = 0, connected = 0;
    pthread_mutex_lock(&rig->lock);
    rig->connected = 0;
    pthread_mutex_unlock(&rig->lock);
    for (size_t i = 0; nodes[i] != '\0'; i++) { /* one after the other: who calls waits for none but the first */
        some[i] = nodes[i];
        wanted |= 1U << (nodes[i] - 'a');
        rig_tell(rig, some);
        for (int tries = 0; tries < 5000 && (connected & wanted) != wanted; tries++)
            connected = call_to_connect(rig);
        assert_int_equal(connected & wanted, wanted);
    }
    ACT(rig, {.code = WEFT_OK});
}
