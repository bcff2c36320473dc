/* health.c: grpc.health.v1.Health.
 *
 *                  ┌─ status is another ── send ──┐
 *     watch ──▶ up to date ◀──────────────────────┘──▶ over
 *                  │        ▲                            nobody waits · a send failed · all told, and the server drains
 *                  └ waiting┘ a send is under way
 *
 * Design notes
 * - A watcher is linked to its service until it is over. Whoever makes it over, under the lock, is the one who finishes
 *   its call, after it has let go of the lock.
 * - A watcher holds no thread. A change is sent at once where nothing is under way; else on_writable comes, and sends
 *   what the status is then: of several changes a slow client sees the last.
 * - It is kept by its call, until that is finished, and by each callback it has asked for, until that has come, which
 *   on a program's loop may be after the call.
 * - A service that nobody has made known exists while somebody watches it: what peers can make grow is bounded by
 *   max_watches and by the size of a request.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <weft/health.h>

#include "base/list.h"
#include "base/options.h"
#include "base/table.h"
#include "grpc/health/v1/health.weft.h"
#include "server/server.h"

/* A request holds a name. Longer ones are no services. */
#define MAX_REQUEST_BYTES 4096

/* What one answer of List carries at most. */
#define MAX_LISTED 100

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus status_code;
#define SERVICE_UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN
#define NONE            GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__UNKNOWN

struct weft_health {
    weft__server_observer observer;
    int64_t max_watches;
    bool registered;
    pthread_mutex_t lock; /* of what follows, and of services and watchers */
    weft__table services;
    bool over;     /* all are NOT_SERVING for good */
    bool draining; /* and watches end */
};

struct service {
    status_code status; /* SERVICE_UNKNOWN: it is here for its watchers only */
    weft__list watchers;
    char name[];
};

struct watcher {
    weft__list_node node; /* in its service's list; once over, in a list of those to be finished */
    atomic_int keepers;
    weft_health *health;
    struct service *service;
    weft_call *call;
    grpc_health_v1_Health_Watch_server *stream;
    status_code told;
    bool waiting; /* on_writable will come */
    bool over;
    weft_code code; /* what the call ends with */
};

/* ---- services ---------------------------------------------------------------------------------------------------- */

static struct service *find_locked(const weft_health *health, const char *name)
{
    return weft__table_find(&health->services, weft_sv_from(name));
}

/* Finds a service, or makes one that is unknown. 0; -ENOMEM. */
static int obtain_locked(weft_health *health, const char *name, struct service **out)
{
    *out = find_locked(health, name);
    if (*out != NULL)
        return 0;
    size_t size = strlen(name) + 1;
    struct service *made = malloc(sizeof *made + size);
    if (made == NULL)
        return -ENOMEM;
    made->status = SERVICE_UNKNOWN;
    weft__list_init(&made->watchers);
    memcpy(made->name, name, size);
    int rc = weft__table_put(&health->services, weft_sv_of(made->name, size - 1), made);
    if (rc < 0) {
        free(made);
        return rc;
    }
    *out = made;
    return 0;
}

/* Lets go of a service that only its watchers knew. Not while the table is walked, as in a drain. */
static void drop_unused_locked(weft_health *health, struct service *service)
{
    if (service->status != SERVICE_UNKNOWN || !weft__list_empty(&service->watchers) || health->draining)
        return;
    (void)weft__table_remove(&health->services, weft_sv_from(service->name));
    free(service);
}

/* ---- watchers ---------------------------------------------------------------------------------------------------- */

static void on_writable(void *arg);

static void let_go(struct watcher *watcher)
{
    if (atomic_fetch_sub_explicit(&watcher->keepers, 1, memory_order_acq_rel) == 1)
        free(watcher);
}

/* The call of a watcher is to be finished with `code`, by the caller: it goes from its service to `ended`. */
static void end_locked(struct watcher *watcher, weft_code code, weft__list *ended)
{
    struct service *service = watcher->service;
    weft__list_remove(&watcher->node);
    weft__list_push_back(ended, &watcher->node);
    watcher->service = NULL;
    watcher->over = true;
    watcher->code = code;
    if (service != NULL)
        drop_unused_locked(watcher->health, service);
}

