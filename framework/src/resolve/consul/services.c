/* services.c: the resolver: one hanging query for each service, for all sinks that want it.
 *
 *     ┌──▶ PAUSE: until next_ns, and until the token bucket lets one through
 *     │      │
 *     │      ▼
 *     │    ASK without an index ── answer ──▶ index ──▶ ASK with it, hangs until something changes or `wait` is over
 *     │      │                                              │
 *     │      │ error, not 200, not a list                   │ answer: index lower than before ──▶ index 0
 *     └──────┴──────────────────────────────────────────────┘ error: index 0, back-off
 *
 * - An answer is no proof of a change. Each sink remembers what it was given, as bytes, and gets only what differs.
 * - An empty answer after instances were known is not believed for `empty_grace_ms`: an agent that has restarted, or
 *   lost its leader or our rights, answers so too. Meanwhile the query goes on, and any other answer ends the wait.
 * - A snapshot stands in for a first answer that does not come. It is replaced by the first one that does, under the
 *   same rules.
 * - What is marked "loop" belongs to the thread and needs no lock; the rest does. The thread frees a service once it
 *   has no sinks; until then a new sink may have it back. While `publishing`, the thread is inside a sink without
 *   the lock, and unwatch waits.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolve/consul/answer.h"
#include "resolve/consul/client.h"
#include "resolve/consul/query.h"
#include "resolve/consul/snapshot.h"

#define NS_PER_MS        INT64_C(1000000)
#define DEFAULT_WAIT_MS  300000
#define DEFAULT_TIMEOUT  10000
#define HINT_INTERVAL_NS (INT64_C(1000) * NS_PER_MS)

struct service {
    weft__list_node node;
    weft__list sinks;
    bool hinted; /* look soon */
    /* the rest: loop */
    weft_arena *arena;
    weft__consul_query query;
    char *snapshot_key;
    weft__consul_request request;
    uint64_t index;
    unsigned failures; /* in a row */
    bool asked;
    bool offset; /* the first query that hangs has taken its random part of `wait` */
    int64_t started_ns;
    int64_t next_ns;        /* a pause ends */
    int64_t bucket_ns;      /* when the bucket is full again */
    int64_t snapshot_at_ns; /* INT64_MAX: no more */
    int64_t grace_ns;       /* when an empty answer is believed; INT64_MAX: none is waiting */
    weft__consul_answer answer;
    uint64_t generation;      /* of the answer; 0: none */
    uint64_t fail_generation; /* of fail_text; 0: it works */
    char fail_text[512];
};

struct watcher {
    weft__list_node node;
    weft_sink *sink;
    struct service *service;
    bool publishing;
    bool removed;
    /* the rest: loop */
    weft_arena *arena;
    weft__consul_query query;
    uint64_t seen;      /* the service's generation that it has; UINT64_MAX: there was no memory for it */
    uint64_t seen_fail; /* the failure that it was told of */
    weft__buf published;
    bool published_any;
};

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static void add_parameter(weft__buf *path, const char *name, const char *value)
{
    if (value == NULL || *value == '\0')
        return;
    weft__buf_printf(path, "%s%s=", strchr(path->data, '?') != NULL ? "&" : "?", name);
    weft__consul_escape(path, value);
}

static const char *or_else(const char *text, const char *fallback)
{
    return *text != '\0' ? text : fallback != NULL ? fallback : "";
}

/* How long the next query may hang. The first one hangs shorter, so that many watches do not come back together. */
static int64_t choose_wait_ms(weft_consul *consul, struct service *service)
{
    int64_t wait_ms = service->query.wait_ms > 0 ? service->query.wait_ms : DEFAULT_WAIT_MS;
    int64_t most_ms = wait_ms / 5 * 4;
    if (!service->offset)
        wait_ms -= (int64_t)(weft__random_unit(consul->random) * (double)most_ms);
    service->offset = true;
    return wait_ms;
}

