/* Calls over TLS on gRPC core: who is let in, by which names, what the handler knows of them, and rotated files. */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "support/certificates.h"
#include "transport/core/fd_acceptor.h"
#include "user.weft.h"

/* Debian's c-ares 1.18.1 leaks the name with each lookup of "localhost" that gRPC core has it do. */
WEFT_API const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libcares";
}

/* What the last handler was told of its caller; read after its call has ended. */
struct seen {
    int rc;
    char subject[64];
    char spiffe_id[128];
    char first_name[64];
    size_t names;
    char peer[64];
};

static struct {
    weft_engine *engine;
    weft_server *server;
    weft_channel *channel;
    weft_arena *arena;
    weft_tls *server_tls;
    weft_tls *client_tls;
    char folder[TEST_FOLDER_SIZE];
    test_certificate *ca, *other_ca;
    test_certificate *localhost, *renewed; /* of the server, by our CA */
    test_certificate *orders, *stranger;   /* of clients, by our CA and by the other one */
    struct seen seen;
    char why[256];
} rig;

static weft_code get_user(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                          void *self)
{
    weft_identity identity = WEFT_IDENTITY_INIT;
    struct seen *seen = self;
    *seen = (struct seen){.rc = weft_call_peer_identity(call, &identity)};
    snprintf(seen->peer, sizeof seen->peer, "%s", weft_call_peer(call));
    if (seen->rc == 0) {
        snprintf(seen->subject, sizeof seen->subject, "%s", identity.subject);
        snprintf(seen->spiffe_id, sizeof seen->spiffe_id, "%s", identity.spiffe_id != NULL ? identity.spiffe_id : "");
        seen->names = identity.san_count;
        if (identity.san_count > 0)
            snprintf(seen->first_name, sizeof seen->first_name, "%s", identity.sans[0].value);
    }
    response->user = weft_arena_alloc(weft_call_arena(call), sizeof *response->user);
    if (response->user == NULL)
        return WEFT_RESOURCE_EXHAUSTED;
    user__user__init(response->user);
    response->user->id = request->id;
    return WEFT_OK;
}

static const user_UserService_ops ops = {.GetUser = get_user};

static int make_certificates(void **state)
{
    (void)state;
    const char *server_names = "DNS:localhost,DNS:users.example,IP:127.0.0.1";
    rig.ca = test_certificate_new(NULL, &(test_certificate_options){.subject = "/CN=our CA"});
    rig.other_ca = test_certificate_new(NULL, &(test_certificate_options){.subject = "/CN=another CA"});
    rig.localhost =
        test_certificate_new(rig.ca, &(test_certificate_options){.subject = "/CN=first", .names = server_names});
    rig.renewed =
        test_certificate_new(rig.ca, &(test_certificate_options){.subject = "/CN=renewed", .names = server_names});
    const test_certificate_options client = {.subject = "/O=Acme/CN=orders",
                                             .names = "DNS:orders.example,URI:spiffe://acme.example/orders"};
    rig.orders = test_certificate_new(rig.ca, &client);
    rig.stranger = test_certificate_new(rig.other_ca, &client);
    return 0;
}

static int free_certificates(void **state)
{
    (void)state;
    test_certificate *const all[] = {rig.ca, rig.other_ca, rig.localhost, rig.renewed, rig.orders, rig.stranger};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        test_certificate_free(all[i]);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    weft_core_engine_options engine_options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    options.workers = 2;
    options.quiet_ms = 20;
    engine_options.threads = 2;
    test_folder_new(rig.folder);
    assert_int_equal(weft_core_engine_new(&rig.engine, &engine_options), 0);
    assert_int_equal(weft_server_new(&rig.server, rig.engine, &options), 0);
    assert_int_equal(user_UserService_register(rig.server, &ops, &rig.seen, NULL), 0);
    assert_int_equal(weft_arena_new(&rig.arena, 0), 0);
    rig.channel = NULL;
    rig.server_tls = rig.client_tls = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    weft_channel_free(rig.channel);
    weft_server_free(rig.server);
    weft_tls_free(rig.server_tls);
    weft_tls_free(rig.client_tls);
    weft_arena_free(rig.arena);
    test_folder_free(rig.folder);
    return weft_engine_free(rig.engine);
}

