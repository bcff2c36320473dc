/* Design notes
 *
 * A call collects its details as the bytes of a google.rpc.Status that has nothing but details: protobuf lets messages
 * be joined by joining their bytes. Code and message are put in front when the call is answered, so they are always
 * those of the answer, also after weft_fail_from: some clients refuse details that say something else.
 *
 * What the trailer will take of the metadata limit is held back from the first detail on (details_cost), so that what
 * was added is also sent. weft__details_forget gives it back.
 */
#include <errno.h>
#include <string.h>

#include <weft/details.h>

#include "base/utf8.h"
#include "call/call.h"
#include "call/guard.h"

#define DETAILS_KEY "grpc-status-details-bin"
#define TYPE_PREFIX "type.googleapis.com/"

/* Those of a message that comes with a call, by default. Metadata limits bound the bytes. */
static const weft__guard_limits limits = {.max_depth = 100, .max_fields = 1000000};

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* 0; -EBADMSG; -ENOMEM. */
static int unpack(const ProtobufCMessageDescriptor *type, const void *data, size_t len, weft_arena *arena,
                  ProtobufCMessage **out)
{
    static const uint8_t nothing[1] = {0};
    const uint8_t *bytes = len > 0 ? data : nothing;
    weft__guard_error error;
    if (weft__guard_check(type, bytes, len, &limits, &error) < 0)
        return -EBADMSG;
    ProtobufCMessage *message = protobuf_c_message_unpack(type, weft_arena_allocator(arena), len, bytes);
    if (message == NULL)
        return weft_arena_failed(arena) ? -ENOMEM : -EBADMSG;
    *out = message;
    return 0;
}

static bool has_name(const ProtobufCMessageDescriptor *type)
{
    return type->name != NULL && type->name[0] != '\0';
}

/* Whether a type URL, which is anything, a slash and a full name, names this type. */
static bool names(const char *url, const ProtobufCMessageDescriptor *type)
{
    const char *slash = strrchr(url, '/');
    return slash != NULL && strcmp(slash + 1, type->name) == 0;
}

int weft_detail_unpack(const Google__Protobuf__Any *detail, const ProtobufCMessageDescriptor *type, weft_arena *arena,
                       ProtobufCMessage **out)
{
    if (!has_name(type))
        return -ENOTSUP;
    if (!names(detail->type_url, type))
        return -ENOENT;
    return unpack(type, detail->value.data, detail->value.len, arena, out);
}

int weft_status_details(const weft_status *status, weft_arena *arena, Google__Rpc__Status **out)
{
    ProtobufCMessage *message = NULL;
    if (status->details.len == 0)
        return -ENOENT;
    int rc = unpack(&google__rpc__status__descriptor, status->details.data, status->details.len, arena, &message);
    if (rc < 0)
        return rc;
    Google__Rpc__Status *details = (Google__Rpc__Status *)message;
    if (details->n_details == 0)
        return -ENOENT;
    *out = details;
    return 0;
}

