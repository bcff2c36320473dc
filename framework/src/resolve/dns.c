/* dns.c: the addresses of a name, by c-ares.
 *
 *     IDLE ──due, or a hint and the least pause is over──▶ HOSTS ──all answered──▶ IDLE, published or failed
 *       │                                                    ▲
 *       └──the name is one of SRV records──▶ SRV ──answered──┘ one question for each record
 *
 * - All of it is on the runner's thread; only `hinted` comes from others.
 * - A round has a c-ares channel of its own: so resolv.conf is read anew each time, and every round asks from other
 *   ports.
 * - Addresses in a round that failed in part are not published over a list that is known: half of a service would
 *   vanish because one question got lost.
 */
#include <sys/select.h> /* ares.h wants fd_set */

#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "base/options.h"
#include "base/random.h"
#include "resolve/address.h"
#include "resolve/runner.h"
#include "resolve/sink.h"
#include "resolve/srv.h"

#define NS_PER_MS        INT64_C(1000000)
#define MAX_MS           INT64_C(86400000) /* of every option: a day */
#define MAX_ADDRESSES    100000            /* of the option */
#define SERVERS_MAX      512
#define TRIES            3
#define LEAST_RECORD     18 /* bytes of an SRV record, its owner's name a pointer, its target one letter */
#define DEFAULT_DNS      ":53"
#define TASK_OF(pointer) WEFT__CONTAINER_OF(pointer, struct dns_watch, task)

struct dns_resolver {
    weft_resolver base;
    weft__runner runner;
    weft_dns_resolver_options options;
    char servers[SERVERS_MAX]; /* as c-ares reads them; "": the system's */
};

/* A question for addresses, and what its answers become. */
struct host {
    struct dns_watch *watch;
    weft__srv srv; /* the whole name and port where it comes from no record */
    bool spare;    /* it has a later priority than others */
};

typedef enum dns_stage {
    STAGE_IDLE,
    STAGE_SRV,
    STAGE_HOSTS
} dns_stage;

struct dns_watch {
    weft__runner_task task;
    struct dns_resolver *resolver;
    weft_sink *sink;
    char name[256];
    uint16_t port; /* 0: SRV records say it */
    char servers[SERVERS_MAX];
    bool literal; /* an IP address, published for good: there is no task */
    atomic_bool hinted;
    bool published;
    char failure[384]; /* the last one told; "": none */
    int64_t started_ns;
    int64_t next_ns;
    unsigned failures; /* in a row */
    /* of the round */
    dns_stage stage;
    ares_channel channel; /* NULL: there is none */
    size_t pending;       /* questions */
    struct host *hosts;
    size_t host_count;
    weft__addresses found;
    bool cut;   /* there are more than max_addresses */
    int status; /* c-ares': of the worst failure; ARES_SUCCESS: none */
    uint32_t ttl;
};

/* ---- answers ----------------------------------------------------------------------------------------------------- */

/* Whether an answer says for sure that there is nothing. */
static bool is_absence(int status)
{
    return status == ARES_ENOTFOUND || status == ARES_ENODATA;
}

static void note_status(struct dns_watch *watch, int status)
{
    if (status != ARES_SUCCESS && (watch->status == ARES_SUCCESS || is_absence(watch->status)))
        watch->status = status;
}

static void note_ttl(struct dns_watch *watch, uint32_t ttl)
{
    if (ttl > 0 && ttl < watch->ttl)
        watch->ttl = ttl;
}

/* "ipv4:1.2.3.4:5". False: neither kind. */
static bool format_node(const struct ares_addrinfo_node *node, uint16_t port, char out[WEFT__TARGET_MAX])
{
    char text[INET6_ADDRSTRLEN];
    const void *binary = node->ai_family == AF_INET
                             ? (const void *)&((const struct sockaddr_in *)(const void *)node->ai_addr)->sin_addr
                             : (const void *)&((const struct sockaddr_in6 *)(const void *)node->ai_addr)->sin6_addr;
    if (node->ai_family != AF_INET && node->ai_family != AF_INET6)
        return false;
    if (inet_ntop(node->ai_family, binary, text, sizeof text) == NULL)
        return false;
    (void)snprintf(out, WEFT__TARGET_MAX, node->ai_family == AF_INET ? "ipv4:%s:%u" : "ipv6:[%s]:%u", text,
                   (unsigned)port);
    return true;
}

