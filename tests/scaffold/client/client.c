/* client ADDRESS NAME: greets by greeter.GreeterService/Hello and prints the answer. */
#include <inttypes.h>
#include <stdio.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "greeter.weft.h"

static int greet(weft_channel *channel, weft_arena *arena, char *name)
{
    Greeter__HelloRequest request = GREETER__HELLO_REQUEST__INIT;
    Greeter__HelloResponse *response = NULL;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.timeout_ms = 10000;
    request.name = name;
    weft_status status = greeter_GreeterService_Hello(channel, arena, &options, &request, &response);
    if (status.code != WEFT_OK) {
        fprintf(stderr, "%s: %s\n", weft_code_name(status.code), status.message);
        return 1;
    }
    printf("%s %" PRId64 "\n", response->text, response->count);
    return 0;
}

int main(int argc, char **argv)
{
    weft_engine *engine = NULL;
    weft_channel *channel = NULL;
    weft_arena *arena = NULL;
    int code = 2;
    if (argc == 3 && weft_core_engine_new(&engine, NULL) == 0 && weft_arena_new(&arena, 0) == 0 &&
        weft_channel_new(&channel, engine, argv[1], NULL) == 0)
        code = greet(channel, arena, argv[2]);
    weft_channel_free(channel);
    weft_engine_free(engine);
    weft_arena_free(arena);
    return code;
}
