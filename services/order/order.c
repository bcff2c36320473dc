#include "order.h"

#include <errno.h>
#include <string.h>

static int refuse(const char **why, const char *reason)
{
    *why = reason;
    return -EINVAL;
}

/* Characters of UTF-8. */
static size_t count_characters(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

int order_check_key(const char *idempotency_key, const char **why)
{
    if (idempotency_key[0] == '\0')
        return refuse(why, "must not be empty");
    if (count_characters(idempotency_key) > ORDER_KEY_MAX_CHARACTERS)
        return refuse(why, "must not be longer than 128 characters");
    return 0;
}

int order_check_item_count(size_t count, const char **why)
{
    if (count == 0)
        return refuse(why, "must not be empty");
    if (count > ORDER_MAX_ITEMS)
        return refuse(why, "must not be more than 100");
    return 0;
}

int order_check_product(const char *product_id, const char **why)
{
    if (product_id[0] == '\0')
        return refuse(why, "must not be empty");
    if (count_characters(product_id) > ORDER_PRODUCT_MAX_CHARACTERS)
        return refuse(why, "must not be longer than 64 characters");
    return 0;
}

int order_check_quantity(int32_t quantity, const char **why)
{
    if (quantity < 1 || quantity > ORDER_MAX_QUANTITY)
        return refuse(why, "must lie between 1 and 1000000");
    return 0;
}

int order_check_price(int64_t price, const char **why)
{
    return price < 0 ? refuse(why, "must not be negative") : 0;
}

int order_check_currency(const char *currency_code, const char *others, const char **why)
{
    if (currency_code[0] == '\0')
        return refuse(why, "must not be empty");
    if (strlen(currency_code) != ORDER_CURRENCY_CODE_CHARACTERS)
        return refuse(why, "must be three letters such as EUR");
    for (const char *p = currency_code; *p != '\0'; p++)
        if (*p < 'A' || *p > 'Z')
            return refuse(why, "must be three letters such as EUR");
    if (others != NULL && strcmp(currency_code, others) != 0)
        return refuse(why, "must be the same for all items");
    return 0;
}

int order_add_up(const struct order_item *items, size_t count, int64_t *total, const char **why)
{
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (items[i].price > (INT64_MAX - sum) / items[i].quantity)
            return refuse(why, "add up to more than an amount can hold");
        sum += items[i].price * items[i].quantity;
    }
    *total = sum;
    return 0;
}

bool order_parse_id(const char *text, char id[WEFT_UUID_TEXT_BYTES])
{
    uint8_t bytes[WEFT_UUID_BYTES];
    if (!weft_uuid_parse(text, bytes))
        return false;
    weft_uuid_format(bytes, id);
    return true;
}

static bool is_same_item(const struct order_item *a, const struct order_item *b)
{
    return a->quantity == b->quantity && a->price == b->price && strcmp(a->product_id, b->product_id) == 0;
}

bool order_asks_the_same(const struct order *a, const struct order *b)
{
    if (a->item_count != b->item_count || strcmp(a->currency_code, b->currency_code) != 0 ||
        strcmp(a->user_id, b->user_id) != 0 || strcmp(a->idempotency_key, b->idempotency_key) != 0)
        return false;
    for (size_t i = 0; i < a->item_count; i++)
        if (!is_same_item(&a->items[i], &b->items[i]))
            return false;
    return true;
}
