#define _GNU_SOURCE /* unshare */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <weft/uuid.h>

#include "base/clock.h"
#include "base/event.h"
#include "support/temp_dir.h"
#include "user_migrations.h"
#include "user_store_sqlite.h"

static char path[TEMP_PATH_BYTES];
static char error[256];
static weft_arena *arena;
static struct user_store *store;

static weft_sqlite_options default_options(void)
{
    weft_sqlite_options options = WEFT_SQLITE_OPTIONS_INIT;
    options.path = path;
    options.readers = 2;
    return options;
}

static int open_store(const weft_sqlite_options *options)
{
    user_store_destroy(store);
    store = NULL;
    return user_store_sqlite_open(&store, options, error, sizeof error);
}

static int make(void **state)
{
    (void)state;
    if (temp_dir_make() != 0 || weft_arena_new(&arena, 1 << 20) != 0)
        return -1;
    temp_path("user.db", path);
    weft_sqlite_options options = default_options();
    return open_store(&options);
}

static int drop(void **state)
{
    (void)state;
    user_store_destroy(store);
    store = NULL;
    weft_arena_free(arena);
    temp_dir_remove();
    return 0;
}

/* Adds a user whose name is `name` and whose address is name@example.org. */
static int add(struct user_store *to, const char *name, char id[WEFT_UUID_TEXT_BYTES])
{
    char email[300];
    snprintf(email, sizeof email, "%s@example.org", name);
    if (weft_uuid7(id) != 0)
        return -EIO;
    struct user user = {id, name, email, email, NULL};
    return user_store_create(to, &user);
}