/* What a record of the first priority says of an address counts, whatever those of others say. */
static void prefer(weft__addresses *list, const weft_address *address)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].health == WEFT_INSTANCE_UNHEALTHY && strcmp(list->items[i].address, address->address) == 0) {
            list->items[i].health = address->health;
            list->items[i].weight = address->weight;
        }
}

static void take_address(struct dns_watch *watch, const struct host *host, const char *text)
{
    const weft_address address = {
        .address = text,
        .weight = host->srv.weight, /* 0 counts as 1 */
        .health = host->spare ? WEFT_INSTANCE_UNHEALTHY : WEFT_INSTANCE_UNKNOWN,
    };
    if (watch->found.count == (size_t)watch->resolver->options.max_addresses) {
        watch->cut = true;
        return;
    }
    int rc = weft__addresses_add(&watch->found, &address);
    if (rc == -EEXIST && !host->spare)
        prefer(&watch->found, &address);
    if (rc == -ENOMEM)
        note_status(watch, ARES_ENOMEM);
}

static void on_host(void *arg, int status, int timeouts, struct ares_addrinfo *result)
{
    const struct host *host = arg;
    struct dns_watch *watch = host->watch;
    char text[WEFT__TARGET_MAX];
    (void)timeouts;
    watch->pending--;
    note_status(watch, status);
    if (status != ARES_SUCCESS)
        return;
    for (const struct ares_addrinfo_node *node = result->nodes; node != NULL; node = node->ai_next) {
        note_ttl(watch, node->ai_ttl > 0 ? (uint32_t)node->ai_ttl : 0);
        if (format_node(node, host->srv.port, text))
            take_address(watch, host, text);
    }
    for (const struct ares_addrinfo_cname *cname = result->cnames; cname != NULL; cname = cname->next)
        note_ttl(watch, cname->ttl > 0 ? (uint32_t)cname->ttl : 0);
    ares_freeaddrinfo(result);
}

/* Keeps the records; they are asked for when c-ares is done with this. */
static void on_srv(void *arg, int status, int timeouts, unsigned char *answer, int len)
{
    struct dns_watch *watch = arg;
    size_t room = (size_t)len / LEAST_RECORD + 1;
    uint32_t ttl = UINT32_MAX;
    size_t count = 0;
    (void)timeouts;
    if (room > (size_t)watch->resolver->options.max_addresses)
        room = (size_t)watch->resolver->options.max_addresses;
    watch->pending--;
    note_status(watch, status);
    if (status != ARES_SUCCESS)
        return;
    weft__srv *records = calloc(room, sizeof *records);
    int rc = records == NULL ? -ENOMEM : weft__srv_parse(answer, (size_t)len, records, room, &count, &ttl);
    struct host *hosts = rc == 0 ? calloc(count + 1, sizeof *hosts) : NULL;
    if (rc == 0 && hosts == NULL)
        rc = -ENOMEM;
    if (rc < 0)
        note_status(watch, rc == -ENOMEM ? ARES_ENOMEM : ARES_EBADRESP);
    uint16_t first = UINT16_MAX;
    for (size_t i = 0; i < count && hosts != NULL; i++)
        first = records[i].priority < first ? records[i].priority : first;
    for (size_t i = 0; i < count && hosts != NULL; i++)
        hosts[i] = (struct host){.watch = watch, .srv = records[i], .spare = records[i].priority > first};
    free(records);
    note_ttl(watch, ttl);
    watch->hosts = hosts;
    watch->host_count = hosts != NULL ? count : 0;
}

/* ---- the end of a round ------------------------------------------------------------------------------------------ */

