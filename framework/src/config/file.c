/* Design notes
 *
 * libyaml gives events; this walks them once, with the path of the current key beside it, and stores values as they
 * come. A mistake in meaning is reported and the walk goes on behind it; a mistake in syntax, or nesting that is too
 * deep, ends it, since nothing after it can be trusted. libyaml keeps its own stack on the heap, so depth costs no C
 * stack there, and the recursion here is bounded by WEFT_CONFIG_MAX_DEPTH.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "config/internal.h"
#include "config/value.h"

struct reader {
    weft_config *config;
    const char *name;
    yaml_parser_t parser;
    yaml_event_t event; /* the last that was read; deleted by the next read */
    char path[WEFT_CONFIG_MAX_NAME + 1];
    unsigned depth;
};

/* ---- Events ------------------------------------------------------------------------------------------------------ */

static size_t line_of(const struct reader *reader)
{
    return reader->event.start_mark.line + 1;
}

/* "user.yaml:3", in `out`. */
static const char *where_at(const struct reader *reader, size_t line, char *out, size_t size)
{
    snprintf(out, size, "%s:%zu", reader->name, line);
    return out;
}

#define REPORT(reader, line, ...)                                                                                      \
    do {                                                                                                               \
        char where_[512];                                                                                              \
        weft__config_report((reader)->config, where_at((reader), (line), where_, sizeof where_), __VA_ARGS__);         \
    } while (0)

/* The anchor and the tag of an event, each NULL when it has none. */
static void decoration(const yaml_event_t *event, const yaml_char_t **anchor, const yaml_char_t **tag)
{
    *anchor = NULL;
    *tag = NULL;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        *anchor = event->data.scalar.anchor;
        *tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        *anchor = event->data.sequence_start.anchor;
        *tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        *anchor = event->data.mapping_start.anchor;
        *tag = event->data.mapping_start.tag;
        break;
    default:
        break;
    }
}

/* Reads the next event. What YAML has and a configuration may not is reported here, for every event alike. */
static int next(struct reader *reader)
{
    const yaml_char_t *anchor;
    const yaml_char_t *tag;
    yaml_event_delete(&reader->event);
    if (!yaml_parser_parse(&reader->parser, &reader->event)) {
        const yaml_parser_t *parser = &reader->parser;
        if (parser->error == YAML_MEMORY_ERROR)
            return -ENOMEM;
        REPORT(reader, parser->problem_mark.line + 1, "%s", parser->problem != NULL ? parser->problem : "not YAML");
        return -EINVAL;
    }
    decoration(&reader->event, &anchor, &tag);
    if (anchor != NULL)
        REPORT(reader, line_of(reader), "anchors are not allowed here");
    if (tag != NULL)
        REPORT(reader, line_of(reader), "tags are not allowed here");
    if (reader->event.type == YAML_ALIAS_EVENT)
        REPORT(reader, line_of(reader), "aliases are not allowed here");
    return 0;
}

/* Counts one more level of nesting. */
static int descend(struct reader *reader)
{
    if (reader->depth == WEFT_CONFIG_MAX_DEPTH) {
        REPORT(reader, line_of(reader), "nested deeper than %d", WEFT_CONFIG_MAX_DEPTH);
        return -EINVAL;
    }
    reader->depth++;
    return 0;
}

