/* The handlers, called as clients call them, over the memory engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdbool.h>

#include "rig.h"

static weft_status get(char *id, User__GetUserResponse **response)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *unused = NULL;
    request.id = id;
    return user_UserService_GetUser(rig.channel, rig.arena, NULL, &request, response != NULL ? response : &unused);
}

/* ---- CreateUser, GetUser ----------------------------------------------------------------------------------------- */

static void a_user_is_created_and_fetched(void **state)
{
    (void)state;
    User__CreateUserResponse *created = NULL;
    User__GetUserResponse *fetched = NULL;
    uint8_t id[WEFT_UUID_BYTES];
    assert_status(create("  Ada Lovelace ", "Ada@Example.org", "", &created), WEFT_OK, "");
    assert_true(weft_uuid_parse(created->id, id));
    assert_int_equal(id[6] >> 4, 7);
    assert_string_equal(created->name, "Ada Lovelace");
    assert_string_equal(created->email, "Ada@Example.org");
    assert_status(get(created->id, &fetched), WEFT_OK, "");
    assert_string_equal(fetched->user->id, created->id);
    assert_string_equal(fetched->user->name, "Ada Lovelace");
    assert_string_equal(fetched->user->email, "Ada@Example.org");
}

static void an_id_may_be_written_in_upper_case(void **state)
{
    (void)state;
    User__GetUserResponse *fetched = NULL;
    char *id = create_ada();
    char upper[WEFT_UUID_TEXT_BYTES];
    for (int i = 0; i < WEFT_UUID_TEXT_BYTES; i++)
        upper[i] = id[i] >= 'a' && id[i] <= 'f' ? (char)(id[i] - 'a' + 'A') : id[i];
    assert_status(get(upper, &fetched), WEFT_OK, "");
    assert_string_equal(fetched->user->id, id);
}

static void a_user_who_does_not_exist_is_not_found(void **state)
{
    (void)state;
    assert_status(get("0190a000-0000-7000-8000-000000000001", NULL), WEFT_NOT_FOUND,
                  "user 0190a000-0000-7000-8000-000000000001 does not exist");
    assert_status(get("no-uuid", NULL), WEFT_NOT_FOUND, "user no-uuid does not exist");
    assert_status(get("", NULL), WEFT_NOT_FOUND, "user  does not exist");
}

static void a_bad_field_is_named(void **state)
{
    (void)state;
    assert_status(create("", "ada@example.org", "", NULL), WEFT_INVALID_ARGUMENT, "name must not be empty");
    assert_status(create(" \t", "ada@example.org", "", NULL), WEFT_INVALID_ARGUMENT, "name must not be empty");
    assert_status(create("Ada", "", "", NULL), WEFT_INVALID_ARGUMENT, "email must not be empty");
    assert_status(create("Ada", "nonsense", "", NULL), WEFT_INVALID_ARGUMENT, "email has no '@'");
    assert_status(create("Ada", "ada@", "", NULL), WEFT_INVALID_ARGUMENT, "email has no valid domain after the '@'");
    assert_status(create("Ada", "ada@example.org", "short", NULL), WEFT_INVALID_ARGUMENT,
                  "password must not be shorter than 8 bytes");
}

static void failures_say_what_they_are_to_programs_too(void **state)
{
    (void)state;
    static char id[] = "0190a000-0000-7000-8000-000000000001";
    char long_id[9000];
    ProtobufCMessage *none = NULL;
    assert_bad_field(create("", "ada@example.org", "", NULL), "name");
    assert_bad_field(create("Ada", "nonsense", "", NULL), "email");
    assert_bad_field(create("Ada", "ada@example.org", "short", NULL), "password");
    weft_status status = get(id, NULL);
    const Google__Rpc__ResourceInfo *resource =
        (Google__Rpc__ResourceInfo *)detail(&status, &google__rpc__resource_info__descriptor);
    assert_string_equal(resource->resource_type, "user");
    assert_string_equal(resource->resource_name, id);
    create_ada();
    status = create("Ada", "ada@example.org", "", NULL);
    const Google__Rpc__ErrorInfo *info =
        (Google__Rpc__ErrorInfo *)detail(&status, &google__rpc__error_info__descriptor);
    assert_string_equal(info->reason, "EMAIL_TAKEN");
    assert_string_equal(info->domain, "user.UserService");
    memset(long_id, 'x', sizeof long_id - 1); /* a peer might not take as much in metadata */
    long_id[sizeof long_id - 1] = '\0';
    status = get(long_id, NULL);
    assert_int_equal(status.code, WEFT_NOT_FOUND);
    assert_int_equal(weft_status_detail(&status, &google__rpc__resource_info__descriptor, rig.arena, &none), -ENOENT);
}

