#include "integration/seam/seam_suite.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <weft/core.h>
#include <weft/testing.h>

seam_kind seam_kind_under_test = SEAM_CORE;

const weft_method seam_unary = {.struct_size = sizeof(weft_method), .path = "/seam.Suite/Unary", .kind = WEFT_UNARY};
const weft_method seam_small = {.struct_size = sizeof(weft_method), .path = "/seam.Suite/Small", .kind = WEFT_UNARY};
const weft_method seam_server_stream = {
    .struct_size = sizeof(weft_method), .path = "/seam.Suite/ServerStream", .kind = WEFT_SERVER_STREAM};
const weft_method seam_client_stream = {
    .struct_size = sizeof(weft_method), .path = "/seam.Suite/ClientStream", .kind = WEFT_CLIENT_STREAM};
const weft_method seam_bidi = {
    .struct_size = sizeof(weft_method), .path = "/seam.Suite/Bidi", .kind = WEFT_BIDI_STREAM};
const weft_method seam_unknown = {
    .struct_size = sizeof(weft_method), .path = "/seam.Suite/Nothing", .kind = WEFT_UNARY};

static const weft_method *const served[SEAM_METHODS] = {&seam_unary, &seam_small, &seam_server_stream,
                                                        &seam_client_stream, &seam_bidi};

/* ---- counting and waiting ---- */

void seam_count(struct seam *seam, int *counter)
{
    pthread_mutex_lock(&seam->lock);
    ++*counter;
    pthread_cond_broadcast(&seam->changed);
    pthread_mutex_unlock(&seam->lock);
}

void seam_check(struct seam *seam, bool right, const char *what)
{
    pthread_mutex_lock(&seam->lock);
    if (!right && seam->failure == NULL)
        seam->failure = what;
    pthread_mutex_unlock(&seam->lock);
}

static int read_count(struct seam *seam, const int *count)
{
    pthread_mutex_lock(&seam->lock);
    int value = *count;
    pthread_mutex_unlock(&seam->lock);
    return value;
}

void seam_await(struct seam *seam, const int *count, int at_least)
{
    if (seam->kind == SEAM_STEPPED) {
        while (read_count(seam, count) < at_least && weft_test_step(seam->engine, 1) > 0)
            continue;
        assert_in_range(read_count(seam, count), at_least, INT32_MAX);
        return;
    }
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 60;
    pthread_mutex_lock(&seam->lock);
    int error = 0;
    while (*count < at_least && error == 0)
        error = pthread_cond_timedwait(&seam->changed, &seam->lock, &limit);
    pthread_mutex_unlock(&seam->lock);
    assert_int_equal(error, 0);
}

void seam_pass_ms(struct seam *seam, int64_t ms)
{
    if (seam->kind != SEAM_CORE)
        weft_test_advance(seam->engine, ms * SEAM_MS);
}

int64_t seam_in_ms(struct seam *seam, int64_t ms)
{
    return weft_engine_now_ns(seam->engine) + ms * SEAM_MS;
}

static _Thread_local bool starting;
static _Thread_local const seam_op *moving;

void seam_starting(const seam_op *may_complete)
{
    starting = true;
    moving = may_complete;
}

int seam_started(int rc)
{
    starting = false;
    return rc;
}

static void op_done(weft__op *base, int result)
{
    seam_op *op = WEFT__CONTAINER_OF(base, seam_op, op);
    seam_check(op->seam, !starting || op == moving, "an operation completed inside its starter");
    op->result = result;
    seam_count(op->seam, &op->completed);
}

void seam_op_init(struct seam *seam, seam_op *op)
{
    *op = (seam_op){.op = {op_done}, .seam = seam};
}

int seam_op_wait(seam_op *op)
{
    seam_await(op->seam, &op->completed, 1);
    assert_int_equal(read_count(op->seam, &op->completed), 1);
    return op->result;
}

void seam_watch_until(struct seam *seam, weft__tchannel *channel, int wanted)
{
    seam_op op;
    int state = -1;
    for (int i = 0; i < 20 && state != wanted; i++) {
        seam_op_init(seam, &op);
        assert_int_equal(SEAM_START(channel->vtable->watch(channel, state, &op.op)), 0);
        seam_pass_ms(seam, 5000); /* past a backoff */
        int next = seam_op_wait(&op);
        assert_int_not_equal(next, state);
        state = next;
    }
    assert_int_equal(state, wanted);
}

bool seam_completes_soon(seam_op *op)
{
    struct seam *seam = op->seam;
    if (seam->kind != SEAM_CORE) {
        weft_test_advance(seam->engine, 0);
        return read_count(seam, &op->completed) > 0;
    }
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_nsec += 500 * SEAM_MS;
    limit.tv_sec += limit.tv_nsec / (1000 * SEAM_MS);
    limit.tv_nsec %= 1000 * SEAM_MS;
    pthread_mutex_lock(&seam->lock);
    int error = 0;
    while (op->completed == 0 && error == 0)
        error = pthread_cond_timedwait(&seam->changed, &seam->lock, &limit);
    bool completed = op->completed > 0;
    pthread_mutex_unlock(&seam->lock);
    return completed;
}

