/* instances.c: a list of instances from libyaml's events. Nothing in it may nest deeper than the form has it, so
 * nothing is descended into; aliases are refused, so nothing can expand.
 */
#include "resolve/instances.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include <weft/arena.h>
#include <weft/resolver.h>

#include "resolve/target.h"

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    const char *name;
    char *reason;
    size_t reason_size;
    weft_arena *arena; /* of the instance that is read */
    weft__addresses found;
};

static size_t line_of(const struct reader *reader)
{
    return reader->event.start_mark.line + 1;
}

/* Says what is wrong. @return -EINVAL. */
WEFT_PRINTF(3, 4) static int mistake(struct reader *reader, size_t line, const char *format, ...)
{
    va_list args;
    int used = snprintf(reader->reason, reader->reason_size, "%s:%zu: ", reader->name, line);
    size_t at = used > 0 && (size_t)used < reader->reason_size ? (size_t)used : reader->reason_size;
    va_start(args, format);
    (void)vsnprintf(reader->reason + at, reader->reason_size - at, format, args);
    va_end(args);
    return -EINVAL;
}

static bool is_decorated(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL;
    default:
        return event->type == YAML_ALIAS_EVENT;
    }
}

static int next(struct reader *reader)
{
    yaml_event_delete(&reader->event);
    if (!yaml_parser_parse(&reader->parser, &reader->event)) {
        const yaml_parser_t *parser = &reader->parser;
        if (parser->error == YAML_MEMORY_ERROR)
            return -ENOMEM;
        return mistake(reader, parser->problem_mark.line + 1, "%s",
                       parser->problem != NULL ? parser->problem : "not YAML");
    }
    if (is_decorated(&reader->event))
        return mistake(reader, line_of(reader), "anchors, aliases and tags are not allowed here");
    return 0;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static weft_sv scalar(const struct reader *reader)
{
    return weft_sv_of(reader->event.data.scalar.value, reader->event.data.scalar.length);
}

/* The current event as a text without NUL, a copy in the arena. */
static int read_text(struct reader *reader, const char *what, const char **out)
{
    if (reader->event.type != YAML_SCALAR_EVENT)
        return mistake(reader, line_of(reader), "%s: expected a text", what);
    weft_sv text = scalar(reader);
    bool plain = reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (text.len == 0 || (plain && (weft_sv_is(text, "null") || weft_sv_is(text, "~"))))
        return mistake(reader, line_of(reader), "%s: expected a text, found nothing", what);
    if (memchr(text.data, '\0', text.len) != NULL)
        return mistake(reader, line_of(reader), "%s: contains a NUL character", what);
    *out = weft_arena_svdup(reader->arena, text);
    return *out != NULL ? 0 : -ENOMEM;
}

static int read_address(struct reader *reader, weft_address *address)
{
    const char *text = NULL;
    char full[WEFT__TARGET_MAX];
    int rc = read_text(reader, "address", &text);
    if (rc < 0)
        return rc;
    if (weft__target_parse(text, full) < 0 || !weft__is_address(full))
        return mistake(reader, line_of(reader),
                       "\"%s\" is no address: write 10.0.0.1:50051, \"[::1]:50051\" or unix:/path", text);
    address->address = weft_arena_strdup(reader->arena, full);
    return address->address != NULL ? 0 : -ENOMEM;
}

static int read_weight(struct reader *reader, weft_address *address)
{
    const char *text = NULL;
    int rc = read_text(reader, "weight", &text);
    if (rc == 0 && weft__weight_parse(weft_sv_from(text), &address->weight) < 0)
        rc = mistake(reader, line_of(reader), "weight: expected 1 to %d, found \"%s\"", WEFT__WEIGHT_MAX, text);
    return rc;
}

static int read_zone(struct reader *reader, weft_address *address)
{
    return read_text(reader, "zone", &address->zone);
}

static int read_health(struct reader *reader, weft_address *address)
{
    static const char *const names[] = {"unknown", "healthy", "unhealthy", "draining"}; /* as weft_instance_health */
    const char *text = NULL;
    int rc = read_text(reader, "health", &text);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            address->health = (weft_instance_health)i;
            return 0;
        }
    return mistake(reader, line_of(reader), "health: expected unknown, healthy, unhealthy or draining, found \"%s\"",
                   text);
}

/* Room for one more pair: doubled whenever the count is a power of two. */
static weft_metadatum *grow(struct reader *reader, weft_metadatum *items, size_t count)
{
    if ((count & (count - 1)) != 0)
        return items;
    weft_metadatum *larger = weft_arena_calloc(reader->arena, count > 0 ? 2 * count : 1, sizeof *larger);
    if (larger != NULL && count > 0)
        memcpy(larger, items, count * sizeof *items);
    return larger;
}

