#include "config/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_BYTES 64 /* of a wrong value, in a message */

struct unit {
    const char *suffix;
    int64_t factor;
};

static const struct unit durations[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
static const struct unit sizes[] = {
    {"", 1}, {"KiB", INT64_C(1) << 10}, {"MiB", INT64_C(1) << 20}, {"GiB", INT64_C(1) << 30}, {"TiB", INT64_C(1) << 40},
};

/* The length of the character at `p` that YAML would not read back as it stands (a control, a line or paragraph
   separator, a byte order mark, a non-character) and its number; 0 when it would. */
static size_t unprintable(const unsigned char *p, size_t left, unsigned *number)
{
    if (p[0] < 0x20 || p[0] == 0x7f || p[0] == '"' || p[0] == '\\') {
        *number = p[0];
        return 1;
    }
    if (left >= 2 && p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) {
        *number = p[1];
        return 2;
    }
    if (left >= 3 && (p[0] == 0xe2 || p[0] == 0xef)) {
        *number = (p[0] & 0x0fU) << 12 | (p[1] & 0x3fU) << 6 | (p[2] & 0x3fU);
        if (*number == 0x2028 || *number == 0x2029 || *number == 0xfeff || *number == 0xfffe || *number == 0xffff)
            return 3;
    }
    return 0;
}

void weft__config_escape(weft__buf *buf, weft_sv text)
{
    for (size_t i = 0; i < text.len;) {
        unsigned number = 0;
        size_t len = unprintable((const unsigned char *)text.data + i, text.len - i, &number);
        if (len == 0)
            weft__buf_putc(buf, text.data[i++]);
        else if (number == '"' || number == '\\')
            weft__buf_printf(buf, "\\%c", (int)number);
        else
            weft__buf_printf(buf, "\\u%04x", number);
        i += len;
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

weft__scalar weft__scalar_kind(const char *text)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const bools[] = {"true", "True", "TRUE", "false", "False", "FALSE", NULL};
    static const char *const floats[] = {".inf", "-.inf", "+.inf", ".nan", NULL};
    if (is_one_of(text, nulls))
        return WEFT__SCALAR_NULL;
    if (is_one_of(text, bools))
        return WEFT__SCALAR_BOOL;
    if (is_one_of(text, floats))
        return WEFT__SCALAR_NUMBER;
    const char *p = text + (*text == '-' || *text == '+');
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'o') && p[2] != '\0')
        return p[2 + strspn(p + 2, "0123456789abcdefABCDEF")] == '\0' ? WEFT__SCALAR_NUMBER : WEFT__SCALAR_STRING;
    size_t digits = strspn(p, "0123456789");
    p += digits;
    if (*p == '.') {
        size_t fraction = strspn(p + 1, "0123456789");
        digits += fraction;
        p += 1 + fraction;
    }
    if (digits == 0)
        return WEFT__SCALAR_STRING;
    if (*p == 'e' || *p == 'E') {
        p += 1 + (p[1] == '-' || p[1] == '+');
        if (!is_digit(*p))
            return WEFT__SCALAR_STRING;
        p += strspn(p, "0123456789");
    }
    return *p == '\0' ? WEFT__SCALAR_NUMBER : WEFT__SCALAR_STRING;
}

const char *weft__scalar_name(weft__scalar kind)
{
    switch (kind) {
    case WEFT__SCALAR_STRING:
        return "a string";
    case WEFT__SCALAR_NUMBER:
        return "a number";
    case WEFT__SCALAR_BOOL:
        return "a truth value";
    case WEFT__SCALAR_NULL:
        return "null";
    }
    return "a scalar";
}

const char *weft__config_expects(weft_config_type type)
{
    switch (type) {
    case WEFT_CONFIG_STRING:
        return "a string";
    case WEFT_CONFIG_INT:
        return "an integer";
    case WEFT_CONFIG_BOOL:
        return "true or false";
    case WEFT_CONFIG_DURATION:
        return "a duration such as 250ms or 1h30m";
    case WEFT_CONFIG_SIZE:
        return "a size such as 4096 or 4MiB";
    case WEFT_CONFIG_LIST:
        return "a list of strings";
    }
    return "a value";
}

