/* user_changes.h: what becomes of users, told to the callers who watch them. */
#ifndef USER_USER_CHANGES_H
#define USER_USER_CHANGES_H

#include <weft/engine.h>
#include <weft/log.h>

#include "user.weft.h"
#include "user_store.h"

/* Of resume tokens: weft/token.h. */
#define USER_CHANGES_SCOPE "user changes"

struct user_changes;

/**
 * Begins to publish the changes of a store, whatever process makes them; first those that it has kept.
 *
 * @param store  outlives the changes.
 * @param engine of the server whose calls follow; outlives the changes.
 * @param log    gets what goes wrong; outlives the changes. May be NULL.
 * @return 0; as user_store_watch and user_store_changes, or weft_feed_new.
 */
int user_changes_start(struct user_changes **out, struct user_store *store, weft_engine *engine, weft_log *log);

/* Ends it, after the server. NULL is fine. */
void user_changes_stop(struct user_changes *changes);

/* WatchUsers: the call follows from now on. @return what the handler returns. */
weft_code user_changes_follow(struct user_changes *changes, weft_call *call, const User__WatchUsersRequest *request);

#endif
