/* Interceptors and observers: order, refusals, what they see, on servers and channels, and those that come with
 * Weft. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "integration/stream/rig.h"

/* ---- an interceptor that writes down what it is told
 * --------------------------------------------------------------- */

struct diary {
    pthread_mutex_t lock;
    char text[1024];
};

struct noting {
    weft_interceptor base;
    struct diary *diary;
    char letter;
    const char *refuse; /* the hook that refuses: "start", "recv", "send" */
};

struct noted {
    int hooks; /* called for this call so far */
};

static void note(struct diary *diary, char letter, const char *what)
{
    pthread_mutex_lock(&diary->lock);
    size_t len = strlen(diary->text);
    snprintf(diary->text + len, sizeof diary->text - len, "%s%c:%s", len > 0 ? " " : "", letter, what);
    pthread_mutex_unlock(&diary->lock);
}

static weft_code hook(weft_interceptor *self, weft_call *call, const char *what, void *state)
{
    struct noting *noting = (struct noting *)self;
    ((struct noted *)state)->hooks++;
    note(noting->diary, noting->letter, what);
    if (noting->refuse != NULL && strcmp(noting->refuse, what) == 0)
        return weft_fail(call, WEFT_PERMISSION_DENIED, "%c refuses to %s", noting->letter, what);
    return WEFT_OK;
}

static weft_code on_start(weft_interceptor *self, weft_call *call, void *state)
{
    return hook(self, call, "start", state);
}

static weft_code on_recv(weft_interceptor *self, weft_call *call, const ProtobufCMessage *message, void *state)
{
    (void)message;
    return hook(self, call, "recv", state);
}

static weft_code on_send(weft_interceptor *self, weft_call *call, const ProtobufCMessage *message, void *state)
{
    (void)message;
    return hook(self, call, "send", state);
}

static void on_end(weft_interceptor *self, weft_call *call, const weft_status *status, void *state)
{
    struct noting *noting = (struct noting *)self;
    char what[64];
    (void)call;
    snprintf(what, sizeof what, "end(%s,%d)", weft_code_name(status->code), ((struct noted *)state)->hooks);
    note(noting->diary, noting->letter, what);
}

static const weft_interceptor_vtable noting_vtable = {
    .struct_size = sizeof noting_vtable,
    .name = "noting",
    .state_size = sizeof(struct noted),
    .start = on_start,
    .recv = on_recv,
    .send = on_send,
    .end = on_end,
};

static struct diary diary = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct noting noting[2];
static weft_interception interceptions[2];

/* Two interceptors, a and b. */
static rig_options with_noting(bool server)
{
    rig_options options = rig_default_options();
    diary.text[0] = '\0';
    for (int i = 0; i < 2; i++) {
        noting[i] = (struct noting){{&noting_vtable}, &diary, (char)('a' + i), NULL};
        interceptions[i] = (weft_interception){&noting[i].base, NULL, 0};
    }
    if (server) {
        options.server.interceptors = interceptions;
        options.server.interceptor_count = 2;
    } else {
        options.channel.interceptors = interceptions;
        options.channel.interceptor_count = 2;
    }
    return options;
}

static weft_status say(struct rig *rig, const weft_call_options *options, Chat__Text **response)
{
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *ignored = NULL;
    return chat_Chat_Say(rig->channel, rig->arena, options, &request, response != NULL ? response : &ignored);
}

/* The server writes its last words before it answers, so they are there when the answer is. */
static void assert_diary(const char *wanted)
{
    assert_string_equal(diary.text, wanted);
}

static void a_servers_interceptors_lie_around_each_other(void **state)
{
    struct rig *rig = *state;
    rig_options options = with_noting(true);
    rig_start(rig, &options);
    rig_assert_status(say(rig, NULL, NULL), WEFT_OK, "");
    assert_diary("a:start b:start b:recv a:recv a:send b:send b:end(OK,3) a:end(OK,3)");
}

