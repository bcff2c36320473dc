#include "user.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <weft/uuid.h>

#include "password.h"

#define LOCAL_MAX_BYTES 64
#define LABEL_MAX_BYTES 63

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Part of a character outside ASCII. */
static bool is_wide(char c)
{
    return (unsigned char)c >= 0x80;
}

/* Whether a control character begins at p: C0, DEL, or C1 in UTF-8. */
static bool is_control(const char *p)
{
    unsigned char c = (unsigned char)p[0];
    return c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)p[1] >= 0x80 && (unsigned char)p[1] < 0xa0);
}

static int refuse(const char **why, const char *reason)
{
    *why = reason;
    return -EINVAL;
}

/* The bytes of the white space that begins at p, also outside ASCII; 0 if none does. */
static size_t space_bytes(const char *p)
{
    static const char *const wide[] = {"\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\xa8", "\xe2\x80\xa9",
                                       "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
    if (is_space(*p))
        return 1;
    if (strncmp(p, "\xe2\x80", 2) == 0 && (unsigned char)p[2] >= 0x80 && (unsigned char)p[2] <= 0x8a)
        return 3; /* U+2000 to U+200A */
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++)
        if (strncmp(p, wide[i], strlen(wide[i])) == 0)
            return strlen(wide[i]);
    return 0;
}

/* The bytes of a text without the white space at its end. */
static size_t trimmed_bytes(const char *text)
{
    size_t len = 0;
    for (size_t i = 0; text[i] != '\0';) {
        size_t space = space_bytes(text + i);
        i += space > 0 ? space : 1;
        if (space == 0)
            len = i;
    }
    return len;
}

int user_check_name(const char *name, weft_arena *arena, const char **out, const char **why)
{
    size_t characters = 0;
    while (space_bytes(name) > 0)
        name += space_bytes(name);
    size_t len = trimmed_bytes(name);
    if (len == 0)
        return refuse(why, "must not be empty");
    for (size_t i = 0; i < len; i++) {
        if (is_control(name + i))
            return refuse(why, "must not contain control characters");
        characters += ((unsigned char)name[i] & 0xc0) != 0x80;
    }
    if (characters > USER_NAME_MAX_CHARACTERS)
        return refuse(why, "must not be longer than 200 characters");
    const char *copy = weft_arena_svdup(arena, weft_sv_of(name, len));
    if (copy == NULL)
        return -ENOMEM;
    *out = copy;
    return 0;
}

/* Words of letters, digits and the signs of RFC 5322's atext, between dots. */
static bool is_local_part(const char *p, size_t len)
{
    bool word_begins = true;
    if (len > LOCAL_MAX_BYTES)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool dot = p[i] == '.';
        if (dot ? word_begins
                : !is_letter(p[i]) && !is_digit(p[i]) && !is_wide(p[i]) && strchr("!#$%&'*+-/=?^_`{|}~", p[i]) == NULL)
            return false;
        word_begins = dot;
    }
    return !word_begins;
}

/* Two labels at least, of letters, digits and inner hyphens; the last is no number, as it is in an IP address. */
static bool is_domain(const char *p)
{
    size_t labels = 0;
    bool numeric = false;
    for (;; p++) {
        size_t len = strcspn(p, ".");
        if (len == 0 || len > LABEL_MAX_BYTES || p[0] == '-' || p[len - 1] == '-')
            return false;
        numeric = true;
        for (size_t i = 0; i < len; i++) {
            if (!is_letter(p[i]) && !is_digit(p[i]) && !is_wide(p[i]) && p[i] != '-')
                return false;
            numeric = numeric && is_digit(p[i]);
        }
        labels++;
        p += len;
        if (*p == '\0')
            return labels >= 2 && !numeric;
    }
}

int user_check_email(const char *email, const char **why)
{
    const char *at = strrchr(email, '@');
    if (email[0] == '\0')
        return refuse(why, "must not be empty");
    if (strlen(email) > USER_EMAIL_MAX_BYTES)
        return refuse(why, "must not be longer than 254 bytes");
    for (const char *p = email; *p != '\0'; p++)
        if (is_control(p))
            return refuse(why, "must not contain control characters");
    if (at == NULL)
        return refuse(why, "has no '@'");
    if (!is_local_part(email, (size_t)(at - email)))
        return refuse(why, "has no valid name before the '@'");
    if (!is_domain(at + 1))
        return refuse(why, "has no valid domain after the '@'");
    return 0;
}

int user_check_password(const char *password, const char **why)
{
    size_t len = strlen(password);
    if (len < USER_PASSWORD_MIN_BYTES)
        return refuse(why, "must not be shorter than 8 bytes");
    if (len > USER_PASSWORD_MAX_BYTES)
        return refuse(why, "must not be longer than 1024 bytes");
    return 0;
}

const char *user_email_key(const char *email, weft_arena *arena)
{
    char *key = weft_arena_strdup(arena, email);
    for (char *p = key; p != NULL && *p != '\0'; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return key;
}

static int refuse_field(struct user_refusal *refusal, const char *field, const char *why)
{
    *refusal = (struct user_refusal){field, why};
    return -EINVAL;
}

static bool is_set(const char *text)
{
    return text[0] != '\0';
}

static int read_name(const char *name, weft_arena *arena, struct user_update *values, struct user_refusal *refusal)
{
    const char *why;
    int rc = user_check_name(name, arena, &values->name, &why);
    return rc == -EINVAL ? refuse_field(refusal, "name", why) : rc;
}

static int read_email(const char *email, weft_arena *arena, struct user_update *values, struct user_refusal *refusal)
{
    const char *why;
    if (user_check_email(email, &why) < 0)
        return refuse_field(refusal, "email", why);
    values->email = weft_arena_strdup(arena, email);
    values->email_key = user_email_key(email, arena);
    return values->email != NULL && values->email_key != NULL ? 0 : -ENOMEM;
}

static int read_password(char *password, weft_arena *arena, struct user_update *values, struct user_refusal *refusal)
{
    const char *why;
    if (user_check_password(password, &why) < 0)
        return refuse_field(refusal, "password", why);
    char *hash = weft_arena_alloc(arena, PASSWORD_HASH_BYTES);
    int rc = hash != NULL ? password_hash(password, hash) : -ENOMEM;
    password_wipe(password, strlen(password));
    values->password_hash = hash;
    return rc;
}

int user_read_update(const struct user_input *input, weft_arena *arena, struct user_update *out,
                     struct user_refusal *refusal)
{
    struct user_update values = {NULL, NULL, NULL, NULL};
    int rc = is_set(input->name) ? read_name(input->name, arena, &values, refusal) : 0;
    if (rc == 0 && is_set(input->email))
        rc = read_email(input->email, arena, &values, refusal);
    if (rc == 0 && is_set(input->password))
        rc = read_password(input->password, arena, &values, refusal);
    if (rc == 0)
        *out = values;
    return rc;
}

int user_read_new(const struct user_input *input, weft_arena *arena, struct user *out, struct user_refusal *refusal)
{
    struct user_update values;
    if (!is_set(input->name))
        return refuse_field(refusal, "name", "must not be empty");
    if (!is_set(input->email))
        return refuse_field(refusal, "email", "must not be empty");
    int rc = user_read_update(input, arena, &values, refusal);
    if (rc < 0)
        return rc;
    char *id = weft_arena_alloc(arena, WEFT_UUID_TEXT_BYTES);
    rc = id != NULL ? weft_uuid7(id) : -ENOMEM;
    if (rc == 0)
        *out = (struct user){id, values.name, values.email, values.email_key, values.password_hash};
    return rc;
}
