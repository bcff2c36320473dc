/* user_message.h: a user as a message. */
#ifndef USER_USER_MESSAGE_H
#define USER_USER_MESSAGE_H

#include <weft/arena.h>

#include "user.h"
#include "user.weft.h"

/* Fills a message, which refers to the strings of `user`; NULL is "". */
void user_message_fill(User__User *message, const struct user *user);

/* The same in an arena; NULL when that is full. */
User__User *user_message_new(const struct user *user, weft_arena *arena);

#endif
