/* user_service.h: user.UserService on a store. */
#ifndef USER_USER_SERVICE_H
#define USER_USER_SERVICE_H

#include <weft/server.h>

#include "user_changes.h"
#include "user_store.h"

/* What the handlers use. */
struct user_service {
    struct user_store *store;
    struct user_changes *changes; /* of the store */
};

/* Serves users. @param service outlives the server, with all that it holds. @return as weft_server_add. */
int user_service_register(weft_server *server, struct user_service *service);

#endif
