/* Design notes
 *
 * The text becomes a tree (json_read.h), and the tree is walked once. Each kind of object has a table of its fields; a
 * field has a function that reads its value into the struct that the object is for. A mistake is reported with its
 * place and the walk goes on, so that all are told at once; at the end any mistake refuses the whole, since half of a
 * retry policy may do harm (A21).
 *
 * null stands for a value that is not there, as in all of protobuf's JSON.
 */
#include "client/service_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json_read.h"
#include "base/json_write.h"

#define NS_PER_SECOND INT64_C(1000000000)
#define NS_PER_MS     INT64_C(1000000)
#define PATH_SIZE     192 /* longer than any path of known keys and numbers */
#define MAX_FIELDS    8   /* of one table */
#define SHOWN_BYTES   64  /* of an unknown key */

struct reader {
    weft__service_config *config;
    weft__buf *errors;
    size_t mistakes;
    char path[PATH_SIZE];
    size_t path_len;
};

/* A field of an object, and where its value goes in the object's struct. */
struct field {
    const char *key;
    void (*read)(struct reader *reader, const weft__json_node *node, void *out); /* NULL: known, and of no use here */
    size_t offset;
    bool required;
};

/* ---- Paths and mistakes ------------------------------------------------------------------------------------------ */

/* Adds to the path. @return its length before, for pop. */
static size_t push_key(struct reader *reader, const char *key)
{
    size_t before = reader->path_len;
    snprintf(reader->path + before, PATH_SIZE - before, "%s%s", before > 0 ? "." : "", key);
    reader->path_len = strlen(reader->path);
    return before;
}

static size_t push_index(struct reader *reader, size_t index)
{
    size_t before = reader->path_len;
    snprintf(reader->path + before, PATH_SIZE - before, "[%zu]", index);
    reader->path_len = strlen(reader->path);
    return before;
}

static void pop(struct reader *reader, size_t before)
{
    reader->path_len = before;
    reader->path[before] = '\0';
}

#define REPORT(reader, node, ...)                                                                                      \
    do {                                                                                                               \
        (reader)->mistakes++;                                                                                          \
        weft__json_report((reader)->errors, (node)->line, (node)->column, (reader)->path, __VA_ARGS__);                \
    } while (0)

/* Reports a value that is not what it should be. */
static void expected(struct reader *reader, const weft__json_node *node, const char *what)
{
    char block[256];
    weft__buf shown;
    weft__buf_init_block(&shown, sizeof block - 1, block, sizeof block);
    weft__json_show(&shown, node);
    REPORT(reader, node, "expected %s, found %s", what, shown.data);
}

/* ---- Objects ----------------------------------------------------------------------------------------------------- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool equal_in_any_case(weft_sv a, const char *b)
{
    size_t i = 0;
    while (i < a.len && b[i] != '\0' && lower(a.data[i]) == lower(b[i]))
        i++;
    return i == a.len && b[i] == '\0';
}

/* Whether a key looks like a slip for a known one: the same but for case and underscores, or one letter is too much,
   missing, wrong, or changed places with its neighbour. */
static bool is_slip(weft_sv key, const char *known)
{
    char plain[64];
    size_t len = 0;
    size_t known_len = strlen(known);
    if (key.len > known_len + known_len / 2 + 2 || key.len >= sizeof plain)
        return false;
    for (size_t i = 0; i < key.len; i++)
        if (key.data[i] != '_')
            plain[len++] = key.data[i];
    if (equal_in_any_case(weft_sv_of(plain, len), known))
        return true;
    size_t front = 0;
    while (front < len && front < known_len && lower(plain[front]) == lower(known[front]))
        front++;
    size_t back = 0;
    while (back < len - front && back < known_len - front &&
           lower(plain[len - 1 - back]) == lower(known[known_len - 1 - back]))
        back++;
    size_t left = len - front - back;
    size_t known_left = known_len - front - back;
    if (left == 2 && known_left == 2)
        return lower(plain[front]) == lower(known[front + 1]) && lower(plain[front + 1]) == lower(known[front]);
    return known_len >= 4 && left <= 1 && known_left <= 1;
}

