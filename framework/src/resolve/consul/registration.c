#include "resolve/consul/registration.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_INTERVAL_MS   10000
#define DEFAULT_TTL_MS        15000
#define DEFAULT_TIMEOUT_MS    5000
#define DEFAULT_DEREGISTER_MS 600000
#define MIN_INTERVAL_MS       1000
#define MAX_MS                INT64_C(86400000000)

/* What is being written. Failures stick: an arena's by itself, JSON's in `failed`. */
struct writer {
    weft_arena *arena;
    const weft_instance *instance;
    weft__consul_registration *out;
    bool failed;
    char *reason;
    size_t reason_size;
};

#define REFUSE(writer, ...) (snprintf((writer)->reason, (writer)->reason_size, __VA_ARGS__), -EINVAL)

static void put(struct writer *writer, json_t *object, const char *key, json_t *value)
{
    writer->failed |= json_object_set_new(object, key, value) < 0; /* also for a value of NULL */
}

static void put_ms(struct writer *writer, json_t *object, const char *key, int64_t ms)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64 "ms", ms);
    put(writer, object, key, json_string(text));
}

static bool printable(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

static bool is_utf8(const char *text, size_t len)
{
    json_t *probe = json_stringn(text, len);
    json_decref(probe);
    return probe != NULL;
}

/* The address as checks and Consul's own port rules write it: IPv6 in brackets. */
static const char *host_port(const struct writer *writer)
{
    const char *address = writer->instance->address;
    if (address == NULL || *address == '\0')
        address = "127.0.0.1"; /* the agent's own host, which is who looks */
    return strchr(address, ':') != NULL ? weft_arena_printf(writer->arena, "[%s]:%d", address, writer->instance->port)
                                        : weft_arena_printf(writer->arena, "%s:%d", address, writer->instance->port);
}

static int write_check(struct writer *writer, const weft_check *check, json_t *out)
{
    static const char *const kinds[] = {"", "grpc", "http", "ttl"};
    if (check->kind != WEFT_CHECK_GRPC && check->kind != WEFT_CHECK_HTTP && check->kind != WEFT_CHECK_TTL)
        return REFUSE(writer, "a check's kind is none");
    bool ttl = check->kind == WEFT_CHECK_TTL;
    int64_t interval_ms = check->interval_ms != 0 ? check->interval_ms : ttl ? DEFAULT_TTL_MS : DEFAULT_INTERVAL_MS;
    int64_t timeout_ms = check->timeout_ms;
    if (interval_ms < MIN_INTERVAL_MS || interval_ms > MAX_MS)
        return REFUSE(writer, "a check's interval_ms is below %d, or far too long", MIN_INTERVAL_MS);
    if (timeout_ms == 0)
        timeout_ms = interval_ms < DEFAULT_TIMEOUT_MS ? interval_ms : DEFAULT_TIMEOUT_MS;
    if (timeout_ms < 1 || timeout_ms > MAX_MS)
        return REFUSE(writer, "a check's timeout_ms is out of range");
    bool has_target = check->target != NULL && *check->target != '\0';
    if (check->kind == WEFT_CHECK_HTTP && !has_target)
        return REFUSE(writer, "an HTTP check needs a URL as its target");
    if (has_target && (ttl || !printable(check->target) || !is_utf8(check->target, strlen(check->target))))
        return REFUSE(writer, "a check's target is not one");

    const char *id = check->id != NULL && *check->id != '\0'
                         ? weft_arena_strdup(writer->arena, check->id)
                         : weft_arena_printf(writer->arena, "%s:%s", writer->out->id, kinds[check->kind]);
    const char *target = has_target ? check->target : check->kind == WEFT_CHECK_GRPC ? host_port(writer) : "";
    if (id == NULL || target == NULL)
        return -ENOMEM;
    put(writer, out, "CheckID", json_string(id));
    put(writer, out, "Name", json_sprintf("%s of %s", kinds[check->kind], writer->out->service));
    if (ttl) {
        put_ms(writer, out, "TTL", interval_ms);
        writer->out->ttl_ids[writer->out->ttl_count] = id;
        writer->out->ttl_ms[writer->out->ttl_count++] = interval_ms;
    } else {
        put(writer, out, check->kind == WEFT_CHECK_GRPC ? "GRPC" : "HTTP", json_string(target));
        put_ms(writer, out, "Interval", interval_ms);
        put_ms(writer, out, "Timeout", timeout_ms);
        if (check->tls && check->kind == WEFT_CHECK_GRPC)
            put(writer, out, "GRPCUseTLS", json_true());
        if (check->tls_skip_verify)
            put(writer, out, "TLSSkipVerify", json_true());
    }
    int64_t after_ms = writer->instance->deregister_after_ms;
    if (after_ms != -1)
        put_ms(writer, out, "DeregisterCriticalServiceAfter", after_ms != 0 ? after_ms : DEFAULT_DEREGISTER_MS);
    return 0;
}

/* Two checks of one id would be one at the agent. */
static bool repeats(const json_t *checks, const json_t *check)
{
    const char *id = json_string_value(json_object_get(check, "CheckID"));
    size_t i;
    const json_t *other;
    json_array_foreach(checks, i, other)
    {
        const char *other_id = json_string_value(json_object_get(other, "CheckID"));
        if (other != check && id != NULL && other_id != NULL && strcmp(id, other_id) == 0)
            return true;
    }
    return false;
}

static int write_checks(struct writer *writer, json_t *root)
{
    json_t *checks = json_array();
    put(writer, root, "Checks", checks);
    for (size_t i = 0; i < writer->instance->check_count && !writer->failed; i++) {
        json_t *check = json_object();
        writer->failed |= json_array_append_new(checks, check) < 0;
        int rc = writer->failed ? -ENOMEM : write_check(writer, &writer->instance->checks[i], check);
        if (rc < 0)
            return rc;
        if (repeats(checks, check))
            return REFUSE(writer, "two checks have the id %.64s", json_string_value(json_object_get(check, "CheckID")));
    }
    return 0;
}

static int write_lists(struct writer *writer, json_t *root)
{
    const weft_instance *instance = writer->instance;
    json_t *tags = json_array(), *meta = json_object();
    put(writer, root, "Tags", tags);
    put(writer, root, "Meta", meta);
    for (size_t i = 0; i < instance->tag_count && !writer->failed; i++) {
        if (instance->tags[i] == NULL || !is_utf8(instance->tags[i], strlen(instance->tags[i])))
            return REFUSE(writer, "tag %zu is no text in UTF-8", i);
        writer->failed |= json_array_append_new(tags, json_string(instance->tags[i])) < 0;
    }
    for (size_t i = 0; i < instance->metadata.count && !writer->failed; i++) {
        weft_sv key = instance->metadata.items[i].key, value = instance->metadata.items[i].value;
        if (key.len == 0 || memchr(key.data, '\0', key.len) != NULL || !is_utf8(key.data, key.len) ||
            (value.len > 0 && (memchr(value.data, '\0', value.len) != NULL || !is_utf8(value.data, value.len))))
            return REFUSE(writer, "metadatum %zu is no text in UTF-8", i);
        char *name = weft_arena_svdup(writer->arena, key);
        writer->failed |= name == NULL;
        if (name != NULL)
            put(writer, meta, name, json_stringn(value.len > 0 ? value.data : "", value.len));
    }
    return 0;
}

static int check_instance(struct writer *writer)
{
    const weft_instance *instance = writer->instance;
    struct in6_addr binary;
    const char *address = instance->address;
    if (instance->service == NULL || *instance->service == '\0' || !printable(instance->service) ||
        !is_utf8(instance->service, strlen(instance->service)))
        return REFUSE(writer, "service: a name is required");
    if (instance->id != NULL && (!printable(instance->id) || !is_utf8(instance->id, strlen(instance->id))))
        return REFUSE(writer, "id is not a name");
    if (instance->port < 1 || instance->port > 65535)
        return REFUSE(writer, "port: 1 to 65535 is required");
    if (address != NULL && *address != '\0' && inet_pton(AF_INET, address, &binary) != 1 &&
        inet_pton(AF_INET6, address, &binary) != 1)
        return REFUSE(writer, "address %.64s: an IP address is required", address);
    if (address != NULL && (strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0))
        return REFUSE(writer, "address %s: nobody reaches an instance there", address);
    if (instance->check_count > WEFT__CONSUL_MAX_CHECKS)
        return REFUSE(writer, "more than %d checks", WEFT__CONSUL_MAX_CHECKS);
    if (instance->deregister_after_ms < -1 || instance->deregister_after_ms > MAX_MS)
        return REFUSE(writer, "deregister_after_ms is out of range");
    return 0;
}

static int write_root(struct writer *writer, json_t *root)
{
    const weft_instance *instance = writer->instance;
    const char *address = instance->address != NULL ? instance->address : "";
    put(writer, root, "ID", json_string(writer->out->id));
    put(writer, root, "Name", json_string(writer->out->service));
    if (*address != '\0')
        put(writer, root, "Address", json_string(address));
    put(writer, root, "Port", json_integer(instance->port));
    json_t *weights = json_object();
    put(writer, root, "Weights", weights);
    if (writer->failed)
        return -ENOMEM;
    put(writer, weights, "Passing", json_integer(instance->weight > 0 ? instance->weight : 1));
    put(writer, weights, "Warning", json_integer(instance->warning_weight > 0 ? instance->warning_weight : 1));
    int rc = write_lists(writer, root);
    return rc < 0 ? rc : write_checks(writer, root);
}

/* JSON as a text in the arena, or NULL: out of memory. */
static const char *dump(weft_arena *arena, const json_t *root)
{
    size_t len = json_dumpb(root, NULL, 0, JSON_COMPACT);
    char *text = len > 0 ? weft_arena_alloc(arena, len + 1) : NULL;
    if (text == NULL || json_dumpb(root, text, len, JSON_COMPACT) != len)
        return NULL;
    text[len] = '\0';
    return text;
}

int weft__consul_registration_write(weft_arena *arena, const weft_instance *instance, weft__consul_registration *out,
                                    char *reason, size_t reason_size)
{
    weft__consul_registration written = {0};
    struct writer writer = {
        .arena = arena, .instance = instance, .out = &written, .reason = reason, .reason_size = reason_size};
    if (reason_size > 0)
        reason[0] = '\0';
    int rc = check_instance(&writer);
    if (rc < 0)
        return rc;
    written.service = weft_arena_strdup(arena, instance->service);
    if (instance->id != NULL && *instance->id != '\0')
        written.id = weft_arena_strdup(arena, instance->id);
    else
        written.id = weft_arena_printf(arena, "%s-%s-%d", instance->service,
                                       instance->address != NULL ? instance->address : "", instance->port);
    json_t *root = json_object();
    if (root == NULL || weft_arena_failed(arena)) {
        json_decref(root);
        return -ENOMEM;
    }
    rc = write_root(&writer, root);
    if (rc == 0 && !writer.failed)
        written.body = dump(arena, root);
    json_decref(root);
    if (rc == 0 && written.body == NULL)
        rc = -ENOMEM;
    if (rc == 0)
        *out = written;
    return rc;
}

const char *weft__consul_report_write(weft_arena *arena, weft_instance_health health, const char *note)
{
    const char *status = health == WEFT_INSTANCE_HEALTHY     ? "passing"
                         : health == WEFT_INSTANCE_UNHEALTHY ? "critical"
                                                             : "warning";
    json_t *root = json_object();
    const char *text = NULL;
    if (json_object_set_new(root, "Status", json_string(status)) == 0 &&
        json_object_set_new(root, "Output", json_string(note)) == 0)
        text = dump(arena, root);
    json_decref(root);
    return text;
}