/* Finishes the calls of watchers that are over, without the lock. */
static void finish(weft__list *ended)
{
    for (weft__list_node *node = weft__list_pop_front(ended); node != NULL; node = weft__list_pop_front(ended)) {
        struct watcher *watcher = WEFT__CONTAINER_OF(node, struct watcher, node);
        weft_call *call = watcher->call;
        weft_code code = watcher->code;
        let_go(watcher);
        if (code == WEFT_UNAVAILABLE)
            (void)weft_fail(call, code, "the server is shutting down");
        weft_call_finish(call, code, NULL);
    }
}

static weft_code code_of(int rc)
{
    return rc == -ENOMEM ? WEFT_RESOURCE_EXHAUSTED : WEFT_CANCELLED;
}

/* Sends the status if it can go without waiting. 1: sent; 0: on_writable will come; -errno: there is no way. */
static int send_locked(struct watcher *watcher, status_code status)
{
    weft_stream *stream = WEFT_STREAM(watcher->stream);
    atomic_fetch_add_explicit(&watcher->keepers, 1, memory_order_relaxed);
    int rc = weft_stream_when_writable(stream, on_writable, watcher);
    watcher->waiting = rc == 0;
    if (rc == 0)
        return 0;
    atomic_fetch_sub_explicit(&watcher->keepers, 1, memory_order_relaxed);
    if (rc < 0)
        return rc;
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status;
    rc = grpc_health_v1_Health_Watch_server_send(watcher->stream, &response);
    return rc < 0 ? rc : 1;
}

/* Tells a watcher what it does not know yet. */
static void update_locked(struct watcher *watcher, weft__list *ended)
{
    status_code status = watcher->service->status;
    if (watcher->waiting)
        return;
    if (watcher->told != status) {
        int rc = send_locked(watcher, status);
        if (rc < 0)
            end_locked(watcher, code_of(rc), ended);
        if (rc != 1)
            return;
        watcher->told = status;
    }
    if (watcher->health->draining)
        end_locked(watcher, WEFT_UNAVAILABLE, ended);
}

static void update_all_locked(struct service *service, weft__list *ended)
{
    weft__list_node *next;
    for (weft__list_node *node = weft__list_first(&service->watchers); node != NULL; node = next) {
        next = weft__list_next(&service->watchers, node);
        update_locked(WEFT__CONTAINER_OF(node, struct watcher, node), ended);
    }
}

static void on_writable(void *arg)
{
    struct watcher *watcher = arg;
    weft_health *health = watcher->health;
    weft__list ended;
    weft__list_init(&ended);
    pthread_mutex_lock(&health->lock);
    watcher->waiting = false;
    if (!watcher->over)
        update_locked(watcher, &ended);
    pthread_mutex_unlock(&health->lock);
    let_go(watcher);
    finish(&ended);
}

static void on_cancelled(void *arg)
{
    struct watcher *watcher = arg;
    weft_health *health = watcher->health;
    weft__list ended;
    weft__list_init(&ended);
    pthread_mutex_lock(&health->lock);
    if (!watcher->over)
        end_locked(watcher, WEFT_CANCELLED, &ended);
    pthread_mutex_unlock(&health->lock);
    let_go(watcher);
    finish(&ended);
}

/* ---- handlers: all inline ---------------------------------------------------------------------------------------- */

static weft_code check(weft_call *call, const Grpc__Health__V1__HealthCheckRequest *request,
                       Grpc__Health__V1__HealthCheckResponse *response, void *self)
{
    weft_health *health = self;
    pthread_mutex_lock(&health->lock);
    const struct service *service = find_locked(health, request->service);
    status_code status = service != NULL ? service->status : SERVICE_UNKNOWN;
    pthread_mutex_unlock(&health->lock);
    if (status == SERVICE_UNKNOWN)
        return weft_fail(call, WEFT_NOT_FOUND, "unknown service %s", request->service);
    response->status = status;
    return WEFT_OK;
}

typedef Grpc__Health__V1__HealthListResponse__StatusesEntry list_entry;

/* Adds a service, which is known and so stays as long as the server. NULL: out of memory. */
static list_entry *make_entry(struct service *service, weft_arena *arena)
{
    list_entry *entry = weft_arena_alloc(arena, sizeof *entry);
    Grpc__Health__V1__HealthCheckResponse *value = weft_arena_alloc(arena, sizeof *value);
    if (entry == NULL || value == NULL)
        return NULL;
    grpc__health__v1__health_list_response__statuses_entry__init(entry);
    grpc__health__v1__health_check_response__init(value);
    entry->key = service->name;
    entry->value = value;
    value->status = service->status;
    return entry;
}

