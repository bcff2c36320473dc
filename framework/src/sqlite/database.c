/* database.c: connections, and transactions on them.
 *
 * Design notes
 * - A transaction is a connection that was taken out of its pool, and goes back there. So a connection belongs to one
 *   thread at a time and needs no mutex of SQLite's (SQLITE_OPEN_NOMUTEX).
 * - Waiting for the connection and waiting for another process's lock share one deadline, so that a locked database
 *   does not hold up the second in the queue for twice as long.
 * - Once somebody has waited in vain for another process's lock, one at a time goes on to wait for it, and whoever
 *   comes meanwhile is refused at once. Else a lock that lasts would in the end hold all of a server's workers, also
 *   those that calls need which only read.
 * - Every write lies between BEGIN IMMEDIATE and COMMIT, and is rolled back when anything fails, also what comes after
 *   the statement itself, such as copying its answer. (Without them a statement that is reset early commits all the
 *   same.)
 * - synchronous=NORMAL syncs at checkpoints; FULL at every commit.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/options.h"
#include "sqlite/database.h"

enum control {
    BEGIN_READ,
    BEGIN_WRITE,
    COMMIT,
    ROLLBACK,
    CONTROL_COUNT
};

static const char *const control_sql[CONTROL_COUNT] = {
    [BEGIN_READ] = "BEGIN",
    [BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
};

struct weft_sqlite_tx {
    sqlite3 *db;
    weft_sqlite *database;
    weft__sqlite_pool *pool;
    weft_sqlite_tx *next; /* in its pool, while nobody uses it */
    sqlite3_stmt *control[CONTROL_COUNT];
    sqlite3_stmt *statements[]; /* prepared on first use */
};

/* ---- time -------------------------------------------------------------------------------------------------------- */

int64_t weft__sqlite_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct timespec weft__sqlite_time(int64_t ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
}

int weft__sqlite_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    int rc = pthread_condattr_init(&attributes);
    if (rc != 0)
        return -rc;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    rc = pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
    return -rc;
}

/* ---- pools ------------------------------------------------------------------------------------------------------- */

static int pool_init(weft__sqlite_pool *pool)
{
    int rc = weft__sqlite_cond_init(&pool->returned);
    if (rc < 0)
        return rc;
    rc = pthread_mutex_init(&pool->lock, NULL);
    if (rc != 0)
        pthread_cond_destroy(&pool->returned);
    return -rc;
}

/* Takes a connection. @return NULL when none came back before the deadline, or it waits for a lock that lasts. */
static weft_sqlite_tx *pool_take(weft__sqlite_pool *pool, int64_t deadline_ms)
{
    struct timespec deadline = weft__sqlite_time(deadline_ms);
    int rc = 0;
    pthread_mutex_lock(&pool->lock);
    while (pool->idle == NULL && !pool->locked && rc == 0)
        rc = pthread_cond_timedwait(&pool->returned, &pool->lock, &deadline);
    weft_sqlite_tx *tx = pool->idle;
    if (tx != NULL)
        pool->idle = tx->next;
    pthread_mutex_unlock(&pool->lock);
    return tx;
}

static void pool_give(weft__sqlite_pool *pool, weft_sqlite_tx *tx)
{
    pthread_mutex_lock(&pool->lock);
    tx->next = pool->idle;
    pool->idle = tx;
    pthread_cond_signal(&pool->returned);
    pthread_mutex_unlock(&pool->lock);
}

/* Notes whether another process's lock lasts; if so, those who wait for the connection give up. */
static void pool_note(weft__sqlite_pool *pool, bool locked)
{
    pthread_mutex_lock(&pool->lock);
    if (locked && !pool->locked)
        pthread_cond_broadcast(&pool->returned);
    pool->locked = locked;
    pthread_mutex_unlock(&pool->lock);
}

static void close_connection(weft_sqlite_tx *tx)
{
    for (size_t i = 0; i < CONTROL_COUNT; i++)
        sqlite3_finalize(tx->control[i]);
    for (size_t i = 0; i < tx->database->options.statement_count; i++)
        sqlite3_finalize(tx->statements[i]);
    sqlite3_close(tx->db);
    free(tx);
}

