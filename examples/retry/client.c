/* A client that does not give up at once: retry-client NAME TARGET. How often to try again, and after what, is said by
 * the service config; the call itself is like any other. */
#include <stdio.h>
#include <string.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "greeter.weft.h"

static const char *const service_config =
    "{\"methodConfig\": [{"
    "  \"name\": [{\"service\": \"greeter.Greeter\"}],"
    "  \"timeout\": \"5s\","
    "  \"retryPolicy\": {"
    "    \"maxAttempts\": 4, \"initialBackoff\": \"0.05s\", \"maxBackoff\": \"1s\", \"backoffMultiplier\": 2,"
    "    \"retryableStatusCodes\": [\"UNAVAILABLE\"]"
    "  }}],"
    " \"retryThrottling\": {\"maxTokens\": 100, \"tokenRatio\": 0.1}}";

static int greet(weft_channel *channel, char *name)
{
    char block[4096];
    weft_arena *arena;
    weft_arena_init(&arena, block, sizeof block, 1 << 20);

    Greeter__HelloRequest request = GREETER__HELLO_REQUEST__INIT;
    request.name = name;
    Greeter__HelloResponse *response = NULL;
    weft_status status = greeter_Greeter_Hello(channel, arena, NULL, &request, &response);
    if (status.code == WEFT_OK)
        printf("%s\n", response->text);
    else
        fprintf(stderr, "%s: %s\n", weft_code_name(status.code), status.message);
    weft_arena_fini(arena);
    return status.code == WEFT_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: retry-client NAME TARGET\n");
        return 2;
    }
    weft_engine *engine = NULL;
    weft_channel *channel = NULL;
    weft_log *log = NULL;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    int rc = weft_log_new(&log, NULL); /* is told where the service config is wrong */
    options.log = log;
    options.service_config = service_config;
    if (rc == 0)
        rc = weft_core_engine_new(&engine, NULL);
    if (rc == 0)
        rc = weft_channel_new(&channel, engine, argv[2], &options);
    if (rc < 0)
        fprintf(stderr, "retry-client: %s\n", strerror(-rc));
    int result = rc < 0 ? 1 : greet(channel, argv[1]);
    weft_channel_free(channel);
    weft_engine_free(engine);
    weft_log_free(log);
    return result;
}
