/*
 * bench-unary-weft: GetUser on Weft over its engine on gRPC core, with the handler inline or on a worker.
 */
#include <weft/weft.h>

#include "user.h"
#include "user.weft.h"
#include "weft_server.h"

static weft_code get_user(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                          void *self)
{
    User__User *user = weft_arena_alloc(weft_call_arena(call), sizeof *user);
    static char name[] = BENCH_USER_NAME;
    static char email[] = BENCH_USER_EMAIL;
    (void)self;
    if (user == NULL)
        return weft_fail(call, WEFT_RESOURCE_EXHAUSTED, "out of memory");
    user__user__init(user);
    user->id = request->id;
    user->name = name;
    user->email = email;
    response->user = user;
    return WEFT_OK;
}

static int add_service(weft_server *server, bool run_inline)
{
    static const user_UserService_ops ops = {.GetUser = get_user};
    weft_method_options method = WEFT_METHOD_OPTIONS_INIT;
    weft_service_options service = WEFT_SERVICE_OPTIONS_INIT;
    method.method = "GetUser";
    method.run_inline = run_inline;
    service.methods = &method;
    service.method_count = 1;
    return user_UserService_register(server, &ops, NULL, &service);
}

int main(int argc, char **argv)
{
    static const bench_weft_server program = {.name = "bench-unary-weft", .add_service = add_service};
    return bench_weft_server_main(&program, argc, argv);
}