static void pool_fini(weft__sqlite_pool *pool)
{
    while (pool->idle != NULL) {
        weft_sqlite_tx *tx = pool->idle;
        pool->idle = tx->next;
        close_connection(tx);
    }
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->returned);
}

/* ---- transactions ------------------------------------------------------------------------------------------------ */

/* All at once, while nothing is wrong: who has to roll back may have no memory for it. */
static int prepare_controls(weft_sqlite_tx *tx)
{
    for (size_t i = 0; i < CONTROL_COUNT; i++)
        if (sqlite3_prepare_v3(tx->db, control_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &tx->control[i], NULL) !=
            SQLITE_OK)
            return weft__sqlite_errno(tx->db);
    return 0;
}

static int control(weft_sqlite_tx *tx, enum control which)
{
    sqlite3_stmt *statement = tx->control[which];
    int rc = sqlite3_step(statement) == SQLITE_DONE ? 0 : weft__sqlite_errno(tx->db);
    sqlite3_reset(statement);
    return rc;
}

static bool is_open(const weft_sqlite_tx *tx)
{
    return sqlite3_get_autocommit(tx->db) == 0;
}

/* Whether the file is no longer at its path: what is written now would be gone with the last process that has it. */
static bool has_moved(const weft_sqlite_tx *tx)
{
    int moved = 0;
    return sqlite3_file_control(tx->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0;
}

static int begin(weft_sqlite *database, weft__sqlite_pool *pool, enum control which, weft_sqlite_tx **out)
{
    int64_t deadline_ms = weft__sqlite_now_ms() + database->options.busy_timeout_ms;
    weft_sqlite_tx *tx = pool_take(pool, deadline_ms);
    if (tx == NULL)
        return -EBUSY;
    int64_t left_ms = deadline_ms - weft__sqlite_now_ms();
    sqlite3_busy_timeout(tx->db, left_ms > 1 ? (int)left_ms : 1);
    if (is_open(tx)) /* the last one could not be rolled back */
        (void)control(tx, ROLLBACK);
    int rc = which == BEGIN_WRITE && has_moved(tx) ? -EROFS : control(tx, which);
    if (rc != -EBUSY)
        pool_note(pool, false);
    else if (left_ms > database->options.busy_timeout_ms / 2) /* who came late to the lock cannot tell */
        pool_note(pool, true);
    if (rc < 0)
        pool_give(pool, tx);
    else
        *out = tx;
    return rc;
}

int weft_sqlite_read(weft_sqlite *database, weft_sqlite_tx **out)
{
    return begin(database, &database->readers, BEGIN_READ, out);
}

int weft_sqlite_write(weft_sqlite *database, weft_sqlite_tx **out)
{
    return begin(database, &database->writer, BEGIN_WRITE, out);
}

static void clear(sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

sqlite3_stmt *weft_sqlite_statement(weft_sqlite_tx *tx, size_t number)
{
    sqlite3_stmt **statement = &tx->statements[number];
    if (*statement == NULL)
        (void)sqlite3_prepare_v3(tx->db, tx->database->options.statements[number], -1, SQLITE_PREPARE_PERSISTENT,
                                 statement, NULL);
    else
        clear(*statement);
    return *statement;
}

int weft_sqlite_step(weft_sqlite_tx *tx, sqlite3_stmt *statement)
{
    if (statement == NULL)
        return weft__sqlite_errno(tx->db);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        return 1;
    return code == SQLITE_DONE ? 0 : weft__sqlite_errno(tx->db);
}

sqlite3 *weft_sqlite_handle(weft_sqlite_tx *tx)
{
    return tx->db;
}

static void tell_watches(weft_sqlite *database)
{
    pthread_mutex_lock(&database->lock);
    database->commits++;
    pthread_cond_broadcast(&database->told);
    pthread_mutex_unlock(&database->lock);
}

int weft_sqlite_end(weft_sqlite_tx *tx, int rc)
{
    weft_sqlite *database = tx->database;
    weft__sqlite_pool *pool = tx->pool;
    for (size_t i = 0; i < database->options.statement_count; i++)
        if (tx->statements[i] != NULL)
            clear(tx->statements[i]);
    bool committed = false;
    if (rc >= 0 && is_open(tx)) {
        int done = control(tx, COMMIT);
        committed = done == 0;
        rc = done < 0 ? done : rc;
    }
    if (is_open(tx)) /* some errors have rolled back already */
        (void)control(tx, ROLLBACK);
    pool_give(pool, tx);
    if (committed && pool == &database->writer)
        tell_watches(database);
    return rc;
}

int weft_sqlite_text(sqlite3_stmt *statement, int column, weft_arena *arena, const char **out)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    const char *copy = NULL;
    if (text == NULL && sqlite3_column_type(statement, column) != SQLITE_NULL)
        return -ENOMEM;
    if (text != NULL) {
        copy = weft_arena_svdup(arena, weft_sv_of(text, (size_t)sqlite3_column_bytes(statement, column)));
        if (copy == NULL)
            return -ENOMEM;
    }
    *out = copy;
    return 0;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* Runs statements without rows. Going over to WAL, and an attempt to do so while another program closes the database,
   is BUSY at once and not after the time of sqlite3_busy_timeout: so it is tried again for as long. */
static int exec_patiently(sqlite3 *db, const char *sql, int64_t busy_timeout_ms)
{
    int64_t deadline_ms = weft__sqlite_now_ms() + busy_timeout_ms;
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    while ((code & 0xff) == SQLITE_BUSY && weft__sqlite_now_ms() < deadline_ms) {
        sqlite3_sleep(5);
        code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    }
    return code;
}

int weft__sqlite_connect(const weft_sqlite_options *options, const char *pragmas, sqlite3 **out, char *error,
                         size_t error_size)
{
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int code = sqlite3_open_v2(options->path, &db, flags, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_busy_timeout(db, (int)options->busy_timeout_ms);
    if (code == SQLITE_OK)
        code = exec_patiently(db, pragmas, options->busy_timeout_ms);
    if (code != SQLITE_OK) {
        int rc = db != NULL ? weft__sqlite_describe(db, options->path, error, error_size) : -ENOMEM;
        sqlite3_close(db);
        return rc;
    }
    *out = db;
    return 0;
}

/* Opens a connection and puts it into the pool. */
static int add_connection(weft_sqlite *database, weft__sqlite_pool *pool, const char *pragmas, char *error,
                          size_t error_size)
{
    size_t count = database->options.statement_count;
    weft_sqlite_tx *tx = calloc(1, sizeof *tx + count * sizeof tx->statements[0]);
    if (tx == NULL)
        return -ENOMEM;
    tx->database = database;
    tx->pool = pool;
    int rc = weft__sqlite_connect(&database->options, pragmas, &tx->db, error, error_size);
    if (rc == 0)
        rc = prepare_controls(tx);
    if (rc < 0)
        close_connection(tx);
    else
        pool_give(pool, tx);
    return rc;
}

static int limit_size(sqlite3 *db, int64_t max_bytes)
{
    char sql[64];
    int64_t page_bytes;
    int rc = weft__sqlite_number(db, "PRAGMA page_size", 4096, &page_bytes);
    if (rc < 0 || max_bytes == INT64_MAX)
        return rc;
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %" PRId64, max_bytes > page_bytes ? max_bytes / page_bytes : 1);
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : weft__sqlite_errno(db);
}

/* Makes a missing file, since SQLite would let everybody read it, and does not say why it cannot be made. SQLite's own
   files beside it take its mode. 0, also when it is there already; -errno, with `error` said. */
static int make_private_file(const char *path, char *error, size_t error_size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc = fd >= 0 || errno == EEXIST ? 0 : -errno;
    if (fd >= 0)
        close(fd);
    if (rc == -ENOENT)
        snprintf(error, error_size, "%s: the folder does not exist", path);
    else if (rc < 0)
        snprintf(error, error_size, "%s: cannot be made: %s", path, strerror(-rc));
    return rc;
}

static int open_connections(weft_sqlite *database, char *error, size_t error_size)
{
    const weft_sqlite_options *options = &database->options;
    const char *writer_pragmas =
        options->sync_commits ? "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON"
                              : "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON";
    /* The first read opens the log beside the file, by its name: now, and not when the file may be another one. */
    const char *reader_pragmas = "PRAGMA query_only = ON; SELECT count(*) FROM sqlite_schema";
    int rc = make_private_file(options->path, error, error_size);
    if (rc == 0)
        rc = add_connection(database, &database->writer, writer_pragmas, error, error_size);
    if (rc < 0)
        return rc;
    sqlite3 *writer = database->writer.idle->db;
    rc = weft__sqlite_migrate(writer, options, error, error_size);
    if (rc == 0) {
        rc = limit_size(writer, options->max_bytes);
        if (rc < 0)
            weft__sqlite_describe(writer, "max_page_count", error, error_size);
    }
    for (int64_t i = 0; i < options->readers && rc == 0; i++)
        rc = add_connection(database, &database->readers, reader_pragmas, error, error_size);
    return rc;
}

/* For SQLite these are databases that each connection has for itself. */
static bool is_file(const char *path)
{
    return *path != '\0' && strcmp(path, ":memory:") != 0 && strncmp(path, "file:", 5) != 0;
}

static int read_options(weft_sqlite_options *out, const weft_sqlite_options *options)
{
    weft_sqlite_options o;
    memset(&o, 0, sizeof o);
    int rc = weft__options_copy(&o, sizeof o, options);
    if (rc == 0 && (o.path == NULL || !is_file(o.path) || o.statements == NULL || o.statement_count == 0))
        rc = -EINVAL;
    if (rc == 0)
        rc = weft__limit(&o.readers, 4, 1);
    if (rc == 0)
        rc = weft__limit(&o.busy_timeout_ms, 5000, 1);
    if (rc == 0)
        rc = weft__limit(&o.max_bytes, INT64_MAX, 1);
    if (rc == 0 && (o.readers > 1024 || o.busy_timeout_ms > INT32_MAX))
        rc = -EINVAL;
    if (rc == 0)
        *out = o;
    return rc;
}

void weft_sqlite_configure(weft_sqlite_options *options, const weft_config *config)
{
    options->path = weft_config_string(config, "database.path");
    options->readers = weft_config_int(config, "database.readers");
    options->busy_timeout_ms = weft_config_duration_ms(config, "database.busy_timeout");
    options->max_bytes = weft_config_size_bytes(config, "database.max_size");
    options->sync_commits = weft_config_bool(config, "database.sync");
}

static int init(weft_sqlite *database)
{
    int rc = pool_init(&database->writer);
    if (rc < 0)
        return rc;
    rc = pool_init(&database->readers);
    if (rc < 0)
        goto fail_readers;
    rc = weft__sqlite_cond_init(&database->told);
    if (rc < 0)
        goto fail_told;
    rc = -pthread_mutex_init(&database->lock, NULL);
    if (rc == 0)
        return 0;
    pthread_cond_destroy(&database->told);
fail_told:
    pool_fini(&database->readers);
fail_readers:
    pool_fini(&database->writer);
    return rc;
}

int weft_sqlite_open(weft_sqlite **out, const weft_sqlite_options *options, char *error, size_t error_size)
{
    weft_sqlite_options normalized;
    int rc = read_options(&normalized, options);
    snprintf(error, error_size, "%s", rc != 0 ? "no file is named, or an option is out of range" : "out of memory");
    if (rc != 0)
        return rc;
    weft_sqlite *database = calloc(1, sizeof *database);
    char *path = strdup(normalized.path);
    if (database == NULL || path == NULL || (rc = init(database)) < 0) {
        free(path);
        free(database);
        return rc < 0 ? rc : -ENOMEM;
    }
    database->options = normalized;
    database->options.path = path;
    rc = open_connections(database, error, error_size);
    if (rc < 0) {
        weft_sqlite_close(database);
        return rc;
    }
    snprintf(error, error_size, "%s", "");
    *out = database;
    return 0;
}

void weft_sqlite_close(weft_sqlite *database)
{
    if (database == NULL)
        return;
    pool_fini(&database->readers); /* the writer closes last, and with it goes the WAL file */
    pool_fini(&database->writer);
    pthread_cond_destroy(&database->told);
    pthread_mutex_destroy(&database->lock);
    free((char *)database->options.path);
    free(database);
}