static int start(weft_consul *consul, struct service *service)
{
    const weft__consul_query *query = &service->query;
    char number[48];
    weft__buf path;
    int64_t timeout_ms = query->timeout_ms > 0 ? query->timeout_ms : DEFAULT_TIMEOUT;
    weft__buf_init(&path, 0);
    weft__buf_puts(&path, "/v1/health/service/");
    weft__consul_escape(&path, query->service);
    if (service->index > 0) {
        int64_t wait_ms = choose_wait_ms(consul, service);
        timeout_ms += wait_ms + wait_ms / 16; /* the servers add up to a sixteenth */
        snprintf(number, sizeof number, "%" PRIu64, service->index);
        add_parameter(&path, "index", number);
        snprintf(number, sizeof number, "%" PRId64 "ms", wait_ms);
        add_parameter(&path, "wait", number);
    }
    add_parameter(&path, "dc", or_else(query->datacenter, consul->options.datacenter));
    add_parameter(&path, "ns", or_else(query->name_space, consul->options.name_space));
    add_parameter(&path, "partition", consul->options.partition);
    add_parameter(&path, "near", query->near);
    if (query->stale || query->consistent)
        weft__buf_printf(&path, "%s%s", strchr(path.data, '?') != NULL ? "&" : "?",
                         query->stale ? "stale" : "consistent");
    weft__consul_ask ask = {.method = "GET",
                            .authority = query->authority,
                            .user_password = query->user_password,
                            .token = query->token,
                            .path = path.data,
                            .insecure = query->insecure,
                            .timeout_ms = timeout_ms};
    int rc = path.failed < 0 ? -ENOMEM : weft__consul_request_start(consul, &service->request, &ask);
    weft__buf_fini(&path);
    return rc;
}

/* When the next query may go out. Two go at once, then one each interval; the first of all is free. */
static int64_t due_ns(const weft_consul *consul, const struct service *service, bool hinted)
{
    int64_t due = service->next_ns;
    if (service->bucket_ns - consul->options.query_interval_ms * NS_PER_MS > due)
        due = service->bucket_ns - consul->options.query_interval_ms * NS_PER_MS;
    if (hinted && due > service->started_ns + HINT_INTERVAL_NS)
        due = service->started_ns + HINT_INTERVAL_NS;
    return due;
}

static void charge(const weft_consul *consul, struct service *service, int64_t now_ns)
{
    service->started_ns = now_ns;
    if (service->asked)
        service->bucket_ns =
            (service->bucket_ns > now_ns ? service->bucket_ns : now_ns) + consul->options.query_interval_ms * NS_PER_MS;
    service->asked = true;
}

