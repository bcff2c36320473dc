/* WatchUsers and ImportUsers, called as clients call them, over the memory engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "rig.h"
#include "support/kept_log.h"

typedef user_UserService_WatchUsers_client watcher;
typedef user_UserService_ImportUsers_client importer;

#define CREATED USER__USER_CHANGE__USER_CHANGE_CREATED
#define UPDATED USER__USER_CHANGE__USER_CHANGE_UPDATED
#define DELETED USER__USER_CHANGE__USER_CHANGE_DELETED

/* More users than changes are kept. */
static const char many_sql[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10100)"
                               " INSERT INTO users (id, name, email, email_key)"
                               " SELECT printf('many%032d', i), 'Many', i || '@x.org', i || '@x.org' FROM n";

/* ---- WatchUsers -------------------------------------------------------------------------------------------------- */

static watcher *begin(char *token)
{
    User__WatchUsersRequest request = USER__WATCH_USERS_REQUEST__INIT;
    watcher *stream = NULL;
    request.resume_token = token;
    assert_int_equal(user_UserService_WatchUsers(&stream, rig.channel, NULL, &request), 0);
    return stream;
}

static const User__WatchUsersResponse *next(watcher *stream)
{
    User__WatchUsersResponse *message;
    assert_int_equal(user_UserService_WatchUsers_client_recv(stream, &message), 1);
    return message;
}

/* The watch stands. @param token gets the first one, if not NULL. */
static watcher *watch(char *token)
{
    watcher *stream = begin("");
    const User__WatchUsersResponse *first = next(stream);
    assert_int_equal(first->change, USER__USER_CHANGE__USER_CHANGE_UNSPECIFIED);
    assert_null(first->user);
    assert_true(strlen(first->resume_token) > 0);
    if (token != NULL)
        snprintf(token, WEFT_TOKEN_BYTES, "%s", first->resume_token);
    return stream;
}

static weft_status end(watcher *stream)
{
    return user_UserService_WatchUsers_client_finish(stream, rig.arena);
}

static void leave(watcher *stream)
{
    weft_stream_cancel(WEFT_STREAM(stream));
    assert_int_equal(end(stream).code, WEFT_CANCELLED);
}

static void assert_next(watcher *stream, User__UserChange change, const char *id, const char *name, const char *email)
{
    const User__WatchUsersResponse *message = next(stream);
    assert_int_equal(message->change, change);
    if (id != NULL)
        assert_string_equal(message->user->id, id);
    assert_string_equal(message->user->name, name);
    assert_string_equal(message->user->email, email);
    assert_true(strlen(message->resume_token) > 0);
}

/* Receives what is left, and the status. */
static void assert_ends(watcher *stream, weft_code code)
{
    User__WatchUsersResponse *message;
    while (user_UserService_WatchUsers_client_recv(stream, &message) == 1)
        continue;
    weft_status status = end(stream);
    if (status.code != code)
        fail_msg("%s \"%s\"", weft_code_name(status.code), status.message);
}

static void a_watch_stands_and_tells_what_becomes_of_users(void **state)
{
    (void)state;
    User__UpdateUserRequest request = USER__UPDATE_USER_REQUEST__INIT;
    assert_status(create("Before", "before@example.org", "", NULL), WEFT_OK, "");
    watcher *stream = watch(NULL);
    request.id = create_ada();
    request.name = "Countess";
    assert_status(update(&request, NULL), WEFT_OK, "");
    assert_status(delete_user(request.id), WEFT_OK, "");
    assert_next(stream, CREATED, request.id, "Ada", "Ada@Example.org");
    assert_next(stream, UPDATED, request.id, "Countess", "Ada@Example.org");
    assert_next(stream, DELETED, request.id, "", "");
    leave(stream);
}

static void a_new_password_is_told_and_what_changes_nothing_is_not(void **state)
{
    (void)state;
    User__UpdateUserRequest request = USER__UPDATE_USER_REQUEST__INIT;
    request.id = create_ada();
    watcher *stream = watch(NULL);
    assert_status(update(&request, NULL), WEFT_OK, "");
    request.name = "Ada";
    assert_status(update(&request, NULL), WEFT_OK, "");
    assert_int_equal(create("Other", "ada@example.org", "", NULL).code, WEFT_ALREADY_EXISTS);
    request.password = "difference engine";
    assert_status(update(&request, NULL), WEFT_OK, "");
    assert_status(delete_user(request.id), WEFT_OK, "");
    assert_next(stream, UPDATED, request.id, "Ada", "Ada@Example.org");
    assert_next(stream, DELETED, request.id, "", "");
    leave(stream);
}