static void a_channels_interceptors_lie_around_each_other(void **state)
{
    struct rig *rig = *state;
    rig_options options = with_noting(false);
    rig_start(rig, &options);
    rig_assert_status(say(rig, NULL, NULL), WEFT_OK, "");
    assert_diary("a:start b:start a:send b:send b:recv a:recv b:end(OK,3) a:end(OK,3)");
}

static void who_refuses_to_start_ends_the_call_there(void **state)
{
    struct rig *rig = *state;
    rig_options options = with_noting(true);
    Chat__Text *response = NULL;
    noting[0].refuse = "start";
    rig_start(rig, &options);
    weft_status status = say(rig, NULL, &response);
    rig_assert_status(status, WEFT_PERMISSION_DENIED, "a refuses to start");
    assert_true(status.from_peer);
    assert_null(response);
    assert_diary("a:start a:end(PERMISSION_DENIED,1)");
}

static void a_request_may_be_refused(void **state)
{
    struct rig *rig = *state;
    rig_options options = with_noting(true);
    noting[1].refuse = "recv";
    rig_start(rig, &options);
    rig_assert_status(say(rig, NULL, NULL), WEFT_PERMISSION_DENIED, "b refuses to recv");
    assert_diary("a:start b:start b:recv b:end(PERMISSION_DENIED,2) a:end(PERMISSION_DENIED,1)");
}

static void a_response_may_be_refused(void **state)
{
    struct rig *rig = *state;
    rig_options options = with_noting(true);
    noting[1].refuse = "send";
    rig_start(rig, &options);
    rig_assert_status(say(rig, NULL, NULL), WEFT_PERMISSION_DENIED, "b refuses to send");
    assert_diary("a:start b:start b:recv a:recv a:send b:send b:end(PERMISSION_DENIED,3) a:end(PERMISSION_DENIED,3)");
}

static void a_channel_may_refuse_at_each_hook_and_the_server_is_not_asked_in_vain(void **state)
{
    static const char *const hooks[] = {"start", "send", "recv"};
    struct rig *rig = *state;
    rig_options options = with_noting(false);
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    char wanted[64];
    rig_start(rig, &options);
    for (int i = 0; i < 3; i++) {
        noting[1].refuse = hooks[i];
        weft_status status = say(rig, NULL, NULL);
        snprintf(wanted, sizeof wanted, "b refuses to %s", hooks[i]);
        rig_assert_status(status, WEFT_PERMISSION_DENIED, wanted);
        assert_false(status.from_peer);
    }
    assert_int_equal(weft_server_read_stats(rig->server, &stats), 0);
    assert_int_equal(stats.calls_handled, 1); /* the one whose answer was refused */
}

static void an_asynchronous_call_that_is_refused_calls_back(void **state);

static void a_stream_shows_each_message(void **state)
{
    struct rig *rig = *state;
    rig_options options = with_noting(true);
    chat_Chat_Talk_client *stream = NULL;
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *received = NULL;
    options.server.interceptor_count = 1;
    rig_start(rig, &options);
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, NULL), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(chat_Chat_Talk_client_send(stream, &message), 0);
        assert_int_equal(chat_Chat_Talk_client_recv(stream, &received), 1);
    }
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_OK, "");
    assert_diary("a:start a:recv a:send a:recv a:send a:end(OK,5)");
}

static void a_stream_ends_with_the_message_that_is_refused(void **state)
{
    struct rig *rig = *state;
    rig_options options = with_noting(true);
    chat_Chat_Talk_client *stream = NULL;
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *received = NULL;
    options.server.interceptor_count = 1;
    noting[0].refuse = "recv";
    rig_start(rig, &options);
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, NULL), 0);
    assert_int_equal(chat_Chat_Talk_client_send(stream, &message), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &received), 0);
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_PERMISSION_DENIED, "a refuses to recv");
    assert_int_equal(rig->last_error, -EBADMSG);
}

