/* users.h: whether somebody is a user. One vtable, so that a test may stand in for the user service. */
#ifndef ORDER_USERS_H
#define ORDER_USERS_H

#include <weft/call.h>

struct user_directory;

struct user_directory_vtable {
    const char *name;
    int (*find)(struct user_directory *users, weft_call *parent, const char *id);
    void (*destroy)(struct user_directory *users);
};

/* A directory embeds this first. */
struct user_directory {
    const struct user_directory_vtable *vtable;
};

/**
 * Looks a user up, on behalf of a call, whose deadline and cancellation it passes on.
 *
 * @return 0 there is one; -ENOENT there is none; -EHOSTUNREACH nobody could be asked just now; -ETIMEDOUT, -ECANCELED
 *         nobody waits for the call any more; -EPROTO an answer that another attempt would not better. Thread:
 *         any that may block.
 */
static inline int user_directory_find(struct user_directory *users, weft_call *parent, const char *id)
{
    return users->vtable->find(users, parent, id);
}

/* Nobody uses it any more. NULL is fine. */
static inline void user_directory_destroy(struct user_directory *users)
{
    if (users != NULL)
        users->vtable->destroy(users);
}

#endif
