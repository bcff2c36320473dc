#include "security/spiffe.h"

#include <string.h>

#define SCHEME "spiffe://"

enum {
    MAX_BYTES = 2048,
    MAX_TRUST_DOMAIN = 255
};

static const char lower[] = "abcdefghijklmnopqrstuvwxyz0123456789-._";
static const char any_case[] = "abcdefghijklmnopqrstuvwxyz0123456789-._ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/* "/a/b", or nothing. */
static bool is_path(const char *path)
{
    while (*path != '\0') {
        if (*path++ != '/')
            return false;
        size_t len = strspn(path, any_case);
        if (len == 0 || (len == 1 && path[0] == '.') || (len == 2 && path[0] == '.' && path[1] == '.'))
            return false;
        path += len;
    }
    return true;
}

bool weft__is_spiffe_id(const char *text)
{
    if (strlen(text) > MAX_BYTES || strncmp(text, SCHEME, sizeof SCHEME - 1) != 0)
        return false;
    const char *domain = text + sizeof SCHEME - 1;
    size_t len = strspn(domain, lower);
    return len > 0 && len <= MAX_TRUST_DOMAIN && is_path(domain + len);
}
