/* A client of the user service, many calls at once: user-client-async HOST:PORT NAME EMAIL [NAME EMAIL …]. */
#include <semaphore.h>
#include <stdatomic.h>

#include "clients/calls.h"
#include "clients/common.h"

static sem_t ended;
static atomic_int failures;

/* Runs on a thread of the engine, as all callbacks do here, and wakes the one that waits. */
static void on_end(struct calls *calls, int failed)
{
    (void)calls;
    failures += failed;
    sem_post(&ended);
}

int main(int argc, char **argv)
{
    struct calls calls = {.options = WEFT_CALL_OPTIONS_INIT, .ended = on_end};
    weft_engine *engine = NULL;
    expect(argc > 3 && argc % 2 == 0, "user-client-async HOST:PORT NAME EMAIL [NAME EMAIL …]");
    check(sem_init(&ended, 0, 0), "semaphore");
    check(weft_core_engine_new(&engine, NULL), "engine");
    check(weft_channel_new(&calls.users, engine, argv[1], NULL), argv[1]);
    calls.options.timeout_ms = 5000;

    for (int i = 2; i < argc; i += 2)
        calls_create(&calls, argv[i], argv[i + 1]);
    for (int i = 2; i < argc; i += 2)
        sem_wait(&ended);
    calls_list(&calls, (char *)"");
    sem_wait(&ended);
    calls_get(&calls, (char *)"no-such-user");
    sem_wait(&ended);

    weft_channel_free(calls.users);
    weft_engine_free(engine);
    sem_destroy(&ended);
    return failures == 1 ? 0 : 1; /* the user who is not there */
}
