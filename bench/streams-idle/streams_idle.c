/* bench-streams-idle: what an open stream costs that says nothing, and what it costs those that do. See README.md.
 *
 *     bench-streams-idle [core|memory [STREAMS [MESSAGES [QUEUES]]]]
 *
 * On gRPC core the server is a child process, so that each side's memory and CPU can be told apart. Every handler and
 * every caller is driven by callbacks: an idle stream holds no thread. Exits 1 when a call or a message is lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <weft/core.h>
#include <weft/testing.h>
#include <weft/weft.h>

#include "ping.weft.h"

enum {
    UNDER_WAY = 100 /* messages at a time, each on another stream */
};

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "bench-streams-idle: %s\n", what);
    exit(1);
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

struct session {
    weft_call *call;
    ping_Ping_Talk_server *stream;
    Ping__Note *unsent; /* lives until the next receive */
};

static void answer_more(void *arg);

/* 1: go on; 0: a callback will; or -errno: -EPIPE at the end. */
static int answer_one(struct session *s)
{
    int rc;
    if (s->unsent == NULL) {
        rc = ping_Ping_Talk_server_recv(s->stream, &s->unsent);
        if (rc <= 0)
            s->unsent = NULL;
        if (rc == -EAGAIN)
            return weft_stream_when_readable(WEFT_STREAM(s->stream), answer_more, s);
        if (rc <= 0)
            return rc == 0 ? -EPIPE : rc;
    }
    rc = ping_Ping_Talk_server_send(s->stream, s->unsent);
    if (rc == -EAGAIN) /* that the one before has gone may be told after the next one has come */
        return weft_stream_when_writable(WEFT_STREAM(s->stream), answer_more, s);
    s->unsent = NULL;
    return rc == 0 ? 1 : rc;
}

static void answer_more(void *arg)
{
    struct session *s = arg;
    int rc;
    while ((rc = answer_one(s)) == 1)
        continue;
    if (rc < 0)
        weft_call_finish(s->call, rc == -EPIPE ? WEFT_OK : WEFT_INTERNAL, NULL);
}

static weft_code talk(weft_call *call, ping_Ping_Talk_server *stream, void *self)
{
    struct session *s = weft_arena_alloc(weft_call_arena(call), sizeof *s);
    (void)self;
    if (s == NULL)
        return WEFT_RESOURCE_EXHAUSTED;
    *s = (struct session){call, stream, NULL};
    weft_call_defer(call);
    answer_more(s);
    return WEFT_OK;
}

static weft_server *serve(weft_engine *engine, int64_t streams)
{
    static const ping_Ping_ops ops = {.Talk = talk};
    weft_server *server = NULL;
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    weft_method_options method = WEFT_METHOD_OPTIONS_INIT;
    weft_service_options service = WEFT_SERVICE_OPTIONS_INIT;
    options.workers = 2;
    options.max_streams = streams + 1; /* all on one connection */
    options.max_concurrent_calls = streams + 1;
    method.method = "Talk";
    method.run_inline = true;
    service.methods = &method;
    service.method_count = 1;
    check(weft_server_new(&server, engine, &options) == 0, "no server");
    check(ping_Ping_register(server, &ops, NULL, &service) == 0, "no service");
    check(weft_server_listen(server, "127.0.0.1:0") == 0, "no port");
    check(weft_server_start(server) == 0, "no start");
    return server;
}

static weft_engine *core_engine(int64_t queues)
{
    weft_engine *engine = NULL;
    weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    options.threads = 2;
    options.queues = queues;
    check(weft_core_engine_new(&engine, &options) == 0, "no engine");
    return engine;
}

/* The server's process: tells its address, and serves until nobody holds the other end of `until`. */
static void run_server(int tell, int until, int64_t streams, int64_t queues)
{
    char byte;
    weft_engine *engine = core_engine(queues);
    weft_server *server = serve(engine, streams);
    const char *address = weft_server_address(server, 0);
    check(write(tell, address, strlen(address) + 1) > 0, "nobody to tell");
    while (read(until, &byte, 1) > 0)
        continue;
    weft_server_free(server);
    check(weft_engine_free(engine) == 0, "the engine is in use");
    exit(0);
}

