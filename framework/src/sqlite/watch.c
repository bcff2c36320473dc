/* watch.c: word of changes.
 *
 * SQLite's data_version is another number on a connection once any other connection has committed, in this process or
 * another one. A watch has a connection for that question alone; it asks at every commit of this process, which wakes
 * it, and every poll_ms for the sake of others.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/thread.h"
#include "sqlite/database.h"

struct weft_sqlite_watch {
    weft_sqlite *database;
    sqlite3 *db;
    sqlite3_stmt *version;
    int64_t data_version;
    int64_t poll_ms;
    int (*changed)(void *arg);
    void *arg;
    bool stopped; /* under the database's lock */
    pthread_t thread;
};

/* Whether there is something new. What cannot be read just now counts as unchanged, and is asked again. */
static bool has_changed(weft_sqlite_watch *watch)
{
    int64_t before = watch->data_version;
    if (sqlite3_step(watch->version) == SQLITE_ROW)
        watch->data_version = sqlite3_column_int64(watch->version, 0);
    sqlite3_reset(watch->version);
    return watch->data_version != before;
}

/* Waits for a commit of this process after `*commits`, or poll_ms. @return false: the watch ends. */
static bool wait(weft_sqlite_watch *watch, uint64_t *commits)
{
    weft_sqlite *database = watch->database;
    struct timespec deadline = weft__sqlite_time(weft__sqlite_now_ms() + watch->poll_ms);
    int rc = 0;
    pthread_mutex_lock(&database->lock);
    while (!watch->stopped && database->commits == *commits && rc == 0)
        rc = pthread_cond_timedwait(&database->told, &database->lock, &deadline);
    bool goes_on = !watch->stopped;
    *commits = database->commits;
    pthread_mutex_unlock(&database->lock);
    return goes_on;
}

static bool goes_on(weft_sqlite_watch *watch)
{
    pthread_mutex_lock(&watch->database->lock);
    bool goes_on = !watch->stopped;
    pthread_mutex_unlock(&watch->database->lock);
    return goes_on;
}

/* `due`: what the last call has returned; 1 before the first. The version is read before each call: what is committed
   meanwhile is another change. */
static void *run(void *arg)
{
    weft_sqlite_watch *watch = arg;
    uint64_t commits = 0;
    int due = 1;
    while (due > 0 ? goes_on(watch) : wait(watch, &commits))
        if (has_changed(watch) || due != 0)
            due = watch->changed(watch->arg);
    return NULL;
}

static void free_watch(weft_sqlite_watch *watch)
{
    sqlite3_finalize(watch->version);
    sqlite3_close(watch->db);
    free(watch);
}

static int open_watch(weft_sqlite_watch *watch)
{
    char error[1]; /* nobody wants it */
    int rc = weft__sqlite_connect(&watch->database->options, "PRAGMA query_only = ON", &watch->db, error, sizeof error);
    if (rc == 0 && sqlite3_prepare_v3(watch->db, "PRAGMA data_version", -1, SQLITE_PREPARE_PERSISTENT, &watch->version,
                                      NULL) != SQLITE_OK)
        rc = weft__sqlite_errno(watch->db);
    return rc;
}

int weft_sqlite_watch_start(weft_sqlite_watch **out, weft_sqlite *database, int64_t poll_ms, int (*changed)(void *arg),
                            void *arg)
{
    if (poll_ms < 1 || poll_ms > INT32_MAX || changed == NULL)
        return -EINVAL;
    weft_sqlite_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return -ENOMEM;
    watch->database = database;
    watch->poll_ms = poll_ms;
    watch->changed = changed;
    watch->arg = arg;
    int rc = open_watch(watch);
    if (rc == 0)
        rc = weft__thread_start(&watch->thread, 0, "weft-sqlite", run, watch);
    if (rc < 0)
        free_watch(watch);
    else
        *out = watch;
    return rc;
}

void weft_sqlite_watch_stop(weft_sqlite_watch *watch)
{
    if (watch == NULL)
        return;
    weft_sqlite *database = watch->database;
    pthread_mutex_lock(&database->lock);
    watch->stopped = true;
    pthread_cond_broadcast(&database->told);
    pthread_mutex_unlock(&database->lock);
    (void)pthread_join(watch->thread, NULL);
    free_watch(watch);
}