static weft_tls *make_tls(const weft_tls_options *options)
{
    weft_tls *tls = NULL;
    if (weft_tls_new(&tls, rig.engine, options, rig.why, sizeof rig.why) < 0)
        fail_msg("%s", rig.why);
    return tls;
}

/* Options with a certificate (or NULL) and the CA that is trusted. */
static weft_tls_options with(const test_certificate *certificate, const test_certificate *ca)
{
    weft_tls_options options = WEFT_TLS_OPTIONS_INIT;
    if (certificate != NULL) {
        options.certificate_pem = weft_sv_from(test_certificate_pem(certificate));
        options.key_pem = weft_sv_from(test_certificate_key(certificate));
    }
    options.roots_pem = weft_sv_from(test_certificate_pem(ca));
    return options;
}

/* A server that wants this of its clients. */
static void serve(weft_client_certificates wanted)
{
    weft_tls_options options = with(rig.localhost, rig.ca);
    options.client_certificates = wanted;
    rig.server_tls = make_tls(&options);
    assert_int_equal(weft_server_listen_tls(rig.server, "127.0.0.1:0", rig.server_tls), 0);
    assert_int_equal(weft_server_start(rig.server), 0);
}

static weft_channel *dial(const char *host, size_t listener, weft_tls *tls)
{
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    weft_channel *channel = NULL;
    char target[64];
    snprintf(target, sizeof target, "%s:%d", host, weft_server_port(rig.server, listener));
    options.tls = tls;
    options.min_backoff_ms = 20;
    assert_int_equal(weft_channel_new(&channel, rig.engine, target, &options), 0);
    return channel;
}

static weft_status ask(weft_channel *channel)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *response = NULL;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    char id[] = "42";
    request.id = id;
    options.timeout_ms = 20000;
    return user_UserService_GetUser(channel, rig.arena, &options, &request, &response);
}

static void expect_ok(weft_channel *channel)
{
    weft_status status = ask(channel);
    if (status.code != WEFT_OK)
        fail_msg("%s: %s", weft_code_name(status.code), status.message);
}

static void expect_unavailable(weft_channel *channel)
{
    weft_status status = ask(channel);
    if (status.code != WEFT_UNAVAILABLE || status.from_peer)
        fail_msg("%s: %s", weft_code_name(status.code), status.message);
}

/* One call by a client of these options, through listener 0. */
static void dial_with(const char *host, const weft_tls_options *options)
{
    rig.client_tls = make_tls(options);
    rig.channel = dial(host, 0, rig.client_tls);
}

/* ---- the server's name and CA ------------------------------------------------------------------------------------ */

static void a_call_is_made_over_tls(void **state)
{
    (void)state;
    serve(WEFT_CLIENT_CERTIFICATES_NONE);
    weft_tls_options options = with(NULL, rig.ca);
    dial_with("localhost", &options);
    assert_int_equal(weft_channel_connect(rig.channel, 20000), 0);
    expect_ok(rig.channel);
    assert_int_equal(rig.seen.rc, -ENOENT); /* nobody asked who calls */
}

static void an_address_is_a_name_too(void **state)
{
    (void)state;
    serve(WEFT_CLIENT_CERTIFICATES_NONE);
    weft_tls_options options = with(NULL, rig.ca);
    dial_with("127.0.0.1", &options);
    expect_ok(rig.channel);
}

static void the_program_may_let_go_of_what_server_and_channel_use(void **state)
{
    (void)state;
    serve(WEFT_CLIENT_CERTIFICATES_NONE);
    weft_tls_options options = with(NULL, rig.ca);
    dial_with("localhost", &options);
    weft_tls_free(rig.server_tls);
    weft_tls_free(rig.client_tls);
    rig.server_tls = rig.client_tls = NULL;
    assert_int_equal(weft_engine_free(rig.engine), -EBUSY);
    expect_ok(rig.channel);
}