static void a_change_by_another_connection_is_told(void **state)
{
    (void)state;
    struct user_store *other = rig_open_store(5000, 0);
    watcher *stream = watch(NULL);
    struct user user = {"0190a000-0000-7000-8000-000000000001", "Eve", "Eve@x.org", "eve@x.org", NULL};
    assert_int_equal(user_store_create(other, &user), 0);
    assert_next(stream, CREATED, user.id, "Eve", "Eve@x.org");
    rig_sql("UPDATE users SET name = 'Adam'");
    assert_next(stream, UPDATED, user.id, "Adam", "Eve@x.org");
    leave(stream);
    user_store_destroy(other);
}

static void a_watch_goes_on_after_its_token_also_after_a_restart(void **state)
{
    (void)state;
    char token[WEFT_TOKEN_BYTES];
    watcher *stream = watch(NULL);
    assert_status(create("One", "1@x.org", "", NULL), WEFT_OK, "");
    assert_status(create("Two", "2@x.org", "", NULL), WEFT_OK, "");
    snprintf(token, sizeof token, "%s", next(stream)->resume_token);
    leave(stream);
    for (int i = 0; i < 2; i++) {
        assert_status(create("More", i == 0 ? "3@x.org" : "4@x.org", "", NULL), WEFT_OK, "");
        stream = begin(token);
        const User__WatchUsersResponse *first = next(stream);
        assert_null(first->user);
        assert_string_equal(first->resume_token, token);
        assert_next(stream, CREATED, NULL, "Two", "2@x.org");
        assert_next(stream, CREATED, NULL, "More", "3@x.org");
        leave(stream);
        if (i == 0) {
            rig_stop();
            rig_start(5000, 0);
        }
    }
}

static void the_first_token_is_one_to_go_on_from(void **state)
{
    (void)state;
    char token[WEFT_TOKEN_BYTES];
    watcher *stream = watch(token);
    leave(stream);
    assert_status(create("One", "1@x.org", "", NULL), WEFT_OK, "");
    stream = begin(token);
    assert_null(next(stream)->user);
    assert_next(stream, CREATED, NULL, "One", "1@x.org");
    leave(stream);
}

static void a_token_that_was_made_up_is_refused(void **state)
{
    (void)state;
    char token[WEFT_TOKEN_BYTES];
    User__ListUsersResponse *page = NULL;
    leave(watch(token));
    token[0] = '7';
    assert_bad_field(end(begin(token)), "resume_token");
    assert_bad_field(end(begin("x")), "resume_token");
    weft_token_format("-1", USER_CHANGES_SCOPE, token);
    assert_bad_field(end(begin(token)), "resume_token");
    weft_token_format("99999999999999999999", USER_CHANGES_SCOPE, token);
    assert_bad_field(end(begin(token)), "resume_token");
    assert_status(create("One", "1@x.org", "", NULL), WEFT_OK, "");
    assert_status(create("Two", "2@x.org", "", NULL), WEFT_OK, "");
    assert_status(list(1, "", &page), WEFT_OK, "");
    assert_bad_field(end(begin(page->next_page_token)), "resume_token");
    leave(watch(token));
    assert_bad_field(list(1, token, NULL), "page_token");
}

static void a_token_whose_changes_are_not_kept_is_out_of_range(void **state)
{
    (void)state;
    char token[WEFT_TOKEN_BYTES];
    leave(watch(token));
    rig_stop();
    rig_sql(many_sql);
    rig_start(5000, 0);
    assert_ends(begin(token), WEFT_OUT_OF_RANGE);
    weft_token_format("100", USER_CHANGES_SCOPE, token);
    watcher *stream = begin(token);
    assert_null(next(stream)->user);
    assert_next(stream, CREATED, "many00000000000000000000000000000101", "Many", "101@x.org");
    leave(stream);
}

