/* message.c: messages and metadata between Weft and gRPC core.
 *
 * Design notes
 * - A grpc_slice of up to 23 bytes may hold them inside the struct, and moves with it. An outgoing message must not:
 *   its bytes are written to after the struct was copied. grpc_slice_malloc_large always puts them on the heap.
 * - A failed allocation in gRPC core aborts. Small blocks are left to it; for large ones, whose size a peer or a
 *   handler chose, malloc is asked first, so that the failure can be reported.
 * - Metadata is copied into slices that are counted, never lent: gRPC core may still write a value to the socket when
 *   the call that it came from has ended by cancellation.
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
    out->data = GRPC_SLICE_START_PTR(slice);
    out->len = len;
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

grpc_slice weft__core_tx_slice(const weft__tx *tx)
{
    grpc_slice slice = load_slice(tx);
    GRPC_SLICE_SET_LENGTH(slice, tx->len); /* the caller may have written less than it asked for */
    return slice;
}

weft__rx weft__core_rx(grpc_byte_buffer *buffer)
{
    static const uint8_t empty;
    weft__rx rx = {&empty, 0, 0, buffer};
    if (buffer == NULL)
        return rx;
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

int weft__core_metadata_copy(weft_core_metadata *out, const weft_metadatum *pairs, size_t count)
{
    out->items = out->room;
    out->count = count;
    if (count > WEFT__CORE_METADATA_INLINE) {
        out->items = calloc(count, sizeof *out->items);
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
