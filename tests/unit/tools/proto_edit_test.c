/* tools/weft/proto_edit.h and contract.h: protoc says where a service ends, and what is added there parses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>

#include "contract.h"
#include "proto_edit.h"
#include "stub.h"
#include "support/temp_dir.h"

static pool p;
static const char *problem;

static int make(void **state)
{
    (void)state;
    pool_init(&p);
    problem = NULL;
    return temp_dir_make();
}

static int drop(void **state)
{
    (void)state;
    pool_fini(&p);
    temp_dir_remove();
    return 0;
}

static bool read_text(const text *content, proto_request **out)
{
    char path[TEMP_PATH_BYTES];
    path_list folders = {NULL, 0, 0};
    path_list names = {NULL, 0, 0};
    FILE *file = fopen(temp_path("x.proto", path), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(content->data, 1, content->size, file), content->size);
    assert_int_equal(fclose(file), 0);
    path_list_add(&p, &folders, temp_dir);
    path_list_add(&p, &names, "x.proto");
    return contract_read(&p, &folders, &names, out, &problem);
}

static text text_of(const char *s)
{
    text t = text_new(&p);
    text_add(&t, s);
    return t;
}

static const proto_new_method watch = {.name = "Watch", .request = "M", .response = "M", .stream_response = true};

/* Adds Watch to the `service`-th service of a text. */
static void assert_added(const char *before, size_t service, const char *after)
{
    text content = text_of(before);
    text changed = text_new(&p);
    proto_request *request;
    if (!read_text(&content, &request))
        fail_msg("%s", problem);
    const proto_file *file = proto_find_file(request, "x.proto");
    assert_true(proto_add_method(&changed, &content, file, service, &watch));
    assert_string_equal(changed.data, after);
    if (!read_text(&changed, &request))
        fail_msg("%s", problem);
    const proto_service *s = proto_find_file(request, "x.proto")->service[service];
    assert_string_equal(s->method[s->n_method - 1]->name, "Watch");
}

#define HEAD "syntax = \"proto3\";\nmessage M {}\n"

static void a_method_goes_to_the_end_of_its_service(void **state)
{
    (void)state;
    assert_added(HEAD "service S {\n  // Gets }.\n  rpc Get(M) returns (M); // }\n}\n// end\n", 0,
                 HEAD "service S {\n  // Gets }.\n  rpc Get(M) returns (M); // }\n\n"
                      "  rpc Watch(M) returns (stream M);\n}\n// end\n");
    assert_added(HEAD "service S {\n}\n", 0, HEAD "service S {\n  rpc Watch(M) returns (stream M);\n}\n");
    assert_added(HEAD "service S {}\n", 0, HEAD "service S {\n  rpc Watch(M) returns (stream M);\n}\n");
    assert_added(HEAD "service S { rpc Get(M) returns (M) {} }", 0,
                 HEAD "service S { rpc Get(M) returns (M) {} \n  rpc Watch(M) returns (stream M);\n}");
}

static void the_other_services_stay_as_they_are(void **state)
{
    (void)state;
    assert_added(HEAD "service A { rpc Get(M) returns (M); }\nservice B {\n}\nservice C {}\n", 1,
                 HEAD "service A { rpc Get(M) returns (M); }\nservice B {\n  rpc Watch(M) returns (stream M);\n}\n"
                      "service C {}\n");
}

/* protoc counts a tab as the way to the next multiple of eight, and a letter beyond ASCII as its bytes. */
static void tabs_and_letters_before_the_end_do_not_mislead(void **state)
{
    (void)state;
    assert_added(HEAD "service S {\n\trpc Get(M) returns (M);\n /* \xc3\xbc\t*/\t \t}\n", 0,
                 HEAD "service S {\n\trpc Get(M) returns (M);\n /* \xc3\xbc\t*/\t \t\n"
                      "\trpc Watch(M) returns (stream M);\n}\n");
    assert_added(HEAD "service S {\n\trpc Get(M) returns (M);\n\t}\n", 0,
                 HEAD "service S {\n\trpc Get(M) returns (M);\n\n\trpc Watch(M) returns (stream M);\n\t}\n");
}

static void line_ends_stay_what_they_are(void **state)
{
    (void)state;
    assert_added("syntax = \"proto3\";\r\nmessage M {}\r\nservice S {\r\n  rpc Get(M) returns (M);\r\n}\r\n", 0,
                 "syntax = \"proto3\";\r\nmessage M {}\r\nservice S {\r\n  rpc Get(M) returns (M);\r\n\r\n"
                 "  rpc Watch(M) returns (stream M);\r\n}\r\n");
}

static void a_text_that_is_not_what_protoc_saw_is_not_changed(void **state)
{
    (void)state;
    text seen = text_of(HEAD "service S {\n}\n");
    static const char *const others[] = {"", HEAD, HEAD "service S { \n \n}\n", HEAD "/* a longer line */\n\n}\n"};
    proto_request *request;
    assert_true(read_text(&seen, &request));
    const proto_file *file = proto_find_file(request, "x.proto");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        text other = text_of(others[i]);
        text changed = text_new(&p);
        assert_false(proto_add_method(&changed, &other, file, 0, &watch));
    }
}

static void messages_and_services_go_to_the_end_of_the_file(void **state)
{
    (void)state;
    text content = text_of("syntax = \"proto3\";");
    proto_request *request;
    proto_add_message(&content, "M");
    proto_add_service(&content, "S", &watch);
    assert_string_equal(content.data, "syntax = \"proto3\";\n\nmessage M {}\n\nservice S {\n"
                                      "  rpc Watch(M) returns (stream M);\n}\n");
    assert_true(read_text(&content, &request));
}

static void what_protoc_or_the_plugin_refuses_is_told(void **state)
{
    (void)state;
    proto_request *request;
    text wrong = text_of("syntax = \"proto3\";\nmessage M {\n");
    assert_false(read_text(&wrong, &request));
    assert_non_null(strstr(problem, "x.proto:3:1"));
    text clash = text_of("syntax = \"proto3\";\npackage weft;\nmessage M {}\n");
    assert_false(read_text(&clash, &request));
    assert_non_null(strstr(problem, "x.proto:2:1"));
}

static void identifiers_are_those_of_proto(void **state)
{
    (void)state;
    static const char *const good[] = {"Get", "get_2", "G"};
    static const char *const bad[] = {"", "2", "_a", "a-b", "a.b", "a b", "\xc3\xbc", "a;"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(proto_is_identifier(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(proto_is_identifier(bad[i]));
}

static void a_handler_has_a_name_that_is_free(void **state)
{
    (void)state;
    static const char used[] = "static int get_user; int handle_read; int handle_read_2;";
    static const char *const cases[][2] = {
        {"GetOrder", "get_order"},
        {"GetUser", "get_user_2"},
        {"Read", "handle_read_3"},
        {"delete", "handle_delete"},
        {"Time", "handle_time"},
        {"PthreadSelf", "handle_pthread_self"},
        {"WeftVersion", "handle_weft_version"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(stub_function(&p, cases[i][0], used, strlen(used)), cases[i][1]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(a_method_goes_to_the_end_of_its_service),
        TEST(the_other_services_stay_as_they_are),
        TEST(tabs_and_letters_before_the_end_do_not_mislead),
        TEST(line_ends_stay_what_they_are),
        TEST(a_text_that_is_not_what_protoc_saw_is_not_changed),
        TEST(messages_and_services_go_to_the_end_of_the_file),
        TEST(what_protoc_or_the_plugin_refuses_is_told),
        TEST(identifiers_are_those_of_proto),
        TEST(a_handler_has_a_name_that_is_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