static void a_token_of_another_database_is_out_of_range(void **state)
{
    (void)state;
    char token[WEFT_TOKEN_BYTES];
    weft_token_format("1", USER_CHANGES_SCOPE, token);
    assert_ends(begin(token), WEFT_OUT_OF_RANGE);
}

static void a_watch_that_has_missed_changes_ends_and_a_new_one_stands(void **state)
{
    (void)state;
    watcher *stream = watch(NULL);
    rig_sql(many_sql); /* in one transaction: when it is seen, the first hundred have gone */
    assert_ends(stream, WEFT_OUT_OF_RANGE);
    stream = watch(NULL);
    assert_status(create("One", "one@example.org", "", NULL), WEFT_OK, "");
    assert_next(stream, CREATED, NULL, "One", "one@example.org");
    leave(stream);
}

static const struct user_store_vtable *sound;
static atomic_int failures_left;

static int fail_at_first(struct user_store *store, int64_t after, size_t limit, weft_arena *arena,
                         struct user_change **out, size_t *count)
{
    if (atomic_fetch_sub(&failures_left, 1) > 0)
        return -EBUSY;
    return sound->changes(store, after, limit, arena, out, count);
}

static void changes_that_cannot_be_read_at_first_are_told_all_the_same(void **state)
{
    (void)state;
    static struct user_store_vtable faulty;
    watcher *stream = watch(NULL);
    sound = service.store->vtable;
    faulty = *sound;
    faulty.changes = fail_at_first;
    atomic_store(&failures_left, 2);
    service.store->vtable = &faulty;
    assert_status(create("One", "one@example.org", "", NULL), WEFT_OK, "");
    assert_next(stream, CREATED, NULL, "One", "one@example.org");
    assert_true(atomic_load(&failures_left) < 0);
    leave(stream);
}

/* A store whose changes are read as `outcomes` say, one after the other, as soon as somebody watches. */
static const int outcomes[] = {-EBADMSG, -EBADMSG, -EBADMSG, -EIO, 0, -EIO, -EIO};
static size_t looked;

static int position_0(struct user_store *store, int64_t *out)
{
    (void)store;
    *out = 0;
    return 0;
}

static int look(struct user_store *store, int64_t after, size_t limit, weft_arena *arena, struct user_change **out,
                size_t *count)
{
    (void)store, (void)after, (void)limit, (void)arena;
    *out = NULL;
    *count = 0;
    return outcomes[looked++];
}

static int look_often(struct user_store *store, int (*told)(void *arg), void *arg)
{
    (void)store;
    for (looked = 0; looked < sizeof outcomes / sizeof outcomes[0];)
        (void)told(arg);
    return 0;
}

static void look_no_more(struct user_store *store)
{
    (void)store;
}

static void changes_that_cannot_be_read_for_long_fill_no_log(void **state)
{
    (void)state;
    static const struct user_store_vtable vtable = {
        .position = position_0, .changes = look, .watch = look_often, .unwatch = look_no_more};
    struct user_store store = {&vtable};
    struct user_changes *changes = NULL;
    struct kept_log kept;
    kept_log_open(&kept);
    assert_int_equal(user_changes_start(&changes, &store, rig.engine, kept.log), 0);
    user_changes_stop(changes);
    assert_int_equal(kept_log_count(&kept, "cannot read the changes of users"),
                     3); /* -EBADMSG, -EIO, and -EIO after it went well */
}

static void watches_hold_no_worker(void **state)
{
    (void)state;
    watcher *streams[200];
    for (size_t i = 0; i < 200; i++)
        streams[i] = watch(NULL);
    char *id = create_ada();
    for (size_t i = 0; i < 200; i++) {
        assert_next(streams[i], CREATED, id, "Ada", "Ada@Example.org");
        leave(streams[i]);
    }
}

static void a_server_that_stops_ends_its_watches(void **state)
{
    (void)state;
    watcher *stream = watch(NULL);
    assert_int_equal(weft_server_stop(rig.server, -1), 0); /* waits for calls: the watch does not hold it up */
    assert_ends(stream, WEFT_UNAVAILABLE);
}

/* ---- ImportUsers ------------------------------------------------------------------------------------------------- */