static void end_questions(struct dns_watch *watch)
{
    if (watch->channel != NULL)
        ares_destroy(watch->channel);
    watch->channel = NULL;
    free(watch->hosts);
    watch->hosts = NULL;
    watch->host_count = 0;
    watch->stage = STAGE_IDLE;
}

static double chance(void)
{
    return weft__random_unit(weft__random_system());
}

/* The pause after failures: up to twice as long each time, and a random part of it. */
static int64_t backoff_ns(const struct dns_watch *watch)
{
    const weft_dns_resolver_options *options = &watch->resolver->options;
    int64_t pause_ms = options->min_refresh_ms;
    for (unsigned i = 0; i < watch->failures && pause_ms < options->refresh_ms; i++)
        pause_ms *= 2;
    if (pause_ms > options->refresh_ms)
        pause_ms = options->refresh_ms;
    double spread = (double)(pause_ms - options->min_refresh_ms) * chance();
    return (options->min_refresh_ms + (int64_t)spread) * NS_PER_MS;
}

/* The pause after an answer. The upper bound shrinks by chance, so that programs that started together do not stay
 * so; a time to live grows, so that a server in between has dropped what it kept. */
static int64_t pause_ns(const struct dns_watch *watch)
{
    const weft_dns_resolver_options *options = &watch->resolver->options;
    double ms = (double)options->refresh_ms * (1.0 - 0.2 * chance());
    double ttl_ms = watch->ttl == UINT32_MAX ? ms : watch->ttl * 1000.0 * (1.0 + 0.1 * chance());
    if (ttl_ms < ms)
        ms = ttl_ms;
    if (ms < (double)options->min_refresh_ms)
        ms = (double)options->min_refresh_ms;
    return (int64_t)(ms * (double)NS_PER_MS);
}

static void publish(struct dns_watch *watch)
{
    const weft_resolution resolution = {
        .struct_size = sizeof resolution,
        .addresses = watch->found.items,
        .address_count = watch->found.count,
    };
    if (watch->cut)
        weft_log_warn(weft_sink_log(watch->sink), "a name has more addresses than are used",
                      WEFT_FIELDS(WEFT_STR("name", watch->name), WEFT_INT("used", watch->found.count)));
    watch->published = true;
    weft_sink_publish(watch->sink, &resolution);
}

static void tell_failure(struct dns_watch *watch, const char *why)
{
    char text[sizeof watch->failure];
    (void)snprintf(text, sizeof text, "dns: %s: %s", watch->name, why);
    if (strcmp(text, watch->failure) != 0)
        weft_log_warn(weft_sink_log(watch->sink), "a name cannot be resolved",
                      WEFT_FIELDS(WEFT_STR("name", watch->name), WEFT_STR("reason", why)));
    memcpy(watch->failure, text, sizeof text);
    weft_sink_fail(watch->sink, watch->failure);
}

static void finish(struct dns_watch *watch)
{
    bool partial = watch->status != ARES_SUCCESS && !is_absence(watch->status);
    bool usable = watch->found.count > 0 && !(partial && watch->published);
    end_questions(watch);
    if (usable)
        publish(watch);
    else
        tell_failure(watch, watch->status != ARES_SUCCESS ? ares_strerror(watch->status) : "there is no such service");
    weft__addresses_fini(&watch->found);
    if (usable && !partial) {
        watch->failures = 0;
        watch->failure[0] = '\0';
        watch->next_ns = weft__runner_now_ns() + pause_ns(watch);
    } else {
        watch->failures += watch->failures < 64;
        watch->next_ns = weft__runner_now_ns() + backoff_ns(watch);
    }
}

/* ---- a round ----------------------------------------------------------------------------------------------------- */

/* @return ARES_SUCCESS or what went wrong. */
static int open_channel(struct dns_watch *watch)
{
    char only_dns[] = "b";
    struct ares_options options;
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES;
    memset(&options, 0, sizeof options);
    options.timeout = (int)watch->resolver->options.timeout_ms;
    options.tries = TRIES;
    options.lookups = only_dns;
    if (watch->servers[0] != '\0')
        mask |= ARES_OPT_LOOKUPS;
    int status = ares_init_options(&watch->channel, &options, mask);
    if (status != ARES_SUCCESS) {
        watch->channel = NULL;
        return status;
    }
    return watch->servers[0] != '\0' ? ares_set_servers_ports_csv(watch->channel, watch->servers) : ARES_SUCCESS;
}