/* A key that no table has: meant for another library, or a mistake. */
static void unknown_key(struct reader *reader, const weft__json_node *member, const struct field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char block[256];
        weft__buf shown;
        if (!is_slip(member->key, fields[i].key))
            continue;
        weft__buf_init_block(&shown, sizeof block - 1, block, sizeof block);
        weft__json_escape(&shown, member->key, SHOWN_BYTES);
        REPORT(reader, member, "unknown key \"%s\"; did you mean \"%s\"?", shown.data, fields[i].key);
        return;
    }
}

static const struct field *find_field(const struct field *fields, size_t count, weft_sv key)
{
    for (size_t i = 0; i < count; i++)
        if (weft_sv_is(key, fields[i].key))
            return &fields[i];
    return NULL;
}

/* Reads an object into its struct, which has its defaults. @return whether it is without a mistake. */
static bool read_object(struct reader *reader, const weft__json_node *node, const struct field *fields, size_t count,
                        void *out)
{
    size_t mistakes_before = reader->mistakes;
    bool there[MAX_FIELDS] = {false};
    if (node->kind != WEFT__JSON_OBJECT) {
        expected(reader, node, "an object");
        return false;
    }
    for (const weft__json_node *member = node->first; member != NULL; member = member->next) {
        const struct field *field = find_field(fields, count, member->key);
        if (field == NULL) {
            unknown_key(reader, member, fields, count);
        } else if (member->kind != WEFT__JSON_NULL && field->read != NULL) {
            there[field - fields] = true;
            size_t before = push_key(reader, field->key);
            field->read(reader, member, (char *)out + field->offset);
            pop(reader, before);
        }
    }
    for (size_t i = 0; i < count; i++)
        if (fields[i].required && !there[i])
            REPORT(reader, node, "\"%s\" is missing", fields[i].key);
    return reader->mistakes == mistakes_before;
}

#define READ_OBJECT(reader, node, fields, out)                                                                         \
    read_object((reader), (node), (fields), sizeof(fields) / sizeof((fields)[0]), (out))

/* ---- Values ------------------------------------------------------------------------------------------------------ */

static void read_bool(struct reader *reader, const weft__json_node *node, void *out)
{
    if (node->kind != WEFT__JSON_BOOL)
        expected(reader, node, "true or false");
    else
        *(bool *)out = node->number > 0;
}

static void read_string(struct reader *reader, const weft__json_node *node, void *out)
{
    if (node->kind != WEFT__JSON_STRING)
        expected(reader, node, "a string");
    else
        *(const char **)out = weft_arena_svdup(reader->config->arena, node->text);
}

/* Leaves the node for later. */
static void read_list(struct reader *reader, const weft__json_node *node, void *out)
{
    if (node->kind != WEFT__JSON_LIST)
        expected(reader, node, "a list");
    else
        *(const weft__json_node **)out = node;
}

/* A whole number; what is over `max` counts as `max`. */
static bool integer_of(const weft__json_node *node, int64_t min, int64_t max, int64_t *out)
{
    if (node->kind != WEFT__JSON_NUMBER || !(node->number >= (double)min))
        return false;
    if (node->number >= 0x1p53) {
        *out = max;
        return true;
    }
    int64_t whole = (int64_t)node->number;
    *out = whole < max ? whole : max;
    return !((double)whole < node->number || (double)whole > node->number);
}

static void read_message_limit(struct reader *reader, const weft__json_node *node, void *out)
{
    int64_t bytes;
    if (!integer_of(node, 0, INT64_MAX, &bytes) || bytes > UINT32_MAX)
        expected(reader, node, "a number of bytes, from 0 to 4294967295");
    else
        *(int64_t *)out = bytes;
}

static void read_attempts(struct reader *reader, const weft__json_node *node, void *out)
{
    int64_t attempts;
    if (!integer_of(node, 2, WEFT__MAX_ATTEMPTS, &attempts))
        expected(reader, node, "a number of attempts, the first included, of at least 2");
    else
        *(int *)out = (int)attempts;
}