static void a_server_that_another_ca_vouches_for_is_refused(void **state)
{
    (void)state;
    serve(WEFT_CLIENT_CERTIFICATES_NONE);
    weft_tls_options options = with(NULL, rig.other_ca);
    dial_with("localhost", &options);
    expect_unavailable(rig.channel);
}

static void a_server_of_another_name_is_refused(void **state)
{
    (void)state;
    serve(WEFT_CLIENT_CERTIFICATES_NONE);
    weft_tls_options options = with(NULL, rig.ca);
    options.server_name = "orders.example";
    dial_with("localhost", &options);
    expect_unavailable(rig.channel);
}

static void a_name_that_is_given_is_looked_for(void **state)
{
    (void)state;
    serve(WEFT_CLIENT_CERTIFICATES_NONE);
    weft_tls_options options = with(NULL, rig.ca);
    options.server_name = "users.example";
    dial_with("127.0.0.1", &options);
    expect_ok(rig.channel);
}

static void an_authority_must_be_in_the_certificate(void **state)
{
    (void)state;
    serve(WEFT_CLIENT_CERTIFICATES_NONE);
    weft_tls_options options = with(NULL, rig.ca);
    rig.client_tls = make_tls(&options);
    static const char *const authorities[] = {"users.example", "orders.example"};
    for (size_t i = 0; i < 2; i++) {
        weft_channel_options channel_options = WEFT_CHANNEL_OPTIONS_INIT;
        char target[64];
        snprintf(target, sizeof target, "127.0.0.1:%d", weft_server_port(rig.server, 0));
        channel_options.tls = rig.client_tls;
        channel_options.authority = authorities[i];
        assert_int_equal(weft_channel_new(&rig.channel, rig.engine, target, &channel_options), 0);
        if (i == 0)
            expect_ok(rig.channel);
        else
            expect_unavailable(rig.channel);
        weft_channel_free(rig.channel);
        rig.channel = NULL;
    }
}

/* By itself a list is no name. */
static void a_list_of_addresses_is_dialled_by_a_name_that_is_given(void **state)
{
    (void)state;
    serve(WEFT_CLIENT_CERTIFICATES_NONE);
    weft_tls_options options = with(NULL, rig.ca);
    options.server_name = "users.example";
    rig.client_tls = make_tls(&options);
    weft_channel_options channel_options = WEFT_CHANNEL_OPTIONS_INIT;
    char target[128];
    snprintf(target, sizeof target, "ipv4:127.0.0.1:1,127.0.0.1:%d", weft_server_port(rig.server, 0));
    channel_options.tls = rig.client_tls;
    assert_int_equal(weft_channel_new(&rig.channel, rig.engine, target, &channel_options), 0);
    expect_ok(rig.channel);
}

/* The certificate is for the address as well, so who asked for the wrong name would not notice. */
static void the_name_is_the_targets_whatever_the_directory_says(void **state)
{
    static const char *const right[] = {"list:///users.example", "list:///users.example:50051",
                                        "list:///_grpc._tcp.users.example", "list:///"};
    static const char *const wrong[] = {"list:///orders.example", "list:///orders.example:50051",
                                        "list:///_grpc._tcp.orders.example"};
    weft_resolver *list = NULL;
    char address[64];
    (void)state;
    serve(WEFT_CLIENT_CERTIFICATES_NONE);
    weft_tls_options options = with(NULL, rig.ca);
    rig.client_tls = make_tls(&options);
    snprintf(address, sizeof address, "ipv4:127.0.0.1:%d", weft_server_port(rig.server, 0));
    assert_int_equal(weft_list_resolver_new(&list), 0);
    assert_int_equal(weft_list_resolver_add(list, &(weft_address){.address = address}), 0);
    weft_resolver *const resolvers[] = {list};
    weft_channel_options channel_options = WEFT_CHANNEL_OPTIONS_INIT;
    channel_options.tls = rig.client_tls;
    channel_options.resolvers = resolvers;
    channel_options.resolver_count = 1;
    for (size_t i = 0; i < sizeof right / sizeof *right + sizeof wrong / sizeof *wrong; i++) {
        bool is_right = i < sizeof right / sizeof *right;
        const char *target = is_right ? right[i] : wrong[i - sizeof right / sizeof *right];
        assert_int_equal(weft_channel_new(&rig.channel, rig.engine, target, &channel_options), 0);
        if (is_right)
            expect_ok(rig.channel);
        else
            expect_unavailable(rig.channel);
        weft_channel_free(rig.channel);
        rig.channel = NULL;
    }
    weft_resolver_free(list);
}