/* 0; -ENOMEM; -E2BIG. */
static int list_locked(const weft_health *health, weft_arena *arena, Grpc__Health__V1__HealthListResponse *response)
{
    size_t cursor = 0;
    void *value;
    response->statuses = weft_arena_calloc(arena, MAX_LISTED, sizeof(list_entry *));
    if (response->statuses == NULL)
        return -ENOMEM;
    while (weft__table_next(&health->services, &cursor, NULL, &value)) {
        struct service *service = value;
        if (service->status == SERVICE_UNKNOWN)
            continue;
        if (response->n_statuses == MAX_LISTED)
            return -E2BIG;
        list_entry *entry = make_entry(service, arena);
        if (entry == NULL)
            return -ENOMEM;
        response->statuses[response->n_statuses++] = entry;
    }
    return 0;
}

static weft_code list(weft_call *call, const Grpc__Health__V1__HealthListRequest *request,
                      Grpc__Health__V1__HealthListResponse *response, void *self)
{
    weft_health *health = self;
    (void)request;
    pthread_mutex_lock(&health->lock);
    int rc = list_locked(health, weft_call_arena(call), response);
    pthread_mutex_unlock(&health->lock);
    if (rc == -E2BIG)
        return weft_fail(call, WEFT_RESOURCE_EXHAUSTED, "more than %d services: ask for one", MAX_LISTED);
    return rc < 0 ? weft_fail_errno(call, rc) : WEFT_OK;
}

/* Begins a watch: 0; -ENOMEM; -ECANCELED nobody waits any more. The call is deferred in any case. */
static int watch_locked(weft_health *health, struct watcher *watcher, const char *name)
{
    (void)weft_call_defer(watcher->call);
    int rc = obtain_locked(health, name, &watcher->service);
    if (rc < 0)
        return rc;
    weft__list_push_back(&watcher->service->watchers, &watcher->node);
    atomic_fetch_add_explicit(&watcher->keepers, 1, memory_order_relaxed);
    rc = weft_call_when_cancelled(watcher->call, on_cancelled, watcher);
    if (rc == 0)
        return 0;
    atomic_fetch_sub_explicit(&watcher->keepers, 1, memory_order_relaxed);
    return rc < 0 ? rc : -ECANCELED;
}

static weft_code watch(weft_call *call, const Grpc__Health__V1__HealthCheckRequest *request,
                       grpc_health_v1_Health_Watch_server *stream, void *self)
{
    weft_health *health = self;
    weft__list ended;
    weft__list_init(&ended);
    struct watcher *watcher = calloc(1, sizeof *watcher);
    if (watcher == NULL)
        return weft_fail_errno(call, -ENOMEM);
    atomic_init(&watcher->keepers, 1);
    watcher->health = health;
    watcher->call = call;
    watcher->stream = stream;
    watcher->told = NONE;
    pthread_mutex_lock(&health->lock);
    int rc = watch_locked(health, watcher, request->service);
    if (rc == 0)
        update_locked(watcher, &ended);
    else
        end_locked(watcher, code_of(rc), &ended);
    pthread_mutex_unlock(&health->lock); /* whoever takes it next may finish the call */
    finish(&ended);
    return WEFT_OK;
}

/* ---- the life of the server -------------------------------------------------------------------------------------- */

static weft_health *from_observer(weft__server_observer *observer)
{
    return WEFT__CONTAINER_OF(observer, weft_health, observer);
}

static int set_locked(weft_health *health, const char *name, weft_serving status, weft__list *ended)
{
    struct service *service;
    int rc = obtain_locked(health, name, &service);
    if (rc < 0)
        return rc;
    service->status = (status_code)status;
    update_all_locked(service, ended);
    return 0;
}

/* All services that the program has said nothing of serve, unless it is over before it began. */
static int on_start(weft__server_observer *observer, const weft_server *server)
{
    weft_health *health = from_observer(observer);
    weft__list ended; /* stays empty: nobody watches yet */
    int rc = 0;
    weft__list_init(&ended);
    pthread_mutex_lock(&health->lock);
    for (size_t i = 0; rc == 0 && i < server->service_count; i++)
        if (find_locked(health, server->services[i].name) == NULL)
            rc = set_locked(health, server->services[i].name, health->over ? WEFT_NOT_SERVING : WEFT_SERVING, &ended);
    pthread_mutex_unlock(&health->lock);
    return rc;
}

