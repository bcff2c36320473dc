#include "resolve/target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static bool port_ok(const char *text, size_t len)
{
    unsigned port = 0;
    if (len == 0 || len > 5)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return port > 0 && port <= 65535;
}

static const char *last_colon(const char *text, size_t len)
{
    while (len > 0)
        if (text[--len] == ':')
            return text + len;
    return NULL;
}

bool weft__is_name(const char *text, size_t len)
{
    if (len == 0 || len > 253)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
              c == '_'))
            return false;
    }
    return true;
}

weft__host_kind weft__host_classify(const char *text, size_t len)
{
    char host[256];
    const char *colon = last_colon(text, len);
    if (colon == NULL || !port_ok(colon + 1, len - (size_t)(colon + 1 - text)))
        return WEFT__HOST_NONE;
    size_t host_len = (size_t)(colon - text);
    if (host_len == 0 || host_len >= sizeof host)
        return WEFT__HOST_NONE;
    struct in6_addr binary;
    if (text[0] == '[') {
        if (text[host_len - 1] != ']' || host_len < 4)
            return WEFT__HOST_NONE;
        memcpy(host, text + 1, host_len - 2);
        host[host_len - 2] = '\0';
        char *zone = strchr(host, '%'); /* fe80::1%eth0 */
        if (zone != NULL) {
            if (!weft__is_name(zone + 1, strlen(zone + 1)))
                return WEFT__HOST_NONE;
            *zone = '\0';
        }
        return inet_pton(AF_INET6, host, &binary) == 1 ? WEFT__HOST_IPV6 : WEFT__HOST_NONE;
    }
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    if (inet_pton(AF_INET, host, &binary) == 1)
        return WEFT__HOST_IPV4;
    return weft__is_name(host, host_len) ? WEFT__HOST_NAME : WEFT__HOST_NONE;
}

/* A list with commas of addresses of one kind. */
static bool all_are(const char *list, weft__host_kind kind)
{
    for (;;) {
        size_t len = strcspn(list, ",");
        if (weft__host_classify(list, len) != kind)
            return false;
        if (list[len] == '\0')
            return true;
        list += len + 1;
    }
}

/* "relative", "/absolute" or "///absolute"; what follows two slashes would be a host. */
static bool is_unix_path(const char *text)
{
    if (strncmp(text, "//", 2) == 0) {
        if (text[2] != '/')
            return false;
        text += 2;
    }
    size_t len = strlen(text);
    return len > 0 && len < sizeof((struct sockaddr_un *)NULL)->sun_path;
}

int weft__target_parse(const char *target, char out[WEFT__TARGET_MAX])
{
    if (target == NULL)
        return -EINVAL;
    const char *scheme = "";
    if (strncmp(target, "dns:///", 7) == 0) {
        weft__host_kind kind = weft__host_classify(target + 7, strlen(target + 7));
        if (kind == WEFT__HOST_NONE)
            return -EINVAL;
    } else if (strncmp(target, "ipv4:", 5) == 0) {
        if (!all_are(target + 5, WEFT__HOST_IPV4))
            return -EINVAL;
    } else if (strncmp(target, "ipv6:", 5) == 0) {
        if (!all_are(target + 5, WEFT__HOST_IPV6))
            return -EINVAL;
    } else if (strncmp(target, "unix:", 5) == 0) {
        if (!is_unix_path(target + 5))
            return -EINVAL;
    } else {
        switch (weft__host_classify(target, strlen(target))) {
        case WEFT__HOST_NAME:
            scheme = "dns:///";
            break;
        case WEFT__HOST_IPV4:
            scheme = "ipv4:";
            break;
        case WEFT__HOST_IPV6:
            scheme = "ipv6:";
            break;
        case WEFT__HOST_NONE:
            return -EINVAL;
        }
    }
    size_t scheme_len = strlen(scheme), target_len = strlen(target);
    if (scheme_len + target_len >= WEFT__TARGET_MAX)
        return -ENAMETOOLONG;
    memcpy(out, scheme, scheme_len);
    memcpy(out + scheme_len, target, target_len + 1);
    return 0;
}

/* Cuts `text` at the first of these characters, and returns what follows; "" when there is none. */
static char *cut(char *text, const char *at)
{
    char *end = text + strcspn(text, at);
    if (*end == '\0')
        return end;
    *end = '\0';
    return end + 1;
}

void weft__target_split(const char *target, char copy[WEFT__TARGET_MAX], weft_target *out)
{
    size_t len = strlen(target);
    memcpy(copy, target, len + 1);
    char *rest = cut(copy, ":");
    const char *query = cut(rest, "?");
    const char *authority = "";
    if (strncmp(rest, "//", 2) == 0) {
        authority = rest + 2;
        rest = cut(rest + 2, "/");
    }
    *out = (weft_target){.text = target, .scheme = copy, .authority = authority, .path = rest, .query = query};
}
