#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "token.h"

static void a_token_holds_its_text(void **state)
{
    (void)state;
    static const char *const texts[] = {"0", "0190a000-0000-7000-8000-000000000001", "a.b", ""};
    char token[TOKEN_BYTES];
    char text[TOKEN_TEXT_BYTES];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        token_format(texts[i], token);
        assert_true(token_parse(token, text));
        assert_string_equal(text, texts[i]);
    }
}

static void a_token_that_was_changed_or_cut_is_none(void **state)
{
    (void)state;
    char token[TOKEN_BYTES];
    char text[TOKEN_TEXT_BYTES];
    char longer[2 * TOKEN_BYTES];
    token_format("17", token);
    size_t len = strlen(token);
    for (size_t i = 0; i < len; i++) {
        token[i] ^= 1;
        assert_false(token_parse(token, text));
        token[i] ^= 1;
    }
    while (len-- > 0) {
        token[len] = '\0';
        assert_false(token_parse(token, text));
    }
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_false(token_parse(longer, text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_holds_its_text),
        cmocka_unit_test(a_token_that_was_changed_or_cut_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
