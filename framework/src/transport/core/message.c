/* message.c: messages and metadata between Weft and gRPC core.
 *
 * Design notes
 * - A grpc_slice of up to 23 bytes may hold them inside the struct, and moves with it. An outgoing message must not:
 *   its bytes are written to after the struct was copied. grpc_slice_malloc_large always puts them on the heap.
 * - A failed allocation in gRPC core aborts. Small blocks are left to it; for large ones, whose size a peer or a
 *   handler chose, malloc is asked first, so that the failure can be reported.
 * - Metadata is copied into slices that are counted, never lent: gRPC core may still write a value to the socket when
 *   the call that it came from has ended by cancellation.
 * - gRPC core's own compression filters are off: they know no limit. With them went the headers, which are ours too: it
 *   knows them, sends those that it is given, and takes away those that it gets. What it has read in them it tells only
 *   its C++ half, by functions whose names carry their types: were they others, the names would not be found.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/slice_buffer.h>
#include <grpc/support/alloc.h>

#include "transport/core/core.h"

enum {
    SMALL_MESSAGE = 64 * 1024
};

/* The flags of the message received last. */
uint32_t weft__core_message_flags(grpc_call *call) __asm__("_Z37grpc_call_test_only_get_message_flagsP9grpc_call")
    __attribute__((weak));

/* What of the encodings that the peer takes suits a level best: for the lowest, gzip if it is among them. */
grpc_compression_algorithm weft__core_compression_for_level(grpc_call *call, grpc_compression_level level) __asm__(
    "_Z31grpc_call_compression_for_levelP9grpc_call22grpc_compression_level") __attribute__((weak));

/* gRPC core's flag of a message that came compressed. */
static const uint32_t compressed_flag = 0x80000000u;

static grpc_slice load_slice(const weft__tx *tx)
{
    grpc_slice slice;
    _Static_assert(sizeof slice == sizeof tx->impl, "a slice fits into weft__tx");
    memcpy(&slice, tx->impl, sizeof slice);
    return slice;
}

int weft__core_tx_alloc(weft_engine *engine, size_t len, weft__tx *out)
{
    grpc_slice slice;
    (void)engine;
    if (len > UINT32_MAX) /* more than gRPC can frame */
        return -ENOMEM;
    if (len <= SMALL_MESSAGE) {
        slice = grpc_slice_malloc_large(len);
    } else {
        void *bytes = malloc(len);
        if (bytes == NULL)
            return -ENOMEM;
        slice = grpc_slice_new(bytes, len, free);
    }
    *out = (weft__tx){.data = GRPC_SLICE_START_PTR(slice), .len = len};
    memcpy(out->impl, &slice, sizeof slice);
    return 0;
}

void weft__core_tx_ref(weft__tx *tx)
{
    (void)grpc_slice_ref(load_slice(tx));
}

void weft__core_tx_unref(weft__tx *tx)
{
    grpc_slice_unref(load_slice(tx));
}

static weft__coding coding_of(grpc_call *call, const grpc_byte_buffer *buffer)
{
    switch (buffer->data.raw.compression) {
    case GRPC_COMPRESS_GZIP:
        return WEFT__CODING_GZIP;
    case GRPC_COMPRESS_NONE:
        if (weft__core_message_flags != NULL && (weft__core_message_flags(call) & compressed_flag) != 0)
            return WEFT__CODING_UNNAMED;
        return WEFT__CODING_NONE;
    default:
        return WEFT__CODING_OTHER;
    }
}

weft__rx weft__core_rx(grpc_call *call, grpc_byte_buffer *buffer)
{
    static const uint8_t empty;
    weft__rx rx = {.data = &empty, .impl = buffer};
    if (buffer == NULL)
        return rx;
    rx.coding = coding_of(call, buffer);
    const grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;
    rx.total = slices->length;
    rx.pieces = slices->count;
    if (slices->count > 0)
        rx.data = GRPC_SLICE_START_PTR(slices->slices[0]);
    return rx;
}

void weft__core_rx_gather(const weft__rx *rx, uint8_t *out)
{
    const grpc_byte_buffer *buffer = rx->impl;
    const grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;
    for (size_t i = 0; i < slices->count; i++) {
        memcpy(out, GRPC_SLICE_START_PTR(slices->slices[i]), GRPC_SLICE_LENGTH(slices->slices[i]));
        out += GRPC_SLICE_LENGTH(slices->slices[i]);
    }
}

void weft__core_rx_release(weft__rx *rx)
{
    grpc_byte_buffer_destroy(rx->impl);
    rx->impl = NULL;
}