static void a_unix_socket_speaks_tls_too(void **state)
{
    (void)state;
    weft_tls_options options = with(rig.localhost, rig.ca);
    rig.server_tls = make_tls(&options);
    char target[64];
    snprintf(target, sizeof target, "unix:%s/socket", rig.folder);
    assert_int_equal(weft_server_listen_tls(rig.server, target, rig.server_tls), 0);
    assert_int_equal(weft_server_start(rig.server), 0);
    options = with(NULL, rig.ca);
    options.server_name = "users.example";
    rig.client_tls = make_tls(&options);
    weft_channel_options channel_options = WEFT_CHANNEL_OPTIONS_INIT;
    channel_options.tls = rig.client_tls;
    assert_int_equal(weft_channel_new(&rig.channel, rig.engine, target, &channel_options), 0);
    expect_ok(rig.channel);
    weft_channel_free(rig.channel);
    rig.channel = NULL;
    assert_int_equal(weft_server_stop(rig.server, 1000), 0);
}

/* ---- plaintext beside it ----------------------------------------------------------------------------------------- */

static void plaintext_and_tls_do_not_meet(void **state)
{
    (void)state;
    weft_tls_options server_options = with(rig.localhost, rig.ca);
    weft_tls_options client_options = with(NULL, rig.ca);
    rig.server_tls = make_tls(&server_options);
    rig.client_tls = make_tls(&client_options);
    weft_tls *const offered[] = {NULL, rig.server_tls, NULL, rig.server_tls};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(offered[i] == NULL ? weft_server_listen(rig.server, "127.0.0.1:0")
                                            : weft_server_listen_tls(rig.server, "127.0.0.1:0", offered[i]),
                         0);
    assert_int_equal(weft_server_start(rig.server), 0);
    for (size_t i = 0; i < 8; i++) {
        bool speaks_tls = i >= 4;
        rig.channel = dial("localhost", i % 4, speaks_tls ? rig.client_tls : NULL);
        if (speaks_tls == (offered[i % 4] != NULL))
            expect_ok(rig.channel);
        else
            expect_unavailable(rig.channel);
        weft_channel_free(rig.channel);
        rig.channel = NULL;
    }
}

