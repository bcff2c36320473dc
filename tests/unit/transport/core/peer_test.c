/* Peers that gRPC core would not be, over raw sockets: each is dealt with, and the others are served on. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <weft/core.h>

#include "integration/seam/seam_suite.h"

/* HTTP/2, as much as is needed here (RFC 9113, section 6; RFC 7541 for the headers, all literal and not indexed). */
enum {
    DATA = 0,
    HEADERS = 1,
    RST_STREAM = 3,
    SETTINGS = 4,
    PING = 6,
    GOAWAY = 7,
    WINDOW_UPDATE = 8,

    SETTINGS_INITIAL_WINDOW_SIZE = 4,

    ACK = 1, /* of SETTINGS */
    END_STREAM = 1,
    END_HEADERS = 4,

    ENHANCE_YOUR_CALM = 11,
    PATIENCE_MS = 20000
};

struct bytes {
    uint8_t data[4096];
    size_t len;
};

static void put(struct bytes *bytes, const void *data, size_t len)
{
    assert_in_range(bytes->len + len, 0, sizeof bytes->data);
    memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
}

static void put_header(struct bytes *bytes, const char *key, const char *value)
{
    const uint8_t literal = 0;
    const uint8_t key_len = (uint8_t)strlen(key);
    const uint8_t value_len = (uint8_t)strlen(value);
    put(bytes, &literal, 1);
    put(bytes, &key_len, 1);
    put(bytes, key, key_len);
    put(bytes, &value_len, 1);
    put(bytes, value, value_len);
}

