/* order_errors.h: what goes wrong as the status of a call. */
#ifndef ORDER_ORDER_ERRORS_H
#define ORDER_ORDER_ERRORS_H

#include <weft/call.h>

/* No order has this id. */
weft_code order_fail_missing(weft_call *call, const char *id);

/* The idempotency key was used for another order. */
weft_code order_fail_reused(weft_call *call);

/* What user_directory_find returned. */
weft_code order_fail_users(weft_call *call, const char *user_id, int rc);

#endif