static void a_channels_stream_ends_with_the_message_that_is_refused(void **state)
{
    struct rig *rig = *state;
    rig_options options = with_noting(false);
    chat_Chat_Talk_client *stream = NULL;
    Chat__Text message = CHAT__TEXT__INIT;
    noting[0].refuse = "send";
    rig_start(rig, &options);
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, NULL), 0);
    assert_int_equal(chat_Chat_Talk_client_send(stream, &message), -EPERM);
    assert_int_equal(chat_Chat_Talk_client_send(stream, &message), -EPERM);
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_PERMISSION_DENIED, "a refuses to send");
    assert_diary("a:start b:start a:send b:end(PERMISSION_DENIED,1) a:end(PERMISSION_DENIED,2)");
}

static void only_the_methods_named_are_intercepted(void **state)
{
    static const char *const one[] = {"/chat.Chat/Say"};
    static const char *const all[] = {"/other.Service/Say", "/chat.Chat/*"};
    struct rig *rig = *state;
    rig_options options = with_noting(true);
    chat_Chat_Gather_client *stream = NULL;
    Chat__Text *response = NULL;
    interceptions[0].methods = one;
    interceptions[0].method_count = 1;
    interceptions[1].methods = all;
    interceptions[1].method_count = 2;
    rig_start(rig, &options);
    assert_int_equal(chat_Chat_Gather(&stream, rig->channel, NULL), 0);
    rig_assert_status(chat_Chat_Gather_client_finish(stream, rig->arena, &response), WEFT_OK, "");
    assert_diary("b:start b:send b:end(OK,2)");
    diary.text[0] = '\0';
    rig_assert_status(say(rig, NULL, NULL), WEFT_OK, "");
    assert_diary("a:start b:start b:recv a:recv a:send b:send b:end(OK,3) a:end(OK,3)");
}

static void wrong_interceptors_are_refused(void **state)
{
    static const char *const bad[] = {"chat.Chat/Say"};
    struct rig *rig = *state;
    rig_options options = with_noting(true);
    weft_server *server = NULL;
    weft_channel *channel = NULL;
    interceptions[1].methods = bad;
    interceptions[1].method_count = 1;
    assert_int_equal(weft_server_new(&server, rig->engine, &options.server), -EINVAL);
    interceptions[1] = (weft_interception){NULL, NULL, 0};
    assert_int_equal(weft_server_new(&server, rig->engine, &options.server), -EINVAL);
    options.channel.interceptor_count = WEFT_MAX_INTERCEPTORS + 1;
    options.channel.interceptors = interceptions;
    assert_int_equal(weft_channel_new(&channel, rig->engine, "a:1", &options.channel), -E2BIG);
    rig_start(rig, NULL);
}

/* ---- metadata
 * ------------------------------------------------------------------------------------------------------ */

static weft_code add_token(weft_interceptor *self, weft_call *call, void *state)
{
    (void)self;
    (void)state;
    return weft_call_add_header(call, "authorization", weft_sv_from("secret")) == 0 ? WEFT_OK : WEFT_INTERNAL;
}

static weft_code check_token(weft_interceptor *self, weft_call *call, void *state)
{
    (void)self;
    (void)state;
    if (!weft_sv_is(weft_call_metadata(call, "authorization"), "secret"))
        return weft_fail(call, WEFT_UNAUTHENTICATED, "missing or invalid token");
    return WEFT_OK;
}