weft_sv weft__core_sv(const grpc_slice *slice)
{
    return weft_sv_of(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* A pair as the peer meant it: blanks around a value are none of it (RFC 9110, 5.5). */
static weft_metadatum view(const grpc_metadata *pair)
{
    weft_metadatum out = {weft__core_sv(&pair->key), weft__core_sv(&pair->value)};
    weft_sv *value = &out.value;
    if (value->len == 0 || !(is_blank(value->data[0]) || is_blank(value->data[value->len - 1])))
        return out;
    if (grpc_is_binary_header(pair->key))
        return out;
    while (value->len > 0 && is_blank(value->data[value->len - 1]))
        value->len--;
    while (value->len > 0 && is_blank(value->data[0]))
        *value = weft_sv_of(value->data + 1, value->len - 1);
    return out;
}

weft__md weft__core_md(grpc_metadata_array *array)
{
    size_t kept = 0;
    for (size_t i = 0; i < array->count; i++) {
        weft_metadatum pair = view(&array->metadata[i]);
        if (!weft__metadata_is_legal(pair.key, pair.value))
            continue;
        if (kept != i)
            array->metadata[kept] = array->metadata[i];
        kept++;
    }
    array->count = kept;
    return (weft__md){array->count, array->metadata};
}

weft_metadatum weft__core_md_at(const weft__md *md, size_t index)
{
    return view((const grpc_metadata *)md->impl + index);
}

void weft__core_buffer_init(grpc_byte_buffer *buffer)
{
    memset(buffer, 0, sizeof *buffer);
    buffer->type = GRPC_BB_RAW;
    buffer->data.raw.compression = GRPC_COMPRESS_NONE;
    grpc_slice_buffer_init(&buffer->data.raw.slice_buffer);
}

void weft__core_buffer_fini(grpc_byte_buffer *buffer)
{
    grpc_slice_buffer_destroy(&buffer->data.raw.slice_buffer);
}

grpc_op weft__core_send_message(grpc_byte_buffer *buffer, const weft__tx *message, bool more)
{
    grpc_slice slice = load_slice(message);
    GRPC_SLICE_SET_LENGTH(slice, message->len); /* the caller may have written less than it asked for */
    grpc_slice_buffer_add(&buffer->data.raw.slice_buffer, slice);
    buffer->data.raw.compression = message->gzip ? GRPC_COMPRESS_GZIP : GRPC_COMPRESS_NONE;
    return (grpc_op){.op = GRPC_OP_SEND_MESSAGE,
                     .flags = more ? GRPC_WRITE_BUFFER_HINT : 0,
                     .data.send_message.send_message = buffer};
}

int weft__core_metadata_copy(weft_core_metadata *out, const weft_metadatum *pairs, size_t count)
{
    out->items = out->room;
    out->count = count;
    if (count > WEFT__CORE_METADATA_INLINE) {
        out->items = calloc(count + WEFT__CORE_METADATA_OWN, sizeof *out->items);
        if (out->items == NULL)
            return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        out->items[i].key = grpc_slice_from_copied_buffer(pairs[i].key.data, pairs[i].key.len);
        out->items[i].value = grpc_slice_from_copied_buffer(pairs[i].value.data, pairs[i].value.len);
    }
    return 0;
}

void weft__core_metadata_drop(weft_core_metadata *metadata)
{
    for (size_t i = 0; i < metadata->count; i++) {
        grpc_slice_unref(metadata->items[i].key);
        grpc_slice_unref(metadata->items[i].value);
    }
    if (metadata->items != metadata->room)
        free(metadata->items);
}

void weft__core_metadata_add_encoding(weft_core_metadata *metadata)
{
    grpc_metadata *item = &metadata->items[metadata->count++];
    item->key = grpc_slice_from_static_string("grpc-encoding");
    item->value = grpc_slice_from_static_string("gzip");
}

void weft__core_metadata_add_accept_encoding(weft_core_metadata *metadata)
{
    grpc_metadata *item = &metadata->items[metadata->count++];
    item->key = grpc_slice_from_static_string("grpc-accept-encoding");
    item->value = grpc_slice_from_static_string("identity,gzip");
}

bool weft__core_takes_gzip(grpc_call *call)
{
    return weft__core_compression_for_level != NULL &&
           weft__core_compression_for_level(call, GRPC_COMPRESS_LEVEL_LOW) == GRPC_COMPRESS_GZIP;
}

size_t weft__core_peer(grpc_call *call, const char *local, char *out, size_t size)
{
    char *peer = grpc_call_get_peer(call);
    bool known = strcmp(peer, "unknown") != 0 && (local == NULL || strcmp(peer, local) != 0);
    size_t len = known ? strlen(peer) : 0;
    if (size > 0) {
        size_t copied = len < size ? len : size - 1;
        memcpy(out, peer, copied);
        out[copied] = '\0';
    }
    gpr_free(peer);
    return len;
}
