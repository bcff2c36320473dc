/* Whatever the text says: it is refused with a reason, in whole lines, or what came out of it keeps the promises that
 * whoever retries by it relies on.
 */
#include <errno.h>
#include <string.h>

#include "client/service_config.h"
#include "fuzz/fuzz.h"

static void require_sound(const weft__method_config *method)
{
    const weft__retry_policy *retry = method->retry;
    const weft__hedging_policy *hedging = method->hedging;
    FUZZ_REQUIRE(method->timeout_ns >= 0 && method->max_request_bytes >= 0 && method->max_response_bytes >= 0);
    FUZZ_REQUIRE(retry == NULL || hedging == NULL);
    if (retry != NULL) {
        FUZZ_REQUIRE(retry->max_attempts >= 2 && retry->max_attempts <= WEFT__MAX_ATTEMPTS);
        FUZZ_REQUIRE(retry->attempt_timeout_ns > 0 && retry->backoff_multiplier > 0);
        FUZZ_REQUIRE(retry->codes != 0 || retry->attempt_timeout_ns < INT64_MAX);
        FUZZ_REQUIRE(!weft__codes_have(retry->codes, WEFT_OK) && retry->codes >> (WEFT_UNAUTHENTICATED + 1) == 0);
        for (int n = 1; n < retry->max_attempts; n++) {
            int64_t wait = weft__retry_backoff_ns(retry, n, weft__random_system());
            FUZZ_REQUIRE(wait >= 0 && wait <= retry->max_backoff_ns);
        }
    }
    if (hedging != NULL) {
        FUZZ_REQUIRE(hedging->max_attempts >= 2 && hedging->max_attempts <= WEFT__MAX_ATTEMPTS);
        FUZZ_REQUIRE(hedging->delay_ns >= 0 && !weft__codes_have(hedging->codes, WEFT_OK));
    }
}

static void require_all_sound(const weft__service_config *config)
{
    size_t cursor = 0;
    weft_sv path;
    void *method;
    while (weft__table_next(&config->methods, &cursor, &path, &method)) {
        FUZZ_REQUIRE(weft__service_config_find(config, path) == method);
        require_sound(method);
    }
    if (config->fallback != NULL)
        require_sound(config->fallback);
    FUZZ_REQUIRE(weft__service_config_find(config, weft_sv_from("none")) == config->fallback);
    FUZZ_REQUIRE((config->max_tokens > 0) == (config->token_ratio > 0));
    FUZZ_REQUIRE(config->max_tokens <= 1000000 && config->token_ratio <= 1000000);
    FUZZ_REQUIRE(config->lb.choices >= 0 && config->lb.choices <= 10 && config->lb.decay_ms >= 0);
    FUZZ_REQUIRE(config->lb.max_load_percent >= -1 && config->lb.points >= 0 && config->lb.points <= 10000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char block[4096];
    weft__buf errors;
    weft__service_config *config = NULL;
    weft__buf_init_block(&errors, sizeof block - 1, block, sizeof block);
    int rc = weft__service_config_new(&config, weft_sv_of(data, len), &errors);
    FUZZ_REQUIRE(rc == 0 || rc == -EINVAL || rc == -EFBIG || rc == -ENOMEM);
    FUZZ_REQUIRE((rc == 0) == (config != NULL));
    FUZZ_REQUIRE(rc == -ENOMEM || (rc == 0) == (errors.len == 0 && errors.failed == 0));
    FUZZ_REQUIRE(errors.len == strlen(errors.data));
    FUZZ_REQUIRE(errors.len == 0 || errors.data[errors.len - 1] == '\n');
    if (config != NULL)
        require_all_sound(config);
    weft__service_config_free(config);
    weft__buf_fini(&errors);
    return 0;
}