/* ---- the caller -------------------------------------------------------------------------------------------------- */

struct bench;

/* Carries one message at a time: it goes to the chain's streams in turn. */
struct chain {
    struct bench *bench;
    int64_t first;
    int64_t at;
    int64_t left; /* messages to send */
};

struct line {
    struct bench *bench;
    struct chain *chain; /* NULL: it only opens */
    weft_stream *stream;
};

struct bench {
    weft_channel *channel;
    weft_arena *arena;
    int64_t count; /* of lines */
    struct line *lines;
    struct chain chains[UNDER_WAY];
    atomic_llong awaited; /* echoes, or chains */
    sem_t all;
};

static void one_less(struct bench *b)
{
    if (atomic_fetch_sub(&b->awaited, 1) == 1)
        sem_post(&b->all);
}

static void await_all(struct bench *b)
{
    while (sem_wait(&b->all) != 0)
        continue;
}

static void send_on(void *arg)
{
    struct line *line = arg;
    Ping__Note note = PING__NOTE__INIT;
    int rc;
    note.number = line - line->bench->lines;
    do {
        rc = weft_stream_send(line->stream, &note.base);
        if (rc == -EAGAIN) /* see answer_one */
            rc = weft_stream_when_writable(line->stream, send_on, line);
    } while (rc == 1);
    check(rc == 0, "a message could not be sent");
}

static void go_on(struct chain *chain)
{
    struct bench *b = chain->bench;
    if (chain->left-- == 0) {
        one_less(b);
        return;
    }
    chain->at = chain->at + UNDER_WAY < b->count ? chain->at + UNDER_WAY : chain->first;
    send_on(&b->lines[chain->at]);
}

static void on_echo(void *arg)
{
    struct line *line = arg;
    ProtobufCMessage *message;
    int rc = weft_stream_recv(line->stream, &message);
    if (rc == 0) { /* the end */
        one_less(line->bench);
        return;
    }
    check(rc == 1 && ((Ping__Note *)message)->number == line - line->bench->lines, "another echo came back");
    struct chain *chain = line->chain;
    check(weft_stream_when_readable(line->stream, on_echo, line) == 0, "an echo that nobody asked for");
    if (chain != NULL)
        go_on(chain);
    else
        one_less(line->bench);
}

/* Opens streams up to `count`, and waits for an echo on each. */
static void open_lines(struct bench *b, int64_t count)
{
    atomic_store(&b->awaited, count - b->count);
    int64_t before = b->count;
    b->count = count;
    for (int64_t i = before; i < count; i++) {
        struct line *line = &b->lines[i];
        ping_Ping_Talk_client *stream = NULL;
        check(ping_Ping_Talk(&stream, b->channel, NULL) == 0, "a stream could not be opened");
        *line = (struct line){b, NULL, WEFT_STREAM(stream)};
        check(weft_stream_when_readable(line->stream, on_echo, line) == 0, "a stream begins with a message");
        send_on(line);
    }
    await_all(b);
}

/* Exchanges messages on all open streams in turn, so many under way at a time. */
static void exchange(struct bench *b, int64_t messages)
{
    atomic_store(&b->awaited, UNDER_WAY);
    for (int64_t i = 0; i < b->count; i++)
        b->lines[i].chain = &b->chains[i % UNDER_WAY];
    for (int64_t i = 0; i < UNDER_WAY; i++)
        b->chains[i] = (struct chain){b, i, i, messages / UNDER_WAY};
    for (int64_t i = 0; i < UNDER_WAY; i++)
        go_on(&b->chains[i]);
    await_all(b);
    for (int64_t i = 0; i < b->count; i++)
        b->lines[i].chain = NULL;
}

