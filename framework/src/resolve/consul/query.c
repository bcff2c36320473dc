#include "resolve/consul/query.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define KNOWN                                                                                                          \
    "tag, healthy, near, limit, dc, ns, token, wait, timeout, max-backoff, allow-stale, require-consistent, insecure"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes %xx, and '+' in a query. NULL: out of memory, or (`bad`) not such a text, or one with control characters,
 * which would end a header or a line of a snapshot. */
static char *unescape(weft_arena *arena, weft_sv text, bool plus, bool *bad)
{
    char *out = weft_arena_alloc(arena, text.len + 1);
    size_t len = 0;
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < text.len; i++) {
        int c = (unsigned char)text.data[i];
        if (c == '%') {
            bool whole = text.len - i > 2 && hex(text.data[i + 1]) >= 0 && hex(text.data[i + 2]) >= 0;
            c = whole ? hex(text.data[i + 1]) * 16 + hex(text.data[i + 2]) : 0;
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c < ' ' || c == 0x7f) {
            *bad = true;
            return NULL;
        }
        out[len++] = (char)c;
    }
    out[len] = '\0';
    return out;
}

int weft__consul_duration(const char *text, int64_t *out_ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"us", 1e-3}, {"ns", 1e-6}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}};
    double total = 0;
    if (strcmp(text, "0") == 0) {
        *out_ms = 0;
        return 0;
    }
    if (*text == '\0')
        return -EINVAL;
    while (*text != '\0') {
        double number = 0, digit = 1;
        bool any = false, point = false;
        for (; (*text >= '0' && *text <= '9') || (*text == '.' && !point); text++) {
            if (*text == '.') {
                point = true;
                continue;
            }
            any = true;
            if (point)
                number += (digit /= 10) * (*text - '0');
            else
                number = number * 10 + (*text - '0');
        }
        size_t unit = 0;
        while (unit < sizeof units / sizeof units[0] && strncmp(text, units[unit].name, strlen(units[unit].name)) != 0)
            unit++;
        if (!any || unit == sizeof units / sizeof units[0])
            return -EINVAL;
        text += strlen(units[unit].name);
        total += number * units[unit].ms;
        if (!(total < 10.0 * 365 * 24 * 3600e3))
            return -EINVAL;
    }
    *out_ms = total > 0 && total < 1 ? 1 : (int64_t)(total + 0.5);
    return 0;
}

bool weft__consul_authority_ok(const char *text)
{
    size_t len = strlen(text);
    const char *colon = strrchr(text, ':');
    if (len == 0 || len > 255 || text[0] == ':')
        return false;
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':') ||
            strspn(text + 1, "0123456789abcdefABCDEF:.") + 1 != (size_t)(end - text))
            return false;
        colon = end[1] == ':' ? end + 1 : NULL;
    } else {
        size_t host = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
        if (text[host] != '\0' && (text[host] != ':' || text + host != colon))
            return false;
    }
    if (colon == NULL)
        return true;
    size_t digits = strspn(colon + 1, "0123456789");
    return digits > 0 && digits <= 5 && colon[1 + digits] == '\0';
}

static int read_bool(const char *value, bool *out)
{
    if (strcmp(value, "true") == 0 || strcmp(value, "1") == 0 || *value == '\0')
        *out = true;
    else if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0)
        *out = false;
    else
        return -EINVAL;
    return 0;
}

static int read_duration(const char *value, int64_t min_ms, int64_t max_ms, int64_t *out_ms)
{
    int64_t ms;
    if (weft__consul_duration(value, &ms) < 0 || ms < min_ms || ms > max_ms)
        return -EINVAL;
    *out_ms = ms;
    return 0;
}

static int read_count(const char *value, int64_t *out)
{
    size_t len = strlen(value);
    if (len == 0 || len > 9 || strspn(value, "0123456789") != len)
        return -EINVAL;
    int64_t count = 0;
    for (; *value != '\0'; value++)
        count = count * 10 + (*value - '0');
    *out = count;
    return 0;
}