static void a_second_user_with_the_address_is_refused_whatever_its_case(void **state)
{
    (void)state;
    create_ada();
    assert_status(create("Other", "aDA@eXAMPLE.oRG", "", NULL), WEFT_ALREADY_EXISTS, "email belongs to another user");
}

/* ---- Authenticate ------------------------------------------------------------------------------------------------ */

static void the_right_password_gives_the_user(void **state)
{
    (void)state;
    User__AuthenticateResponse *response = NULL;
    char *id = create_ada();
    assert_status(authenticate("ada@example.ORG", "analytical engine", &response), WEFT_OK, "");
    assert_string_equal(response->user->id, id);
    assert_string_equal(response->user->email, "Ada@Example.org");
}

static void what_does_not_belong_together_gets_one_answer(void **state)
{
    (void)state;
    static const char answer[] = "email and password do not belong together";
    create_ada();
    assert_status(create("Old client", "old@example.org", "", NULL), WEFT_OK, "");
    assert_status(authenticate("ada@example.org", "difference engine", NULL), WEFT_UNAUTHENTICATED, answer);
    assert_status(authenticate("nobody@example.org", "analytical engine", NULL), WEFT_UNAUTHENTICATED, answer);
    assert_status(authenticate("old@example.org", "", NULL), WEFT_UNAUTHENTICATED, answer);
    assert_status(authenticate("", "", NULL), WEFT_UNAUTHENTICATED, answer);
    assert_status(authenticate("ada@example.org", "", NULL), WEFT_UNAUTHENTICATED, answer);
}

