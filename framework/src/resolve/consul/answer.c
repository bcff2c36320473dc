#include "resolve/consul/answer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "base/json_read.h"

#define MAX_PORT      65535
#define MAX_WEIGHT    1000000
#define MAX_UNIX_PATH 107

/* What is absent, or of another kind than was to be expected, is as nothing. */

static const weft__json_node *member_of(const weft__json_node *object, const char *key)
{
    if (object == NULL || object->kind != WEFT__JSON_OBJECT)
        return NULL;
    const weft__json_node *member = object->first;
    while (member != NULL && !weft_sv_is(member->key, key))
        member = member->next;
    return member;
}

static const char *text_of(const weft__json_node *object, const char *key)
{
    const weft__json_node *member = member_of(object, key);
    return member != NULL && member->kind == WEFT__JSON_STRING ? member->text.data : "";
}

/* A whole number up to `max` and down to 0, or the nearer of these. */
static int64_t number_of(const weft__json_node *object, const char *key, int64_t fallback, int64_t max)
{
    const weft__json_node *member = member_of(object, key);
    if (member == NULL || member->kind != WEFT__JSON_NUMBER)
        return fallback;
    return member->number <= 0 ? 0 : member->number >= (double)max ? max : (int64_t)member->number;
}

static const weft__json_node *first_of(const weft__json_node *object, const char *key, weft__json_kind kind)
{
    const weft__json_node *member = member_of(object, key);
    return member != NULL && member->kind == kind ? member->first : NULL;
}

