/* call/guard.h */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "call/guard.h"
#include "support/messages.pb-c.h"

#define EVERYTHING (&weft__test__everything__descriptor)
#define SPARSE     (&weft__test__sparse__descriptor)
#define OUTER      (&weft__test__outer__descriptor)

static const weft__guard_limits usual = {.max_depth = 100, .max_fields = 1000000};

/* Checks the bytes of a string literal. */
#define CHECK(type, literal) check((type), (literal), sizeof(literal) - 1)

static weft__guard_error last;

static int check(const ProtobufCMessageDescriptor *type, const void *bytes, size_t len)
{
    /* A copy of just that size: a sanitizer sees a read past its end. */
    uint8_t *copy = malloc(len + (len == 0));
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    int rc = weft__guard_check(type, copy, len, &usual, &last);
    free(copy);
    return rc;
}

/* Whether protobuf-c takes the bytes. */
static bool unpacks(const ProtobufCMessageDescriptor *type, const void *bytes, size_t len)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, len, bytes);
    if (message != NULL)
        protobuf_c_message_free_unpacked(message, NULL);
    return message != NULL;
}

static void a_message_with_every_kind_of_field_passes(void **state)
{
    (void)state;
    int32_t numbers[] = {0, 1, -1, INT32_MAX, INT32_MIN};
    int64_t signeds[] = {0, INT64_MIN, INT64_MAX};
    uint32_t words[] = {1, 2, 3};
    double doubles[] = {0.5, -1e300};
    protobuf_c_boolean flags[] = {0, 1, 1};
    Weft__Test__Color colors[] = {WEFT__TEST__COLOR__COLOR_RED};
    uint64_t unpacked[] = {1, UINT64_MAX};
    char *texts[] = {(char *)"", (char *)"plain", (char *)"Grüße, 世界 🙂"};
    ProtobufCBinaryData blobs[] = {{3, (uint8_t *)"\0\xff\x80"}, {0, NULL}};
    Weft__Test__Everything child = WEFT__TEST__EVERYTHING__INIT;
    child.text = (char *)"a longer text, of which most is plain ASCII: é";
    Weft__Test__Everything *children[] = {&child, &child};
    Weft__Test__Everything__NamedEntry entry = WEFT__TEST__EVERYTHING__NAMED_ENTRY__INIT;
    entry.key = (char *)"key";
    entry.value = &child;
    Weft__Test__Everything__NamedEntry *named[] = {&entry};
    Weft__Test__Everything message = WEFT__TEST__EVERYTHING__INIT;
    message.int32 = -1;
    message.sint64 = INT64_MIN;
    message.fixed32 = UINT32_MAX;
    message.double_ = 1.5;
    message.flag = 1;
    message.text = (char *)"text";
    message.data = blobs[0];
    message.child = &child;
    message.numbers = numbers, message.n_numbers = 5;
    message.signed_ = signeds, message.n_signed_ = 3;
    message.words = words, message.n_words = 3;
    message.doubles = doubles, message.n_doubles = 2;
    message.flags = flags, message.n_flags = 3;
    message.colors = colors, message.n_colors = 1;
    message.unpacked = unpacked, message.n_unpacked = 2;
    message.texts = texts, message.n_texts = 3;
    message.blobs = blobs, message.n_blobs = 2;
    message.children = children, message.n_children = 2;
    message.named = named, message.n_named = 1;
    message.choice_case = WEFT__TEST__EVERYTHING__CHOICE_CHOSEN_TEXT;
    message.chosen_text = (char *)"chosen";

    uint8_t packed[1024];
    size_t len = weft__test__everything__get_packed_size(&message);
    assert_in_range(len, 100, sizeof packed);
    weft__test__everything__pack(&message, packed);
    assert_int_equal(check(EVERYTHING, packed, len), 0);

    /* Cut short anywhere it passes only where protobuf-c takes it too: between two fields. */
    for (size_t cut = 0; cut < len; cut++) {
        int rc = check(EVERYTHING, packed, cut);
        assert_int_equal(rc, unpacks(EVERYTHING, packed, cut) ? 0 : -EBADMSG);
    }
}

