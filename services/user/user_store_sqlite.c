/* Design notes
 *
 * SQLite in WAL mode lets one connection write while others read. There are two pools: one with the single connection
 * that writes, one with those that only read. A call takes a connection, runs one cached statement and gives it back,
 * so a connection belongs to one thread at a time and needs no mutex of SQLite's (SQLITE_OPEN_NOMUTEX). Waiting for the
 * connection and waiting for another process's lock share one deadline, so that a locked database does not hold up the
 * second caller in the queue for twice as long.
 *
 * Every write lies between BEGIN IMMEDIATE and COMMIT, and is rolled back when anything fails, also what comes after
 * the statement itself, such as copying its answer. (Without them a statement that is reset early commits all the
 * same.) synchronous=NORMAL syncs at checkpoints: a power cut may cost the last commits and never the consistency; a
 * killed process costs nothing.
 */
#include "user_store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "migrations.h"

enum statement {
    GET,
    FIND,
    CREATE,
    UPDATE,
    REMOVE,
    LIST,
    BEGIN,
    COMMIT,
    ROLLBACK,
    STATEMENT_COUNT
};

static const char update_sql[] = "UPDATE users SET name = coalesce(?2, name), email = coalesce(?3, email),"
                                 " email_key = coalesce(?4, email_key), password_hash = coalesce(?5, password_hash)"
                                 " WHERE id = ?1 RETURNING id, name, email";

static const char *const statement_sql[STATEMENT_COUNT] = {
    [GET] = "SELECT id, name, email FROM users WHERE id = ?1",
    [FIND] = "SELECT id, name, email, password_hash FROM users WHERE email_key = ?1",
    [CREATE] = "INSERT INTO users (id, name, email, email_key, password_hash) VALUES (?1, ?2, ?3, ?4, ?5)",
    [UPDATE] = update_sql,
    [REMOVE] = "DELETE FROM users WHERE id = ?1",
    [LIST] = "SELECT id, name, email FROM users WHERE id > ?1 ORDER BY id LIMIT ?2",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
};

struct connection {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT]; /* prepared on first use */
    struct connection *next;                   /* in its pool, while nobody uses it */
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t returned;
    struct connection *idle;
};

struct sqlite_store {
    struct user_store base;
    int64_t busy_timeout_ms;
    struct pool writer;
    struct pool readers;
};

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

/* An error of SQLite, with its extended code and the error of the system behind it, if any. */
static int translate(int code, int os)
{
    switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
        return code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ? -EEXIST : -EIO;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return os == EACCES || os == ENOENT || os == EISDIR || os == EROFS || os == ENOSPC ? -os : -EIO;
    default: /* most of all SQLITE_IOERR; a full disk shows here too, where SQLite extends its shared memory */
        return os == ENOSPC || os == EDQUOT || os == EFBIG ? -ENOSPC : -EIO;
    }
}

/* Why the last operation on a connection failed; always negative. */
static int errno_of(sqlite3 *db)
{
    int rc = translate(sqlite3_extended_errcode(db), sqlite3_system_errno(db));
    return rc < 0 ? rc : -EIO;
}

/* The same, and says what failed. */
static int describe(sqlite3 *db, const char *what, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s: %s", what, sqlite3_errmsg(db));
    return errno_of(db);
}

/* ---- Pools ------------------------------------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int pool_init(struct pool *pool)
{
    pthread_condattr_t attributes;
    int rc = pthread_condattr_init(&attributes);
    if (rc != 0)
        return -rc;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    rc = pthread_cond_init(&pool->returned, &attributes);
    pthread_condattr_destroy(&attributes);
    if (rc != 0)
        return -rc;
    rc = pthread_mutex_init(&pool->lock, NULL);
    if (rc != 0)
        pthread_cond_destroy(&pool->returned);
    return -rc;
}

/* Takes a connection. @return NULL when none came back before the deadline. */
static struct connection *pool_take(struct pool *pool, int64_t deadline_ms)
{
    struct timespec deadline = {.tv_sec = (time_t)(deadline_ms / 1000),
                                .tv_nsec = (long)(deadline_ms % 1000) * 1000000};
    int rc = 0;
    pthread_mutex_lock(&pool->lock);
    while (pool->idle == NULL && rc == 0)
        rc = pthread_cond_timedwait(&pool->returned, &pool->lock, &deadline);
    struct connection *connection = pool->idle;
    if (connection != NULL)
        pool->idle = connection->next;
    pthread_mutex_unlock(&pool->lock);
    return connection;
}