static size_t count_from(const weft__json_node *node)
{
    size_t count = 0;
    for (; node != NULL; node = node->next)
        count++;
    return count;
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
    if (port < 1 || port > MAX_PORT || len == 0 || len >= sizeof text)
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
    return port <= MAX_PORT ? port : 0;
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

static const char *find_address(weft_arena *arena, const weft__json_node *service, const weft__json_node *node)
{
    const weft__json_node *tagged = member_of(member_of(service, "TaggedAddresses"), "grpc");
    const char *address = NULL;
    if (*text_of(tagged, "Address") != '\0')
        address = format_tagged(arena, text_of(tagged, "Address"), number_of(tagged, "Port", 0, MAX_PORT + 1));
    if (address != NULL)
        return address;

    const char *path = text_of(service, "SocketPath");
    if (path[0] == '/' && strlen(path) <= MAX_UNIX_PATH)
        return weft_arena_printf(arena, "unix:%s", path);

    const char *grpc_port = text_of(member_of(service, "Meta"), "gRPC_port");
    int64_t port = read_port(grpc_port, strlen(grpc_port));
    if (port == 0)
        port = number_of(service, "Port", 0, MAX_PORT + 1);
    const char *host = text_of(service, "Address");
    if (*host == '\0')
        host = text_of(node, "Address");
    return format_address(arena, host, strlen(host), port);
}

/* ---- instances --------------------------------------------------------------------------------------------------- */

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static void read_health(weft__consul_instance *instance, const weft__json_node *entry, const weft__json_node *service)
{
    bool warning = false;
    const weft__json_node *check = first_of(entry, "Checks", WEFT__JSON_LIST);
    weft_instance_health health = WEFT_INSTANCE_HEALTHY;
    for (; check != NULL; check = check->next) {
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
    int64_t weight = number_of(member_of(service, "Weights"), warning ? "Warning" : "Passing", 1, MAX_WEIGHT);
    if (weight == 0 && health == WEFT_INSTANCE_HEALTHY)
        health = WEFT_INSTANCE_UNHEALTHY; /* a weight of 0 asks for no calls */
    instance->address.weight = weight > 0 ? (uint32_t)weight : 1;
    instance->address.health = health;
    instance->passing = health == WEFT_INSTANCE_HEALTHY && !warning;
}

static const char *find_zone(weft_arena *arena, const weft__json_node *service, const weft__json_node *node)
{
    const char *zones[] = {text_of(member_of(service, "Locality"), "Zone"), text_of(member_of(service, "Meta"), "zone"),
                           text_of(member_of(node, "Locality"), "Zone"), text_of(member_of(node, "Meta"), "zone")};
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++)
        if (*zones[i] != '\0')
            return weft_arena_strdup(arena, zones[i]);
    return NULL;
}

static weft_metadatum datum(weft_arena *arena, const char *key, const char *value)
{
    return (weft_metadatum){weft_sv_from(weft_arena_strdup(arena, key)), weft_sv_from(weft_arena_strdup(arena, value))};
}

static void read_metadata(weft_arena *arena, weft__consul_instance *instance, const weft__json_node *service,
                          const weft__json_node *node)
{
    const weft__json_node *tag = first_of(service, "Tags", WEFT__JSON_LIST);
    const weft__json_node *meta = first_of(service, "Meta", WEFT__JSON_OBJECT);
    size_t tags = count_from(tag);
    weft_metadatum *items = weft_arena_calloc(arena, 2 + tags + count_from(meta), sizeof *items);
    instance->tags = weft_arena_calloc(arena, tags + 1, sizeof *instance->tags);
    if (items == NULL || instance->tags == NULL)
        return;
    size_t count = 0;
    items[count++] = datum(arena, "consul.id", text_of(service, "ID"));
    items[count++] = datum(arena, "consul.node", text_of(node, "Node"));
    for (; tag != NULL; tag = tag->next) {
        if (tag->kind != WEFT__JSON_STRING)
            continue;
        items[count] = datum(arena, "consul.tag", tag->text.data);
        instance->tags[instance->tag_count++] = items[count++].value.data;
    }
    for (; meta != NULL; meta = meta->next)
        if (meta->kind == WEFT__JSON_STRING)
            items[count++] = datum(arena, meta->key.data, meta->text.data);
    instance->address.metadata = (weft_metadata){items, count};
}

static int read_instance(weft__consul_answer *answer, const weft__json_node *entry)
{
    const weft__json_node *service = member_of(entry, "Service");
    const weft__json_node *node = member_of(entry, "Node");
    weft__consul_instance *instance = &answer->instances[answer->count];
    if (service == NULL || service->kind != WEFT__JSON_OBJECT)
        return -EBADMSG;
    instance->address.address = find_address(answer->arena, service, node);
    if (instance->address.address == NULL) {
        answer->skipped++;
        return 0;
    }
    read_health(instance, entry, service);
    instance->address.zone = find_zone(answer->arena, service, node);
    read_metadata(answer->arena, instance, service, node);
    answer->count++;
    return 0;
}

/* Reads all instances of the list `root`. */
static int read_instances(weft__consul_answer *answer, const weft__json_node *root)
{
    answer->instances = weft_arena_calloc(answer->arena, count_from(root->first) + 1, sizeof *answer->instances);
    if (answer->instances == NULL)
        return -ENOMEM;
    for (const weft__json_node *entry = root->first; entry != NULL; entry = entry->next) {
        int rc = read_instance(answer, entry);
        if (rc < 0)
            return rc;
    }
    return weft_arena_failed(answer->arena) ? -ENOMEM : 0;
}

/* Reads JSON, all of which lies in the arena. @return 0; -EBADMSG, and `reason` says where it is wrong; -ENOMEM. */
static int read_json(weft_arena *arena, weft_sv text, const weft__json_node **out, char *reason, size_t reason_size)
{
    char block[128];
    weft__buf errors;
    weft__json_node *root;
    weft__buf_init_block(&errors, sizeof block - 1, block, sizeof block);
    int rc = weft__json_read(&root, arena, text, &errors);
    if (rc == -EINVAL)
        snprintf(reason, reason_size, "not JSON: %.*s", (int)strcspn(errors.data, "\n"), errors.data);
    weft__buf_fini(&errors);
    if (rc == 0)
        *out = root;
    return rc == -EINVAL ? -EBADMSG : rc;
}

int weft__consul_answer_parse(weft__consul_answer *out, const char *data, size_t len, char *reason, size_t reason_size)
{
    weft__consul_answer answer = {0};
    const weft__json_node *root;
    weft_arena *scratch;
    int rc = weft_arena_new(&scratch, 0);
    if (rc < 0)
        return rc;
    rc = read_json(scratch, weft_sv_of(data, len), &root, reason, reason_size);
    if (rc == 0)
        rc = weft_arena_new(&answer.arena, 0);
    if (rc == 0) {
        rc = root->kind == WEFT__JSON_LIST ? read_instances(&answer, root) : -EBADMSG;
        if (rc == -EBADMSG)
            snprintf(reason, reason_size, "not a list of instances");
    }
    weft_arena_free(scratch);
    if (rc == 0)
        *out = answer;
    else
        weft_arena_free(answer.arena);
    return rc;
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
