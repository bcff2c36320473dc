/*
 * bench-stream-load: streams messages to and from a server of bench/stream over one connection, makes sure that all of
 * them came and were right, and prints one line of JSON.
 *
 * Design notes
 * - Neither Weft nor gRPC, but HTTP/2 by nghttp2 and ready-made messages: one client for all servers, and cheap enough
 *   not to be what is measured. A message is a DATA frame of its own, or several; of a received one everything but the
 *   middle of its payload is compared.
 * - It measures what happens between the first request after the warm-up and the end of the last stream. So the
 *   server's CPU time is read here, too: no start of a process lies in between.
 * - Windows are so large that the server is held back by what it and this program can do, not by a round trip.
 */
#define _GNU_SOURCE /* clock_getcpuclockid, SOCK_CLOEXEC */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

enum {
    STREAM_WINDOW = 4 << 20,
    CONNECTION_WINDOW = 64 << 20,
    IO_BYTES = 256 << 10,
    FRAME_HEADER_BYTES = 5, /* gRPC's, before a message */
    MAX_SUMMARY_BYTES = 64,
    MAX_SIZE = 64 << 20,
    MAX_STREAMS = 1000,
    SILENCE_MS = 20000
};

enum kind {
    DOWNLOAD, /* Source */
    UPLOAD,   /* Sink */
    ECHO,     /* Echo: sends as fast as it can */
    PING_PONG /* Echo: sends when the one before has come back */
};

static const struct {
    const char *name;
    const char *path;
} kinds[] = {
    [DOWNLOAD] = {"download", "/bench.Streamer/Source"},
    [UPLOAD] = {"upload", "/bench.Streamer/Sink"},
    [ECHO] = {"echo", "/bench.Streamer/Echo"},
    [PING_PONG] = {"ping-pong", "/bench.Streamer/Echo"},
};

typedef struct options {
    enum kind kind;
    unsigned long port;
    unsigned long server_pid;
    unsigned long streams;
    unsigned long size;     /* of a message's payload */
    unsigned long messages; /* over all streams */
    unsigned long warm_up;  /* as many before, not measured */
} options;

/* A ready-made gRPC message. */
typedef struct wire_message {
    uint8_t *data;
    size_t len;
    bool numbered; /* the last byte is the message's number */
} wire_message;

typedef struct direction {
    const wire_message *message;
    uint64_t messages; /* to move in all */
    uint64_t number;   /* of the one that is being moved */
    size_t offset;     /* in it */
} direction;

typedef struct client client;

typedef struct stream {
    client *client;
    int32_t id;
    direction out;
    direction in;
    bool waits; /* ping-pong: nothing to send before the answer */
    int64_t sent_ns;
    bool http_ok;
    bool grpc_ok;
} stream;

struct client {
    const options *options;
    nghttp2_session *session;
    int fd;
    uint8_t *out;
    size_t out_len;
    size_t out_done;
    uint8_t *in;
    wire_message chunk;
    wire_message request;
    wire_message summary;
    stream *streams;
    size_t open;
    int64_t *latencies; /* ns, of a ping-pong */
    size_t latency_count;
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "bench-stream-load: %s: %s\n", what, why);
    exit(1);
}