static void a_plaintext_peer_is_nobody(void **state)
{
    (void)state;
    assert_int_equal(weft_server_listen(rig.server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(rig.server), 0);
    rig.channel = dial("localhost", 0, NULL);
    expect_ok(rig.channel);
    assert_int_equal(rig.seen.rc, -ENOENT);
}

/* ---- the client's certificate ------------------------------------------------------------------------------------ */

static void a_client_is_known_by_its_certificate(void **state)
{
    (void)state;
    serve(WEFT_CLIENT_CERTIFICATES_REQUIRE);
    weft_tls_options options = with(rig.orders, rig.ca);
    dial_with("localhost", &options);
    expect_ok(rig.channel);
    assert_int_equal(rig.seen.rc, 0);
    assert_string_equal(rig.seen.subject, "CN=orders,O=Acme");
    assert_string_equal(rig.seen.spiffe_id, "spiffe://acme.example/orders");
    assert_int_equal(rig.seen.names, 2);
    assert_string_equal(rig.seen.first_name, "orders.example");
}

static void who_shows_none_is_refused_when_one_is_required(void **state)
{
    (void)state;
    serve(WEFT_CLIENT_CERTIFICATES_REQUIRE);
    weft_tls_options options = with(NULL, rig.ca);
    dial_with("localhost", &options);
    expect_unavailable(rig.channel);
}

static void who_shows_none_is_nobody_when_one_is_requested(void **state)
{
    (void)state;
    serve(WEFT_CLIENT_CERTIFICATES_REQUEST);
    weft_tls_options options = with(NULL, rig.ca);
    dial_with("localhost", &options);
    expect_ok(rig.channel);
    assert_int_equal(rig.seen.rc, -ENOENT);
    weft_channel_free(rig.channel);
    weft_tls_free(rig.client_tls);
    options = with(rig.orders, rig.ca);
    dial_with("localhost", &options);
    expect_ok(rig.channel);
    assert_int_equal(rig.seen.rc, 0);
}

static void a_client_of_another_ca_is_refused(void **state)
{
    (void)state;
    static const weft_client_certificates wanted[] = {WEFT_CLIENT_CERTIFICATES_REQUEST,
                                                      WEFT_CLIENT_CERTIFICATES_REQUIRE};
    weft_tls_options client_options = with(rig.stranger, rig.ca);
    rig.client_tls = make_tls(&client_options);
    for (size_t i = 0; i < 2; i++) {
        weft_tls_options options = with(rig.localhost, rig.ca);
        options.client_certificates = wanted[i];
        weft_tls *tls = make_tls(&options);
        assert_int_equal(weft_server_listen_tls(rig.server, "127.0.0.1:0", tls), 0);
        weft_tls_free(tls);
    }
    assert_int_equal(weft_server_start(rig.server), 0);
    for (size_t i = 0; i < 2; i++) {
        rig.channel = dial("localhost", i, rig.client_tls);
        expect_unavailable(rig.channel);
        weft_channel_free(rig.channel);
        rig.channel = NULL;
    }
}

/* ---- what does not fit ------------------------------------------------------------------------------------------- */

static void what_does_not_fit_is_refused_at_start(void **state)
{
    (void)state;
    weft_tls_options options = with(NULL, rig.ca);
    weft_tls *without = make_tls(&options);
    assert_int_equal(weft_server_listen_tls(rig.server, "127.0.0.1:0", without), -EINVAL);
    assert_int_equal(weft_server_listen_tls(rig.server, "127.0.0.1:0", NULL), -EINVAL);
    weft_engine *other;
    weft_channel_options channel_options = WEFT_CHANNEL_OPTIONS_INIT;
    channel_options.tls = without;
    assert_int_equal(weft_core_engine_new(&other, NULL), 0);
    assert_int_equal(weft_channel_new(&rig.channel, other, "localhost:1", &channel_options), -EINVAL);
    assert_int_equal(weft_engine_free(other), 0);
    weft_tls_free(without);
    options.min_version = 13;
    assert_int_equal(weft_tls_new(&without, rig.engine, &options, rig.why, sizeof rig.why), -ENOTSUP);
    assert_string_equal(rig.why, "min_version: the core engine cannot keep to TLS 1.3, it takes 1.2 as well");
}

static void an_unknown_grpc_core_gets_no_tls(void **state)
{
    (void)state;
    weft_tls_options options = with(rig.localhost, rig.ca);
    rig.server_tls = make_tls(&options);
    assert_int_equal(weft_server_listen_tls(rig.server, "127.0.0.1:0", rig.server_tls), 0);
    weft__core_fd_acceptor_known = false;
    int rc = weft_server_start(rig.server);
    weft__core_fd_acceptor_known = true;
    assert_int_equal(rc, -ENOTSUP);
    assert_int_equal(weft_server_start(rig.server), 0); /* nothing is left of the first */
    options = with(NULL, rig.ca);
    dial_with("localhost", &options);
    expect_ok(rig.channel);
}

/* ---- rotated files ----------------------------------------------------------------------------------------------- */

static void write_pair(const char *certificate, const char *key, const test_certificate *what)
{
    test_file_write(rig.folder, certificate, test_certificate_pem(what));
    test_file_write(rig.folder, key, test_certificate_key(what));
}

/* The common name of the certificate that a new connection is shown. */
static void shown_name(char *out, size_t size)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    static const unsigned char h2[] = "\2h2";
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)weft_server_port(rig.server, 0)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    SSL *ssl = SSL_new(context);
    assert_int_equal(SSL_set_alpn_protos(ssl, h2, 3), 0);
    assert_int_equal(SSL_set_fd(ssl, fd), 1);
    assert_int_equal(SSL_connect(ssl), 1);
    X509 *certificate = SSL_get1_peer_certificate(ssl);
    assert_non_null(certificate);
    assert_true(X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, out, (int)size) > 0);
    X509_free(certificate);
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fd);
}