static int read_metadata(struct reader *reader, weft_address *address)
{
    weft_metadatum *items = NULL;
    size_t count = 0;
    if (reader->event.type != YAML_MAPPING_START_EVENT)
        return mistake(reader, line_of(reader), "metadata: expected keys and values");
    for (;;) {
        const char *key = NULL;
        const char *value = NULL;
        int rc = next(reader);
        if (rc == 0 && reader->event.type == YAML_MAPPING_END_EVENT)
            break;
        if (rc == 0)
            rc = read_text(reader, "metadata", &key);
        if (rc == 0)
            rc = next(reader);
        if (rc == 0)
            rc = read_text(reader, "metadata", &value);
        if (rc < 0)
            return rc;
        items = grow(reader, items, count);
        if (items == NULL)
            return -ENOMEM;
        items[count++] = (weft_metadatum){weft_sv_from(key), weft_sv_from(value)};
    }
    address->metadata = (weft_metadata){items, count};
    return 0;
}

/* ---- instances --------------------------------------------------------------------------------------------------- */

struct field {
    const char *name;
    int (*read)(struct reader *reader, weft_address *address);
};

static const struct field fields[] = {
    {"address", read_address}, {"weight", read_weight},     {"zone", read_zone},
    {"health", read_health},   {"metadata", read_metadata},
};
#define FIELD_COUNT (sizeof fields / sizeof *fields)

/* Reads a key and its value; the key is the current event. @param seen a bit for each field that was there. */
static int read_field(struct reader *reader, weft_address *address, unsigned *seen)
{
    if (reader->event.type != YAML_SCALAR_EVENT)
        return mistake(reader, line_of(reader), "a key must be a text");
    size_t i = 0;
    while (i < FIELD_COUNT && !weft_sv_is(scalar(reader), fields[i].name))
        i++;
    if (i == FIELD_COUNT)
        return mistake(reader, line_of(reader), "expected address, weight, zone, health or metadata, found \"%.*s\"",
                       (int)(scalar(reader).len < 64 ? scalar(reader).len : 64), scalar(reader).data);
    if ((*seen & 1U << i) != 0)
        return mistake(reader, line_of(reader), "%s is there twice", fields[i].name);
    *seen |= 1U << i;
    int rc = next(reader);
    return rc == 0 ? fields[i].read(reader, address) : rc;
}

/* Reads an instance, whose first event is the current one. */
static int read_instance(struct reader *reader)
{
    weft_address address = {.address = NULL};
    size_t line = line_of(reader);
    unsigned seen = 0;
    int rc = 0;
    weft_arena_reset(reader->arena);
    if (reader->event.type == YAML_SCALAR_EVENT)
        rc = read_address(reader, &address);
    else if (reader->event.type != YAML_MAPPING_START_EVENT)
        rc = mistake(reader, line, "expected an address, or keys and values");
    else
        while ((rc = next(reader)) == 0 && reader->event.type != YAML_MAPPING_END_EVENT)
            if ((rc = read_field(reader, &address, &seen)) < 0)
                break;
    if (rc < 0)
        return rc;
    if (address.address == NULL)
        return mistake(reader, line, "an instance without an address");
    if (reader->found.count == WEFT_FILE_RESOLVER_MAX_ADDRESSES)
        return mistake(reader, line, "more than %d instances", WEFT_FILE_RESOLVER_MAX_ADDRESSES);
    rc = weft__addresses_add(&reader->found, &address);
    return rc == -EEXIST ? mistake(reader, line, "%s is there twice", address.address) : rc;
}

static int expect(struct reader *reader, yaml_event_type_t type, const char *what)
{
    int rc = next(reader);
    if (rc == 0 && reader->event.type != type)
        rc = mistake(reader, line_of(reader), "expected %s", what);
    return rc;
}

static int read_stream(struct reader *reader)
{
    int rc = expect(reader, YAML_STREAM_START_EVENT, "a list");
    if (rc == 0)
        rc = expect(reader, YAML_DOCUMENT_START_EVENT, "a list");
    if (rc == 0)
        rc = expect(reader, YAML_SEQUENCE_START_EVENT, "a list");
    while (rc == 0) {
        rc = next(reader);
        if (rc == 0 && reader->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (rc == 0)
            rc = read_instance(reader);
    }
    if (rc == 0)
        rc = expect(reader, YAML_DOCUMENT_END_EVENT, "nothing after the list");
    if (rc == 0)
        rc = expect(reader, YAML_STREAM_END_EVENT, "nothing after the list");
    return rc;
}

int weft__instances_parse(const char *name, weft_sv text, weft__addresses *out, char *reason, size_t reason_size)
{
    struct reader reader = {.name = name, .reason_size = reason_size};
    reader.reason = reason;
    int rc = weft_arena_new(&reader.arena, 0);
    if (rc < 0)
        return rc;
    if (!yaml_parser_initialize(&reader.parser)) {
        weft_arena_free(reader.arena);
        return -ENOMEM;
    }
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)(text.len > 0 ? text.data : ""), text.len);
    rc = read_stream(&reader);
    yaml_event_delete(&reader.event);
    yaml_parser_delete(&reader.parser);
    weft_arena_free(reader.arena);
    if (rc < 0)
        weft__addresses_fini(&reader.found);
    else
        *out = reader.found;
    return rc;
}