/* Passes over the node whose first event is the current one. */
static int skip_node(struct reader *reader)
{
    unsigned outside = reader->depth;
    for (;;) {
        int rc = 0;
        switch (reader->event.type) {
        case YAML_MAPPING_START_EVENT:
        case YAML_SEQUENCE_START_EVENT:
            rc = descend(reader);
            break;
        case YAML_MAPPING_END_EVENT:
        case YAML_SEQUENCE_END_EVENT:
            reader->depth--;
            break;
        default:
            break;
        }
        if (rc < 0)
            return rc;
        if (reader->depth == outside)
            return 0;
        rc = next(reader);
        if (rc < 0)
            return rc;
    }
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

/* What a scalar is to YAML. */
static weft__scalar scalar_kind(const yaml_event_t *event)
{
    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return WEFT__SCALAR_STRING;
    return weft__scalar_kind((const char *)event->data.scalar.value);
}

static weft_sv scalar_text(const yaml_event_t *event)
{
    return weft_sv_of(event->data.scalar.value, event->data.scalar.length);
}

/* Whether a scalar may stand for a string; what is wrong with it is reported. */
static bool is_string(struct reader *reader, size_t line, const char *name)
{
    weft_sv text = scalar_text(&reader->event);
    weft__scalar kind = scalar_kind(&reader->event);
    if (kind == WEFT__SCALAR_STRING && memchr(text.data, '\0', text.len) == NULL)
        return true;
    if (kind == WEFT__SCALAR_STRING)
        REPORT(reader, line, "%s: contains a NUL character", name);
    else
        REPORT(reader, line, "%s: expected a string, found %s: put it in quotes", name, weft__scalar_name(kind));
    return false;
}

static const char *source_at(struct reader *reader, size_t line)
{
    return weft_arena_printf(reader->config->arena, "%s:%zu", reader->name, line);
}

static int read_scalar(struct reader *reader, weft__config_entry *entry, size_t line)
{
    const weft_config_key *key = entry->key;
    weft__scalar kind = scalar_kind(&reader->event);
    bool textual = key->type == WEFT_CONFIG_STRING || key->type == WEFT_CONFIG_LIST;
    bool quoted = reader->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (kind == WEFT__SCALAR_NULL) {
        REPORT(reader, line, "%s: expected %s, found nothing", key->name, weft__config_expects(key->type));
        return 0;
    }
    if (textual && !is_string(reader, line, key->name))
        return 0;
    if ((key->type == WEFT_CONFIG_INT || key->type == WEFT_CONFIG_BOOL) && quoted) {
        REPORT(reader, line, "%s: expected %s, found a string", key->name, weft__config_expects(key->type));
        return 0;
    }
    const char *source = source_at(reader, line);
    const char *text = weft_arena_svdup(reader->config->arena, scalar_text(&reader->event));
    if (source == NULL || text == NULL)
        return -ENOMEM;
    if (key->type != WEFT_CONFIG_LIST) {
        int rc = weft__config_store(reader->config, entry, WEFT__CONFIG_FILE, source, text);
        return rc == -ENOMEM ? rc : 0;
    }
    const char **items = weft_arena_calloc(reader->config->arena, 1, sizeof *items);
    if (items == NULL)
        return -ENOMEM;
    items[0] = text;
    weft__config_store_list(entry, WEFT__CONFIG_FILE, source, items, 1);
    return 0;
}

/* Makes room for one more item: doubles the array when its length is a power of two. */
static const char **grow(weft_arena *arena, const char **items, size_t count)
{
    if ((count & (count - 1)) != 0)
        return items;
    const char **larger = weft_arena_calloc(arena, count > 0 ? 2 * count : 1, sizeof *larger);
    if (larger != NULL && count > 0)
        memcpy(larger, items, count * sizeof *items);
    return larger;
}

static int read_list(struct reader *reader, weft__config_entry *entry, size_t line)
{
    weft_arena *arena = reader->config->arena;
    const char *source = source_at(reader, line);
    const char **items = NULL;
    size_t count = 0;
    bool good = true;
    int rc = descend(reader);
    if (rc < 0)
        return rc;
    for (;;) {
        rc = next(reader);
        if (rc < 0)
            return rc;
        if (reader->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (reader->event.type != YAML_SCALAR_EVENT) {
            if (reader->event.type != YAML_ALIAS_EVENT)
                REPORT(reader, line_of(reader), "%s: expected %s, found a list or mapping in it", entry->key->name,
                       weft__config_expects(WEFT_CONFIG_LIST));
            good = false;
            rc = skip_node(reader);
            if (rc < 0)
                return rc;
            continue;
        }
        if (!is_string(reader, line_of(reader), entry->key->name)) {
            good = false;
            continue;
        }
        items = grow(arena, items, count);
        if (items == NULL)
            return -ENOMEM;
        items[count++] = weft_arena_svdup(arena, scalar_text(&reader->event));
    }
    reader->depth--;
    if (weft_arena_failed(arena))
        return -ENOMEM;
    if (good)
        weft__config_store_list(entry, WEFT__CONFIG_FILE, source, items, count);
    return 0;
}

/* ---- Mappings ---------------------------------------------------------------------------------------------------- */

static int read_mapping(struct reader *reader);

/* Reports a key or section that this file has named before. */
static bool is_duplicate(struct reader *reader, size_t line, unsigned *file, size_t *first_line)
{
    if (*file == reader->config->files) {
        REPORT(reader, line, "duplicate key \"%s\", first on line %zu", reader->path, *first_line);
        return true;
    }
    *file = reader->config->files;
    *first_line = line;
    return false;
}

static int read_section(struct reader *reader, weft__config_section *section, size_t line)
{
    if (is_duplicate(reader, line, &section->file, &section->line))
        return skip_node(reader);
    if (reader->event.type == YAML_MAPPING_START_EVENT)
        return read_mapping(reader);
    if (reader->event.type == YAML_SCALAR_EVENT && scalar_kind(&reader->event) == WEFT__SCALAR_NULL)
        return 0;
    if (reader->event.type != YAML_ALIAS_EVENT)
        REPORT(reader, line, "%s: expected a mapping", reader->path);
    return skip_node(reader);
}

static int read_key(struct reader *reader, weft__config_entry *entry, size_t line)
{
    if (is_duplicate(reader, line, &entry->file, &entry->line))
        return skip_node(reader);
    if (reader->event.type == YAML_SCALAR_EVENT)
        return read_scalar(reader, entry, line);
    if (reader->event.type == YAML_SEQUENCE_START_EVENT && entry->key->type == WEFT_CONFIG_LIST)
        return read_list(reader, entry, line);
    if (reader->event.type != YAML_ALIAS_EVENT)
        REPORT(reader, line, "%s: expected %s, found a %s", reader->path, weft__config_expects(entry->key->type),
               reader->event.type == YAML_MAPPING_START_EVENT ? "mapping" : "list");
    return skip_node(reader);
}

/* Appends the key that the current event is to the path. An unknown one is reported, and makes it false. */
static bool push_key(struct reader *reader)
{
    size_t len = strlen(reader->path);
    weft_sv key = scalar_text(&reader->event);
    weft_sv full = key;
    char joined[2 * WEFT_CONFIG_MAX_NAME + 2];
    if (len > 0 && key.len <= WEFT_CONFIG_MAX_NAME) {
        memcpy(joined, reader->path, len);
        joined[len] = '.';
        memcpy(joined + len + 1, key.data, key.len);
        full = weft_sv_of(joined, len + 1 + key.len);
    }
    /* A name that is too long to be joined is none of the section's; alone it must not pass for a key of the root. */
    bool known = (len == 0 || full.data == joined) && (weft__config_find(reader->config, full) != NULL ||
                                                       weft__config_find_section(reader->config, full) != NULL);
    if (!known) {
        char where[512];
        weft__config_report_unknown(reader->config, where_at(reader, line_of(reader), where, sizeof where), full);
        return false;
    }
    memcpy(reader->path, full.data, full.len);
    reader->path[full.len] = '\0';
    return true;
}

/* Reads one key and its value; the key is the current event. */
static int read_pair(struct reader *reader)
{
    size_t outer = strlen(reader->path);
    size_t line = line_of(reader);
    bool known = false;
    int rc = 0;
    if (reader->event.type == YAML_SCALAR_EVENT) {
        known = push_key(reader);
    } else {
        if (reader->event.type != YAML_ALIAS_EVENT)
            REPORT(reader, line, "a key must be a string");
        rc = skip_node(reader);
    }
    if (rc == 0)
        rc = next(reader);
    if (rc < 0)
        return rc;
    weft__config_entry *entry = known ? weft__config_find(reader->config, weft_sv_from(reader->path)) : NULL;
    if (entry != NULL)
        rc = read_key(reader, entry, line);
    else if (known)
        rc = read_section(reader, weft__config_find_section(reader->config, weft_sv_from(reader->path)), line);
    else
        rc = skip_node(reader);
    reader->path[outer] = '\0';
    return rc;
}

/* Reads the mapping whose start is the current event, to its end. */
static int read_mapping(struct reader *reader)
{
    int rc = descend(reader);
    while (rc == 0) {
        rc = next(reader);
        if (rc < 0 || reader->event.type == YAML_MAPPING_END_EVENT)
            break;
        rc = read_pair(reader);
    }
    reader->depth--;
    return rc;
}

/* Reads the root, which is the current event. */
static int read_root(struct reader *reader)
{
    if (reader->event.type == YAML_MAPPING_START_EVENT)
        return read_mapping(reader);
    if (reader->event.type == YAML_SCALAR_EVENT && scalar_kind(&reader->event) == WEFT__SCALAR_NULL)
        return 0;
    REPORT(reader, line_of(reader), "expected keys and values");
    return skip_node(reader);
}

static int read_stream(struct reader *reader)
{
    unsigned documents = 0;
    do {
        int rc = next(reader);
        if (rc < 0)
            return rc;
        if (reader->event.type != YAML_DOCUMENT_START_EVENT)
            continue;
        if (documents++ > 0) {
            REPORT(reader, line_of(reader), "expected one document, found another");
            return -EINVAL;
        }
        rc = next(reader);
        if (rc == 0)
            rc = read_root(reader);
        if (rc < 0)
            return rc;
    } while (reader->event.type != YAML_STREAM_END_EVENT);
    return 0;
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

int weft_config_read_text(weft_config *config, const char *name, weft_sv text)
{
    struct reader reader = {.config = config, .name = name};
    size_t errors_before = config->error_count;
    if (text.len > WEFT_CONFIG_MAX_FILE_BYTES) {
        weft__config_report(config, name, "is larger than %d bytes", WEFT_CONFIG_MAX_FILE_BYTES);
        return -EFBIG;
    }
    if (!yaml_parser_initialize(&reader.parser))
        return -ENOMEM;
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    const char *data = text.len > 0 ? text.data : "";
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)data, text.len);
    config->files++;
    int rc = read_stream(&reader);
    yaml_event_delete(&reader.event);
    yaml_parser_delete(&reader.parser);
    if (rc < 0)
        return rc;
    return config->error_count > errors_before ? -EINVAL : 0;
}

/* Reads up to `size` bytes. @return how many, or -errno. */
static ssize_t read_up_to(int fd, char *data, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, data + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

int weft_config_read_file(weft_config *config, const char *path)
{
    size_t size = WEFT_CONFIG_MAX_FILE_BYTES + 1;
    char *data = malloc(size);
    if (data == NULL)
        return -ENOMEM;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -errno : read_up_to(fd, data, size);
    if (fd >= 0)
        close(fd);
    if (len < 0)
        weft__config_report(config, path, "%s", strerror((int)-len));
    int rc = len < 0 ? (int)len : weft_config_read_text(config, path, weft_sv_of(data, (size_t)len));
    free(data);
    return rc;
}
