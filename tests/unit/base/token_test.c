#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include <weft/token.h>

static void a_token_holds_its_text(void **state)
{
    (void)state;
    static const char *const texts[] = {"0", "0190a000-0000-7000-8000-000000000001", "a.b", ""};
    char token[WEFT_TOKEN_BYTES];
    char text[WEFT_TOKEN_TEXT_BYTES];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        weft_token_format(texts[i], "scope", token);
        assert_true(weft_token_parse(token, "scope", text));
        assert_string_equal(text, texts[i]);
    }
}

static void a_token_of_another_scope_is_none(void **state)
{
    (void)state;
    char token[WEFT_TOKEN_BYTES];
    char text[WEFT_TOKEN_TEXT_BYTES];
    weft_token_format("17", "users", token);
    assert_true(weft_token_parse(token, "users", text));
    assert_false(weft_token_parse(token, "orders", text));
    assert_false(weft_token_parse(token, "", text));
    weft_token_format("1", "7users", token); /* the texts are kept apart */
    char other[WEFT_TOKEN_BYTES];
    weft_token_format("17", "users", other);
    assert_string_not_equal(strchr(token, '.'), strchr(other, '.'));
}

static void a_text_that_has_no_room_makes_no_token(void **state)
{
    (void)state;
    char large[WEFT_TOKEN_TEXT_BYTES + 10];
    char token[WEFT_TOKEN_BYTES];
    char text[WEFT_TOKEN_TEXT_BYTES];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    weft_token_format(large, "scope", token);
    assert_int_equal(strlen(token), WEFT_TOKEN_BYTES - 1);
    assert_false(weft_token_parse(token, "scope", text));
}

static void a_token_that_was_changed_or_cut_is_none(void **state)
{
    (void)state;
    char token[WEFT_TOKEN_BYTES];
    char text[WEFT_TOKEN_TEXT_BYTES];
    char longer[2 * WEFT_TOKEN_BYTES];
    weft_token_format("17", "scope", token);
    size_t len = strlen(token);
    for (size_t i = 0; i < len; i++) {
        token[i] ^= 1;
        assert_false(weft_token_parse(token, "scope", text));
        token[i] ^= 1;
    }
    while (len-- > 0) {
        token[len] = '\0';
        assert_false(weft_token_parse(token, "scope", text));
    }
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_false(weft_token_parse(longer, "scope", text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_holds_its_text),
        cmocka_unit_test(a_token_of_another_scope_is_none),
        cmocka_unit_test(a_text_that_has_no_room_makes_no_token),
        cmocka_unit_test(a_token_that_was_changed_or_cut_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