static void send_all(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void send_frame(int fd, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t len)
{
    uint8_t frame[9 + 4096] = {
        (uint8_t)(len >> 16),    (uint8_t)(len >> 8),     (uint8_t)len,           type,           flags,
        (uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
    assert_in_range(len, 0, 4096);
    if (len > 0)
        memcpy(frame + 9, payload, len);
    send_all(fd, frame, 9 + len);
}

/* Connects and says hello. */
static int connect_raw(struct seam *seam)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)strtol(strrchr(seam->target, ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    send_all(fd, preface, sizeof preface - 1);
    send_frame(fd, SETTINGS, 0, 0, NULL, 0);
    return fd;
}

/* Reads `len` bytes, or fewer at the connection's end. */
static size_t read_all(int fd, uint8_t *out, size_t len)
{
    size_t done = 0;
    while (done < len) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&readable, 1, PATIENCE_MS), 1);
        ssize_t n = recv(fd, out + done, len - done, 0);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done;
}

/* Reads one frame: its type, or -1 at the connection's end. The payload is cut to `size`. */
static int read_frame(int fd, uint32_t *stream, uint8_t *flags, uint8_t *payload, size_t size)
{
    uint8_t head[9];
    uint8_t byte;
    if (read_all(fd, head, sizeof head) < sizeof head)
        return -1;
    size_t len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    *flags = head[4];
    *stream = (uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8];
    for (size_t i = 0; i < len; i++)
        if (read_all(fd, i < size ? &payload[i] : &byte, 1) < 1)
            return -1;
    return head[3];
}

/* Reads until a frame of this type comes; or the end (-1), where that is what is looked for. */
static void expect_frame(int fd, int type, uint8_t *payload, size_t size)
{
    uint32_t stream;
    uint8_t flags;
    int got;
    do
        got = read_frame(fd, &stream, &flags, payload, size);
    while (got != type && got != -1);
    assert_int_equal(got, type);
}

static void expect_end(int fd)
{
    uint8_t byte;
    expect_frame(fd, -1, &byte, 0);
    close(fd);
}

/* Reads until the stream is over, by trailers or a reset. */
static void expect_stream_over(int fd, uint32_t wanted)
{
    uint32_t stream;
    uint8_t flags;
    uint8_t byte;
    for (;;) {
        int type = read_frame(fd, &stream, &flags, &byte, 0);
        assert_int_not_equal(type, -1);
        if (stream == wanted && (type == RST_STREAM || (type == HEADERS && (flags & END_STREAM) != 0)))
            return;
    }
}

static struct bytes request_headers(const char *path)
{
    struct bytes headers = {.len = 0};
    put_header(&headers, ":method", "POST");
    put_header(&headers, ":scheme", "http");
    put_header(&headers, ":path", path);
    put_header(&headers, ":authority", "localhost");
    put_header(&headers, "te", "trailers");
    put_header(&headers, "content-type", "application/grpc");
    return headers;
}

static void expect_served(struct seam *seam)
{
    weft__result result;
    weft__ccall *call = seam_unary_text(seam, &seam_unary, "?", &result);
    assert_seam_code(&result, WEFT_OK);
    seam_call_free(seam, call, &result);
}

static void a_silent_peer_is_pinged_and_then_closed(void **state)
{
    (void)state;
    struct seam seam;
    uint8_t payload[8];
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam.server_config.keepalive_ms = 100;
    seam.server_config.keepalive_timeout_ms = 100;
    seam_start(&seam);
    int fd = connect_raw(&seam);
    expect_frame(fd, PING, payload, sizeof payload);
    expect_end(fd);
    expect_served(&seam);
    seam_stop(&seam);
}

static void a_peer_that_pings_too_often_is_sent_away(void **state)
{
    (void)state;
    struct seam seam;
    uint8_t payload[8] = {0};
    uint8_t pings[10][17] = {{0}};
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    int fd = connect_raw(&seam);
    for (int i = 0; i < 10; i++) {
        pings[i][2] = sizeof payload;
        pings[i][3] = PING;
    }
    send_all(fd, pings, sizeof pings); /* at once: the server closes before the last one */
    expect_frame(fd, GOAWAY, payload, sizeof payload);
    assert_int_equal(payload[7], ENHANCE_YOUR_CALM);
    expect_end(fd);
    expect_served(&seam);
    seam_stop(&seam);
}

struct coded {
    const char *encoding; /* or NULL, as the next */
    const char *accept_encoding;
    uint8_t flag;
    weft__coding coding; /* what must come of it */
    bool takes_gzip;
};

static void check_coding(struct seam *seam, seam_call *call)
{
    const struct coded *wanted = seam->arg;
    static const uint8_t body[] = {0x1f, 0x8b, 8, 0};
    seam_check(seam, call->message.coding == wanted->coding, "another coding");
    seam_check(seam, call->transport->vtable->takes_gzip(call->transport) == wanted->takes_gzip, "takes gzip or not");
    seam_check(seam, seam_rx_is(seam, &call->message, body, sizeof body), "other bytes");
    seam_finish(call, WEFT_OK, "", NULL);
}

static void a_compressed_message_comes_as_it_was_sent_and_with_its_coding(void **state)
{
    static const struct coded cases[] = {
        {"gzip", "identity,gzip", 1, WEFT__CODING_GZIP, true},
        {"gzip", "deflate, gzip", 1, WEFT__CODING_GZIP, true},
        {"gzip", "identity,deflate", 0, WEFT__CODING_NONE, false},
        {"gzip", NULL, 1, WEFT__CODING_GZIP, false},
        {"deflate", "gzip", 1, WEFT__CODING_OTHER, true},
        {"deflate", "snappy", 0, WEFT__CODING_NONE, false},
        {"snappy", "snappy,gzip", 1, WEFT__CODING_UNNAMED, true},
        {"snappy", "", 0, WEFT__CODING_NONE, false},
        {"identity", NULL, 1, WEFT__CODING_UNNAMED, false},
        {NULL, NULL, 1, WEFT__CODING_UNNAMED, false},
        {NULL, NULL, 0, WEFT__CODING_NONE, false},
    };
    struct seam seam;
    (void)state;
    seam_init(&seam);
    seam.on_begin = check_coding;
    seam_start(&seam);
    int fd = connect_raw(&seam);
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint8_t message[] = {cases[i].flag, 0, 0, 0, 4, 0x1f, 0x8b, 8, 0};
        struct bytes headers = request_headers("/seam.Suite/Unary");
        seam.arg = &cases[i];
        if (cases[i].encoding != NULL)
            put_header(&headers, "grpc-encoding", cases[i].encoding);
        if (cases[i].accept_encoding != NULL)
            put_header(&headers, "grpc-accept-encoding", cases[i].accept_encoding);
        send_frame(fd, HEADERS, END_HEADERS, 2 * i + 1, headers.data, headers.len);
        send_frame(fd, DATA, END_STREAM, 2 * i + 1, message, sizeof message);
        expect_stream_over(fd, 2 * i + 1);
        assert_int_equal(seam.handled, i + 1);
    }
    close(fd);
    seam_stop(&seam);
}

static void a_request_cut_short_reaches_no_handler(void **state)
{
    (void)state;
    static const uint8_t message[] = {0, 0, 0, 0, 100, 'o', 'n', 'l', 'y'};
    struct seam seam;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    int fd = connect_raw(&seam);
    struct bytes headers = request_headers("/seam.Suite/Unary");
    send_frame(fd, HEADERS, END_HEADERS, 1, headers.data, headers.len);
    send_frame(fd, DATA, END_STREAM, 1, message, sizeof message);
    expect_stream_over(fd, 1);
    close(fd);
    expect_served(&seam);
    assert_int_equal(seam.handled, 1);
    seam_stop(&seam);
}

static void a_call_without_a_path_is_no_call(void **state)
{
    (void)state;
    struct seam seam;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    int fd = connect_raw(&seam);
    struct bytes headers = {.len = 0};
    put_header(&headers, ":method", "POST");
    put_header(&headers, ":scheme", "http");
    put_header(&headers, "te", "trailers");
    put_header(&headers, "content-type", "application/grpc");
    send_frame(fd, HEADERS, END_HEADERS | END_STREAM, 1, headers.data, headers.len);
    expect_stream_over(fd, 1);
    close(fd);
    expect_served(&seam);
    seam_await(&seam, &seam.begun, 1); /* its caller may be answered before that is counted */
    assert_int_equal(seam.begun, 1);
    assert_int_equal(seam.handled, 1);
    seam_stop(&seam);
}

