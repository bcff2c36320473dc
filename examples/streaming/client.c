/* Sends each line of standard input and prints what comes back: streaming-client [HOST:PORT]. */
#include <stdio.h>
#include <string.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "shout.weft.h"

static int talk(weft_channel *channel)
{
    char text[1024];
    char block[4096];
    Shout__Line *answer;
    weft_arena *arena;
    shout_Shouter_Say_client *stream;
    int rc = shout_Shouter_Say(&stream, channel, NULL);
    if (rc < 0) {
        fprintf(stderr, "streaming-client: %s\n", strerror(-rc));
        return 1;
    }
    while (rc >= 0 && fgets(text, sizeof text, stdin) != NULL) {
        Shout__Line line = SHOUT__LINE__INIT;
        text[strcspn(text, "\n")] = '\0';
        line.text = text;
        rc = shout_Shouter_Say_client_send(stream, &line);
        if (rc == 0 && shout_Shouter_Say_client_recv(stream, &answer) > 0)
            printf("%s\n", answer->text);
    }
    weft_arena_init(&arena, block, sizeof block, 0);
    weft_status status = shout_Shouter_Say_client_finish(stream, arena); /* half-closes, and frees the stream */
    if (status.code != WEFT_OK)
        fprintf(stderr, "%s: %s\n", weft_code_name(status.code), status.message);
    weft_arena_fini(arena);
    return status.code == WEFT_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    weft_engine *engine = NULL;
    weft_channel *channel = NULL;
    int rc = weft_core_engine_new(&engine, NULL);
    if (rc == 0)
        rc = weft_channel_new(&channel, engine, argc > 1 ? argv[1] : "127.0.0.1:50051", NULL);
    if (rc < 0)
        fprintf(stderr, "streaming-client: %s\n", strerror(-rc));
    int result = rc < 0 ? 1 : talk(channel);
    weft_channel_free(channel);
    weft_engine_free(engine);
    return result;
}
