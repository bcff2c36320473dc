/* protobuf_c_methods.h: a method table made from protobuf-c's own service descriptor. */
#ifndef WEFT_CALL_PROTOBUF_C_METHODS_H
#define WEFT_CALL_PROTOBUF_C_METHODS_H

#include <weft/method.h>

/* Makes one weft_method for each method of the service, in one block that the caller frees. They have paths and types,
   all are unary. 0; -ENOTSUP generated with optimize_for = CODE_SIZE, which leaves the names out; -ENOMEM. */
int weft__protobuf_c_methods(weft_method **out, const ProtobufCServiceDescriptor *service);

#endif
