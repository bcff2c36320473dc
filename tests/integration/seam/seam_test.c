/* The program: test_seam_core [core | stepped | threaded]. */
#include <stdio.h>
#include <stdlib.h>

#include "integration/seam/seam_suite.h"

static const struct {
    const char *name;
    const struct CMUnitTest *cases;
    const size_t *count;
} groups[] = {
    {"unary", seam_unary_cases, &seam_unary_case_count},    {"cancel", seam_cancel_cases, &seam_cancel_case_count},
    {"limit", seam_limit_cases, &seam_limit_case_count},    {"life", seam_life_cases, &seam_life_case_count},
    {"stream", seam_stream_cases, &seam_stream_case_count}, {"order", seam_order_cases, &seam_order_case_count},
};

int main(int argc, char **argv)
{
    const char *engine = argc > 1 ? argv[1] : "core";
    int failed = 0;
    if (strcmp(engine, "stepped") == 0)
        seam_kind_under_test = SEAM_STEPPED;
    else if (strcmp(engine, "threaded") == 0)
        seam_kind_under_test = SEAM_THREADED;
    else if (strcmp(engine, "core") != 0)
        return 2;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        failed += _cmocka_run_group_tests(groups[i].name, groups[i].cases, *groups[i].count, NULL, NULL);
    return failed;
}
