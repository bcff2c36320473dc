/* registry.c: the registry: keeps the agent to what the program has registered.
 *
 *     REGISTER ─200─▶ registered ── TTL/3 ──▶ REPORT each TTL check ──┐
 *        ▲  ▲             │  ▲                                       │ 404, or 500 that knows no such check: the agent
 *        │  │             │  └────────────── 200 ─────────────────────┤ has lost us
 *        │  │             ├── drain ──▶ MAINTAIN (maintenance mode)   │
 *        │  └─ reassert ──┘                                          │
 *        └────────── after a random pause ◀──────────────────────────┘
 *     remove: DEREGISTER until 200 or 404, or until its time is over. Then the remover frees the registration.
 *
 * - One request at a time for each registration. What is due is found anew at each step, so whatever was lost or failed
 *   is made good in the same way as it was made.
 * - To register is to replace: it is done again every few minutes, after failures, and after a watch has lost the
 *   agent. Not while draining, since it would end the maintenance for a moment.
 * - The lock guards all of it; only a request's start and on_state are done without. A registration is taken out of the
 *   list by the thread only.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/thread.h"
#include "resolve/consul/client.h"
#include "resolve/consul/query.h"
#include "resolve/consul/registration.h"

#define NS_PER_MS         INT64_C(1000000)
#define REQUEST_MS        10000
#define DEFAULT_REMOVE_MS 5000
#define MAX_REMOVE_MS     INT64_C(86400000)
#define MAX_ANSWER_BYTES  65536
#define NOTE_MAX          256

enum op {
    OP_NONE,
    OP_REGISTER,
    OP_MAINTAIN,
    OP_REPORT,
    OP_DEREGISTER
};

struct registration {
    weft__list_node node;
    weft_arena *arena;
    weft__consul_registration what;
    void (*on_state)(void *arg, weft_registration_state state, const char *text);
    void *arg;

    /* what is wanted */
    weft_instance_health health;
    char health_note[NOTE_MAX];
    bool draining;
    char drain_note[NOTE_MAX];
    bool removing;
    int64_t remove_ms;
    int64_t remove_by_ns;
    int remove_rc;
    bool removed; /* it is out of the list, and remove_rc is the outcome */

    /* what is known of the agent */
    bool registered;
    bool maintained;
    bool touched;                              /* it may have been registered */
    bool health_told[WEFT__CONSUL_MAX_CHECKS]; /* the latest one */
    int64_t report_ns[WEFT__CONSUL_MAX_CHECKS];
    int64_t reassert_ns;
    int64_t next_ns; /* a pause ends */
    unsigned failures;
    weft_registration_state state;
    bool told; /* of a failure */
    weft_registration_counters counters;

    /* the request */
    weft__consul_request request;
    enum op op;
    size_t check;                           /* OP_REPORT: which */
    bool maintain;                          /* OP_MAINTAIN: on or off */
    unsigned health_version, asked_version; /* of what is wanted, and of what is under way */
};

/* ---- what is told ------------------------------------------------------------------------------------------------ */

static void copy_note(char out[NOTE_MAX], const char *note)
{
    size_t len = 0;
    for (; note != NULL && len + 1 < NOTE_MAX && note[len] != '\0'; len++)
        out[len] = note[len] >= ' ' && note[len] < 0x7f ? note[len] : '?';
    out[len] = '\0';
}