/* ---- messages ---- */

weft__tx seam_tx(struct seam *seam, const void *data, size_t len)
{
    weft__tx tx;
    assert_int_equal(seam->engine->vtable->tx_alloc(seam->engine, len, &tx), 0);
    assert_int_equal(tx.len, len);
    if (len > 0)
        memcpy(tx.data, data, len);
    return tx;
}

weft__tx seam_text(struct seam *seam, const char *text)
{
    return seam_tx(seam, text, strlen(text));
}

bool seam_rx_is(struct seam *seam, weft__rx *rx, const void *data, size_t len)
{
    if (rx->impl == NULL)
        return false;
    bool is = rx->total == len;
    if (is && rx->pieces <= 1) {
        is = len == 0 || memcmp(rx->data, data, len) == 0;
    } else if (is) {
        uint8_t *copy = malloc(rx->total);
        is = copy != NULL;
        if (is) {
            seam->engine->vtable->rx_gather(rx, copy);
            is = memcmp(copy, data, len) == 0;
        }
        free(copy);
    }
    seam->engine->vtable->rx_release(rx);
    return is && rx->impl == NULL;
}

bool seam_rx_is_text(struct seam *seam, weft__rx *rx, const char *text)
{
    return seam_rx_is(seam, rx, text, strlen(text));
}

weft_sv seam_md(struct seam *seam, const weft__md *md, const char *key, int nth)
{
    for (size_t i = 0; i < md->count; i++) {
        weft_metadatum pair = seam->engine->vtable->md_at(md, i);
        if (weft_sv_is(pair.key, key) && nth-- == 0)
            return pair.value;
    }
    return (weft_sv){NULL, 0};
}

/* ---- the server's side ---- */

static int on_init(void *user, weft__scall *transport)
{
    struct seam *seam = user;
    seam_call *call = transport->state;
    memset(call, 0, sizeof *call);
    call->transport = transport;
    call->seam = seam;
    seam_count(seam, &seam->made);
    return 0;
}

static void on_fini(void *user, weft__scall *transport)
{
    struct seam *seam = user;
    (void)transport;
    seam_count(seam, &seam->destroyed);
}

static void on_begin(void *user, weft__scall *transport, const weft__call_start *start)
{
    struct seam *seam = user;
    seam_call *call = transport->state;
    seam_check(seam, call->transport == transport, "a call without its state");
    seam_check(seam, seam->kind == SEAM_STEPPED || weft__thread_is_loop(), "begin on a thread that is not marked");
    call->start = *start;
    call->message = start->message;
    call->rounds = 0;
    call->told = false;
    void (*handler)(struct seam *, seam_call *) = seam->on_begin;
    if (start->refuse != WEFT_OK) {
        seam_check(seam, start->message.impl == NULL, "a refused call with a message");
        (void)seam_finish(call, start->refuse, start->refuse_message, NULL);
    } else if (start->method == NULL) {
        (void)seam_finish(call, WEFT_UNIMPLEMENTED, "nobody serves this", NULL);
    } else {
        seam_count(seam, &seam->handled);
        handler(seam, call);
    }
    seam_count(seam, &seam->begun);
}

static void on_cancelled(void *user, weft__scall *transport)
{
    struct seam *seam = user;
    seam_call *call = transport->state;
    seam_check(seam, !call->told, "cancelled was told twice");
    call->told = true;
    seam_count(seam, &seam->cancelled);
}

static void on_ended(void *user, weft__scall *transport)
{
    struct seam *seam = user;
    (void)transport;
    seam_count(seam, &seam->ended);
}

static void on_closed(void *user)
{
    struct seam *seam = user;
    seam_count(seam, &seam->closed);
}

static const weft__server_events events = {
    .init = on_init,
    .fini = on_fini,
    .begin = on_begin,
    .cancelled = on_cancelled,
    .ended = on_ended,
    .closed = on_closed,
};

int seam_finish(seam_call *call, weft_code code, const char *text, weft__tx *message)
{
    const weft__finish answer = {.code = code, .status_message = weft_sv_from(text), .message = message};
    return call->transport->vtable->finish(call->transport, &answer);
}

void seam_echo(struct seam *seam, seam_call *call)
{
    weft_engine *engine = seam->engine;
    weft__tx response;
    if (engine->vtable->tx_alloc(engine, call->message.total, &response) < 0) {
        seam_check(seam, false, "no memory for an echo");
        return;
    }
    engine->vtable->rx_gather(&call->message, response.data);
    engine->vtable->rx_release(&call->message);
    (void)seam_finish(call, WEFT_OK, NULL, &response);
}

