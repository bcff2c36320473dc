/* emit.h: writes the glue of one file. */
#ifndef PROTOC_GEN_WEFT_EMIT_H
#define PROTOC_GEN_WEFT_EMIT_H

#include "proto.h"

/* The text of x.weft.h and of x.weft.c. */
char *emit_header(pool *p, const proto_request *request, const proto_file *file);
char *emit_source(pool *p, const proto_request *request, const proto_file *file);

#endif
