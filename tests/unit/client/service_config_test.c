/* client/service_config.h */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/service_config.h"
#include "support/alloc_fault.h"

#define MS     INT64_C(1000000)
#define BIT(c) (UINT32_C(1) << (c))

static const char whole[] =
    "{\"methodConfig\": [\n"
    "  {\"name\": [{}], \"timeout\": \"30s\"},\n"
    "  {\"name\": [{\"service\": \"user.UserService\"}, {\"service\": \"a.B\", \"method\": \"\"}],\n"
    "   \"waitForReady\": true, \"maxRequestMessageBytes\": 1000, \"maxResponseMessageBytes\": 0,\n"
    "   \"retryPolicy\": {\"maxAttempts\": 3, \"initialBackoff\": \"0.1s\", \"maxBackoff\": \"1s\",\n"
    "                   \"backoffMultiplier\": 1.6, \"retryableStatusCodes\": [\"UNAVAILABLE\", 10, \"aborted\"],\n"
    "                   \"perAttemptRecvTimeout\": \"0.2s\"}},\n"
    "  {\"name\": [{\"service\": \"user.UserService\", \"method\": \"GetUser\"}], \"timeout\": \"0.250s\",\n"
    "   \"waitForReady\": false,\n"
    "   \"hedgingPolicy\": {\"maxAttempts\": 9, \"hedgingDelay\": \"0.05s\", \"nonFatalStatusCodes\": [14]}}],\n"
    " \"retryThrottling\": {\"maxTokens\": 10, \"tokenRatio\": 0.57},\n"
    " \"loadBalancingConfig\": [{\"grpclb\": {\"x\": 1}}, {\"least_request_experimental\": {\"choiceCount\": 3}},\n"
    "                         {\"round_robin\": {}}],\n"
    " \"healthCheckConfig\": {\"serviceName\": \"user.UserService\"}}\n";

static weft__service_config *config;
static weft__buf errors;
static char block[2048];

static int setup(void **state)
{
    (void)state;
    weft__buf_init_block(&errors, sizeof block - 1, block, sizeof block);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    weft__service_config_free(config);
    config = NULL;
    weft__buf_fini(&errors);
    return 0;
}

static void take(const char *text)
{
    weft__service_config_free(config);
    config = NULL;
    int rc = weft__service_config_new(&config, weft_sv_from(text), &errors);
    assert_string_equal(errors.data, "");
    assert_int_equal(rc, 0);
}

/* The text is wrong in the way that `expected` says, and in no other. */
static void assert_refused(const char *text, const char *expected)
{
    weft__service_config *refused = NULL;
    weft__buf_reset(&errors);
    assert_int_equal(weft__service_config_new(&refused, weft_sv_from(text), &errors), -EINVAL);
    assert_null(refused);
    assert_string_equal(errors.data, expected);
    weft__buf_reset(&errors);
}

/* What is wrong in `{"methodConfig":[{"name":[{}],…}]}` is told as `expected`, behind place and path of the method. */
static void assert_method_refused(const char *fields, const char *column, const char *expected)
{
    char text[1024];
    char line[1024];
    snprintf(text, sizeof text, "{\"methodConfig\":[{\n%s}]}", fields);
    snprintf(line, sizeof line, "2:%s: methodConfig[0].%s\n", column, expected);
    assert_refused(text, line);
}

static const weft__method_config *find(const char *path)
{
    return weft__service_config_find(config, weft_sv_from(path));
}

/* ---- What is taken ----------------------------------------------------------------------------------------------- */