static void an_empty_message_passes_even_at_null(void **state)
{
    (void)state;
    assert_int_equal(weft__guard_check(EVERYTHING, NULL, 0, &usual, &last), 0);
    assert_int_equal(CHECK(OUTER, "\x0a\x00"), 0);
}

static void fields_with_numbers_far_apart_are_found(void **state)
{
    (void)state;
    /* A string that is not UTF-8 is refused in each field, and accepted, as bytes, under numbers in between. */
    assert_int_equal(CHECK(SPARSE, "\x0a\x01\xff"), -EILSEQ);
    assert_int_equal(CHECK(SPARSE, "\x12\x01\xff"), 0);
    assert_int_equal(CHECK(SPARSE, "\x22\x01\xff"), 0);
    assert_int_equal(CHECK(SPARSE, "\x2a\x01\xff"), -EILSEQ);
    assert_int_equal(CHECK(SPARSE, "\x32\x01\xff"), -EILSEQ);
    assert_int_equal(CHECK(SPARSE, "\x3a\x01\xff"), 0);
    assert_int_equal(CHECK(SPARSE, "\x9a\x06\x01\xff"), 0);
    assert_int_equal(CHECK(SPARSE, "\xa2\x06\x01\xff"), -EILSEQ);
    assert_int_equal(CHECK(SPARSE, "\xaa\x06\x01\xff"), 0);
    assert_int_equal(CHECK(SPARSE, "\xf2\xff\xff\xff\x0f\x01\xff"), 0);
    assert_int_equal(CHECK(SPARSE, "\xfa\xff\xff\xff\x0f\x01\xff"), -EILSEQ);
}

static void tags_that_are_none_are_refused(void **state)
{
    (void)state;
    assert_int_equal(CHECK(EVERYTHING, "\x00\x00"), -EBADMSG);                     /* field 0 */
    assert_int_equal(CHECK(EVERYTHING, "\x02\x00"), -EBADMSG);                     /* field 0 with a length */
    assert_int_equal(CHECK(EVERYTHING, "\x80"), -EBADMSG);                         /* cut short */
    assert_int_equal(CHECK(EVERYTHING, "\x80\x80\x80\x80\x00\x00"), -EBADMSG);     /* field 0, in five bytes */
    assert_int_equal(CHECK(EVERYTHING, "\x88\x80\x80\x80\x10\x00"), -EBADMSG);     /* above 2^29 - 1 */
    assert_int_equal(CHECK(EVERYTHING, "\x88\x80\x80\x80\x80\x00\x00"), -EBADMSG); /* six bytes */
    assert_string_equal(last.text, "message: malformed tag (byte 0)");
    assert_int_equal(CHECK(EVERYTHING, "\x88\x80\x80\x80\x00\x01"), 0); /* longer than needed, but legal */
}

static void groups_and_unknown_wire_types_are_refused(void **state)
{
    (void)state;
    assert_int_equal(CHECK(EVERYTHING, "\x0b\x0c"), -EBADMSG);         /* field 1 */
    assert_int_equal(CHECK(EVERYTHING, "\x93\x03\x94\x03"), -EBADMSG); /* field 50, unknown */
    assert_int_equal(CHECK(EVERYTHING, "\x0e"), -EBADMSG);
    assert_int_equal(CHECK(EVERYTHING, "\x0f"), -EBADMSG);
    assert_string_equal(last.text, "int32: unsupported wire type (byte 0)");
}

