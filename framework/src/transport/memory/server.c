/* server.c: the life of a server.
 *
 *   accepting ──shutdown──▶ draining ──last connection and last call gone──▶ closed (told once) ──destroy──▶
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/memory/memory.h"

static weft__mserver *server_of(weft__tserver *base)
{
    return WEFT__CONTAINER_OF(base, weft__mserver, base);
}

static void on_closed(weft__memory *memory, weft__task *task)
{
    weft__mserver *server = WEFT__CONTAINER_OF(task, weft__mserver, closed);
    const weft__server_events *events = server->config.events;
    void *user = server->config.user;
    weft__memory_unlock(memory);
    events->closed(user); /* the server may be gone now */
    weft__memory_lock(memory);
}

void weft__memory_server_check_closed(weft__mserver *server)
{
    if (!server->is_shutdown || server->closed_told || server->connection_count > 0 ||
        !weft__list_empty(&server->running))
        return;
    server->closed_told = true;
    weft__memory_push(server->memory, &server->closed);
}

/* Whether new connections reach the server by its names. */
static void accept_by_names(weft__mserver *server, bool accept)
{
    for (size_t i = 0; i < server->config.name_count; i++) {
        const char *text = server->config.names[i];
        weft__mname *name = weft__memory_find_name(server->memory, text, strlen(text));
        if (name != NULL && accept)
            name->server = server;
        else if (name != NULL && name->server == server)
            name->server = NULL;
    }
}

static size_t connections(weft__tserver *base)
{
    weft__mserver *server = server_of(base);
    weft__memory_lock(server->memory);
    size_t count = server->connection_count;
    weft__memory_unlock(server->memory);
    return count;
}

static void shut_down(weft__tserver *base)
{
    weft__mserver *server = server_of(base);
    weft__memory_lock(server->memory);
    accept_by_names(server, false);
    server->is_shutdown = true;
    for (weft__list_node *node = weft__list_first(&server->connections), *next; node != NULL; node = next) {
        next = weft__list_next(&server->connections, node);
        weft__memory_connection_drain(WEFT__CONTAINER_OF(node, weft__mconnection, of_server));
    }
    weft__memory_server_check_closed(server);
    weft__memory_unlock(server->memory);
}

static void cancel_all(weft__tserver *base)
{
    weft__mserver *server = server_of(base);
    weft__memory_lock(server->memory);
    /* A drained connection goes with its last call. */
    for (weft__list_node *node = weft__list_first(&server->connections); node != NULL;
         node = weft__list_first(&server->connections)) {
        weft__mconnection *connection = WEFT__CONTAINER_OF(node, weft__mconnection, of_server);
        weft__mccall *call = WEFT__CONTAINER_OF(weft__list_first(&connection->calls), weft__mccall, node);
        weft__memory_call_end(call, WEFT_UNAVAILABLE, true, "the server has shut down");
    }
    weft__memory_unlock(server->memory);
}

static void destroy(weft__tserver *base)
{
    weft__mserver *server = server_of(base);
    weft__memory *memory = server->memory;
    weft__memory_lock(memory);
    accept_by_names(server, false);
    server->closed_told = true; /* nobody is left to tell */
    for (weft__list_node *node = weft__list_first(&server->connections); node != NULL;
         node = weft__list_first(&server->connections))
        weft__memory_connection_break(WEFT__CONTAINER_OF(node, weft__mconnection, of_server));
    weft__memory_unlock(memory);
    for (weft__list_node *node = weft__list_pop_front(&server->unused); node != NULL;
         node = weft__list_pop_front(&server->unused))
        weft__memory_server_call_free(WEFT__CONTAINER_OF(node, weft__mscall, node));
    weft__table_fini(&server->methods);
    free(server);
}

static const weft__tserver_vtable vtable = {
    .connections = connections,
    .shutdown = shut_down,
    .cancel_all = cancel_all,
    .destroy = destroy,
};

static int add_methods(weft__mserver *server)
{
    int rc = 0;
    weft__table_init(&server->methods);
    for (size_t i = 0; rc == 0 && i < server->config.method_count; i++) {
        const weft__server_method *method = server->config.methods[i];
        rc = weft__table_put(&server->methods, weft_sv_from(method->path), (void *)(uintptr_t)method);
    }
    if (rc < 0)
        weft__table_fini(&server->methods);
    return rc;
}

int weft__memory_server_new(weft_engine *engine, const weft__server_config *config, weft__tserver **out)
{
    weft__memory *memory = WEFT__CONTAINER_OF(engine, weft__memory, base);
    weft__mserver *server = calloc(1, sizeof *server);
    if (server == NULL)
        return -ENOMEM;
    server->base.vtable = &vtable;
    server->memory = memory;
    server->config = *config;
    server->closed.run = on_closed;
    weft__list_init(&server->connections);
    weft__list_init(&server->running);
    weft__list_init(&server->unused);
    int rc = add_methods(server);
    if (rc < 0) {
        free(server);
        return rc;
    }
    *out = &server->base; /* first: a call may come as soon as it accepts */
    weft__memory_lock(memory);
    accept_by_names(server, true);
    for (weft__list_node *node = weft__list_first(&memory->channels); node != NULL;
         node = weft__list_next(&memory->channels, node))
        weft__memory_channel_kick(WEFT__CONTAINER_OF(node, weft__mchannel, node));
    weft__memory_unlock(memory);
    return 0;
}