static void a_channel_adds_what_a_server_checks(void **state)
{
    static const weft_interceptor_vtable adds = {.struct_size = sizeof adds, .name = "adds", .start = add_token};
    static const weft_interceptor_vtable checks = {
        .struct_size = sizeof checks, .name = "checks", .start = check_token};
    static weft_interceptor adding = {&adds};
    static weft_interceptor checking = {&checks};
    const weft_interception on_channel = {&adding, NULL, 0};
    const weft_interception on_server = {&checking, NULL, 0};
    const weft_metadatum own = {weft_sv_from("x-own"), weft_sv_from("kept")};
    struct rig *rig = *state;
    weft_channel *bare = NULL;
    rig_options options = rig_default_options();
    weft_call_options call = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    chat_Chat_Gather_client *stream = NULL;
    options.server.interceptors = &on_server;
    options.server.interceptor_count = 1;
    options.channel.interceptors = &on_channel;
    options.channel.interceptor_count = 1;
    call.metadata = &own;
    call.metadata_count = 1;
    rig_start(rig, &options);
    rig_assert_status(say(rig, &call, NULL), WEFT_OK, "");
    assert_int_equal(chat_Chat_Gather(&stream, rig->channel, &call), 0);
    rig_assert_status(chat_Chat_Gather_client_finish(stream, rig->arena, &response), WEFT_OK, "");
    assert_int_equal(weft_channel_new(&bare, rig->engine, rig->target, NULL), 0);
    rig_assert_status(chat_Chat_Say(bare, rig->arena, NULL, &request, &response), WEFT_UNAUTHENTICATED,
                      "missing or invalid token");
    weft_channel_free(bare);
}

/* ---- observers
 * ----------------------------------------------------------------------------------------------------- */

struct watcher {
    weft_observer base;
    pthread_mutex_t lock;
    int calls;
    int handled;
    weft_call_summary last;
    weft_code code;
    char path[64];
};

static void on_ended(weft_observer *self, const weft_call_summary *summary)
{
    struct watcher *watcher = (struct watcher *)self;
    pthread_mutex_lock(&watcher->lock);
    watcher->calls++;
    watcher->handled += summary->handled;
    watcher->last = *summary;
    watcher->code = summary->status->code;
    snprintf(watcher->path, sizeof watcher->path, "%s", summary->path);
    pthread_mutex_unlock(&watcher->lock);
}

static const weft_observer_vtable watcher_vtable = {
    .struct_size = sizeof watcher_vtable, .name = "watcher", .ended = on_ended};