static void ask_hosts(struct dns_watch *watch)
{
    /* Unsorted: c-ares would open a socket to each address to see how it is reached. */
    const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_flags = ARES_AI_NOSORT};
    watch->stage = STAGE_HOSTS;
    watch->pending = watch->host_count;
    for (size_t i = 0; i < watch->host_count; i++)
        ares_getaddrinfo(watch->channel, watch->hosts[i].srv.host, NULL, &hints, on_host, &watch->hosts[i]);
}

static void begin(struct dns_watch *watch, int64_t now_ns)
{
    atomic_store(&watch->hinted, false);
    watch->started_ns = now_ns;
    watch->status = ARES_SUCCESS;
    watch->ttl = UINT32_MAX;
    watch->cut = false;
    watch->pending = 0;
    watch->stage = STAGE_HOSTS;
    int status = open_channel(watch);
    if (status == ARES_SUCCESS && watch->port == 0) {
        watch->stage = STAGE_SRV;
        watch->pending = 1;
        ares_search(watch->channel, watch->name, 1 /* IN */, 33 /* SRV */, on_srv, watch);
        return;
    }
    watch->hosts = status == ARES_SUCCESS ? calloc(1, sizeof *watch->hosts) : NULL;
    if (watch->hosts == NULL) {
        note_status(watch, status != ARES_SUCCESS ? status : ARES_ENOMEM);
        return;
    }
    watch->host_count = 1;
    watch->hosts[0] = (struct host){.watch = watch, .srv = {.port = watch->port}};
    memcpy(watch->hosts[0].srv.host, watch->name, sizeof watch->name);
    ask_hosts(watch);
}

static void read_answers(struct dns_watch *watch)
{
    for (size_t i = 0; i < watch->task.fd_count; i++) {
        const struct pollfd *fd = &watch->task.fds[i];
        ares_socket_t readable = (fd->revents & (POLLIN | POLLERR | POLLHUP)) != 0 ? fd->fd : ARES_SOCKET_BAD;
        ares_socket_t writable = (fd->revents & POLLOUT) != 0 ? fd->fd : ARES_SOCKET_BAD;
        ares_process_fd(watch->channel, readable, writable);
    }
    ares_process_fd(watch->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* what has timed out */
}

/* When the next round may begin. */
static int64_t begins_ns(const struct dns_watch *watch)
{
    int64_t hinted_ns = watch->started_ns + watch->resolver->options.min_refresh_ms * NS_PER_MS;
    return atomic_load(&watch->hinted) && hinted_ns < watch->next_ns ? hinted_ns : watch->next_ns;
}

/* Says what the runner is to wait for. */
static void wait_for(struct dns_watch *watch)
{
    weft__runner_task *task = &watch->task;
    task->fd_count = 0;
    task->due_ns = begins_ns(watch);
    if (watch->stage == STAGE_IDLE)
        return;
    ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
    /* c-ares' macros for these bits shift a signed 1 out of its range. */
    unsigned used = (unsigned)ares_getsock(watch->channel, sockets, ARES_GETSOCK_MAXNUM);
    for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
        int reads = (used & 1U << i) != 0 ? POLLIN : 0;
        int writes = (used & 1U << (i + ARES_GETSOCK_MAXNUM)) != 0 ? POLLOUT : 0;
        if ((reads | writes) != 0)
            task->fds[task->fd_count++] = (struct pollfd){.fd = sockets[i], .events = (short)(reads | writes)};
    }
    struct timeval left;
    task->due_ns = INT64_MAX;
    if (ares_timeout(watch->channel, NULL, &left) != NULL)
        task->due_ns = weft__runner_now_ns() + left.tv_sec * INT64_C(1000000000) + left.tv_usec * INT64_C(1000);
}