static void every_field_is_read(void **state)
{
    (void)state;
    take(whole);
    const weft__method_config *method = find("/user.UserService/ListUsers");
    assert_ptr_equal(method, find("/a.B/C"));
    assert_true(method->timeout_ns == INT64_MAX);
    assert_true(method->has_wait_for_ready && method->wait_for_ready);
    assert_int_equal(method->max_request_bytes, 1000);
    assert_int_equal(method->max_response_bytes, 0);
    assert_null(method->hedging);
    assert_int_equal(method->retry->max_attempts, 3);
    assert_int_equal(method->retry->initial_backoff_ns, 100 * MS);
    assert_int_equal(method->retry->max_backoff_ns, 1000 * MS);
    assert_true(method->retry->backoff_multiplier > 1.59 && method->retry->backoff_multiplier < 1.61);
    assert_int_equal(method->retry->codes, BIT(WEFT_UNAVAILABLE) | BIT(WEFT_ABORTED));
    assert_int_equal(method->retry->attempt_timeout_ns, 200 * MS);

    method = find("/user.UserService/GetUser");
    assert_int_equal(method->timeout_ns, 250 * MS);
    assert_true(method->has_wait_for_ready && !method->wait_for_ready);
    assert_true(method->max_request_bytes == INT64_MAX);
    assert_null(method->retry);
    assert_int_equal(method->hedging->max_attempts, 5); /* as many as there may be */
    assert_int_equal(method->hedging->delay_ns, 50 * MS);
    assert_int_equal(method->hedging->codes, BIT(WEFT_UNAVAILABLE));

    assert_int_equal(config->max_tokens, 10000);
    assert_int_equal(config->token_ratio, 570);
    assert_int_equal(config->lb.policy, WEFT__LB_LEAST_REQUEST);
    assert_int_equal(config->lb.choices, 3);
    assert_string_equal(config->health_service, "user.UserService");
}

static void the_most_special_name_counts(void **state)
{
    (void)state;
    take(whole);
    assert_int_equal(find("/user.UserService/GetUser")->timeout_ns, 250 * MS);
    assert_true(find("/user.UserService/GetUsers")->timeout_ns == INT64_MAX);
    assert_int_equal(find("/user.UserServices/GetUser")->timeout_ns, 30000 * MS);
    assert_int_equal(find("/x/y")->timeout_ns, 30000 * MS);
    assert_int_equal(find("nonsense")->timeout_ns, 30000 * MS);
    assert_int_equal(find("")->timeout_ns, 30000 * MS);
    take("{\"methodConfig\":[{\"name\":[{\"service\":\"s\",\"method\":\"m\"}]}]}");
    assert_non_null(find("/s/m"));
    assert_null(find("/s/n"));
    assert_null(find("/t/m"));
}

static void finding_a_method_allocates_nothing(void **state)
{
    (void)state;
    take(whole);
    long before = weft_test_alloc_count();
    (void)find("/user.UserService/GetUser");
    (void)find("/user.UserService/ListUsers");
    (void)find("/x/y");
    assert_int_equal(weft_test_alloc_count(), before);
}

static void nothing_said_means_nothing_set(void **state)
{
    (void)state;
    static const char *const nothing[] = {
        "{}", "{\"methodConfig\":null,\"loadBalancingConfig\":[],\"retryThrottling\":null,\"healthCheckConfig\":{}}",
        "{\"methodConfig\":[{\"timeout\":\"1s\"},{\"name\":[]}]}"};
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
        take(nothing[i]);
        assert_null(find("/s/m"));
        assert_int_equal(config->lb.policy, WEFT__LB_UNSET);
        assert_int_equal(config->max_tokens, 0);
        assert_null(config->health_service);
    }
    take("{\"methodConfig\":[{\"name\":[{\"service\":null,\"method\":null}],\"timeout\":null,\"waitForReady\":null,"
         "\"retryPolicy\":null}]}");
    const weft__method_config *method = find("/s/m");
    assert_true(method->timeout_ns == INT64_MAX && method->max_response_bytes == INT64_MAX);
    assert_false(method->has_wait_for_ready);
    assert_null(method->retry);
}

static void keys_of_other_libraries_are_passed_over(void **state)
{
    (void)state;
    take("{\"connectionScaling\":{\"maxConnectionsPerSubchannel\":2},\"methodConfig\":[{\"name\":[{\"service\":\"s\","
         "\"x-own\":1}],\"somethingElse\":[{}]}]}");
    assert_non_null(find("/s/m"));
}