static void pool_give(struct pool *pool, struct connection *connection)
{
    pthread_mutex_lock(&pool->lock);
    connection->next = pool->idle;
    pool->idle = connection;
    pthread_cond_signal(&pool->returned);
    pthread_mutex_unlock(&pool->lock);
}

static void connection_close(struct connection *connection)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(connection->statements[i]);
    sqlite3_close(connection->db);
    free(connection);
}

static void pool_fini(struct pool *pool)
{
    while (pool->idle != NULL) {
        struct connection *connection = pool->idle;
        pool->idle = connection->next;
        connection_close(connection);
    }
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->returned);
}

/* ---- Running one statement --------------------------------------------------------------------------------------- */

struct query {
    struct pool *pool;
    struct connection *connection;
    sqlite3_stmt *statement;
};

/* The cached statement, or NULL: errno_of says why. */
static sqlite3_stmt *prepared(struct connection *connection, enum statement which)
{
    sqlite3_stmt **statement = &connection->statements[which];
    if (*statement == NULL)
        sqlite3_prepare_v3(connection->db, statement_sql[which], -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
    return *statement;
}

/* Runs a statement that has no parameters and no rows. */
static int run(struct connection *connection, enum statement which)
{
    sqlite3_stmt *statement = prepared(connection, which);
    if (statement == NULL)
        return errno_of(connection->db);
    int rc = sqlite3_step(statement) == SQLITE_DONE ? 0 : errno_of(connection->db);
    sqlite3_reset(statement);
    return rc;
}

/* Takes a connection and a statement, ready for binding. What begins well ends with query_end. */
static int query_begin(struct query *query, struct sqlite_store *store, struct pool *pool, enum statement which)
{
    int64_t deadline_ms = now_ms() + store->busy_timeout_ms;
    struct connection *connection = pool_take(pool, deadline_ms);
    if (connection == NULL)
        return -EBUSY;
    int64_t left_ms = deadline_ms - now_ms();
    sqlite3_busy_timeout(connection->db, left_ms > 1 ? (int)left_ms : 1);
    sqlite3_stmt *statement = prepared(connection, which);
    int rc = statement != NULL ? 0 : errno_of(connection->db);
    if (rc == 0 && pool == &store->writer)
        rc = run(connection, BEGIN);
    if (rc < 0) {
        pool_give(pool, connection);
        return rc;
    }
    *query = (struct query){pool, connection, statement};
    return 0;
}

/* Binds a text, which must live until query_end; NULL is SQL's NULL. A failure shows again at the next step. */
static void bind(const struct query *query, int index, const char *text)
{
    sqlite3_bind_text(query->statement, index, text, -1, SQLITE_STATIC);
}

/* @return 1 a row; 0 no more; or -errno. */
static int query_step(const struct query *query)
{
    int code = sqlite3_step(query->statement);
    if (code == SQLITE_ROW)
        return 1;
    return code == SQLITE_DONE ? 0 : errno_of(query->connection->db);
}

/* Gives the connection back. A write is committed if all went well, that is if `rc` is 0, and undone if not.
   @return `rc`, or the error of the commit. */
static int query_end(struct query *query, int rc)
{
    struct connection *connection = query->connection;
    sqlite3_reset(query->statement);
    sqlite3_clear_bindings(query->statement);
    bool open = sqlite3_get_autocommit(connection->db) == 0; /* some errors have rolled back already */
    if (open && rc == 0) {
        rc = run(connection, COMMIT);
        open = rc < 0 && sqlite3_get_autocommit(connection->db) == 0;
    }
    if (open)
        run(connection, ROLLBACK);
    pool_give(query->pool, connection);
    return rc;
}

static const char *column(const struct query *query, int index, weft_arena *arena)
{
    const unsigned char *text = sqlite3_column_text(query->statement, index);
    if (text == NULL)
        return NULL;
    return weft_arena_svdup(arena, weft_sv_of(text, (size_t)sqlite3_column_bytes(query->statement, index)));
}

/* Copies the current row, which begins with id, name and email. */
static int read_user(const struct query *query, weft_arena *arena, struct user *out)
{
    *out =
        (struct user){.id = column(query, 0, arena), .name = column(query, 1, arena), .email = column(query, 2, arena)};
    return weft_arena_failed(arena) || out->id == NULL || out->name == NULL || out->email == NULL ? -ENOMEM : 0;
}

/* ---- The store --------------------------------------------------------------------------------------------------- */

static struct sqlite_store *sqlite_of(struct user_store *store)
{
    return (struct sqlite_store *)store;
}

static int store_get(struct user_store *base, const char *id, weft_arena *arena, struct user *out)
{
    struct sqlite_store *store = sqlite_of(base);
    struct query query;
    struct user user;
    int rc = query_begin(&query, store, &store->readers, GET);
    if (rc < 0)
        return rc;
    bind(&query, 1, id);
    rc = query_step(&query);
    rc = rc == 1 ? read_user(&query, arena, &user) : rc == 0 ? -ENOENT : rc;
    rc = query_end(&query, rc);
    if (rc == 0)
        *out = user;
    return rc;
}

static int store_find(struct user_store *base, const char *email_key, weft_arena *arena, struct user *out)
{
    struct sqlite_store *store = sqlite_of(base);
    struct query query;
    struct user user;
    int rc = query_begin(&query, store, &store->readers, FIND);
    if (rc < 0)
        return rc;
    bind(&query, 1, email_key);
    rc = query_step(&query);
    rc = rc == 1 ? read_user(&query, arena, &user) : rc == 0 ? -ENOENT : rc;
    if (rc == 0) {
        user.password_hash = column(&query, 3, arena);
        rc = weft_arena_failed(arena) ? -ENOMEM : 0;
    }
    rc = query_end(&query, rc);
    if (rc == 0)
        *out = user;
    return rc;
}

static int store_create(struct user_store *base, const struct user *user)
{
    struct sqlite_store *store = sqlite_of(base);
    struct query query;
    int rc = query_begin(&query, store, &store->writer, CREATE);
    if (rc < 0)
        return rc;
    bind(&query, 1, user->id);
    bind(&query, 2, user->name);
    bind(&query, 3, user->email);
    bind(&query, 4, user->email_key);
    bind(&query, 5, user->password_hash);
    rc = query_step(&query);
    rc = query_end(&query, rc);
    return rc;
}

static int store_update(struct user_store *base, const char *id, const struct user_change *change, weft_arena *arena,
                        struct user *out)
{
    struct sqlite_store *store = sqlite_of(base);
    struct query query;
    struct user user;
    int rc = query_begin(&query, store, &store->writer, UPDATE);
    if (rc < 0)
        return rc;
    bind(&query, 1, id);
    bind(&query, 2, change->name);
    bind(&query, 3, change->email);
    bind(&query, 4, change->email_key);
    bind(&query, 5, change->password_hash);
    rc = query_step(&query);
    rc = rc == 1 ? read_user(&query, arena, &user) : rc == 0 ? -ENOENT : rc;
    rc = query_end(&query, rc);
    if (rc == 0)
        *out = user;
    return rc;
}

static int store_remove(struct user_store *base, const char *id)
{
    struct sqlite_store *store = sqlite_of(base);
    struct query query;
    int rc = query_begin(&query, store, &store->writer, REMOVE);
    if (rc < 0)
        return rc;
    bind(&query, 1, id);
    rc = query_step(&query);
    if (rc == 0 && sqlite3_changes(query.connection->db) == 0)
        rc = -ENOENT;
    rc = query_end(&query, rc);
    return rc;
}

static int store_list(struct user_store *base, const char *after_id, size_t limit, weft_arena *arena, struct user **out,
                      size_t *count)
{
    struct sqlite_store *store = sqlite_of(base);
    struct query query;
    size_t n = 0;
    struct user *users = weft_arena_calloc(arena, limit, sizeof *users);
    if (users == NULL)
        return -ENOMEM;
    int rc = query_begin(&query, store, &store->readers, LIST);
    if (rc < 0)
        return rc;
    bind(&query, 1, after_id);
    sqlite3_bind_int64(query.statement, 2, (sqlite3_int64)limit);
    while (n < limit && (rc = query_step(&query)) == 1) {
        rc = read_user(&query, arena, &users[n]);
        if (rc < 0)
            break;
        n++;
    }
    rc = query_end(&query, rc);
    if (rc < 0)
        return rc;
    *out = users;
    *count = n;
    return 0;
}

static void store_destroy(struct user_store *base)
{
    struct sqlite_store *store = sqlite_of(base);
    pool_fini(&store->readers); /* the writer closes last, and with it goes the WAL file */
    pool_fini(&store->writer);
    free(store);
}

static const struct user_store_vtable sqlite_vtable = {
    .name = "sqlite",
    .get = store_get,
    .find = store_find,
    .create = store_create,
    .update = store_update,
    .remove = store_remove,
    .list = store_list,
    .destroy = store_destroy,
};

/* ---- Schema ------------------------------------------------------------------------------------------------------ */

/* The number in the first row, or `fallback` when there is no row. */
static int read_number(sqlite3 *db, const char *sql, int64_t fallback, int64_t *out)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return errno_of(db);
    int code = sqlite3_step(statement);
    int64_t number = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : fallback;
    int rc = code == SQLITE_ROW || code == SQLITE_DONE ? 0 : errno_of(db);
    sqlite3_finalize(statement);
    if (rc == 0)
        *out = number;
    return rc;
}

