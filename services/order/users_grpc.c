#include "users_grpc.h"

#include <errno.h>
#include <stdlib.h>

#include "user.weft.h"

const char users_grpc_service_config[] = "{"
                                         "  \"methodConfig\": [{"
                                         "    \"name\": [{\"service\": \"user.UserService\", \"method\": \"GetUser\"}],"
                                         "    \"retryPolicy\": {"
                                         "      \"maxAttempts\": 4,"
                                         "      \"initialBackoff\": \"0.02s\","
                                         "      \"maxBackoff\": \"0.2s\","
                                         "      \"backoffMultiplier\": 2,"
                                         "      \"retryableStatusCodes\": [\"UNAVAILABLE\"]"
                                         "    }"
                                         "  }],"
                                         "  \"retryThrottling\": {\"maxTokens\": 100, \"tokenRatio\": 0.1}"
                                         "}";

struct grpc_users {
    struct user_directory base;
    weft_channel *channel;
    int64_t timeout_ms;
    weft_log *log;
};

/* What an answer says about the user, or about the user service. */
static int to_errno(const weft_status *status)
{
    switch (status->code) {
    case WEFT_OK:
        return 0;
    case WEFT_NOT_FOUND:
        return -ENOENT;
    case WEFT_UNAVAILABLE:
    case WEFT_RESOURCE_EXHAUSTED:
    case WEFT_DEADLINE_EXCEEDED:
    case WEFT_CANCELLED:
    case WEFT_ABORTED:
        return -EHOSTUNREACH;
    default:
        return -EPROTO;
    }
}

static int users_find(struct user_directory *base, weft_call *parent, const char *id)
{
    struct grpc_users *users = (struct grpc_users *)base;
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *response = NULL;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.parent = parent;
    options.timeout_ms = users->timeout_ms;
    request.id = (char *)id;
    weft_status status =
        user_UserService_GetUser(users->channel, weft_call_arena(parent), &options, &request, &response);
    int rc = to_errno(&status);
    if (rc == 0 || rc == -ENOENT)
        return rc;
    if (weft_call_remaining_ns(parent) == 0)
        return -ETIMEDOUT;
    if (weft_call_cancelled(parent))
        return -ECANCELED;
    weft_log_warn(users->log, "cannot ask the user service",
                  WEFT_FIELDS(WEFT_STR("code", weft_code_name(status.code)), WEFT_STR("message", status.message)));
    return rc;
}

static void users_destroy(struct user_directory *base)
{
    free(base);
}

static const struct user_directory_vtable grpc_vtable = {
    .name = "grpc",
    .find = users_find,
    .destroy = users_destroy,
};

int users_grpc_new(struct user_directory **out, weft_channel *channel, int64_t timeout_ms, weft_log *log)
{
    struct grpc_users *users = calloc(1, sizeof *users);
    if (users == NULL)
        return -ENOMEM;
    users->base.vtable = &grpc_vtable;
    users->channel = channel;
    users->timeout_ms = timeout_ms;
    users->log = log;
    *out = &users->base;
    return 0;
}
