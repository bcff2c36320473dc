/* weft/async.h: unary calls without waiting. The …_async stubs of generated code call back when the call has ended:
 *
 *     static void on_user(const weft_status *status, User__GetUserResponse *response, weft_result *result, void *arg);
 *     …
 *     rc = user_UserService_GetUser_async(users, &options, &request, on_user, self);
 *
 * The callback comes exactly once for every call that began (0), never from inside the function that began it: on the
 * engine's thread, or by the channel's loop. It must not block. Without a loop it has returned when weft_channel_free
 * does. What it is given lives until it returns, unless it takes the result over.
 */
#ifndef WEFT_ASYNC_H
#define WEFT_ASYNC_H

#include <protobuf-c/protobuf-c.h>

#include <weft/arena.h>
#include <weft/channel.h>
#include <weft/method.h>
#include <weft/status.h>

WEFT_BEGIN_DECLS

/* How an asynchronous call ended, with the arena that status, response and info live in. */
typedef struct weft_result weft_result;

/* Generated code's part of the delivery: calls the user's callback with its own types. */
typedef void (*weft_result_fn)(weft_result *result);

/**
 * Makes a unary call; generated …_async stubs call this. The request is packed, and the metadata copied, before this
 * returns.
 *
 * @param options may be NULL; `info` must be: see weft_result_info. A `parent` that is answered first cancels the call.
 * @param deliver called once with the result; it finds `done` and `arg` there.
 * @return 0; -EINVAL illegal options, metadata or request; -EPERM a reserved metadata key; -E2BIG an option that this
 *         library does not know; -EMSGSIZE; -ENOMEM; -ESHUTDOWN the channel is being freed; -ECHILD after fork. Then
 *         nothing is called. Thread: any; does not block.
 */
WEFT_API int weft_channel_unary_async(weft_channel *channel, const weft_call_options *options,
                                      const weft_method *method, const ProtobufCMessage *request,
                                      weft_result_fn deliver, void (*done)(void), void *arg);

/* For generated code: what weft_channel_unary_async was given. */
WEFT_API void (*weft_result_done(const weft_result *result))(void);
WEFT_API void *weft_result_arg(const weft_result *result);

/* The status; the response, NULL unless the status is OK; headers, trailers and peer. They live as long as the
 * result. */
WEFT_API const weft_status *weft_result_status(const weft_result *result);
WEFT_API ProtobufCMessage *weft_result_response(const weft_result *result);
WEFT_API const weft_call_info *weft_result_info(const weft_result *result);

/* The result's arena, for what is to live as long. Thread: one at a time. */
WEFT_API weft_arena *weft_result_arena(const weft_result *result);

/* In the callback: the result is the caller's, who frees it. @return it. */
WEFT_API weft_result *weft_result_take(weft_result *result);

/* Frees a result that was taken over, with all that lives in it. NULL is fine. */
WEFT_API void weft_result_free(weft_result *result);

WEFT_END_DECLS
#endif
