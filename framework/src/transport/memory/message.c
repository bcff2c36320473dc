/* message.c: messages are never copied between client and server: the receiver gets the sender's block. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/memory/memory.h"

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

static unsigned class_of(size_t len)
{
    unsigned size_class = 0;
    while (size_class < WEFT__BLOCK_CLASSES && len > (size_t)WEFT__BLOCK_SMALLEST << size_class)
        size_class++;
    return size_class;
}

static weft__block *block_new(weft__memory *memory, size_t len)
{
    unsigned size_class = class_of(len);
    weft__block *block = size_class < WEFT__BLOCK_CLASSES ? memory->blocks[size_class] : NULL;
    if (block != NULL) {
        memory->blocks[size_class] = block->next;
    } else {
        size_t room = size_class < WEFT__BLOCK_CLASSES ? (size_t)WEFT__BLOCK_SMALLEST << size_class : len;
        if (room > SIZE_MAX - sizeof *block)
            return NULL;
        block = malloc(sizeof *block + room);
        if (block == NULL)
            return NULL;
        block->memory = memory;
        block->size_class = size_class;
    }
    atomic_init(&block->refs, 1);
    return block;
}

static bool last_reference(weft__block *block)
{
    return atomic_fetch_sub_explicit(&block->refs, 1, memory_order_acq_rel) == 1;
}

static void block_free_locked(weft__block *block)
{
    if (block->size_class == WEFT__BLOCK_CLASSES) {
        free(block);
        return;
    }
    block->next = block->memory->blocks[block->size_class];
    block->memory->blocks[block->size_class] = block;
}

static void block_unref(weft__block *block)
{
    weft__memory *memory = block->memory;
    if (!last_reference(block))
        return;
    weft__memory_lock(memory);
    block_free_locked(block);
    weft__memory_unlock(memory);
}

int weft__memory_tx_alloc(weft_engine *engine, size_t len, weft__tx *out)
{
    weft__memory *memory = WEFT__CONTAINER_OF(engine, weft__memory, base);
    weft__memory_lock(memory);
    weft__block *block = block_new(memory, len);
    weft__memory_unlock(memory);
    if (block == NULL)
        return -ENOMEM;
    *out = (weft__tx){.data = block->data, .len = len, .impl = {(uintptr_t)block}};
    return 0;
}

static weft__block *block_of(const weft__tx *tx)
{
    return (weft__block *)tx->impl[0];
}

void weft__memory_tx_ref(weft__tx *tx)
{
    atomic_fetch_add_explicit(&block_of(tx)->refs, 1, memory_order_relaxed);
}

void weft__memory_tx_unref(weft__tx *tx)
{
    block_unref(block_of(tx));
}

void weft__memory_tx_drop(weft__tx *tx)
{
    if (tx != NULL && last_reference(block_of(tx)))
        block_free_locked(block_of(tx));
}

void weft__memory_rx_gather(const weft__rx *rx, uint8_t *out)
{
    if (rx->total > 0)
        memcpy(out, rx->data, rx->total);
}

void weft__memory_rx_release(weft__rx *rx)
{
    weft__block *block = rx->impl;
    if (block != NULL)
        block_unref(block);
    rx->impl = NULL;
}

/* ---- frames and lanes -------------------------------------------------------------------------------------------- */

static weft__frame *frame_of(weft__list_node *node)
{
    return node != NULL ? WEFT__CONTAINER_OF(node, weft__frame, node) : NULL;
}

/* Empty messages count too, or a sender of these would never wait. */
static int64_t framed_size(const weft__frame *frame)
{
    return (int64_t)frame->len + 5;
}

void weft__memory_lane_init(weft__lane *lane)
{
    weft__list_init(&lane->frames);
    lane->count = 0;
    lane->buffered_bytes = 0;
    lane->gzip = false;
    lane->closed = false;
}

