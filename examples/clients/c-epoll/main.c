/* A client of the user service inside a program's own event loop: user-client-epoll HOST:PORT. It creates whom standard
 * input names, "EMAIL NAME" a line, as the lines come; when that ends it lists all. One thread, so no locks. */
#include <sys/epoll.h>
#include <unistd.h>

#include "clients/calls.h"
#include "clients/common.h"

static int running, failures;

/* Runs in weft_loop_dispatch, as all callbacks do here. */
static void on_end(struct calls *calls, int failed)
{
    (void)calls;
    failures += failed;
    running--;
}

/* Creates the users of the lines that are whole. @return false: the input has ended, or a line is too long. */
static bool read_input(struct calls *calls)
{
    static char input[1024];
    static size_t length;
    ssize_t count = read(STDIN_FILENO, input + length, sizeof input - 1 - length);
    length += count > 0 ? (size_t)count : 0;
    input[length] = '\0';
    char *line = input, *name;
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        calls_create(calls, strtok_r(line, " ", &name) != NULL ? name : line, line);
        running++;
    }
    length -= (size_t)(line - input);
    memmove(input, line, length);
    return count > 0;
}

/* Waits for both descriptors until the input has ended and no call runs. */
static void run(struct calls *calls, int epoll, weft_loop *loop)
{
    static bool reading = true;
    struct epoll_event event;
    while (reading || running > 0) {
        if (epoll_wait(epoll, &event, 1, -1) < 1)
            continue; /* a signal came */
        if (event.data.fd != STDIN_FILENO)
            weft_loop_dispatch(loop, 64);
        else if (!read_input(calls))
            reading = epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL) < 0;
    }
}

int main(int argc, char **argv)
{
    struct calls calls = {.options = WEFT_CALL_OPTIONS_INIT, .ended = on_end};
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    weft_engine *engine = NULL;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event input = {.events = EPOLLIN, .data.fd = STDIN_FILENO}, ready = {.events = EPOLLIN, .data.fd = -1};
    expect(argc == 2 && epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) == 0, "… | user-client-epoll HOST:PORT");
    setvbuf(stdout, NULL, _IOLBF, 0); /* whoever reads it sees each line at once */
    check(weft_core_engine_new(&engine, NULL), "engine");
    check(weft_loop_new(&options.loop), "loop");
    check(weft_channel_new(&calls.users, engine, argv[1], &options), argv[1]);
    check(epoll_ctl(epoll, EPOLL_CTL_ADD, weft_loop_fd(options.loop), &ready), "epoll");
    calls.options.timeout_ms = 5000;
    run(&calls, epoll, options.loop);
    running = 1;
    calls_list(&calls, (char *)"");
    run(&calls, epoll, options.loop);
    running = 1;
    calls_get(&calls, (char *)"no-such-user");
    run(&calls, epoll, options.loop);
    weft_channel_free(calls.users);
    weft_loop_free(options.loop);
    weft_engine_free(engine);
    close(epoll);
    return failures == 1 ? 0 : 1; /* the user who is not there */
}