static void set_fail(weft_consul *consul, struct service *service, const char *text, int64_t now_ns)
{
    int64_t max_ms = service->query.max_backoff_ms > 0 ? service->query.max_backoff_ms : consul->options.max_backoff_ms;
    char whole[sizeof service->fail_text];
    const char *agent = or_else(service->query.authority, consul->options.address);
    snprintf(whole, sizeof whole, "consul at %.128s: %.256s", agent, text);
    service->index = 0;
    if (service->failures < 1000)
        service->failures++;
    service->next_ns = now_ns + weft__consul_backoff_ns(consul, service->failures, max_ms);
    if (service->failures > 1 && strcmp(whole, service->fail_text) == 0)
        return;
    snprintf(service->fail_text, sizeof service->fail_text, "%s", whole);
    service->fail_generation++;
    weft_log_warn(consul->options.log, "consul: a service cannot be watched",
                  WEFT_FIELDS(WEFT_STR("service", service->query.service), WEFT_STR("reason", whole)));
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void set_answer(struct service *service, weft__consul_answer *answer)
{
    weft__consul_answer_fini(&service->answer);
    service->answer = *answer;
    *answer = (weft__consul_answer){0};
    service->generation++;
    service->grace_ns = INT64_MAX;
    service->snapshot_at_ns = INT64_MAX;
}

static bool same_answer(const weft__consul_answer *a, const weft__consul_answer *b)
{
    weft__buf left, right;
    weft__buf_init(&left, 0);
    weft__buf_init(&right, 0);
    for (size_t i = 0; i < a->count; i++)
        weft__consul_addresses_write(&left, &a->instances[i].address, 1);
    for (size_t i = 0; i < b->count; i++)
        weft__consul_addresses_write(&right, &b->instances[i].address, 1);
    bool passing = true;
    for (size_t i = 0; i < a->count && a->count == b->count; i++)
        passing = passing && a->instances[i].passing == b->instances[i].passing;
    bool same = a->count == b->count && passing && left.failed == 0 && right.failed == 0 && left.len == right.len &&
                memcmp(left.data, right.data, left.len) == 0;
    weft__buf_fini(&right);
    weft__buf_fini(&left);
    return same;
}

static void save(const weft_consul *consul, const struct service *service)
{
    if (consul->options.snapshot_folder == NULL || service->answer.count == 0)
        return; /* an empty one would help nobody at a start */
    int rc = weft__consul_snapshot_save(consul->options.snapshot_folder, service->query.service, service->snapshot_key,
                                        weft_sv_of(service->request.answer.data, service->request.answer.len));
    if (rc < 0)
        weft_log_warn(consul->options.log, "consul: a snapshot cannot be written",
                      WEFT_FIELDS(WEFT_STR("folder", consul->options.snapshot_folder),
                                  WEFT_STR("service", service->query.service), WEFT_INT("error", -rc)));
}

/* Puts a snapshot in the place of an answer. */
static void use_snapshot(weft_consul *consul, struct service *service, weft_consul_counters *counted)
{
    weft__buf file;
    weft_sv text;
    char reason[160] = "";
    weft__consul_answer answer;
    service->snapshot_at_ns = INT64_MAX;
    if (consul->options.snapshot_folder == NULL || service->generation > 0)
        return;
    size_t max = consul->options.max_answer_bytes < INT64_MAX / 2 ? (size_t)consul->options.max_answer_bytes + 8192 : 0;
    weft__buf_init(&file, max);
    int rc = weft__consul_snapshot_load(consul->options.snapshot_folder, service->query.service, service->snapshot_key,
                                        &file, &text);
    if (rc == 0)
        rc = weft__consul_answer_parse(&answer, text.data, text.len, reason, sizeof reason);
    weft__buf_fini(&file);
    if (rc == 0) {
        set_answer(service, &answer);
        counted->snapshots++;
        weft_log_warn(
            consul->options.log, "consul: instances are from a snapshot",
            WEFT_FIELDS(WEFT_STR("service", service->query.service), WEFT_INT("instances", service->answer.count)));
    } else if (rc != -ENOENT) {
        weft_log_warn(consul->options.log, "consul: a snapshot cannot be used",
                      WEFT_FIELDS(WEFT_STR("service", service->query.service), WEFT_INT("error", -rc)));
    }
}

/* The service's index after an answer with `index`. */
static void take_index(struct service *service, uint64_t index, weft_consul_counters *counted)
{
    if (index == 0)
        index = 1; /* with none or 0 the next query would not hang */
    if (index < service->index) {
        counted->regressions++;
        index = 0;
    }
    service->index = index;
}

/* @return whether the service works again. */
static bool take_answer(weft_consul *consul, struct service *service, int64_t now_ns, weft_consul_counters *counted)
{
    weft__consul_request *request = &service->request;
    weft__consul_answer answer = {0};
    char reason[160] = "out of memory";
    bool ok = weft__consul_request_ok(request);
    if (ok &&
        weft__consul_answer_parse(&answer, request->answer.data, request->answer.len, reason, sizeof reason) < 0) {
        snprintf(request->text, sizeof request->text, "%s", reason);
        ok = false;
    }
    if (!ok) {
        counted->failures++;
        set_fail(consul, service, request->text, now_ns);
        use_snapshot(consul, service, counted);
        return false;
    }
    bool recovered = service->failures > 0;
    counted->queries++;
    counted->skipped += answer.skipped;
    service->failures = 0;
    service->fail_generation += service->fail_text[0] != '\0';
    service->fail_text[0] = '\0';
    service->next_ns = now_ns;
    take_index(service, request->index, counted);
    if (answer.skipped > 0)
        weft_log_warn(consul->options.log, "consul: instances without an IP address and a port are left out",
                      WEFT_FIELDS(WEFT_STR("service", service->query.service), WEFT_INT("instances", answer.skipped)));

    if (service->generation > 0 && same_answer(&service->answer, &answer)) {
        service->grace_ns = INT64_MAX;
    } else if (answer.count == 0 && service->answer.count > 0 && consul->options.empty_grace_ms > 0) {
        counted->kept_empties++;
        if (service->grace_ns == INT64_MAX) {
            service->grace_ns = now_ns + consul->options.empty_grace_ms * NS_PER_MS;
            weft_log_warn(consul->options.log, "consul: all instances have vanished at once: they are kept for a while",
                          WEFT_FIELDS(WEFT_STR("service", service->query.service),
                                      WEFT_BOOL("filtered_by_acls", request->filtered)));
        }
    } else {
        counted->changes++;
        set_answer(service, &answer);
        save(consul, service);
    }
    weft__consul_answer_fini(&answer);
    weft__buf_fini(&request->answer); /* nothing of it is needed while the next one hangs */
    return recovered;
}

/* ---- publishing -------------------------------------------------------------------------------------------------- */

/* @return 0; -ENOMEM, and the sink has been told. */
static int publish_list(weft_consul *consul, struct watcher *watcher)
{
    const struct service *service = watcher->service;
    weft_address *addresses = calloc(service->answer.count + 1, sizeof *addresses);
    size_t count = 0;
    weft__buf text;
    weft__buf_init(&text, 0);
    int rc = addresses == NULL
                 ? -ENOMEM
                 : weft__consul_answer_select(&service->answer, &watcher->query, consul->seed, addresses, &count);
    if (rc == 0)
        weft__consul_addresses_write(&text, addresses, count);
    if (rc < 0 || text.failed < 0) {
        weft__buf_fini(&text);
        free(addresses);
        weft_sink_fail(watcher->sink, "consul: out of memory");
        return -ENOMEM;
    }
    bool same = watcher->published_any && text.len == watcher->published.len &&
                memcmp(text.data, watcher->published.data, text.len) == 0;
    if (same) {
        weft__buf_fini(&text);
    } else {
        weft_resolution resolution = {.struct_size = sizeof resolution, .addresses = addresses, .address_count = count};
        weft_sink_publish(watcher->sink, &resolution);
        weft__buf_fini(&watcher->published);
        watcher->published = text;
        watcher->published_any = true;
    }
    free(addresses);
    return 0;
}

static void sooner(int64_t *next_ns, int64_t at_ns)
{
    if (at_ns < *next_ns)
        *next_ns = at_ns;
}

/* Brings one sink up to date, without the lock; unwatch waits meanwhile. What finds no memory is tried again. */
static void publish_locked(weft_consul *consul, struct watcher *watcher, int64_t *next_ns)
{
    const struct service *service = watcher->service;
    bool list = watcher->seen != service->generation;
    bool fail = watcher->seen_fail != service->fail_generation && service->fail_text[0] != '\0';
    watcher->seen_fail = service->fail_generation;
    if (watcher->removed || (!list && !fail))
        return;
    watcher->seen = service->generation;
    watcher->publishing = true;
    pthread_mutex_unlock(&consul->lock);
    if (list && publish_list(consul, watcher) < 0) {
        watcher->seen = UINT64_MAX;
        sooner(next_ns, weft__consul_now_ns(consul) + consul->options.backoff_ms * NS_PER_MS);
    }
    if (fail)
        weft_sink_fail(watcher->sink, service->fail_text);
    pthread_mutex_lock(&consul->lock);
    watcher->publishing = false;
    pthread_cond_broadcast(&consul->changed);
}

/* ---- the step ---------------------------------------------------------------------------------------------------- */

static void free_service(weft_consul *consul, struct service *service)
{
    weft__consul_request_fini(consul, &service->request);
    weft__consul_answer_fini(&service->answer);
    weft_arena_free(service->arena);
    free(service);
}

/* Without the lock. @return as take_answer. */
static bool step(weft_consul *consul, struct service *service, bool hinted, int64_t *next_ns,
                 weft_consul_counters *counted)
{
    int64_t now_ns = weft__consul_now_ns(consul);
    bool recovered = false;
    if (service->request.done) {
        service->request.done = false;
        recovered = take_answer(consul, service, now_ns, counted);
    }
    if (now_ns >= service->snapshot_at_ns)
        use_snapshot(consul, service, counted);
    if (now_ns >= service->grace_ns) {
        weft__consul_answer empty = {0};
        counted->changes++;
        set_answer(service, &empty);
    }
    if (!service->request.running) {
        int64_t due = due_ns(consul, service, hinted);
        if (now_ns >= due) {
            charge(consul, service, now_ns);
            if (start(consul, service) < 0)
                set_fail(consul, service, "out of memory", now_ns);
            due = service->request.running ? INT64_MAX : service->next_ns;
        }
        sooner(next_ns, due);
    }
    sooner(next_ns, service->snapshot_at_ns);
    sooner(next_ns, service->grace_ns);
    return recovered;
}

void weft__consul_services_step_locked(weft_consul *consul, int64_t *next_ns)
{
    weft__list_node *node = weft__list_first(&consul->services);
    while (node != NULL) {
        struct service *service = WEFT__CONTAINER_OF(node, struct service, node);
        if (weft__list_empty(&service->sinks)) {
            node = weft__list_next(&consul->services, node);
            weft__list_remove(&service->node);
            free_service(consul, service);
            continue;
        }
        weft_consul_counters counted = {0};
        bool hinted = service->hinted;
        pthread_mutex_unlock(&consul->lock);
        bool recovered = step(consul, service, hinted, next_ns, &counted);
        pthread_mutex_lock(&consul->lock);
        if (service->request.running)
            service->hinted = false;
        consul->counters.queries += counted.queries;
        consul->counters.failures += counted.failures;
        consul->counters.changes += counted.changes;
        consul->counters.regressions += counted.regressions;
        consul->counters.snapshots += counted.snapshots;
        consul->counters.skipped += counted.skipped;
        consul->counters.kept_empties += counted.kept_empties;
        if (recovered && service->query.authority[0] == '\0')
            weft__consul_reassert_locked(consul);
        weft__list_node *at = weft__list_first(&service->sinks);
        for (; at != NULL; at = weft__list_next(&service->sinks, at))
            publish_locked(consul, WEFT__CONTAINER_OF(at, struct watcher, node), next_ns);
        node = weft__list_next(&consul->services, node);
    }
}

void weft__consul_services_fini(weft_consul *consul)
{
    weft__list_node *node;
    while ((node = weft__list_pop_front(&consul->services)) != NULL)
        free_service(consul, WEFT__CONTAINER_OF(node, struct service, node));
}

/* ---- the resolver ------------------------------------------------------------------------------------------------ */

static void free_watcher(struct watcher *watcher)
{
    weft__buf_fini(&watcher->published);
    weft_arena_free(watcher->arena);
    free(watcher);
}

static int new_watcher(weft_sink *sink, const weft_target *target, struct watcher **out, char *reason,
                       size_t reason_size)
{
    struct watcher *watcher = calloc(1, sizeof *watcher);
    if (watcher == NULL)
        return -ENOMEM;
    watcher->sink = sink;
    weft__buf_init(&watcher->published, 0);
    int rc = weft_arena_new(&watcher->arena, 0);
    if (rc == 0)
        rc = weft__consul_query_parse(watcher->arena, target, &watcher->query, reason, reason_size);
    if (rc < 0) {
        free_watcher(watcher);
        return rc;
    }
    *out = watcher;
    return 0;
}

/* A service that answers the same query. Its snapshot's key names all that chooses what is answered, but no secret. */
static int new_service(const weft_consul *consul, const weft_target *target, struct service **out)
{
    char reason[1];
    const weft_consul_options *options = &consul->options;
    struct service *service = calloc(1, sizeof *service);
    if (service == NULL)
        return -ENOMEM;
    weft__consul_request_init(&service->request, options->max_answer_bytes);
    weft__list_init(&service->sinks);
    int rc = weft_arena_new(&service->arena, 0);
    const weft__consul_query *query = &service->query;
    if (rc == 0)
        rc = weft__consul_query_parse(service->arena, target, &service->query, reason, sizeof reason);
    if (rc == 0) {
        service->snapshot_key = weft_arena_printf(
            service->arena, "agent=%s dc=%s ns=%s partition=%s service=%s", or_else(query->authority, options->address),
            or_else(query->datacenter, options->datacenter), or_else(query->name_space, options->name_space),
            or_else("", options->partition), query->service);
        rc = service->snapshot_key == NULL ? -ENOMEM : 0;
    }
    if (rc < 0) {
        weft_arena_free(service->arena);
        free(service);
        return rc;
    }
    service->next_ns = INT64_MIN;
    service->bucket_ns = 0;
    service->grace_ns = INT64_MAX;
    service->snapshot_at_ns = options->snapshot_folder == NULL
                                  ? INT64_MAX
                                  : weft__consul_now_ns(consul) + options->snapshot_after_ms * NS_PER_MS;
    *out = service;
    return 0;
}

static struct service *find_locked(weft_consul *consul, const weft__consul_query *query)
{
    weft__list_node *node = weft__list_first(&consul->services);
    for (; node != NULL; node = weft__list_next(&consul->services, node)) {
        struct service *service = WEFT__CONTAINER_OF(node, struct service, node);
        if (weft__consul_query_same(&service->query, query))
            return service;
    }
    return NULL;
}

/* Puts a watcher to its service. @return 0; -ENOMEM; -EMFILE. */
static int join_locked(weft_consul *consul, const weft_target *target, struct watcher *watcher)
{
    struct service *service = find_locked(consul, &watcher->query);
    bool watched = service != NULL && !weft__list_empty(&service->sinks);
    if (!watched && consul->service_count >= (uint64_t)consul->options.max_services)
        return -EMFILE;
    if (service == NULL) {
        int rc = new_service(consul, target, &service);
        if (rc < 0)
            return rc;
        weft__list_push_back(&consul->services, &service->node);
    }
    consul->service_count += !watched;
    watcher->service = service;
    weft__list_push_back(&service->sinks, &watcher->node);
    return 0;
}

static int watch(weft_resolver *self, const weft_target *target, weft_sink *sink, weft_watch **out, char *reason,
                 size_t reason_size)
{
    weft_consul *consul = WEFT__CONTAINER_OF(self, weft_consul, resolver);
    char nowhere[1];
    struct watcher *watcher;
    if (weft__consul_forked(consul))
        return -ECHILD;
    int rc = new_watcher(sink, target, &watcher, reason_size > 0 ? reason : nowhere,
                         reason_size > 0 ? reason_size : sizeof nowhere);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&consul->lock);
    rc = join_locked(consul, target, watcher);
    pthread_mutex_unlock(&consul->lock);
    if (rc < 0) {
        free_watcher(watcher);
        return rc;
    }
    weft__consul_wake(consul);
    *out = (weft_watch *)watcher;
    return 0;
}

