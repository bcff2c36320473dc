/* The handlers, called as clients call them, over the memory engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include <weft/testing.h>
#include <weft/weft.h>

#include "sample.weft.h"
#include "sample_service.h"
#include "sample_store_sqlite.h"
#include "temp_dir.h"

static struct sample_service service;
static weft_engine *engine;
static weft_server *server;
static weft_channel *channel;
static weft_arena *arena; /* of the client */

static void serve(struct sample_store *store)
{
    service = (struct sample_service){.store = store, .greeting = "Hello"};
    assert_int_equal(weft_memory_engine_new(&engine, NULL), 0);
    assert_int_equal(weft_server_new(&server, engine, NULL), 0);
    assert_int_equal(sample_service_register(server, &service), 0);
    assert_int_equal(weft_server_listen(server, "sample:1"), 0);
    assert_int_equal(weft_server_start(server), 0);
    assert_int_equal(weft_channel_new(&channel, engine, "sample:1", NULL), 0);
}

static void stop(void)
{
    weft_channel_free(channel);
    weft_server_free(server);
    assert_int_equal(weft_engine_free(engine), 0);
    sample_store_destroy(service.store);
}

static int make(void **state)
{
    (void)state;
    char path[TEMP_PATH_BYTES];
    char error[256];
    struct sample_store *store;
    if (temp_dir_make() != 0 || weft_arena_new(&arena, 0) != 0)
        return -1;
    weft_sqlite_options options = WEFT_SQLITE_OPTIONS_INIT;
    options.path = temp_path("sample.db", path);
    if (sample_store_sqlite_open(&store, &options, error, sizeof error) != 0)
        return -1;
    serve(store);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    stop();
    weft_arena_free(arena);
    temp_dir_remove();
    return 0;
}

static weft_status hello(char *name, Sample__HelloResponse **response)
{
    Sample__HelloRequest request = SAMPLE__HELLO_REQUEST__INIT;
    request.name = name;
    return sample_SampleService_Hello(channel, arena, NULL, &request, response);
}

static void assert_status(weft_status status, weft_code code, const char *message)
{
    if (status.code != code)
        fail_msg("%s: %s", weft_code_name(status.code), status.message);
    assert_string_equal(status.message, message);
}

static void whoever_is_greeted_learns_how_often(void **state)
{
    (void)state;
    Sample__HelloResponse *response = NULL;
    assert_status(hello(" Ada ", &response), WEFT_OK, "");
    assert_string_equal(response->text, "Hello, Ada!");
    assert_int_equal(response->count, 1);
    assert_status(hello("Ada", &response), WEFT_OK, "");
    assert_int_equal(response->count, 2);
}

static void a_bad_name_is_refused_and_not_counted(void **state)
{
    (void)state;
    Sample__HelloResponse *response = NULL;
    assert_status(hello("", &response), WEFT_INVALID_ARGUMENT, "name must not be empty");
    assert_status(hello("a\nb", &response), WEFT_INVALID_ARGUMENT, "name must not contain control characters");
    assert_null(response);
}

/* A store that fails as it is told. */
static int failure;

static int count_fails(struct sample_store *store, const char *name, int64_t *count)
{
    (void)store;
    (void)name;
    (void)count;
    return failure;
}

static void destroy_nothing(struct sample_store *store)
{
    (void)store;
}

static void what_the_store_cannot_do_has_a_status(void **state)
{
    (void)state;
    static const struct sample_store_vtable vtable = {
        .name = "failing", .count = count_fails, .destroy = destroy_nothing};
    static struct sample_store failing = {.vtable = &vtable};
    static const struct {
        int failure;
        weft_code code;
    } cases[] = {{-ENOSPC, WEFT_RESOURCE_EXHAUSTED},
                 {-EBUSY, WEFT_UNAVAILABLE},
                 {-EROFS, WEFT_UNAVAILABLE},
                 {-EIO, WEFT_INTERNAL}};
    stop();
    serve(&failing);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Sample__HelloResponse *response = NULL;
        failure = cases[i].failure;
        assert_int_equal(hello("Ada", &response).code, cases[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whoever_is_greeted_learns_how_often, make, drop),
        cmocka_unit_test_setup_teardown(a_bad_name_is_refused_and_not_counted, make, drop),
        cmocka_unit_test_setup_teardown(what_the_store_cannot_do_has_a_status, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
