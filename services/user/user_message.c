#include "user_message.h"

static char *text_of(const char *text)
{
    return text != NULL ? (char *)text : (char *)protobuf_c_empty_string;
}

void user_message_fill(User__User *message, const struct user *user)
{
    user__user__init(message);
    message->id = text_of(user->id);
    message->name = text_of(user->name);
    message->email = text_of(user->email);
}

User__User *user_message_new(const struct user *user, weft_arena *arena)
{
    User__User *message = weft_arena_alloc(arena, sizeof *message);
    if (message != NULL)
        user_message_fill(message, user);
    return message;
}
