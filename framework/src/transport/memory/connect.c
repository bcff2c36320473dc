/* connect.c: names, channels and connections.
 *
 * Design notes
 * - A connection stands at once or not at all: an attempt takes no time, unless a fault swallows it; then it hangs
 *   until connect_timeout_ms has passed.
 * - A channel has one connection for new calls, or none. One that a server drains loses its channel and lives until the
 *   last call on it has ended.
 *
 *       (none) ──attempt──▶ current ──drain──▶ draining ──last call ended──▶ gone
 *                              └──────break, channel or server gone─────────▶ gone
 *
 * - Calls that wait, and the watch, are woken by a kick, after which each tries anew: when a server comes to a name
 *   that any of the channel's addresses could mean, or when the channel's backoff is over. The backoff moves a stepped
 *   engine's time only while a call waits for it, or there is a server that has refused: a stepped engine sees when
 *   nothing can happen any more.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/memory/memory.h"

static const int64_t ns_per_ms = 1000000;
static const unsigned first_port = 49152;
static const unsigned last_port = 65535;

/* ---- names ------------------------------------------------------------------------------------------------------- */

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* The length of the host in "host:port"; 0 and more, or -EINVAL. `port` is -1 for a unix path. */
static int split(const char *address, size_t *host_len, long *port)
{
    if (starts_with(address, "unix:")) {
        *port = -1;
        return address[5] != '\0' ? 0 : -EINVAL;
    }
    const char *colon = strrchr(address, ':');
    size_t digits = colon != NULL ? strlen(colon + 1) : 0;
    if (digits == 0 || digits > 5 || strspn(colon + 1, "0123456789") != digits || starts_with(address, "fd:"))
        return -EINVAL;
    long number = strtol(colon + 1, NULL, 10);
    if (number > (long)last_port)
        return -EINVAL;
    *host_len = (size_t)(colon - address);
    *port = number;
    return 0;
}

weft__mname *weft__memory_find_name(weft__memory *memory, const char *text, size_t len)
{
    for (weft__list_node *node = weft__list_first(&memory->names); node != NULL;
         node = weft__list_next(&memory->names, node)) {
        weft__mname *name = WEFT__CONTAINER_OF(node, weft__mname, node);
        if (strlen(name->text) == len && memcmp(name->text, text, len) == 0)
            return name;
    }
    return NULL;
}

/* Writes "host:port" with a port that is not bound. 0; -EADDRINUSE: all are. */
static int make_up_port(weft__memory *memory, const char *address, size_t host_len, char *out, size_t size)
{
    for (unsigned tries = 0; tries <= last_port - first_port; tries++) {
        memory->last_port = memory->last_port < last_port ? memory->last_port + 1 : first_port;
        int len = snprintf(out, size, "%.*s:%u", (int)host_len, address, memory->last_port);
        if (weft__memory_find_name(memory, out, (size_t)len) == NULL)
            return 0;
    }
    return -EADDRINUSE;
}

int weft__memory_bind_name(weft_engine *engine, const char *address, char *bound, size_t size)
{
    weft__memory *memory = WEFT__CONTAINER_OF(engine, weft__memory, base);
    size_t host_len = 0;
    long port;
    int rc = split(address, &host_len, &port);
    if (rc < 0)
        return rc;
    const size_t room = strlen(address) + sizeof "65535";
    if (room > size)
        return -ENAMETOOLONG;
    weft__mname *name = malloc(sizeof *name + room);
    if (name == NULL)
        return -ENOMEM;
    *name = (weft__mname){.server = NULL};
    weft__memory_lock(memory);
    if (port == 0) {
        rc = make_up_port(memory, address, host_len, name->text, room);
    } else {
        /* "unix:///path" is another way to write "unix:/path". */
        (void)snprintf(name->text, room, "%s%s", port < 0 ? "unix:" : "",
                       port < 0 ? address + (starts_with(address, "unix:///") ? 7 : 5) : address);
        if (weft__memory_find_name(memory, name->text, strlen(name->text)) != NULL)
            rc = -EADDRINUSE;
    }
    if (rc == 0) {
        weft__list_push_back(&memory->names, &name->node);
        memcpy(bound, name->text, strlen(name->text) + 1);
    }
    weft__memory_unlock(memory);
    if (rc < 0)
        free(name);
    return rc;
}

void weft__memory_unbind_name(weft_engine *engine, const char *bound)
{
    weft__memory *memory = WEFT__CONTAINER_OF(engine, weft__memory, base);
    weft__memory_lock(memory);
    weft__mname *name = weft__memory_find_name(memory, bound, strlen(bound));
    if (name != NULL)
        weft__list_remove(&name->node);
    weft__memory_unlock(memory);
    free(name);
}