/* Reads the digits at *text and moves past them. Fails without digits or when the number does not fit. */
static bool parse_digits(const char **text, int64_t *out)
{
    const char *p = *text;
    int64_t number = 0;
    if (!is_digit(*p))
        return false;
    for (; is_digit(*p); p++) {
        int digit = *p - '0';
        if (number > (INT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *text = p;
    *out = number;
    return true;
}

static bool parse_int(const char *text, int64_t *out)
{
    bool negative = *text == '-';
    int64_t number;
    text += negative;
    if (!parse_digits(&text, &number) || *text != '\0')
        return false;
    *out = negative ? -number : number;
    return true;
}

static bool parse_bool(const char *text, int64_t *out)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return false;
    *out = text[0] == 't';
    return true;
}

/* One or more numbers with units, each unit smaller than the one before. */
static bool parse_duration(const char *text, int64_t *out)
{
    int64_t total = 0;
    int64_t last_factor = INT64_MAX;
    if (strcmp(text, "0") == 0) {
        *out = 0;
        return true;
    }
    do {
        int64_t number;
        if (!parse_digits(&text, &number))
            return false;
        size_t letters = strspn(text, "abcdefghijklmnopqrstuvwxyz");
        const struct unit *unit = NULL;
        for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++)
            if (strlen(durations[i].suffix) == letters && memcmp(durations[i].suffix, text, letters) == 0)
                unit = &durations[i];
        if (unit == NULL || unit->factor >= last_factor || number > (INT64_MAX - total) / unit->factor)
            return false;
        total += number * unit->factor;
        last_factor = unit->factor;
        text += letters;
    } while (*text != '\0');
    *out = total;
    return true;
}

static bool parse_size(const char *text, int64_t *out)
{
    int64_t number;
    if (!parse_digits(&text, &number))
        return false;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (strcmp(text, sizes[i].suffix) != 0)
            continue;
        if (number > INT64_MAX / sizes[i].factor)
            return false;
        *out = number * sizes[i].factor;
        return true;
    }
    return false;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);
    for (const char *p = choices;; p++) {
        size_t n = strcspn(p, "|");
        if (n == len && memcmp(p, text, n) == 0)
            return true;
        p += n;
        if (*p == '\0')
            return false;
    }
}

static bool parse(const weft_config_key *key, const char *text, int64_t *out)
{
    switch (key->type) {
    case WEFT_CONFIG_INT:
        return parse_int(text, out);
    case WEFT_CONFIG_BOOL:
        return parse_bool(text, out);
    case WEFT_CONFIG_DURATION:
        return parse_duration(text, out);
    case WEFT_CONFIG_SIZE:
        return parse_size(text, out);
    case WEFT_CONFIG_STRING:
    case WEFT_CONFIG_LIST:
        break;
    }
    *out = 0;
    return key->choices == NULL || is_choice(key->choices, text);
}

static const char *unit_of(const weft_config_key *key)
{
    if (key->type == WEFT_CONFIG_DURATION)
        return "ms";
    if (key->type == WEFT_CONFIG_SIZE)
        return "bytes";
    return key->unit != NULL ? key->unit : "";
}

int weft__config_parse_value(const weft_config_key *key, const char *text, int64_t *number, weft__buf *why)
{
    int64_t parsed;
    if (!parse(key, text, &parsed)) {
        if (key->type == WEFT_CONFIG_STRING)
            weft__buf_printf(why, "expected one of %s", key->choices);
        else
            weft__buf_printf(why, "expected %s", weft__config_expects(key->type));
        if (!key->secret) {
            size_t len = strlen(text);
            weft__buf_puts(why, ", found \"");
            weft__config_escape(why, weft_sv_of(text, len < SHOWN_BYTES ? len : SHOWN_BYTES));
            weft__buf_putc(why, '"');
        }
        return -EINVAL;
    }
    bool ranged = key->min != 0 || key->max != 0;
    if (ranged && key->type != WEFT_CONFIG_STRING && (parsed < key->min || parsed > key->max)) {
        const char *unit = unit_of(key);
        weft__buf_printf(why, "must lie between %" PRId64 " and %" PRId64 "%s%s", key->min, key->max, *unit ? " " : "",
                         unit);
        return -EINVAL;
    }
    *number = parsed;
    return 0;
}