static void no_password_is_stored_as_it_is(void **state)
{
    (void)state;
    sqlite3 *db;
    sqlite3_stmt *statement;
    create_ada();
    assert_int_equal(sqlite3_open(rig.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT password_hash FROM users", -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(strncmp((const char *)sqlite3_column_text(statement, 0), "$argon2id$", 10), 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

/* ---- UpdateUser, DeleteUser -------------------------------------------------------------------------------------- */

static void an_update_changes_the_fields_that_are_set(void **state)
{
    (void)state;
    User__UpdateUserRequest request = USER__UPDATE_USER_REQUEST__INIT;
    User__UpdateUserResponse *response = NULL;
    request.id = create_ada();
    request.name = "Countess";
    request.password = "difference engine";
    assert_status(update(&request, &response), WEFT_OK, "");
    assert_string_equal(response->user->id, request.id);
    assert_string_equal(response->user->name, "Countess");
    assert_string_equal(response->user->email, "Ada@Example.org");
    assert_status(authenticate("ada@example.org", "difference engine", NULL), WEFT_OK, "");
    assert_status(authenticate("ada@example.org", "analytical engine", NULL), WEFT_UNAUTHENTICATED,
                  "email and password do not belong together");
}

static void an_update_is_checked_like_a_new_user(void **state)
{
    (void)state;
    User__UpdateUserRequest request = USER__UPDATE_USER_REQUEST__INIT;
    request.id = create_ada();
    request.email = "nonsense";
    assert_status(update(&request, NULL), WEFT_INVALID_ARGUMENT, "email has no '@'");
    assert_status(create("Bob", "bob@example.org", "", NULL), WEFT_OK, "");
    request.email = "BOB@example.org";
    assert_status(update(&request, NULL), WEFT_ALREADY_EXISTS, "email belongs to another user");
    request.id = "0190a000-0000-7000-8000-000000000001";
    request.email = "new@example.org";
    assert_status(update(&request, NULL), WEFT_NOT_FOUND, "user 0190a000-0000-7000-8000-000000000001 does not exist");
    request.id = "x";
    assert_status(update(&request, NULL), WEFT_NOT_FOUND, "user x does not exist");
}

static void an_address_may_change_its_own_letter_case(void **state)
{
    (void)state;
    User__UpdateUserRequest request = USER__UPDATE_USER_REQUEST__INIT;
    User__UpdateUserResponse *response = NULL;
    request.id = create_ada();
    request.email = "ADA@EXAMPLE.ORG";
    assert_status(update(&request, &response), WEFT_OK, "");
    assert_string_equal(response->user->email, "ADA@EXAMPLE.ORG");
}

static void a_deleted_user_is_gone(void **state)
{
    (void)state;
    char *id = create_ada();
    assert_status(delete_user(id), WEFT_OK, "");
    assert_int_equal(delete_user(id).code, WEFT_NOT_FOUND);
    assert_int_equal(get(id, NULL).code, WEFT_NOT_FOUND);
    assert_status(delete_user("x"), WEFT_NOT_FOUND, "user x does not exist");
}

/* ---- ListUsers --------------------------------------------------------------------------------------------------- */

static void pages_hold_every_user_once(void **state)
{
    (void)state;
    char *ids[60];
    char email[32];
    User__CreateUserResponse *created = NULL;
    User__ListUsersResponse *page = NULL;
    size_t seen = 0;
    char *token = "";
    assert_status(list(10, "", &page), WEFT_OK, "");
    assert_int_equal(page->n_users, 0);
    assert_string_equal(page->next_page_token, "");
    for (int i = 0; i < 60; i++) {
        snprintf(email, sizeof email, "user%d@example.org", i);
        assert_status(create("Somebody", email, "", &created), WEFT_OK, "");
        ids[i] = created->id;
    }
    do {
        assert_status(list(25, token, &page), WEFT_OK, "");
        assert_int_equal(page->n_users, seen < 50 ? 25 : 10);
        for (size_t i = 0; i < page->n_users; i++, seen++)
            assert_string_equal(page->users[i]->id, ids[seen]);
        token = page->next_page_token;
    } while (token[0] != '\0' && seen < 60);
    assert_int_equal(seen, 60);
    assert_string_equal(token, "");
    assert_status(list(0, "", &page), WEFT_OK, "");
    assert_int_equal(page->n_users, 50);
    assert_status(list(INT32_MAX, "", &page), WEFT_OK, "");
    assert_int_equal(page->n_users, 60);
    assert_string_equal(page->next_page_token, "");
    assert_status(list(60, "", &page), WEFT_OK, "");
    assert_string_equal(page->next_page_token, "");
}

static void a_page_token_that_was_made_up_is_refused(void **state)
{
    (void)state;
    static const char answer[] = "page_token does not come from an earlier answer";
    User__ListUsersResponse *page = NULL;
    create_ada();
    assert_status(create("Bob", "bob@example.org", "", NULL), WEFT_OK, "");
    assert_status(list(1, "", &page), WEFT_OK, "");
    char *token = page->next_page_token;
    assert_status(list(1, "x", NULL), WEFT_INVALID_ARGUMENT, answer);
    token[0] ^= 1;
    assert_status(list(1, token, NULL), WEFT_INVALID_ARGUMENT, answer);
    token[0] ^= 1;
    assert_status(list(1, token, &page), WEFT_OK, "");
    assert_string_equal(page->users[0]->name, "Bob");
    token[strlen(token) - 1] = '\0';
    assert_status(list(1, token, NULL), WEFT_INVALID_ARGUMENT, answer);
    assert_status(list(-1, "", NULL), WEFT_INVALID_ARGUMENT, "page_size must not be negative");
}

/* ---- Trouble with the disk --------------------------------------------------------------------------------------- */

static void a_full_disk_is_resource_exhausted(void **state)
{
    (void)state;
    char email[32];
    weft_status status = {.code = WEFT_OK};
    rig_stop();
    rig_start(5000, 64 << 10);
    for (int i = 0; i < 5000 && status.code == WEFT_OK; i++) {
        snprintf(email, sizeof email, "user%d@example.org", i);
        status = create("Somebody", email, "", NULL);
    }
    assert_status(status, WEFT_RESOURCE_EXHAUSTED, "the disk is full");
    assert_status(list(1, "", NULL), WEFT_OK, "");
}

static void a_locked_database_is_unavailable(void **state)
{
    (void)state;
    sqlite3 *db;
    rig_stop();
    rig_start(20, 0);
    assert_int_equal(sqlite3_open(rig.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_status(create("Ada", "ada@example.org", "", NULL), WEFT_UNAVAILABLE, "the database is locked; try again");
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_status(create("Ada", "ada@example.org", "", NULL), WEFT_OK, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_drop)
    const struct CMUnitTest tests[] = {
        TEST(a_user_is_created_and_fetched),
        TEST(an_id_may_be_written_in_upper_case),
        TEST(a_user_who_does_not_exist_is_not_found),
        TEST(a_bad_field_is_named),
        TEST(failures_say_what_they_are_to_programs_too),
        TEST(a_second_user_with_the_address_is_refused_whatever_its_case),
        TEST(the_right_password_gives_the_user),
        TEST(what_does_not_belong_together_gets_one_answer),
        TEST(no_password_is_stored_as_it_is),
        TEST(an_update_changes_the_fields_that_are_set),
        TEST(an_update_is_checked_like_a_new_user),
        TEST(an_address_may_change_its_own_letter_case),
        TEST(a_deleted_user_is_gone),
        TEST(pages_hold_every_user_once),
        TEST(a_page_token_that_was_made_up_is_refused),
        TEST(a_full_disk_is_resource_exhausted),
        TEST(a_locked_database_is_unavailable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