/* The server that accepts at the first of the channel's addresses where one does; NULL: none. */
static weft__mserver *find_server(const weft__mchannel *channel)
{
    static const char *const schemes[] = {"dns:///", "ipv4:", "ipv6:"};
    const char *at = channel->target;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (starts_with(at, schemes[i])) {
            at += strlen(schemes[i]);
            break;
        }
    }
    bool unix_path = starts_with(at, "unix:");
    for (;;) {
        size_t len = unix_path ? strlen(at) : strcspn(at, ",");
        weft__mname *name = weft__memory_find_name(channel->memory, at, len);
        if (name != NULL && name->server != NULL)
            return name->server;
        if (at[len] == '\0')
            return NULL;
        at += len + 1;
    }
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static weft__mccall *call_of(weft__list_node *node)
{
    return WEFT__CONTAINER_OF(node, weft__mccall, node);
}

static void set_in_ms(weft__memory *memory, weft__timer *timer, int64_t ms)
{
    int64_t ns = ms < INT64_MAX / ns_per_ms ? ms * ns_per_ms : INT64_MAX;
    int64_t at_ns = weft__clock_deadline_ns(weft__memory_now(memory), ns);
    if (at_ns != INT64_MAX)
        weft__memory_set(memory, timer, at_ns);
}

/* `ms`, give or take this part of it. */
static int64_t jitter(weft__memory *memory, int64_t ms, double part)
{
    double jittered = (double)ms * (1 - part + 2 * part * weft__random_unit(&memory->source.base));
    return jittered < (double)(INT64_MAX / 2) ? (int64_t)jittered : INT64_MAX;
}

static void on_age(weft__memory *memory, weft__task *task);
static void on_idle(weft__memory *memory, weft__task *task);

/* The connection may have changed: the watch, if there is one, looks. */
static void changed(weft__mchannel *channel)
{
    if (channel->watch != NULL)
        weft__memory_push(channel->memory, &channel->look);
}

static weft__mconnection *connection_new(weft__mchannel *channel, weft__mserver *server)
{
    weft__memory *memory = channel->memory;
    weft__mconnection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return NULL;
    connection->age.task.run = on_age;
    connection->idle.task.run = on_idle;
    set_in_ms(memory, &connection->age, jitter(memory, server->config.max_connection_age_ms, 0.1));
    set_in_ms(memory, &connection->idle, server->config.max_connection_idle_ms);
    connection->memory = memory;
    connection->channel = channel;
    connection->server = server;
    connection->number = ++memory->last_connection;
    weft__list_init(&connection->calls);
    weft__list_init(&connection->queued);
    weft__list_push_back(&server->connections, &connection->of_server);
    server->connection_count++;
    channel->connection = connection;
    channel->backoff_ms = 0;
    weft__memory_unset(&channel->retry.task);
    weft__memory_channel_kick(channel);
    changed(channel);
    return connection;
}

/* Takes the connection from its channel. Calls in its queue never reached the server: they look for another. */
static void retire(weft__mconnection *connection)
{
    if (connection->channel != NULL) {
        connection->channel->connection = NULL;
        changed(connection->channel);
    }
    connection->channel = NULL;
    for (weft__list_node *node = weft__list_pop_front(&connection->queued); node != NULL;
         node = weft__list_pop_front(&connection->queued))
        weft__memory_push(connection->memory, &call_of(node)->arrive);
}

static void connection_close(weft__mconnection *connection)
{
    weft__mserver *server = connection->server;
    retire(connection);
    weft__memory_unset(&connection->age.task);
    weft__memory_unset(&connection->idle.task);
    weft__list_remove(&connection->of_server);
    server->connection_count--;
    free(connection);
    weft__memory_server_check_closed(server);
}

static void enter(weft__mconnection *connection, weft__mccall *call)
{
    weft__list_push_back(&connection->calls, &call->node);
    weft__memory_unset(&connection->idle.task);
    connection->streams++;
    call->connection = connection;
    call->connected = true;
}

bool weft__memory_connection_enter(weft__mconnection *connection, weft__mccall *call)
{
    if (connection->streams >= connection->server->config.max_streams) {
        weft__list_push_back(&connection->queued, &call->node);
        return false;
    }
    enter(connection, call);
    return true;
}

