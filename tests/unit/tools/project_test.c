/* tools/weft/project.h: a small project grows, and what its user wrote decides where. */
#define _XOPEN_SOURCE 700 /* nftw */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "project.h"
#include "support/temp_dir.h"

#define PROTO_TEXT  "syntax = \"proto3\";\npackage a;\nmessage M {}\nservice AService { rpc Get(M) returns (M); }\n"
#define SOURCE_TEXT "#include \"a_service.h\"\n\nstatic const a_AService_ops ops = {\n    .Get = get,\n};\n"
#define MAIN_TEXT   "#include \"a_service.h\"\n\nint main(void)\n{\n    int rc = a_service_register(server);\n}\n"
#define BUILD_TEXT  "add_library(o OBJECT src/a_service.c)\nforeach(test a_service)\nendforeach()\n"

const cli_command *const cli_commands[] = {NULL}; /* which main.c has */

static pool p;
static const char *problem;

static void put(const char *path, const char *content)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Goes into a folder with a project of one service, which is served by src/a_service.c. */
static int make(void **state)
{
    (void)state;
    pool_init(&p);
    problem = NULL;
    if (temp_dir_make() < 0 || chdir(temp_dir) < 0 || mkdir("proto", 0700) < 0 || mkdir("src", 0700) < 0 ||
        mkdir("tests", 0700) < 0)
        return -1;
    put("CMakeLists.txt", BUILD_TEXT);
    put("proto/a.proto", PROTO_TEXT);
    put("src/a_service.c", SOURCE_TEXT);
    put("src/main.c", MAIN_TEXT);
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static int drop(void **state)
{
    (void)state;
    pool_fini(&p);
    return chdir("/") < 0 ? -1 : nftw(temp_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void assert_content(const char *path, const char *content)
{
    text found;
    if (!file_read(&p, path, &found, &problem))
        fail_msg("%s", problem);
    assert_string_equal(found.data, content);
}

static void open_project(project *out)
{
    if (!project_open(&p, out, &problem))
        fail_msg("%s", problem);
}

/* As `weft gen` does. */
static bool add_all(project *pr)
{
    path_list added = {NULL, 0, 0};
    for (size_t i = 0; i < pr->request->n_proto_file; i++) {
        project_service service = {.file = pr->request->proto_file[i]};
        for (; service.index < service.file->n_service; service.index++)
            if (!project_add_handlers(pr, &service, NULL, &added, &problem))
                return false;
    }
    return true;
}

static void gen(void)
{
    project pr;
    open_project(&pr);
    if (!add_all(&pr) || !project_write(&pr, &problem))
        fail_msg("%s", problem);
}

/* ---- Places ------------------------------------------------------------------------------------------------------ */

static void what_stands_in_a_comment_is_no_place(void **state)
{
    (void)state;
    put("CMakeLists.txt", "# src/a_service.c comes first; foreach(test x)\n" BUILD_TEXT);
    put("src/main.c", "/* Mine, with\n#include \"a_service.h\"\n*/\n// #include \"a_service.h\"\n" MAIN_TEXT);
    put("proto/a.proto", PROTO_TEXT "service B { rpc Get(M) returns (M); }\n");
    gen();
    assert_content("CMakeLists.txt", "# src/a_service.c comes first; foreach(test x)\n"
                                     "add_library(o OBJECT src/a_service.c src/b_service.c)\n"
                                     "foreach(test a_service b_service)\nendforeach()\n");
    assert_content("src/main.c", "/* Mine, with\n#include \"a_service.h\"\n*/\n// #include \"a_service.h\"\n"
                                 "#include \"a_service.h\"\n#include \"b_service.h\"\n\nint main(void)\n{\n"
                                 "    int rc = a_service_register(server);\n"
                                 "    if (rc == 0)\n        rc = b_service_register(server);\n}\n");
}

static void a_list_of_tests_with_a_comment_in_it_ends_behind_that(void **state)
{
    (void)state;
    put("CMakeLists.txt", "add(src/a_service.c)\nforeach(test # (all)\n  a_service) # (mine)\n");
    put("proto/a.proto", PROTO_TEXT "service B { rpc Get(M) returns (M); }\n");
    gen();
    assert_content("CMakeLists.txt", "add(src/a_service.c src/b_service.c)\n"
                                     "foreach(test # (all)\n  a_service b_service) # (mine)\n");
}

static void a_build_that_names_the_source_only_in_a_comment_is_told(void **state)
{
    (void)state;
    project pr;
    put("CMakeLists.txt", "file(GLOB all src/*.c) # with src/a_service.c\n");
    put("proto/a.proto", PROTO_TEXT "service B { rpc Get(M) returns (M); }\n");
    open_project(&pr);
    assert_false(add_all(&pr));
    assert_non_null(strstr(problem, "does not name src/a_service.c"));
    close(pr.lock);
}

/* ---- Leftovers --------------------------------------------------------------------------------------------------- */

static void what_lost_its_method_or_is_not_built_is_told(void **state)
{
    (void)state;
    project pr;
    path_list left = {NULL, 0, 0};
    put("proto/a.proto",
        "syntax = \"proto3\";\npackage a;\nmessage M {}\nservice AService { rpc delete(M) returns (M); }\n");
    put("proto/b.proto", "syntax = \"proto3\";\n");
    put("CMakeLists.txt", BUILD_TEXT "weft_generate(PROTOS proto/a.proto) # not proto/b.proto\n");
    open_project(&pr);
    assert_true(add_all(&pr));
    project_list_leftovers(&pr, &left);
    assert_int_equal(left.count, 2);
    assert_string_equal(
        left.items[0],
        "src/a_service.c: take out .Get, its handler and its tests: AService has no such method any more");
    assert_string_equal(left.items[1], "CMakeLists.txt: add proto/b.proto to the PROTOS of weft_generate()");
    assert_true(project_write(&pr, &problem));
}

static void a_build_that_takes_all_contracts_lacks_none(void **state)
{
    (void)state;
    project pr;
    path_list left = {NULL, 0, 0};
    put("CMakeLists.txt", BUILD_TEXT "file(GLOB protos proto/*.proto)\n");
    open_project(&pr);
    project_list_leftovers(&pr, &left);
    assert_int_equal(left.count, 0);
    close(pr.lock);
}

/* ---- Names of files ---------------------------------------------------------------------------------------------- */

static void services_of_one_name_get_files_of_their_own(void **state)
{
    (void)state;
    put("proto/a.proto", PROTO_TEXT "service Admin { rpc Stop(M) returns (M); }\n"
                                    "service AdminService { rpc Get(M) returns (M); }\n");
    put("proto/b.proto", "syntax = \"proto3\";\npackage b;\nmessage M {}\n"
                         "service Admin { rpc Put(M) returns (M); }\n");
    gen();
    static const char *const sources[] = {"src/admin_service.c", "src/admin_service_2.c", "src/admin_service_3.c"};
    static const char *const handlers[] = {".Stop = ", ".Get = ", ".Put = "};
    for (size_t i = 0; i < 3; i++) {
        text content;
        assert_true(file_read(&p, sources[i], &content, &problem));
        assert_non_null(strstr(content.data, handlers[i]));
    }
    assert_true(file_exists("src/admin_service_3.h") && file_exists("tests/admin_service_3_test.c"));
    assert_content("CMakeLists.txt", "add_library(o OBJECT src/a_service.c src/admin_service_3.c src/admin_service_2.c "
                                     "src/admin_service.c)\n"
                                     "foreach(test a_service admin_service admin_service_2 admin_service_3)\n"
                                     "endforeach()\n");
    gen(); /* finds them all */
    assert_false(file_exists("src/admin_service_4.c"));
}

static void a_file_that_is_there_is_not_the_new_service_s(void **state)
{
    (void)state;
    put("src/b_service.h", "mine\n");
    put("src/b_service_2.c", "/* mine */\n");
    put("tests/b_service_3_test.c", "mine\n");
    put("proto/a.proto", PROTO_TEXT "service B { rpc Get(M) returns (M); }\n");
    gen();
    assert_content("src/b_service.h", "mine\n");
    assert_content("src/b_service_2.c", "/* mine */\n");
    assert_content("tests/b_service_3_test.c", "mine\n");
    assert_true(file_exists("src/b_service_4.h") && file_exists("src/b_service_4.c"));
    assert_true(file_exists("tests/b_service_4_test.c"));
}

/* ---- At the same time -------------------------------------------------------------------------------------------- */

/* As `weft add method` does, in a child. */
static void add_in_child(const char *name)
{
    project pr;
    project_service service;
    path_list added = {NULL, 0, 0};
    const proto_new_method method = {.name = name, .request = "M", .response = "M"};
    bool done = project_open(&p, &pr, &problem) && project_find_service(&pr, NULL, &service, &problem) &&
                project_add_method(&pr, &service, &method, &problem) &&
                project_add_handlers(&pr, &service, name, &added, &problem) && project_write(&pr, &problem);
    if (!done)
        fprintf(stderr, "%s\n", problem);
    _exit(done ? 0 : 1);
}

static void many_that_add_at_once_lose_nothing(void **state)
{
    (void)state;
    enum {
        COUNT = 6
    };
    pid_t children[COUNT];
    for (int i = 0; i < COUNT; i++) {
        const char *name = pool_printf(&p, "Method%d", i);
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0)
            add_in_child(name);
    }
    bool all = true;
    for (int i = 0; i < COUNT; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        all = all && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    assert_true(all);
    text contract, source;
    assert_true(file_read(&p, "proto/a.proto", &contract, &problem));
    assert_true(file_read(&p, "src/a_service.c", &source, &problem));
    for (int i = 0; i < COUNT; i++) {
        assert_non_null(strstr(contract.data, pool_printf(&p, "rpc Method%d(", i)));
        assert_non_null(strstr(source.data, pool_printf(&p, ".Method%d = ", i)));
    }
}

static bool is_locked(void)
{
    int fd = open(".", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    bool locked = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    close(fd);
    return locked;
}

static void a_project_is_locked_until_it_is_written(void **state)
{
    (void)state;
    project pr;
    open_project(&pr);
    assert_true(is_locked());
    assert_true(project_write(&pr, &problem));
    assert_false(is_locked());
    put("proto/a.proto", "no contract");
    assert_false(project_open(&p, &pr, &problem));
    assert_false(is_locked());
}

/* An editor, which knows no lock, writes what was read: what is to be changed, or only looked at. */
static void what_an_editor_changed_meanwhile_stays(void **state)
{
    (void)state;
    static const char *const paths[] = {"CMakeLists.txt", "src/main.c", "src/a_service.c", "proto/a.proto"};
    put("proto/a.proto", PROTO_TEXT "service B { rpc Get(M) returns (M); }\n");
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        project pr;
        text before;
        open_project(&pr);
        assert_true(add_all(&pr));
        assert_true(file_read(&p, paths[i], &before, &problem));
        put(paths[i], "hers");
        assert_false(project_write(&pr, &problem));
        assert_string_equal(problem,
                            pool_printf(&p, "%s was changed meanwhile; nothing was changed here: try again", paths[i]));
        assert_content(paths[i], "hers");
        assert_false(file_exists("src/b_service.c"));
        assert_false(is_locked());
        put(paths[i], before.data);
    }
    gen();
    assert_true(file_exists("src/b_service.c"));
}

/* ---- Names of contracts ------------------------------------------------------------------------------------------ */

static void assert_named(path_list *folders, const char *path, const char *wanted)
{
    const char *name;
    if (!contract_name(&p, folders, path, &name, &problem))
        fail_msg("%s", problem);
    assert_string_equal(name, wanted);
}

static void a_contract_that_another_one_hides_is_told(void **state)
{
    (void)state;
    path_list folders = {NULL, 0, 0};
    path_list common = {NULL, 0, 0};
    const char *name = NULL;
    assert_int_equal(mkdir("v1", 0700), 0);
    assert_int_equal(mkdir("v2", 0700), 0);
    put("v1/a.proto", "");
    put("v1/b.proto", "");
    put("v2/b.proto", "");
    put("v2/c.proto", "");
    assert_named(&folders, "v1/a.proto", "a.proto");
    assert_named(&folders, "v2/c.proto", "c.proto");
    assert_named(&folders, "v1/b.proto", "b.proto");
    assert_false(contract_name(&p, &folders, "v2/b.proto", &name, &problem));
    assert_string_equal(problem, "v2/b.proto is hidden by v1/b.proto; name a common folder by --import-dir");
    assert_false(contract_name(&p, &folders, "v2/a.proto", &name, &problem)); /* not v1/a.proto instead */
    assert_non_null(strstr(problem, "v2/a.proto: No such file"));
    assert_null(name);
    path_list_add(&p, &common, ".");
    assert_named(&common, "v1/b.proto", "v1/b.proto");
    assert_named(&common, "./v2/b.proto", "v2/b.proto");
    path_list_add(&p, &common, "v1");
    path_list_add(&p, &common, "v2/");
    assert_named(&folders, "v2//c.proto", "c.proto");
    assert_int_equal(mkfifo("v2/pipe.proto", 0600), 0);
    assert_false(contract_name(&p, &common, "v2/pipe.proto", &name, &problem));
    assert_string_equal(problem, "v2/pipe.proto is no regular file: name the .proto itself");
    assert_null(name);
    assert_int_equal(symlink("../v1/a.proto", "v2/link.proto"), 0);
    assert_named(&common, "v2/link.proto", "v2/link.proto");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(what_stands_in_a_comment_is_no_place),
        TEST(a_list_of_tests_with_a_comment_in_it_ends_behind_that),
        TEST(a_build_that_names_the_source_only_in_a_comment_is_told),
        TEST(what_lost_its_method_or_is_not_built_is_told),
        TEST(a_build_that_takes_all_contracts_lacks_none),
        TEST(services_of_one_name_get_files_of_their_own),
        TEST(a_file_that_is_there_is_not_the_new_service_s),
        TEST(many_that_add_at_once_lose_nothing),
        TEST(a_project_is_locked_until_it_is_written),
        TEST(what_an_editor_changed_meanwhile_stays),
        TEST(a_contract_that_another_one_hides_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