static void hint(weft_resolver *self, weft_watch *watch)
{
    weft_consul *consul = WEFT__CONTAINER_OF(self, weft_consul, resolver);
    struct watcher *watcher = (struct watcher *)watch;
    if (weft__consul_forked(consul))
        return;
    pthread_mutex_lock(&consul->lock);
    bool news = !watcher->service->hinted;
    watcher->service->hinted = true;
    pthread_mutex_unlock(&consul->lock);
    if (news)
        weft__consul_wake(consul);
}

static void unwatch(weft_resolver *self, weft_watch *watch)
{
    weft_consul *consul = WEFT__CONTAINER_OF(self, weft_consul, resolver);
    struct watcher *watcher = (struct watcher *)watch;
    if (weft__consul_forked(consul))
        return;
    pthread_mutex_lock(&consul->lock);
    watcher->removed = true;
    while (watcher->publishing)
        pthread_cond_wait(&consul->changed, &consul->lock);
    weft__list_remove(&watcher->node);
    consul->service_count -= weft__list_empty(&watcher->service->sinks);
    pthread_mutex_unlock(&consul->lock);
    weft__consul_wake(consul);
    free_watcher(watcher);
}

/* The client owns its resolver: weft_consul_free frees it. */
static void destroy(weft_resolver *self)
{
    (void)self;
}

const weft_resolver_vtable weft__consul_resolver_vtable = {.struct_size = sizeof weft__consul_resolver_vtable,
                                                           .scheme = "consul",
                                                           .watch = watch,
                                                           .hint = hint,
                                                           .unwatch = unwatch,
                                                           .destroy = destroy};