void weft__memory_connection_leave(weft__mccall *call)
{
    weft__mconnection *connection = call->connection;
    weft__list_remove(&call->node);
    call->connection = NULL;
    if (connection == NULL)
        return;
    connection->streams--;
    if (connection->breaking)
        return;
    weft__list_node *next = weft__list_pop_front(&connection->queued);
    if (next != NULL) {
        enter(connection, call_of(next));
        weft__memory_push(connection->memory, &call_of(next)->arrive);
    } else if (connection->streams == 0 && connection->channel == NULL) {
        connection_close(connection);
    } else if (connection->streams == 0) {
        set_in_ms(connection->memory, &connection->idle, connection->server->config.max_connection_idle_ms);
    }
}

void weft__memory_connection_drain(weft__mconnection *connection)
{
    if (connection->channel != NULL) /* else its grace may be running */
        weft__memory_unset(&connection->age.task);
    retire(connection);
    if (connection->streams == 0)
        connection_close(connection);
}

void weft__memory_connection_break(weft__mconnection *connection)
{
    connection->breaking = true;
    for (weft__list_node *node = weft__list_first(&connection->calls); node != NULL;
         node = weft__list_first(&connection->calls))
        weft__memory_call_end(call_of(node), WEFT_UNAVAILABLE, false, "the connection was lost");
    connection_close(connection);
}

/* The connection is old: it takes no more calls, and those that run get the grace; or that is over. */
static void on_age(weft__memory *memory, weft__task *task)
{
    weft__mconnection *connection = WEFT__CONTAINER_OF(task, weft__mconnection, age.task);
    if (connection->channel == NULL) {
        weft__memory_connection_break(connection);
        return;
    }
    retire(connection);
    if (connection->streams == 0)
        connection_close(connection);
    else
        set_in_ms(memory, &connection->age, connection->server->config.max_connection_age_grace_ms);
}

static void on_idle(weft__memory *memory, weft__task *task)
{
    (void)memory;
    weft__memory_connection_drain(WEFT__CONTAINER_OF(task, weft__mconnection, idle.task));
}

/* ---- attempts ---------------------------------------------------------------------------------------------------- */

/* Sets the timer for the next attempt: backoff, 1.6-fold each time, ±20 %. */
static void back_off(weft__mchannel *channel)
{
    weft__memory *memory = channel->memory;
    const weft__channel_config *config = &channel->config;
    bool background = weft__list_empty(&channel->waiting) && find_server(channel) == NULL;
    if (weft__list_linked(&channel->retry.task.node)) {
        channel->retry.background = channel->retry.background && background;
        return;
    }
    int64_t ms = channel->backoff_ms;
    ms = ms == 0 ? config->min_backoff_ms : ms > INT64_MAX / 4 ? INT64_MAX : ms + ms * 3 / 5;
    channel->backoff_ms = ms < config->max_backoff_ms ? ms : config->max_backoff_ms;
    channel->retry.background = background;
    set_in_ms(memory, &channel->retry, jitter(memory, channel->backoff_ms, 0.2));
    changed(channel);
}

weft__mconnection *weft__memory_channel_connect(weft__mchannel *channel)
{
    weft__memory *memory = channel->memory;
    if (channel->connection != NULL || channel->connecting)
        return channel->connection;
    weft__mserver *server = find_server(channel);
    if (server == NULL)
        return NULL;
    weft_test_fault_kind fault;
    if (weft__memory_strike(memory, WEFT_TEST_CONNECT, &fault) < 0 || fault == WEFT_TEST_BREAK)
        return NULL;
    if (fault == WEFT_TEST_SWALLOW) {
        weft__memory_unset(&channel->retry.task);
        channel->connecting = true;
        channel->retry.background = false;
        set_in_ms(memory, &channel->retry, channel->config.connect_timeout_ms);
        changed(channel);
        return NULL;
    }
    if ((int64_t)server->connection_count >= server->config.max_connections)
        return NULL;
    return connection_new(channel, server);
}

void weft__memory_channel_wait(weft__mchannel *channel, weft__mccall *call)
{
    weft__list_push_back(&channel->waiting, &call->node);
    if (!channel->connecting && find_server(channel) != NULL) /* it was there and refused */
        back_off(channel);
}

void weft__memory_channel_kick(weft__mchannel *channel)
{
    for (weft__list_node *node = weft__list_pop_front(&channel->waiting); node != NULL;
         node = weft__list_pop_front(&channel->waiting))
        weft__memory_push(channel->memory, &call_of(node)->arrive);
    if (channel->watch != NULL && channel->connection == NULL && !channel->connecting) {
        weft__memory_unset(&channel->retry.task);
        changed(channel);
    }
}

