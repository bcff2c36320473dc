/* Pickers and their tables without memory: reported, and nothing leaks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <weft/picker.h>

#include "pick/endpoint.h"
#include "pick/pick.h"
#include "support/alloc_fault.h"

enum {
    ENDPOINTS = 20
};

typedef int constructor(weft_picker **out);

static int new_least_request(weft_picker **out)
{
    return weft_least_request_new(out, 0);
}

static int new_p2c(weft_picker **out)
{
    return weft_p2c_new(out, NULL);
}

static int new_ring_hash(weft_picker **out)
{
    const weft_ring_hash_options options = {.struct_size = sizeof options, .metadata_key = "customer"};
    return weft_ring_hash_new(out, &options);
}

static const struct {
    constructor *make;
    long allocations; /* of picker and table */
} all[] = {
    {weft_pick_first_new, 1}, {weft_random_new, 1}, {weft_round_robin_new, 1}, {weft_weighted_round_robin_new, 6},
    {new_least_request, 1},   {new_p2c, 1},         {new_ring_hash, 7},        {weft__pick_first_shuffled_new, 2}};

static weft_endpoint *endpoints[ENDPOINTS];

static int make_endpoints(void **state)
{
    (void)state;
    for (size_t i = 0; i < ENDPOINTS; i++) {
        char text[64];
        snprintf(text, sizeof text, "ipv4:127.0.0.1:%zu", i + 1);
        const weft_address address = {.address = text, .weight = (uint32_t)i};
        assert_int_equal(weft__endpoint_new(&endpoints[i], &address, 64), 0);
    }
    return 0;
}

static int free_endpoints(void **state)
{
    (void)state;
    for (size_t i = 0; i < ENDPOINTS; i++)
        weft__endpoint_free(endpoints[i]);
    return 0;
}

static int make_and_build(void *context)
{
    weft_picker *picker = NULL;
    void *table = NULL;
    int rc = (*(constructor *const *)context)(&picker);
    if (rc < 0) {
        assert_null(picker);
        return rc;
    }
    if (picker->vtable->build != NULL)
        rc = picker->vtable->build(picker, endpoints, ENDPOINTS, &table);
    if (rc < 0)
        assert_null(table);
    if (table != NULL)
        picker->vtable->unbuild(picker, table);
    weft_picker_free(picker);
    return rc;
}

static void pickers_and_tables_report_that_there_is_no_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        constructor *make = all[i].make;
        assert_int_equal(weft_test_oom_sweep(make_and_build, &make), all[i].allocations);
    }
}

static int make_endpoint(void *context)
{
    weft_endpoint *endpoint = NULL;
    const weft_address address = {.address = "ipv4:127.0.0.1:1"};
    (void)context;
    int rc = weft__endpoint_new(&endpoint, &address, 100);
    if (rc == 0)
        weft__endpoint_free(endpoint);
    return rc;
}

static void endpoints_report_that_there_is_no_memory(void **state)
{
    (void)state;
    assert_int_equal(weft_test_oom_sweep(make_endpoint, NULL), 2);
}

static void picking_allocates_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        weft_picker *picker = NULL;
        void *table = NULL;
        assert_int_equal(all[i].make(&picker), 0);
        if (picker->vtable->build != NULL)
            assert_int_equal(picker->vtable->build(picker, endpoints, ENDPOINTS, &table), 0);
        long before = weft_test_alloc_count();
        for (int n = 0; n < 100; n++) {
            weft_endpoint *endpoint = NULL;
            const weft_pick_args args = {.struct_size = sizeof args,
                                         .endpoints = endpoints,
                                         .endpoint_count = ENDPOINTS,
                                         .table = table,
                                         .now_ns = n};
            const weft_pick_result result = {.struct_size = sizeof result, .now_ns = n + 1, .latency_ns = 1};
            assert_int_equal(picker->vtable->pick(picker, &args, &endpoint), WEFT_PICK_ENDPOINT);
            if (picker->vtable->done != NULL)
                picker->vtable->done(picker, endpoint, &result);
        }
        assert_int_equal(weft_test_alloc_count(), before);
        if (table != NULL)
            picker->vtable->unbuild(picker, table);
        weft_picker_free(picker);
    }
    weft_picker_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pickers_and_tables_report_that_there_is_no_memory),
        cmocka_unit_test(endpoints_report_that_there_is_no_memory),
        cmocka_unit_test(picking_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, make_endpoints, free_endpoints);
}
