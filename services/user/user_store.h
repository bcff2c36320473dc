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
 */
#ifndef USER_USER_STORE_H
#define USER_USER_STORE_H

#include <stddef.h>

#include <weft/arena.h>

#include "user.h"

struct user_store;

struct user_store_vtable {
    const char *name;
    int (*get)(struct user_store *store, const char *id, weft_arena *arena, struct user *out);
    int (*find)(struct user_store *store, const char *email_key, weft_arena *arena, struct user *out);
    int (*create)(struct user_store *store, const struct user *user);
    int (*update)(struct user_store *store, const char *id, const struct user_change *change, weft_arena *arena,
                  struct user *out);
    int (*remove)(struct user_store *store, const char *id);
    int (*list)(struct user_store *store, const char *after_id, size_t limit, weft_arena *arena, struct user **out,
                size_t *count);
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

/* Adds a user, all fields of whom are set (password_hash may be NULL). */
static inline int user_store_create(struct user_store *store, const struct user *user)
{
    return store->vtable->create(store, user);
}

/* Changes a user and gives out the result, without password_hash. */
static inline int user_store_update(struct user_store *store, const char *id, const struct user_change *change,
                                    weft_arena *arena, struct user *out)
{
    return store->vtable->update(store, id, change, arena, out);
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

/* Closes a store that no thread uses any more. NULL is fine. */
static inline void user_store_destroy(struct user_store *store)
{
    if (store != NULL)
        store->vtable->destroy(store);
}

#endif
