#include "resolve/consul/answer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"

#define MAX_WEIGHT    1000000
#define MAX_UNIX_PATH 107

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

/* "ipv4:host:port" or "ipv6:[host]:port", or NULL when it is neither. */
static const char *format_address(weft_arena *arena, const char *host, size_t len, int64_t port)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr binary;
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (port < 1 || port > 65535 || len == 0 || len >= sizeof text)
        return NULL;
    memcpy(text, host, len);
    text[len] = '\0';
    if (inet_pton(AF_INET, text, &binary) == 1)
        return weft_arena_printf(arena, "ipv4:%s:%d", text, (int)port);
    if (inet_pton(AF_INET6, text, &binary) == 1)
        return weft_arena_printf(arena, "ipv6:[%s]:%d", text, (int)port);
    return NULL;
}

/* 0 when it is no port. */
static int64_t read_port(const char *text, size_t len)
{
    int64_t port = 0;
    if (len == 0 || len > 5)
        return 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return 0;
        port = port * 10 + (text[i] - '0');
    }
    return port <= 65535 ? port : 0;
}

/* What kratos writes: "grpc://10.0.0.1:9000?isSecure=false"; and what it might: "10.0.0.1", "[::1]:9000", "::1". */
static const char *format_tagged(weft_arena *arena, const char *text, int64_t port)
{
    const char *scheme = strstr(text, "://");
    if (scheme != NULL)
        text = scheme + 3;
    size_t len = strcspn(text, "/?");
    const char *bracket = memchr(text, ']', len);
    const char *colon =
        memchr(bracket != NULL ? bracket : text, ':', len - (size_t)(bracket != NULL ? bracket - text : 0));
    if (colon != NULL && (bracket != NULL || memchr(colon + 1, ':', len - (size_t)(colon + 1 - text)) == NULL)) {
        port = read_port(colon + 1, len - (size_t)(colon + 1 - text));
        len = (size_t)(colon - text);
    }
    return format_address(arena, text, len, port);
}

static const char *find_address(weft_arena *arena, const json_t *service, const json_t *node)
{
    const json_t *tagged = json_object_get(json_object_get(service, "TaggedAddresses"), "grpc");
    const char *address = NULL;
    if (*text_of(tagged, "Address") != '\0')
        address = format_tagged(arena, text_of(tagged, "Address"), json_integer_value(json_object_get(tagged, "Port")));
    if (address != NULL)
        return address;

    const char *path = text_of(service, "SocketPath");
    if (path[0] == '/' && strlen(path) <= MAX_UNIX_PATH)
        return weft_arena_printf(arena, "unix:%s", path);

    const char *grpc_port = text_of(json_object_get(service, "Meta"), "gRPC_port");
    int64_t port = read_port(grpc_port, strlen(grpc_port));
    if (port == 0)
        port = json_integer_value(json_object_get(service, "Port"));
    const char *host = text_of(service, "Address");
    if (*host == '\0')
        host = text_of(node, "Address");
    return format_address(arena, host, strlen(host), port);
}

/* ---- instances --------------------------------------------------------------------------------------------------- */

static uint32_t read_weight(const json_t *service, const char *name)
{
    const json_t *weight = json_object_get(json_object_get(service, "Weights"), name);
    json_int_t value = json_is_integer(weight) ? json_integer_value(weight) : 1;
    return value < 0 ? 0 : value > MAX_WEIGHT ? MAX_WEIGHT : (uint32_t)value;
}

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static void read_health(weft__consul_instance *instance, const json_t *checks, const json_t *service)
{
    bool warning = false;
    size_t i;
    const json_t *check;
    weft_instance_health health = WEFT_INSTANCE_HEALTHY;
    json_array_foreach(checks, i, check)
    {
        const char *status = text_of(check, "Status");
        const char *id = text_of(check, "CheckID");
        if (strcmp(status, "passing") == 0)
            continue;
        if (strcmp(status, "warning") == 0)
            warning = true;
        else if (begins_with(id, "_service_maintenance") || begins_with(id, "_node_maintenance"))
            health = WEFT_INSTANCE_DRAINING;
        else if (health != WEFT_INSTANCE_DRAINING)
            health = WEFT_INSTANCE_UNHEALTHY;
    }
    uint32_t weight = read_weight(service, warning ? "Warning" : "Passing");
    if (weight == 0 && health == WEFT_INSTANCE_HEALTHY)
        health = WEFT_INSTANCE_UNHEALTHY; /* a weight of 0 asks for no calls */
    instance->address.weight = weight > 0 ? weight : 1;
    instance->address.health = health;
    instance->passing = health == WEFT_INSTANCE_HEALTHY && !warning;
}

