/* list.c: lists that are known without asking anybody: what the program says ("list"), and what the target says
 * ("static", and gRPC's "ipv4", "ipv6" and "unix"). Published from inside watch, and by whoever changes the list.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "resolve/address.h"
#include "resolve/list.h"
#include "resolve/sink.h"

/* ---- the program's ----------------------------------------------------------------------------------------------- */

struct list_resolver {
    weft_resolver base;
    pthread_mutex_t lock; /* held while it is published: nothing is after unwatch */
    weft__list watches;
    weft__addresses addresses;
    pid_t pid; /* its process: in a child made by fork() the lock may be held by nobody */
};

struct list_watch {
    weft__list_node node;
    weft_sink *sink;
};

static struct list_resolver *from_base(weft_resolver *base)
{
    return WEFT__CONTAINER_OF(base, struct list_resolver, base);
}

static bool forked(const struct list_resolver *list)
{
    return list->pid != getpid();
}

static void publish(const struct list_resolver *list, weft_sink *sink)
{
    const weft_resolution resolution = {
        .struct_size = sizeof resolution,
        .addresses = list->addresses.items,
        .address_count = list->addresses.count,
    };
    weft_sink_publish(sink, &resolution);
}

static int watch(weft_resolver *self, const weft_target *target, weft_sink *sink, weft_watch **out, char *reason,
                 size_t reason_size)
{
    struct list_resolver *list = from_base(self);
    (void)target;
    if (reason_size > 0)
        reason[0] = '\0'; /* every target will do */
    if (forked(list))
        return -ECHILD;
    struct list_watch *watch = malloc(sizeof *watch);
    if (watch == NULL)
        return -ENOMEM;
    watch->sink = sink;
    pthread_mutex_lock(&list->lock);
    weft__list_push_back(&list->watches, &watch->node);
    publish(list, sink);
    pthread_mutex_unlock(&list->lock);
    *out = (weft_watch *)watch;
    return 0;
}

static void unwatch(weft_resolver *self, weft_watch *watch)
{
    struct list_resolver *list = from_base(self);
    struct list_watch *ended = (struct list_watch *)watch;
    if (forked(list))
        return;
    pthread_mutex_lock(&list->lock);
    weft__list_remove(&ended->node);
    pthread_mutex_unlock(&list->lock);
    free(ended);
}

static void destroy(weft_resolver *self)
{
    struct list_resolver *list = from_base(self);
    if (forked(list))
        return;
    weft__addresses_fini(&list->addresses);
    pthread_mutex_destroy(&list->lock);
    free(list);
}

int weft_list_resolver_new(weft_resolver **out)
{
    static const weft_resolver_vtable vtable = {
        .struct_size = sizeof vtable, .scheme = "list", .watch = watch, .unwatch = unwatch, .destroy = destroy};
    struct list_resolver *list = calloc(1, sizeof *list);
    if (list == NULL)
        return -ENOMEM;
    int rc = -pthread_mutex_init(&list->lock, NULL);
    if (rc < 0) {
        free(list);
        return rc;
    }
    list->base.vtable = &vtable;
    list->pid = getpid();
    weft__list_init(&list->watches);
    *out = &list->base;
    return 0;
}

/* Takes over the list that was made, and tells all; or drops it, when `rc` says that it could not be made. Unlocks. */
static int replace_and_unlock(struct list_resolver *list, weft__addresses *next, int rc)
{
    if (rc < 0) {
        weft__addresses_fini(next);
    } else {
        weft__addresses_fini(&list->addresses);
        list->addresses = *next;
        for (weft__list_node *node = weft__list_first(&list->watches); node != NULL;
             node = weft__list_next(&list->watches, node))
            publish(list, WEFT__CONTAINER_OF(node, struct list_watch, node)->sink);
    }
    pthread_mutex_unlock(&list->lock);
    return rc;
}

int weft_list_resolver_set(weft_resolver *self, const weft_address *addresses, size_t address_count)
{
    struct list_resolver *list = from_base(self);
    weft__addresses next = {NULL, 0};
    int rc = 0;
    if (forked(list))
        return -ECHILD;
    pthread_mutex_lock(&list->lock);
    for (size_t i = 0; i < address_count && rc == 0; i++)
        rc = weft__addresses_add(&next, &addresses[i]);
    return replace_and_unlock(list, &next, rc);
}

/* The list as it is but for one address. 0; -ENOMEM. Locked. */
static int copy_without(const struct list_resolver *list, const char *left_out, weft__addresses *out)
{
    int rc = 0;
    for (size_t i = 0; i < list->addresses.count && rc == 0; i++)
        if (left_out == NULL || strcmp(list->addresses.items[i].address, left_out) != 0)
            rc = weft__addresses_add(out, &list->addresses.items[i]);
    return rc;
}