static void close_lines(struct bench *b)
{
    atomic_store(&b->awaited, b->count);
    for (int64_t i = 0; i < b->count; i++)
        check(weft_stream_close_send(b->lines[i].stream) == 0, "a stream could not be closed");
    await_all(b); /* so that no callback touches a stream that is finished */
    for (int64_t i = 0; i < b->count; i++)
        check(weft_stream_finish(b->lines[i].stream, b->arena, NULL).code == WEFT_OK, "a call failed");
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */

static double resident_bytes(pid_t pid)
{
    char path[64];
    int64_t size = 0, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "r");
    check(file != NULL && fscanf(file, "%" SCNd64 " %" SCNd64, &size, &resident) == 2, "no /proc");
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double cpu_us(pid_t pid)
{
    clockid_t clock;
    struct timespec time;
    memset(&time, 0, sizeof time);
    check(clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &time) == 0, "no CPU clock");
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static void measure(struct bench *b, int64_t messages, pid_t server)
{
    exchange(b, messages / 10); /* warms up */
    double client_us = cpu_us(getpid()), server_us = server != 0 ? cpu_us(server) : 0;
    exchange(b, messages);
    client_us = cpu_us(getpid()) - client_us;
    server_us = server != 0 ? cpu_us(server) - server_us : 0;
    if (server != 0)
        printf("%6" PRId64 " streams open: CPU us a message: server %5.2f, client %5.2f\n", b->count,
               server_us / (double)messages, client_us / (double)messages);
    else
        printf("%6" PRId64 " streams open: CPU us a message: both %5.2f\n", b->count, client_us / (double)messages);
}

static void run(weft_engine *engine, const char *address, pid_t server, int64_t streams, int64_t messages)
{
    static struct bench b;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.max_streams = -1; /* all on one connection */
    check(weft_channel_new(&b.channel, engine, address, &options) == 0, "no channel");
    check(weft_arena_new(&b.arena, 0) == 0 && sem_init(&b.all, 0, 0) == 0, "no memory");
    b.lines = calloc((size_t)streams, sizeof *b.lines);
    check(b.lines != NULL, "no memory");
    open_lines(&b, UNDER_WAY);
    measure(&b, messages, server);
    double client = resident_bytes(getpid()), other = server != 0 ? resident_bytes(server) : 0;
    open_lines(&b, streams);
    client = resident_bytes(getpid()) - client;
    other = server != 0 ? resident_bytes(server) - other : 0;
    double opened = (double)(streams - UNDER_WAY);
    if (server != 0)
        printf("%6" PRId64 " streams idle: bytes a stream: server %.0f, client %.0f\n", streams, other / opened,
               client / opened);
    else
        printf("%6" PRId64 " streams idle: bytes a stream: both %.0f\n", streams, client / opened);
    measure(&b, messages, server);
    close_lines(&b);
    weft_channel_free(b.channel);
    weft_arena_free(b.arena);
    free(b.lines);
}

static void run_on_core(int64_t streams, int64_t messages, int64_t queues)
{
    int tell[2], until[2], status;
    char address[64] = "";
    check(pipe(tell) == 0 && pipe(until) == 0, "no pipe");
    pid_t server = fork(); /* before there is an engine */
    check(server >= 0, "no process");
    if (server == 0) {
        close(until[1]);
        run_server(tell[1], until[0], streams, queues);
    }
    close(tell[1]);
    check(read(tell[0], address, sizeof address - 1) > 0, "the server did not start");
    weft_engine *engine = core_engine(queues);
    run(engine, address, server, streams, messages);
    check(weft_engine_free(engine) == 0, "the engine is in use");
    close(until[1]);
    check(waitpid(server, &status, 0) == server && status == 0, "the server failed");
}

static void run_in_memory(int64_t streams, int64_t messages)
{
    weft_engine *engine = NULL;
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    options.threaded = true;
    check(weft_memory_engine_new(&engine, &options) == 0, "no engine");
    weft_server *server = serve(engine, streams);
    run(engine, weft_server_address(server, 0), 0, streams, messages);
    weft_server_free(server);
    check(weft_engine_free(engine) == 0, "the engine is in use");
}

int main(int argc, char **argv)
{
    int64_t streams = argc > 2 ? strtoll(argv[2], NULL, 10) : 10000;
    int64_t messages = argc > 3 ? strtoll(argv[3], NULL, 10) : 200000;
    int64_t queues = argc > 4 ? strtoll(argv[4], NULL, 10) : 1;
    check(streams > UNDER_WAY && messages >= 10 * UNDER_WAY && queues >= 1 && queues <= 2, "see README.md");
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1 && strcmp(argv[1], "memory") == 0)
        run_in_memory(streams, messages);
    else
        run_on_core(streams, messages, queues);
    return 0;
}