/* Changes the state, and tells of it; also of the first failure, since a registration begins as pending. */
static void set_state_locked(weft_consul *consul, struct registration *registration, weft_registration_state state,
                             const char *text)
{
    bool first_failure = state == WEFT_REGISTRATION_PENDING && !registration->told;
    bool change = state != registration->state;
    registration->told = state == WEFT_REGISTRATION_PENDING;
    registration->state = state;
    if (!change && !first_failure)
        return;
    pthread_mutex_unlock(&consul->lock);
    weft_log_write(consul->options.log, state == WEFT_REGISTRATION_PENDING ? WEFT_LOG_WARN : WEFT_LOG_INFO,
                   state == WEFT_REGISTRATION_PENDING      ? "consul: an instance is not registered"
                   : state == WEFT_REGISTRATION_REGISTERED ? "consul: an instance is registered"
                                                           : "consul: an instance is draining",
                   WEFT_FIELDS(WEFT_STR("service", registration->what.service), WEFT_STR("id", registration->what.id),
                               WEFT_STR("reason", text)));
    if (registration->on_state != NULL)
        registration->on_state(registration->arg, state, text);
    pthread_mutex_lock(&consul->lock);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static void write_scope(const weft_consul *consul, weft__buf *path)
{
    const char *names[] = {"ns", "partition"};
    const char *values[] = {consul->options.name_space, consul->options.partition};
    for (size_t i = 0; i < 2; i++) {
        if (values[i] == NULL)
            continue;
        weft__buf_printf(path, "%s%s=", strchr(path->data, '?') != NULL ? "&" : "?", names[i]);
        weft__consul_escape(path, values[i]);
    }
}

/* The path of what is about to be asked, and its body; a report's lies in `arena`. */
static const char *write_ask_locked(struct registration *registration, weft__buf *path, weft_arena *arena)
{
    const weft__consul_registration *what = &registration->what;
    switch (registration->op) {
    case OP_REGISTER:
        weft__buf_puts(path, "/v1/agent/service/register?replace-existing-checks=true");
        return what->body;
    case OP_MAINTAIN:
        weft__buf_puts(path, "/v1/agent/service/maintenance/");
        weft__consul_escape(path, what->id);
        weft__buf_puts(path, registration->maintain ? "?enable=true" : "?enable=false");
        if (registration->maintain && registration->drain_note[0] != '\0') {
            weft__buf_puts(path, "&reason=");
            weft__consul_escape(path, registration->drain_note);
        }
        return "";
    case OP_REPORT:
        weft__buf_puts(path, "/v1/agent/check/update/");
        weft__consul_escape(path, what->ttl_ids[registration->check]);
        return weft__consul_report_write(arena, registration->health, registration->health_note);
    default:
        weft__buf_puts(path, "/v1/agent/service/deregister/");
        weft__consul_escape(path, what->id);
        return "";
    }
}

static int start_locked(weft_consul *consul, struct registration *registration, int64_t timeout_ms)
{
    weft__buf path;
    weft_arena *arena;
    char block[1024];
    weft__buf_init(&path, 0);
    weft_arena_init(&arena, block, sizeof block, 0);
    const char *body = write_ask_locked(registration, &path, arena);
    write_scope(consul, &path);
    registration->touched = registration->touched || registration->op == OP_REGISTER;
    registration->asked_version = registration->health_version;
    weft__consul_ask ask = {.method = "PUT",
                            .authority = "",
                            .user_password = "",
                            .token = "",
                            .path = path.data,
                            .body = body,
                            .timeout_ms = timeout_ms};
    pthread_mutex_unlock(&consul->lock);
    int rc =
        body == NULL || path.failed < 0 ? -ENOMEM : weft__consul_request_start(consul, &registration->request, &ask);
    pthread_mutex_lock(&consul->lock);
    weft_arena_fini(arena);
    weft__buf_fini(&path);
    return rc;
}

/* ---- outcomes ---------------------------------------------------------------------------------------------------- */

/* Pauses must not let a TTL run out. */
static int64_t max_backoff_ms(const weft_consul *consul, const struct registration *registration)
{
    int64_t max_ms = consul->options.max_backoff_ms;
    for (size_t i = 0; i < registration->what.ttl_count; i++)
        if (registration->what.ttl_ms[i] / 3 < max_ms)
            max_ms = registration->what.ttl_ms[i] / 3;
    return max_ms;
}

static void fail_locked(weft_consul *consul, struct registration *registration, const char *text, int64_t now_ns)
{
    registration->counters.failures++;
    if (registration->failures < 1000)
        registration->failures++;
    registration->next_ns =
        now_ns + weft__consul_backoff_ns(consul, registration->failures, max_backoff_ms(consul, registration));
    if (registration->removing)
        return;
    registration->registered = false; /* as far as is known; to register anew does no harm */
    set_state_locked(consul, registration, WEFT_REGISTRATION_PENDING, text);
}

/* Whether an answer says that the agent does not know the instance or its check: 404, and 500 by older ones. */
static bool says_lost(const weft__consul_request *request)
{
    return request->result == CURLE_OK &&
           (request->status == 404 ||
            (request->status == 500 && (strstr(request->answer.data, "does not have associated TTL") != NULL ||
                                        strstr(request->answer.data, "nknown check") != NULL ||
                                        strstr(request->answer.data, "nknown service") != NULL)));
}

static void schedule_reassert(weft_consul *consul, struct registration *registration, int64_t now_ns)
{
    double part = 0.8 + 0.4 * weft__random_unit(consul->random);
    registration->reassert_ns = now_ns + (int64_t)((double)consul->options.reassert_ms * part) * NS_PER_MS;
}

static void succeed_locked(weft_consul *consul, struct registration *registration, enum op op, int64_t now_ns)
{
    registration->failures = 0;
    registration->next_ns = now_ns;
    if (op == OP_REGISTER) {
        registration->counters.registrations++;
        registration->registered = true;
        registration->maintained = false; /* it was one of the checks that were replaced */
        schedule_reassert(consul, registration, now_ns);
        for (size_t i = 0; i < registration->what.ttl_count; i++)
            registration->report_ns[i] = now_ns;
        set_state_locked(consul, registration, WEFT_REGISTRATION_REGISTERED, "registered");
    } else if (op == OP_MAINTAIN) {
        registration->maintained = registration->maintain;
        set_state_locked(consul, registration,
                         registration->maintained ? WEFT_REGISTRATION_DRAINING : WEFT_REGISTRATION_REGISTERED,
                         registration->maintained ? "in maintenance mode" : "out of maintenance mode");
    } else if (op == OP_REPORT) {
        registration->counters.reports++;
        registration->health_told[registration->check] = registration->asked_version == registration->health_version;
        registration->report_ns[registration->check] =
            now_ns + registration->what.ttl_ms[registration->check] * NS_PER_MS / 3;
    }
}

static void finish_removal_locked(weft_consul *consul, struct registration *registration, int rc)
{
    weft__list_remove(&registration->node);
    pthread_mutex_unlock(&consul->lock);
    weft__consul_request_fini(consul, &registration->request);
    pthread_mutex_lock(&consul->lock);
    consul->registration_count--;
    registration->remove_rc = rc;
    registration->removed = true;
    pthread_cond_broadcast(&consul->changed);
}

/* Takes the outcome of a request. @return true: the registration is gone. */
static bool take_outcome_locked(weft_consul *consul, struct registration *registration, int64_t now_ns)
{
    weft__consul_request *request = &registration->request;
    enum op op = registration->op;
    registration->op = OP_NONE;
    request->done = false;
    bool ok = weft__consul_request_ok(request);
    if (op == OP_DEREGISTER && (ok || (request->result == CURLE_OK && request->status == 404))) {
        finish_removal_locked(consul, registration, 0);
        return true;
    }
    if (op == OP_DEREGISTER && request->result == CURLE_OK && (request->status == 403 || request->status == 401)) {
        weft_log_warn(consul->options.log, "consul: an instance cannot be deregistered",
                      WEFT_FIELDS(WEFT_STR("id", registration->what.id), WEFT_STR("reason", request->text)));
        finish_removal_locked(consul, registration, -EACCES);
        return true;
    }
    if (ok) {
        succeed_locked(consul, registration, op, now_ns);
    } else if ((op == OP_REPORT || op == OP_MAINTAIN) && says_lost(request)) {
        registration->counters.losses++;
        registration->registered = false;
        registration->next_ns = now_ns + weft__consul_backoff_ns(consul, 1, max_backoff_ms(consul, registration));
        set_state_locked(consul, registration, WEFT_REGISTRATION_PENDING, "the agent has lost it");
    } else {
        fail_locked(consul, registration, request->text, now_ns);
    }
    return false;
}

/* ---- the step ---------------------------------------------------------------------------------------------------- */

static void sooner(int64_t *next_ns, int64_t at_ns)
{
    if (at_ns < *next_ns)
        *next_ns = at_ns;
}

/* What is to be done now, or, with OP_NONE, when something is. */
static enum op find_due_locked(struct registration *registration, int64_t now_ns, int64_t *next_ns)
{
    if (now_ns < registration->next_ns) {
        sooner(next_ns, registration->next_ns);
        return OP_NONE;
    }
    if (!registration->registered)
        return OP_REGISTER;
    if (registration->maintained != registration->draining) {
        registration->maintain = registration->draining;
        return OP_MAINTAIN;
    }
    for (size_t i = 0; i < registration->what.ttl_count; i++) {
        if (now_ns >= registration->report_ns[i] || !registration->health_told[i]) {
            registration->check = i;
            return OP_REPORT;
        }
        sooner(next_ns, registration->report_ns[i]);
    }
    if (registration->draining)
        return OP_NONE;
    if (now_ns >= registration->reassert_ns)
        return OP_REGISTER;
    sooner(next_ns, registration->reassert_ns);
    return OP_NONE;
}

/* @return true: the registration is gone. */
static bool step_removal_locked(weft_consul *consul, struct registration *registration, int64_t now_ns,
                                int64_t *next_ns)
{
    if (registration->remove_by_ns == 0) {
        registration->remove_by_ns = now_ns + registration->remove_ms * NS_PER_MS;
        registration->next_ns = now_ns; /* pauses of before do not count */
        registration->failures = 0;
    }
    /* What is under way gets half of the time: the agent may still be at it, and must not register us afterwards. */
    int64_t half_ns = registration->remove_by_ns - registration->remove_ms * NS_PER_MS / 2;
    if (now_ns >= registration->remove_by_ns) {
        finish_removal_locked(consul, registration, -ETIMEDOUT);
        return true;
    }
    if (!registration->touched) {
        finish_removal_locked(consul, registration, 0);
        return true;
    }
    sooner(next_ns, registration->remove_by_ns);
    if (registration->request.running) {
        if (registration->op == OP_DEREGISTER || now_ns < half_ns) {
            sooner(next_ns, registration->op == OP_DEREGISTER ? registration->remove_by_ns : half_ns);
            return false;
        }
        weft__consul_request_cancel(consul, &registration->request);
    }
    if (registration->next_ns > now_ns) {
        sooner(next_ns, registration->next_ns);
        return false;
    }
    registration->op = OP_DEREGISTER;
    int64_t left_ms = (registration->remove_by_ns - now_ns) / NS_PER_MS + 1;
    if (start_locked(consul, registration, left_ms < REQUEST_MS ? left_ms : REQUEST_MS) < 0) {
        fail_locked(consul, registration, "out of memory", now_ns);
        sooner(next_ns, registration->next_ns);
    }
    return false;
}

static void step_locked(weft_consul *consul, struct registration *registration, int64_t *next_ns)
{
    int64_t now_ns = weft__consul_now_ns(consul);
    if (registration->request.done && take_outcome_locked(consul, registration, now_ns))
        return;
    if (registration->removing) {
        step_removal_locked(consul, registration, now_ns, next_ns);
        return;
    }
    if (registration->request.running)
        return;
    registration->op = find_due_locked(registration, now_ns, next_ns);
    if (registration->op != OP_NONE && start_locked(consul, registration, REQUEST_MS) < 0) {
        registration->op = OP_NONE;
        fail_locked(consul, registration, "out of memory", now_ns);
        sooner(next_ns, registration->next_ns);
    }
}

void weft__consul_registrations_step_locked(weft_consul *consul, int64_t *next_ns)
{
    weft__list_node *node = weft__list_first(&consul->registrations);
    while (node != NULL) {
        struct registration *registration = WEFT__CONTAINER_OF(node, struct registration, node);
        /* Only this thread takes nodes out, and this step only its own: the next one is there afterwards, too, but one
         * that was added at the end meanwhile is not seen from here. Whoever adds one wakes the thread. */
        node = weft__list_next(&consul->registrations, node);
        step_locked(consul, registration, next_ns);
    }
}

void weft__consul_reassert_locked(weft_consul *consul)
{
    int64_t now_ns = weft__consul_now_ns(consul);
    weft__list_node *node = weft__list_first(&consul->registrations);
    for (; node != NULL; node = weft__list_next(&consul->registrations, node)) {
        struct registration *registration = WEFT__CONTAINER_OF(node, struct registration, node);
        int64_t at_ns = now_ns + weft__consul_backoff_ns(consul, 1, consul->options.max_backoff_ms);
        sooner(&registration->reassert_ns, at_ns);
    }
}

/* ---- the registry ------------------------------------------------------------------------------------------------ */

static bool has_id_locked(const weft_consul *consul, const char *id)
{
    weft__list_node *node = weft__list_first(&consul->registrations);
    for (; node != NULL; node = weft__list_next(&consul->registrations, node))
        if (strcmp(WEFT__CONTAINER_OF(node, struct registration, node)->what.id, id) == 0)
            return true;
    return false;
}

static void free_registration(struct registration *registration)
{
    weft_arena_free(registration->arena);
    free(registration);
}

static int new_registration(const weft_instance *instance, struct registration **out, char *reason, size_t reason_size)
{
    weft_instance copy = {0};
    int rc = weft__options_copy(&copy, sizeof copy, instance);
    if (rc < 0)
        return rc;
    struct registration *registration = calloc(1, sizeof *registration);
    if (registration == NULL)
        return -ENOMEM;
    rc = weft_arena_new(&registration->arena, 0);
    if (rc == 0)
        rc = weft__consul_registration_write(registration->arena, &copy, &registration->what, reason, reason_size);
    if (rc < 0) {
        free_registration(registration);
        return rc;
    }
    weft__consul_request_init(&registration->request, MAX_ANSWER_BYTES);
    registration->on_state = copy.on_state;
    registration->arg = copy.arg;
    registration->health = WEFT_INSTANCE_HEALTHY;
    registration->state = WEFT_REGISTRATION_PENDING;
    registration->next_ns = INT64_MIN;
    *out = registration;
    return 0;
}

static int add(weft_registry *self, const weft_instance *instance, weft_registration **out, char *reason,
               size_t reason_size)
{
    weft_consul *consul = WEFT__CONTAINER_OF(self, weft_consul, registry);
    char nowhere[1];
    struct registration *registration;
    if (weft__consul_forked(consul))
        return -ECHILD;
    if (reason_size == 0) {
        reason = nowhere;
        reason_size = sizeof nowhere;
    }
    reason[0] = '\0';
    int rc = new_registration(instance, &registration, reason, reason_size);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&consul->lock);
    if (has_id_locked(consul, registration->what.id))
        rc = -EEXIST;
    else if (consul->registration_count >= (uint64_t)consul->options.max_registrations)
        rc = -EMFILE;
    if (rc == 0) {
        weft__list_push_back(&consul->registrations, &registration->node);
        consul->registration_count++;
    }
    pthread_mutex_unlock(&consul->lock);
    if (rc < 0) {
        free_registration(registration);
        return rc;
    }
    *out = (weft_registration *)registration;
    weft__consul_wake(consul);
    return 0;
}

