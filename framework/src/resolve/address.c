#include "resolve/address.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEME_LEN 5 /* of "ipv4:", "ipv6:" and "unix:" */

static bool is_unix(const char *text)
{
    return strncmp(text, "unix:", SCHEME_LEN) == 0;
}

static bool is_ip(const char *text)
{
    return strncmp(text, "ipv4:", SCHEME_LEN) == 0 || strncmp(text, "ipv6:", SCHEME_LEN) == 0;
}

bool weft__is_address(const char *text)
{
    char full[WEFT__TARGET_MAX];
    if (text == NULL)
        return false;
    return (is_unix(text) || (is_ip(text) && strchr(text, ',') == NULL)) && weft__target_parse(text, full) == 0;
}

int weft__weight_parse(weft_sv text, uint32_t *out)
{
    uint32_t weight = 0;
    if (text.len > 5)
        return -EINVAL;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -EINVAL;
        weight = weight * 10 + (uint32_t)(text.data[i] - '0');
    }
    if (weight == 0 || weight > WEFT__WEIGHT_MAX)
        return -EINVAL;
    *out = weight;
    return 0;
}

static void free_one(weft_address *address)
{
    for (size_t i = 0; i < address->metadata.count; i++) {
        free((char *)(uintptr_t)address->metadata.items[i].key.data);
        free((char *)(uintptr_t)address->metadata.items[i].value.data);
    }
    free((void *)(uintptr_t)address->metadata.items);
    free((char *)(uintptr_t)address->address);
    free((char *)(uintptr_t)address->zone);
}

/* NUL-terminated. NULL: no memory. */
static char *copy_of(weft_sv text)
{
    char *copy = malloc(text.len + 1);
    if (copy == NULL)
        return NULL;
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return copy;
}

static int copy_metadata(weft_address *out, weft_metadata from)
{
    if (from.count == 0)
        return 0;
    weft_metadatum *items = calloc(from.count, sizeof *items);
    if (items == NULL)
        return -ENOMEM;
    out->metadata = (weft_metadata){items, from.count};
    for (size_t i = 0; i < from.count; i++) {
        items[i].key = (weft_sv){copy_of(from.items[i].key), from.items[i].key.len};
        items[i].value = (weft_sv){copy_of(from.items[i].value), from.items[i].value.len};
        if (items[i].key.data == NULL || items[i].value.data == NULL)
            return -ENOMEM;
    }
    return 0;
}

static int copy_one(weft_address *out, const weft_address *from)
{
    *out = (weft_address){.weight = from->weight, .health = from->health};
    out->address = strdup(from->address);
    out->zone = from->zone != NULL ? strdup(from->zone) : NULL;
    int rc = out->address == NULL || (from->zone != NULL && out->zone == NULL) ? -ENOMEM : 0;
    if (rc == 0)
        rc = copy_metadata(out, from->metadata);
    if (rc < 0)
        free_one(out);
    return rc;
}

int weft__addresses_add(weft__addresses *list, const weft_address *address)
{
    if (!weft__is_address(address->address))
        return -EINVAL;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].address, address->address) == 0)
            return -EEXIST;
    weft_address *items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (items == NULL)
        return -ENOMEM;
    list->items = items;
    int rc = copy_one(&items[list->count], address);
    list->count += rc == 0;
    return rc;
}

int weft__addresses_add_target(weft__addresses *list, const char *target)
{
    char full[WEFT__TARGET_MAX];
    char one[WEFT__TARGET_MAX];
    const weft_address address = {.address = one};
    if (!is_unix(target) && !is_ip(target))
        return -EINVAL;
    int rc = weft__target_parse(target, full);
    if (rc < 0)
        return rc;
    const char *rest = full + SCHEME_LEN;
    if (is_unix(target) && strncmp(rest, "//", 2) == 0)
        rest += 2; /* an absolute path, as URLs write it */
    for (;;) {
        size_t len = is_unix(target) ? strlen(rest) : strcspn(rest, ",");
        (void)snprintf(one, sizeof one, "%.*s%.*s", SCHEME_LEN, full, (int)len, rest);
        rc = weft__addresses_add(list, &address);
        if (rc < 0 && rc != -EEXIST) /* gRPC takes an address twice for one, too */
            return rc;
        if (rest[len] == '\0')
            return 0;
        rest += len + 1;
    }
}

void weft__addresses_fini(weft__addresses *list)
{
    for (size_t i = 0; i < list->count; i++)
        free_one(&list->items[i]);
    free(list->items);
    *list = (weft__addresses){NULL, 0};
}
