#include "users_grpc.h"

#include <errno.h>
#include <stdlib.h>

#include "user.weft.h"

/* A call waits for a connection, as long as it may take in all: instances that were killed are back sooner. */
static const char service_config[] = "{"
                                     "  \"methodConfig\": [{"
                                     "    \"name\": [{\"service\": \"user.UserService\", \"method\": \"GetUser\"}],"
                                     "    \"waitForReady\": true,"
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
    weft_channel_free(((struct grpc_users *)base)->channel);
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
    if (users == NULL) {
        weft_channel_free(channel);
        return -ENOMEM;
    }
    users->base.vtable = &grpc_vtable;
    users->channel = channel;
    users->timeout_ms = timeout_ms;
    users->log = log;
    *out = &users->base;
    return 0;
}

void users_grpc_options(weft_channel_options *options)
{
    options->service_config = service_config;
    options->min_backoff_ms = 100; /* an instance that is restarted is soon back */
    options->max_backoff_ms = 5000;
}

int users_grpc_open(struct user_directory **out, weft_process *process)
{
    weft_channel *channel;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    users_grpc_options(&options);
    int rc = weft_process_channel(process, "users.target", &options, &channel);
    if (rc < 0)
        return rc;
    int64_t timeout_ms = weft_config_duration_ms(weft_process_config(process), "users.timeout");
    return users_grpc_new(out, channel, timeout_ms, weft_process_log(process));
}
