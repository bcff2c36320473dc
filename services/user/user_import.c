/* user_import.c: a stream of users into the store.
 *
 *     receive ──▶ check, hash ──▶ group ── is full, or nothing comes for LINGER_MS, or the end ──▶ one transaction
 *
 * Design notes
 * - Users who come fast are written many at a time, which takes a quarter of the time and of the processor; those who
 *   come slowly are written when they come.
 * - Who is refused is noted when all before are written, so that failures are in the order of the stream.
 * - The stream calls back once for each time that it was asked, maybe after the handler has returned. So what it calls
 *   back is on the heap, and whoever is last frees it.
 */
#include "user_import.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include <weft/stream.h>

#include "user_errors.h"

#define GROUP     100
#define LINGER_MS 5

/* ---- whether a message comes soon -------------------------------------------------------------------------------- */

struct arrival {
    pthread_mutex_t lock;
    pthread_cond_t told;
    int64_t waiting; /* callbacks that are to come */
    bool left;       /* by the handler */
};

static struct arrival *new_arrival(void)
{
    pthread_condattr_t monotonic;
    struct arrival *arrival = calloc(1, sizeof *arrival);
    if (arrival == NULL)
        return NULL;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&arrival->told, &monotonic);
    (void)pthread_mutex_init(&arrival->lock, NULL);
    (void)pthread_condattr_destroy(&monotonic);
    return arrival;
}

static void unlock_or_free(struct arrival *arrival)
{
    bool last = arrival->left && arrival->waiting == 0;
    pthread_mutex_unlock(&arrival->lock);
    if (!last)
        return;
    pthread_cond_destroy(&arrival->told);
    pthread_mutex_destroy(&arrival->lock);
    free(arrival);
}

static void on_readable(void *arg)
{
    struct arrival *arrival = arg;
    pthread_mutex_lock(&arrival->lock);
    arrival->waiting--;
    pthread_cond_signal(&arrival->told);
    unlock_or_free(arrival);
}

static void leave(struct arrival *arrival)
{
    pthread_mutex_lock(&arrival->lock);
    arrival->left = true;
    unlock_or_free(arrival);
}

static struct timespec after_ms(int64_t ms)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += (long)(ms * 1000000);
    time.tv_sec += time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return time;
}

/* Whether the next message, or the end, is there within LINGER_MS. */
static bool comes_soon(struct arrival *arrival, weft_stream *stream)
{
    struct timespec deadline = after_ms(LINGER_MS);
    pthread_mutex_lock(&arrival->lock);
    arrival->waiting++;
    pthread_mutex_unlock(&arrival->lock);
    int asked = weft_stream_when_readable(stream, on_readable, arrival);
    int rc = 0;
    pthread_mutex_lock(&arrival->lock);
    if (asked != 0)
        arrival->waiting--; /* it is there already */
    while (asked == 0 && arrival->waiting > 0 && rc == 0)
        rc = pthread_cond_timedwait(&arrival->told, &arrival->lock, &deadline);
    bool soon = asked != 0 || arrival->waiting == 0;
    pthread_mutex_unlock(&arrival->lock);
    return soon;
}

/* ---- the import -------------------------------------------------------------------------------------------------- */

struct import {
    struct user_store *store;
    weft_call *call;
    User__ImportUsersResponse *response;
    weft_arena *arena; /* of the group */
    struct user users[GROUP];
    int32_t numbers[GROUP]; /* in the stream */
    size_t count;
};

/* Notes a user who was not created. 0; -ENOMEM. */
static int note(struct import *import, int32_t number, weft_code code, const char *field, const char *why)
{
    User__ImportUsersResponse *response = import->response;
    weft_arena *arena = weft_call_arena(import->call);
    response->failed++;
    if (response->n_failures == USER_IMPORT_MAX_FAILURES)
        return 0;
    if (response->failures == NULL)
        response->failures = weft_arena_calloc(arena, USER_IMPORT_MAX_FAILURES, sizeof response->failures[0]);
    User__ImportFailure *failure = weft_arena_alloc(arena, sizeof *failure);
    char *message = weft_arena_printf(arena, "%s%s%s", field, field[0] != '\0' ? " " : "", why);
    if (weft_arena_failed(arena))
        return -ENOMEM;
    user__import_failure__init(failure);
    failure->index = number;
    failure->code = (char *)weft_code_name(code);
    failure->message = message;
    response->failures[response->n_failures++] = failure;
    return 0;
}

/* Writes the group, and begins another. 0; -errno: nobody of it is created. */
static int write_group(struct import *import)
{
    int outcomes[GROUP];
    int rc = 0;
    if (import->count > 0)
        rc = user_store_create_all(import->store, import->users, import->count, outcomes);
    for (size_t i = 0; i < import->count && rc == 0; i++) {
        if (outcomes[i] == 0)
            import->response->created++;
        else
            rc = note(import, import->numbers[i], WEFT_ALREADY_EXISTS, "", USER_EMAIL_TAKEN);
    }
    import->count = 0;
    weft_arena_reset(import->arena);
    return rc;
}

/* Takes one user. 0, also for one who is refused; -errno. */
static int take(struct import *import, const User__ImportUsersRequest *request, int32_t number)
{
    const struct user_input input = {request->name, request->email, request->password};
    struct user_refusal refusal;
    int rc = user_read_new(&input, import->arena, &import->users[import->count], &refusal);
    if (rc == -EINVAL) {
        rc = write_group(import);
        return rc < 0 ? rc : note(import, number, WEFT_INVALID_ARGUMENT, refusal.field, refusal.why);
    }
    if (rc < 0)
        return rc;
    bool hashed = import->users[import->count].password_hash != NULL;
    import->numbers[import->count++] = number;
    return hashed || import->count == GROUP ? write_group(import) : 0; /* hashing takes longer than writing */
}

/* Takes all users of a stream, but does not write the last group. 0; -E2BIG too many; -errno. */
static int take_all(struct import *import, struct arrival *arrival, user_UserService_ImportUsers_server *stream)
{
    User__ImportUsersRequest *request;
    for (int32_t number = 0;; number++) {
        int rc = 0;
        if (import->count > 0 && !comes_soon(arrival, WEFT_STREAM(stream)))
            rc = write_group(import);
        if (rc < 0)
            return rc;
        rc = user_UserService_ImportUsers_server_recv(stream, &request);
        if (rc <= 0)
            return rc;
        if (number == USER_IMPORT_MAX_USERS)
            return -E2BIG;
        rc = take(import, request, number);
        if (rc < 0)
            return rc;
    }
}

static int run(struct import *import, user_UserService_ImportUsers_server *stream)
{
    int rc = weft_arena_new(&import->arena, 0);
    if (rc < 0)
        return rc;
    struct arrival *arrival = new_arrival();
    rc = arrival != NULL ? take_all(import, arrival, stream) : -ENOMEM;
    if (rc == 0 || rc == -E2BIG) {
        int written = write_group(import);
        rc = written < 0 ? written : rc;
    }
    if (arrival != NULL)
        leave(arrival);
    weft_arena_free(import->arena);
    return rc;
}

weft_code user_import(struct user_store *store, weft_call *call, user_UserService_ImportUsers_server *stream,
                      User__ImportUsersResponse *response)
{
    struct import import = {.store = store, .call = call, .response = response};
    int rc = run(&import, stream);
    if (rc == -E2BIG)
        return weft_fail(call, WEFT_RESOURCE_EXHAUSTED, "more than %d users in one call: import the others in another",
                         USER_IMPORT_MAX_USERS);
    return rc < 0 ? weft_fail_store(call, rc) : WEFT_OK;
}
