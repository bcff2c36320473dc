/* rig.h: four chat.Chat servers on one engine, which do what the test says, and a channel to them that goes by a
 * service config. The servers note what each attempt looked like. All their handlers run on the engine's threads. */
#ifndef WEFT_TESTS_RETRY_RIG_H
#define WEFT_TESTS_RETRY_RIG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <weft/weft.h>

#include "base/event.h"
#include "chat.weft.h"
#include "transport/transport.h"

enum {
    NODES = 4,
    MAX_ACTS = 8,
    MAX_SEEN = 512
};

#define MS      INT64_C(1000000)
#define FOREVER INT64_MAX

/* ---- service configs --------------------------------------------------------------------------------------------- */

#define IN_TURN "\"loadBalancingConfig\":[{\"round_robin\":{}}]"
/* Of all methods. */
#define CONFIG_WITH(policy, more) "{\"methodConfig\":[{\"name\":[{}]," policy "}]," IN_TURN more "}"
#define CONFIG(policy)            CONFIG_WITH(policy, "")
#define RETRY(attempts, codes, more)                                                                                   \
    "\"retryPolicy\":{\"maxAttempts\":" #attempts ",\"initialBackoff\":\"0.1s\",\"maxBackoff\":\"1s\","                \
    "\"backoffMultiplier\":2,\"retryableStatusCodes\":[" codes "]" more "}"
#define HEDGE(attempts, delay, codes)                                                                                  \
    "\"hedgingPolicy\":{\"maxAttempts\":" #attempts ",\"hedgingDelay\":\"" delay "\","                                 \
    "\"nonFatalStatusCodes\":[" codes "]}"
#define UNAVAILABLE "\"UNAVAILABLE\""

/* ---- servers ----------------------------------------------------------------------------------------------------- */

/* What becomes of an attempt. */
struct act {
    weft_code code;
    const char *pushback; /* or NULL */
    int64_t after_ms;     /* of Say: when it is answered; of all: -1: never */
    int64_t read_first;   /* of Gather and Talk: messages before it ends; FOREVER: all */
    int64_t send_first;   /* of Spread and Talk: messages before it fails */
};

/* What a server saw of an attempt. */
struct seen {
    int node;
    char previous[16]; /* grpc-previous-rpc-attempts; "": there was none */
    char key[16];      /* x-key */
    char text[16];     /* of the request */
    int64_t at_ns;
    int64_t received; /* messages of the stream */
    int64_t sum;      /* of their numbers, each times its place: 1 for the first */
    bool half_closed;
    bool ended;     /* by the server */
    bool cancelled; /* before it was answered */
};

struct told {
    weft_resolver base;
    weft_sink *sink;
};

struct session;

struct node {
    struct rig *rig;
    weft_server *server;
    weft_health *health;
    char address[128];
    int number;
};

struct rig {
    bool core;
    bool stepped;
    weft_engine *engine;
    struct node nodes[NODES];
    struct told told;
    const char *published; /* that the resolver publishes; or NULL */
    weft_channel *channel;
    weft_arena *arena;
    void (*relay)(weft_call *call, void *arg); /* called by an attempt that is never answered */
    void *relay_arg;

    pthread_mutex_t lock; /* of the rest */
    pthread_cond_t changed;
    struct act acts[MAX_ACTS]; /* of the first attempt, of the second …; the last one for all that follow */
    size_t act_count;
    size_t first_seen; /* the first act was for this one */
    struct seen seen[MAX_SEEN];
    size_t seen_count;  /* over all */
    unsigned connected; /* nodes that the calls of rig_connect have reached; those are not noted */
    struct session *sessions;
    uint64_t chance; /* not 0: acts are drawn by it, and nothing is noted */
};

int rig_setup_core(void **state);
int rig_setup_threaded(void **state);
int rig_setup_stepped(void **state);
int rig_teardown(void **state);

/* A channel that the told resolver serves with these nodes, "abcd"; all of them are connected when this returns. NULL:
 * a service config that says nothing of methods. */
void rig_open(struct rig *rig, const char *config, const char *nodes);
/* With options of the test's own, whose target is not served yet. */
void rig_open_with(struct rig *rig, const weft_channel_options *given);
void rig_tell(struct rig *rig, const char *nodes);
void rig_connect(struct rig *rig, const char *nodes);
void rig_close(struct rig *rig);

/* What the next attempts meet; those before are forgotten. */
void rig_act(struct rig *rig, const struct act *acts, size_t count);
#define ACT(rig, ...)                                                                                                  \
    rig_act(rig, (const struct act[]){__VA_ARGS__}, sizeof((const struct act[]){__VA_ARGS__}) / sizeof(struct act))

/* The attempts since then. */
size_t rig_attempts(struct rig *rig);
struct seen rig_seen(struct rig *rig, size_t index);
void rig_await_attempts(struct rig *rig, size_t count);
/* Until as many attempts as that have been cancelled at their servers. */
void rig_await_cancelled(struct rig *rig, size_t count);

/* Until the clients have heard of what the servers said; on gRPC core nobody can tell. */
void rig_settle(struct rig *rig);
/* Of a call that was cancelled after its attempt had failed, and before the next one: */
void rig_assert_cancelled(const struct rig *rig, weft_code code);

/* Lets time pass: really, or virtually. */
void rig_pass_ms(struct rig *rig, int64_t ms);

/* ---- callers ----------------------------------------------------------------------------------------------------- */

/* How an asynchronous call ended. */
struct outcome {
    weft__event over;
    atomic_int told; /* how often */
    weft_code code;
    int64_t at_ns;
    int64_t number;
    char text[64];
    char message[256];
    char header[16];  /* x-header */
    char trailer[16]; /* x-trailer */
    char peer[128];
    struct rig *rig;
};

void rig_begin_say(struct rig *rig, struct outcome *outcome, const weft_call_options *options);
/* The same on another channel. */
void rig_begin_say_on(struct rig *rig, weft_channel *channel, struct outcome *outcome,
                      const weft_call_options *options);
/* Until it has ended; time passes meanwhile. */
void rig_end_say(struct rig *rig, struct outcome *outcome);
/* Both. */
weft_code rig_say(struct rig *rig, struct outcome *outcome, int64_t timeout_ms);

#define assert_attempts(rig, count) assert_int_equal(rig_attempts(rig), count)

#endif
