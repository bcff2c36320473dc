/* Design notes
 *
 * A function of the store is one transaction of weft/sqlite.h, which commits it or leaves nothing behind. What comes
 * out is copied into the caller's arena before the transaction ends.
 *
 * A change of an order and its row in order_changes are one transaction, and there is one writer at a time: so
 * positions are in the order of commits, without gaps.
 */
#include "order_store_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <weft/sqlite.h>

#include "order_migrations.h"

#define WATCH_POLL_MS 100

enum statement {
    GET,
    FIND,
    ITEMS,
    CREATE,
    CREATE_ITEM,
    CANCEL,
    LIST,
    POSITION,
    CHANGES,
    ADD_CHANGE,
    PRUNE_CHANGES
};

/* What read_order reads. */
#define ORDER_COLUMNS                                                                                                  \
    "o.id, o.user_id, o.idempotency_key, o.currency_code, o.total, o.created_at_ns,"                                   \
    " (SELECT count(*) FROM order_items WHERE order_id = o.id)"

static const char get_sql[] = "SELECT o.status, " ORDER_COLUMNS " FROM orders o WHERE o.id = ?1";

static const char find_sql[] = "SELECT o.status, " ORDER_COLUMNS " FROM orders o"
                               " WHERE o.user_id = ?1 AND o.idempotency_key = ?2";

static const char create_sql[] = "INSERT INTO orders (id, user_id, idempotency_key, currency_code, total, status,"
                                 " created_at_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

static const char create_item_sql[] = "INSERT INTO order_items (order_id, number, product_id, quantity, price)"
                                      " VALUES (?1, ?2, ?3, ?4, ?5)";

static const char list_sql[] = "SELECT o.status, " ORDER_COLUMNS " FROM orders o"
                               " WHERE o.user_id = ?1 AND o.id < ?2 ORDER BY o.id DESC LIMIT ?3";

static const char changes_sql[] = "SELECT c.status, " ORDER_COLUMNS ", c.position"
                                  " FROM order_changes c JOIN orders o ON o.id = c.order_id"
                                  " WHERE c.position > ?1 ORDER BY c.position LIMIT ?2";

static const char *const statements[] = {
    [GET] = get_sql,
    [FIND] = find_sql,
    [ITEMS] = "SELECT product_id, quantity, price FROM order_items WHERE order_id = ?1 ORDER BY number",
    [CREATE] = create_sql,
    [CREATE_ITEM] = create_item_sql,
    [CANCEL] = "UPDATE orders SET status = ?2 WHERE id = ?1 AND status <> ?2",
    [LIST] = list_sql,
    [POSITION] = "SELECT max(position) FROM order_changes",
    [CHANGES] = changes_sql,
    [ADD_CHANGE] = "INSERT INTO order_changes (order_id, status) VALUES (?1, ?2)",
    [PRUNE_CHANGES] = "DELETE FROM order_changes WHERE position <= ?1",
};

struct sqlite_store {
    struct order_store base;
    weft_sqlite *database;
    weft_sqlite_watch *watch;
};

