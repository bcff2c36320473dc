/* Design notes
 *
 * One pass over the bytes, one field a turn. A sub-message is entered in place: its end and its field go onto a stack
 * of fixed size, and the walk goes on with its first field; there is no recursion. Bytes are looked at as protobuf-c
 * will look at them, so what is not descended into here (unknown fields, bytes) is not descended into there.
 *
 * Invariants: at <= end; end <= the end of every message on the stack and of the input; depth is the number of open
 * sub-messages, and stack[depth - 1].field the field of the innermost.
 */
#include "call/guard.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* What one of max_fields stands for: protobuf-c keeps 40 to 80 bytes for each field it meets. */
#define BYTES_PER_UNIT  64
#define PACKED_PER_UNIT 8

#define MAX_VARINT_BYTES 10
#define MAX_TAG_BYTES    5 /* of a tag or a length, as in protobuf-c */

/* An open sub-message, and where the one around it ends. */
struct frame {
    const uint8_t *outer_end;
    const ProtobufCFieldDescriptor *field;
};

static uint64_t load64(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static uint32_t load32(const uint8_t *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

#define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* Whether all eight bytes are ASCII and none is NUL. */
static bool is_plain_text(uint64_t word)
{
    return (((word - EACH_BYTE(1)) | word) & EACH_BYTE(0x80)) == 0;
}

/* Eight bytes that are plain text just when the `len` (1 to 7) bytes at `at` are: some of them come twice. */
static uint64_t load_short(const uint8_t *at, size_t len)
{
    if (len >= 4)
        return (uint64_t)load32(at) << 32 | load32(at + len - 4);
    return EACH_BYTE('a') << 24 | (uint32_t)at[0] << 16 | (uint32_t)at[len / 2] << 8 | at[len - 1];
}

/* The first byte that makes the text invalid, or NULL. */
static const uint8_t *find_bad_text(const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        size_t left = (size_t)(end - at);
        const uint8_t *next = left >= 8 ? at + 8 : end;
        if (is_plain_text(left >= 8 ? load64(at) : load_short(at, left))) {
            at = next;
            continue;
        }
        while (at < next) {
            size_t length = *at != 0 ? weft__utf8_sequence((const char *)at, (size_t)(end - at)) : 0;
            if (length == 0)
                return at;
            at += length;
        }
    }
    return NULL;
}

/* Reads a varint of at most 32 bits and MAX_TAG_BYTES bytes. @return what follows it, or NULL when it is none. */
static const uint8_t *read_uint32(const uint8_t *at, const uint8_t *end, uint32_t *out)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < MAX_TAG_BYTES && at < end; i++) {
        uint8_t byte = *at++;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *out = (uint32_t)value;
            return value <= UINT32_MAX ? at : NULL;
        }
    }
    return NULL;
}

/* What follows the varint at `at`, or NULL when it does not end in time. */
static const uint8_t *skip_varint(const uint8_t *at, const uint8_t *end)
{
    if (end - at > MAX_VARINT_BYTES)
        end = at + MAX_VARINT_BYTES;
    while (at < end)
        if (*at++ < 0x80)
            return at;
    return NULL;
}

/* How many varints fill the bytes exactly, or -1. Eight small ones are counted at once: they are the ones that grow. */
static int64_t count_varints(const uint8_t *at, const uint8_t *end)
{
    int64_t count = 0;
    while (at < end) {
        if (end - at >= 8 && (load64(at) & EACH_BYTE(0x80)) == 0) {
            at += 8;
            count += 8;
            continue;
        }
        at = skip_varint(at, end);
        if (at == NULL)
            return -1;
        count++;
    }
    return count;
}

/* How many elements the body of a packed field holds, or -1 when it is malformed. */
static int64_t count_packed(ProtobufCWireType wire, const uint8_t *at, const uint8_t *end)
{
    int64_t size = end - at;
    if (wire == PROTOBUF_C_WIRE_TYPE_32BIT)
        return size % 4 == 0 ? size / 4 : -1;
    if (wire == PROTOBUF_C_WIRE_TYPE_64BIT)
        return size % 8 == 0 ? size / 8 : -1;
    return count_varints(at, end);
}

/* The wire type of a value on its own (not packed). */
static ProtobufCWireType wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return PROTOBUF_C_WIRE_TYPE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return PROTOBUF_C_WIRE_TYPE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    default:
        return PROTOBUF_C_WIRE_TYPE_VARINT;
    }
}

/* The field with this number, or NULL. Ranges are runs of consecutive numbers; most messages have one. */
static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type, uint32_t number)
{
    const ProtobufCIntRange *range = type->field_ranges;
    unsigned count = type->n_field_ranges;
    if (count == 0)
        return NULL;
    while (count > 1) {
        unsigned half = count / 2;
        if (number >= (uint32_t)range[half].start_value) {
            range += half;
            count -= half;
        } else {
            count = half;
        }
    }
    uint32_t index = number - (uint32_t)range[0].start_value; /* a number below it gives a huge index */
    if (index >= range[1].orig_index - range[0].orig_index)
        return NULL;
    return &type->fields[range[0].orig_index + index];
}

