#include "transport/listen/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

/* What follows `prefix` in `text`, or NULL. */
static const char *after(const char *text, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

/* Reads a decimal number of digits alone. @return it, or -1 when it is none or above `max`. */
static int parse_number(const char *text, int max)
{
    int64_t value = 0;
    if (*text == '\0')
        return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        value = value * 10 + (*text - '0');
        if (value > max)
            return -1;
    }
    return (int)value;
}

static bool is_host_name(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
              c == '_'))
            return false;
    }
    return true;
}

/* Whether `text` is an IPv6 address, with a scope ("fe80::1%eth0") or without. */
static bool is_ipv6(const char *text)
{
    char digits[INET6_ADDRSTRLEN];
    struct in6_addr unused;
    size_t len = strcspn(text, "%");
    if (len >= sizeof digits || (text[len] == '%' && text[len + 1] == '\0'))
        return false;
    memcpy(digits, text, len);
    digits[len] = '\0';
    return inet_pton(AF_INET6, digits, &unused) == 1;
}

static const char *parse_unix(const char *path, weft__address *out)
{
    /* The form of a URL, unix:///run/x.sock, is for absolute paths; two slashes would begin a host. */
    if (path[0] == '/' && path[1] == '/') {
        if (path[2] != '/')
            return "a path after unix:// begins with a third slash";
        path += strspn(path, "/") - 1;
    }
    size_t len = strlen(path);
    if (len == 0)
        return "no path after unix:";
    if (len >= sizeof((struct sockaddr_un *)0)->sun_path)
        return "the path is longer than a unix socket's may be";
    memcpy(out->name, path, len + 1);
    out->kind = WEFT__ADDRESS_UNIX;
    return NULL;
}

static const char *parse_fd(const char *digits, weft__address *out)
{
    out->fd = parse_number(digits, INT_MAX);
    if (out->fd < 0)
        return "no descriptor number after fd:";
    out->kind = WEFT__ADDRESS_FD;
    return NULL;
}

static const char *parse_tcp(const char *text, weft__address *out)
{
    bool bracketed = text[0] == '[';
    const char *host = bracketed ? text + 1 : text;
    size_t len = strcspn(host, bracketed ? "]" : ":");
    const char *rest = host + len;
    if (bracketed && *rest == ']')
        rest++;
    if (*rest != ':')
        return "no port: host:port is needed";
    if (strchr(rest + 1, ':') != NULL)
        return "more than one colon: an IPv6 address is written [::1]:port";
    int port = parse_number(rest + 1, UINT16_MAX);
    if (port < 0)
        return "the port is not a number from 0 to 65535";
    if (len >= sizeof out->name)
        return "the host name is too long";
    memcpy(out->name, host, len);
    out->name[len] = '\0';
    if (bracketed ? !is_ipv6(out->name) : !is_host_name(host, len))
        return bracketed ? "not an IPv6 address in brackets" : "not a host name or an IPv4 address";
    out->port = (uint16_t)port;
    out->kind = WEFT__ADDRESS_TCP;
    return NULL;
}

int weft__address_parse(const char *text, weft__address *out, const char **reason)
{
    weft__address address = {.kind = WEFT__ADDRESS_TCP, .fd = -1};
    const char *rest;
    const char *wrong;
    if ((rest = after(text, "unix:")) != NULL)
        wrong = parse_unix(rest, &address);
    else if ((rest = after(text, "fd:")) != NULL)
        wrong = parse_fd(rest, &address);
    else
        wrong = parse_tcp(text, &address);
    if (wrong != NULL) {
        *reason = wrong;
        return -EINVAL;
    }
    *out = address;
    return 0;
}

void weft__address_format(const weft__address *address, char *out)
{
    switch (address->kind) {
    case WEFT__ADDRESS_UNIX:
        snprintf(out, WEFT__ADDRESS_TEXT_BYTES, "unix:%s", address->name);
        break;
    case WEFT__ADDRESS_FD:
        snprintf(out, WEFT__ADDRESS_TEXT_BYTES, "fd:%d", address->fd);
        break;
    case WEFT__ADDRESS_TCP:
    default:
        snprintf(out, WEFT__ADDRESS_TEXT_BYTES, strchr(address->name, ':') != NULL ? "[%s]:%u" : "%s:%u", address->name,
                 (unsigned)address->port);
    }
}