static void *must_alloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL)
        die("calloc", "out of memory");
    return memory;
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) != 0)
        die("clock_gettime", strerror(errno));
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* What all threads of a process have used; see clock_getcpuclockid(3). */
static int64_t cpu_ns(unsigned long pid)
{
    clockid_t clock;
    int error = clock_getcpuclockid((pid_t)pid, &clock);
    if (error != 0)
        die("clock_getcpuclockid", strerror(error));
    return clock_ns(clock);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static size_t put_varint(uint8_t *out, uint64_t value)
{
    size_t len = 0;
    for (; value >= 0x80; value >>= 7)
        out[len++] = (uint8_t)(value | 0x80);
    out[len++] = (uint8_t)value;
    return len;
}

/* A number of proto3, which is left out when it is 0. */
static size_t put_number(uint8_t *out, unsigned field, uint64_t value)
{
    if (value == 0)
        return 0;
    out[0] = (uint8_t)(field << 3);
    return 1 + put_varint(out + 1, value);
}

static void put_header(uint8_t *out, size_t len)
{
    out[0] = 0;
    for (int i = 0; i < 4; i++)
        out[1 + i] = (uint8_t)(len >> (24 - 8 * i));
}

static wire_message make_chunk(size_t size)
{
    wire_message chunk = {must_alloc(1, FRAME_HEADER_BYTES + 11 + size), FRAME_HEADER_BYTES, true};
    chunk.data[chunk.len++] = 1 << 3 | 2;
    chunk.len += put_varint(chunk.data + chunk.len, size);
    memset(chunk.data + chunk.len, 'w', size);
    chunk.len += size;
    put_header(chunk.data, chunk.len - FRAME_HEADER_BYTES);
    return chunk;
}

static wire_message make_numbers(const uint64_t *numbers, unsigned count)
{
    wire_message out = {must_alloc(1, MAX_SUMMARY_BYTES), FRAME_HEADER_BYTES, false};
    for (unsigned i = 0; i < count; i++)
        out.len += put_number(out.data + out.len, i + 1, numbers[i]);
    put_header(out.data, out.len - FRAME_HEADER_BYTES);
    return out;
}

/* What the server says of `messages` chunks. */
static wire_message make_summary(uint64_t messages, size_t size)
{
    uint64_t sum = messages / 256 * (255 * 256 / 2);
    for (uint64_t i = 0; i < messages % 256; i++)
        sum += i;
    return make_numbers((const uint64_t[]){messages, messages * size, sum}, 3);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

/* As much of the current message as fits: a DATA frame holds no more than one. */
static ssize_t read_data(nghttp2_session *session, int32_t id, uint8_t *out, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    stream *s = source->ptr;
    direction *flow = &s->out;
    (void)session;
    (void)id;
    (void)user;
    if (s->waits)
        return NGHTTP2_ERR_DEFERRED;
    if (flow->number == flow->messages) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        return 0;
    }
    if (flow->offset == 0 && s->client->options->kind == PING_PONG)
        s->sent_ns = clock_ns(CLOCK_MONOTONIC);
    size_t left = flow->message->len - flow->offset;
    size_t len = left < room ? left : room;
    memcpy(out, flow->message->data + flow->offset, len);
    flow->offset += len;
    if (flow->offset == flow->message->len) {
        if (flow->message->numbered)
            out[len - 1] = (uint8_t)flow->number;
        flow->number++;
        flow->offset = 0;
        s->waits = s->client->options->kind == PING_PONG;
        if (flow->number == flow->messages && !s->waits)
            *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)len;
}

/* Writes what there is to write: true; false: the socket takes no more just now. */
static bool write_out(client *c)
{
    for (;;) {
        while (c->out_done < c->out_len) {
            ssize_t written = send(c->fd, c->out + c->out_done, c->out_len - c->out_done, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
                return false;
            if (written < 0 && errno != EINTR)
                die("send", strerror(errno));
            c->out_done += written > 0 ? (size_t)written : 0;
        }
        c->out_done = 0;
        c->out_len = 0;
        while (c->out_len < IO_BYTES) {
            const uint8_t *data;
            ssize_t len = nghttp2_session_mem_send(c->session, &data);
            if (len < 0)
                die("nghttp2_session_mem_send", nghttp2_strerror((int)len));
            if (len == 0)
                break;
            memcpy(c->out + c->out_len, data, (size_t)len); /* a frame at most, for which there is room behind */
            c->out_len += (size_t)len;
        }
        if (c->out_len == 0)
            return true;
    }
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

static void message_came(stream *s)
{
    client *c = s->client;
    if (c->options->kind != PING_PONG)
        return;
    c->latencies[c->latency_count++] = clock_ns(CLOCK_MONOTONIC) - s->sent_ns;
    s->waits = false;
    (void)nghttp2_session_resume_data(c->session, s->id);
}

/* The head and the last byte of a message are what they must be. */
static void check_bytes(const direction *flow, const uint8_t *data, size_t len)
{
    const wire_message *message = flow->message;
    size_t head = message->numbered ? FRAME_HEADER_BYTES + 11 : message->len;
    if (head >= message->len)
        head = message->len - message->numbered;
    if (flow->offset < head) {
        size_t compared = head - flow->offset < len ? head - flow->offset : len;
        if (memcmp(data, message->data + flow->offset, compared) != 0)
            die("a received message", "not what was expected");
    }
    if (message->numbered && flow->offset + len == message->len && data[len - 1] != (uint8_t)flow->number)
        die("a received message", "its last byte is not its number");
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
    stream *s = nghttp2_session_get_stream_user_data(session, id);
    direction *flow = &s->in;
    (void)flags;
    (void)user;
    while (len > 0) {
        if (flow->number == flow->messages)
            die("a received message", "one too many");
        size_t left = flow->message->len - flow->offset;
        size_t part = left < len ? left : len;
        check_bytes(flow, data, part);
        flow->offset += part;
        data += part;
        len -= part;
        if (flow->offset == flow->message->len) {
            flow->offset = 0;
            flow->number++;
            message_came(s);
        }
    }
    return 0;
}

static bool is(const uint8_t *text, size_t len, const char *wanted)
{
    return len == strlen(wanted) && memcmp(text, wanted, len) == 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *of, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    stream *s = nghttp2_session_get_stream_user_data(session, of->hd.stream_id);
    (void)flags;
    (void)user;
    if (is(name, name_len, ":status"))
        s->http_ok = is(value, value_len, "200");
    if (is(name, name_len, "grpc-status"))
        s->grpc_ok = is(value, value_len, "0");
    if (is(name, name_len, "grpc-message"))
        fprintf(stderr, "grpc-message: %.*s\n", (int)value_len, (const char *)value);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user)
{
    stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)user;
    if (error_code != 0)
        die("a stream", nghttp2_http2_strerror(error_code));
    if (!s->http_ok || !s->grpc_ok)
        die("a stream", "its status is not OK");
    if (s->in.number != s->in.messages || s->in.offset != 0 || s->out.number != s->out.messages)
        die("a stream", "it ended before all messages were moved");
    s->client->open--;
    return 0;
}

/* Reads what there is, after it has waited for something. */
static void read_in(client *c, bool wrote_all)
{
    ssize_t len = recv(c->fd, c->in, IO_BYTES, MSG_DONTWAIT);
    if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        struct pollfd wait = {.fd = c->fd, .events = (short)(wrote_all ? POLLIN : POLLIN | POLLOUT)};
        int ready = poll(&wait, 1, SILENCE_MS);
        if (ready == 0)
            die("the server", "it does nothing any more");
        if (ready < 0 && errno != EINTR)
            die("poll", strerror(errno));
        return;
    }
    if (len == 0)
        die("the server", "it closed the connection");
    if (len < 0)
        die("recv", strerror(errno));
    ssize_t read = nghttp2_session_mem_recv(c->session, c->in, (size_t)len);
    if (read < 0)
        die("nghttp2_session_mem_recv", nghttp2_strerror((int)read));
}

/* ---- a run ------------------------------------------------------------------------------------------------------- */

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static void begin_stream(client *c, stream *s, uint64_t messages)
{
    const options *o = c->options;
    *s = (stream){.client = c};
    s->out = (direction){&c->chunk, messages, 0, 0};
    s->in = s->out;
    if (o->kind == DOWNLOAD)
        s->out = (direction){&c->request, 1, 0, 0};
    if (o->kind == UPLOAD)
        s->in = (direction){&c->summary, 1, 0, 0};
    const nghttp2_nv headers[] = {
        header(":method", "POST"),         header(":scheme", "http"), header(":path", kinds[o->kind].path),
        header(":authority", "127.0.0.1"), header("te", "trailers"),  header("content-type", "application/grpc"),
    };
    const nghttp2_data_provider body = {.source.ptr = s, .read_callback = read_data};
    s->id = nghttp2_submit_request(c->session, NULL, headers, sizeof headers / sizeof *headers, &body, s);
    if (s->id < 0)
        die("nghttp2_submit_request", nghttp2_strerror(s->id));
    c->open++;
}

/* Moves `messages` over all streams; as many over each. */
static void run(client *c, uint64_t messages)
{
    const options *o = c->options;
    uint64_t each = messages / o->streams;
    free(c->request.data);
    free(c->summary.data);
    c->request = make_numbers((const uint64_t[]){o->size, each}, 2);
    c->summary = make_summary(each, o->size);
    c->latency_count = 0;
    for (size_t i = 0; i < o->streams; i++)
        begin_stream(c, &c->streams[i], each);
    while (c->open > 0) {
        bool wrote_all = write_out(c);
        if (c->open > 0)
            read_in(c, wrote_all);
    }
}

static void connect_to(client *c)
{
    const int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)c->options->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("connect", strerror(errno));
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void make_session(client *c)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
    };
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        die("nghttp2", "out of memory");
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    int rc = nghttp2_session_client_new(&c->session, callbacks, c);
    if (rc == 0)
        rc = nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings);
    if (rc == 0)
        rc = nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
    if (rc != 0)
        die("nghttp2", nghttp2_strerror(rc));
    nghttp2_session_callbacks_del(callbacks);
}