/* Fills `error` with "outer.inner: reason (byte n)"; a path that is too long loses its beginning. */
static void explain(weft__guard_error *error, const struct frame *stack, size_t depth,
                    const ProtobufCFieldDescriptor *field, size_t offset, const char *reason)
{
    char path[WEFT__GUARD_TEXT_BYTES / 2];
    size_t start = sizeof path - 1;
    path[start] = '\0';
    for (size_t level = depth + 1; level-- > 0;) {
        const ProtobufCFieldDescriptor *step = level == depth ? field : stack[level].field;
        if (step == NULL)
            continue;
        char number[12]; /* optimize_for = CODE_SIZE leaves the names out */
        snprintf(number, sizeof number, "%" PRIu32, step->id);
        const char *name = step->name != NULL ? step->name : number;
        const char *dot = path[start] == '\0' ? "" : ".";
        size_t length = strlen(name) + strlen(dot);
        if (length + 3 > start) {
            start -= 3;
            memcpy(path + start, "...", 3);
            break;
        }
        start -= length;
        memcpy(path + start, name, strlen(name));
        memcpy(path + start + length - strlen(dot), dot, strlen(dot));
    }
    error->offset = offset;
    snprintf(error->text, sizeof error->text, "%s: %s (byte %zu)", path[start] == '\0' ? "message" : path + start,
             reason, offset);
}

/* Gives up on the field at hand. */
#define REFUSE(code, text)                                                                                             \
    do {                                                                                                               \
        rc = (code);                                                                                                   \
        reason = (text);                                                                                               \
        goto refuse;                                                                                                   \
    } while (0)

int weft__guard_check(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len,
                      const weft__guard_limits *limits, weft__guard_error *error)
{
    struct frame stack[WEFT__GUARD_MAX_DEPTH];
    size_t depth = 0;
    size_t max_depth = limits->max_depth >= 0 && limits->max_depth < WEFT__GUARD_MAX_DEPTH ? (size_t)limits->max_depth
                                                                                           : WEFT__GUARD_MAX_DEPTH;
    int64_t budget = limits->max_fields >= 0 ? limits->max_fields : INT64_MAX;
    const ProtobufCMessageDescriptor *root = type;
    const ProtobufCFieldDescriptor *field = NULL;
    const uint8_t *where = data; /* what an error points at */
    const char *reason;
    int rc;

    if (len == 0)
        return 0;
    if (len > INT_MAX)
        REFUSE(-EBADMSG, "larger than protobuf allows");
    const uint8_t *at = data;
    const uint8_t *end = data + len;
    for (;;) {
        while (at == end) {
            if (depth == 0)
                return 0;
            depth--;
            end = stack[depth].outer_end;
            type = depth == 0 ? root : stack[depth - 1].field->descriptor;
        }

        where = at;
        field = NULL;
        uint32_t tag = *at;
        at = tag < 0x80 ? at + 1 : read_uint32(at, end, &tag);
        if (at == NULL || tag >> 3 == 0)
            REFUSE(-EBADMSG, "malformed tag");
        field = find_field(type, tag >> 3);

        uint32_t wire = tag & 7;
        uint32_t size = 0;
        const uint8_t *body = at;
        switch (wire) {
        case PROTOBUF_C_WIRE_TYPE_VARINT:
            at = skip_varint(at, end);
            break;
        case PROTOBUF_C_WIRE_TYPE_64BIT:
            at = end - at >= 8 ? at + 8 : NULL;
            break;
        case PROTOBUF_C_WIRE_TYPE_32BIT:
            at = end - at >= 4 ? at + 4 : NULL;
            break;
        case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
            body = read_uint32(at, end, &size);
            at = body != NULL && size <= (size_t)(end - body) ? body + size : NULL;
            break;
        default:
            REFUSE(-EBADMSG, "unsupported wire type");
        }
        if (at == NULL)
            REFUSE(-EBADMSG, "malformed or cut short");

        int64_t cost = 1;
        if (field != NULL) {
            ProtobufCWireType expected = wire_type_of(field->type);
            if (wire != expected) {
                if (wire != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED || field->label != PROTOBUF_C_LABEL_REPEATED)
                    REFUSE(-EBADMSG, "of another type than declared");
                int64_t count = count_packed(expected, body, at);
                if (count < 0)
                    REFUSE(-EBADMSG, "malformed packed numbers");
                cost += count / PACKED_PER_UNIT;
            } else if (field->type == PROTOBUF_C_TYPE_STRING) {
                const uint8_t *bad = find_bad_text(body, at);
                if (bad != NULL) {
                    where = bad;
                    REFUSE(-EILSEQ, *bad == 0 ? "holds a NUL" : "not UTF-8");
                }
            } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
                if (depth == max_depth)
                    REFUSE(-ELOOP, "nested too deep");
                stack[depth++] = (struct frame){end, field};
                type = field->descriptor;
                field = NULL; /* of the sub-message: none yet */
                end = at;
                at = body;
                cost += (int64_t)(type->sizeof_message / BYTES_PER_UNIT);
            }
        }
        budget -= cost;
        if (budget < 0)
            REFUSE(-E2BIG, "too many fields");
    }

refuse:
    explain(error, stack, depth, field, (size_t)(where - data), reason);
    return rc;
}