int weft_list_resolver_add(weft_resolver *self, const weft_address *address)
{
    struct list_resolver *list = from_base(self);
    weft__addresses next = {NULL, 0};
    if (forked(list))
        return -ECHILD;
    pthread_mutex_lock(&list->lock);
    int rc = copy_without(list, NULL, &next);
    if (rc == 0)
        rc = weft__addresses_add(&next, address);
    return replace_and_unlock(list, &next, rc);
}

int weft_list_resolver_remove(weft_resolver *self, const char *address)
{
    struct list_resolver *list = from_base(self);
    weft__addresses next = {NULL, 0};
    if (forked(list))
        return -ECHILD;
    pthread_mutex_lock(&list->lock);
    int rc = copy_without(list, address, &next);
    if (rc == 0 && next.count == list->addresses.count)
        rc = -ENOENT;
    return replace_and_unlock(list, &next, rc);
}

/* ---- the target's ------------------------------------------------------------------------------------------------ */

/* "a:1,[::1]:2;weight=3,unix:/path": each with its scheme, or with the one that its form says. */
static int read_list(const char *list, weft__addresses *out, char *reason, size_t reason_size)
{
    static const char weight_is[] = ";weight=";
    char full[WEFT__TARGET_MAX];
    char one[WEFT__TARGET_MAX];
    while (*list != '\0') {
        size_t len = strcspn(list, ",");
        if (len >= sizeof one)
            return -EINVAL;
        memcpy(one, list, len);
        one[len] = '\0';
        weft_address address = {.address = full};
        char *weight = strstr(one, weight_is);
        int rc = 0;
        if (weight != NULL) {
            *weight = '\0';
            rc = weft__weight_parse(weft_sv_from(weight + sizeof weight_is - 1), &address.weight);
        }
        if (rc < 0) {
            (void)snprintf(reason, reason_size, "\"%s\" has no weight from 1 to %d after its \";weight=\"", one,
                           WEFT__WEIGHT_MAX);
            return rc;
        }
        rc = weft__target_parse(one, full);
        if (rc == 0)
            rc = weft__addresses_add(out, &address);
        if (rc == -EINVAL)
            (void)snprintf(reason, reason_size, "\"%s\" is no address: write 10.0.0.1:50051, [::1]:50051 or unix:/path",
                           one);
        else if (rc == -EEXIST)
            (void)snprintf(reason, reason_size, "\"%s\" is there twice", one);
        if (rc < 0)
            return rc == -ENOMEM ? rc : -EINVAL;
        list += len + (list[len] == ',');
    }
    if (out->count == 0)
        (void)snprintf(reason, reason_size, "no address: write static:///10.0.0.1:50051,10.0.0.2:50051");
    return out->count == 0 ? -EINVAL : 0;
}

/* What gRPC's own schemes list. */
static int read_target(const char *target, weft__addresses *out, char *reason, size_t reason_size)
{
    int rc = weft__addresses_add_target(out, target);
    if (rc == -EINVAL || rc == -ENAMETOOLONG)
        (void)snprintf(reason, reason_size,
                       "\"%s\" is no list of addresses: write ipv4:10.0.0.1:50051,10.0.0.2:50051, ipv6:[::1]:50051 or "
                       "unix:/path",
                       target);
    return rc == -ENAMETOOLONG ? -EINVAL : rc;
}

bool weft__is_address_list(const char *target)
{
    char full[WEFT__TARGET_MAX];
    return target != NULL && (strncmp(target, "ipv4:", 5) == 0 || strncmp(target, "ipv6:", 5) == 0) &&
           strchr(target, ',') != NULL && weft__target_parse(target, full) == 0;
}

static int watch_static(weft_resolver *self, const weft_target *target, weft_sink *sink, weft_watch **out, char *reason,
                        size_t reason_size)
{
    weft__addresses addresses = {NULL, 0};
    int rc = strcmp(target->scheme, "static") == 0 ? read_list(target->path, &addresses, reason, reason_size)
                                                   : read_target(target->text, &addresses, reason, reason_size);
    if (rc == 0) {
        const weft_resolution resolution = {
            .struct_size = sizeof resolution, .addresses = addresses.items, .address_count = addresses.count};
        weft_sink_publish(sink, &resolution);
        *out = (weft_watch *)self; /* there is nothing to watch */
    }
    weft__addresses_fini(&addresses);
    return rc;
}

static void unwatch_static(weft_resolver *self, weft_watch *watch)
{
    (void)self;
    (void)watch;
}

weft_resolver *weft__static_resolver(void)
{
    static const weft_resolver_vtable vtable = {
        .struct_size = sizeof vtable, .scheme = "static", .watch = watch_static, .unwatch = unwatch_static};
    static weft_resolver resolver = {&vtable};
    return &resolver;
}