static int set_health(weft_registry *self, weft_registration *handle, weft_instance_health health, const char *note)
{
    weft_consul *consul = WEFT__CONTAINER_OF(self, weft_consul, registry);
    struct registration *registration = (struct registration *)handle;
    if (health < WEFT_INSTANCE_UNKNOWN || health > WEFT_INSTANCE_UNHEALTHY)
        return -EINVAL;
    if (registration->what.ttl_count == 0)
        return -ENOENT;
    pthread_mutex_lock(&consul->lock);
    registration->health = health;
    registration->health_version++;
    copy_note(registration->health_note, note);
    memset(registration->health_told, 0, sizeof registration->health_told);
    pthread_mutex_unlock(&consul->lock);
    weft__consul_wake(consul);
    return 0;
}

static int drain(weft_registry *self, weft_registration *handle, bool draining, const char *note)
{
    weft_consul *consul = WEFT__CONTAINER_OF(self, weft_consul, registry);
    struct registration *registration = (struct registration *)handle;
    pthread_mutex_lock(&consul->lock);
    registration->draining = draining;
    copy_note(registration->drain_note, note);
    pthread_mutex_unlock(&consul->lock);
    weft__consul_wake(consul);
    return 0;
}

static weft_registration_state state(weft_registry *self, weft_registration *handle)
{
    weft_consul *consul = WEFT__CONTAINER_OF(self, weft_consul, registry);
    pthread_mutex_lock(&consul->lock);
    weft_registration_state now = ((struct registration *)handle)->state;
    pthread_mutex_unlock(&consul->lock);
    return now;
}