int weft_status_detail(const weft_status *status, const ProtobufCMessageDescriptor *type, weft_arena *arena,
                       ProtobufCMessage **out)
{
    Google__Rpc__Status *details = NULL;
    if (!has_name(type))
        return -ENOTSUP;
    int rc = weft_status_details(status, arena, &details);
    if (rc < 0)
        return rc;
    rc = -ENOENT;
    for (size_t i = 0; i < details->n_details && rc == -ENOENT; i++)
        rc = weft_detail_unpack(details->details[i], type, arena, out);
    return rc;
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

/* The code and the message of the answer, which the details follow. The message, of weft_fail, ends in a NUL. */
static Google__Rpc__Status head_of(const weft_call *call, weft_code code)
{
    Google__Rpc__Status head = GOOGLE__RPC__STATUS__INIT;
    head.code = (int32_t)code;
    if (call->message.len > 0)
        head.message = (char *)call->message.data;
    return head;
}

/* Adds the details of `more`, which has no code and no message. */
static int append(weft_call *call, const Google__Rpc__Status *more)
{
    size_t size = google__rpc__status__get_packed_size(more);
    size_t cost = size;
    if (size == 0)
        return 0;
    if (call->details.len == 0) {
        const Google__Rpc__Status head = head_of(call, call->code);
        cost += weft__pair_cost(weft_sv_from(DETAILS_KEY), google__rpc__status__get_packed_size(&head));
    }
    if (cost > call->metadata_left)
        return -E2BIG;
    char *bytes = weft_arena_alloc(call->arena, call->details.len + size);
    if (bytes == NULL)
        return -ENOMEM;
    if (call->details.len > 0)
        memcpy(bytes, call->details.data, call->details.len);
    google__rpc__status__pack(more, (uint8_t *)bytes + call->details.len);
    call->details = weft_sv_of(bytes, call->details.len + size);
    call->metadata_left -= cost;
    call->details_cost += cost;
    return 0;
}

int weft_fail_detail(weft_call *call, const ProtobufCMessage *detail)
{
    if (call->code == WEFT_OK || detail == NULL || detail->descriptor == NULL)
        return -EINVAL;
    const ProtobufCMessageDescriptor *type = detail->descriptor;
    if (!has_name(type))
        return -ENOTSUP;
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    any.value.len = protobuf_c_message_get_packed_size(detail);
    if (any.value.len > call->metadata_left)
        return -E2BIG;
    any.value.data = weft_arena_alloc(call->arena, any.value.len);
    any.type_url = weft_arena_printf(call->arena, TYPE_PREFIX "%s", type->name);
    if (any.value.data == NULL || any.type_url == NULL)
        return -ENOMEM;
    protobuf_c_message_pack(detail, any.value.data);
    weft__guard_error error;
    if (weft__guard_check(type, any.value.data, any.value.len, &limits, &error) < 0)
        return -EINVAL;
    Google__Protobuf__Any *list[] = {&any};
    Google__Rpc__Status more = GOOGLE__RPC__STATUS__INIT;
    more.n_details = 1;
    more.details = list;
    return append(call, &more);
}

weft_code weft_fail_field(weft_call *call, const char *field, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = weft_arena_vprintf(call->arena, format, args);
    va_end(args);
    if (text == NULL)
        return weft_fail(call, WEFT_INVALID_ARGUMENT, "%s", field);
    size_t len = strlen(text);
    weft__utf8_repair(text, len);
    text[weft__utf8_cut(text, len, WEFT__STATUS_MESSAGE_MAX)] = '\0';
    weft_code code = weft_fail(call, WEFT_INVALID_ARGUMENT, "%s %s", field, text);
    Google__Rpc__BadRequest__FieldViolation violation = GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT;
    violation.field = (char *)field;
    violation.description = text;
    Google__Rpc__BadRequest__FieldViolation *list[] = {&violation};
    Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;
    bad.n_field_violations = 1;
    bad.field_violations = list;
    (void)weft_fail_detail(call, &bad.base);
    return code;
}

void weft__details_pass_on(weft_call *call, const weft_status *status)
{
    Google__Rpc__Status *details = NULL;
    if (status->details.len > call->metadata_left || weft_status_details(status, call->arena, &details) < 0)
        return;
    details->code = 0;
    details->message = (char *)protobuf_c_empty_string;
    (void)append(call, details);
}

void weft__details_forget(weft_call *call)
{
    call->details = (weft_sv){NULL, 0};
    call->metadata_left += call->details_cost;
    call->details_cost = 0;
}

void weft__details_tell(weft_call *call, weft_code code)
{
    if (call->details.len == 0)
        return;
    const Google__Rpc__Status head = head_of(call, code);
    size_t head_size = google__rpc__status__get_packed_size(&head);
    char *bytes = weft_arena_alloc(call->arena, head_size + call->details.len);
    if (bytes == NULL)
        return;
    google__rpc__status__pack(&head, (uint8_t *)bytes);
    memcpy(bytes + head_size, call->details.data, call->details.len);
    (void)weft__pairs_add(call->arena, &call->response_trailers, weft_sv_from(DETAILS_KEY),
                          weft_sv_of(bytes, head_size + call->details.len));
}
