/* users_grpc.h: the users of the user service. */
#ifndef ORDER_USERS_GRPC_H
#define ORDER_USERS_GRPC_H

#include <weft/channel.h>
#include <weft/log.h>

#include "users.h"

/* For the channel: GetUser, which changes nothing, is asked of another instance when one cannot answer. */
extern const char users_grpc_service_config[];

/**
 * Asks the user service.
 *
 * @param channel    to user.UserService; outlives the directory.
 * @param timeout_ms of one question, with all its attempts.
 * @param log        gets the failures that are not the caller's doing; outlives the directory.
 * @return 0; -ENOMEM. Free it with user_directory_destroy.
 */
int users_grpc_new(struct user_directory **out, weft_channel *channel, int64_t timeout_ms, weft_log *log);

#endif