static int counters(weft_registry *self, weft_registration *handle, weft_registration_counters *out)
{
    weft_consul *consul = WEFT__CONTAINER_OF(self, weft_consul, registry);
    size_t size = out->struct_size;
    if (size < sizeof size)
        return -EINVAL;
    pthread_mutex_lock(&consul->lock);
    weft_registration_counters counted = ((struct registration *)handle)->counters;
    pthread_mutex_unlock(&consul->lock);
    memset(out, 0, size);
    memcpy(out, &counted, size < sizeof counted ? size : sizeof counted);
    out->struct_size = size;
    return 0;
}

static int remove_registration(weft_registry *self, weft_registration *handle, int64_t timeout_ms)
{
    weft_consul *consul = WEFT__CONTAINER_OF(self, weft_consul, registry);
    struct registration *registration = (struct registration *)handle;
    if (weft__consul_forked(consul))
        return -ECHILD;
    if (weft__thread_is_loop())
        return -EDEADLK;
    if (timeout_ms < 0)
        return -EINVAL;
    if (timeout_ms == 0)
        timeout_ms = DEFAULT_REMOVE_MS;
    pthread_mutex_lock(&consul->lock);
    registration->removing = true;
    registration->remove_ms = timeout_ms < MAX_REMOVE_MS ? timeout_ms : MAX_REMOVE_MS;
    pthread_mutex_unlock(&consul->lock);
    weft__consul_wake(consul);
    pthread_mutex_lock(&consul->lock);
    while (!registration->removed)
        pthread_cond_wait(&consul->changed, &consul->lock);
    int rc = registration->remove_rc;
    pthread_mutex_unlock(&consul->lock);
    free_registration(registration);
    return rc;
}

const weft_registry_vtable weft__consul_registry_vtable = {.struct_size = sizeof weft__consul_registry_vtable,
                                                           .name = "consul",
                                                           .add = add,
                                                           .set_health = set_health,
                                                           .drain = drain,
                                                           .state = state,
                                                           .counters = counters,
                                                           .remove = remove_registration};
