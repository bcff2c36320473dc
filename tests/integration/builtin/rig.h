/* rig.h: a server with user.UserService, health and reflection, and a channel to it, on an engine of any kind. */
#ifndef WEFT_TESTS_BUILTIN_RIG_H
#define WEFT_TESTS_BUILTIN_RIG_H

#include <weft/weft.h>

typedef enum rig_kind {
    RIG_CORE,
    RIG_STEPPED,
    RIG_THREADED
} rig_kind;

struct rig {
    rig_kind kind;
    weft_engine *engine;
    weft_server *server;
    weft_health *health;
    weft_channel *channel;
    weft_arena *arena;
};

/* cmocka set-up and tear-down: an engine of the kind in `*state`, then a whole rig. */
int rig_setup_core(void **state);
int rig_setup_stepped(void **state);
int rig_setup_threaded(void **state);
int rig_teardown(void **state);

/* Makes all, up to a server that has not started. Both may be NULL. Returns 0 or -errno, and what was made stays. */
int rig_make(struct rig *rig, const weft_server_options *server, const weft_health_options *health);

/* Starts the server and makes a channel to it. Returns 0 or -errno. */
int rig_serve(struct rig *rig);

/* Both, which must succeed. */
void rig_start(struct rig *rig, const weft_server_options *server, const weft_health_options *health);

/* Frees what was made but the engine, in the right order. */
void rig_unmake(struct rig *rig);

/* Makes the engine's next steps, if it has to be stepped, until the server has `calls` calls that run. */
void rig_wait_for_calls(struct rig *rig, uint64_t calls);

/* Runs the tests of the engine that the program's argument names. */
#define RIG_MAIN(core, stepped, threaded)                                                                              \
    int main(int argc, char **argv)                                                                                    \
    {                                                                                                                  \
        const char *engine = argc > 1 ? argv[1] : "core";                                                              \
        if (argc > 2)                                                                                                  \
            cmocka_set_test_filter(argv[2]);                                                                           \
        if (strcmp(engine, "stepped") == 0)                                                                            \
            return cmocka_run_group_tests(stepped, NULL, NULL);                                                        \
        if (strcmp(engine, "threaded") == 0)                                                                           \
            return cmocka_run_group_tests(threaded, NULL, NULL);                                                       \
        return cmocka_run_group_tests(core, NULL, NULL);                                                               \
    }

#endif
