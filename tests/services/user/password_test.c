#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "password.h"

static void a_hash_is_a_phc_string_with_the_costs(void **state)
{
    (void)state;
    char phc[PASSWORD_HASH_BYTES];
    static const char prefix[] = "$argon2id$v=19$m=19456,t=2,p=1$";
    assert_int_equal(password_hash("correct horse", phc), 0);
    assert_int_equal(strncmp(phc, prefix, sizeof prefix - 1), 0);
    assert_int_equal(strlen(phc), sizeof prefix - 1 + 22 + 1 + 43);
    assert_null(strstr(phc, "horse"));
}

static void the_same_password_hashes_differently_each_time(void **state)
{
    (void)state;
    char first[PASSWORD_HASH_BYTES];
    char second[PASSWORD_HASH_BYTES];
    assert_int_equal(password_hash("correct horse", first), 0);
    assert_int_equal(password_hash("correct horse", second), 0);
    assert_string_not_equal(first, second);
}

static void only_the_right_password_is_verified(void **state)
{
    (void)state;
    char phc[PASSWORD_HASH_BYTES];
    assert_int_equal(password_hash("correct horse", phc), 0);
    assert_int_equal(password_verify("correct horse", phc), 0);
    assert_int_equal(password_verify("correct hors", phc), -EACCES);
    assert_int_equal(password_verify("correct horsf", phc), -EACCES);
    assert_int_equal(password_verify("", phc), -EACCES);
}

static void no_hash_is_never_verified(void **state)
{
    (void)state;
    assert_int_equal(password_verify("", NULL), -EACCES);
    assert_int_equal(password_verify("anything", NULL), -EACCES);
}

static double cpu_ms(const char *phc)
{
    clock_t begin = clock();
    assert_int_equal(password_verify("wrong password", phc), -EACCES);
    return (double)(clock() - begin) * 1000.0 / CLOCKS_PER_SEC;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void a_missing_user_costs_as_much_as_a_wrong_password(void **state)
{
    (void)state;
    char phc[PASSWORD_HASH_BYTES];
    double wrong[5];
    double missing[5];
    assert_int_equal(password_hash("correct horse", phc), 0);
    (void)cpu_ms(phc);
    for (int i = 0; i < 5; i++) {
        wrong[i] = cpu_ms(phc);
        missing[i] = cpu_ms(NULL);
    }
    qsort(wrong, 5, sizeof *wrong, ascending);
    qsort(missing, 5, sizeof *missing, ascending);
    if (missing[2] < wrong[2] / 2 || missing[2] > wrong[2] * 2)
        fail_msg("wrong password: %.1f ms, missing user: %.1f ms", wrong[2], missing[2]);
}

#define THREADS 12

static void *verify(void *phc)
{
    return password_verify("correct horse", phc) == 0 ? NULL : phc;
}

static void more_threads_than_may_hash_at_once_all_get_their_turn(void **state)
{
    (void)state;
    char phc[PASSWORD_HASH_BYTES];
    pthread_t threads[THREADS];
    assert_int_equal(password_hash("correct horse", phc), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, verify, phc), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

static void a_damaged_hash_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(password_verify("x", ""), -EBADMSG);
    assert_int_equal(password_verify("x", "$argon2id$v=19$m=19456,t=2,p=1$AAAA"), -EBADMSG);
    assert_int_equal(password_verify("x", "plain"), -EBADMSG);
}

static void a_wiped_secret_is_gone(void **state)
{
    (void)state;
    char secret[] = "correct horse";
    static const char nothing[sizeof secret];
    password_wipe(secret, sizeof secret);
    assert_memory_equal(secret, nothing, sizeof secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hash_is_a_phc_string_with_the_costs),
        cmocka_unit_test(the_same_password_hashes_differently_each_time),
        cmocka_unit_test(only_the_right_password_is_verified),
        cmocka_unit_test(no_hash_is_never_verified),
        cmocka_unit_test(a_missing_user_costs_as_much_as_a_wrong_password),
        cmocka_unit_test(more_threads_than_may_hash_at_once_all_get_their_turn),
        cmocka_unit_test(a_damaged_hash_is_an_error),
        cmocka_unit_test(a_wiped_secret_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
