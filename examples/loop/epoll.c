/* A server and a client in one epoll loop, on one thread: loop-epoll. It also reads lines from standard input, greets
 * who is named there, and ends with the input. */
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "greeter.weft.h"

static int waiting; /* calls that are not answered yet */

static weft_code hello(weft_call *call, const Greeter__HelloRequest *request, Greeter__HelloResponse *response,
                       void *self)
{
    (void)self; /* runs in weft_loop_dispatch, so it needs no lock */
    response->text = weft_arena_printf(weft_call_arena(call), "Hello, %s!", request->name);
    return response->text != NULL ? WEFT_OK : WEFT_RESOURCE_EXHAUSTED;
}

static const greeter_Greeter_ops greeter = {.Hello = hello};

static void on_hello(const weft_status *status, Greeter__HelloResponse *response, weft_result *result, void *arg)
{
    (void)result;
    (void)arg;
    printf("%s\n", status->code == WEFT_OK ? response->text : status->message);
    waiting--;
}

/* Watches both descriptors until the input has ended and every call is answered. */
static int run(weft_loop *loop, weft_channel *channel)
{
    char line[256];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event input = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    struct epoll_event calls = {.events = EPOLLIN, .data.fd = weft_loop_fd(loop)};
    struct epoll_event event;
    int rc = epoll_ctl(epoll, EPOLL_CTL_ADD, calls.data.fd, &calls);
    bool open = rc == 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, input.data.fd, &input) == 0;
    while (rc == 0 && (open || waiting > 0) && epoll_wait(epoll, &event, 1, -1) == 1) {
        if (event.data.fd == calls.data.fd) {
            weft_loop_dispatch(loop, 64);
            continue;
        }
        ssize_t length = read(STDIN_FILENO, line, sizeof line - 1);
        open = length > 0 || epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL) < 0;
        line[length > 0 ? length : 0] = '\0';
        for (char *rest, *name = strtok_r(line, "\n", &rest); name != NULL; name = strtok_r(NULL, "\n", &rest)) {
            Greeter__HelloRequest request = GREETER__HELLO_REQUEST__INIT;
            request.name = name;
            waiting += greeter_Greeter_Hello_async(channel, NULL, &request, on_hello, NULL) == 0;
        }
    }
    close(epoll);
    return rc;
}

int main(void)
{
    weft_engine *engine = NULL;
    weft_loop *loop = NULL;
    weft_server *server = NULL;
    weft_channel *channel = NULL;
    weft_server_options server_options = WEFT_SERVER_OPTIONS_INIT;
    weft_channel_options channel_options = WEFT_CHANNEL_OPTIONS_INIT;
    int rc = weft_core_engine_new(&engine, NULL);
    if (rc == 0)
        rc = weft_loop_new(&loop);
    server_options.loop = channel_options.loop = loop;
    if (rc == 0)
        rc = weft_server_new(&server, engine, &server_options);
    if (rc == 0)
        rc = greeter_Greeter_register(server, &greeter, NULL, NULL);
    if (rc == 0)
        rc = weft_server_listen(server, "127.0.0.1:0");
    if (rc == 0)
        rc = weft_server_start(server);
    if (rc == 0)
        rc = weft_channel_new(&channel, engine, weft_server_address(server, 0), &channel_options);
    if (rc == 0)
        rc = run(loop, channel);
    if (rc < 0)
        fprintf(stderr, "loop-epoll: %s\n", strerror(-rc));
    weft_channel_free(channel);
    weft_server_free(server);
    weft_loop_free(loop);
    weft_engine_free(engine);
    return rc < 0 ? 1 : 0;
}
