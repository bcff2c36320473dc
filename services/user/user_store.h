/* user_store.h: where users are kept. One vtable, so that another database, or a test, may stand in for SQLite.
 *
 * Functions return 0 or -errno, from any thread:
 *
 *     -ENOENT    no such user                         -ENOSPC  the disk, or the allowance, is full
 *     -EEXIST    another user has this e-mail address  -EROFS   the database cannot be written
 *     -EBUSY     the database stayed locked for too long; may be tried again
 *     -ENOMEM    out of memory, or the arena is full    -EBADMSG the database is damaged
 *     -EIO       anything else
 *
 * A failed write leaves nothing behind. Strings that come out lie in the caller's arena.
 *
 * Every change of a user gets a position, one more than the change before it, in whatever process; the last
 * USER_STORE_KEPT_CHANGES are kept.
 */
#ifndef USER_USER_STORE_H
#define USER_USER_STORE_H

#include <stddef.h>
#include <stdint.h>

#include <weft/arena.h>

#include "user.h"

#define USER_STORE_KEPT_CHANGES 10000

/* The numbers are those in the database. */
enum user_change_kind {
    USER_CREATED = 1,
    USER_UPDATED = 2,
    USER_DELETED = 3
};

struct user_change {
    int64_t position;
    enum user_change_kind kind;
    struct user user; /* id, name and e-mail address after the change; of a user who was deleted only the id */
};

struct user_store;

struct user_store_vtable {
    const char *name;
    int (*get)(struct user_store *store, const char *id, weft_arena *arena, struct user *out);
    int (*find)(struct user_store *store, const char *email_key, weft_arena *arena, struct user *out);
    int (*create)(struct user_store *store, const struct user *users, size_t count, int *outcomes);
    int (*update)(struct user_store *store, const char *id, const struct user_update *values, weft_arena *arena,
                  struct user *out);
    int (*remove)(struct user_store *store, const char *id);
    int (*list)(struct user_store *store, const char *after_id, size_t limit, weft_arena *arena, struct user **out,
                size_t *count);
    int (*changes)(struct user_store *store, int64_t after, size_t limit, weft_arena *arena, struct user_change **out,
                   size_t *count);
    int (*position)(struct user_store *store, int64_t *out);
    int (*watch)(struct user_store *store, int (*changed)(void *arg), void *arg);
    void (*unwatch)(struct user_store *store);
    void (*destroy)(struct user_store *store);
};

/* A store embeds this first. */
struct user_store {
    const struct user_store_vtable *vtable;
};

/* The user with an id, in lower case. Its password_hash is not read. */
static inline int user_store_get(struct user_store *store, const char *id, weft_arena *arena, struct user *out)
{
    return store->vtable->get(store, id, arena, out);
}

/* The user with an e-mail address, its password_hash included. */
static inline int user_store_find(struct user_store *store, const char *email_key, weft_arena *arena, struct user *out)
{
    return store->vtable->find(store, email_key, arena, out);
}

/* Adds users, all fields of whom are set (password_hash may be NULL), at once. @return 0: outcomes[i] is 0, or -EEXIST
 * for one whose address is taken; else nobody was added. */
static inline int user_store_create_all(struct user_store *store, const struct user *users, size_t count, int *outcomes)
{
    return store->vtable->create(store, users, count, outcomes);
}

/* Adds one user. */
static inline int user_store_create(struct user_store *store, const struct user *user)
{
    int outcome;
    int rc = user_store_create_all(store, user, 1, &outcome);
    return rc < 0 ? rc : outcome;
}

/* Changes a user and gives out the result, without password_hash. */
static inline int user_store_update(struct user_store *store, const char *id, const struct user_update *values,
                                    weft_arena *arena, struct user *out)
{
    return store->vtable->update(store, id, values, arena, out);
}

/* Deletes a user. */
static inline int user_store_remove(struct user_store *store, const char *id)
{
    return store->vtable->remove(store, id);
}

/* Up to `limit` users in the order of their ids, those after `after_id` ("" for the first); without password_hash. */
static inline int user_store_list(struct user_store *store, const char *after_id, size_t limit, weft_arena *arena,
                                  struct user **out, size_t *count)
{
    return store->vtable->list(store, after_id, limit, arena, out, count);
}

/* Up to `limit` changes that are kept, those after a position, the oldest first. */
static inline int user_store_changes(struct user_store *store, int64_t after, size_t limit, weft_arena *arena,
                                     struct user_change **out, size_t *count)
{
    return store->vtable->changes(store, after, limit, arena, out, count);
}

/* The position of the last change; 0 before the first. */
static inline int user_store_position(struct user_store *store, int64_t *out)
{
    return store->vtable->position(store, out);
}

/* Has `changed` called, on a thread of the store's, at the beginning and after changes, also those by other processes;
 * again at once while it returns more than 0, and after a pause when it returns -errno. One watch at a time, which ends
 * with user_store_unwatch: when that returns, `changed` is not called any more. */
static inline int user_store_watch(struct user_store *store, int (*changed)(void *arg), void *arg)
{
    return store->vtable->watch(store, changed, arg);
}

/* Also without a watch. */
static inline void user_store_unwatch(struct user_store *store)
{
    store->vtable->unwatch(store);
}

/* Closes a store that no thread uses, and nothing watches, any more. NULL is fine. */
static inline void user_store_destroy(struct user_store *store)
{
    if (store != NULL)
        store->vtable->destroy(store);
}

#endif