/* One "name=value". @return 0; -EINVAL the value; -ENOENT no such name; -E2BIG too many. */
static int take(weft__consul_query *query, const char *name, const char *value)
{
    if (strcmp(name, "tag") == 0) {
        if (query->tag_count == WEFT__CONSUL_MAX_TAGS)
            return -E2BIG;
        if (*value == '\0')
            return -EINVAL;
        query->tags[query->tag_count++] = value;
        return 0;
    }
    if (strcmp(name, "healthy") == 0)
        return read_bool(value, &query->healthy);
    if (strcmp(name, "near") == 0)
        query->near = value;
    else if (strcmp(name, "limit") == 0)
        return read_count(value, &query->limit);
    else if (strcmp(name, "dc") == 0)
        query->datacenter = value;
    else if (strcmp(name, "ns") == 0)
        query->name_space = value;
    else if (strcmp(name, "token") == 0)
        query->token = value;
    else if (strcmp(name, "wait") == 0)
        return read_duration(value, 1000, 600000, &query->wait_ms);
    else if (strcmp(name, "timeout") == 0)
        return read_duration(value, 1, 600000, &query->timeout_ms);
    else if (strcmp(name, "max-backoff") == 0)
        return read_duration(value, 1, 3600000, &query->max_backoff_ms);
    else if (strcmp(name, "allow-stale") == 0)
        return read_bool(value, &query->stale);
    else if (strcmp(name, "require-consistent") == 0)
        return read_bool(value, &query->consistent);
    else if (strcmp(name, "insecure") == 0)
        return read_bool(value, &query->insecure);
    else
        return -ENOENT;
    return 0;
}

static int parse_pairs(weft_arena *arena, const char *text, weft__consul_query *query, char *reason, size_t size)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "&");
        size_t name_len = strcspn(text, "=&");
        size_t value_at = name_len < len ? name_len + 1 : len;
        bool bad = false;
        const char *name = unescape(arena, weft_sv_of(text, name_len), true, &bad);
        const char *value =
            name == NULL ? NULL : unescape(arena, weft_sv_of(text + value_at, len - value_at), true, &bad);
        if (bad) {
            snprintf(reason, size, "\"%.*s\": not a URL's query", (int)(len < 100 ? len : 100), text);
            return -EINVAL;
        }
        if (value == NULL)
            return -ENOMEM;
        int rc = len == 0 ? 0 : take(query, name, value);
        if (rc == -ENOENT)
            snprintf(reason, size, "\"%.64s\" is none of %s", name, KNOWN);
        else if (rc == -E2BIG)
            snprintf(reason, size, "more than %d tags", WEFT__CONSUL_MAX_TAGS);
        else if (rc < 0 && strcmp(name, "wait") == 0)
            snprintf(reason, size, "wait=%.64s: write a duration from 1s to 10m", value);
        else if (rc < 0)
            snprintf(reason, size, "%.64s=%.64s: not a value for it", name, value);
        if (rc < 0)
            return -EINVAL;
        text += len + (text[len] == '&');
    }
    if (query->stale && query->consistent) {
        snprintf(reason, size, "allow-stale and require-consistent exclude each other");
        return -EINVAL;
    }
    return 0;
}

int weft__consul_query_parse(weft_arena *arena, const weft_target *target, weft__consul_query *out, char *reason,
                             size_t reason_size)
{
    weft__consul_query query = {.near = "", .datacenter = "", .name_space = "", .token = ""};
    const char *at = strrchr(target->authority, '@');
    bool bad = false;
    query.user_password = "";
    if (at != NULL)
        query.user_password =
            unescape(arena, weft_sv_of(target->authority, (size_t)(at - target->authority)), false, &bad);
    query.authority = weft_arena_strdup(arena, at != NULL ? at + 1 : target->authority);
    query.service = unescape(arena, weft_sv_from(target->path), false, &bad);
    if (bad || (query.service != NULL && (query.service[0] == '\0' || strchr(query.service, '/') != NULL))) {
        snprintf(reason, reason_size, "no service: write consul://agent:8500/users or consul:///users");
        return -EINVAL;
    }
    if (query.authority != NULL && query.authority[0] != '\0' && !weft__consul_authority_ok(query.authority)) {
        snprintf(reason, reason_size, "\"%.64s\" is no agent: write host:port", query.authority);
        return -EINVAL;
    }
    int rc = parse_pairs(arena, target->query, &query, reason, reason_size);
    if (rc < 0)
        return rc;
    if (weft_arena_failed(arena))
        return -ENOMEM;
    *out = query;
    return 0;
}

bool weft__consul_query_same(const weft__consul_query *a, const weft__consul_query *b)
{
    return strcmp(a->authority, b->authority) == 0 && strcmp(a->user_password, b->user_password) == 0 &&
           strcmp(a->service, b->service) == 0 && strcmp(a->near, b->near) == 0 &&
           strcmp(a->datacenter, b->datacenter) == 0 && strcmp(a->name_space, b->name_space) == 0 &&
           strcmp(a->token, b->token) == 0 && a->stale == b->stale && a->consistent == b->consistent &&
           a->insecure == b->insecure && a->wait_ms == b->wait_ms && a->timeout_ms == b->timeout_ms &&
           a->max_backoff_ms == b->max_backoff_ms;
}

void weft__consul_escape(weft__buf *buf, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c) != NULL)
            weft__buf_append(buf, text, 1);
        else
            weft__buf_printf(buf, "%%%02X", c);
    }
}
