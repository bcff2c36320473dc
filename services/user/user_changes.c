/* user_changes.c: from the store to the streams.
 *
 *     user_changes ──changed()──▶ what came after the feed's position ──▶ feed ──▶ callers
 *     (a commit, here or elsewhere)
 *
 * Design notes
 * - Positions are the store's, in the feed and in tokens: one that another instance gave out, or this one before a
 *   restart, is good here, too.
 * - The feed keeps as many changes as the store. It begins empty at the position before the first of them, and then
 *   catches up as it does later.
 * - "From now on" is the position of the store when the call comes, which the feed may still have to reach.
 */
#include "user_changes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/feed.h>
#include <weft/token.h>

#include "user_errors.h"
#include "user_message.h"

#define BATCH 200

struct user_changes {
    struct user_store *store;
    weft_log *log;
    weft_feed *feed;
    weft_arena *arena; /* the publisher's */
    int error;         /* of the last attempt to read changes, which was logged; or 0 */
};

/* ---- positions as tokens ----------------------------------------------------------------------------------------- */

static void format_token(int64_t position, char token[WEFT_TOKEN_BYTES])
{
    char text[WEFT_TOKEN_TEXT_BYTES];
    snprintf(text, sizeof text, "%" PRId64, position);
    weft_token_format(text, USER_CHANGES_SCOPE, token);
}

static bool parse_token(const char *token, int64_t *position)
{
    char text[WEFT_TOKEN_TEXT_BYTES];
    char again[WEFT_TOKEN_BYTES];
    if (!weft_token_parse(token, USER_CHANGES_SCOPE, text))
        return false;
    *position = strtoll(text, NULL, 10);
    format_token(*position, again); /* a token of ours for something else has no number in it */
    return *position >= 0 && strcmp(token, again) == 0;
}

/* ---- publishing -------------------------------------------------------------------------------------------------- */

static User__UserChange kind_of(const struct user_change *change)
{
    switch (change->kind) {
    case USER_CREATED:
        return USER__USER_CHANGE__USER_CHANGE_CREATED;
    case USER_UPDATED:
        return USER__USER_CHANGE__USER_CHANGE_UPDATED;
    case USER_DELETED:
        return USER__USER_CHANGE__USER_CHANGE_DELETED;
    }
    return USER__USER_CHANGE__USER_CHANGE_UNSPECIFIED;
}

/* What does not fit into memory ends those whom it concerns; they watch again. That is the feed's word. */
static void publish(struct user_changes *changes, const struct user_change *change)
{
    User__WatchUsersResponse message = USER__WATCH_USERS_RESPONSE__INIT;
    User__User user;
    char token[WEFT_TOKEN_BYTES];
    user_message_fill(&user, &change->user);
    format_token(change->position, token);
    message.change = kind_of(change);
    message.user = &user;
    message.resume_token = token;
    int rc = weft_feed_publish(changes->feed, "users", change->position, &message.base, false);
    if (rc < 0)
        weft_log_error(changes->log, "a change of a user could not be told",
                       WEFT_FIELDS(WEFT_INT("position", change->position), WEFT_STR("error", strerror(-rc))));
}

/* Publishes what comes after a position, up to BATCH of it. @return how many changes; -errno. */
static int publish_some(struct user_changes *changes)
{
    struct user_change *list;
    size_t count;
    int64_t position = weft_feed_position(changes->feed);
    weft_arena_reset(changes->arena);
    int rc = user_store_changes(changes->store, position, BATCH, changes->arena, &list, &count);
    if (rc < 0)
        return rc;
    if (count > 0 && list[0].position > position + 1) { /* this process was so slow that they are not kept any more */
        weft_feed_skip(changes->feed, list[0].position - 1);
        weft_log_warn(changes->log, "changes of users were missed", WEFT_FIELDS(WEFT_INT("after", position)));
    }
    for (size_t i = 0; i < count; i++)
        publish(changes, &list[i]);
    return (int)count;
}

static int changed(void *arg)
{
    struct user_changes *changes = arg;
    int rc = publish_some(changes);
    if (rc < 0 && rc != changes->error) /* it is tried again ten times a second */
        weft_log_error(changes->log, "cannot read the changes of users", WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
    changes->error = rc < 0 ? rc : 0;
    return rc;
}

/* ---- start and stop ---------------------------------------------------------------------------------------------- */

static int new_feed(struct user_changes *changes, weft_engine *engine)
{
    weft_feed_options options = WEFT_FEED_OPTIONS_INIT;
    int64_t last;
    int rc = user_store_position(changes->store, &last);
    options.engine = engine;
    options.start = last > USER_STORE_KEPT_CHANGES ? last - USER_STORE_KEPT_CHANGES : 0;
    options.keep = USER_STORE_KEPT_CHANGES;
    return rc == 0 ? weft_feed_new(&changes->feed, &options) : rc;
}

int user_changes_start(struct user_changes **out, struct user_store *store, weft_engine *engine, weft_log *log)
{
    struct user_changes *changes = calloc(1, sizeof *changes);
    if (changes == NULL)
        return -ENOMEM;
    changes->store = store;
    changes->log = log;
    int rc = weft_arena_new(&changes->arena, 0);
    if (rc == 0)
        rc = new_feed(changes, engine);
    if (rc == 0)
        rc = user_store_watch(store, changed, changes);
    if (rc < 0)
        user_changes_stop(changes);
    else
        *out = changes;
    return rc;
}

void user_changes_stop(struct user_changes *changes)
{
    if (changes == NULL)
        return;
    user_store_unwatch(changes->store);
    weft_feed_free(changes->feed);
    weft_arena_free(changes->arena);
    free(changes);
}

/* ---- watching ---------------------------------------------------------------------------------------------------- */

weft_code user_changes_follow(struct user_changes *changes, weft_call *call, const User__WatchUsersRequest *request)
{
    User__WatchUsersResponse first = USER__WATCH_USERS_RESPONSE__INIT;
    weft_follow_options options = WEFT_FOLLOW_OPTIONS_INIT;
    char token[WEFT_TOKEN_BYTES];
    int64_t last;
    if (request->resume_token[0] != '\0' && !parse_token(request->resume_token, &options.after))
        return user_fail_token(call, "resume_token");
    int rc = user_store_position(changes->store, &last);
    if (rc < 0)
        return weft_fail_store(call, rc);
    if (request->resume_token[0] == '\0')
        options.after = last;
    if (options.after > last) /* the database is another one, or one of before */
        return weft_fail(
            call, WEFT_OUT_OF_RANGE,
            "the database knows of no change with this resume_token: list the users and watch without one");
    format_token(options.after, token);
    first.resume_token = token;
    options.first = &first.base;
    return weft_feed_follow(changes->feed, call, &options);
}