static void read_multiplier(struct reader *reader, const weft__json_node *node, void *out)
{
    if (node->kind != WEFT__JSON_NUMBER || !(node->number > 0 && node->number <= 1e6))
        expected(reader, node, "a number above 0");
    else
        *(double *)out = node->number;
}

/* Digits at *p, at most `most` of them count, as if there were zeros up to `most` behind a fraction. */
static int64_t read_digits(const char **p, const char *end, int most, bool fraction)
{
    int64_t value = 0;
    int count = 0;
    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++, count++)
        if (count < most)
            value = value * 10 + (**p - '0');
    if (count > most)
        return -1;
    for (; fraction && count < most; count++)
        value *= 10;
    return value;
}

/* Protobuf's JSON for a duration: seconds, up to nine digits of a fraction, and "s". What does not fit into 64 bits
   (292 years) counts as for ever. */
static bool duration_of(const weft__json_node *node, int64_t *out)
{
    if (node->kind != WEFT__JSON_STRING || node->text.len < 2)
        return false;
    const char *p = node->text.data;
    const char *end = p + node->text.len - 1;
    const char *start = p;
    if (*end != 's')
        return false;
    int64_t seconds = read_digits(&p, end, 12, false);
    int64_t fraction = 0;
    bool any = p > start;
    if (p < end && *p == '.') {
        start = ++p;
        fraction = read_digits(&p, end, 9, true);
        any = p > start;
    }
    if (!any || p != end || seconds < 0 || fraction < 0)
        return false;
    *out = seconds >= INT64_MAX / NS_PER_SECOND ? INT64_MAX : seconds * NS_PER_SECOND + fraction;
    return true;
}

static void read_duration(struct reader *reader, const weft__json_node *node, void *out)
{
    if (!duration_of(node, out))
        expected(reader, node, "a duration in seconds such as \"0.25s\"");
}

static void read_positive_duration(struct reader *reader, const weft__json_node *node, void *out)
{
    int64_t ns;
    if (!duration_of(node, &ns) || ns == 0)
        expected(reader, node, "a duration in seconds above 0, such as \"0.25s\"");
    else
        *(int64_t *)out = ns;
}

static bool code_of(const weft__json_node *node, int64_t *code)
{
    if (node->kind == WEFT__JSON_NUMBER)
        return integer_of(node, 1, INT64_MAX, code) && *code <= WEFT_UNAUTHENTICATED;
    if (node->kind != WEFT__JSON_STRING)
        return false;
    for (*code = 1; *code <= WEFT_UNAUTHENTICATED; ++*code)
        if (equal_in_any_case(node->text, weft_code_name((weft_code)*code)))
            return true;
    return false;
}

static void read_codes(struct reader *reader, const weft__json_node *node, void *out)
{
    uint32_t codes = 0;
    size_t index = 0;
    if (node->kind != WEFT__JSON_LIST) {
        expected(reader, node, "a list of status codes");
        return;
    }
    for (const weft__json_node *item = node->first; item != NULL; item = item->next) {
        int64_t code;
        size_t before = push_index(reader, index++);
        if (code_of(item, &code))
            codes |= UINT32_C(1) << code;
        else
            expected(reader, item, "the status code of a failure, such as \"UNAVAILABLE\" or 14");
        pop(reader, before);
    }
    *(uint32_t *)out = codes;
}

/* ---- Methods ----------------------------------------------------------------------------------------------------- */

static const struct field retry_fields[] = {
    {"maxAttempts", read_attempts, offsetof(weft__retry_policy, max_attempts), true},
    {"initialBackoff", read_positive_duration, offsetof(weft__retry_policy, initial_backoff_ns), true},
    {"maxBackoff", read_positive_duration, offsetof(weft__retry_policy, max_backoff_ns), true},
    {"backoffMultiplier", read_multiplier, offsetof(weft__retry_policy, backoff_multiplier), true},
    {"retryableStatusCodes", read_codes, offsetof(weft__retry_policy, codes), false},
    {"perAttemptRecvTimeout", read_positive_duration, offsetof(weft__retry_policy, attempt_timeout_ns), false},
};

