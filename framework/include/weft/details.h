/* weft/details.h: more about a failure than a code and a message, for programs to read.
 *
 * Details are protobuf messages: those of google/rpc/error_details.proto, which libweft carries (ErrorInfo, BadRequest,
 * RetryInfo, ResourceInfo …), or a service's own. They travel as a google.rpc.Status in the trailer
 * grpc-status-details-bin, as grpc-go, grpc-java and the others write and read it.
 */
#ifndef WEFT_DETAILS_H
#define WEFT_DETAILS_H

#include <google/rpc/error_details.pb-c.h>
#include <google/rpc/status.pb-c.h>

#include <weft/arena.h>
#include <weft/call.h>
#include <weft/status.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

/* ---- on the server ----------------------------------------------------------------------------------------------- */

/**
 * Adds a detail to the failure that the last weft_fail, weft_fail_errno or weft_fail_from has set; the next one of
 * these forgets it. Details are told in the order they were added, after those that weft_fail_from passed on.
 *
 * A handler may ignore what this returns: the failure is then told without the detail.
 *
 * @param detail packed before this returns.
 * @return 0; -EINVAL no failure was set, no message, or one that no peer would read (a string that is not UTF-8);
 *         -ENOTSUP its type has no name (optimize_for = CODE_SIZE); -E2BIG over what max_metadata_bytes leaves, and
 *         nothing is added; -ENOMEM.
 *
 * Limits: details share max_metadata_bytes with headers and trailers. Many peers take 8 KiB in all. Thread: the
 * handler's.
 */
WEFT_API int weft_fail_detail(weft_call *call, const ProtobufCMessage *detail);

/**
 * The failure of a request with a bad field: INVALID_ARGUMENT, the message "FIELD DESCRIPTION" and, for programs, a
 * google.rpc.BadRequest that says the same (if there is room). For several fields at once make a BadRequest and use
 * weft_fail_detail.
 *
 * `return weft_fail_field(call, "email", "has no '%c'", '@');` tells "email has no '@'".
 *
 * @param field the path of the field in the request: "order.items[2].price".
 * @return WEFT_INVALID_ARGUMENT.
 */
WEFT_API weft_code weft_fail_field(weft_call *call, const char *field, const char *format, ...) WEFT_PRINTF(3, 4);

/* ---- on the client ----------------------------------------------------------------------------------------------- */

/**
 * Finds the first detail of a type: `weft_status_detail(&status, &google__rpc__bad_request__descriptor, arena, &found)`
 * gives a `Google__Rpc__BadRequest *` as a message.
 *
 * @param type  found by its full name, so any copy of it will do; has a name.
 * @param arena what `out` lives in; may be another than the status'.
 * @return 0; -ENOENT the status has no detail of this type; -EBADMSG the details, or this one, cannot be read; -ENOTSUP
 *         the type has no name; -ENOMEM. Thread: any.
 */
WEFT_API int weft_status_detail(const weft_status *status, const ProtobufCMessageDescriptor *type, weft_arena *arena,
                                ProtobufCMessage **out);

/**
 * Reads all details, for going over them: `(*out)->n_details` of them at `(*out)->details`, each for
 * weft_detail_unpack. Code and message of the status itself are the ones that count.
 *
 * @return 0; -ENOENT the status has none; -EBADMSG they cannot be read; -ENOMEM. Thread: any.
 */
WEFT_API int weft_status_details(const weft_status *status, weft_arena *arena, Google__Rpc__Status **out);

/**
 * Reads one detail, or any other google.protobuf.Any that a peer has sent, as a message of this type.
 *
 * @return 0; -ENOENT it is of another type; -EBADMSG it cannot be read; -ENOTSUP the type has no name; -ENOMEM. Thread:
 *         any.
 */
WEFT_API int weft_detail_unpack(const Google__Protobuf__Any *detail, const ProtobufCMessageDescriptor *type,
                                weft_arena *arena, ProtobufCMessage **out);

WEFT_END_DECLS
#endif