static void observers_see_every_call_also_those_that_no_handler_saw(void **state)
{
    static const weft_method unknown = {.struct_size = sizeof unknown,
                                        .path = "/chat.Chat/Nothing",
                                        .name = "Nothing",
                                        .request = &chat__text__descriptor,
                                        .response = &chat__text__descriptor};
    struct rig *rig = *state;
    struct watcher server = {.base = {&watcher_vtable}, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct watcher client = {.base = {&watcher_vtable}, .lock = PTHREAD_MUTEX_INITIALIZER};
    weft_observer *const on_server[] = {&server.base};
    weft_observer *const on_client[] = {&client.base};
    rig_options options = rig_default_options();
    Chat__Text request = CHAT__TEXT__INIT;
    ProtobufCMessage *response = NULL;
    chat_Chat_Spread_client *stream = NULL;
    options.server.observers = on_server;
    options.server.observer_count = 1;
    options.channel.observers = on_client;
    options.channel.observer_count = 1;
    rig_start(rig, &options);
    rig_assert_status(say(rig, NULL, NULL), WEFT_OK, "");
    assert_int_equal(server.handled, 1);
    assert_string_equal(server.path, "/chat.Chat/Say");
    assert_true(server.last.ended_ns >= server.last.began_ns);
    assert_false(server.last.client);
    assert_true(client.last.client);
    assert_int_equal(client.last.sent, 1);
    assert_int_equal(client.last.received, 1);
    rig_assert_status(
        weft_channel_unary(rig->channel, rig->arena, NULL, &unknown, (const ProtobufCMessage *)&request, &response),
        WEFT_UNIMPLEMENTED, NULL);
    assert_int_equal(server.calls, 2);
    assert_int_equal(server.handled, 1);
    assert_int_equal(server.code, WEFT_UNIMPLEMENTED);
    assert_string_equal(server.path, "/chat.Chat/Nothing");
    assert_null(server.last.method);
    assert_int_equal(client.code, WEFT_UNIMPLEMENTED);
    request.number = 5;
    assert_int_equal(chat_Chat_Spread(&stream, rig->channel, NULL, &request), 0);
    rig_assert_status(chat_Chat_Spread_client_finish(stream, rig->arena), WEFT_OK, "");
    assert_int_equal(server.last.sent, 5);
    assert_int_equal(server.last.received, 1);
    assert_int_equal(client.calls, 3);
    weft_channel_free(rig->channel);
    rig->channel = NULL;
    weft_server_free(rig->server);
    rig->server = NULL; /* the watchers go first */
}

/* ---- those that come with Weft
 * --------------------------------------------------------------------------------------- */

/* Starts a server with one interceptor. */
static void start_with(struct rig *rig, weft_interceptor *interceptor)
{
    rig_options options = rig_default_options();
    const weft_interception interception = {interceptor, NULL, 0};
    options.server.interceptors = &interception;
    options.server.interceptor_count = 1;
    rig_start(rig, &options);
}

static void stop_and_free(struct rig *rig, weft_interceptor *interceptor)
{
    weft_channel_free(rig->channel);
    rig->channel = NULL;
    weft_server_free(rig->server);
    rig->server = NULL;
    weft_interceptor_free(interceptor);
}

static void a_deadline_policy_wants_a_deadline_that_is_near(void **state)
{
    struct rig *rig = *state;
    weft_interceptor *policy = NULL;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    assert_int_equal(weft_deadline_policy_new(&policy, -1), -EINVAL);
    assert_int_equal(weft_deadline_policy_new(&policy, 60000), 0);
    start_with(rig, policy);
    rig_assert_status(say(rig, NULL, NULL), WEFT_INVALID_ARGUMENT, "the call has no deadline: set one");
    options.timeout_ms = 3600000;
    rig_assert_status(say(rig, &options, NULL), WEFT_INVALID_ARGUMENT, "the deadline is more than 60000 ms away");
    options.timeout_ms = 30000;
    rig_assert_status(say(rig, &options, NULL), WEFT_OK, "");
    stop_and_free(rig, policy);
}

static void a_concurrency_limit_counts_the_calls_that_run(void **state)
{
    struct rig *rig = *state;
    weft_interceptor *limit = NULL;
    chat_Chat_Talk_client *stream = NULL;
    assert_int_equal(weft_concurrency_limit_new(&limit, 0), -EINVAL);
    assert_int_equal(weft_concurrency_limit_new(&limit, 1), 0);
    start_with(rig, limit);
    for (int i = 0; i < 3; i++) /* each is counted out again */
        rig_assert_status(say(rig, NULL, NULL), WEFT_OK, "");
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, NULL), 0);
    rig_await(rig, &rig->began);
    for (int i = 0; i < 3; i++)
        rig_assert_status(say(rig, NULL, NULL), WEFT_RESOURCE_EXHAUSTED, "more than 1 calls at once");
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_OK, "");
    rig_assert_status(say(rig, NULL, NULL), WEFT_OK, "");
    stop_and_free(rig, limit);
}

static void a_rate_limit_lets_a_burst_through_and_then_so_many_a_second(void **state)
{
    struct rig *rig = *state;
    weft_interceptor *limit = NULL;
    assert_int_equal(weft_rate_limit_new(&limit, 0, 1), -EINVAL);
    assert_int_equal(weft_rate_limit_new(&limit, 10, 0), -EINVAL);
    assert_int_equal(weft_rate_limit_new(&limit, 1, 3), 0);
    start_with(rig, limit);
    for (int i = 0; i < 3; i++)
        rig_assert_status(say(rig, NULL, NULL), WEFT_OK, "");
    rig_assert_status(say(rig, NULL, NULL), WEFT_RESOURCE_EXHAUSTED, "too many calls a second");
    rig_pass_ms(rig, 1001); /* one token */
    rig_assert_status(say(rig, NULL, NULL), WEFT_OK, "");
    rig_assert_status(say(rig, NULL, NULL), WEFT_RESOURCE_EXHAUSTED, "too many calls a second");
    if (!rig->core) {
        rig_pass_ms(rig, 60000); /* no more than the bucket holds */
        for (int i = 0; i < 3; i++)
            rig_assert_status(say(rig, NULL, NULL), WEFT_OK, "");
        rig_assert_status(say(rig, NULL, NULL), WEFT_RESOURCE_EXHAUSTED, NULL);
    }
    stop_and_free(rig, limit);
}

