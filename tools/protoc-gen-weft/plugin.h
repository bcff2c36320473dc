/* plugin.h: from protoc's request to the answer. */
#ifndef PROTOC_GEN_WEFT_PLUGIN_H
#define PROTOC_GEN_WEFT_PLUGIN_H

#include "memory.h"

/**
 * Answers a serialized CodeGeneratorRequest.
 *
 * @param answer the serialized CodeGeneratorResponse; problems of the protos are in it, as protoc wants them.
 * @return 0; -EBADMSG when `request_bytes` is not such a message.
 */
int plugin_answer(pool *p, const uint8_t *request_bytes, size_t size, text *answer);

#endif
