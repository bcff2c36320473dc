/* users_grpc.h: the users of the user service. */
#ifndef ORDER_USERS_GRPC_H
#define ORDER_USERS_GRPC_H

#include <weft/channel.h>
#include <weft/log.h>
#include <weft/program.h>

#include "users.h"

/* The keys that users_grpc_open reads. */
#define USERS_GRPC_KEYS                                                                                                \
    {.name = "users.target",                                                                                           \
     .type = WEFT_CONFIG_STRING,                                                                                       \
     .fallback = "consul:///user-service",                                                                             \
     .doc = "Where the user service is"},                                                                              \
    {                                                                                                                  \
        .name = "users.timeout", .type = WEFT_CONFIG_DURATION, .fallback = "1s", .min = 1, .max = 3600000,             \
        .doc = "How long the user service may take to answer, with all attempts"                                       \
    }

/* Asks the service that the configuration names. @return 0; -ENOMEM; as weft_process_channel. Free it with
 * user_directory_destroy. */
int users_grpc_open(struct user_directory **out, weft_process *process);

/* Sets what a channel to the user service wants: GetUser, which changes nothing, is asked of another instance when one
 * cannot answer, and waits for one that is being restarted. */
void users_grpc_options(weft_channel_options *options);

/**
 * Asks the user service by a channel.
 *
 * @param channel    to user.UserService; the directory's from now on, also when this fails.
 * @param timeout_ms of one question, with all its attempts.
 * @param log        gets the failures that are not the caller's doing; outlives the directory.
 * @return 0; -ENOMEM.
 */
int users_grpc_new(struct user_directory **out, weft_channel *channel, int64_t timeout_ms, weft_log *log);

#endif