static weft_code not_13(weft_call *call, const ProtobufCMessage *message, void *arg)
{
    const Chat__Text *text = (const Chat__Text *)message;
    ++*(int *)arg;
    return text->number == 13 ? weft_fail(call, WEFT_INVALID_ARGUMENT, "number: must not be 13") : WEFT_OK;
}

static void validation_sees_each_request_before_the_handler(void **state)
{
    struct rig *rig = *state;
    weft_interceptor *validation = NULL;
    chat_Chat_Gather_client *stream = NULL;
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    int seen = 0;
    assert_int_equal(weft_validation_new(&validation, NULL, NULL, NULL), -EINVAL);
    assert_int_equal(weft_validation_new(&validation, &chat__text__descriptor, not_13, &seen), 0);
    start_with(rig, validation);
    rig_assert_status(say(rig, NULL, NULL), WEFT_OK, "");
    message.number = 13;
    rig_assert_status(chat_Chat_Say(rig->channel, rig->arena, NULL, &message, &response), WEFT_INVALID_ARGUMENT,
                      "number: must not be 13");
    assert_int_equal(chat_Chat_Gather(&stream, rig->channel, NULL), 0);
    assert_int_equal(chat_Chat_Gather_client_send(stream, &message), 0);
    rig_assert_status(chat_Chat_Gather_client_finish(stream, rig->arena, &response), WEFT_INVALID_ARGUMENT,
                      "number: must not be 13");
    assert_int_equal(seen, 3);
    stop_and_free(rig, validation);
}

static weft_code say_nothing(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    (void)call;
    (void)request;
    (void)response;
    (void)self;
    return WEFT_OK;
}

static weft_code gather_nothing(weft_call *call, chat_Chat_Gather_server *stream, Chat__Text *response, void *self)
{
    (void)call;
    (void)stream;
    (void)response;
    (void)self;
    return WEFT_OK;
}

static weft_code spread_an_empty_text(weft_call *call, const Chat__Text *request, chat_Chat_Spread_server *stream,
                                      void *self)
{
    const Chat__Text empty = CHAT__TEXT__INIT;
    (void)request;
    (void)self;
    int rc = chat_Chat_Spread_server_send(stream, &empty);
    return rc < 0 ? weft_fail_errno(call, rc) : WEFT_OK;
}

static void recovery_answers_for_a_handler_that_answers_nothing(void **state)
{
    static const chat_Chat_ops ops = {.Say = say_nothing, .Gather = gather_nothing, .Spread = spread_an_empty_text};
    struct rig *rig = *state;
    weft_interceptor *recovery = NULL;
    chat_Chat_Gather_client *gather = NULL;
    chat_Chat_Spread_client *spread = NULL;
    const Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    rig->ops = &ops;
    assert_int_equal(weft_recovery_new(&recovery), 0);
    start_with(rig, recovery);
    rig_assert_status(say(rig, NULL, &response), WEFT_INTERNAL, "the handler answered nothing");
    assert_int_equal(chat_Chat_Gather(&gather, rig->channel, NULL), 0);
    rig_assert_status(chat_Chat_Gather_client_finish(gather, rig->arena, &response), WEFT_INTERNAL,
                      "the handler answered nothing");
    assert_null(response);
    assert_int_equal(chat_Chat_Spread(&spread, rig->channel, NULL, &request), 0); /* one of many may be empty */
    assert_int_equal(chat_Chat_Spread_client_recv(spread, &response), 1);
    rig_assert_status(chat_Chat_Spread_client_finish(spread, rig->arena), WEFT_OK, "");
    stop_and_free(rig, recovery);
}

