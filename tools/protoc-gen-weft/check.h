/* check.h: what cannot become C. Found before anything is generated, so that the user sees file, line and a way out
 * instead of a compiler's message about generated code. */
#ifndef PROTOC_GEN_WEFT_CHECK_H
#define PROTOC_GEN_WEFT_CHECK_H

#include <stdbool.h>

#include "proto.h"

/**
 * Checks the files to generate.
 *
 * @param bundled whether names that belong to Weft are allowed.
 * @return one line a problem, "file.proto:3:7: what — what to do"; NULL when there is none.
 */
const char *check_request(pool *p, const proto_request *request, bool bundled);

/* Why protobuf-c cannot make its own stubs of a service, or NULL when it can. Without them the service works all the
 * same, so this is no problem for check_request. */
const char *check_pb_c_service(pool *p, const proto_service *service);

/* Whether protobuf-c needs another name for the header of a message's struct, because a field is called `base`. */
bool check_needs_base_name(pool *p, const proto_message *message);

/* That other name. */
#define CHECK_BASE_NAME "protobuf_c_base"

#endif