static const char *find_zone(weft_arena *arena, const json_t *service, const json_t *node)
{
    const char *zones[] = {
        text_of(json_object_get(service, "Locality"), "Zone"), text_of(json_object_get(service, "Meta"), "zone"),
        text_of(json_object_get(node, "Locality"), "Zone"), text_of(json_object_get(node, "Meta"), "zone")};
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++)
        if (*zones[i] != '\0')
            return weft_arena_strdup(arena, zones[i]);
    return NULL;
}

static weft_metadatum datum(weft_arena *arena, const char *key, const char *value)
{
    return (weft_metadatum){weft_sv_from(weft_arena_strdup(arena, key)), weft_sv_from(weft_arena_strdup(arena, value))};
}

static void read_metadata(weft_arena *arena, weft__consul_instance *instance, json_t *service, const json_t *node)
{
    const json_t *tags = json_object_get(service, "Tags");
    json_t *meta = json_object_get(service, "Meta");
    size_t room = 2 + json_array_size(tags) + json_object_size(meta);
    weft_metadatum *items = weft_arena_calloc(arena, room, sizeof *items);
    instance->tags = weft_arena_calloc(arena, json_array_size(tags) + 1, sizeof *instance->tags);
    if (items == NULL || instance->tags == NULL)
        return;
    size_t count = 0, i;
    const json_t *tag;
    items[count++] = datum(arena, "consul.id", text_of(service, "ID"));
    items[count++] = datum(arena, "consul.node", text_of(node, "Node"));
    json_array_foreach(tags, i, tag)
    {
        if (!json_is_string(tag))
            continue;
        items[count] = datum(arena, "consul.tag", json_string_value(tag));
        instance->tags[instance->tag_count++] = items[count++].value.data;
    }
    const char *key;
    json_t *value;
    json_object_foreach(meta, key, value)
    {
        if (json_is_string(value))
            items[count++] = datum(arena, key, json_string_value(value));
    }
    instance->address.metadata = (weft_metadata){items, count};
}

static int read_instance(weft__consul_answer *answer, const json_t *entry)
{
    json_t *service = json_object_get(entry, "Service");
    const json_t *node = json_object_get(entry, "Node");
    weft__consul_instance *instance = &answer->instances[answer->count];
    if (!json_is_object(service))
        return -EBADMSG;
    instance->address.address = find_address(answer->arena, service, node);
    if (instance->address.address == NULL) {
        answer->skipped++;
        return 0;
    }
    read_health(instance, json_object_get(entry, "Checks"), service);
    instance->address.zone = find_zone(answer->arena, service, node);
    read_metadata(answer->arena, instance, service, node);
    answer->count++;
    return 0;
}

int weft__consul_answer_parse(weft__consul_answer *out, const char *data, size_t len, char *reason, size_t reason_size)
{
    json_error_t error;
    weft__consul_answer answer = {0};
    json_t *root = json_loadb(data, len, 0, &error);
    if (root == NULL) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return -ENOMEM;
        snprintf(reason, reason_size, "not JSON: %.100s", error.text);
        return -EBADMSG;
    }
    int rc = json_is_array(root) ? weft_arena_new(&answer.arena, 0) : -EBADMSG;
    if (rc == 0) {
        answer.instances = weft_arena_calloc(answer.arena, json_array_size(root) + 1, sizeof *answer.instances);
        if (answer.instances == NULL)
            rc = -ENOMEM;
    }
    size_t i;
    const json_t *entry;
    if (rc == 0) {
        json_array_foreach(root, i, entry)
        {
            rc = read_instance(&answer, entry);
            if (rc < 0)
                break;
        }
    }
    json_decref(root);
    if (rc == 0 && weft_arena_failed(answer.arena))
        rc = -ENOMEM;
    if (rc == -EBADMSG)
        snprintf(reason, reason_size, "not a list of instances");
    if (rc < 0) {
        weft_arena_free(answer.arena);
        return rc;
    }
    *out = answer;
    return 0;
}

