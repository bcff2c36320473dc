/* Whatever the file says: mistakes are counted and told as whole lines, and what was taken survives being written down
 * and read again.
 */
#include <errno.h>
#include <string.h>

#include <weft/config.h>

#include "fuzz/fuzz.h"

static const weft_config_key keys[] = {
    {.name = "listen", .type = WEFT_CONFIG_LIST, .fallback = "127.0.0.1:50051", .doc = "Where to serve"},
    {.name = "a.text", .type = WEFT_CONFIG_STRING, .fallback = "x"},
    {.name = "a.count", .type = WEFT_CONFIG_INT, .fallback = "4", .min = -8, .max = 64},
    {.name = "a.b.on", .type = WEFT_CONFIG_BOOL, .fallback = "false"},
    {.name = "a.b.time", .type = WEFT_CONFIG_DURATION, .fallback = "5s"},
    {.name = "size", .type = WEFT_CONFIG_SIZE, .fallback = "4MiB"},
    {.name = "level", .type = WEFT_CONFIG_STRING, .fallback = "info", .choices = "debug|info"},
};

static weft_config *make(char *errors, size_t size)
{
    weft_config *config;
    weft_config_options options = WEFT_CONFIG_OPTIONS_INIT;
    options.keys = keys;
    options.key_count = sizeof keys / sizeof keys[0];
    options.errors = errors;
    options.errors_size = size;
    FUZZ_REQUIRE(weft_config_new(&config, &options) == 0);
    return config;
}

static void require_same(const weft_config *a, const weft_config *b)
{
    size_t a_count;
    size_t b_count;
    const char *const *a_items = weft_config_list(a, "listen", &a_count);
    const char *const *b_items = weft_config_list(b, "listen", &b_count);
    FUZZ_REQUIRE(a_count == b_count);
    for (size_t i = 0; i < a_count; i++)
        FUZZ_REQUIRE(strcmp(a_items[i], b_items[i]) == 0);
    FUZZ_REQUIRE(strcmp(weft_config_string(a, "a.text"), weft_config_string(b, "a.text")) == 0);
    FUZZ_REQUIRE(strcmp(weft_config_string(a, "level"), weft_config_string(b, "level")) == 0);
    FUZZ_REQUIRE(weft_config_int(a, "a.count") == weft_config_int(b, "a.count"));
    FUZZ_REQUIRE(weft_config_bool(a, "a.b.on") == weft_config_bool(b, "a.b.on"));
    FUZZ_REQUIRE(weft_config_duration_ms(a, "a.b.time") == weft_config_duration_ms(b, "a.b.time"));
    FUZZ_REQUIRE(weft_config_size_bytes(a, "size") == weft_config_size_bytes(b, "size"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char errors[4096];
    char errors_again[4096];
    weft_arena *arena;
    weft_config *config = make(errors, sizeof errors);
    weft_config *again = make(errors_again, sizeof errors_again);
    FUZZ_REQUIRE(weft_arena_new(&arena, 0) == 0);

    int rc = weft_config_read_text(config, "f", weft_sv_of(data, len));
    FUZZ_REQUIRE(rc == 0 || rc == -EINVAL || rc == -EFBIG || rc == -ENOMEM);
    FUZZ_REQUIRE(rc == -ENOMEM || (rc == 0) == (weft_config_error_count(config) == 0));
    FUZZ_REQUIRE(errors[0] == '\0' || errors[strlen(errors) - 1] == '\n');

    char *text = weft_config_format(config, arena);
    FUZZ_REQUIRE(text != NULL);
    weft_sv view = weft_sv_from(text);
    if (view.len <= WEFT_CONFIG_MAX_FILE_BYTES && rc != -ENOMEM) {
        FUZZ_REQUIRE(weft_config_read_text(again, "again", view) == 0);
        require_same(config, again);
    }
    weft_arena_free(arena);
    weft_config_free(again);
    weft_config_free(config);
    return 0;
}