static void read_retry(struct reader *reader, const weft__json_node *node, void *out)
{
    weft__retry_policy *policy = weft_arena_zalloc(reader->config->arena, sizeof *policy);
    if (policy == NULL)
        return;
    policy->attempt_timeout_ns = INT64_MAX;
    if (READ_OBJECT(reader, node, retry_fields, policy) && policy->codes == 0 &&
        policy->attempt_timeout_ns == INT64_MAX)
        REPORT(reader, node,
               "\"retryableStatusCodes\" is missing or empty: name what to retry, such as \"UNAVAILABLE\"");
    *(const weft__retry_policy **)out = policy;
}

static const struct field hedging_fields[] = {
    {"maxAttempts", read_attempts, offsetof(weft__hedging_policy, max_attempts), true},
    {"hedgingDelay", read_duration, offsetof(weft__hedging_policy, delay_ns), false},
    {"nonFatalStatusCodes", read_codes, offsetof(weft__hedging_policy, codes), false},
};

static void read_hedging(struct reader *reader, const weft__json_node *node, void *out)
{
    weft__hedging_policy *policy = weft_arena_zalloc(reader->config->arena, sizeof *policy);
    if (policy == NULL)
        return;
    (void)READ_OBJECT(reader, node, hedging_fields, policy);
    *(const weft__hedging_policy **)out = policy;
}

/* Whether a call waits for a connection when it does not say itself. */
static void read_wait_for_ready(struct reader *reader, const weft__json_node *node, void *out)
{
    weft__method_config *method = out;
    method->has_wait_for_ready = true;
    read_bool(reader, node, &method->wait_for_ready);
}

struct method {
    weft__method_config config; /* first */
    const weft__json_node *names;
};

static const struct field method_fields[] = {
    {"name", read_list, offsetof(struct method, names), false},
    {"timeout", read_duration, offsetof(struct method, config.timeout_ns), false},
    {"waitForReady", read_wait_for_ready, offsetof(struct method, config), false},
    {"maxRequestMessageBytes", read_message_limit, offsetof(struct method, config.max_request_bytes), false},
    {"maxResponseMessageBytes", read_message_limit, offsetof(struct method, config.max_response_bytes), false},
    {"retryPolicy", read_retry, offsetof(struct method, config.retry), false},
    {"hedgingPolicy", read_hedging, offsetof(struct method, config.hedging), false},
};

/* One part of a path. */
static void read_name_part(struct reader *reader, const weft__json_node *node, void *out)
{
    if (node->kind != WEFT__JSON_STRING || memchr(node->text.data, '/', node->text.len) != NULL)
        expected(reader, node, "a name without '/': \"service\" is as \"user.UserService\", \"method\" as \"GetUser\"");
    else
        *(weft_sv *)out = node->text;
}

struct name {
    weft_sv service;
    weft_sv method;
};

static const struct field name_fields[] = {
    {"service", read_name_part, offsetof(struct name, service), false},
    {"method", read_name_part, offsetof(struct name, method), false},
};

/* Enters a method's configuration under one of its names. @return -ENOMEM of the table, else 0. */
static int read_name(struct reader *reader, const weft__json_node *node, struct method *method)
{
    weft__service_config *config = reader->config;
    struct name name = {0};
    if (!READ_OBJECT(reader, node, name_fields, &name))
        return 0;
    if (name.service.len == 0 && name.method.len > 0) {
        REPORT(reader, node, "\"method\" needs its \"service\"");
        return 0;
    }
    if (name.service.len == 0) {
        if (config->fallback != NULL)
            REPORT(reader, node, "the default for all methods is there already");
        config->fallback = &method->config;
        return 0;
    }
    char *path = weft_arena_printf(config->arena, "/%.*s/%.*s", WEFT_SV_ARG(name.service), (int)name.method.len,
                                   name.method.len > 0 ? name.method.data : "");
    if (path == NULL)
        return -ENOMEM;
    int rc = weft__table_put(&config->methods, weft_sv_from(path), &method->config);
    if (rc != -EEXIST)
        return rc;
    REPORT(reader, node, "this %s is named already", name.method.len > 0 ? "method" : "service");
    return 0;
}

