/* Calls from a libuv loop: loop-libuv HOST:PORT NAME…. libuv polls Weft's descriptor like any other. */
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "greeter.weft.h"

struct program {
    weft_loop *loop;
    uv_poll_t poll;
    int waiting;
    int failed;
};

static void on_hello(const weft_status *status, Greeter__HelloResponse *response, weft_result *result, void *arg)
{
    struct program *program = arg;
    (void)result;
    printf("%s\n", status->code == WEFT_OK ? response->text : status->message);
    program->failed += status->code != WEFT_OK;
    if (--program->waiting == 0)
        uv_close((uv_handle_t *)&program->poll, NULL); /* nothing is left for uv_run to wait for */
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct program *program = poll->data;
    (void)status;
    (void)events;
    weft_loop_dispatch(program->loop, 64);
}

int main(int argc, char **argv)
{
    weft_engine *engine = NULL;
    weft_channel *channel = NULL;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    weft_call_options call_options = WEFT_CALL_OPTIONS_INIT;
    struct program program = {.waiting = 0};
    if (argc < 3) {
        fprintf(stderr, "usage: loop-libuv HOST:PORT NAME…\n");
        return 2;
    }
    call_options.timeout_ms = 2000;
    int rc = weft_core_engine_new(&engine, NULL);
    if (rc == 0)
        rc = weft_loop_new(&program.loop);
    options.loop = program.loop;
    if (rc == 0)
        rc = weft_channel_new(&channel, engine, argv[1], &options);
    for (int i = 2; rc == 0 && i < argc; i++) {
        Greeter__HelloRequest request = GREETER__HELLO_REQUEST__INIT;
        request.name = argv[i];
        rc = greeter_Greeter_Hello_async(channel, &call_options, &request, on_hello, &program);
        program.waiting += rc == 0;
    }
    if (rc == 0) {
        program.poll.data = &program;
        uv_poll_init(uv_default_loop(), &program.poll, weft_loop_fd(program.loop));
        uv_poll_start(&program.poll, UV_READABLE, on_readable);
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
        uv_loop_close(uv_default_loop());
    } else {
        fprintf(stderr, "loop-libuv: %s\n", strerror(-rc));
    }
    weft_channel_free(channel);
    weft_loop_free(program.loop);
    weft_engine_free(engine);
    return rc < 0 || program.failed > 0 ? 1 : 0;
}
