/* Design notes
 *
 * A function of the store is one transaction of weft/sqlite.h, which commits it or leaves nothing behind. What comes
 * out is copied into the caller's arena before the transaction ends. Triggers (migrations/0002) write down the changes.
 */
#include "user_store_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <weft/sqlite.h>

#include "user_migrations.h"

enum statement {
    GET,
    FIND,
    CREATE,
    UPDATE,
    REMOVE,
    LIST,
    CHANGES,
    POSITION
};

/* How often it is looked at what other processes have done. */
#define WATCH_POLL_MS 100

static const char update_sql[] = "UPDATE users SET name = coalesce(?2, name), email = coalesce(?3, email),"
                                 " email_key = coalesce(?4, email_key), password_hash = coalesce(?5, password_hash)"
                                 " WHERE id = ?1 RETURNING id, name, email";

static const char changes_sql[] = "SELECT user_id, name, email, position, change FROM user_changes"
                                  " WHERE position > ?1 ORDER BY position LIMIT ?2";

static const char *const statements[] = {
    [GET] = "SELECT id, name, email FROM users WHERE id = ?1",
    [FIND] = "SELECT id, name, email, password_hash FROM users WHERE email_key = ?1",
    [CREATE] = "INSERT INTO users (id, name, email, email_key, password_hash) VALUES (?1, ?2, ?3, ?4, ?5)",
    [UPDATE] = update_sql,
    [REMOVE] = "DELETE FROM users WHERE id = ?1",
    [LIST] = "SELECT id, name, email FROM users WHERE id > ?1 ORDER BY id LIMIT ?2",
    [CHANGES] = changes_sql,
    [POSITION] = "SELECT coalesce(max(position), 0) FROM user_changes",
};

struct sqlite_store {
    struct user_store base;
    weft_sqlite *database;
    weft_sqlite_watch *watch; /* NULL: nobody watches */
};

static weft_sqlite *database_of(struct user_store *store)
{
    return ((struct sqlite_store *)store)->database;
}

/* Copies the current row, which begins with id, name and email. */
static int read_user(sqlite3_stmt *row, weft_arena *arena, struct user *out)
{
    struct user user = {NULL, NULL, NULL, NULL, NULL};
    int rc = weft_sqlite_text(row, 0, arena, &user.id);
    if (rc == 0)
        rc = weft_sqlite_text(row, 1, arena, &user.name);
    if (rc == 0)
        rc = weft_sqlite_text(row, 2, arena, &user.email);
    if (rc == 0)
        *out = user;
    return rc;
}

/* The one user that a statement finds. */
static int step_to_user(weft_sqlite_tx *tx, sqlite3_stmt *statement, weft_arena *arena, struct user *out)
{
    int rc = weft_sqlite_step(tx, statement);
    return rc == 1 ? read_user(statement, arena, out) : rc == 0 ? -ENOENT : rc;
}

static int store_get(struct user_store *base, const char *id, weft_arena *arena, struct user *out)
{
    weft_sqlite_tx *tx;
    struct user user;
    int rc = weft_sqlite_read(database_of(base), &tx);
    if (rc < 0)
        return rc;
    sqlite3_stmt *get = weft_sqlite_statement(tx, GET);
    weft_sqlite_bind_text(get, 1, id);
    rc = weft_sqlite_end(tx, step_to_user(tx, get, arena, &user));
    if (rc == 0)
        *out = user;
    return rc;
}

static int store_find(struct user_store *base, const char *email_key, weft_arena *arena, struct user *out)
{
    weft_sqlite_tx *tx;
    struct user user;
    int rc = weft_sqlite_read(database_of(base), &tx);
    if (rc < 0)
        return rc;
    sqlite3_stmt *find = weft_sqlite_statement(tx, FIND);
    weft_sqlite_bind_text(find, 1, email_key);
    rc = step_to_user(tx, find, arena, &user);
    if (rc == 0)
        rc = weft_sqlite_text(find, 3, arena, &user.password_hash);
    rc = weft_sqlite_end(tx, rc);
    if (rc == 0)
        *out = user;
    return rc;
}

static int insert(weft_sqlite_tx *tx, const struct user *user)
{
    sqlite3_stmt *create = weft_sqlite_statement(tx, CREATE);
    weft_sqlite_bind_text(create, 1, user->id);
    weft_sqlite_bind_text(create, 2, user->name);
    weft_sqlite_bind_text(create, 3, user->email);
    weft_sqlite_bind_text(create, 4, user->email_key);
    weft_sqlite_bind_text(create, 5, user->password_hash);
    return weft_sqlite_step(tx, create);
}

/* A user whose address is taken undoes the one statement and leaves the transaction as it was. */
static int store_create(struct user_store *base, const struct user *users, size_t count, int *outcomes)
{
    weft_sqlite_tx *tx;
    int rc = weft_sqlite_write(database_of(base), &tx);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count && rc == 0; i++) {
        outcomes[i] = insert(tx, &users[i]);
        rc = outcomes[i] == -EEXIST ? 0 : outcomes[i];
    }
    return weft_sqlite_end(tx, rc);
}