static void open_client(client *c, const options *o)
{
    *c = (client){.options = o};
    c->chunk = make_chunk(o->size);
    c->out = must_alloc(1, 2 * IO_BYTES);
    c->in = must_alloc(1, IO_BYTES);
    c->streams = must_alloc(o->streams, sizeof *c->streams);
    if (o->kind == PING_PONG)
        c->latencies = must_alloc(o->messages > o->warm_up ? o->messages : o->warm_up, sizeof *c->latencies);
    connect_to(c);
    make_session(c);
}

static void close_client(client *c)
{
    nghttp2_session_del(c->session);
    close(c->fd);
    free(c->chunk.data);
    free(c->request.data);
    free(c->summary.data);
    free(c->out);
    free(c->in);
    free(c->streams);
    free(c->latencies);
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* By nearest rank: an observed value. */
static double percentile_us(const client *c, size_t percent)
{
    size_t rank = (c->latency_count * percent + 99) / 100;
    return (double)c->latencies[rank > 0 ? rank - 1 : 0] / 1e3;
}

static void measure(client *c)
{
    const options *o = c->options;
    if (o->warm_up > 0)
        run(c, o->warm_up);
    int64_t server = cpu_ns(o->server_pid);
    int64_t own = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    int64_t start = clock_ns(CLOCK_MONOTONIC);
    run(c, o->messages);
    int64_t elapsed = clock_ns(CLOCK_MONOTONIC) - start;
    own = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
    server = cpu_ns(o->server_pid) - server;
    printf("{\"seconds\": %.9f, \"server_cpu_seconds\": %.9f, \"driver_cpu_seconds\": %.9f", (double)elapsed / 1e9,
           (double)server / 1e9, (double)own / 1e9);
    if (o->kind == PING_PONG) {
        qsort(c->latencies, c->latency_count, sizeof *c->latencies, compare);
        printf(", \"p50_us\": %.3f, \"p99_us\": %.3f", percentile_us(c, 50), percentile_us(c, 99));
    }
    printf("}\n");
}

static bool parse_number(const char *text, unsigned long min, unsigned long max, unsigned long *out)
{
    char *end = NULL;
    errno = 0;
    *out = strtoul(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *out >= min && *out <= max;
}

static bool parse_kind(const char *text, enum kind *out)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(text, kinds[i].name) == 0) {
            *out = (enum kind)i;
            return true;
        }
    }
    return false;
}

