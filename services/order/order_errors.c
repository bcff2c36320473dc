#include "order_errors.h"

#include <errno.h>
#include <string.h>

#include <weft/details.h>
#include <weft/uuid.h>

weft_code order_fail_missing(weft_call *call, const char *id)
{
    Google__Rpc__ResourceInfo info = GOOGLE__RPC__RESOURCE_INFO__INIT;
    info.resource_type = (char *)"order";
    info.resource_name = (char *)id;
    weft_code code = weft_fail(call, WEFT_NOT_FOUND, "order %.64s does not exist", id);
    if (strlen(id) < WEFT_UUID_TEXT_BYTES) /* what is longer is no id, and might not fit into what the peer takes */
        (void)weft_fail_detail(call, &info.base);
    return code;
}

/* Adds to a failure which one it is. */
static weft_code because(weft_call *call, weft_code code, const char *reason)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    info.reason = (char *)reason;
    info.domain = (char *)"order.OrderService";
    (void)weft_fail_detail(call, &info.base);
    return code;
}

weft_code order_fail_reused(weft_call *call)
{
    weft_code code = weft_fail(call, WEFT_ALREADY_EXISTS, "idempotency_key belongs to another order");
    return because(call, code, "IDEMPOTENCY_KEY_REUSED");
}

static weft_code fail_no_user(weft_call *call, const char *user_id)
{
    weft_code code = weft_fail(call, WEFT_FAILED_PRECONDITION, "user %.64s does not exist", user_id);
    return because(call, code, "USER_NOT_FOUND");
}

weft_code order_fail_users(weft_call *call, const char *user_id, int rc)
{
    Google__Rpc__RetryInfo info = GOOGLE__RPC__RETRY_INFO__INIT;
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    if (rc == -ENOENT)
        return fail_no_user(call, user_id);
    if (rc != -EHOSTUNREACH)
        return weft_fail_errno(call, rc);
    delay.seconds = 1;
    info.retry_delay = &delay;
    weft_code code = weft_fail(call, WEFT_UNAVAILABLE, "the user service cannot be asked; try again");
    (void)weft_fail_detail(call, &info.base);
    return code;
}
