#include "user_errors.h"

#include <errno.h>
#include <string.h>

#include <weft/details.h>
#include <weft/uuid.h>

weft_code user_fail_missing(weft_call *call, const char *id)
{
    Google__Rpc__ResourceInfo info = GOOGLE__RPC__RESOURCE_INFO__INIT;
    info.resource_type = (char *)"user";
    info.resource_name = (char *)id;
    weft_code code = weft_fail(call, WEFT_NOT_FOUND, "user %.64s does not exist", id);
    if (strlen(id) < WEFT_UUID_TEXT_BYTES) /* what is longer is no id, and might not fit into what the peer takes */
        (void)weft_fail_detail(call, &info.base);
    return code;
}

static weft_code fail_taken(weft_call *call)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    info.reason = (char *)"EMAIL_TAKEN";
    info.domain = (char *)"user.UserService";
    weft_code code = weft_fail(call, WEFT_ALREADY_EXISTS, USER_EMAIL_TAKEN);
    (void)weft_fail_detail(call, &info.base);
    return code;
}

weft_code user_fail_change(weft_call *call, const char *id, int rc)
{
    if (rc == -ENOENT)
        return user_fail_missing(call, id);
    if (rc == -EEXIST)
        return fail_taken(call);
    return weft_fail_store(call, rc);
}

weft_code user_fail_input(weft_call *call, int rc, const struct user_refusal *refusal)
{
    if (rc == -EINVAL)
        return weft_fail_field(call, refusal->field, "%s", refusal->why);
    return weft_fail_store(call, rc);
}

weft_code user_fail_token(weft_call *call, const char *field)
{
    return weft_fail_field(call, field, "does not come from an earlier answer");
}