void seam_hold(struct seam *seam, seam_call *call)
{
    seam_check(seam, call->transport->vtable->watch(call->transport) == 0, "watch failed");
    if (call->message.impl != NULL)
        seam->engine->vtable->rx_release(&call->message);
    pthread_mutex_lock(&seam->lock);
    seam->held = call;
    pthread_mutex_unlock(&seam->lock);
}

/* ---- connections ---- */

static void *accept_all(void *arg)
{
    struct seam *seam = arg;
    struct pollfd fds[2] = {{.fd = seam->listener, .events = POLLIN}, {.fd = seam->stop_pipe[0], .events = POLLIN}};
    while (poll(fds, 2, -1) >= 0 && fds[1].revents == 0) {
        int fd = fds[0].revents != 0 ? accept(seam->listener, NULL, NULL) : -1;
        if (fd < 0)
            continue;
        (void)fcntl(fd, F_SETFL, O_NONBLOCK);
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        /* Counted before it is served: who has been answered over a connection finds it here. */
        pthread_mutex_lock(&seam->lock);
        size_t count = seam->accepted_count;
        if (count < sizeof seam->accepted / sizeof *seam->accepted)
            seam->accepted[seam->accepted_count++] = dup(fd);
        pthread_mutex_unlock(&seam->lock);
        if (seam->server->vtable->serve_fd(seam->server, fd, NULL) == 0)
            continue;
        close(fd);
        pthread_mutex_lock(&seam->lock);
        while (seam->accepted_count > count)
            close(seam->accepted[--seam->accepted_count]);
        pthread_mutex_unlock(&seam->lock);
        seam_count(seam, &seam->refused);
    }
    return NULL;
}