static int read_method(struct reader *reader, const weft__json_node *node)
{
    int rc = 0;
    size_t index = 0;
    struct method *method = weft_arena_zalloc(reader->config->arena, sizeof *method);
    if (method == NULL)
        return -ENOMEM;
    method->config.timeout_ns = INT64_MAX;
    method->config.max_request_bytes = INT64_MAX;
    method->config.max_response_bytes = INT64_MAX;
    (void)READ_OBJECT(reader, node, method_fields, method);
    if (method->config.retry != NULL && method->config.hedging != NULL)
        REPORT(reader, node, "\"retryPolicy\" and \"hedgingPolicy\" exclude each other: remove one");
    if (method->names == NULL)
        return 0;
    size_t before = push_key(reader, "name");
    for (const weft__json_node *item = method->names->first; item != NULL && rc == 0; item = item->next) {
        size_t outer = push_index(reader, index++);
        rc = read_name(reader, item, method);
        pop(reader, outer);
    }
    pop(reader, before);
    method->names = NULL; /* the tree goes before the configuration does */
    return rc;
}

static int read_methods(struct reader *reader, const weft__json_node *list)
{
    int rc = 0;
    size_t index = 0;
    size_t before = push_key(reader, "methodConfig");
    for (const weft__json_node *item = list->first; item != NULL && rc == 0; item = item->next) {
        size_t outer = push_index(reader, index++);
        rc = read_method(reader, item);
        pop(reader, outer);
    }
    pop(reader, before);
    return rc;
}

/* ---- Balancing --------------------------------------------------------------------------------------------------- */

/* More choices than ten are taken as ten (A48). */
static void read_choices(struct reader *reader, const weft__json_node *node, void *out)
{
    int64_t choices;
    if (!integer_of(node, 2, 10, &choices))
        expected(reader, node, "a number of at least 2");
    else
        *(int *)out = (int)choices;
}

static void read_decay(struct reader *reader, const weft__json_node *node, void *out)
{
    int64_t ns;
    if (!duration_of(node, &ns) || ns < NS_PER_MS)
        expected(reader, node, "a duration in seconds of at least \"0.001s\"");
    else
        *(int64_t *)out = ns / NS_PER_MS;
}

static void read_metadata_key(struct reader *reader, const weft__json_node *node, void *out)
{
    bool binary = node->text.len >= 4 && memcmp(node->text.data + node->text.len - 4, "-bin", 4) == 0;
    if (node->kind != WEFT__JSON_STRING || binary || weft_metadata_check(node->text, weft_sv_from("x")) < 0)
        expected(reader, node, "the key of a metadatum that calls may send, not a \"-bin\" one");
    else
        read_string(reader, node, out);
}

static void read_points(struct reader *reader, const weft__json_node *node, void *out)
{
    int64_t points;
    if (!integer_of(node, 1, INT64_MAX, &points) || points > 10000)
        expected(reader, node, "a number from 1 to 10000");
    else
        *(int64_t *)out = points;
}

static void read_load(struct reader *reader, const weft__json_node *node, void *out)
{
    int64_t percent;
    if (!integer_of(node, -1, INT64_MAX, &percent) || (percent != -1 && (percent <= 100 || percent > INT32_MAX)))
        expected(reader, node, "a percentage above 100, or -1 for no limit");
    else
        *(int64_t *)out = percent;
}

static const struct field pick_first_fields[] = {
    {"shuffleAddressList", read_bool, offsetof(weft__lb_config, shuffle), false},
};
static const struct field least_request_fields[] = {
    {"choiceCount", read_choices, offsetof(weft__lb_config, choices), false},
};
static const struct field p2c_fields[] = {
    {"decay", read_decay, offsetof(weft__lb_config, decay_ms), false},
};
static const struct field ring_hash_fields[] = {
    {"requestHashHeader", read_metadata_key, offsetof(weft__lb_config, metadata_key), false},
    {"points", read_points, offsetof(weft__lb_config, points), false},
    {"maxLoadPercent", read_load, offsetof(weft__lb_config, max_load_percent), false},
    {"minRingSize", NULL, 0, false}, /* Weft's ring has as many points as its endpoints have */
    {"maxRingSize", NULL, 0, false},
};

