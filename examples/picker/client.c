/* A client with a picker of its own: picker-client TARGET, for example static:///127.0.0.1:1,127.0.0.1:2. Each of ten
 * calls goes to whoever has the fewest; of equals, to the one that was asked the least. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "greeter.weft.h"

static weft_pick pick_idle(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    (void)self;
    long fewest = 0;
    for (size_t i = 0; i < args->endpoint_count; i++) {
        atomic_long *asked = weft_endpoint_state(args->endpoints[i]); /* kept through all changes of the list */
        long weight = (long)weft_endpoint_calls(args->endpoints[i]) * 1000000 + atomic_load(asked);
        if (i == 0 || weight < fewest) {
            *out = args->endpoints[i];
            fewest = weight;
        }
    }
    atomic_fetch_add((atomic_long *)weft_endpoint_state(*out), 1);
    return WEFT_PICK_ENDPOINT;
}

static const weft_picker_vtable idle = {
    .struct_size = sizeof idle, .name = "idle", .endpoint_size = sizeof(atomic_long), .pick = pick_idle};

int main(int argc, char **argv)
{
    weft_picker picker = {&idle};
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    weft_engine *engine = NULL;
    weft_channel *channel = NULL;
    options.picker = &picker;
    int rc = weft_core_engine_new(&engine, NULL);
    if (rc == 0)
        rc = weft_channel_new(&channel, engine, argc == 2 ? argv[1] : "", &options);
    for (int i = 0; rc == 0 && i < 10; i++) {
        char block[4096];
        weft_arena *arena;
        weft_call_info info = WEFT_CALL_INFO_INIT;
        weft_call_options call = WEFT_CALL_OPTIONS_INIT;
        Greeter__HelloRequest request = GREETER__HELLO_REQUEST__INIT;
        Greeter__HelloResponse *response = NULL;
        weft_arena_init(&arena, block, sizeof block, 1 << 20);
        request.name = "picker";
        call.timeout_ms = 5000;
        call.info = &info;
        weft_status status = greeter_Greeter_Hello(channel, arena, &call, &request, &response);
        printf("%s %s\n", info.peer != NULL ? info.peer : "nowhere", weft_code_name(status.code));
        weft_arena_fini(arena);
    }
    weft_channel_free(channel);
    (void)weft_engine_free(engine);
    return rc < 0 ? fprintf(stderr, "usage: picker-client TARGET: %s\n", strerror(-rc)), 1 : 0;
}
