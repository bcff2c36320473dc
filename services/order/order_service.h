/* order_service.h: order.OrderService on a store. */
#ifndef ORDER_ORDER_SERVICE_H
#define ORDER_ORDER_SERVICE_H

#include <weft/server.h>

#include "order_changes.h"
#include "order_store.h"
#include "users.h"

/* What the handlers use. */
struct order_service {
    struct order_store *store;
    struct user_directory *users;
    struct order_changes *changes; /* of that store */
};

/* Serves orders. @param service outlives the server, with all that is in it. @return as weft_server_add. */
int order_service_register(weft_server *server, struct order_service *service);

#endif