static void durations_are_those_of_protobuf(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {{"0s", 0},         {"1s", 1000 * MS},   {"1.5s", 1500 * MS},
                {".1s", 100 * MS}, {"0.000000001s", 1}, {"315576000000s", INT64_MAX}};
    static const char *const wrong[] = {"",    "s",    "1",  "1m",  "-1s",           "1.s",
                                        "1 s", "1e3s", ".s", "1ss", "1.0000000000s", "9999999999999s"};
    char text[128];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(text, sizeof text, "{\"methodConfig\":[{\"name\":[{}],\"timeout\":\"%s\"}]}", good[i].text);
        take(text);
        assert_true(find("/s/m")->timeout_ns == good[i].ns);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char expected[128];
        snprintf(text, sizeof text, "\"timeout\":\"%s\"", wrong[i]);
        snprintf(expected, sizeof expected, "timeout: expected a duration in seconds such as \"0.25s\", found \"%s\"",
                 wrong[i]);
        assert_method_refused(text, "11", expected);
    }
}

static void every_picker_has_its_name_and_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *entry;
        weft__lb_config lb;
    } all[] = {
        {"\"pick_first\":{\"shuffleAddressList\":true}", {.policy = WEFT__LB_PICK_FIRST, .shuffle = true}},
        {"\"random\":{}", {.policy = WEFT__LB_RANDOM}},
        {"\"round_robin\":{}", {.policy = WEFT__LB_ROUND_ROBIN}},
        {"\"weighted_round_robin\":{\"blackoutPeriod\":\"1s\"}", {.policy = WEFT__LB_WEIGHTED_ROUND_ROBIN}},
        {"\"least_request\":{\"choiceCount\":11}", {.policy = WEFT__LB_LEAST_REQUEST, .choices = 10}},
        {"\"p2c\":{\"decay\":\"2.5s\"}", {.policy = WEFT__LB_P2C, .decay_ms = 2500}},
        {"\"ring_hash\":{\"minRingSize\":1024,\"requestHashHeader\":\"user-id\",\"points\":200,\"maxLoadPercent\":150}",
         {.policy = WEFT__LB_RING_HASH, .metadata_key = "user-id", .points = 200, .max_load_percent = 150}},
        {"\"ring_hash_experimental\":{\"maxLoadPercent\":-1}", {.policy = WEFT__LB_RING_HASH, .max_load_percent = -1}},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"loadBalancingConfig\":[{%s}]}", all[i].entry);
        take(text);
        assert_int_equal(config->lb.policy, all[i].lb.policy);
        assert_int_equal(config->lb.shuffle, all[i].lb.shuffle);
        assert_int_equal(config->lb.choices, all[i].lb.choices);
        assert_int_equal(config->lb.decay_ms, all[i].lb.decay_ms);
        assert_int_equal(config->lb.points, all[i].lb.points);
        assert_int_equal(config->lb.max_load_percent, all[i].lb.max_load_percent);
        if (all[i].lb.metadata_key != NULL)
            assert_string_equal(config->lb.metadata_key, all[i].lb.metadata_key);
        else
            assert_null(config->lb.metadata_key);
    }
}

static void the_older_way_to_name_a_picker_counts_without_the_newer(void **state)
{
    (void)state;
    take("{\"loadBalancingPolicy\":\"ROUND_ROBIN\"}");
    assert_int_equal(config->lb.policy, WEFT__LB_ROUND_ROBIN);
    take("{\"loadBalancingPolicy\":\"ROUND_ROBIN\",\"loadBalancingConfig\":[{\"random\":{}}]}");
    assert_int_equal(config->lb.policy, WEFT__LB_RANDOM);
    take("{\"loadBalancingPolicy\":\"UNSPECIFIED\"}");
    assert_int_equal(config->lb.policy, WEFT__LB_UNSET);
}

/* ---- What is refused --------------------------------------------------------------------------------------------- */

static void any_number_of_attempts_above_five_is_five(void **state)
{
    (void)state;
    static const char *const many[] = {"5", "6", "4294967296", "1e300", "1e999"};
    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"methodConfig\":[{\"name\":[{}],\"hedgingPolicy\":{\"maxAttempts\":%s}}]}",
                 many[i]);
        take(text);
        assert_int_equal(find("/s/m")->hedging->max_attempts, 5);
    }
}

