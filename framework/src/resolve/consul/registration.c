#include "resolve/consul/registration.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/json_write.h"
#include "base/utf8.h"

#define DEFAULT_INTERVAL_MS   10000
#define DEFAULT_TTL_MS        15000
#define DEFAULT_TIMEOUT_MS    5000
#define DEFAULT_DEREGISTER_MS 600000
#define MIN_INTERVAL_MS       1000
#define MAX_MS                INT64_C(86400000000)

/* What is being written. Failures stick, in the arena and in the buffer, and are looked at once at the end. */
struct writer {
    weft_arena *arena;
    const weft_instance *instance;
    weft__consul_registration *out;
    weft__buf text;
    weft__json json; /* into it */
    const char *check_ids[WEFT__CONSUL_MAX_CHECKS];
    char *reason;
    size_t reason_size;
};

#define REFUSE(writer, ...) (snprintf((writer)->reason, (writer)->reason_size, __VA_ARGS__), -EINVAL)

static const char *const kinds[] = {"", "grpc", "http", "ttl"}; /* by weft_check_kind */

static void key(weft__json *json, const char *name)
{
    weft__json_key(json, weft_sv_from(name));
}

static void put_text(weft__json *json, const char *name, const char *value)
{
    key(json, name);
    weft__json_string(json, weft_sv_from(value));
}

static void put_number(weft__json *json, const char *name, int64_t value)
{
    key(json, name);
    weft__json_int(json, value);
}

static void put_true(weft__json *json, const char *name)
{
    key(json, name);
    weft__json_bool(json, true);
}

static void put_ms(weft__json *json, const char *name, int64_t ms)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64 "ms", ms);
    put_text(json, name, text);
}