static void values_that_are_malformed_or_cut_short_are_refused(void **state)
{
    (void)state;
    assert_int_equal(CHECK(EVERYTHING, "\x08"), -EBADMSG);
    assert_int_equal(CHECK(EVERYTHING, "\x08\x80"), -EBADMSG);
    assert_int_equal(CHECK(EVERYTHING, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 0);
    assert_int_equal(CHECK(EVERYTHING, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), -EBADMSG);
    assert_int_equal(CHECK(EVERYTHING, "\x3d\x01\x02\x03"), -EBADMSG);
    assert_int_equal(CHECK(EVERYTHING, "\x51\x01\x02\x03\x04\x05\x06\x07"), -EBADMSG);
    assert_int_equal(CHECK(EVERYTHING, "\x7a"), -EBADMSG);
    assert_int_equal(CHECK(EVERYTHING, "\x7a\x05half"), -EBADMSG);
    assert_int_equal(CHECK(EVERYTHING, "\x7a\xff\xff\xff\xff\x0f!"), -EBADMSG); /* 4 GiB - 1 */
    assert_int_equal(CHECK(EVERYTHING, "\x7a\xff\xff\xff\xff\x1f!"), -EBADMSG); /* above 32 bits */
    assert_string_equal(last.text, "text: malformed or cut short (byte 0)");
    /* A sub-message may not reach past the one around it, though the bytes are there. */
    assert_int_equal(CHECK(OUTER, "\x12\x02\x0a\x03xyz"), -EBADMSG);
    assert_string_equal(last.text, "sparse.first: malformed or cut short (byte 2)");
}

static void a_field_of_another_wire_type_is_refused(void **state)
{
    (void)state;
    assert_int_equal(CHECK(EVERYTHING, "\x0a\x01\x01"), -EBADMSG);         /* int32 with a length */
    assert_int_equal(CHECK(EVERYTHING, "\x0d\x01\x01\x01\x01"), -EBADMSG); /* int32 as 32 bits */
    assert_int_equal(CHECK(EVERYTHING, "\x38\x01"), -EBADMSG);             /* fixed32 as a varint */
    assert_int_equal(CHECK(EVERYTHING, "\x50\x01"), -EBADMSG);             /* fixed64 as a varint */
    assert_int_equal(CHECK(EVERYTHING, "\x6a\x01\x01"), -EBADMSG);         /* bool with a length */
    assert_int_equal(CHECK(EVERYTHING, "\x78\x01"), -EBADMSG);             /* string as a varint */
    assert_int_equal(CHECK(EVERYTHING, "\x88\x01\x01"), -EBADMSG);         /* message as a varint */
    assert_string_equal(last.text, "child: of another type than declared (byte 0)");
    assert_int_equal(CHECK(EVERYTHING, "\xd8\x01\x01"), -EBADMSG); /* repeated string as a varint */
}

static void repeated_numbers_pass_packed_or_not(void **state)
{
    (void)state;
    assert_int_equal(CHECK(EVERYTHING, "\xa0\x01\x05\xa2\x01\x02\x01\x02"), 0);
    assert_int_equal(CHECK(EVERYTHING, "\xd0\x01\x05\xd2\x01\x02\x01\x02"), 0); /* declared packed = false */
    assert_int_equal(CHECK(EVERYTHING, "\xa2\x01\x00"), 0);
    assert_int_equal(CHECK(EVERYTHING, "\xa2\x01\x0b\x01\x02\x03\x04\x05\x06\x07\x08\x09\x80\x01"), 0);
    assert_int_equal(CHECK(EVERYTHING, "\xa2\x01\x0a\x01\x02\x03\x04\x05\x06\x07\x08\x09\x80"), -EBADMSG);
    assert_int_equal(CHECK(EVERYTHING, "\xa2\x01\x0b\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), -EBADMSG);
    assert_string_equal(last.text, "numbers: malformed packed numbers (byte 0)");
    assert_int_equal(CHECK(EVERYTHING, "\xb2\x01\x04\x01\x02\x03\x04"), 0);
    assert_int_equal(CHECK(EVERYTHING, "\xb2\x01\x03\x01\x02\x03"), -EBADMSG);
    assert_int_equal(CHECK(EVERYTHING, "\xba\x01\x08\x01\x02\x03\x04\x05\x06\x07\x08"), 0);
    assert_int_equal(CHECK(EVERYTHING, "\xba\x01\x04\x01\x02\x03\x04"), -EBADMSG);
}

/* Checks text in front of, between and behind plain characters, so that every way through the check sees it. */
static int check_text(const char *bad, size_t len)
{
    static const size_t paddings[] = {0, 1, 7, 8, 9, 15, 16};
    int rc = 0;
    for (size_t i = 0; i < sizeof paddings / sizeof *paddings; i++) {
        for (size_t j = 0; j < sizeof paddings / sizeof *paddings; j++) {
            uint8_t message[64] = {0x7a};
            size_t before = paddings[i], after = paddings[j];
            message[1] = (uint8_t)(before + len + after);
            memset(message + 2, 'a', before + len + after);
            memcpy(message + 2 + before, bad, len);
            int one = check(EVERYTHING, message, 2 + before + len + after);
            if (i + j > 0)
                assert_int_equal(one, rc);
            rc = one;
            if (rc != 0)
                assert_in_range(last.offset, 2 + before, 2 + before + len - 1);
        }
    }
    return rc;
}
#define CHECK_TEXT(literal) check_text((literal), sizeof(literal) - 1)

static void strings_must_be_utf8(void **state)
{
    (void)state;
    assert_int_equal(CHECK_TEXT("\x7f"), 0);
    assert_int_equal(CHECK_TEXT("\xc2\x80"), 0);         /* U+0080 */
    assert_int_equal(CHECK_TEXT("\xdf\xbf"), 0);         /* U+07FF */
    assert_int_equal(CHECK_TEXT("\xe0\xa0\x80"), 0);     /* U+0800 */
    assert_int_equal(CHECK_TEXT("\xed\x9f\xbf"), 0);     /* U+D7FF */
    assert_int_equal(CHECK_TEXT("\xee\x80\x80"), 0);     /* U+E000 */
    assert_int_equal(CHECK_TEXT("\xef\xbf\xbf"), 0);     /* U+FFFF */
    assert_int_equal(CHECK_TEXT("\xf0\x90\x80\x80"), 0); /* U+10000 */
    assert_int_equal(CHECK_TEXT("\xf4\x8f\xbf\xbf"), 0); /* U+10FFFF */

    assert_int_equal(CHECK_TEXT("\x80"), -EILSEQ);
    assert_int_equal(CHECK_TEXT("\xbf"), -EILSEQ);
    assert_int_equal(CHECK_TEXT("\xc0\x80"), -EILSEQ);         /* NUL in two bytes */
    assert_int_equal(CHECK_TEXT("\xc1\xbf"), -EILSEQ);         /* overlong */
    assert_int_equal(CHECK_TEXT("\xc2"), -EILSEQ);             /* alone */
    assert_int_equal(CHECK_TEXT("\xc2\xc2\x80"), -EILSEQ);     /* two leads */
    assert_int_equal(CHECK_TEXT("\xe0\x9f\xbf"), -EILSEQ);     /* overlong */
    assert_int_equal(CHECK_TEXT("\xe2\x82"), -EILSEQ);         /* cut short */
    assert_int_equal(CHECK_TEXT("\xed\xa0\x80"), -EILSEQ);     /* surrogates */
    assert_int_equal(CHECK_TEXT("\xed\xbf\xbf"), -EILSEQ);     /* surrogates */
    assert_int_equal(CHECK_TEXT("\xf0\x8f\xbf\xbf"), -EILSEQ); /* overlong */
    assert_int_equal(CHECK_TEXT("\xf0\x90\x80"), -EILSEQ);     /* cut short */
    assert_int_equal(CHECK_TEXT("\xf4\x90\x80\x80"), -EILSEQ); /* U+110000 */
    assert_int_equal(CHECK_TEXT("\xf5\x80\x80\x80"), -EILSEQ);
    assert_int_equal(CHECK_TEXT("\xff"), -EILSEQ);
}

static void a_bad_byte_is_found_wherever_it_lies(void **state)
{
    (void)state;
    static const char bad[] = {'\0', '\x80', '\xff'};
    for (size_t len = 1; len <= 40; len++) {
        uint8_t message[42] = {0x7a, (uint8_t)len};
        memset(message + 2, 0x7f, len);
        assert_int_equal(check(EVERYTHING, message, 2 + len), 0);
        for (size_t at = 0; at < len; at++) {
            for (size_t i = 0; i < sizeof bad; i++) {
                message[2 + at] = (uint8_t)bad[i];
                assert_int_equal(check(EVERYTHING, message, 2 + len), -EILSEQ);
                assert_int_equal(last.offset, 2 + at);
            }
            message[2 + at] = 1;
        }
    }
}

static void a_nul_inside_a_string_is_refused(void **state)
{
    (void)state;
    assert_int_equal(CHECK_TEXT("\0"), -EILSEQ);
    assert_int_equal(CHECK(EVERYTHING, "\x7a\x07"
                                       "admin\0x"),
                     -EILSEQ);
    assert_string_equal(last.text, "text: holds a NUL (byte 7)");
    assert_int_equal(CHECK(EVERYTHING, "\x82\x01\x03"
                                       "\0\xff\0"),
                     0); /* bytes may */
}

static void every_string_of_a_message_is_checked(void **state)
{
    (void)state;
    assert_int_equal(CHECK(EVERYTHING, "\xda\x01\x01z\xda\x01\x01\xff"), -EILSEQ);
    assert_string_equal(last.text, "texts: not UTF-8 (byte 7)");
    assert_int_equal(CHECK(EVERYTHING, "\xc2\x02\x01\xff"), -EILSEQ);
    assert_string_equal(last.text, "chosen_text: not UTF-8 (byte 3)");
    assert_int_equal(CHECK(EVERYTHING, "\xf2\x01\x03\x0a\x01\xff"), -EILSEQ);
    assert_string_equal(last.text, "named.key: not UTF-8 (byte 5)");
    assert_int_equal(CHECK(EVERYTHING, "\x8a\x01\x06\x8a\x01\x03\x7a\x01\xff"), -EILSEQ);
    assert_string_equal(last.text, "child.child.text: not UTF-8 (byte 8)");
    /* After a sub-message the walk is back in the message around it. */
    assert_int_equal(CHECK(OUTER, "\x0a\x00\x12\x00\x12\x03\x0a\x01\xff"), -EILSEQ);
    assert_string_equal(last.text, "sparse.first: not UTF-8 (byte 8)");
    assert_int_equal(last.offset, 8);
}

/* Writes `levels` messages within one another, the innermost empty. @return the bytes, to be freed. */
static uint8_t *nest(size_t levels, size_t *len)
{
    size_t size = levels * 7 + 1;
    uint8_t *block = malloc(size);
    assert_non_null(block);
    size_t start = size;
    for (size_t level = 0; level < levels; level++) {
        uint8_t header[7] = {0x8a, 0x01};
        size_t n = 2, rest = size - start;
        for (; rest >= 0x80; rest >>= 7)
            header[n++] = (uint8_t)(rest | 0x80);
        header[n++] = (uint8_t)rest;
        start -= n;
        memcpy(block + start, header, n);
    }
    *len = size - start;
    memmove(block, block + start, *len);
    return block;
}

static int check_nested(size_t levels, int64_t max_depth)
{
    const weft__guard_limits limits = {.max_depth = max_depth, .max_fields = -1};
    size_t len;
    uint8_t *bytes = nest(levels, &len);
    int rc = weft__guard_check(EVERYTHING, bytes, len, &limits, &last);
    if (rc == 0)
        assert_true(unpacks(EVERYTHING, bytes, len));
    free(bytes);
    return rc;
}

static void nesting_is_limited(void **state)
{
    (void)state;
    assert_int_equal(check_nested(0, 0), 0);
    assert_int_equal(check_nested(1, 0), -ELOOP);
    assert_int_equal(check_nested(100, 100), 0);
    assert_int_equal(check_nested(101, 100), -ELOOP);
    assert_memory_equal(last.text, "...child.child.", 15); /* the outer end of a long path is left out */
    assert_non_null(strstr(last.text, ".child.child: nested too deep (byte "));
    assert_int_equal(check_nested(WEFT__GUARD_MAX_DEPTH, -1), 0);
    assert_int_equal(check_nested(WEFT__GUARD_MAX_DEPTH + 1, -1), -ELOOP);
    assert_int_equal(check_nested(WEFT__GUARD_MAX_DEPTH + 1, INT64_MAX), -ELOOP);
}

static void fields_without_names_are_told_by_number(void **state)
{
    (void)state;
    /* As protobuf-c generates them with optimize_for = CODE_SIZE. */
    ProtobufCFieldDescriptor fields[] = {{.id = 7, .label = PROTOBUF_C_LABEL_NONE, .type = PROTOBUF_C_TYPE_STRING}};
    static const ProtobufCIntRange ranges[] = {{7, 0}, {0, 1}};
    const ProtobufCMessageDescriptor nameless = {.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                                 .sizeof_message = sizeof(ProtobufCMessage) + sizeof(char *),
                                                 .n_fields = 1,
                                                 .fields = fields,
                                                 .n_field_ranges = 1,
                                                 .field_ranges = ranges};
    assert_int_equal(CHECK(&nameless, "\x3a\x01x"), 0);
    assert_int_equal(CHECK(&nameless, "\x3a\x01\xff"), -EILSEQ);
    assert_memory_equal(last.text, "7: ", 3);
}

static void fifty_five_kilobytes_of_nesting_are_refused(void **state)
{
    (void)state;
    size_t len;
    uint8_t *bytes = nest(13000, &len);
    assert_in_range(len, 55000, 70000);
    assert_int_equal(check(EVERYTHING, bytes, len), -ELOOP);
    free(bytes);
}

/* The most units that the bytes can have and still be refused, plus one: what they cost. */
static int64_t cost_of(const ProtobufCMessageDescriptor *type, const void *bytes, size_t len)
{
    for (int64_t max_fields = 0; max_fields < 1000; max_fields++) {
        const weft__guard_limits limits = {.max_depth = -1, .max_fields = max_fields};
        int rc = weft__guard_check(type, bytes, len, &limits, &last);
        if (rc == 0)
            return max_fields;
        assert_int_equal(rc, -E2BIG);
    }
    fail();
    return -1;
}
#define COST(type, literal) cost_of((type), (const uint8_t *)(literal), sizeof(literal) - 1)

static void a_field_costs_what_protobuf_c_makes_of_it(void **state)
{
    (void)state;
    assert_int_equal(COST(EVERYTHING, ""), 0);
    assert_int_equal(COST(EVERYTHING, "\x08\x01"), 1);
    assert_int_equal(COST(EVERYTHING, "\x08\x01\x08\x02"), 2);
    assert_int_equal(COST(EVERYTHING, "\x90\x03\x01"), 1); /* unknown */
    assert_int_equal(COST(EVERYTHING, "\x7a\x00"), 1);
    assert_int_equal(COST(EVERYTHING, "\xa2\x01\x07\x01\x01\x01\x01\x01\x01\x01"), 1);
    assert_int_equal(COST(EVERYTHING, "\xa2\x01\x10\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"),
                     3);
    assert_int_equal(COST(OUTER, "\x0a\x00"), 1 + (int64_t)sizeof(Weft__Test__Empty) / 64);
    assert_int_equal(COST(OUTER, "\x12\x03\x0a\x01x"), 2 + (int64_t)sizeof(Weft__Test__Sparse) / 64);
    assert_int_equal(COST(EVERYTHING, "\x8a\x01\x00"), 1 + (int64_t)sizeof(Weft__Test__Everything) / 64);
}

static void *counting_alloc(void *used, size_t size)
{
    *(size_t *)used += size;
    return malloc(size);
}

static void counting_free(void *used, void *memory)
{
    (void)used;
    free(memory);
}

/* How much protobuf-c allocates, for each unit, to unpack the same bytes many times. */
static size_t memory_a_unit(const ProtobufCMessageDescriptor *type, const char *bytes, size_t len)
{
    enum {
        TIMES = 131100
    }; /* its tables have just doubled: the worst case */
    const weft__guard_limits none = {.max_depth = -1, .max_fields = -1};
    uint8_t *block = malloc(TIMES * len);
    assert_non_null(block);
    for (size_t i = 0; i < TIMES; i++)
        memcpy(block + i * len, bytes, len);
    assert_int_equal(weft__guard_check(type, block, TIMES * len, &none, &last), 0);
    size_t used = 0;
    ProtobufCAllocator allocator = {counting_alloc, counting_free, &used};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, TIMES * len, block);
    assert_non_null(message);
    protobuf_c_message_free_unpacked(message, &allocator);
    free(block);
    return used / TIMES / (size_t)cost_of(type, bytes, len);
}
#define MEMORY_A_UNIT(type, literal) memory_a_unit((type), (literal), sizeof(literal) - 1)

static void the_limit_of_fields_bounds_the_memory_of_protobuf_c(void **state)
{
    (void)state;
    assert_in_range(MEMORY_A_UNIT(OUTER, "\x20\x01"), 32, 128);          /* unknown number */
    assert_in_range(MEMORY_A_UNIT(OUTER, "\x22\x00"), 32, 128);          /* unknown text */
    assert_in_range(MEMORY_A_UNIT(OUTER, "\x1a\x00"), 32, 128);          /* empty sub-message, small */
    assert_in_range(MEMORY_A_UNIT(OUTER, "\x0a\x00"), 32, 128);          /* the same one, merged */
    assert_in_range(MEMORY_A_UNIT(EVERYTHING, "\xea\x01\x00"), 32, 128); /* large */
    assert_in_range(MEMORY_A_UNIT(EVERYTHING, "\xf2\x01\x00"), 32, 128); /* entry of a map */
    assert_in_range(MEMORY_A_UNIT(EVERYTHING, "\x08\x01"), 32, 128);     /* the same number */
    assert_in_range(MEMORY_A_UNIT(EVERYTHING, "\xd0\x01\x01"), 32, 128); /* repeated number */
    assert_in_range(MEMORY_A_UNIT(EVERYTHING, "\xda\x01\x00"), 32, 128); /* repeated string */
}

static void four_megabytes_of_empty_sub_messages_are_refused(void **state)
{
    (void)state;
    const size_t len = 4 << 20;
    uint8_t *bytes = malloc(len);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i += 2) {
        bytes[i] = 0x1a;
        bytes[i + 1] = 0;
    }
    assert_int_equal(check(OUTER, bytes, len), -E2BIG);
    assert_string_equal(last.text, "empties: too many fields (byte 2000000)");
    free(bytes);
}

static void four_megabytes_of_numbers_or_text_pass(void **state)
{
    (void)state;
    const size_t len = 4 << 20;
    uint8_t *bytes = malloc(len);
    assert_non_null(bytes);
    memset(bytes, '1', len);
    const size_t body = len - 6;
    const uint8_t header[6] = {
        0xa2,
        0x01,
        (uint8_t)(body | 0x80),
        (uint8_t)(body >> 7 | 0x80),
        (uint8_t)(body >> 14 | 0x80),
        (uint8_t)(body >> 21),
    };
    memcpy(bytes, header, sizeof header);
    assert_int_equal(check(EVERYTHING, bytes, len), 0);
    bytes[0] = 0xda; /* texts */
    assert_int_equal(check(EVERYTHING, bytes, len), 0);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_with_every_kind_of_field_passes),
        cmocka_unit_test(an_empty_message_passes_even_at_null),
        cmocka_unit_test(fields_with_numbers_far_apart_are_found),
        cmocka_unit_test(tags_that_are_none_are_refused),
        cmocka_unit_test(groups_and_unknown_wire_types_are_refused),
        cmocka_unit_test(values_that_are_malformed_or_cut_short_are_refused),
        cmocka_unit_test(a_field_of_another_wire_type_is_refused),
        cmocka_unit_test(repeated_numbers_pass_packed_or_not),
        cmocka_unit_test(strings_must_be_utf8),
        cmocka_unit_test(a_bad_byte_is_found_wherever_it_lies),
        cmocka_unit_test(a_nul_inside_a_string_is_refused),
        cmocka_unit_test(every_string_of_a_message_is_checked),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(fields_without_names_are_told_by_number),
        cmocka_unit_test(fifty_five_kilobytes_of_nesting_are_refused),
        cmocka_unit_test(a_field_costs_what_protobuf_c_makes_of_it),
        cmocka_unit_test(the_limit_of_fields_bounds_the_memory_of_protobuf_c),
        cmocka_unit_test(four_megabytes_of_empty_sub_messages_are_refused),
        cmocka_unit_test(four_megabytes_of_numbers_or_text_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
