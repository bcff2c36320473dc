#include "client/connections.h"

#include <errno.h>
#include <stdlib.h>

#include "base/list.h"

static size_t count_of(const weft__connections *connections)
{
    return atomic_load_explicit(&connections->count, memory_order_acquire);
}

/* ---- watching ---------------------------------------------------------------------------------------------------- */

/* A connection's watch has ended: it changes no more. */
static void end(weft__connection *connection)
{
    weft__connections *connections = connection->connections;
    pthread_mutex_lock(&connections->lock);
    bool last = --connections->alive == 0;
    pthread_mutex_unlock(&connections->lock);
    if (last)
        connections->events->gone(connections->owner);
}

static void on_state(weft__op *op, int state)
{
    weft__connection *connection = WEFT__CONTAINER_OF(op, weft__connection, watch);
    weft__connections *connections = connection->connections;
    if (state < 0) {
        end(connection);
        return;
    }
    atomic_store(&connection->state, (weft__link_state)state);
    if (state == WEFT__LINK_READY)
        atomic_store(&connections->growing, false);
    connections->events->changed(connections->owner, state == WEFT__LINK_BACKOFF);
    if (connection->transport->vtable->watch(connection->transport, state, &connection->watch) < 0)
        end(connection);
}

size_t weft__connections_ready(const weft__connections *connections)
{
    size_t ready = 0;
    size_t count = count_of(connections);
    for (size_t i = 0; i < count; i++)
        ready += atomic_load(&connections->all[i]->state) == WEFT__LINK_READY;
    return ready;
}

weft__link_state weft__connections_state(const weft__connections *connections)
{
    return weft__connections_ready(connections) > 0 ? WEFT__LINK_READY : atomic_load(&connections->all[0]->state);
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

/* That with the fewest calls that has a place. */
static weft__connection *find(const weft__connections *connections)
{
    weft__connection *best = NULL;
    int64_t least = connections->config->max_streams;
    size_t count = count_of(connections);
    for (size_t i = 0; i < count; i++) {
        weft__connection *connection = connections->all[i];
        int64_t streams = atomic_load(&connection->streams);
        if (streams < least && atomic_load_explicit(&connection->state, memory_order_relaxed) == WEFT__LINK_READY) {
            least = streams;
            best = connection;
        }
    }
    return best;
}

static weft__connection *make_connection(weft__connections *connections)
{
    const weft__connections_config *config = connections->config;
    weft__channel_config channel = config->channel;
    weft__connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return NULL;
    channel.target = connections->target;
    if (config->engine->vtable->channel_new(config->engine, &channel, &connection->transport) < 0) {
        free(connection);
        return NULL;
    }
    connection->connections = connections;
    connection->watch.done = on_state;
    atomic_init(&connection->state, WEFT__LINK_IDLE);
    return connection;
}

static void free_connection(weft__connection *connection)
{
    connection->transport->vtable->destroy(connection->transport);
    free(connection);
}

/* Adds one more. Should that fail, the next call tries again. Locked. */
static bool add(weft__connections *connections)
{
    weft__connection *connection = make_connection(connections);
    if (connection == NULL)
        return false;
    size_t count = atomic_load(&connections->count);
    connections->all[count] = connection;
    connections->alive++;
    if (connection->transport->vtable->watch(connection->transport, -1, &connection->watch) < 0) {
        connections->alive--;
        free_connection(connection);
        return false;
    }
    atomic_store_explicit(&connections->count, count + 1, memory_order_release);
    return true;
}

/* The caller has, or wants, a place: they are not closed meanwhile. */
static void grow(weft__connections *connections)
{
    if (count_of(connections) >= connections->config->max_connections || atomic_exchange(&connections->growing, true))
        return;
    pthread_mutex_lock(&connections->lock);
    bool added = !connections->closed && atomic_load(&connections->count) < connections->config->max_connections &&
                 add(connections);
    pthread_mutex_unlock(&connections->lock);
    if (!added)
        atomic_store(&connections->growing, false);
}

weft__connection *weft__connections_take(weft__connections *connections)
{
    int64_t max = connections->config->max_streams;
    weft__connection *connection;
    while ((connection = find(connections)) != NULL) {
        int64_t streams = atomic_fetch_add(&connection->streams, 1) + 1;
        if (streams <= max) {
            if (streams >= max - max / 4) /* and the others have no fewer */
                grow(connections);
            return connection;
        }
        weft__connections_give(connection); /* others were faster */
    }
    if (weft__connections_state(connections) == WEFT__LINK_READY)
        grow(connections);
    return NULL;
}

bool weft__connections_have_place(const weft__connections *connections)
{
    return find(connections) != NULL;
}

/* ---- their life -------------------------------------------------------------------------------------------------- */

int weft__connections_init(weft__connections *connections, const weft__connections_config *config, const char *target,
                           const weft__connections_events *events, void *owner)
{
    int rc = -pthread_mutex_init(&connections->lock, NULL);
    if (rc < 0)
        return rc;
    connections->config = config;
    connections->events = events;
    connections->owner = owner;
    connections->target = target;
    connections->all = calloc(config->max_connections, sizeof *connections->all);
    weft__connection *first = connections->all != NULL ? make_connection(connections) : NULL;
    if (first == NULL) {
        free(connections->all);
        pthread_mutex_destroy(&connections->lock);
        return -ENOMEM;
    }
    connections->all[0] = first;
    atomic_init(&connections->count, 1);
    atomic_init(&connections->growing, true);
    return 0;
}

void weft__connections_fini(weft__connections *connections)
{
    size_t count = count_of(connections);
    for (size_t i = 0; i < count; i++)
        free_connection(connections->all[i]);
    free(connections->all);
    pthread_mutex_destroy(&connections->lock);
}

int weft__connections_begin(weft__connections *connections)
{
    weft__connection *first = weft__connections_first(connections);
    connections->alive = 1; /* nobody else knows of it yet */
    return first->transport->vtable->watch(first->transport, -1, &first->watch);
}

void weft__connections_close(weft__connections *connections)
{
    pthread_mutex_lock(&connections->lock);
    connections->closed = true;
    size_t count = atomic_load(&connections->count);
    pthread_mutex_unlock(&connections->lock);
    for (size_t i = 0; i < count; i++)
        connections->all[i]->transport->vtable->close(connections->all[i]->transport);
}
