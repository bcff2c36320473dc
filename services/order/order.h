/* order.h: what an order is, whatever the wire and the store look like. */
#ifndef ORDER_ORDER_H
#define ORDER_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/uuid.h>

#define ORDER_MAX_ITEMS                100
#define ORDER_MAX_QUANTITY             1000000
#define ORDER_PRODUCT_MAX_CHARACTERS   64
#define ORDER_KEY_MAX_CHARACTERS       128
#define ORDER_CURRENCY_CODE_CHARACTERS 3

/* As numbers they lie in databases: one is added, none changed. */
enum order_status {
    ORDER_PENDING = 1,  /* placed; nothing has happened to it so far */
    ORDER_CANCELLED = 2 /* for good */
};

struct order_item {
    const char *product_id;
    int32_t quantity;
    int64_t price; /* of one piece, in the smallest unit of the order's currency */
};

/* Who owns the strings and items, says the function that gives one out. */
struct order {
    const char *id;              /* a UUID in lower case */
    const char *user_id;         /* likewise */
    const char *idempotency_key; /* of which no two orders of a user have the same */
    const char *currency_code;   /* of all amounts */
    struct order_item *items;    /* item_count of them, one at least */
    size_t item_count;
    int64_t total; /* order_add_up(items) */
    enum order_status status;
    int64_t created_at_ns; /* since 1970, in UTC */
};

/* Brings the id of an order, or of a user, into the form that ids are stored in. What is no UUID is the id of none. */
bool order_parse_id(const char *text, char id[WEFT_UUID_TEXT_BYTES]);

/* What of a new order is acceptable. @return 0; -EINVAL, and *why says why, in words that follow the field's name. */
int order_check_key(const char *idempotency_key, const char **why);
int order_check_item_count(size_t count, const char **why);
int order_check_product(const char *product_id, const char **why);
int order_check_quantity(int32_t quantity, const char **why);
int order_check_price(int64_t price, const char **why);

/* A currency. @param others that of the items before, which it must be too; NULL for the first. */
int order_check_currency(const char *currency_code, const char *others, const char **why);

/* The sum of quantity times price, of items that are acceptable. @return 0; -EINVAL: no amount is that large. */
int order_add_up(const struct order_item *items, size_t count, int64_t *total, const char **why);

/* Whether two orders ask for the same: user, key, and items in the same sequence. What became of it does not. */
bool order_asks_the_same(const struct order *a, const struct order *b);

/* Whether an order can still change. */
static inline bool order_is_final(const struct order *order)
{
    return order->status == ORDER_CANCELLED;
}

#endif