static void recovery_leaves_answers_alone(void **state)
{
    struct rig *rig = *state;
    weft_interceptor *recovery = NULL;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    request.number = 7;
    assert_int_equal(weft_recovery_new(&recovery), 0);
    start_with(rig, recovery);
    rig_assert_status(chat_Chat_Say(rig->channel, rig->arena, NULL, &request, &response), WEFT_OK, "");
    assert_int_equal(response->number, 7);
    stop_and_free(rig, recovery);
}

static void wrong_options_of_an_adaptive_limit_are_refused(void **state)
{
    weft_interceptor *limit = NULL;
    weft_adaptive_limit_options options = WEFT_ADAPTIVE_LIMIT_OPTIONS_INIT;
    (void)state;
    options.min_calls = 10;
    options.max_calls = 5;
    assert_int_equal(weft_adaptive_limit_new(&limit, &options), -EINVAL);
    options.max_calls = -1;
    assert_int_equal(weft_adaptive_limit_new(&limit, &options), -EINVAL);
    assert_int_equal(weft_adaptive_limit_new(&limit, NULL), 0);
    assert_int_equal(weft_adaptive_limit_calls(limit), 40);
    weft_interceptor_free(limit);
}

/* Deferred calls in virtual time: a server whose latency the test decides. */
enum {
    CALLS = 30
};

struct slow_server {
    weft_call *calls[CALLS];
    int count;
};

static weft_code defer_say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    struct rig *rig = self;
    struct slow_server *server = rig->user;
    (void)request;
    (void)response;
    server->calls[server->count++] = call;
    weft_call_defer(call);
    return WEFT_OK;
}

static void on_any(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    (void)response;
    (void)result;
    ++((int *)arg)[status->code == WEFT_OK ? 0 : 1];
}

/* One second of a server that answers `calls` calls at once after `latency_ms`. Returns how many were refused. */
static int serve_a_second(struct rig *rig, struct slow_server *server, int calls, int64_t latency_ms)
{
    Chat__Text message = CHAT__TEXT__INIT;
    int outcomes[2] = {0, 0};
    for (int64_t ms = 0; ms < 1000; ms += latency_ms) {
        server->count = 0;
        for (int i = 0; i < calls; i++)
            assert_int_equal(chat_Chat_Say_async(rig->channel, NULL, &message, on_any, outcomes), 0);
        rig_pass_ms(rig, latency_ms);
        for (int i = 0; i < server->count; i++)
            chat_Chat_Say_finish(server->calls[i], WEFT_OK, &message);
        rig_pass_ms(rig, 0);
    }
    return outcomes[1];
}

static void an_adaptive_limit_follows_what_the_server_can_do(void **state)
{
    static const chat_Chat_ops slow_ops = {.Say = defer_say};
    struct rig *rig = *state;
    struct slow_server server = {.count = 0};
    weft_interceptor *limit = NULL;
    weft_adaptive_limit_options options = WEFT_ADAPTIVE_LIMIT_OPTIONS_INIT;
    options.initial_calls = 40;
    rig->ops = &slow_ops;
    rig->user = &server;
    assert_int_equal(weft_adaptive_limit_new(&limit, &options), 0);
    start_with(rig, limit);
    /* 20 at once, 10 ms each: 2,000 a second. Little: 20, and three tenths of room. */
    for (int i = 0; i < 3; i++)
        assert_int_equal(serve_a_second(rig, &server, 20, 10), 0);
    assert_in_range(weft_adaptive_limit_calls(limit), 24, 28);
    /* More at once than that are refused. */
    assert_true(serve_a_second(rig, &server, CALLS, 10) > 0);
    /* The same calls take 20 ms: the server is past its knee, and gets fewer. */
    (void)serve_a_second(rig, &server, 20, 20);
    (void)serve_a_second(rig, &server, 20, 20);
    assert_in_range(weft_adaptive_limit_calls(limit), 4, 16);
    /* It recovers. */
    for (int i = 0; i < 5; i++)
        (void)serve_a_second(rig, &server, 20, 10);
    assert_in_range(weft_adaptive_limit_calls(limit), 17, 40);
    stop_and_free(rig, limit);
}