static void run(weft__runner_task *task)
{
    struct dns_watch *watch = TASK_OF(task);
    int64_t now_ns = weft__runner_now_ns();
    if (watch->stage != STAGE_IDLE)
        read_answers(watch);
    else if (now_ns >= begins_ns(watch))
        begin(watch, now_ns);
    /* Some questions are answered at once: by /etc/hosts, or because nothing can be asked. */
    while (watch->stage != STAGE_IDLE && watch->pending == 0) {
        if (watch->stage == STAGE_SRV && watch->host_count > 0)
            ask_hosts(watch);
        else
            finish(watch);
    }
    wait_for(watch);
}

/* ---- targets ----------------------------------------------------------------------------------------------------- */

/* "1.2.3.4,[::1]:5353", with the port where there is none. @return 0; -EINVAL. */
static int read_servers(const char *list, char out[SERVERS_MAX])
{
    size_t used = 0;
    while (*list != '\0') {
        char one[128];
        size_t len = strcspn(list, ",");
        int written = snprintf(one, sizeof one, "%.*s", (int)(len < sizeof one ? len : sizeof one), list);
        weft__host_kind kind = weft__host_classify(one, (size_t)written < sizeof one ? (size_t)written : 0);
        if (kind == WEFT__HOST_NONE && (size_t)written + sizeof DEFAULT_DNS <= sizeof one) {
            memcpy(one + written, DEFAULT_DNS, sizeof DEFAULT_DNS);
            kind = weft__host_classify(one, strlen(one));
        }
        if ((kind != WEFT__HOST_IPV4 && kind != WEFT__HOST_IPV6) || used + strlen(one) + 2 > SERVERS_MAX)
            return -EINVAL;
        written = snprintf(out + used, SERVERS_MAX - used, "%s%s", used > 0 ? "," : "", one);
        used += (size_t)written;
        list += len;
        if (*list == ',' && *++list == '\0')
            return -EINVAL;
    }
    out[used] = '\0';
    return 0;
}

/* Reads "users:50051" or "_grpc._tcp.users". @return 0; -EINVAL. */
static int read_name(struct dns_watch *watch, const char *path)
{
    size_t len = strlen(path);
    weft__host_kind kind = weft__host_classify(path, len);
    watch->literal = kind == WEFT__HOST_IPV4 || kind == WEFT__HOST_IPV6;
    if (kind == WEFT__HOST_NONE) {
        if (path[0] != '_' || !weft__is_name(path, len))
            return -EINVAL;
        memcpy(watch->name, path, len + 1);
        return 0;
    }
    const char *port = strrchr(path, ':') + 1;
    (void)snprintf(watch->name, sizeof watch->name, "%.*s", (int)(port - 1 - path), path);
    watch->port = (uint16_t)strtoul(port, NULL, 10);
    return 0;
}

static int read_target(struct dns_watch *watch, const weft_target *target, char *reason, size_t reason_size)
{
    if (read_servers(target->authority, watch->servers) < 0) {
        (void)snprintf(reason, reason_size, "\"%s\" are no servers: write dns://127.0.0.1:53/users:50051, or dns:///",
                       target->authority);
        return -EINVAL;
    }
    if (target->authority[0] == '\0')
        memcpy(watch->servers, watch->resolver->servers, sizeof watch->servers);
    if (read_name(watch, target->path) < 0 || target->query[0] != '\0') {
        (void)snprintf(
            reason, reason_size,
            "\"%s\" is no name and port: write dns:///users:50051, or dns:///_grpc._tcp.users for SRV records",
            target->path);
        return -EINVAL;
    }
    return 0;
}

/* ---- the resolver ------------------------------------------------------------------------------------------------ */

static void publish_literal(struct dns_watch *watch, const char *path)
{
    char full[WEFT__TARGET_MAX];
    const weft_address address = {.address = full};
    const weft_resolution resolution = {.struct_size = sizeof resolution, .addresses = &address, .address_count = 1};
    if (weft__target_parse(path, full) == 0)
        weft_sink_publish(watch->sink, &resolution);
}