static void a_policy_says_what_is_wrong_with_it(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        const char *column;
        const char *expected;
    } wrong[] = {
        {"\"retryPolicy\":[]", "15", "retryPolicy: expected an object, found a list"},
        {"\"retryPolicy\":{\"maxAttempts\":2,\"initialBackoff\":\"1s\",\"maxBackoff\":\"1s\",\"backoffMultiplier\":1}",
         "15",
         "retryPolicy: \"retryableStatusCodes\" is missing or empty: name what to retry, such as \"UNAVAILABLE\""},
        {"\"retryPolicy\":{\"maxAttempts\":2,\"initialBackoff\":\"1s\",\"maxBackoff\":\"1s\",\"retryableStatusCodes\":"
         "[14]}",
         "15", "retryPolicy: \"backoffMultiplier\" is missing"},
        {"\"retryPolicy\":{\"maxAttempts\":1,\"initialBackoff\":\"1s\",\"maxBackoff\":\"1s\",\"backoffMultiplier\":1,"
         "\"retryableStatusCodes\":[14]}",
         "30", "retryPolicy.maxAttempts: expected a number of attempts, the first included, of at least 2, found 1"},
        {"\"retryPolicy\":{\"maxAttempts\":2,\"initialBackoff\":\"0s\",\"maxBackoff\":\"1s\",\"backoffMultiplier\":1,"
         "\"retryableStatusCodes\":[14]}",
         "49", "retryPolicy.initialBackoff: expected a duration in seconds above 0, such as \"0.25s\", found \"0s\""},
        {"\"retryPolicy\":{\"maxAttempts\":2,\"initialBackoff\":\"1s\",\"maxBackoff\":\"1s\",\"backoffMultiplier\":0,"
         "\"retryableStatusCodes\":[14]}",
         "92", "retryPolicy.backoffMultiplier: expected a number above 0, found 0"},
        {"\"hedgingPolicy\":{}", "17", "hedgingPolicy: \"maxAttempts\" is missing"},
        {"\"hedgingPolicy\":{\"maxAttempts\":2.5}", "32",
         "hedgingPolicy.maxAttempts: expected a number of attempts, the first included, of at least 2, found 2.5"},
        {"\"hedgingPolicy\":{\"maxAttempts\":2,\"nonFatalStatusCodes\":[14,\"UNAVAILBLE\"]}", "60",
         "hedgingPolicy.nonFatalStatusCodes[1]: expected the status code of a failure, such as \"UNAVAILABLE\" or 14, "
         "found \"UNAVAILBLE\""},
        {"\"hedgingPolicy\":{\"maxAttempts\":2,\"nonFatalStatusCodes\":[17]}", "57",
         "hedgingPolicy.nonFatalStatusCodes[0]: expected the status code of a failure, such as \"UNAVAILABLE\" or 14, "
         "found 17"},
        {"\"hedgingPolicy\":{\"maxAttempts\":2,\"nonFatalStatusCodes\":[true]}", "57",
         "hedgingPolicy.nonFatalStatusCodes[0]: expected the status code of a failure, such as \"UNAVAILABLE\" or 14, "
         "found true"},
        {"\"hedgingPolicy\":{\"maxAttempts\":2,\"nonFatalStatusCodes\":[\"OK\"]}", "57",
         "hedgingPolicy.nonFatalStatusCodes[0]: expected the status code of a failure, such as \"UNAVAILABLE\" or 14, "
         "found \"OK\""},
        {"\"hedgingPolicy\":{\"maxAttempts\":2,\"nonFatalStatusCodes\":14}", "56",
         "hedgingPolicy.nonFatalStatusCodes: expected a list of status codes, found 14"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_method_refused(wrong[i].fields, wrong[i].column, wrong[i].expected);
}

static void codes_may_be_left_out_where_attempts_have_a_time_of_their_own(void **state)
{
    (void)state;
    take("{\"methodConfig\":[{\"name\":[{}],\"retryPolicy\":{\"maxAttempts\":2,\"initialBackoff\":\"1s\","
         "\"maxBackoff\":\"1s\",\"backoffMultiplier\":1,\"perAttemptRecvTimeout\":\"1s\"}}]}");
    assert_int_equal(find("/s/m")->retry->codes, 0);
}

static void two_policies_for_one_method_exclude_each_other(void **state)
{
    (void)state;
    assert_refused("{\"methodConfig\":[{\"name\":[{}],\"hedgingPolicy\":{\"maxAttempts\":2},"
                   "\"retryPolicy\":{\"maxAttempts\":2,\"initialBackoff\":\"1s\",\"maxBackoff\":\"1s\","
                   "\"backoffMultiplier\":1,\"retryableStatusCodes\":[14]}}]}",
                   "1:18: methodConfig[0]: \"retryPolicy\" and \"hedgingPolicy\" exclude each other: remove one\n");
}

static void a_method_says_what_is_wrong_with_it(void **state)
{
    (void)state;
    assert_method_refused("\"waitForReady\":1", "16", "waitForReady: expected true or false, found 1");
    assert_method_refused("\"maxRequestMessageBytes\":-1", "26",
                          "maxRequestMessageBytes: expected a number of bytes, from 0 to 4294967295, found -1");
    assert_method_refused(
        "\"maxResponseMessageBytes\":4294967296", "27",
        "maxResponseMessageBytes: expected a number of bytes, from 0 to 4294967295, found 4294967296");
    assert_method_refused("\"maxRequestMessageBytes\":\"1\"", "26",
                          "maxRequestMessageBytes: expected a number of bytes, from 0 to 4294967295, found \"1\"");
    assert_method_refused("\"name\":{}", "8", "name: expected a list, found an object");
    assert_method_refused("\"name\":[1]", "9", "name[0]: expected an object, found 1");
    assert_method_refused("\"name\":[{\"method\":\"GetUser\"}]", "9", "name[0]: \"method\" needs its \"service\"");
    assert_method_refused("\"name\":[{\"service\":\"/user.UserService\"}]", "20",
                          "name[0].service: expected a name without '/': \"service\" is as \"user.UserService\", "
                          "\"method\" as \"GetUser\", found \"/user.UserService\"");
    assert_method_refused("\"name\":[{\"service\":\"s\"},{\"service\":\"s\"}]", "25",
                          "name[1]: this service is named already");
    assert_method_refused("\"name\":[{},{\"service\":\"\"}]", "12",
                          "name[1]: the default for all methods is there already");
    assert_refused("{\"methodConfig\":[{\"name\":[{\"service\":\"s\",\"method\":\"m\"}]},\n"
                   "{\"name\":[{\"service\":\"s\",\"method\":\"m\"}]}]}",
                   "2:10: methodConfig[1].name[0]: this method is named already\n");
    assert_refused("{\"methodConfig\":[7]}", "1:18: methodConfig[0]: expected an object, found 7\n");
    assert_refused("{\"methodConfig\":{}}", "1:17: methodConfig: expected a list, found an object\n");
    assert_refused("[]", "1:1: expected an object, found a list\n");
}

static void a_slip_of_the_pen_is_not_passed_over(void **state)
{
    (void)state;
    static const struct {
        const char *written;
        const char *meant;
    } slips[] = {{"timeouts", "timeout"},
                 {"tiemout", "timeout"},
                 {"Timeout", "timeout"},
                 {"wait_for_ready", "waitForReady"},
                 {"retrypolicy", "retryPolicy"},
                 {"retryPolcy", "retryPolicy"},
                 {"names", "name"},
                 {"hedgingPolicx", "hedgingPolicy"},
                 {"timeout\\n", "timeout"}};
    for (size_t i = 0; i < sizeof slips / sizeof slips[0]; i++) {
        char text[128];
        char expected[128];
        snprintf(text, sizeof text, "{\"methodConfig\":[{\n\"%s\"\n:1}]}", slips[i].written);
        snprintf(expected, sizeof expected, "3:2: methodConfig[0]: unknown key \"%s\"; did you mean \"%s\"?\n",
                 slips[i].written, slips[i].meant);
        assert_refused(text, expected);
    }
}

static void balancing_says_what_is_wrong_with_it(void **state)
{
    (void)state;
    assert_refused("{\"loadBalancingConfig\":[{\"round-robin\":{}},{\"xds\":{}}]}",
                   "1:24: loadBalancingConfig: none of these is known; there are pick_first, random, round_robin, "
                   "weighted_round_robin, least_request, p2c, ring_hash\n");
    assert_refused(
        "{\"loadBalancingConfig\":[{\"random\":{},\"p2c\":{}}]}",
        "1:25: loadBalancingConfig[0]: expected an object with one key, such as {\"round_robin\": {}}, found "
        "an object\n");
    assert_refused(
        "{\"loadBalancingConfig\":[\"random\"]}",
        "1:25: loadBalancingConfig[0]: expected an object with one key, such as {\"round_robin\": {}}, found "
        "\"random\"\n");
    assert_refused("{\"loadBalancingConfig\":[{\"random\":1}]}",
                   "1:35: loadBalancingConfig[0].random: expected an object, found 1\n");
    assert_refused(
        "{\"loadBalancingConfig\":[{\"least_request\":{\"choiceCount\":1}}]}",
        "1:57: loadBalancingConfig[0].least_request.choiceCount: expected a number of at least 2, found 1\n");
    assert_refused("{\"loadBalancingConfig\":[{\"p2c\":{\"decay\":\"0s\"}}]}",
                   "1:41: loadBalancingConfig[0].p2c.decay: expected a duration in seconds of at least \"0.001s\", "
                   "found \"0s\"\n");
    assert_refused("{\"loadBalancingConfig\":[{\"ring_hash\":{\"points\":0,\"maxLoadPercent\":100,"
                   "\"requestHashHeader\":\"Up\"}}]}",
                   "1:48: loadBalancingConfig[0].ring_hash.points: expected a number from 1 to 10000, found 0\n"
                   "1:67: loadBalancingConfig[0].ring_hash.maxLoadPercent: expected a percentage above 100, or -1 for "
                   "no limit, found 100\n"
                   "1:91: loadBalancingConfig[0].ring_hash.requestHashHeader: expected the key of a metadatum that "
                   "calls may send, not a \"-bin\" one, found \"Up\"\n");
    assert_refused("{\"loadBalancingPolicy\":\"xds\"}",
                   "1:24: loadBalancingPolicy: expected one of pick_first, random, round_robin, weighted_round_robin, "
                   "least_request, p2c, ring_hash, found \"xds\"\n");
}

static void throttling_and_health_say_what_is_wrong_with_them(void **state)
{
    (void)state;
    assert_refused("{\"retryThrottling\":{\"maxTokens\":0,\"tokenRatio\":0.0009}}",
                   "1:33: retryThrottling.maxTokens: expected a number from 0.001 to 1000, found 0\n"
                   "1:48: retryThrottling.tokenRatio: expected a number from 0.001 to 1000, found 0.0009\n");
    assert_refused("{\"retryThrottling\":{\"maxTokens\":1001}}",
                   "1:33: retryThrottling.maxTokens: expected a number from 0.001 to 1000, found 1001\n"
                   "1:20: retryThrottling: \"tokenRatio\" is missing\n");
    assert_refused("{\"healthCheckConfig\":{\"serviceName\":1}}",
                   "1:37: healthCheckConfig.serviceName: expected a string, found 1\n");
}

static void tokens_are_read_in_thousandths(void **state)
{
    (void)state;
    take("{\"retryThrottling\":{\"maxTokens\":1000,\"tokenRatio\":0.5678}}");
    assert_int_equal(config->max_tokens, 1000000);
    assert_int_equal(config->token_ratio, 567);
}

static void broken_json_and_too_much_of_it_are_refused(void **state)
{
    (void)state;
    assert_refused("{\"methodConfig\": [", "1:19: expected a value, found the end\n");
    char *text = calloc(1, WEFT__SERVICE_CONFIG_MAX_BYTES + 1);
    assert_non_null(text);
    memset(text, ' ', WEFT__SERVICE_CONFIG_MAX_BYTES + 1);
    memcpy(text, "{}", 2);
    weft__service_config *big = NULL;
    assert_int_equal(weft__service_config_new(&big, weft_sv_of(text, WEFT__SERVICE_CONFIG_MAX_BYTES), &errors), 0);
    weft__service_config_free(big);
    assert_int_equal(weft__service_config_new(&big, weft_sv_of(text, WEFT__SERVICE_CONFIG_MAX_BYTES + 1), &errors),
                     -EFBIG);
    assert_string_equal(errors.data, "1:1: longer than 262144 bytes\n");
    free(text);
}

static void many_names_are_all_found(void **state)
{
    (void)state;
    char *text = malloc(65536);
    assert_non_null(text);
    size_t len = (size_t)snprintf(text, 65536, "{\"methodConfig\":[{\"name\":[");
    for (int i = 0; i < 1000; i++)
        len +=
            (size_t)snprintf(text + len, 65536 - len, "%s{\"service\":\"s%d\",\"method\":\"m\"}", i > 0 ? "," : "", i);
    snprintf(text + len, 65536 - len, "]}]}");
    take(text);
    free(text);
    for (int i = 0; i < 1000; i++) {
        char path[32];
        snprintf(path, sizeof path, "/s%d/m", i);
        assert_non_null(find(path));
    }
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static int parse_whole(void *context)
{
    weft__service_config *made = NULL;
    weft__buf heap;
    weft__buf_init(&heap, 4096);
    int rc = weft__service_config_new(&made, weft_sv_from(context), &heap);
    weft__buf_fini(&heap);
    weft__service_config_free(made);
    return rc == -EINVAL ? 0 : rc;
}

static void memory_that_fails_is_told_and_none_is_lost(void **state)
{
    (void)state;
    assert_true(weft_test_oom_sweep(parse_whole, (void *)(uintptr_t)whole) >= 5);
    static char wrong[] = "{\"methodConfig\":[{\"timeout\":1,\"waitForReady\":2,\"name\":3},4]}";
    assert_true(weft_test_oom_sweep(parse_whole, wrong) >= 4);
}

/* An arena takes memory from the heap only now and then. The name shifts that to one allocation after the other. */
static void memory_may_fail_anywhere(void **state)
{
    (void)state;
    char text[4096];
    for (int pad = 0; pad < 1024; pad += 16) {
        size_t len = (size_t)snprintf(text, sizeof text, "{\"healthCheckConfig\":{\"serviceName\":\"%0*d\"},%s",
                                      pad + 1, 0, whole + 1);
        memcpy(strstr(text, ",\n \"healthCheckConfig\""), "}", 2); /* only one of them */
        assert_true(len < sizeof text);
        assert_true(weft_test_oom_sweep(parse_whole, text) >= 5);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_field_is_read),
        TEST(the_most_special_name_counts),
        TEST(finding_a_method_allocates_nothing),
        TEST(nothing_said_means_nothing_set),
        TEST(keys_of_other_libraries_are_passed_over),
        TEST(durations_are_those_of_protobuf),
        TEST(every_picker_has_its_name_and_parameters),
        TEST(the_older_way_to_name_a_picker_counts_without_the_newer),
        TEST(any_number_of_attempts_above_five_is_five),
        TEST(a_policy_says_what_is_wrong_with_it),
        TEST(codes_may_be_left_out_where_attempts_have_a_time_of_their_own),
        TEST(two_policies_for_one_method_exclude_each_other),
        TEST(a_method_says_what_is_wrong_with_it),
        TEST(a_slip_of_the_pen_is_not_passed_over),
        TEST(balancing_says_what_is_wrong_with_it),
        TEST(throttling_and_health_say_what_is_wrong_with_them),
        TEST(tokens_are_read_in_thousandths),
        TEST(broken_json_and_too_much_of_it_are_refused),
        TEST(many_names_are_all_found),
        TEST(memory_that_fails_is_told_and_none_is_lost),
        TEST(memory_may_fail_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