static void end_serving(weft_health *health, bool draining)
{
    weft__list ended;
    size_t cursor = 0;
    void *value;
    weft__list_init(&ended);
    pthread_mutex_lock(&health->lock);
    health->over = true;
    health->draining = health->draining || draining;
    while (weft__table_next(&health->services, &cursor, NULL, &value)) {
        struct service *service = value;
        if (service->status == SERVICE_UNKNOWN && !health->draining)
            continue; /* nothing to tell; and a watcher that goes must not take it out of the table now */
        if (service->status != SERVICE_UNKNOWN)
            service->status = (status_code)WEFT_NOT_SERVING;
        update_all_locked(service, &ended);
    }
    pthread_mutex_unlock(&health->lock);
    finish(&ended);
}

static void on_drain(weft__server_observer *observer)
{
    end_serving(from_observer(observer), true);
}

/* ---- the public functions ---------------------------------------------------------------------------------------- */

int weft_health_new(weft_health **out, const weft_health_options *options)
{
    weft_health_options o;
    memset(&o, 0, sizeof o);
    int rc = weft__options_copy(&o, sizeof o, options);
    if (rc < 0)
        return rc;
    if (o.max_watches < -1)
        return -EINVAL;
    weft_health *health = calloc(1, sizeof *health);
    if (health == NULL)
        return -ENOMEM;
    health->max_watches = o.max_watches;
    health->observer.start = on_start;
    health->observer.drain = on_drain;
    weft__table_init(&health->services);
    (void)pthread_mutex_init(&health->lock, NULL); /* cannot fail without attributes */
    rc = weft_health_set(health, "", WEFT_SERVING);
    if (rc < 0) {
        weft_health_free(health);
        return rc;
    }
    *out = health;
    return 0;
}

static int64_t max_watches(const weft_server *server, const weft_health *health)
{
    int64_t calls = server->options.max_concurrent_calls;
    if (health->max_watches != 0)
        return health->max_watches;
    return calls == INT64_MAX ? -1 : (calls + 1) / 2;
}

static weft_method_options method_options(const weft_server *server, const char *method, int64_t max_calls)
{
    int64_t max_bytes = server->options.max_message_bytes;
    weft_method_options options = WEFT_METHOD_OPTIONS_INIT;
    options.method = method;
    options.run_inline = true;
    options.max_message_bytes = max_bytes < MAX_REQUEST_BYTES ? max_bytes : MAX_REQUEST_BYTES;
    options.max_concurrent_calls = max_calls;
    return options;
}

int weft_health_register(weft_server *server, weft_health *health)
{
    static const grpc_health_v1_Health_ops ops = {.Check = check, .List = list, .Watch = watch};
    weft_method_options methods[] = {
        method_options(server, "Check", 0),
        method_options(server, "List", 0),
        method_options(server, "Watch", max_watches(server, health)),
    };
    weft_service_options options = WEFT_SERVICE_OPTIONS_INIT;
    options.methods = methods;
    options.method_count = sizeof methods / sizeof *methods;
    if (health->registered)
        return -EALREADY;
    int rc = grpc_health_v1_Health_register(server, &ops, health, &options);
    if (rc < 0)
        return rc;
    health->registered = true;
    (void)weft__server_observe(server, &health->observer);
    return 0;
}

int weft_health_set(weft_health *health, const char *service, weft_serving status)
{
    weft__list ended;
    if (service == NULL || (status != WEFT_SERVING && status != WEFT_NOT_SERVING))
        return -EINVAL;
    weft__list_init(&ended);
    pthread_mutex_lock(&health->lock);
    int rc = health->over ? -ESHUTDOWN : set_locked(health, service, status, &ended);
    pthread_mutex_unlock(&health->lock);
    finish(&ended);
    return rc;
}

void weft_health_shutdown(weft_health *health)
{
    end_serving(health, false);
}

void weft_health_free(weft_health *health)
{
    size_t cursor = 0;
    void *value;
    if (health == NULL)
        return;
    while (weft__table_next(&health->services, &cursor, NULL, &value))
        free(value);
    weft__table_fini(&health->services);
    pthread_mutex_destroy(&health->lock);
    free(health);
}