static weft_sqlite *database_of(struct order_store *store)
{
    return ((struct sqlite_store *)store)->database;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* Fills the items that the order has room for. */
static int read_items(weft_sqlite_tx *tx, weft_arena *arena, struct order *order)
{
    sqlite3_stmt *row = weft_sqlite_statement(tx, ITEMS);
    weft_sqlite_bind_text(row, 1, order->id);
    for (size_t i = 0; i < order->item_count; i++) {
        struct order_item *item = &order->items[i];
        int rc = weft_sqlite_step(tx, row);
        if (rc != 1)
            return rc < 0 ? rc : -EIO;
        rc = weft_sqlite_text(row, 0, arena, &item->product_id);
        if (rc < 0)
            return rc;
        item->quantity = sqlite3_column_int(row, 1);
        item->price = sqlite3_column_int64(row, 2);
    }
    return 0;
}

/* Copies the current row, which begins with the status and ORDER_COLUMNS, and the items that belong to it. */
static int read_order(weft_sqlite_tx *tx, sqlite3_stmt *row, weft_arena *arena, struct order *out)
{
    struct order order = {.status = (enum order_status)sqlite3_column_int(row, 0),
                          .total = sqlite3_column_int64(row, 5),
                          .created_at_ns = sqlite3_column_int64(row, 6),
                          .item_count = (size_t)sqlite3_column_int64(row, 7)};
    order.items = weft_arena_calloc(arena, order.item_count, sizeof *order.items);
    int rc = order.items != NULL ? weft_sqlite_text(row, 1, arena, &order.id) : -ENOMEM;
    if (rc == 0)
        rc = weft_sqlite_text(row, 2, arena, &order.user_id);
    if (rc == 0)
        rc = weft_sqlite_text(row, 3, arena, &order.idempotency_key);
    if (rc == 0)
        rc = weft_sqlite_text(row, 4, arena, &order.currency_code);
    if (rc == 0)
        rc = read_items(tx, arena, &order);
    if (rc == 0)
        *out = order;
    return rc;
}

/* The one order that a statement finds. */
static int step_to_order(weft_sqlite_tx *tx, sqlite3_stmt *statement, weft_arena *arena, struct order *out)
{
    int rc = weft_sqlite_step(tx, statement);
    return rc == 1 ? read_order(tx, statement, arena, out) : rc == 0 ? -ENOENT : rc;
}

static int read_position(weft_sqlite_tx *tx, int64_t *out)
{
    sqlite3_stmt *position = weft_sqlite_statement(tx, POSITION);
    int rc = weft_sqlite_step(tx, position);
    if (rc < 0)
        return rc;
    *out = sqlite3_column_int64(position, 0); /* NULL, which is 0, before the first change */
    return 0;
}

static int store_get(struct order_store *base, const char *id, weft_arena *arena, struct order *out, int64_t *position)
{
    weft_sqlite_tx *tx;
    struct order order;
    int64_t last = 0;
    int rc = weft_sqlite_read(database_of(base), &tx);
    if (rc < 0)
        return rc;
    sqlite3_stmt *get = weft_sqlite_statement(tx, GET);
    weft_sqlite_bind_text(get, 1, id);
    rc = step_to_order(tx, get, arena, &order);
    if (rc == 0 && position != NULL)
        rc = read_position(tx, &last);
    rc = weft_sqlite_end(tx, rc);
    if (rc < 0)
        return rc;
    *out = order;
    if (position != NULL)
        *position = last;
    return 0;
}

static int store_find(struct order_store *base, const char *user_id, const char *idempotency_key, weft_arena *arena,
                      struct order *out)
{
    weft_sqlite_tx *tx;
    struct order order;
    int rc = weft_sqlite_read(database_of(base), &tx);
    if (rc < 0)
        return rc;
    sqlite3_stmt *find = weft_sqlite_statement(tx, FIND);
    weft_sqlite_bind_text(find, 1, user_id);
    weft_sqlite_bind_text(find, 2, idempotency_key);
    rc = weft_sqlite_end(tx, step_to_order(tx, find, arena, &order));
    if (rc == 0)
        *out = order;
    return rc;
}

static int store_list(struct order_store *base, const char *user_id, const char *before_id, size_t limit,
                      weft_arena *arena, struct order **out, size_t *count)
{
    weft_sqlite_tx *tx;
    size_t n = 0;
    struct order *orders = weft_arena_calloc(arena, limit, sizeof *orders);
    if (orders == NULL)
        return -ENOMEM;
    int rc = weft_sqlite_read(database_of(base), &tx);
    if (rc < 0)
        return rc;
    sqlite3_stmt *list = weft_sqlite_statement(tx, LIST);
    weft_sqlite_bind_text(list, 1, user_id);
    weft_sqlite_bind_text(list, 2, before_id != NULL ? before_id : "~"); /* which comes after all ids */
    (void)sqlite3_bind_int64(list, 3, (sqlite3_int64)limit);
    while (n < limit && (rc = weft_sqlite_step(tx, list)) == 1) {
        rc = read_order(tx, list, arena, &orders[n]);
        if (rc < 0)
            break;
        n++;
    }
    rc = weft_sqlite_end(tx, rc);
    if (rc < 0)
        return rc;
    *out = orders;
    *count = n;
    return 0;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

/* Notes what has become of an order, and forgets what is too long ago. */
static int add_change(weft_sqlite_tx *tx, const char *id, enum order_status status)
{
    sqlite3_stmt *add = weft_sqlite_statement(tx, ADD_CHANGE);
    weft_sqlite_bind_text(add, 1, id);
    (void)sqlite3_bind_int(add, 2, (int)status);
    int rc = weft_sqlite_step(tx, add);
    if (rc < 0)
        return rc;
    sqlite3_stmt *prune = weft_sqlite_statement(tx, PRUNE_CHANGES);
    (void)sqlite3_bind_int64(prune, 1, sqlite3_last_insert_rowid(weft_sqlite_handle(tx)) - ORDER_STORE_KEPT_CHANGES);
    return weft_sqlite_step(tx, prune);
}

static int create_items(weft_sqlite_tx *tx, const struct order *order)
{
    for (size_t i = 0; i < order->item_count; i++) {
        sqlite3_stmt *create = weft_sqlite_statement(tx, CREATE_ITEM);
        weft_sqlite_bind_text(create, 1, order->id);
        (void)sqlite3_bind_int64(create, 2, (sqlite3_int64)i);
        weft_sqlite_bind_text(create, 3, order->items[i].product_id);
        (void)sqlite3_bind_int(create, 4, order->items[i].quantity);
        (void)sqlite3_bind_int64(create, 5, order->items[i].price);
        int rc = weft_sqlite_step(tx, create);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int store_create(struct order_store *base, const struct order *order)
{
    weft_sqlite_tx *tx;
    int rc = weft_sqlite_write(database_of(base), &tx);
    if (rc < 0)
        return rc;
    sqlite3_stmt *create = weft_sqlite_statement(tx, CREATE);
    weft_sqlite_bind_text(create, 1, order->id);
    weft_sqlite_bind_text(create, 2, order->user_id);
    weft_sqlite_bind_text(create, 3, order->idempotency_key);
    weft_sqlite_bind_text(create, 4, order->currency_code);
    (void)sqlite3_bind_int64(create, 5, order->total);
    (void)sqlite3_bind_int(create, 6, (int)order->status);
    (void)sqlite3_bind_int64(create, 7, order->created_at_ns);
    rc = weft_sqlite_step(tx, create);
    if (rc == 0)
        rc = create_items(tx, order);
    if (rc == 0)
        rc = add_change(tx, order->id, order->status);
    return weft_sqlite_end(tx, rc);
}

static int store_cancel(struct order_store *base, const char *id, weft_arena *arena, struct order *out)
{
    weft_sqlite_tx *tx;
    struct order order;
    int rc = weft_sqlite_write(database_of(base), &tx);
    if (rc < 0)
        return rc;
    sqlite3_stmt *cancel = weft_sqlite_statement(tx, CANCEL);
    weft_sqlite_bind_text(cancel, 1, id);
    (void)sqlite3_bind_int(cancel, 2, ORDER_CANCELLED);
    rc = weft_sqlite_step(tx, cancel);
    if (rc == 0 && sqlite3_changes(weft_sqlite_handle(tx)) == 1)
        rc = add_change(tx, id, ORDER_CANCELLED);
    sqlite3_stmt *get = weft_sqlite_statement(tx, GET);
    weft_sqlite_bind_text(get, 1, id);
    rc = weft_sqlite_end(tx, rc == 0 ? step_to_order(tx, get, arena, &order) : rc);
    if (rc == 0)
        *out = order;
    return rc;
}

/* ---- Changes ----------------------------------------------------------------------------------------------------- */

static int store_position(struct order_store *base, int64_t *out)
{
    weft_sqlite_tx *tx;
    int64_t position = 0;
    int rc = weft_sqlite_read(database_of(base), &tx);
    if (rc < 0)
        return rc;
    rc = weft_sqlite_end(tx, read_position(tx, &position));
    if (rc == 0)
        *out = position;
    return rc;
}

static int store_changes(struct order_store *base, int64_t after, size_t limit, weft_arena *arena,
                         struct order_change **out, size_t *count)
{
    weft_sqlite_tx *tx;
    size_t n = 0;
    struct order_change *changes = weft_arena_calloc(arena, limit, sizeof *changes);
    if (changes == NULL)
        return -ENOMEM;
    int rc = weft_sqlite_read(database_of(base), &tx);
    if (rc < 0)
        return rc;
    sqlite3_stmt *list = weft_sqlite_statement(tx, CHANGES);
    (void)sqlite3_bind_int64(list, 1, after);
    (void)sqlite3_bind_int64(list, 2, (sqlite3_int64)limit);
    while (n < limit && (rc = weft_sqlite_step(tx, list)) == 1) {
        rc = read_order(tx, list, arena, &changes[n].order);
        if (rc < 0)
            break;
        changes[n].position = sqlite3_column_int64(list, 8);
        n++;
    }
    rc = weft_sqlite_end(tx, rc);
    if (rc < 0)
        return rc;
    *out = changes;
    *count = n;
    return 0;
}

static int store_watch(struct order_store *base, int (*changed)(void *arg), void *arg)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    return weft_sqlite_watch_start(&store->watch, store->database, WATCH_POLL_MS, changed, arg);
}

static void store_unwatch(struct order_store *base)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    weft_sqlite_watch_stop(store->watch);
    store->watch = NULL;
}

/* ------------------------------------------------------------------------------------------------------------------ */

static void store_destroy(struct order_store *base)
{
    weft_sqlite_close(database_of(base));
    free(base);
}

static const struct order_store_vtable sqlite_vtable = {
    .name = "sqlite",
    .get = store_get,
    .find = store_find,
    .create = store_create,
    .cancel = store_cancel,
    .list = store_list,
    .position = store_position,
    .changes = store_changes,
    .watch = store_watch,
    .unwatch = store_unwatch,
    .destroy = store_destroy,
};

int order_store_sqlite_open(struct order_store **out, const weft_sqlite_options *options, char *error,
                            size_t error_size)
{
    weft_sqlite_options complete = *options;
    complete.migrations = order_migrations;
    complete.migration_count = order_migration_count;
    complete.statements = statements;
    complete.statement_count = sizeof statements / sizeof statements[0];
    struct sqlite_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        snprintf(error, error_size, "out of memory");
        return -ENOMEM;
    }
    store->base.vtable = &sqlite_vtable;
    int rc = weft_sqlite_open(&store->database, &complete, error, error_size);
    if (rc < 0)
        free(store);
    else
        *out = &store->base;
    return rc;
}