static void bytes_that_are_no_http_close_the_connection(void **state)
{
    (void)state;
    struct seam seam;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    int fd = connect_raw(&seam);
    static const uint8_t nonsense[64] = {0xff, 0xff, 0xff, 0xff, 0xff};
    send_all(fd, nonsense, sizeof nonsense);
    expect_end(fd);
    expect_served(&seam);
    seam_stop(&seam);
}

/* The "rapid reset": calls that are cancelled as soon as they are made. */
static void calls_reset_at_once_leave_few_call_objects(void **state)
{
    (void)state;
    enum {
        CALLS = 5000
    };
    static const uint8_t cancel[4] = {0, 0, 0, 8};
    struct seam seam;
    uint8_t payload[8] = {1};
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    int fd = connect_raw(&seam);
    struct bytes headers = request_headers("/seam.Suite/Unary");
    for (uint32_t i = 0; i < CALLS; i++) {
        send_frame(fd, HEADERS, END_HEADERS, 2 * i + 1, headers.data, headers.len);
        send_frame(fd, RST_STREAM, 0, 2 * i + 1, cancel, sizeof cancel);
    }
    send_frame(fd, PING, 0, 0, payload, sizeof payload);
    expect_frame(fd, PING, payload, sizeof payload); /* all of it has been read */
    close(fd);
    expect_served(&seam);
    assert_int_equal(seam.handled, 1);
    assert_in_range(seam.made, 1, 600);
    seam_stop(&seam);
}

static uint32_t number_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Sends DATA as fast as the windows of stream 1 allow, until the server cuts it off or `limit` bytes are sent: how many
 * were. */
static size_t send_until_cut_off(int fd, size_t limit)
{
    static const uint8_t block[16384];
    const uint8_t head[9] = {0, 0x40, 0, DATA, 0, 0, 0, 0, 1}; /* so many */
    int64_t initial = 65535,
            window[2] = {65535 - 5, 65535 - 5}; /* of the connection, of the stream; a prefix was sent */
    size_t sent = 0;
    while (sent < limit) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        bool stalled = window[0] < (int64_t)sizeof block || window[1] < (int64_t)sizeof block;
        if (poll(&readable, 1, stalled ? PATIENCE_MS : 0) > 0) {
            uint8_t payload[64] = {0};
            uint32_t stream;
            uint8_t flags;
            int type = read_frame(fd, &stream, &flags, payload, sizeof payload);
            if (type == -1 || type == GOAWAY || type == RST_STREAM || type == HEADERS)
                break;
            if (type == WINDOW_UPDATE)
                window[stream] += number_at(payload);
            for (size_t i = 0; type == SETTINGS && i + 6 <= sizeof payload; i += 6) {
                if (payload[i + 1] != SETTINGS_INITIAL_WINDOW_SIZE)
                    continue;
                window[1] += number_at(payload + i + 2) - initial;
                initial = number_at(payload + i + 2);
            }
            if (type == SETTINGS && (flags & ACK) == 0) /* else its windows are not what it has told */
                send_frame(fd, SETTINGS, ACK, 0, NULL, 0);
            continue;
        }
        assert_false(stalled);
        if (send(fd, head, sizeof head, MSG_NOSIGNAL) <= 0 || send(fd, block, sizeof block, MSG_NOSIGNAL) <= 0)
            break;
        window[0] -= (int64_t)sizeof block;
        window[1] -= (int64_t)sizeof block;
        sent += sizeof block;
    }
    return sent;
}

/* The prefix announces far more than the limit: gRPC core takes it in until the quota is used up. */
static void a_message_far_over_the_limit_is_cut_off(void **state)
{
    (void)state;
    static const uint8_t prefix[] = {0, 0x7f, 0xff, 0xff, 0xff};
    struct seam seam;
    weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    seam_init(&seam);
    assert_int_equal(weft_engine_free(seam.engine), 0);
    options.max_buffered_bytes = 16 << 20;
    assert_int_equal(weft_core_engine_new(&seam.engine, &options), 0);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    int fd = connect_raw(&seam);
    struct bytes headers = request_headers("/seam.Suite/Unary");
    send_frame(fd, HEADERS, END_HEADERS, 1, headers.data, headers.len);
    send_frame(fd, DATA, 0, 1, prefix, sizeof prefix);
    assert_in_range(send_until_cut_off(fd, 200 << 20), 256 << 10, 32 << 20);
    close(fd);
    seam_recover(&seam);
    assert_int_equal(seam.handled, 1);
    seam_stop(&seam);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_peer_is_pinged_and_then_closed),
        cmocka_unit_test(a_peer_that_pings_too_often_is_sent_away),
        cmocka_unit_test(a_compressed_message_comes_as_it_was_sent_and_with_its_coding),
        cmocka_unit_test(a_request_cut_short_reaches_no_handler),
        cmocka_unit_test(a_call_without_a_path_is_no_call),
        cmocka_unit_test(bytes_that_are_no_http_close_the_connection),
        cmocka_unit_test(a_message_far_over_the_limit_is_cut_off),
        cmocka_unit_test(calls_reset_at_once_leave_few_call_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