static int watch_name(weft_resolver *self, const weft_target *target, weft_sink *sink, weft_watch **out, char *reason,
                      size_t reason_size)
{
    struct dns_resolver *resolver = WEFT__CONTAINER_OF(self, struct dns_resolver, base);
    if (weft__runner_forked(&resolver->runner))
        return -ECHILD;
    struct dns_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return -ENOMEM;
    watch->resolver = resolver;
    watch->sink = sink;
    watch->next_ns = INT64_MIN;
    watch->task.run = run;
    watch->task.due_ns = INT64_MIN;
    int rc = read_target(watch, target, reason, reason_size);
    if (rc == 0 && watch->literal)
        publish_literal(watch, target->path);
    else if (rc == 0)
        rc = weft__runner_add(&resolver->runner, &watch->task);
    if (rc < 0) {
        free(watch);
        return rc;
    }
    *out = (weft_watch *)watch;
    return 0;
}

static void hint(weft_resolver *self, weft_watch *watch)
{
    struct dns_resolver *resolver = WEFT__CONTAINER_OF(self, struct dns_resolver, base);
    struct dns_watch *failing = (struct dns_watch *)watch;
    if (!weft__runner_forked(&resolver->runner) && !failing->literal && !atomic_exchange(&failing->hinted, true))
        weft__runner_wake(&resolver->runner, &failing->task);
}

static void unwatch(weft_resolver *self, weft_watch *watch)
{
    struct dns_resolver *resolver = WEFT__CONTAINER_OF(self, struct dns_resolver, base);
    struct dns_watch *ended = (struct dns_watch *)watch;
    if (weft__runner_forked(&resolver->runner))
        return;
    if (!ended->literal)
        weft__runner_remove(&resolver->runner, &ended->task);
    end_questions(ended); /* their callbacks come from in here */
    weft__addresses_fini(&ended->found);
    free(ended);
}

static void destroy(weft_resolver *self)
{
    struct dns_resolver *resolver = WEFT__CONTAINER_OF(self, struct dns_resolver, base);
    if (weft__runner_forked(&resolver->runner))
        return;
    weft__runner_fini(&resolver->runner);
    free(resolver);
}

/* One limit within bounds. */
static int read_limit(int64_t *limit, int64_t fallback, int64_t max)
{
    int rc = weft__limit(limit, fallback, 1);
    return rc == 0 && *limit > max ? -EINVAL : rc;
}

static int read_options(struct dns_resolver *resolver, const weft_dns_resolver_options *given)
{
    weft_dns_resolver_options *options = &resolver->options;
    int rc = weft__options_copy(options, sizeof *options, given);
    if (rc == 0)
        rc = read_limit(&options->refresh_ms, 30000, MAX_MS);
    if (rc == 0)
        rc = read_limit(&options->min_refresh_ms, options->refresh_ms < 1000 ? options->refresh_ms : 1000,
                        options->refresh_ms);
    if (rc == 0)
        rc = read_limit(&options->timeout_ms, 2000, MAX_MS);
    if (rc == 0)
        rc = read_limit(&options->max_addresses, 1000, MAX_ADDRESSES);
    if (rc == 0 && options->servers != NULL)
        rc = read_servers(options->servers, resolver->servers);
    options->servers = NULL; /* the caller's */
    return rc;
}

int weft_dns_resolver_new(weft_resolver **out, const weft_dns_resolver_options *options)
{
    static const weft_resolver_vtable vtable = {
        .struct_size = sizeof vtable,
        .scheme = "dns",
        .watch = watch_name,
        .hint = hint,
        .unwatch = unwatch,
        .destroy = destroy,
    };
    struct dns_resolver *resolver = calloc(1, sizeof *resolver);
    if (resolver == NULL)
        return -ENOMEM;
    int rc = read_options(resolver, options);
    if (rc == 0)
        rc = weft__runner_init(&resolver->runner, "weft-dns");
    if (rc < 0) {
        free(resolver);
        return rc;
    }
    resolver->base.vtable = &vtable;
    *out = &resolver->base;
    return 0;
}
