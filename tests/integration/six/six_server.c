/* One of the six servers: six_server NUMBER ADDRESS. It says where it listens, on a line of its own, serves until
 * SIGTERM, drains, and ends with 0. It takes as long for a call, and answers it with the code, that Behave told it. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "base/clock.h"
#include "base/event.h"
#include "six.weft.h"

static const int64_t ns_per_us = 1000;
static const int64_t grace_ms = 10000;

struct manner {
    int32_t number;
    atomic_int_least64_t takes_us;
    atomic_int code;
    atomic_int_least64_t calls;
};

static weft_code take_time(weft_call *call, int64_t ns)
{
    weft__clock *clock = weft__clock_system();
    weft__event over;
    int rc = weft__event_init(&over);
    if (rc < 0)
        return weft_fail_errno(call, rc);
    (void)weft__event_wait(&over, weft__clock_deadline_ns(clock->now_ns(clock), ns));
    weft__event_fini(&over);
    return WEFT_OK;
}

static weft_code do_job(weft_call *call, const Six__Job *job, Six__Answer *answer, void *self)
{
    struct manner *manner = self;
    weft_code code = (weft_code)atomic_load(&manner->code);
    atomic_fetch_add(&manner->calls, 1);
    if (code != WEFT_OK)
        return weft_fail(call, code, "server %d is told to fail", (int)manner->number);
    answer->server = manner->number;
    return take_time(call, atomic_load(&manner->takes_us) * job->thousandths / 1000 * ns_per_us);
}

static weft_code behave(weft_call *call, const Six__Manner *told, Six__Count *count, void *self)
{
    struct manner *manner = self;
    (void)call;
    atomic_store(&manner->takes_us, told->takes_us);
    atomic_store(&manner->code, told->code);
    count->calls = atomic_exchange(&manner->calls, 0);
    return WEFT_OK;
}

static int serve(weft_engine *engine, struct manner *manner, const char *address, const sigset_t *end)
{
    static const six_Six_ops ops = {.Do = do_job, .Behave = behave};
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    weft_server *server = NULL;
    int caught;
    options.workers = 32;
    options.quiet_ms = 50;
    int rc = weft_server_new(&server, engine, &options);
    if (rc == 0)
        rc = six_Six_register(server, &ops, manner, NULL);
    if (rc == 0)
        rc = weft_server_listen(server, address);
    if (rc == 0)
        rc = weft_server_start(server);
    if (rc == 0) {
        printf("%s\n", weft_server_address(server, 0));
        (void)fflush(stdout);
        rc = -sigwait(end, &caught);
    }
    if (rc == 0)
        rc = weft_server_stop(server, grace_ms);
    weft_server_free(server);
    return rc;
}

int main(int argc, char **argv)
{
    struct manner manner = {.number = argc == 3 ? (int32_t)strtol(argv[1], NULL, 10) : 0};
    weft_engine *engine = NULL;
    sigset_t end;
    if (argc != 3)
        return 2;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* it never outlives the test, not even when it is stopped */
    (void)sigemptyset(&end);
    (void)sigaddset(&end, SIGTERM);
    int rc = -pthread_sigmask(SIG_BLOCK, &end, NULL);
    if (rc == 0)
        rc = weft_core_engine_new(&engine, NULL);
    if (rc == 0) {
        rc = serve(engine, &manner, argv[2], &end);
        (void)weft_engine_free(engine);
    }
    if (rc < 0)
        (void)fprintf(stderr, "server %s at %s: %s\n", argv[1], argv[2], strerror(-rc));
    return rc < 0;
}
