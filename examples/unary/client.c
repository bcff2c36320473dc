/* A client: unary-client NAME [HOST:PORT]. */
#include <stdio.h>
#include <string.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "greeter.weft.h"

static int greet(weft_channel *channel, char *name)
{
    char block[4096]; /* the answer lies here; the heap serves only what does not fit */
    weft_arena *arena;
    weft_arena_init(&arena, block, sizeof block, 1 << 20);

    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.timeout_ms = 1000;
    Greeter__HelloRequest request = GREETER__HELLO_REQUEST__INIT;
    request.name = name;
    Greeter__HelloResponse *response = NULL;
    weft_status status = greeter_Greeter_Hello(channel, arena, &options, &request, &response);
    if (status.code == WEFT_OK)
        printf("%s\n", response->text);
    else
        fprintf(stderr, "%s: %s\n", weft_code_name(status.code), status.message);
    weft_arena_fini(arena);
    return status.code == WEFT_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: unary-client NAME [HOST:PORT]\n");
        return 2;
    }
    weft_engine *engine = NULL;
    weft_channel *channel = NULL;
    int rc = weft_core_engine_new(&engine, NULL);
    if (rc == 0)
        rc = weft_channel_new(&channel, engine, argc > 2 ? argv[2] : "127.0.0.1:50051", NULL);
    if (rc < 0)
        fprintf(stderr, "unary-client: %s\n", strerror(-rc));
    int result = rc < 0 ? 1 : greet(channel, argv[1]);
    weft_channel_free(channel);
    weft_engine_free(engine);
    return result;
}
