/* tools/weft/templates.h: a template becomes another project by its words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "templates.h"

static pool p;

static int set_up(void **state)
{
    (void)state;
    pool_init(&p);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pool_fini(&p);
    return 0;
}

static const template_word *words_of(const char *name)
{
    project_name parsed;
    const char *why = NULL;
    assert_true(project_name_parse(&p, name, &parsed, &why));
    return template_words(&p, &parsed);
}

static const char *filled(const template_word *words, const char *from)
{
    text out = text_new(&p);
    template_fill(&out, words, from, strlen(from));
    return out.data;
}

static void every_word_gets_its_form(void **state)
{
    (void)state;
    const template_word *words = words_of("my-greeter_x");
    assert_string_equal(filled(words, "sample Sample SAMPLE sample-service"),
                        "my_greeter_x MyGreeterX MY_GREETER_X my-greeter-x-service");
    assert_string_equal(filled(words, "SAMPLE__HELLO_REQUEST__INIT sample_service.c sample-service-objects"),
                        "MY_GREETER_X__HELLO_REQUEST__INIT my_greeter_x_service.c my-greeter-x-service-objects");
    assert_string_equal(filled(words, ""), "");
    assert_string_equal(filled(words, "sampl"), "sampl");
}

static void what_a_word_became_is_not_searched_again(void **state)
{
    (void)state;
    assert_string_equal(filled(words_of("resample"), "sample.samplesample"), "resample.resampleresample");
}

static void the_first_word_that_fits_counts(void **state)
{
    (void)state;
    static const template_word words[] = {{"ab", "1"}, {"a", "2"}, {"abc", "3"}, {NULL, NULL}};
    assert_string_equal(filled(words, "abc a ab ba"), "1c 2 1 b2");
}

/* Whether a text has "sample" in any case. */
static bool has_sample(const char *s)
{
    for (; *s != '\0'; s++)
        if (strncasecmp(s, "sample", strlen("sample")) == 0)
            return true;
    return false;
}

static void no_word_of_a_template_is_left(void **state)
{
    (void)state;
    const template_word *words = words_of("greeter");
    assert_true(service_template_count > 20);
    assert_true(contract_template_count > 5);
    for (size_t i = 0; i < service_template_count + contract_template_count; i++) {
        const template_file *t =
            i < service_template_count ? &service_template[i] : &contract_template[i - service_template_count];
        assert_int_equal(strlen(t->data), t->size);
        if (has_sample(filled(words, t->path)) || has_sample(filled(words, t->data)))
            fail_msg("%s has a form of the word that nothing replaces", t->path);
    }
}

static const template_file *find(const template_file *files, size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(files[i].path, path) == 0)
            return &files[i];
    fail_msg("no %s", path);
    return NULL;
}

static void a_template_wants_the_weft_that_it_comes_with(void **state)
{
    (void)state;
    char line[64];
    snprintf(line, sizeof line, "find_package(weft %d.%d REQUIRED)", WEFT_VERSION_MAJOR, WEFT_VERSION_MINOR);
    assert_non_null(strstr(find(service_template, service_template_count, "CMakeLists.txt")->data, line));
    assert_non_null(strstr(find(contract_template, contract_template_count, "CMakeLists.txt")->data, line));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_word_gets_its_form),
        TEST(what_a_word_became_is_not_searched_again),
        TEST(the_first_word_that_fits_counts),
        TEST(no_word_of_a_template_is_left),
        TEST(a_template_wants_the_weft_that_it_comes_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