static int store_update(struct user_store *base, const char *id, const struct user_update *values, weft_arena *arena,
                        struct user *out)
{
    weft_sqlite_tx *tx;
    struct user user;
    int rc = weft_sqlite_write(database_of(base), &tx);
    if (rc < 0)
        return rc;
    sqlite3_stmt *update = weft_sqlite_statement(tx, UPDATE);
    weft_sqlite_bind_text(update, 1, id);
    weft_sqlite_bind_text(update, 2, values->name);
    weft_sqlite_bind_text(update, 3, values->email);
    weft_sqlite_bind_text(update, 4, values->email_key);
    weft_sqlite_bind_text(update, 5, values->password_hash);
    rc = weft_sqlite_end(tx, step_to_user(tx, update, arena, &user));
    if (rc == 0)
        *out = user;
    return rc;
}

static int store_remove(struct user_store *base, const char *id)
{
    weft_sqlite_tx *tx;
    int rc = weft_sqlite_write(database_of(base), &tx);
    if (rc < 0)
        return rc;
    sqlite3_stmt *remove = weft_sqlite_statement(tx, REMOVE);
    weft_sqlite_bind_text(remove, 1, id);
    rc = weft_sqlite_step(tx, remove);
    if (rc == 0 && sqlite3_changes(weft_sqlite_handle(tx)) == 0)
        rc = -ENOENT;
    return weft_sqlite_end(tx, rc);
}

static int store_list(struct user_store *base, const char *after_id, size_t limit, weft_arena *arena, struct user **out,
                      size_t *count)
{
    weft_sqlite_tx *tx;
    size_t n = 0;
    struct user *users = weft_arena_calloc(arena, limit, sizeof *users);
    if (users == NULL)
        return -ENOMEM;
    int rc = weft_sqlite_read(database_of(base), &tx);
    if (rc < 0)
        return rc;
    sqlite3_stmt *list = weft_sqlite_statement(tx, LIST);
    weft_sqlite_bind_text(list, 1, after_id);
    (void)sqlite3_bind_int64(list, 2, (sqlite3_int64)limit);
    while (n < limit && (rc = weft_sqlite_step(tx, list)) == 1) {
        rc = read_user(list, arena, &users[n]);
        if (rc < 0)
            break;
        n++;
    }
    rc = weft_sqlite_end(tx, rc);
    if (rc < 0)
        return rc;
    *out = users;
    *count = n;
    return 0;
}

/* The current row of CHANGES. */
static int read_change(sqlite3_stmt *row, weft_arena *arena, struct user_change *out)
{
    int rc = read_user(row, arena, &out->user);
    out->position = sqlite3_column_int64(row, 3);
    out->kind = (enum user_change_kind)sqlite3_column_int(row, 4);
    return rc;
}

static int store_changes(struct user_store *base, int64_t after, size_t limit, weft_arena *arena,
                         struct user_change **out, size_t *count)
{
    weft_sqlite_tx *tx;
    size_t n = 0;
    struct user_change *changes = weft_arena_calloc(arena, limit, sizeof *changes);
    if (changes == NULL)
        return -ENOMEM;
    int rc = weft_sqlite_read(database_of(base), &tx);
    if (rc < 0)
        return rc;
    sqlite3_stmt *list = weft_sqlite_statement(tx, CHANGES);
    (void)sqlite3_bind_int64(list, 1, after);
    (void)sqlite3_bind_int64(list, 2, (sqlite3_int64)limit);
    while (n < limit && (rc = weft_sqlite_step(tx, list)) == 1) {
        rc = read_change(list, arena, &changes[n]);
        if (rc < 0)
            break;
        n++;
    }
    rc = weft_sqlite_end(tx, rc);
    if (rc < 0)
        return rc;
    *out = changes;
    *count = n;
    return 0;
}

static int store_position(struct user_store *base, int64_t *out)
{
    weft_sqlite_tx *tx;
    int64_t last = 0;
    int rc = weft_sqlite_read(database_of(base), &tx);
    if (rc < 0)
        return rc;
    sqlite3_stmt *ask = weft_sqlite_statement(tx, POSITION);
    rc = weft_sqlite_step(tx, ask);
    if (rc == 1)
        last = sqlite3_column_int64(ask, 0);
    rc = weft_sqlite_end(tx, rc);
    if (rc < 0)
        return rc;
    *out = last;
    return 0;
}

static int store_watch(struct user_store *base, int (*changed)(void *arg), void *arg)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    return weft_sqlite_watch_start(&store->watch, store->database, WATCH_POLL_MS, changed, arg);
}

static void store_unwatch(struct user_store *base)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    weft_sqlite_watch_stop(store->watch);
    store->watch = NULL;
}

static void store_destroy(struct user_store *base)
{
    weft_sqlite_close(database_of(base));
    free(base);
}

static const struct user_store_vtable sqlite_vtable = {
    .name = "sqlite",
    .get = store_get,
    .find = store_find,
    .create = store_create,
    .update = store_update,
    .remove = store_remove,
    .list = store_list,
    .changes = store_changes,
    .position = store_position,
    .watch = store_watch,
    .unwatch = store_unwatch,
    .destroy = store_destroy,
};

int user_store_sqlite_open(struct user_store **out, const weft_sqlite_options *options, char *error, size_t error_size)
{
    weft_sqlite_options complete = *options;
    complete.migrations = user_migrations;
    complete.migration_count = user_migration_count;
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
