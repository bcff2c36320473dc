/* Design notes
 *
 * The table becomes an array of entries in the same order, each with its value and the layer that set it. A value is
 * checked whichever layer it comes from, and stored unless a later layer has set the key already, so layers may be read
 * in any order. Mistakes never stop anything: they add a line to the caller's buffer and count, and the program asks at
 * the end. Everything lies in one arena, which is capped; a configuration is small and short-lived values are not worth
 * freeing.
 */
#include <weft/config.h>

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/internal.h"
#include "config/value.h"

#define MAX_CONFIG_BYTES ((size_t)16 << 20)

/* ---- Names ------------------------------------------------------------------------------------------------------- */

weft__config_entry *weft__config_find(const weft_config *config, weft_sv name)
{
    for (size_t i = 0; i < config->entry_count; i++)
        if (weft_sv_is(name, config->entries[i].key->name))
            return &config->entries[i];
    return NULL;
}

weft__config_section *weft__config_find_section(const weft_config *config, weft_sv name)
{
    for (size_t i = 0; i < config->section_count; i++)
        if (weft_sv_equal(name, config->sections[i].name))
            return &config->sections[i];
    return NULL;
}

/* "database.path": words that begin with a letter, between dots. */
static bool is_name(const char *name)
{
    bool word_begins = true;
    if (name == NULL || strlen(name) > WEFT_CONFIG_MAX_NAME)
        return false;
    for (; *name != '\0'; name++) {
        bool letter = *name >= 'a' && *name <= 'z';
        if (word_begins ? !letter : !letter && !(*name >= '0' && *name <= '9') && *name != '_' && *name != '.')
            return false;
        word_begins = *name == '.';
    }
    return !word_begins;
}

static char *variable_name(weft_arena *arena, const char *prefix, const char *name)
{
    char *variable = weft_arena_printf(arena, "%s_%s", prefix, name);
    for (char *p = variable; p != NULL && *p != '\0'; p++)
        *p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
    return variable;
}

/* How many letters must change to make one name of the other, both at most WEFT_CONFIG_MAX_NAME long. */
static size_t edit_distance(weft_sv a, weft_sv b)
{
    size_t row[WEFT_CONFIG_MAX_NAME + 1];
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 0; i < a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b.len; j++) {
            size_t best = diagonal + (a.data[i] != b.data[j]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j + 1] + 1 < best)
                best = row[j + 1] + 1;
            diagonal = row[j + 1];
            row[j + 1] = best;
        }
    }
    return row[b.len];
}

/* The known key or section most like `name`, or an absent view when none is like it. */
static weft_sv nearest_name(const weft_config *config, weft_sv name)
{
    weft_sv nearest = {NULL, 0};
    size_t best = 1 + name.len / 3;
    if (name.len > WEFT_CONFIG_MAX_NAME)
        return nearest;
    for (size_t i = 0; i < config->entry_count + config->section_count; i++) {
        weft_sv known = i < config->entry_count ? weft_sv_from(config->entries[i].key->name)
                                                : config->sections[i - config->entry_count].name;
        size_t distance = edit_distance(name, known);
        if (distance < best) {
            best = distance;
            nearest = known;
        }
    }
    return nearest;
}

/* ---- Mistakes ---------------------------------------------------------------------------------------------------- */

/* Begins a line of the errors. @return where it begins. */
static size_t begin_line(weft_config *config, const char *where)
{
    size_t start = config->errors.len;
    config->error_count++;
    weft__buf_printf(&config->errors, "%s: ", where);
    return start;
}

/* Ends the line that began at `start`, or takes it back when it does not fit: the buffer has failed then, and stays as
   it is. */
static void end_line(weft_config *config, size_t start)
{
    weft__buf *errors = &config->errors;
    weft__buf_putc(errors, '\n');
    if (errors->failed != 0 && errors->len > start) {
        errors->len = start;
        errors->data[start] = '\0';
    }
}

void weft__config_report(weft_config *config, const char *where, const char *format, ...)
{
    va_list args;
    size_t start = begin_line(config, where);
    va_start(args, format);
    weft__buf_vprintf(&config->errors, format, args);
    va_end(args);
    end_line(config, start);
}