/* Runs SQL on a connection of its own, as another program would. @return the first column of the first row. */
static int64_t ask(const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    int code = sqlite3_step(statement);
    int64_t number = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    assert_true(code == SQLITE_ROW || code == SQLITE_DONE);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

static void assert_sound(void)
{
    assert_int_equal(ask("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
}

/* ---- One user ---------------------------------------------------------------------------------------------------- */

static void a_created_user_is_found_by_id_and_by_address(void **state)
{
    (void)state;
    struct user user = {"0190a000-0000-7000-8000-000000000001", "Ada", "Ada@Example.org", "ada@example.org", "$hash"};
    struct user found;
    assert_int_equal(user_store_create(store, &user), 0);
    assert_int_equal(user_store_get(store, user.id, arena, &found), 0);
    assert_string_equal(found.id, user.id);
    assert_string_equal(found.name, "Ada");
    assert_string_equal(found.email, "Ada@Example.org");
    assert_null(found.password_hash);
    assert_int_equal(user_store_find(store, "ada@example.org", arena, &found), 0);
    assert_string_equal(found.id, user.id);
    assert_string_equal(found.password_hash, "$hash");
}

static void a_user_without_password_has_no_hash(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    struct user found = {.password_hash = "untouched"};
    assert_int_equal(add(store, "ada", id), 0);
    assert_int_equal(user_store_find(store, "ada@example.org", arena, &found), 0);
    assert_null(found.password_hash);
}

static void a_missing_user_is_enoent_and_the_output_untouched(void **state)
{
    (void)state;
    struct user found = {.name = "untouched"};
    struct user_update change = {.name = "x"};
    assert_int_equal(user_store_get(store, "0190a000-0000-7000-8000-000000000009", arena, &found), -ENOENT);
    assert_int_equal(user_store_find(store, "nobody@example.org", arena, &found), -ENOENT);
    assert_int_equal(user_store_update(store, "no-id", &change, arena, &found), -ENOENT);
    assert_int_equal(user_store_remove(store, "no-id"), -ENOENT);
    assert_string_equal(found.name, "untouched");
}

static void an_address_or_id_that_is_taken_is_eexist(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    char other[WEFT_UUID_TEXT_BYTES];
    assert_int_equal(add(store, "ada", id), 0);
    assert_int_equal(add(store, "ada", other), -EEXIST);
    struct user same_id = {id, "Bob", "bob@example.org", "bob@example.org", NULL};
    assert_int_equal(user_store_create(store, &same_id), -EEXIST);
    assert_int_equal(ask("SELECT count(*) FROM users"), 1);
}

static void an_update_changes_what_is_set_and_nothing_else(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    struct user found;
    assert_int_equal(add(store, "ada", id), 0);
    struct user_update change = {.name = "Countess"};
    assert_int_equal(user_store_update(store, id, &change, arena, &found), 0);
    assert_string_equal(found.name, "Countess");
    assert_string_equal(found.email, "ada@example.org");
    change = (struct user_update){.email = "A@B.org", .email_key = "a@b.org", .password_hash = "$hash"};
    assert_int_equal(user_store_update(store, id, &change, arena, &found), 0);
    assert_string_equal(found.id, id);
    assert_string_equal(found.name, "Countess");
    assert_string_equal(found.email, "A@B.org");
    assert_null(found.password_hash);
    assert_int_equal(user_store_find(store, "ada@example.org", arena, &found), -ENOENT);
    assert_int_equal(user_store_find(store, "a@b.org", arena, &found), 0);
    assert_string_equal(found.password_hash, "$hash");
}

static void an_update_to_a_taken_address_changes_nothing(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    struct user found;
    assert_int_equal(add(store, "ada", id), 0);
    assert_int_equal(add(store, "bob", id), 0);
    struct user_update change = {.name = "x", .email = "ada@example.org", .email_key = "ada@example.org"};
    assert_int_equal(user_store_update(store, id, &change, arena, &found), -EEXIST);
    assert_int_equal(user_store_get(store, id, arena, &found), 0);
    assert_string_equal(found.name, "bob");
    assert_string_equal(found.email, "bob@example.org");
}

static void an_update_whose_answer_does_not_fit_changes_nothing(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    struct user found;
    assert_int_equal(add(store, "ada", id), 0);
    while (!weft_arena_failed(arena))
        (void)weft_arena_alloc(arena, 4096);
    struct user_update change = {.name = "x"};
    assert_int_equal(user_store_update(store, id, &change, arena, &found), -ENOMEM);
    weft_arena_reset(arena);
    assert_int_equal(user_store_get(store, id, arena, &found), 0);
    assert_string_equal(found.name, "ada");
}

static void a_removed_user_is_gone_and_the_address_free(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    struct user found;
    assert_int_equal(add(store, "ada", id), 0);
    assert_int_equal(user_store_remove(store, id), 0);
    assert_int_equal(user_store_remove(store, id), -ENOENT);
    assert_int_equal(user_store_get(store, id, arena, &found), -ENOENT);
    assert_int_equal(add(store, "ada", id), 0);
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

static void pages_hold_every_user_once_in_the_order_of_ids(void **state)
{
    (void)state;
    char ids[25][WEFT_UUID_TEXT_BYTES];
    char name[16];
    const char *after = "";
    size_t seen = 0;
    for (int i = 0; i < 25; i++) {
        snprintf(name, sizeof name, "user%d", i);
        assert_int_equal(add(store, name, ids[i]), 0);
    }
    for (int page = 0; page < 4; page++) {
        struct user *users;
        size_t count = 99;
        assert_int_equal(user_store_list(store, after, 10, arena, &users, &count), 0);
        assert_int_equal(count, page < 2 ? 10 : page == 2 ? 5 : 0);
        for (size_t i = 0; i < count; i++, seen++)
            assert_string_equal(users[i].id, ids[seen]);
        if (count > 0)
            after = users[count - 1].id;
    }
    assert_int_equal(seen, 25);
}

/* ---- Changes ----------------------------------------------------------------------------------------------------- */

static void assert_change(const struct user_change *change, int64_t position, enum user_change_kind kind,
                          const char *id, const char *name, const char *email)
{
    assert_int_equal(change->position, position);
    assert_int_equal(change->kind, kind);
    assert_string_equal(change->user.id, id);
    if (kind == USER_DELETED) {
        assert_null(change->user.name);
        assert_null(change->user.email);
        return;
    }
    assert_string_equal(change->user.name, name);
    assert_string_equal(change->user.email, email);
}

static int64_t position(void)
{
    int64_t out = -1;
    assert_int_equal(user_store_position(store, &out), 0);
    return out;
}

static void every_change_is_written_down_in_order(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    struct user found;
    struct user_change *changes;
    size_t count;
    struct user_update values = {.name = "Countess"};
    assert_int_equal(position(), 0);
    assert_int_equal(user_store_changes(store, 0, 10, arena, &changes, &count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(add(store, "ada", id), 0);
    assert_int_equal(user_store_update(store, id, &values, arena, &found), 0);
    assert_int_equal(user_store_remove(store, id), 0);
    assert_int_equal(position(), 3);
    assert_int_equal(user_store_changes(store, 0, 10, arena, &changes, &count), 0);
    assert_int_equal(count, 3);
    assert_change(&changes[0], 1, USER_CREATED, id, "ada", "ada@example.org");
    assert_change(&changes[1], 2, USER_UPDATED, id, "Countess", "ada@example.org");
    assert_change(&changes[2], 3, USER_DELETED, id, NULL, NULL);
    assert_int_equal(user_store_changes(store, 1, 1, arena, &changes, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(changes[0].position, 2);
}

static void what_did_not_happen_is_not_written_down(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    char other[WEFT_UUID_TEXT_BYTES];
    struct user found;
    struct user_update same = {.name = "ada"};
    struct user_update none = {.name = NULL};
    struct user_update other_name = {.name = "x"};
    assert_int_equal(add(store, "ada", id), 0);
    assert_int_equal(add(store, "ada", other), -EEXIST);
    assert_int_equal(user_store_remove(store, other), -ENOENT);
    assert_int_equal(user_store_update(store, id, &same, arena, &found), 0);
    assert_int_equal(user_store_update(store, id, &none, arena, &found), 0);
    while (!weft_arena_failed(arena))
        (void)weft_arena_alloc(arena, 4096);
    assert_int_equal(user_store_update(store, id, &other_name, arena, &found), -ENOMEM); /* the update is undone */
    assert_int_equal(position(), 1);
    assert_int_equal(ask("SELECT count(*) FROM user_changes"), 1);
    assert_int_equal(add(store, "bob", other), 0);
    assert_int_equal(position(), 2); /* no position is left out */
}

static void the_last_10000_changes_are_kept(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    (void)ask("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10005)"
              " INSERT INTO users (id, name, email, email_key)"
              " SELECT printf('many%032d', i), 'Many', i || '@x.org', i || '@x.org' FROM n");
    assert_int_equal(add(store, "ada", id), 0);
    assert_int_equal(position(), 10006);
    assert_int_equal(ask("SELECT count(*) FROM user_changes"), USER_STORE_KEPT_CHANGES);
    assert_int_equal(ask("SELECT min(position) FROM user_changes"), 7);
}

static int post(void *arg)
{
    weft__event_post(arg);
    return 0;
}

static void who_watches_is_told_of_changes_until_the_watch_ends(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    weft__event told;
    assert_int_equal(weft__event_init(&told), 0);
    user_store_unwatch(store); /* nobody watches yet: fine */
    assert_int_equal(user_store_watch(store, post, &told), 0);
    for (int i = 0; i < 2; i++) { /* at the beginning; after the change */
        int64_t deadline_ns = weft__clock_system()->now_ns(weft__clock_system()) + INT64_C(20000000000);
        assert_int_equal(weft__event_wait(&told, deadline_ns), 0);
        weft__event_reset(&told);
        if (i == 0)
            assert_int_equal(add(store, "ada", id), 0);
    }
    user_store_unwatch(store);
    weft__event_fini(&told);
    assert_int_equal(add(store, "bob", id), 0);
}

/* ---- Many at once ------------------------------------------------------------------------------------------------ */

static void users_are_added_together_but_for_those_who_are_taken(void **state)
{
    (void)state;
    char ids[4][WEFT_UUID_TEXT_BYTES];
    int outcomes[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(weft_uuid7(ids[i]), 0);
    const struct user users[] = {
        {ids[0], "A", "a@x.org", "a@x.org", NULL},
        {ids[1], "B", "b@x.org", "b@x.org", NULL},
        {ids[2], "B again", "B@x.org", "b@x.org", NULL},
        {ids[3], "C", "c@x.org", "c@x.org", NULL},
    };
    assert_int_equal(user_store_create_all(store, users, 4, outcomes), 0);
    assert_int_equal(outcomes[0], 0);
    assert_int_equal(outcomes[1], 0);
    assert_int_equal(outcomes[2], -EEXIST);
    assert_int_equal(outcomes[3], 0);
    assert_int_equal(ask("SELECT count(*) FROM users"), 3);
    assert_int_equal(ask("SELECT count(*) FROM user_changes"), 3);
}

static void users_who_do_not_all_fit_are_not_added_at_all(void **state)
{
    (void)state;
    static char ids[1000][WEFT_UUID_TEXT_BYTES];
    static char emails[1000][32];
    static struct user users[1000];
    static int outcomes[1000];
    weft_sqlite_options options = default_options();
    options.max_bytes = 100 << 10;
    assert_int_equal(open_store(&options), 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(weft_uuid7(ids[i]), 0);
        snprintf(emails[i], sizeof emails[i], "user%d@example.org", i);
        users[i] = (struct user){ids[i], "Somebody", emails[i], emails[i], NULL};
    }
    assert_int_equal(user_store_create_all(store, users, 1000, outcomes), -ENOSPC);
    assert_int_equal(ask("SELECT count(*) FROM users"), 0);
    assert_int_equal(position(), 0);
    assert_int_equal(user_store_create_all(store, users, 10, outcomes), 0);
    assert_int_equal(position(), 10);
    assert_sound();
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static void users_outlive_the_program(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    struct user found;
    weft_sqlite_options options = default_options();
    assert_int_equal(add(store, "ada", id), 0);
    assert_int_equal(open_store(&options), 0);
    assert_int_equal(user_store_get(store, id, arena, &found), 0);
    assert_int_equal(ask("SELECT max(version) FROM schema_version"), (int64_t)user_migration_count);
    assert_int_equal(ask("SELECT count(*) FROM schema_version"), (int64_t)user_migration_count);
}

static void a_database_of_the_first_version_is_brought_up_to_date(void **state)
{
    (void)state;
    weft_sqlite_options options = default_options();
    char id[WEFT_UUID_TEXT_BYTES];
    sqlite3 *db;
    user_store_destroy(store);
    store = NULL;
    temp_path("old.db", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, user_migrations[0].sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    (void)ask("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT");
    (void)ask("INSERT INTO schema_version VALUES (1, '0001_users.sql')");
    (void)ask("INSERT INTO users VALUES ('0190a000-0000-7000-8000-000000000001', 'Ada', 'a@x.org', 'a@x.org', NULL)");
    assert_int_equal(open_store(&options), 0);
    assert_int_equal(position(), 0);
    assert_int_equal(add(store, "bob", id), 0);
    assert_int_equal(position(), 1);
    assert_int_equal(ask("SELECT count(*) FROM users"), 2);
}

static void a_new_database_is_for_its_owner_alone(void **state)
{
    (void)state;
    static const char *const names[] = {"user.db", "user.db-wal", "user.db-shm"};
    char file[TEMP_PATH_BYTES];
    struct stat info;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(stat(temp_path(names[i], file), &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
    }
}

static void a_newer_schema_is_refused_with_a_clear_text(void **state)
{
    (void)state;
    weft_sqlite_options options = default_options();
    (void)ask("INSERT INTO schema_version (version, name) VALUES (99, '0099_future.sql')");
    assert_int_equal(open_store(&options), -ENOTSUP);
    assert_non_null(strstr(error, "schema version 99"));
    assert_null(store);
}

static void what_is_no_database_is_refused(void **state)
{
    (void)state;
    weft_sqlite_options options = default_options();
    char other[TEMP_PATH_BYTES];
    char junk[4096];
    options.path = temp_path("junk.db", other);
    memset(junk, 'x', sizeof junk);
    int fd = open(other, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0 && write(fd, junk, sizeof junk) == sizeof junk);
    close(fd);
    assert_int_equal(open_store(&options), -EBADMSG);
    assert_non_null(strstr(error, "not a database"));
    options.path = temp_path("missing/user.db", other);
    assert_int_equal(open_store(&options), -ENOENT);
    assert_non_null(strstr(error, "missing/user.db"));
}

static void *open_and_add(void *arg)
{
    struct user_store *mine;
    weft_sqlite_options options = default_options();
    char text[256];
    char id[WEFT_UUID_TEXT_BYTES];
    int rc = user_store_sqlite_open(&mine, &options, text, sizeof text);
    if (rc < 0) {
        print_error("open: %d: %s\n", rc, text);
        return arg;
    }
    rc = add(mine, arg, id);
    if (rc < 0)
        print_error("add: %d\n", rc);
    user_store_destroy(mine);
    return rc < 0 ? arg : NULL;
}

static void several_may_open_a_new_database_at_once(void **state)
{
    (void)state;
    static char names[4][2] = {"a", "b", "c", "d"};
    pthread_t threads[4];
    user_store_destroy(store);
    store = NULL;
    temp_path("fresh.db", path);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_add, names[i]), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(ask("SELECT count(*) FROM users"), 4);
    assert_int_equal(ask("SELECT count(*) FROM schema_version"), (int64_t)user_migration_count);
}

/* ---- Trouble ----------------------------------------------------------------------------------------------------- */

static void a_locked_database_is_ebusy_and_reads_go_on(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    char other[WEFT_UUID_TEXT_BYTES];
    struct user found;
    sqlite3 *db;
    weft_sqlite_options options = default_options();
    struct user_update change = {.name = "x"};
    options.busy_timeout_ms = 20;
    assert_int_equal(open_store(&options), 0);
    assert_int_equal(add(store, "ada", id), 0);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(add(store, "bob", other), -EBUSY);
    assert_int_equal(user_store_update(store, id, &change, arena, &found), -EBUSY);
    assert_int_equal(user_store_remove(store, id), -EBUSY);
    assert_int_equal(user_store_get(store, id, arena, &found), 0);
    assert_string_equal(found.name, "ada");
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(add(store, "bob", other), 0);
    assert_int_equal(ask("SELECT count(*) FROM users"), 2);
}

/* Adds users until one does not fit. @return how many did. */
static int fill_up(int expected_error)
{
    char name[256];
    char id[WEFT_UUID_TEXT_BYTES];
    for (int i = 0; i < 10000; i++) {
        int n = snprintf(name, sizeof name, "user%06d", i);
        memset(name + n, 'x', sizeof name - 1 - (size_t)n);
        name[sizeof name - 1] = '\0';
        int rc = add(store, name, id);
        if (rc < 0) {
            assert_int_equal(rc, expected_error);
            return i;
        }
    }
    fail_msg("10000 users fit");
    return 0;
}

/* No half-written user, and what was there can be read. Then ten users go. */
static void assert_full_and_sound(int users)
{
    struct user *list;
    size_t count;
    assert_true(users > 10);
    assert_int_equal(user_store_list(store, "", 10, arena, &list, &count), 0);
    assert_int_equal(count, 10);
    assert_int_equal(ask("SELECT count(*) FROM users"), users);
    assert_sound();
    for (int i = 0; i < 10; i++)
        (void)user_store_remove(store, list[i].id);
}

static void a_full_database_is_enospc_and_nothing_is_half_written(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    weft_sqlite_options options = default_options();
    options.max_bytes = 100 << 10;
    assert_int_equal(open_store(&options), 0);
    int users = fill_up(-ENOSPC);
    assert_full_and_sound(users);
    assert_int_equal(ask("SELECT count(*) FROM users"), users - 10);
    assert_int_equal(add(store, "one-more", id), 0);
}

static void a_full_disk_is_enospc_and_nothing_is_half_written(void **state)
{
    (void)state;
    weft_sqlite_options options = default_options();
    char dir[TEMP_PATH_BYTES];
    user_store_destroy(store);
    store = NULL;
    /* A small disk of our own, in a mount namespace of our own: that takes root. */
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0)
        skip();
    assert_int_equal(mkdir(temp_path("disk", dir), 0700), 0);
    assert_int_equal(mount("tmpfs", dir, "tmpfs", 0, "size=512k"), 0);
    temp_path("disk/user.db", path);
    assert_int_equal(open_store(&options), 0);
    assert_full_and_sound(fill_up(-ENOSPC));
    user_store_destroy(store);
    store = NULL;
    assert_sound();
    assert_int_equal(umount(dir), 0);
    rmdir(dir);
}

static void a_read_only_database_is_erofs_and_reads_go_on(void **state)
{
    (void)state;
    char id[WEFT_UUID_TEXT_BYTES];
    struct user found;
    weft_sqlite_options options = default_options();
    if (geteuid() != 0)
        skip();
    assert_int_equal(add(store, "ada", id), 0);
    /* Another program holds the database open, so the files beside it exist; then an ordinary user opens it. */
    sqlite3 *holder;
    assert_int_equal(sqlite3_open(path, &holder), SQLITE_OK);
    assert_int_equal(sqlite3_exec(holder, "SELECT * FROM users", NULL, NULL, NULL), SQLITE_OK);
    user_store_destroy(store);
    store = NULL;
    char file[TEMP_PATH_BYTES];
    assert_int_equal(chmod(temp_dir, 0755), 0);
    assert_int_equal(chmod(path, 0444), 0);
    assert_int_equal(chmod(temp_path("user.db-wal", file), 0444), 0);
    assert_int_equal(chmod(temp_path("user.db-shm", file), 0444), 0);
    assert_int_equal(seteuid(65534), 0);
    int opened = user_store_sqlite_open(&store, &options, error, sizeof error);
    int got = opened == 0 ? user_store_get(store, id, arena, &found) : opened;
    int added = opened == 0 ? add(store, "bob", id) : opened;
    assert_int_equal(seteuid(0), 0);
    sqlite3_close(holder);
    assert_int_equal(opened, 0);
    assert_int_equal(got, 0);
    assert_int_equal(added, -EROFS);
}

/* ---- Threads and crashes ----------------------------------------------------------------------------------------- */

struct worker {
    pthread_t thread;
    int number;
    int failures;
};

#define WRITES 60

static void *write_users(void *arg)
{
    struct worker *worker = arg;
    char name[32];
    char id[WEFT_UUID_TEXT_BYTES];
    for (int i = 0; i < WRITES; i++) {
        snprintf(name, sizeof name, "w%d-%d", worker->number, i);
        worker->failures += add(store, name, id) != 0;
        worker->failures += i % 3 == 0 && user_store_remove(store, id) != 0;
    }
    return NULL;
}

static void *read_users(void *arg)
{
    struct worker *worker = arg;
    weft_arena *mine;
    if (weft_arena_new(&mine, 1 << 20) != 0)
        return NULL;
    for (int i = 0; i < WRITES; i++) {
        struct user *users;
        struct user found;
        size_t count;
        weft_arena_reset(mine);
        worker->failures += user_store_list(store, "", 50, mine, &users, &count) != 0;
        for (size_t k = 1; k < count; k++)
            worker->failures += strcmp(users[k - 1].id, users[k].id) >= 0;
        if (count > 0) {
            int rc = user_store_get(store, users[0].id, mine, &found);
            worker->failures += rc != 0 && rc != -ENOENT; /* a writer may have removed it */
        }
    }
    weft_arena_free(mine);
    return NULL;
}

static void readers_and_writers_run_together(void **state)
{
    (void)state;
    struct worker workers[8];
    for (int i = 0; i < 8; i++) {
        workers[i] = (struct worker){.number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, i % 2 == 0 ? write_users : read_users, &workers[i]),
                         0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].failures, 0);
    }
    assert_int_equal(ask("SELECT count(*) FROM users"), 4 * WRITES * 2 / 3);
    assert_sound();
}

/* The child's life: adds users and tells the id of each one that the store has taken. */
static void add_until_killed(int out)
{
    weft_sqlite_options options = default_options();
    struct user_store *mine;
    char name[32];
    char id[WEFT_UUID_TEXT_BYTES];
    if (user_store_sqlite_open(&mine, &options, error, sizeof error) != 0)
        _exit(1);
    for (int i = 0; i < 1000000; i++) {
        snprintf(name, sizeof name, "user%d", i);
        if (add(mine, name, id) != 0 || write(out, id, sizeof id) != sizeof id)
            _exit(2);
    }
    _exit(3);
}

static void a_killed_process_loses_no_user_it_has_acknowledged(void **state)
{
    (void)state;
    char ids[300][WEFT_UUID_TEXT_BYTES];
    int ends[2];
    int status;
    struct user found;
    weft_sqlite_options options = default_options();
    user_store_destroy(store);
    store = NULL;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0)
        add_until_killed(ends[1]);
    assert_true(child > 0);
    close(ends[1]);
    for (size_t got = 0; got < sizeof ids;) {
        ssize_t n = read(ends[0], (char *)ids + got, sizeof ids - got);
        assert_true(n > 0);
        got += (size_t)n;
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    close(ends[0]);
    assert_int_equal(open_store(&options), 0);
    for (int i = 0; i < 300; i++)
        assert_int_equal(user_store_get(store, ids[i], arena, &found), 0);
    assert_sound();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(a_created_user_is_found_by_id_and_by_address),
        TEST(a_user_without_password_has_no_hash),
        TEST(a_missing_user_is_enoent_and_the_output_untouched),
        TEST(an_address_or_id_that_is_taken_is_eexist),
        TEST(an_update_changes_what_is_set_and_nothing_else),
        TEST(an_update_to_a_taken_address_changes_nothing),
        TEST(an_update_whose_answer_does_not_fit_changes_nothing),
        TEST(a_removed_user_is_gone_and_the_address_free),
        TEST(pages_hold_every_user_once_in_the_order_of_ids),
        TEST(every_change_is_written_down_in_order),
        TEST(what_did_not_happen_is_not_written_down),
        TEST(the_last_10000_changes_are_kept),
        TEST(who_watches_is_told_of_changes_until_the_watch_ends),
        TEST(users_are_added_together_but_for_those_who_are_taken),
        TEST(users_who_do_not_all_fit_are_not_added_at_all),
        TEST(users_outlive_the_program),
        TEST(a_database_of_the_first_version_is_brought_up_to_date),
        TEST(a_new_database_is_for_its_owner_alone),
        TEST(a_newer_schema_is_refused_with_a_clear_text),
        TEST(what_is_no_database_is_refused),
        TEST(several_may_open_a_new_database_at_once),
        TEST(a_locked_database_is_ebusy_and_reads_go_on),
        TEST(a_full_database_is_enospc_and_nothing_is_half_written),
        TEST(a_full_disk_is_enospc_and_nothing_is_half_written),
        TEST(a_read_only_database_is_erofs_and_reads_go_on),
        TEST(readers_and_writers_run_together),
        TEST(a_killed_process_loses_no_user_it_has_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