static bool printable(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

static bool is_utf8(const char *text)
{
    return weft__is_utf8(text, strlen(text));
}

/* UTF-8 without NUL. */
static bool is_text(weft_sv text)
{
    return text.len == 0 || (memchr(text.data, '\0', text.len) == NULL && weft__is_utf8(text.data, text.len));
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

/* What is wrong with a check, or 0. Fills in its times. */
static int check_check(struct writer *writer, weft_check *check)
{
    bool ttl = check->kind == WEFT_CHECK_TTL;
    if (check->kind != WEFT_CHECK_GRPC && check->kind != WEFT_CHECK_HTTP && !ttl)
        return REFUSE(writer, "a check's kind is none");
    if (check->interval_ms == 0)
        check->interval_ms = ttl ? DEFAULT_TTL_MS : DEFAULT_INTERVAL_MS;
    if (check->interval_ms < MIN_INTERVAL_MS || check->interval_ms > MAX_MS)
        return REFUSE(writer, "a check's interval_ms is below %d, or far too long", MIN_INTERVAL_MS);
    if (check->timeout_ms == 0)
        check->timeout_ms = check->interval_ms < DEFAULT_TIMEOUT_MS ? check->interval_ms : DEFAULT_TIMEOUT_MS;
    if (check->timeout_ms < 1 || check->timeout_ms > MAX_MS)
        return REFUSE(writer, "a check's timeout_ms is out of range");
    bool has_target = check->target != NULL && *check->target != '\0';
    if (check->kind == WEFT_CHECK_HTTP && !has_target)
        return REFUSE(writer, "an HTTP check needs a URL as its target");
    if (has_target && (ttl || !printable(check->target) || !is_utf8(check->target)))
        return REFUSE(writer, "a check's target is not one");
    return 0;
}

static void write_probe(struct writer *writer, const weft_check *check)
{
    weft__json *json = &writer->json;
    bool has_target = check->target != NULL && *check->target != '\0';
    put_text(json, check->kind == WEFT_CHECK_GRPC ? "GRPC" : "HTTP", has_target ? check->target : host_port(writer));
    put_ms(json, "Interval", check->interval_ms);
    put_ms(json, "Timeout", check->timeout_ms);
    if (check->tls && check->kind == WEFT_CHECK_GRPC)
        put_true(json, "GRPCUseTLS");
    if (check->tls_skip_verify)
        put_true(json, "TLSSkipVerify");
}

static void write_check(struct writer *writer, const weft_check *check, const char *id)
{
    weft__json *json = &writer->json;
    int64_t after_ms = writer->instance->deregister_after_ms;
    weft__json_begin_object(json);
    put_text(json, "CheckID", id);
    put_text(json, "Name", weft_arena_printf(writer->arena, "%s of %s", kinds[check->kind], writer->out->service));
    if (check->kind == WEFT_CHECK_TTL) {
        put_ms(json, "TTL", check->interval_ms);
        writer->out->ttl_ids[writer->out->ttl_count] = id;
        writer->out->ttl_ms[writer->out->ttl_count++] = check->interval_ms;
    } else {
        write_probe(writer, check);
    }
    if (after_ms != -1)
        put_ms(json, "DeregisterCriticalServiceAfter", after_ms != 0 ? after_ms : DEFAULT_DEREGISTER_MS);
    weft__json_end_object(json);
}

/* NULL: no memory. */
static const char *make_id(const struct writer *writer, const weft_check *check)
{
    if (check->id != NULL && *check->id != '\0')
        return weft_arena_strdup(writer->arena, check->id);
    return weft_arena_printf(writer->arena, "%s:%s", writer->out->id, kinds[check->kind]);
}

static int write_checks(struct writer *writer)
{
    key(&writer->json, "Checks");
    weft__json_begin_array(&writer->json);
    for (size_t i = 0; i < writer->instance->check_count; i++) {
        weft_check check = writer->instance->checks[i];
        int rc = check_check(writer, &check);
        if (rc < 0)
            return rc;
        const char *id = make_id(writer, &check);
        if (id == NULL)
            return -ENOMEM;
        for (size_t other = 0; other < i; other++)
            if (strcmp(writer->check_ids[other], id) == 0) /* at the agent they would be one */
                return REFUSE(writer, "two checks have the id %.64s", id);
        writer->check_ids[i] = id;
        write_check(writer, &check, id);
    }
    weft__json_end_array(&writer->json);
    return 0;
}

static int write_lists(struct writer *writer)
{
    const weft_instance *instance = writer->instance;
    weft__json *json = &writer->json;
    key(json, "Tags");
    weft__json_begin_array(json);
    for (size_t i = 0; i < instance->tag_count; i++) {
        if (instance->tags[i] == NULL || !is_utf8(instance->tags[i]))
            return REFUSE(writer, "tag %zu is no text in UTF-8", i);
        weft__json_string(json, weft_sv_from(instance->tags[i]));
    }
    weft__json_end_array(json);
    key(json, "Meta");
    weft__json_begin_object(json);
    for (size_t i = 0; i < instance->metadata.count; i++) {
        weft_sv name = instance->metadata.items[i].key, value = instance->metadata.items[i].value;
        if (name.len == 0 || !is_text(name) || !is_text(value))
            return REFUSE(writer, "metadatum %zu is no text in UTF-8", i);
        weft__json_key(json, name);
        weft__json_string(json, value.data != NULL ? value : weft_sv_from(""));
    }
    weft__json_end_object(json);
    return 0;
}

static int check_instance(struct writer *writer)
{
    const weft_instance *instance = writer->instance;
    struct in6_addr binary;
    const char *address = instance->address;
    if (instance->service == NULL || *instance->service == '\0' || !printable(instance->service) ||
        !is_utf8(instance->service))
        return REFUSE(writer, "service: a name is required");
    if (instance->id != NULL && (!printable(instance->id) || !is_utf8(instance->id)))
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

static int write_root(struct writer *writer)
{
    const weft_instance *instance = writer->instance;
    weft__json *json = &writer->json;
    weft__json_begin_object(json);
    put_text(json, "ID", writer->out->id);
    put_text(json, "Name", writer->out->service);
    if (instance->address != NULL && *instance->address != '\0')
        put_text(json, "Address", instance->address);
    put_number(json, "Port", instance->port);
    key(json, "Weights");
    weft__json_begin_object(json);
    put_number(json, "Passing", instance->weight > 0 ? instance->weight : 1);
    put_number(json, "Warning", instance->warning_weight > 0 ? instance->warning_weight : 1);
    weft__json_end_object(json);
    int rc = write_lists(writer);
    if (rc == 0)
        rc = write_checks(writer);
    weft__json_end_object(json);
    return rc;
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
    if (weft_arena_failed(arena))
        return -ENOMEM;
    weft__buf_init(&writer.text, 0);
    writer.json.buf = &writer.text;
    rc = write_root(&writer);
    if (rc == 0)
        rc = writer.text.failed;
    if (rc == 0)
        written.body = weft_arena_strdup(arena, writer.text.data);
    if (rc == 0 && weft_arena_failed(arena))
        rc = -ENOMEM;
    weft__buf_fini(&writer.text);
    if (rc == 0)
        *out = written;
    return rc;
}

const char *weft__consul_report_write(weft_arena *arena, weft_instance_health health, const char *note)
{
    const char *status = health == WEFT_INSTANCE_HEALTHY     ? "passing"
                         : health == WEFT_INSTANCE_UNHEALTHY ? "critical"
                                                             : "warning";
    weft__buf text;
    weft__buf_init(&text, 0);
    weft__json json = {.buf = &text};
    weft__json_begin_object(&json);
    put_text(&json, "Status", status);
    put_text(&json, "Output", note);
    weft__json_end_object(&json);
    const char *body = text.failed < 0 ? NULL : weft_arena_strdup(arena, text.data);
    weft__buf_fini(&text);
    return body;
}