void seam_bind(struct seam *seam)
{
    if (seam->kind != SEAM_CORE) {
        assert_int_equal(seam->engine->vtable->bind_name(seam->engine, "seam:0", seam->name, sizeof seam->name), 0);
        snprintf(seam->target, sizeof seam->target, "%s", seam->name);
        return;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    seam->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_in_range(seam->listener, 0, INT32_MAX);
    assert_int_equal(bind(seam->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(seam->listener, (struct sockaddr *)&address, &size), 0);
    snprintf(seam->target, sizeof seam->target, "ipv4:127.0.0.1:%d", (int)ntohs(address.sin_port));
}

void seam_start_server(struct seam *seam)
{
    for (size_t i = 0; i < SEAM_METHODS; i++) {
        int64_t max = served[i] == &seam_small ? 100 : seam->server_config.max_message_bytes;
        seam->methods[i] =
            (weft__server_method){.path = served[i]->path, .kind = served[i]->kind, .max_message_bytes = max};
        seam->method_list[i] = &seam->methods[i];
    }
    if (seam->kind != SEAM_CORE) {
        seam->names[0] = seam->name;
        seam->server_config.names = seam->names;
        seam->server_config.name_count = 1;
    }
    assert_int_equal(seam->engine->vtable->server_new(seam->engine, &seam->server_config, &seam->server), 0);
    if (seam->kind != SEAM_CORE)
        return;
    assert_int_equal(listen(seam->listener, 64), 0);
    assert_int_equal(pipe(seam->stop_pipe), 0);
    assert_int_equal(pthread_create(&seam->acceptor, NULL, accept_all, seam), 0);
    seam->accepting = true;
}

void seam_start_channel(struct seam *seam)
{
    seam->channel_config.target = seam->target;
    assert_int_equal(seam->engine->vtable->channel_new(seam->engine, &seam->channel_config, &seam->channel), 0);
}

void seam_stop_accepting(struct seam *seam)
{
    if (seam->accepting) {
        close(seam->stop_pipe[1]);
        pthread_join(seam->acceptor, NULL);
        close(seam->stop_pipe[0]);
    }
    seam->accepting = false;
    if (seam->listener >= 0)
        close(seam->listener);
    seam->listener = -1;
    if (seam->name[0] != '\0')
        seam->engine->vtable->unbind_name(seam->engine, seam->name);
    seam->name[0] = '\0';
}

static void nothing(struct seam *seam, seam_call *call)
{
    (void)seam;
    (void)call;
}

void seam_break_connections(struct seam *seam)
{
    if (seam->kind == SEAM_CORE) {
        pthread_mutex_lock(&seam->lock);
        for (size_t i = 0; i < seam->accepted_count; i++)
            (void)shutdown(seam->accepted[i], SHUT_RDWR);
        pthread_mutex_unlock(&seam->lock);
        return;
    }
    weft__result result;
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    fault.point = WEFT_TEST_START;
    fault.kind = WEFT_TEST_BREAK;
    assert_int_equal(weft_test_inject(seam->engine, &fault), 0);
    seam_call_free(seam, seam_unary_text(seam, &seam_unary, "breaks", &result), &result);
}

/* ---- life ---- */

void seam_init(struct seam *seam)
{
    memset(seam, 0, sizeof *seam);
    seam->kind = seam_kind_under_test;
    seam->listener = -1;
    seam->on_begin = nothing;
    assert_int_equal(pthread_mutex_init(&seam->lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&seam->changed, NULL), 0);
    if (seam->kind == SEAM_CORE) {
        weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
        options.threads = 4;
        assert_int_equal(weft_core_engine_new(&seam->engine, &options), 0);
    } else {
        weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
        options.threaded = seam->kind == SEAM_THREADED;
        assert_int_equal(weft_memory_engine_new(&seam->engine, &options), 0);
    }
    seam->server_config = (weft__server_config){
        .events = &events,
        .user = seam,
        .call_size = sizeof(seam_call),
        .methods = seam->method_list,
        .method_count = SEAM_METHODS,
        .max_connections = 1000,
        .max_streams = 1000,
        .max_message_bytes = 4 << 20,
        .max_metadata_bytes = 16 << 10,
        .keepalive_ms = 60000,
        .keepalive_timeout_ms = 20000,
        .max_connection_age_ms = INT64_MAX,
        .max_connection_age_grace_ms = INT64_MAX,
        .max_connection_idle_ms = INT64_MAX,
    };
    seam->channel_config = (weft__channel_config){
        .max_message_bytes = 4 << 20,
        .max_metadata_bytes = 16 << 10,
        .connect_timeout_ms = 20000,
        .min_backoff_ms = 100,
        .max_backoff_ms = 1000,
        .keepalive_ms = INT64_MAX,
        .keepalive_timeout_ms = 20000,
    };
}

void seam_start(struct seam *seam)
{
    seam_bind(seam);
    seam_start_server(seam);
    seam_start_channel(seam);
}

void seam_stop(struct seam *seam)
{
    if (seam->channel != NULL)
        seam->channel->vtable->destroy(seam->channel);
    seam_stop_accepting(seam);
    if (seam->server != NULL) {
        if (seam->closed == 0) {
            seam->server->vtable->shutdown(seam->server);
            seam_await(seam, &seam->closed, 1);
        }
        seam->server->vtable->destroy(seam->server);
    }
    for (size_t i = 0; i < seam->accepted_count; i++)
        close(seam->accepted[i]);
    assert_int_equal(weft_engine_free(seam->engine), 0);
    assert_int_equal(seam->begun, seam->ended);
    assert_int_equal(seam->made, seam->destroyed);
    if (seam->server != NULL)
        assert_int_equal(seam->closed, 1);
    if (seam->failure != NULL)
        fail_msg("%s", seam->failure);
    pthread_cond_destroy(&seam->changed);
    pthread_mutex_destroy(&seam->lock);
}

/* ---- the client's side ---- */

weft__ccall *seam_call_new(struct seam *seam)
{
    weft__ccall *call = NULL;
    assert_int_equal(seam->channel->vtable->call_new(seam->channel, &call), 0);
    return call;
}

weft__ccall *seam_unary_text(struct seam *seam, const weft_method *method, const char *text, weft__result *result)
{
    weft__ccall *call = seam_call_new(seam);
    weft__tx message = seam_text(seam, text);
    const weft__call_args args = {.method = method, .deadline_ns = INT64_MAX, .message = &message, .half_close = true};
    seam_op end;
    seam_op_init(seam, &end);
    assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), 0);
    assert_int_equal(seam_op_wait(&end), 0);
    memset(result, 1, sizeof *result); /* the engine fills in all of it */
    call->vtable->result(call, result);
    assert_false(result->final);
    return call;
}

void seam_call_free(struct seam *seam, weft__ccall *call, weft__result *result)
{
    if (result != NULL && result->response.impl != NULL)
        seam->engine->vtable->rx_release(&result->response);
    call->vtable->free(call);
}

void seam_recover(struct seam *seam)
{
    weft_code code = WEFT_UNAVAILABLE;
    for (int tries = 0; tries < 1000 && code != WEFT_OK; tries++) {
        weft__result result;
        seam_op end;
        weft__ccall *call = seam_call_new(seam);
        weft__tx message = seam_text(seam, "again");
        const weft__call_args args = {.method = &seam_unary,
                                      .deadline_ns = INT64_MAX,
                                      .message = &message,
                                      .half_close = true,
                                      .wait_for_ready = true};
        seam_op_init(seam, &end);
        assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), 0);
        assert_int_equal(seam_op_wait(&end), 0);
        call->vtable->result(call, &result);
        code = result.code;
        seam_call_free(seam, call, &result);
    }
    assert_int_equal(code, WEFT_OK);
}