static void expect_shown(const char *name)
{
    char shown[64];
    shown_name(shown, sizeof shown);
    assert_string_equal(shown, name);
}

struct load {
    pthread_t thread;
    weft_channel *channel;
    bool anew; /* a channel for each call */
    atomic_bool *stop;
    atomic_size_t calls;
    size_t failures;
    char message[128];
};

static void *run_load(void *arg)
{
    struct load *load = arg;
    char id[] = "42";
    while (!atomic_load(load->stop) || atomic_load(&load->calls) == 0) {
        User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
        User__GetUserResponse *response = NULL;
        weft_arena *arena;
        if (weft_arena_new(&arena, 0) < 0)
            break;
        weft_channel *channel = load->anew ? dial("localhost", 0, rig.client_tls) : load->channel;
        request.id = id;
        weft_status status = user_UserService_GetUser(channel, arena, NULL, &request, &response);
        atomic_fetch_add(&load->calls, 1);
        if (status.code != WEFT_OK) {
            load->failures++;
            snprintf(load->message, sizeof load->message, "%s", status.message);
        }
        if (load->anew)
            weft_channel_free(channel);
        weft_arena_free(arena);
    }
    return NULL;
}

/* Waits until each has made a call that began after now. */
static void await_calls(struct load *loads, size_t count)
{
    int64_t limit_ns = weft_engine_now_ns(rig.engine) + INT64_C(20000000000);
    for (size_t i = 0; i < count; i++) {
        size_t wanted = atomic_load(&loads[i].calls) + 2;
        while (atomic_load(&loads[i].calls) < wanted && weft_engine_now_ns(rig.engine) < limit_ns)
            sched_yield();
        assert_true(atomic_load(&loads[i].calls) >= wanted);
    }
}

static void the_servers_files_rotate_under_load_without_a_failed_call(void **state)
{
    (void)state;
    weft_tls_options options = WEFT_TLS_OPTIONS_INIT;
    options.certificate_file = test_file(rig.folder, "cert");
    options.key_file = test_file(rig.folder, "key");
    options.reload_ms = 1;
    write_pair("cert", "key", rig.localhost);
    rig.server_tls = make_tls(&options);
    assert_int_equal(weft_server_listen_tls(rig.server, "127.0.0.1:0", rig.server_tls), 0);
    assert_int_equal(weft_server_start(rig.server), 0);
    options = with(NULL, rig.ca);
    dial_with("localhost", &options);
    expect_ok(rig.channel);
    expect_shown("first");
    char connection[64];
    snprintf(connection, sizeof connection, "%s", rig.seen.peer);

    atomic_bool stop = false;
    struct load loads[3];
    for (size_t i = 0; i < 3; i++) {
        loads[i] = (struct load){.channel = rig.channel, .anew = i > 0, .stop = &stop};
        assert_int_equal(pthread_create(&loads[i].thread, NULL, run_load, &loads[i]), 0);
    }
    for (int i = 1; i <= 20; i++) {
        write_pair("cert", "key", i % 2 == 0 ? rig.localhost : rig.renewed);
        assert_int_equal(weft_tls_reload(rig.server_tls, rig.why, sizeof rig.why), 0);
        expect_shown(i % 2 == 0 ? "first" : "renewed");
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(loads[i].thread, NULL), 0);
        if (loads[i].failures > 0)
            fail_msg("%zu of %zu calls: %s", loads[i].failures, atomic_load(&loads[i].calls), loads[i].message);
    }
    expect_ok(rig.channel);
    assert_string_equal(rig.seen.peer, connection); /* still the first one */
}

