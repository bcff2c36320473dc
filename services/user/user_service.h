/* user_service.h: user.UserService on a store. */
#ifndef USER_USER_SERVICE_H
#define USER_USER_SERVICE_H

#include <weft/server.h>

#include "user_store.h"

/* Serves users from a store, which outlives the server. @return as weft_server_add. */
int user_service_register(weft_server *server, struct user_store *store);

#endif