/* ---- asynchronous
 * ---------------------------------------------------------------------------------------------------- */

struct asked {
    weft__event over;
    weft_code code;
    char text[64];
};

static void on_said(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    struct asked *asked = arg;
    (void)response;
    (void)result;
    asked->code = status->code;
    snprintf(asked->text, sizeof asked->text, "%s", status->message);
    weft__event_post(&asked->over);
}

static void an_asynchronous_call_that_is_refused_calls_back(void **state)
{
    struct rig *rig = *state;
    rig_options options = with_noting(false);
    struct asked asked = {.code = WEFT_OK};
    Chat__Text request = CHAT__TEXT__INIT;
    noting[1].refuse = "start";
    rig_start(rig, &options);
    assert_int_equal(weft__event_init(&asked.over), 0);
    assert_int_equal(chat_Chat_Say_async(rig->channel, NULL, &request, on_said, &asked), 0);
    rig_await(rig, &asked.over);
    assert_int_equal(asked.code, WEFT_PERMISSION_DENIED);
    assert_string_equal(asked.text, "b refuses to start");
    weft__event_fini(&asked.over);
}

#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)
#define CASES(setup)                                                                                                   \
    CASE(a_servers_interceptors_lie_around_each_other, setup),                                                         \
        CASE(a_channels_interceptors_lie_around_each_other, setup),                                                    \
        CASE(who_refuses_to_start_ends_the_call_there, setup), CASE(a_request_may_be_refused, setup),                  \
        CASE(a_response_may_be_refused, setup),                                                                        \
        CASE(a_channel_may_refuse_at_each_hook_and_the_server_is_not_asked_in_vain, setup),                            \
        CASE(an_asynchronous_call_that_is_refused_calls_back, setup), CASE(a_stream_shows_each_message, setup),        \
        CASE(a_stream_ends_with_the_message_that_is_refused, setup),                                                   \
        CASE(a_channels_stream_ends_with_the_message_that_is_refused, setup),                                          \
        CASE(only_the_methods_named_are_intercepted, setup), CASE(wrong_interceptors_are_refused, setup),              \
        CASE(a_channel_adds_what_a_server_checks, setup),                                                              \
        CASE(observers_see_every_call_also_those_that_no_handler_saw, setup),                                          \
        CASE(a_deadline_policy_wants_a_deadline_that_is_near, setup),                                                  \
        CASE(a_concurrency_limit_counts_the_calls_that_run, setup),                                                    \
        CASE(a_rate_limit_lets_a_burst_through_and_then_so_many_a_second, setup),                                      \
        CASE(validation_sees_each_request_before_the_handler, setup),                                                  \
        CASE(recovery_answers_for_a_handler_that_answers_nothing, setup), CASE(recovery_leaves_answers_alone, setup),  \
        cmocka_unit_test(wrong_options_of_an_adaptive_limit_are_refused)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(rig_setup_core)};
    static const struct CMUnitTest threaded[] = {CASES(rig_setup_threaded)};
    static const struct CMUnitTest stepped[] = {
        CASES(rig_setup_stepped), CASE(an_adaptive_limit_follows_what_the_server_can_do, rig_setup_stepped)};
    const char *engine = argc > 1 ? argv[1] : "core";
    if (strcmp(engine, "threaded") == 0)
        return cmocka_run_group_tests(threaded, NULL, NULL);
    if (strcmp(engine, "stepped") == 0)
        return cmocka_run_group_tests(stepped, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
