/* What a server and a channel on gRPC core do beyond the seam's contract. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "integration/seam/seam_suite.h"
#include "transport/core/fd_acceptor.h"

static char seen_peer[64];

static void note_peer(struct seam *seam, seam_call *call)
{
    (void)call->transport->vtable->peer(call->transport, seen_peer, sizeof seen_peer);
    seam_echo(seam, call);
}

static void expect_ok(struct seam *seam)
{
    weft__result result;
    weft__ccall *call = seam_unary_text(seam, &seam_unary, "?", &result);
    assert_seam_code(&result, WEFT_OK);
    assert_true(seam_rx_is_text(seam, &result.response, "?"));
    seam_call_free(seam, call, &result);
}

static void descriptors_go_through_the_acceptor_with_their_peers_address(void **state)
{
    (void)state;
    struct seam seam;
    seam_init(&seam);
    seam.on_begin = note_peer;
    seam_start(&seam);
    expect_ok(&seam);
    assert_int_equal(strncmp(seen_peer, "ipv4:127.0.0.1:", 15), 0);
    seam_stop(&seam);
}

static void an_unknown_grpc_core_gets_them_the_public_way(void **state)
{
    (void)state;
    struct seam seam;
    weft__core_fd_acceptor_known = false;
    seam_init(&seam);
    seam.on_begin = note_peer;
    seam_start(&seam);
    weft__core_fd_acceptor_known = true;
    expect_ok(&seam);
    assert_int_equal(strncmp(seen_peer, "fd:", 3), 0);
    seam_stop(&seam);
}

static void a_unix_socket_serves_too(void **state)
{
    (void)state;
    struct seam seam;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/weft-core-test-%d", (int)getpid());
    seam_init(&seam);
    seam.on_begin = note_peer;
    seam.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(seam.listener, (struct sockaddr *)&address, sizeof address), 0);
    snprintf(seam.target, sizeof seam.target, "unix:%s", address.sun_path);
    seam_start_server(&seam);
    seam_start_channel(&seam);
    expect_ok(&seam);
    assert_int_equal(strncmp(seen_peer, "unix:", 5), 0);
    seam_stop(&seam);
    unlink(address.sun_path);
}

static void a_descriptor_is_refused_after_the_shutdown_or_when_it_is_none(void **state)
{
    (void)state;
    struct seam seam;
    int pair[2];
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    expect_ok(&seam);
    assert_int_equal(seam.server->vtable->serve_fd(seam.server, -1, NULL), -EBADF);
    seam_stop_accepting(&seam);
    seam.server->vtable->shutdown(seam.server);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(seam.server->vtable->serve_fd(seam.server, pair[0], NULL), -ESHUTDOWN);
    assert_int_equal(close(pair[0]), 0); /* still ours */
    close(pair[1]);
    seam_await(&seam, &seam.closed, 1);
    seam_stop(&seam);
}

static void illegal_metadata_starts_no_call_and_leaves_it_usable(void **state)
{
    (void)state;
    static const weft_metadatum illegal[] = {{{"Upper", 5}, {"x", 1}}, {{"x-line", 6}, {"a\nb", 3}}};
    struct seam seam;
    weft__result result;
    seam_op end;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    weft__ccall *call = seam_call_new(&seam);
    weft__tx message = seam_text(&seam, "kept for the second try");
    weft__call_args args = {.method = &seam_unary, .deadline_ns = INT64_MAX, .message = &message, .half_close = true};
    for (int i = 0; i < 2; i++) {
        args.metadata = &illegal[i];
        args.metadata_count = 1;
        seam_op_init(&seam, &end);
        assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), -EINVAL);
        assert_int_equal(SEAM_START(call->vtable->start(call, &args, &end.op)), -EINVAL);
    }
    args.metadata_count = 0;
    assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), 0);
    assert_int_equal(seam_op_wait(&end), 0);
    call->vtable->result(call, &result);
    assert_seam_code(&result, WEFT_OK);
    assert_true(seam_rx_is_text(&seam, &result.response, "kept for the second try"));
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

static void answer_illegally(struct seam *seam, seam_call *call)
{
    const weft_metadatum illegal = {weft_sv_from("Upper"), weft_sv_from("x")};
    weft__tx response = seam_text(seam, "lost");
    const weft__finish answer = {.message = &response, .trailers = &illegal, .trailer_count = 1};
    seam->engine->vtable->rx_release(&call->message);
    seam_check(seam, call->transport->vtable->finish(call->transport, &answer) == 0, "finish failed");
}