static bool parse_options(options *o, int argc, char **argv)
{
    static const struct option known[] = {
        {"kind", required_argument, NULL, 'k'},       {"port", required_argument, NULL, 'p'},
        {"server-pid", required_argument, NULL, 'i'}, {"streams", required_argument, NULL, 's'},
        {"size", required_argument, NULL, 'b'},       {"messages", required_argument, NULL, 'm'},
        {"warm-up", required_argument, NULL, 'w'},    {NULL, 0, NULL, 0},
    };
    bool ok = true;
    int letter;
    *o = (options){.streams = 1, .size = 64, .messages = 1};
    while (ok && (letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (letter) {
        case 'k':
            ok = parse_kind(optarg, &o->kind);
            break;
        case 'p':
            ok = parse_number(optarg, 1, 65535, &o->port);
            break;
        case 'i':
            ok = parse_number(optarg, 1, INT32_MAX, &o->server_pid);
            break;
        case 's':
            ok = parse_number(optarg, 1, MAX_STREAMS, &o->streams);
            break;
        case 'b':
            ok = parse_number(optarg, 1, MAX_SIZE, &o->size);
            break;
        case 'm':
            ok = parse_number(optarg, 1, UINT32_MAX, &o->messages);
            break;
        case 'w':
            ok = parse_number(optarg, 0, UINT32_MAX, &o->warm_up);
            break;
        default:
            ok = false;
        }
    }
    return ok && optind == argc && o->port > 0 && o->server_pid > 0 && o->messages % o->streams == 0 &&
           o->warm_up % o->streams == 0;
}

int main(int argc, char **argv)
{
    options o;
    client c;
    if (!parse_options(&o, argc, argv)) {
        fprintf(stderr,
                "usage: %s --kind download|upload|echo|ping-pong --port N --server-pid N [--streams N] [--size BYTES]\n"
                "       [--messages N] [--warm-up N]     both are over all streams, and a multiple of their number\n",
                argv[0]);
        return 2;
    }
    open_client(&c, &o);
    measure(&c);
    close_client(&c);
    return 0;
}