void weft__config_report_unknown(weft_config *config, const char *where, weft_sv name)
{
    size_t start = begin_line(config, where);
    weft__buf_puts(&config->errors, "unknown key \"");
    weft__config_escape(&config->errors,
                        weft_sv_of(name.data, name.len < WEFT_CONFIG_MAX_NAME ? name.len : WEFT_CONFIG_MAX_NAME));
    weft__buf_putc(&config->errors, '"');
    if (config->errors.failed == 0) { /* the search is not for free, and the file may be full of such keys */
        weft_sv nearest = nearest_name(config, name);
        if (nearest.data != NULL)
            weft__buf_printf(&config->errors, "; did you mean \"%.*s\"?", WEFT_SV_ARG(nearest));
    }
    end_line(config, start);
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

void weft__config_store_list(weft__config_entry *entry, weft__config_layer layer, const char *source,
                             const char **items, size_t count)
{
    if (layer < entry->layer)
        return;
    entry->layer = layer;
    entry->source = source;
    entry->items = items;
    entry->item_count = count;
}

/* Splits a text at its commas. */
static int store_split(weft_config *config, weft__config_entry *entry, weft__config_layer layer, const char *source,
                       const char *text)
{
    size_t count = *text != '\0';
    for (const char *p = text; *p != '\0'; p++)
        count += *p == ',';
    const char **items = weft_arena_calloc(config->arena, count, sizeof *items);
    for (size_t i = 0; i < count; i++) {
        const char *begin = text + strspn(text, " ");
        size_t len = strcspn(begin, ",");
        text = begin + len + 1;
        while (len > 0 && begin[len - 1] == ' ')
            len--;
        if (len == 0) {
            weft__config_report(config, source, "%s: an entry of the list is empty", entry->key->name);
            return -EINVAL;
        }
        char *item = weft_arena_svdup(config->arena, weft_sv_of(begin, len));
        if (item == NULL)
            return -ENOMEM;
        items[i] = item;
    }
    if (weft_arena_failed(config->arena))
        return -ENOMEM;
    weft__config_store_list(entry, layer, source, items, count);
    return 0;
}

int weft__config_store(weft_config *config, weft__config_entry *entry, weft__config_layer layer, const char *source,
                       const char *text)
{
    char message[512];
    weft__buf why;
    int64_t number;
    weft__buf_init_block(&why, sizeof message - 1, message, sizeof message);
    if (entry->key->type == WEFT_CONFIG_LIST)
        return store_split(config, entry, layer, source, text);
    if (weft__config_parse_value(entry->key, text, &number, &why) < 0) {
        weft__config_report(config, source, "%s: %s", entry->key->name, message);
        return -EINVAL;
    }
    if (layer < entry->layer)
        return 0;
    char *copy = weft_arena_strdup(config->arena, text);
    if (copy == NULL)
        return -ENOMEM;
    entry->layer = layer;
    entry->source = source;
    entry->text = copy;
    entry->number = number;
    return 0;
}

/* ---- Making one -------------------------------------------------------------------------------------------------- */

static int add_sections(weft_config *config, const char *name)
{
    for (const char *dot = strchr(name, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
        weft_sv section = weft_sv_of(name, (size_t)(dot - name));
        if (weft__config_find(config, section) != NULL)
            return -EINVAL;
        if (weft__config_find_section(config, section) == NULL)
            config->sections[config->section_count++].name = section;
    }
    return weft__config_find_section(config, weft_sv_from(name)) == NULL ? 0 : -EINVAL;
}

static int add_entry(weft_config *config, const weft_config_key *key, const char *env_prefix)
{
    weft__config_entry *entry = &config->entries[config->entry_count];
    entry->key = key;
    if (!is_name(key->name) || key->type < WEFT_CONFIG_STRING || key->type > WEFT_CONFIG_LIST) {
        weft__config_report(config, "table", "entry %zu: bad name or type", config->entry_count);
        return -EINVAL;
    }
    if (weft__config_find(config, weft_sv_from(key->name)) != NULL || add_sections(config, key->name) < 0) {
        weft__config_report(config, "table", "%s: is there twice, or is a section too", key->name);
        return -EINVAL;
    }
    if (env_prefix != NULL) {
        entry->variable = variable_name(config->arena, env_prefix, key->name);
        if (entry->variable == NULL)
            return -ENOMEM;
        for (size_t i = 0; i < config->entry_count; i++) {
            if (strcmp(config->entries[i].variable, entry->variable) == 0) {
                weft__config_report(config, "table", "%s: shares %s with %s", key->name, entry->variable,
                                    config->entries[i].key->name);
                return -EINVAL;
            }
        }
    }
    config->entry_count++;
    return key->fallback != NULL ? weft__config_store(config, entry, WEFT__CONFIG_DEFAULT, "default", key->fallback)
                                 : 0;
}

static int fill(weft_config *config, const weft_config_options *options)
{
    size_t dots = 0;
    for (size_t i = 0; i < options->key_count; i++)
        for (const char *p = options->keys[i].name; p != NULL && *p != '\0'; p++)
            dots += *p == '.';
    int rc = weft_arena_new(&config->arena, MAX_CONFIG_BYTES);
    if (rc < 0)
        return rc;
    config->entries = weft_arena_calloc(config->arena, options->key_count, sizeof *config->entries);
    config->sections = weft_arena_calloc(config->arena, dots, sizeof *config->sections);
    if (weft_arena_failed(config->arena))
        return -ENOMEM;
    for (size_t i = 0; i < options->key_count && rc == 0; i++)
        rc = add_entry(config, &options->keys[i], options->env_prefix);
    return rc;
}

int weft_config_new(weft_config **out, const weft_config_options *options)
{
    if (options == NULL || options->struct_size == 0 || (options->keys == NULL && options->key_count > 0) ||
        (options->errors == NULL && options->errors_size > 0))
        return -EINVAL;
    weft_config *config = calloc(1, sizeof *config);
    if (config == NULL)
        return -ENOMEM;
    weft__buf_init(&config->errors, 1);
    config->errors.failed = -E2BIG; /* without a buffer mistakes are only counted */
    if (options->errors_size > 0)
        options->errors[0] = '\0';
    if (options->errors_size > 1)
        weft__buf_init_block(&config->errors, options->errors_size - 1, options->errors, options->errors_size);
    int rc = fill(config, options);
    if (rc < 0) {
        weft_config_free(config);
        return rc;
    }
    *out = config;
    return 0;
}

void weft_config_free(weft_config *config)
{
    if (config == NULL)
        return;
    weft_arena_free(config->arena);
    free(config);
}

/* ---- Layers (the file's is in file.c) ---------------------------------------------------------------------------- */

int weft_config_read_environment(weft_config *config)
{
    int result = 0;
    for (size_t i = 0; i < config->entry_count; i++) {
        weft__config_entry *entry = &config->entries[i];
        const char *text = entry->variable != NULL ? getenv(entry->variable) : NULL;
        if (text == NULL)
            continue;
        const char *source = weft_arena_printf(config->arena, "environment %s", entry->variable);
        if (source == NULL)
            return -ENOMEM;
        int rc = weft__config_store(config, entry, WEFT__CONFIG_ENVIRONMENT, source, text);
        if (rc == -ENOMEM)
            return rc;
        if (rc < 0)
            result = rc;
    }
    return result;
}

int weft_config_set(weft_config *config, const char *origin, const char *name, const char *value)
{
    weft__config_entry *entry = weft__config_find(config, weft_sv_from(name));
    const char *source = weft_arena_strdup(config->arena, origin);
    if (source == NULL)
        return -ENOMEM;
    if (entry == NULL) {
        weft__config_report_unknown(config, origin, weft_sv_from(name));
        return -EINVAL;
    }
    return weft__config_store(config, entry, WEFT__CONFIG_FLAG, source, value);
}

int weft_config_check(weft_config *config)
{
    for (size_t i = 0; i < config->entry_count; i++)
        if (config->entries[i].layer == WEFT__CONFIG_UNSET)
            weft__config_report(config, config->entries[i].key->name, "is required and not set");
    return config->error_count > 0 ? -EINVAL : 0;
}

size_t weft_config_error_count(const weft_config *config)
{
    return config->error_count;
}

/* ---- Reading values ---------------------------------------------------------------------------------------------- */

static const weft__config_entry *typed_entry(const weft_config *config, const char *name, weft_config_type type)
{
    const weft__config_entry *entry = weft__config_find(config, weft_sv_from(name));
    return entry != NULL && entry->key->type == type ? entry : NULL;
}

static int64_t typed_number(const weft_config *config, const char *name, weft_config_type type)
{
    const weft__config_entry *entry = typed_entry(config, name, type);
    return entry != NULL ? entry->number : 0;
}

const char *weft_config_string(const weft_config *config, const char *name)
{
    const weft__config_entry *entry = typed_entry(config, name, WEFT_CONFIG_STRING);
    return entry != NULL ? entry->text : NULL;
}

int64_t weft_config_int(const weft_config *config, const char *name)
{
    return typed_number(config, name, WEFT_CONFIG_INT);
}

bool weft_config_bool(const weft_config *config, const char *name)
{
    return typed_number(config, name, WEFT_CONFIG_BOOL) != 0;
}

int64_t weft_config_duration_ms(const weft_config *config, const char *name)
{
    return typed_number(config, name, WEFT_CONFIG_DURATION);
}

int64_t weft_config_size_bytes(const weft_config *config, const char *name)
{
    return typed_number(config, name, WEFT_CONFIG_SIZE);
}

const char *const *weft_config_list(const weft_config *config, const char *name, size_t *count)
{
    const weft__config_entry *entry = typed_entry(config, name, WEFT_CONFIG_LIST);
    *count = entry != NULL ? entry->item_count : 0;
    return entry != NULL ? (const char *const *)entry->items : NULL;
}

const char *weft_config_source(const weft_config *config, const char *name)
{
    const weft__config_entry *entry = weft__config_find(config, weft_sv_from(name));
    return entry != NULL ? entry->source : NULL;
}

/* ---- Writing it down --------------------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_value(const weft__config_entry *a, const weft__config_entry *b)
{
    if (a->key->type != WEFT_CONFIG_LIST)
        return a->key->type == WEFT_CONFIG_STRING ? same_text(a->text, b->text) : a->number == b->number;
    bool same = a->item_count == b->item_count;
    for (size_t i = 0; same && i < a->item_count; i++)
        same = same_text(a->items[i], b->items[i]);
    return same;
}

void weft_config_compare(const weft_config *before, const weft_config *now,
                         void (*changed)(void *arg, const weft_config_key *key), void *arg)
{
    for (size_t i = 0; i < before->entry_count && i < now->entry_count; i++)
        if (!same_value(&before->entries[i], &now->entries[i]))
            changed(arg, before->entries[i].key);
}

static void write_quoted(weft__buf *text, const char *value)
{
    weft__buf_printf(text, "\"");
    weft__config_escape(text, weft_sv_from(value));
    weft__buf_printf(text, "\"");
}

static void write_value(weft__buf *text, const weft__config_entry *entry)
{
    if (entry->key->type == WEFT_CONFIG_LIST) {
        weft__buf_printf(text, "[");
        for (size_t i = 0; i < entry->item_count; i++) {
            weft__buf_printf(text, "%s", i > 0 ? ", " : "");
            write_quoted(text, entry->items[i]);
        }
        weft__buf_printf(text, "]");
    } else if (entry->key->type == WEFT_CONFIG_STRING) {
        write_quoted(text, entry->text);
    } else {
        weft__buf_printf(text, "%s", entry->text);
    }
}

/* A key that is unset or secret becomes a comment, so that the whole stays a file that can be read. */
static void write_entry(weft__buf *text, const weft__config_entry *entry)
{
    const weft_config_key *key = entry->key;
    if (key->doc != NULL)
        weft__buf_printf(text, "# %s%s%s%s\n", key->doc, key->unit != NULL ? " (" : "",
                         key->unit != NULL ? key->unit : "", key->unit != NULL ? ")" : "");
    if (entry->layer == WEFT__CONFIG_UNSET) {
        weft__buf_printf(text, "# %s:  # not set\n", key->name);
        return;
    }
    if (key->secret) {
        weft__buf_printf(text, "# %s: ********", key->name);
    } else {
        weft__buf_printf(text, "%s: ", key->name);
        write_value(text, entry);
    }
    weft__buf_printf(text, "  # ");
    weft__config_escape(text, weft_sv_from(entry->source));
    weft__buf_printf(text, "%s\n", key->reloadable ? ", reloadable" : "");
}

char *weft_config_format(const weft_config *config, weft_arena *arena)
{
    weft__buf text;
    weft__buf_init(&text, 0);
    for (size_t i = 0; i < config->entry_count; i++)
        write_entry(&text, &config->entries[i]);
    char *copy = text.failed == 0 ? weft_arena_svdup(arena, weft_sv_of(text.data, text.len)) : NULL;
    weft__buf_fini(&text);
    return copy;
}