static void without_a_word_new_connections_see_the_new_certificate(void **state)
{
    (void)state;
    weft_tls_options options = WEFT_TLS_OPTIONS_INIT;
    options.certificate_file = test_file(rig.folder, "cert");
    options.key_file = test_file(rig.folder, "key");
    options.reload_ms = 1;
    write_pair("cert", "key", rig.localhost);
    rig.server_tls = make_tls(&options);
    assert_int_equal(weft_server_listen_tls(rig.server, "127.0.0.1:0", rig.server_tls), 0);
    assert_int_equal(weft_server_start(rig.server), 0);
    write_pair("cert", "key", rig.renewed);
    char shown[64] = "";
    int64_t limit_ns = weft_engine_now_ns(rig.engine) + INT64_C(10000000000);
    while (strcmp(shown, "renewed") != 0 && weft_engine_now_ns(rig.engine) < limit_ns)
        shown_name(shown, sizeof shown);
    assert_string_equal(shown, "renewed");
    test_file_write(rig.folder, "key", test_certificate_key(rig.localhost)); /* does not fit */
    for (int i = 0; i < 3; i++)
        expect_shown("renewed");
}

static void a_channel_shows_its_rotated_certificate_to_the_calls_to_come(void **state)
{
    (void)state;
    serve(WEFT_CLIENT_CERTIFICATES_REQUIRE);
    test_certificate *renewed =
        test_certificate_new(rig.ca, &(test_certificate_options){.subject = "/CN=renewed orders"});
    write_pair("client", "client.key", rig.orders);
    weft_tls_options options = WEFT_TLS_OPTIONS_INIT;
    options.certificate_file = test_file(rig.folder, "client");
    options.key_file = test_file(rig.folder, "client.key");
    options.roots_pem = weft_sv_from(test_certificate_pem(rig.ca));
    options.reload_ms = -1;
    dial_with("localhost", &options);
    expect_ok(rig.channel);
    assert_string_equal(rig.seen.subject, "CN=orders,O=Acme");

    atomic_bool stop = false;
    struct load loads[2];
    for (size_t i = 0; i < 2; i++) {
        loads[i] = (struct load){.channel = rig.channel, .stop = &stop};
        assert_int_equal(pthread_create(&loads[i].thread, NULL, run_load, &loads[i]), 0);
    }
    for (int i = 1; i <= 11; i++) {
        write_pair("client", "client.key", i % 2 == 0 ? rig.orders : renewed);
        assert_int_equal(weft_tls_reload(rig.client_tls, rig.why, sizeof rig.why), 0);
        await_calls(loads, 2); /* of the connection that comes with this one: a call is begun anew once, not for ever */
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(loads[i].thread, NULL), 0);
        if (loads[i].failures > 0)
            fail_msg("%zu of %zu calls: %s", loads[i].failures, atomic_load(&loads[i].calls), loads[i].message);
    }
    expect_ok(rig.channel);
    assert_string_equal(rig.seen.subject, "CN=renewed orders");
    test_certificate_free(renewed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_is_made_over_tls),
        TEST(an_address_is_a_name_too),
        TEST(the_program_may_let_go_of_what_server_and_channel_use),
        TEST(a_server_that_another_ca_vouches_for_is_refused),
        TEST(a_server_of_another_name_is_refused),
        TEST(a_name_that_is_given_is_looked_for),
        TEST(an_authority_must_be_in_the_certificate),
        TEST(a_list_of_addresses_is_dialled_by_a_name_that_is_given),
        TEST(the_name_is_the_targets_whatever_the_directory_says),
        TEST(a_unix_socket_speaks_tls_too),
        TEST(plaintext_and_tls_do_not_meet),
        TEST(a_plaintext_peer_is_nobody),
        TEST(a_client_is_known_by_its_certificate),
        TEST(who_shows_none_is_refused_when_one_is_required),
        TEST(who_shows_none_is_nobody_when_one_is_requested),
        TEST(a_client_of_another_ca_is_refused),
        TEST(what_does_not_fit_is_refused_at_start),
        TEST(an_unknown_grpc_core_gets_no_tls),
        TEST(the_servers_files_rotate_under_load_without_a_failed_call),
        TEST(without_a_word_new_connections_see_the_new_certificate),
        TEST(a_channel_shows_its_rotated_certificate_to_the_calls_to_come),
    };
    return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