#define FIELDS(fields) (fields), sizeof(fields) / sizeof((fields)[0])

static const struct picker {
    const char *name;
    weft__lb_policy policy;
    const struct field *fields;
    size_t field_count;
} pickers[] = {
    {"pick_first", WEFT__LB_PICK_FIRST, FIELDS(pick_first_fields)},
    {"random", WEFT__LB_RANDOM, NULL, 0},
    {"round_robin", WEFT__LB_ROUND_ROBIN, NULL, 0},
    {"weighted_round_robin", WEFT__LB_WEIGHTED_ROUND_ROBIN, NULL, 0},
    {"least_request", WEFT__LB_LEAST_REQUEST, FIELDS(least_request_fields)},
    {"least_request_experimental", WEFT__LB_LEAST_REQUEST, FIELDS(least_request_fields)},
    {"p2c", WEFT__LB_P2C, FIELDS(p2c_fields)},
    {"ring_hash", WEFT__LB_RING_HASH, FIELDS(ring_hash_fields)},
    {"ring_hash_experimental", WEFT__LB_RING_HASH, FIELDS(ring_hash_fields)},
};

#define PICKER_NAMES "pick_first, random, round_robin, weighted_round_robin, least_request, p2c, ring_hash"

static const struct picker *find_picker(weft_sv name, bool any_case)
{
    for (size_t i = 0; i < sizeof pickers / sizeof pickers[0]; i++)
        if (any_case ? equal_in_any_case(name, pickers[i].name) : weft_sv_is(name, pickers[i].name))
            return &pickers[i];
    return NULL;
}

/* One entry of the list. @return whether it names a picker of ours: the first that does counts. */
static bool read_policy(struct reader *reader, const weft__json_node *node)
{
    if (node->kind != WEFT__JSON_OBJECT || node->first == NULL || node->first->next != NULL) {
        expected(reader, node, "an object with one key, such as {\"round_robin\": {}}");
        return false;
    }
    const weft__json_node *member = node->first;
    const struct picker *picker = find_picker(member->key, false);
    if (picker == NULL)
        return false;
    reader->config->lb.policy = picker->policy;
    size_t before = push_key(reader, picker->name);
    (void)read_object(reader, member, picker->fields, picker->field_count, &reader->config->lb);
    pop(reader, before);
    return true;
}

static void read_policies(struct reader *reader, const weft__json_node *list)
{
    size_t mistakes_before = reader->mistakes;
    bool found = false;
    size_t index = 0;
    size_t before = push_key(reader, "loadBalancingConfig");
    for (const weft__json_node *item = list->first; item != NULL && !found; item = item->next) {
        size_t outer = push_index(reader, index++);
        found = read_policy(reader, item);
        pop(reader, outer);
    }
    if (!found && list->first != NULL && reader->mistakes == mistakes_before)
        REPORT(reader, list, "none of these is known; there are " PICKER_NAMES);
    pop(reader, before);
}