int weft__memory_lane_push(weft__memory *memory, weft__lane *lane, const weft__tx *tx)
{
    weft__frame *frame = frame_of(weft__list_pop_front(&memory->frames));
    if (frame == NULL)
        frame = malloc(sizeof *frame);
    if (frame == NULL)
        return -ENOMEM;
    *frame = (weft__frame){.block = block_of(tx), .data = tx->data, .len = tx->len};
    if (tx->gzip)
        frame->coding = lane->gzip ? WEFT__CODING_GZIP : WEFT__CODING_UNNAMED;
    weft__list_push_back(&lane->frames, &frame->node);
    lane->count++;
    lane->buffered_bytes += framed_size(frame);
    return 0;
}

weft__frame *weft__memory_lane_first(const weft__lane *lane)
{
    return frame_of(weft__list_first(&lane->frames));
}

weft__frame *weft__memory_lane_pop(weft__lane *lane)
{
    weft__frame *frame = frame_of(weft__list_pop_front(&lane->frames));
    if (frame != NULL) {
        lane->count--;
        lane->buffered_bytes -= framed_size(frame);
    }
    return frame;
}

void weft__memory_lane_clear(weft__memory *memory, weft__lane *lane)
{
    for (weft__frame *frame = weft__memory_lane_pop(lane); frame != NULL; frame = weft__memory_lane_pop(lane))
        weft__memory_frame_drop(memory, frame);
}

void weft__memory_frame_drop(weft__memory *memory, weft__frame *frame)
{
    if (frame == NULL)
        return;
    if (last_reference(frame->block))
        block_free_locked(frame->block);
    weft__list_push_front(&memory->frames, &frame->node);
}

void weft__memory_frame_give(weft__memory *memory, weft__frame *frame, weft__rx *out)
{
    if (frame == NULL) {
        *out = (weft__rx){.data = NULL};
        return;
    }
    *out = (weft__rx){
        .data = frame->data, .total = frame->len, .pieces = 1, .coding = frame->coding, .impl = frame->block};
    weft__list_push_front(&memory->frames, &frame->node);
}

/* ---- metadata ---------------------------------------------------------------------------------------------------- */

weft_metadatum weft__memory_md_at(const weft__md *md, size_t index)
{
    return ((const weft_metadatum *)md->impl)[index];
}

int64_t weft__memory_metadata_size(const weft_metadatum *pairs, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += pairs[i].key.len + pairs[i].value.len + 32;
    return (int64_t)size;
}

static weft_sv put(char **at, weft_sv bytes)
{
    weft_sv copy = {*at, bytes.len};
    if (bytes.len > 0)
        memcpy(*at, bytes.data, bytes.len);
    *at += bytes.len;
    return copy;
}

int weft__memory_copy_set(weft__copy *copy, const weft_metadatum *pairs, size_t count, weft_sv text)
{
    size_t size = count * sizeof *pairs + text.len + 1;
    for (size_t i = 0; i < count; i++)
        size += pairs[i].key.len + pairs[i].value.len;
    if (size > copy->size) {
        void *memory = malloc(size);
        if (memory == NULL)
            return -ENOMEM;
        free(copy->memory);
        copy->memory = memory;
        copy->size = size;
    }
    weft_metadatum *copies = copy->memory;
    char *at = (char *)copy->memory + count * sizeof *pairs;
    for (size_t i = 0; i < count; i++) {
        copies[i].key = put(&at, pairs[i].key);
        copies[i].value = put(&at, pairs[i].value);
    }
    copy->text = put(&at, text);
    copy->md = (weft__md){.count = count, .impl = copies};
    return 0;
}

void weft__memory_copy_clear(weft__copy *copy)
{
    copy->md = (weft__md){.count = 0};
    copy->text = (weft_sv){NULL, 0};
}

void weft__memory_copy_fini(weft__copy *copy)
{
    free(copy->memory);
    copy->memory = NULL;
}

void weft__memory_free_messages(weft__memory *memory)
{
    for (size_t i = 0; i < WEFT__BLOCK_CLASSES; i++) {
        for (weft__block *block = memory->blocks[i], *next; block != NULL; block = next) {
            next = block->next;
            free(block);
        }
    }
    for (weft__frame *frame = frame_of(weft__list_pop_front(&memory->frames)); frame != NULL;
         frame = frame_of(weft__list_pop_front(&memory->frames)))
        free(frame);
}