static importer *import(void)
{
    importer *stream = NULL;
    assert_int_equal(user_UserService_ImportUsers(&stream, rig.channel, NULL), 0);
    return stream;
}

static int send_user(importer *stream, char *name, char *email, char *password)
{
    User__ImportUsersRequest request = USER__IMPORT_USERS_REQUEST__INIT;
    request.name = name;
    request.email = email;
    request.password = password;
    return user_UserService_ImportUsers_client_send(stream, &request);
}

/* Sends users until the call takes no more: `count` at most. Their addresses begin with `prefix`. */
static void send_users(importer *stream, const char *prefix, int count)
{
    char email[64];
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++) {
        snprintf(email, sizeof email, "%s%d@example.org", prefix, i);
        rc = send_user(stream, "Somebody", email, "");
    }
    assert_true(rc == 0 || rc == -EPIPE);
}

static weft_status finish(importer *stream, User__ImportUsersResponse **response)
{
    User__ImportUsersResponse *unused = NULL;
    return user_UserService_ImportUsers_client_finish(stream, rig.arena, response != NULL ? response : &unused);
}

static size_t count_users(void)
{
    User__ListUsersResponse *page = NULL;
    assert_status(list(1000, "", &page), WEFT_OK, "");
    return page->n_users;
}

static void assert_failure(const User__ImportFailure *failure, int32_t number, const char *code, const char *message)
{
    assert_int_equal(failure->index, number);
    assert_string_equal(failure->code, code);
    assert_string_equal(failure->message, message);
}

static void an_import_tells_who_was_created_and_who_was_not_and_why(void **state)
{
    (void)state;
    static const char taken[] = "email belongs to another user";
    User__ImportUsersResponse *response = NULL;
    create_ada();
    importer *stream = import();
    assert_int_equal(send_user(stream, " Bob ", "bob@example.org", ""), 0);
    assert_int_equal(send_user(stream, "Other", "ADA@example.org", ""), 0);
    assert_int_equal(send_user(stream, "", "x@example.org", ""), 0);
    assert_int_equal(send_user(stream, "Bob", "BOB@example.org", ""), 0);
    assert_int_equal(send_user(stream, "X", "nonsense", ""), 0);
    assert_int_equal(send_user(stream, "X", "x@example.org", "short"), 0);
    assert_int_equal(send_user(stream, "X", "", ""), 0);
    assert_int_equal(send_user(stream, "Eve", "eve@example.org", "difference engine"), 0);
    assert_status(finish(stream, &response), WEFT_OK, "");
    assert_int_equal(response->created, 2);
    assert_int_equal(response->failed, 6);
    assert_int_equal(response->n_failures, 6);
    assert_failure(response->failures[0], 1, "ALREADY_EXISTS", taken);
    assert_failure(response->failures[1], 2, "INVALID_ARGUMENT", "name must not be empty");
    assert_failure(response->failures[2], 3, "ALREADY_EXISTS", taken);
    assert_failure(response->failures[3], 4, "INVALID_ARGUMENT", "email has no '@'");
    assert_failure(response->failures[4], 5, "INVALID_ARGUMENT", "password must not be shorter than 8 bytes");
    assert_failure(response->failures[5], 6, "INVALID_ARGUMENT", "email must not be empty");
    assert_status(authenticate("eve@example.org", "difference engine", NULL), WEFT_OK, "");
    assert_int_equal(count_users(), 3);
}

static void an_import_of_nobody_creates_nobody(void **state)
{
    (void)state;
    User__ImportUsersResponse *response = NULL;
    assert_status(finish(import(), &response), WEFT_OK, "");
    assert_int_equal(response->created, 0);
    assert_int_equal(response->failed, 0);
    assert_int_equal(response->n_failures, 0);
}