/* 0 for an empty database. */
static int read_schema_version(sqlite3 *db, int64_t *version)
{
    int64_t tables = 0;
    int rc = read_number(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_version'", 0, &tables);
    if (rc < 0)
        return rc;
    if (tables == 0) {
        *version = 0;
        return 0;
    }
    return read_number(db, "SELECT coalesce(max(version), 0) FROM schema_version", 0, version);
}

static bool apply_migration(sqlite3 *db, size_t index)
{
    sqlite3_stmt *statement = NULL;
    bool done = sqlite3_exec(db, user_migrations[index].sql, NULL, NULL, NULL) == SQLITE_OK &&
                sqlite3_prepare_v2(db, "INSERT INTO schema_version (version, name) VALUES (?1, ?2)", -1, &statement,
                                   NULL) == SQLITE_OK &&
                sqlite3_bind_int64(statement, 1, (sqlite3_int64)index + 1) == SQLITE_OK &&
                sqlite3_bind_text(statement, 2, user_migrations[index].name, -1, SQLITE_STATIC) == SQLITE_OK &&
                sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_finalize(statement);
    return done;
}

/* Applies what is missing, all of it or nothing. Holds the write lock, so that of two programs one does it. */
static int migrate_locked(sqlite3 *db, char *error, size_t error_size)
{
    int64_t version = 0;
    int rc = read_schema_version(db, &version);
    if (rc < 0)
        return describe(db, "schema_version", error, error_size);
    if (version > (int64_t)user_migration_count) {
        snprintf(error, error_size,
                 "the database has schema version %" PRId64 "; this program knows %zu: it is too old", version,
                 user_migration_count);
        return -ENOTSUP;
    }
    if (sqlite3_exec(db,
                     "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL PRIMARY KEY,"
                     " name TEXT NOT NULL) STRICT",
                     NULL, NULL, NULL) != SQLITE_OK)
        return describe(db, "schema_version", error, error_size);
    for (size_t i = (size_t)version; i < user_migration_count; i++)
        if (!apply_migration(db, i))
            return describe(db, user_migrations[i].name, error, error_size);
    return 0;
}

static int migrate(sqlite3 *db, char *error, size_t error_size)
{
    int64_t version = 0;
    int rc = read_schema_version(db, &version);
    if (rc == 0 && version == (int64_t)user_migration_count)
        return 0; /* nothing to write, as on a read-only disk */
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return describe(db, "BEGIN", error, error_size);
    rc = migrate_locked(db, error, error_size);
    if (rc == 0 && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        rc = describe(db, "COMMIT", error, error_size);
    if (rc < 0)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

/* Runs statements without rows. Going over to WAL, and an attempt to do so while another program closes the database,
   is BUSY at once and not after the time of sqlite3_busy_timeout: so it is tried again for as long. */
static int exec_patiently(sqlite3 *db, const char *sql, int64_t busy_timeout_ms)
{
    int64_t deadline_ms = now_ms() + busy_timeout_ms;
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    while ((code & 0xff) == SQLITE_BUSY && now_ms() < deadline_ms) {
        sqlite3_sleep(5);
        code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    }
    return code;
}

/* Opens a connection and puts it into the pool. */
static int add_connection(struct pool *pool, const struct user_store_sqlite_options *options, const char *pragmas,
                          char *error, size_t error_size)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return -ENOMEM;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int code = sqlite3_open_v2(options->path, &connection->db, flags, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_busy_timeout(connection->db, (int)options->busy_timeout_ms);
    if (code == SQLITE_OK)
        code = exec_patiently(connection->db, pragmas, options->busy_timeout_ms);
    if (code != SQLITE_OK) {
        int rc = connection->db != NULL ? describe(connection->db, options->path, error, error_size) : -ENOMEM;
        connection_close(connection);
        return rc;
    }
    pool_give(pool, connection);
    return 0;
}

static int limit_size(sqlite3 *db, int64_t max_bytes)
{
    char sql[64];
    int64_t page_bytes;
    int rc = read_number(db, "PRAGMA page_size", 4096, &page_bytes);
    if (rc < 0 || max_bytes == 0)
        return rc;
    int64_t pages = max_bytes / page_bytes + 1;
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %" PRId64, pages);
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : errno_of(db);
}

/* Makes a missing file, since SQLite would let everybody read it. SQLite's own files beside it take its mode. */
static void make_private_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}

static int open_connections(struct sqlite_store *store, const struct user_store_sqlite_options *options, char *error,
                            size_t error_size)
{
    static const char writer_pragmas[] = "PRAGMA journal_mode = WAL;"
                                         "PRAGMA synchronous = NORMAL;"
                                         "PRAGMA foreign_keys = ON;";
    static const char reader_pragmas[] = "PRAGMA query_only = ON;";
    make_private_file(options->path);
    int rc = add_connection(&store->writer, options, writer_pragmas, error, error_size);
    if (rc < 0)
        return rc;
    sqlite3 *writer = store->writer.idle->db;
    rc = migrate(writer, error, error_size);
    if (rc == 0) {
        rc = limit_size(writer, options->max_bytes);
        if (rc < 0)
            describe(writer, "max_page_count", error, error_size);
    }
    for (int i = 0; i < options->readers && rc == 0; i++)
        rc = add_connection(&store->readers, options, reader_pragmas, error, error_size);
    return rc;
}

int user_store_sqlite_open(struct user_store **out, const struct user_store_sqlite_options *options, char *error,
                           size_t error_size)
{
    snprintf(error, error_size, "out of memory");
    struct sqlite_store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return -ENOMEM;
    store->base.vtable = &sqlite_vtable;
    store->busy_timeout_ms = options->busy_timeout_ms;
    int rc = pool_init(&store->writer);
    if (rc < 0) {
        free(store);
        return rc;
    }
    rc = pool_init(&store->readers);
    if (rc < 0) {
        pool_fini(&store->writer);
        free(store);
        return rc;
    }
    rc = open_connections(store, options, error, error_size);
    if (rc < 0) {
        store_destroy(&store->base);
        return rc;
    }
    *out = &store->base;
    return 0;
}