void weft__consul_answer_fini(weft__consul_answer *answer)
{
    weft_arena_free(answer->arena);
    *answer = (weft__consul_answer){0};
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

typedef struct candidate {
    const weft_address *address;
    uint64_t rank;
} candidate;

/* Of several with one address the most usable comes first. */
static int health_order(weft_instance_health health)
{
    return health == WEFT_INSTANCE_UNHEALTHY ? 1 : health == WEFT_INSTANCE_DRAINING ? 2 : 0;
}

static int by_address(const void *left, const void *right)
{
    const candidate *a = left, *b = right;
    int order = strcmp(a->address->address, b->address->address);
    if (order == 0)
        order = health_order(a->address->health) - health_order(b->address->health);
    return order != 0 ? order : (a->rank > b->rank) - (a->rank < b->rank);
}

static int by_rank(const void *left, const void *right)
{
    const candidate *a = left, *b = right;
    return (a->rank > b->rank) - (a->rank < b->rank);
}

static bool wanted(const weft__consul_instance *instance, const weft__consul_query *query)
{
    if (query->healthy && !instance->passing)
        return false;
    for (size_t i = 0; i < query->tag_count; i++) {
        size_t tag = 0;
        while (tag < instance->tag_count && strcasecmp(instance->tags[tag], query->tags[i]) != 0)
            tag++;
        if (tag == instance->tag_count)
            return false;
    }
    return true;
}

int weft__consul_answer_select(const weft__consul_answer *answer, const weft__consul_query *query, uint64_t seed,
                               weft_address *out, size_t *out_count)
{
    bool near = query->near[0] != '\0';
    size_t found = 0, count = 0;
    candidate *list = calloc(answer->count + 1, sizeof *list);
    if (list == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < answer->count; i++)
        if (wanted(&answer->instances[i], query))
            list[found++] = (candidate){&answer->instances[i].address, i};
    qsort(list, found, sizeof *list, by_address);
    for (size_t i = 0; i < found; i++)
        if (count == 0 || strcmp(list[count - 1].address->address, list[i].address->address) != 0)
            list[count++] = list[i];
    if (near)
        qsort(list, count, sizeof *list, by_rank);
    if (query->limit > 0 && count > (size_t)query->limit) {
        if (!near) {
            /* Each process takes others, but always the same ones for as long as they are there. */
            for (size_t i = 0; i < count; i++) {
                const char *text = list[i].address->address;
                list[i].rank = weft__hash((const uint64_t[2]){seed, seed}, text, strlen(text));
            }
            qsort(list, count, sizeof *list, by_rank);
        }
        count = (size_t)query->limit;
        if (!near)
            qsort(list, count, sizeof *list, by_address);
    }
    for (size_t i = 0; i < count; i++)
        out[i] = *list[i].address;
    free(list);
    *out_count = count;
    return 0;
}

static void write_text(weft__buf *buf, const char *text, size_t len)
{
    weft__buf_printf(buf, "%zu:", len);
    weft__buf_append(buf, text, len);
}

void weft__consul_addresses_write(weft__buf *buf, const weft_address *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const weft_address *address = &addresses[i];
        const char *zone = address->zone != NULL ? address->zone : "";
        weft__buf_printf(buf, "%u %d %zu ", (unsigned)address->weight, (int)address->health, address->metadata.count);
        write_text(buf, address->address, strlen(address->address));
        write_text(buf, zone, strlen(zone));
        for (size_t j = 0; j < address->metadata.count; j++) {
            write_text(buf, address->metadata.items[j].key.data, address->metadata.items[j].key.len);
            write_text(buf, address->metadata.items[j].value.data, address->metadata.items[j].value.len);
        }
    }
}