static void many_users_are_imported_and_the_first_100_failures_told(void **state)
{
    (void)state;
    User__ImportUsersResponse *response = NULL;
    watcher *stream = watch(NULL);
    char email[32];
    importer *users = import();
    send_users(users, "a", 250);
    send_users(users, "a", 130); /* once more */
    send_users(users, "b", 250);
    assert_status(finish(users, &response), WEFT_OK, "");
    assert_int_equal(response->created, 500);
    assert_int_equal(response->failed, 130);
    assert_int_equal(response->n_failures, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(response->failures[i]->index, 250 + i);
    assert_int_equal(count_users(), 500);
    for (int i = 0; i < 500; i++) {
        snprintf(email, sizeof email, "%c%d@example.org", i < 250 ? 'a' : 'b', i % 250);
        assert_next(stream, CREATED, NULL, "Somebody", email);
    }
    leave(stream);
}

static void what_was_created_stays_when_the_caller_leaves(void **state)
{
    (void)state;
    watcher *seen = watch(NULL);
    importer *stream = import();
    assert_int_equal(send_user(stream, "One", "1@x.org", ""), 0);
    assert_next(seen, CREATED, NULL, "One", "1@x.org"); /* nobody has to wait for the others */
    assert_int_equal(send_user(stream, "Two", "2@x.org", ""), 0);
    assert_int_equal(send_user(stream, "Three", "3@x.org", ""), 0);
    assert_next(seen, CREATED, NULL, "Two", "2@x.org");
    assert_next(seen, CREATED, NULL, "Three", "3@x.org");
    weft_stream_cancel(WEFT_STREAM(stream));
    assert_int_equal(finish(stream, NULL).code, WEFT_CANCELLED);
    leave(seen);
    assert_int_equal(count_users(), 3);
}

static void an_import_has_a_limit_and_what_came_before_stays(void **state)
{
    (void)state;
    importer *stream = import();
    assert_int_equal(send_user(stream, "One", "1@x.org", ""), 0);
    int rc = 0;
    for (int i = 1; i < 100001 && rc == 0; i++)
        rc = send_user(stream, "", "", "");
    assert_int_equal(rc, 0);
    assert_status(finish(stream, NULL), WEFT_RESOURCE_EXHAUSTED,
                  "more than 100000 users in one call: import the others in another");
    assert_int_equal(count_users(), 1);
}

static void a_full_disk_ends_an_import(void **state)
{
    (void)state;
    rig_stop();
    rig_start(5000, 200 << 10);
    importer *stream = import();
    send_users(stream, "user", 5000);
    assert_status(finish(stream, NULL), WEFT_RESOURCE_EXHAUSTED, "the disk is full");
    size_t users = count_users();
    assert_true(users > 0 && users < 5000);
}

static void a_locked_database_ends_an_import(void **state)
{
    (void)state;
    sqlite3 *db;
    rig_stop();
    rig_start(20, 0);
    assert_int_equal(sqlite3_open(rig.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    importer *stream = import();
    assert_int_equal(send_user(stream, "One", "1@x.org", ""), 0);
    for (int i = 0; i < 100000 && send_user(stream, "", "", "") == 0; i++)
        continue; /* it does not wait for the end of the stream */
    assert_status(finish(stream, NULL), WEFT_UNAVAILABLE, "the database is locked; try again");
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(count_users(), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_drop)
    const struct CMUnitTest tests[] = {
        TEST(a_watch_stands_and_tells_what_becomes_of_users),
        TEST(a_new_password_is_told_and_what_changes_nothing_is_not),
        TEST(a_change_by_another_connection_is_told),
        TEST(a_watch_goes_on_after_its_token_also_after_a_restart),
        TEST(the_first_token_is_one_to_go_on_from),
        TEST(a_token_that_was_made_up_is_refused),
        TEST(a_token_whose_changes_are_not_kept_is_out_of_range),
        TEST(a_token_of_another_database_is_out_of_range),
        TEST(a_watch_that_has_missed_changes_ends_and_a_new_one_stands),
        TEST(changes_that_cannot_be_read_at_first_are_told_all_the_same),
        TEST(changes_that_cannot_be_read_for_long_fill_no_log),
        TEST(watches_hold_no_worker),
        TEST(a_server_that_stops_ends_its_watches),
        TEST(an_import_tells_who_was_created_and_who_was_not_and_why),
        TEST(an_import_of_nobody_creates_nobody),
        TEST(many_users_are_imported_and_the_first_100_failures_told),
        TEST(what_was_created_stays_when_the_caller_leaves),
        TEST(an_import_has_a_limit_and_what_came_before_stays),
        TEST(a_full_disk_ends_an_import),
        TEST(a_locked_database_ends_an_import),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
