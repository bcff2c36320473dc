/* Health and reflection with every allocation failing in turn: an error comes back, nothing leaks, nobody hangs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <weft/testing.h>

#include "grpc/health/v1/health.weft.h"
#include "grpc/reflection/v1/reflection.weft.h"
#include "integration/builtin/rig.h"
#include "support/alloc_fault.h"

/* What a client sees of a failure: no connection, no memory, or not even memory for a status. */
static int judge(weft_status status)
{
    if (status.code == WEFT_OK)
        return 0;
    if (status.code != WEFT_RESOURCE_EXHAUSTED && status.code != WEFT_UNAVAILABLE && status.code != WEFT_CANCELLED)
        fail_msg("%s: %s", weft_code_name(status.code), status.message);
    return -ENOMEM;
}

/* Two watchers, one of an unknown service; a change; one leaves. */
static int watch(struct rig *rig)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    Grpc__Health__V1__HealthCheckResponse *response;
    grpc_health_v1_Health_Watch_client *clients[2] = {NULL, NULL};
    int failed = 0;
    for (int i = 0; i < 2 && failed == 0; i++) {
        request.service = (char *)(uintptr_t)(i == 0 ? "" : "late.Service");
        failed = grpc_health_v1_Health_Watch(&clients[i], rig->channel, NULL, &request);
    }
    for (int i = 0; i < 2 && failed == 0; i++)
        failed = grpc_health_v1_Health_Watch_client_recv(clients[i], &response) == 1 ? 0 : -ENOMEM;
    int set = weft_health_set(rig->health, "late.Service", WEFT_SERVING);
    assert_true(set == 0 || set == -ENOMEM);
    if (failed == 0)
        failed = set;
    if (failed == 0)
        failed = grpc_health_v1_Health_Watch_client_recv(clients[1], &response) == 1 ? 0 : -ENOMEM;
    for (int i = 0; i < 2; i++) {
        if (clients[i] == NULL)
            continue;
        weft_stream_cancel(WEFT_STREAM(clients[i]));
        (void)grpc_health_v1_Health_Watch_client_finish(clients[i], rig->arena);
    }
    return failed;
}

static int list(struct rig *rig)
{
    const Grpc__Health__V1__HealthListRequest request = GRPC__HEALTH__V1__HEALTH_LIST_REQUEST__INIT;
    Grpc__Health__V1__HealthListResponse *response = NULL;
    return judge(grpc_health_v1_Health_List(rig->channel, rig->arena, NULL, &request, &response));
}

static int reflect(struct rig *rig)
{
    Grpc__Reflection__V1__ServerReflectionRequest request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    Grpc__Reflection__V1__ServerReflectionResponse *response;
    grpc_reflection_v1_ServerReflection_ServerReflectionInfo_client *client;
    request.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
    request.file_containing_symbol = (char *)(uintptr_t) "user.UserService";
    int rc = grpc_reflection_v1_ServerReflection_ServerReflectionInfo(&client, rig->channel, NULL);
    if (rc < 0)
        return rc;
    int got = grpc_reflection_v1_ServerReflection_ServerReflectionInfo_client_send(client, &request);
    if (got == 0)
        got = grpc_reflection_v1_ServerReflection_ServerReflectionInfo_client_recv(client, &response);
    rc = judge(grpc_reflection_v1_ServerReflection_ServerReflectionInfo_client_finish(client, rig->arena));
    return rc == 0 && got != 1 ? -ENOMEM : rc;
}

static int serve_and_ask(void *context)
{
    int (*ask)(struct rig * rig) = *(int (**)(struct rig * rig)) context;
    struct rig rig = {.kind = RIG_STEPPED};
    int rc = weft_memory_engine_new(&rig.engine, NULL);
    if (rc < 0)
        return rc;
    rc = rig_make(&rig, NULL, NULL);
    if (rc == 0)
        rc = rig_serve(&rig);
    if (rc == 0)
        rc = ask(&rig);
    rig_unmake(&rig);
    assert_int_equal(weft_engine_free(rig.engine), 0);
    return rc;
}

static void health_survives_the_failure_of_each_allocation(void **state)
{
    int (*ask)(struct rig * rig) = watch;
    (void)state;
    assert_true(weft_test_oom_sweep_mending(serve_and_ask, &ask) > 50);
    ask = list;
    assert_true(weft_test_oom_sweep_mending(serve_and_ask, &ask) > 50);
}

static void reflection_survives_the_failure_of_each_allocation(void **state)
{
    int (*ask)(struct rig * rig) = reflect;
    (void)state;
    assert_true(weft_test_oom_sweep_mending(serve_and_ask, &ask) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_survives_the_failure_of_each_allocation),
        cmocka_unit_test(reflection_survives_the_failure_of_each_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