static void an_answer_that_grpc_core_refuses_still_ends_the_call(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = answer_illegally;
    seam_start(&seam);
    weft__ccall *call = seam_unary_text(&seam, &seam_unary, "?", &result);
    assert_int_not_equal(result.code, WEFT_OK);
    seam_call_free(&seam, call, &result);
    seam_await(&seam, &seam.ended, 1);
    seam_stop(&seam);
}

static seam_call *all_held[1000];
static int held_count;

static void hold_all(struct seam *seam, seam_call *call)
{
    seam->engine->vtable->rx_release(&call->message);
    pthread_mutex_lock(&seam->lock);
    all_held[held_count++] = call;
    pthread_mutex_unlock(&seam->lock);
}

static void many_more_calls_than_posted_requests_all_begin(void **state)
{
    (void)state;
    enum {
        CALLS = 500
    };
    struct seam seam;
    static weft__ccall *calls[CALLS];
    static seam_op ends[CALLS];
    seam_init(&seam);
    seam.on_begin = hold_all;
    seam_start(&seam);
    for (int i = 0; i < CALLS; i++) {
        weft__tx message = seam_text(&seam, "hold");
        const weft__call_args args = {
            .method = &seam_unary, .deadline_ns = INT64_MAX, .message = &message, .half_close = true};
        calls[i] = seam_call_new(&seam);
        seam_op_init(&seam, &ends[i]);
        assert_int_equal(SEAM_START(calls[i]->vtable->unary(calls[i], &args, &ends[i].op)), 0);
    }
    seam_await(&seam, &seam.begun, CALLS);
    for (int i = 0; i < CALLS; i++)
        assert_int_equal(seam_finish(all_held[i], WEFT_ABORTED, "all at once", NULL), 0);
    for (int i = 0; i < CALLS; i++) {
        weft__result result;
        assert_int_equal(seam_op_wait(&ends[i]), 0);
        calls[i]->vtable->result(calls[i], &result);
        assert_seam_code(&result, WEFT_ABORTED);
        seam_call_free(&seam, calls[i], &result);
    }
    seam_await(&seam, &seam.ended, CALLS);
    assert_int_equal(seam.made, CALLS);
    seam_stop(&seam);
}

static void two_methods_of_one_path_are_refused(void **state)
{
    (void)state;
    struct seam seam;
    weft__server_method method = {.path = "/a/B", .kind = WEFT_UNARY, .max_message_bytes = INT64_MAX};
    const weft__server_method *const twice[] = {&method, &method};
    seam_init(&seam);
    seam.server_config.methods = twice;
    seam.server_config.method_count = 2;
    assert_int_equal(seam.engine->vtable->server_new(seam.engine, &seam.server_config, &seam.server), -EEXIST);
    assert_null(seam.server);
    seam_stop(&seam);
}

static void connections_of_age_are_replaced_without_a_failed_call(void **state)
{
    (void)state;
    struct seam seam;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam.server_config.max_connection_age_ms = 50;
    seam.server_config.max_connection_age_grace_ms = 60000;
    seam_start(&seam);
    int64_t limit_ns = seam_in_ms(&seam, 30000);
    size_t accepted = 0;
    while (accepted < 3 && weft_engine_now_ns(seam.engine) < limit_ns) {
        seam_recover(&seam);
        pthread_mutex_lock(&seam.lock);
        accepted = seam.accepted_count;
        pthread_mutex_unlock(&seam.lock);
    }
    assert_in_range(accepted, 3, 64);
    seam_stop(&seam);
}

static void an_authority_is_sent_and_others_share_nothing(void **state)
{
    (void)state;
    struct seam seam;
    weft__tchannel *other;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam.channel_config.authority = "users.example";
    seam_start(&seam);
    expect_ok(&seam);
    assert_int_equal(seam.engine->vtable->channel_new(seam.engine, &seam.channel_config, &other), 0);
    seam_watch_until(&seam, other, WEFT__LINK_READY);
    assert_int_equal(seam.accepted_count, 2); /* a connection of its own */
    other->vtable->destroy(other);
    seam_stop(&seam);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_go_through_the_acceptor_with_their_peers_address),
        cmocka_unit_test(an_unknown_grpc_core_gets_them_the_public_way),
        cmocka_unit_test(a_unix_socket_serves_too),
        cmocka_unit_test(a_descriptor_is_refused_after_the_shutdown_or_when_it_is_none),
        cmocka_unit_test(illegal_metadata_starts_no_call_and_leaves_it_usable),
        cmocka_unit_test(an_answer_that_grpc_core_refuses_still_ends_the_call),
        cmocka_unit_test(many_more_calls_than_posted_requests_all_begin),
        cmocka_unit_test(two_methods_of_one_path_are_refused),
        cmocka_unit_test(connections_of_age_are_replaced_without_a_failed_call),
        cmocka_unit_test(an_authority_is_sent_and_others_share_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