/* The older field, which counts where the list is not given. */
static void read_old_policy(struct reader *reader, const weft__json_node *node, void *out)
{
    weft_sv name = node->kind == WEFT__JSON_STRING ? node->text : (weft_sv){0};
    const struct picker *picker = find_picker(name, true);
    if (picker != NULL)
        *(weft__lb_policy *)out = picker->policy;
    else if (!equal_in_any_case(name, "unspecified"))
        expected(reader, node, "one of " PICKER_NAMES);
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

/* A number in thousandths; more than three places behind the point do not count (A6). */
static bool thousandths_of(const weft__json_node *node, int32_t *out)
{
    if (node->kind != WEFT__JSON_NUMBER || !(node->number > 0 && node->number <= 1000))
        return false;
    *out = (int32_t)(node->number * 1000 + 1e-6); /* 0.57 x 1000 comes to a hair less than 570 */
    return *out > 0;
}

static void read_thousandths(struct reader *reader, const weft__json_node *node, void *out)
{
    if (!thousandths_of(node, out))
        expected(reader, node, "a number from 0.001 to 1000");
}

static const struct field throttling_fields[] = {
    {"maxTokens", read_thousandths, offsetof(weft__service_config, max_tokens), true},
    {"tokenRatio", read_thousandths, offsetof(weft__service_config, token_ratio), true},
};

static void read_throttling(struct reader *reader, const weft__json_node *node, void *out)
{
    (void)out;
    (void)READ_OBJECT(reader, node, throttling_fields, reader->config);
}

static const struct field health_fields[] = {
    {"serviceName", read_string, offsetof(weft__service_config, health_service), false},
};

static void read_health(struct reader *reader, const weft__json_node *node, void *out)
{
    (void)out;
    (void)READ_OBJECT(reader, node, health_fields, reader->config);
}

struct root {
    const weft__json_node *methods;
    const weft__json_node *policies;
    weft__lb_policy old_policy;
};

static const struct field root_fields[] = {
    {"methodConfig", read_list, offsetof(struct root, methods), false},
    {"loadBalancingConfig", read_list, offsetof(struct root, policies), false},
    {"loadBalancingPolicy", read_old_policy, offsetof(struct root, old_policy), false},
    {"retryThrottling", read_throttling, 0, false},
    {"healthCheckConfig", read_health, 0, false},
};

static int read_root(struct reader *reader, const weft__json_node *node)
{
    int rc = 0;
    struct root root = {0};
    (void)READ_OBJECT(reader, node, root_fields, &root);
    if (root.policies != NULL)
        read_policies(reader, root.policies);
    if (reader->config->lb.policy == WEFT__LB_UNSET)
        reader->config->lb.policy = root.old_policy;
    if (root.methods != NULL)
        rc = read_methods(reader, root.methods);
    return rc;
}

/* Reads the text into the configuration, which is empty. */
static int fill(weft__service_config *config, weft_arena *tree, weft_sv text, weft__buf *errors)
{
    struct reader reader = {.config = config, .errors = errors};
    weft__json_node *root;
    int rc = weft__json_read(&root, tree, text, errors);
    if (rc == 0)
        rc = read_root(&reader, root);
    if (rc == -ENOMEM || weft_arena_failed(config->arena) || errors->failed == -ENOMEM)
        return -ENOMEM;
    return rc == 0 && reader.mistakes > 0 ? -EINVAL : rc;
}

int weft__service_config_new(weft__service_config **out, weft_sv text, weft__buf *errors)
{
    weft_arena *arena = NULL;
    weft_arena *tree = NULL;
    if (text.len > WEFT__SERVICE_CONFIG_MAX_BYTES) {
        weft__json_report(errors, 1, 1, "", "longer than %d bytes", WEFT__SERVICE_CONFIG_MAX_BYTES);
        return -EFBIG;
    }
    int rc = weft_arena_new(&arena, 0);
    if (rc < 0)
        return rc;
    weft__service_config *config = weft_arena_zalloc(arena, sizeof *config); /* fits into the arena's first block */
    rc = config != NULL ? weft_arena_new(&tree, 0) : -ENOMEM;
    if (rc < 0) {
        weft_arena_free(arena);
        return rc;
    }
    config->arena = arena;
    weft__table_init(&config->methods);
    rc = fill(config, tree, text, errors);
    weft_arena_free(tree);
    if (rc < 0)
        weft__service_config_free(config);
    else
        *out = config;
    return rc;
}

void weft__service_config_free(weft__service_config *config)
{
    if (config == NULL)
        return;
    weft__table_fini(&config->methods);
    weft_arena_free(config->arena);
}

const weft__method_config *weft__service_config_find(const weft__service_config *config, weft_sv path)
{
    const weft__method_config *found = weft__table_find(&config->methods, path);
    size_t len = path.len;
    if (found != NULL)
        return found;
    while (len > 0 && path.data[len - 1] != '/')
        len--;
    found = weft__table_find(&config->methods, weft_sv_of(path.data, len));
    return found != NULL ? found : config->fallback;
}