/* The time of a hanging attempt, or of the backoff, is over. */
static void on_retry(weft__memory *memory, weft__task *task)
{
    weft__mchannel *channel = WEFT__CONTAINER_OF(task, weft__mchannel, retry.task);
    bool timed_out = channel->connecting;
    channel->connecting = false;
    for (weft__list_node *node = weft__list_first(&channel->waiting), *next; timed_out && node != NULL; node = next) {
        next = weft__list_next(&channel->waiting, node);
        if (!call_of(node)->args.wait_for_ready)
            weft__memory_call_end(call_of(node), WEFT_UNAVAILABLE, false, "connecting took too long");
    }
    if (!timed_out)
        weft__memory_channel_kick(channel);
    else if (!weft__list_empty(&channel->waiting))
        back_off(channel);
    changed(channel);
    (void)memory;
}

/* ---- watching ---------------------------------------------------------------------------------------------------- */

static int link_state(const weft__mchannel *channel)
{
    if (channel->connection != NULL)
        return WEFT__LINK_READY;
    if (channel->connecting)
        return WEFT__LINK_CONNECTING;
    return weft__list_linked(&channel->retry.task.node) ? WEFT__LINK_BACKOFF : WEFT__LINK_IDLE;
}

static void look(weft__memory *memory, weft__task *task)
{
    weft__mchannel *channel = WEFT__CONTAINER_OF(task, weft__mchannel, look);
    weft__op *op = channel->watch;
    if (op == NULL)
        return;
    if (!channel->closed && link_state(channel) == WEFT__LINK_IDLE && weft__memory_channel_connect(channel) == NULL &&
        !channel->connecting)
        back_off(channel);
    int state = channel->closed ? -ESHUTDOWN : link_state(channel);
    if (state == channel->watch_last)
        return;
    channel->watch = NULL;
    weft__memory_unset(&channel->look);
    weft__memory_unlock(memory);
    op->done(op, state);
    weft__memory_lock(memory);
}

static int channel_watch(weft__tchannel *base, int last, weft__op *op)
{
    weft__mchannel *channel = WEFT__CONTAINER_OF(base, weft__mchannel, base);
    weft__memory_lock(channel->memory);
    bool closed = channel->closed;
    if (!closed) {
        channel->watch = op;
        channel->watch_last = last;
        weft__memory_push(channel->memory, &channel->look);
    }
    weft__memory_unlock(channel->memory);
    return closed ? -ESHUTDOWN : 0;
}

static void channel_close(weft__tchannel *base)
{
    weft__mchannel *channel = WEFT__CONTAINER_OF(base, weft__mchannel, base);
    weft__memory_lock(channel->memory);
    channel->closed = true;
    changed(channel);
    weft__memory_unlock(channel->memory);
}

/* ---- channels ---------------------------------------------------------------------------------------------------- */

static void channel_destroy(weft__tchannel *base)
{
    weft__mchannel *channel = WEFT__CONTAINER_OF(base, weft__mchannel, base);
    weft__memory *memory = channel->memory;
    weft__memory_lock(memory);
    if (channel->connection != NULL)
        weft__memory_connection_drain(channel->connection);
    weft__memory_unset(&channel->retry.task);
    weft__list_remove(&channel->node);
    weft__memory_unlock(memory);
    free(channel->target);
    free(channel);
}

static const weft__tchannel_vtable vtable = {
    .call_new = weft__memory_channel_call_new,
    .watch = channel_watch,
    .close = channel_close,
    .destroy = channel_destroy,
};

int weft__memory_channel_new(weft_engine *engine, const weft__channel_config *config, weft__tchannel **out)
{
    weft__memory *memory = WEFT__CONTAINER_OF(engine, weft__memory, base);
    weft__mchannel *channel = calloc(1, sizeof *channel);
    if (channel == NULL)
        return -ENOMEM;
    size_t size = strlen(config->target) + 1;
    channel->target = malloc(size);
    if (channel->target == NULL) {
        free(channel);
        return -ENOMEM;
    }
    /* As in bind: "unix:///path" is "unix:/path". */
    const char *path = starts_with(config->target, "unix:///") ? config->target + 7 : NULL;
    (void)snprintf(channel->target, size, "%s%s", path != NULL ? "unix:" : "", path != NULL ? path : config->target);
    channel->base.vtable = &vtable;
    channel->memory = memory;
    channel->config = *config;
    channel->config.target = channel->target;
    channel->config.authority = NULL; /* nobody asks for it */
    channel->retry.task.run = on_retry;
    channel->look.run = look;
    weft__list_init(&channel->waiting);
    weft__memory_lock(memory);
    weft__list_push_back(&memory->channels, &channel->node);
    weft__memory_unlock(memory);
    *out = &channel->base;
    return 0;
}
