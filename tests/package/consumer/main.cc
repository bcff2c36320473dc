// The same in C++11.
#include <cstdio>
#include <cstring>

#include <weft/testing.h>
#include <weft/weft.h>

#include "greeter.weft.h"

static weft_code hello(weft_call *call, const Greeter__HelloRequest *request, Greeter__HelloResponse *response,
                       void *self)
{
    response->text = weft_arena_printf(weft_call_arena(call), "%s %s", static_cast<const char *>(self), request->name);
    return WEFT_OK;
}

static const greeter_Greeter_ops greeter = {hello};

int main()
{
    char self[] = "Hello";
    weft_engine *engine = nullptr;
    weft_server *server = nullptr;
    weft_channel *channel = nullptr;
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    options.workers = -1; // every method inline: this engine has no threads
    if (weft_memory_engine_new(&engine, nullptr) < 0 || weft_server_new(&server, engine, &options) < 0 ||
        greeter_Greeter_register(server, &greeter, self, nullptr) < 0 || weft_server_listen(server, "greeter:1") < 0 ||
        weft_server_start(server) < 0 || weft_channel_new(&channel, engine, "greeter:1", nullptr) < 0)
        return 1;

    weft_arena *arena = nullptr;
    char block[1024], name[] = "C++";
    weft_arena_init(&arena, block, sizeof block, 0);
    Greeter__HelloRequest request = GREETER__HELLO_REQUEST__INIT;
    Greeter__HelloResponse *response = nullptr;
    request.name = name;
    weft_status status = greeter_Greeter_Hello(channel, arena, nullptr, &request, &response);
    int failed = status.code != WEFT_OK || std::strcmp(response->text, "Hello C++") != 0 ||
                 std::strcmp(weft_version(), WEFT_VERSION_STRING) != 0;
    std::printf("weft %s: %s\n", weft_version(), failed ? status.message : response->text);

    weft_arena_fini(arena);
    weft_channel_free(channel);
    weft_server_free(server);
    return weft_engine_free(engine) == 0 ? failed : 1;
}
