/* user-service and order-service over TLS, by the keys tls.* alone: caller and callee both show certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include "order.weft.h"
#include "support/certificates.h"
#include "support/service.h"
#include "support/temp_dir.h"
#include "user.weft.h"

#define SERVICE_NAME "users.example"

static char folder[TEST_FOLDER_SIZE];

static int make(void **state)
{
    (void)state;
    test_folder_new(folder);
    return temp_dir_make();
}

static int drop(void **state)
{
    (void)state;
    temp_dir_remove();
    test_folder_free(folder);
    return 0;
}

/* ---- certificates ------------------------------------------------------------------------------------------------ */

/* Writes a new CA to roots.pem, and a certificate of it for services and clients to tls.crt and tls.key. */
static void issue_certificates(void)
{
    static const test_certificate_options of_ca = {.subject = "/O=Acme/CN=CA"};
    static const test_certificate_options of_all = {.subject = "/O=Acme/CN=shop",
                                                    .names = "DNS:" SERVICE_NAME ",IP:127.0.0.1"};
    test_certificate *ca = test_certificate_new(NULL, &of_ca);
    test_certificate *shop = test_certificate_new(ca, &of_all);
    test_file_write(folder, "roots.pem", test_certificate_pem(ca));
    test_file_write(folder, "tls.key", test_certificate_key(shop));
    test_file_write(folder, "tls.crt", test_certificate_pem(shop));
    test_certificate_free(shop);
    test_certificate_free(ca);
}

/* A client that trusts roots.pem as it is now. */
static void open_secure(struct client *client, const char *address, bool shows_certificate)
{
    char why[256] = "";
    weft_core_engine_options engine = WEFT_CORE_ENGINE_OPTIONS_INIT;
    weft_tls_options tls = WEFT_TLS_OPTIONS_INIT;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    tls.roots_file = test_file(folder, "roots.pem");
    tls.certificate_file = shows_certificate ? test_file(folder, "tls.crt") : NULL;
    tls.key_file = shows_certificate ? test_file(folder, "tls.key") : NULL;
    engine.threads = 1;
    assert_int_equal(weft_core_engine_new(&client->engine, &engine), 0);
    if (weft_tls_new(&options.tls, client->engine, &tls, why, sizeof why) < 0)
        fail_msg("%s", why);
    assert_int_equal(weft_channel_new(&client->channel, client->engine, address, &options), 0);
    assert_int_equal(weft_arena_new(&client->arena, 0), 0);
    weft_tls_free(options.tls);
}

/* ---- services ---------------------------------------------------------------------------------------------------- */

struct service {
    struct process process;
    char address[128];
    char plaintext[128]; /* of user-service */
};

/* Starts a program with a configuration of these lines, and those for TLS. */
static void start_service(struct service *service, const char *program, const char *name, const char *lines)
{
    char text[2048], path[TEMP_PATH_BYTES], file[16];
    snprintf(text, sizeof text,
             "listen: [\"127.0.0.1:0\"]\n"
             "database.path: %s/%s.db\n"
             "tls:\n"
             "  certificate: %s/tls.crt\n"
             "  key: %s/tls.key\n"
             "  roots: %s/roots.pem\n"
             "  client_certificates: require\n"
             "%s",
             temp_dir, name, folder, folder, folder, lines);
    snprintf(file, sizeof file, "%s.yaml", name);
    write_file(temp_path(file, path), text);
    start_program(&service->process, program, "--config", path, NULL);
    read_address(&service->process, 0, service->address, sizeof service->address);
}

static void start_users(struct service *users)
{
    start_service(users, USER_SERVICE, "users", "listen_plaintext: [\"127.0.0.1:0\"]\n");
    read_address(&users->process, 1, users->plaintext, sizeof users->plaintext);
}

static void start_orders(struct service *orders, const struct service *users)
{
    char lines[256];
    snprintf(lines, sizeof lines,
             "  channels: true\n"
             "  server_name: " SERVICE_NAME "\n"
             "users.target: static:///%s\n",
             users->address);
    start_service(orders, ORDER_SERVICE, "orders", lines);
}

static void stop_service(struct service *service)
{
    assert_int_equal(kill(service->process.pid, SIGTERM), 0);
    assert_int_equal(wait_for_end(&service->process), 0);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static weft_status create_user(struct client *client, char id[WEFT_UUID_TEXT_BYTES])
{
    User__CreateUserRequest request = USER__CREATE_USER_REQUEST__INIT;
    User__CreateUserResponse *response = NULL;
    request.name = "Ada";
    request.email = "ada@example.org";
    weft_status status = user_UserService_CreateUser(client->channel, client->arena, NULL, &request, &response);
    if (status.code == WEFT_OK)
        snprintf(id, WEFT_UUID_TEXT_BYTES, "%s", response->id);
    return status;
}

static weft_status create_order(struct client *client, char *user_id)
{
    Order__CreateOrderRequest request = ORDER__CREATE_ORDER_REQUEST__INIT;
    Order__CreateOrderResponse *response = NULL;
    Order__OrderItem item = ORDER__ORDER_ITEM__INIT;
    Order__OrderItem *items[] = {&item};
    Order__Money price = ORDER__MONEY__INIT;
    price.currency_code = "EUR";
    price.minor_units = 1250;
    item.product_id = "book";
    item.quantity = 1;
    item.price = &price;
    request.user_id = user_id;
    request.idempotency_key = "first";
    request.n_items = 1;
    request.items = items;
    return order_OrderService_CreateOrder(client->channel, client->arena, NULL, &request, &response);
}

static weft_status list_users(struct client *client)
{
    User__ListUsersRequest request = USER__LIST_USERS_REQUEST__INIT;
    User__ListUsersResponse *response = NULL;
    return user_UserService_ListUsers(client->channel, client->arena, NULL, &request, &response);
}

/* ---- the tests --------------------------------------------------------------------------------------------------- */

static void an_order_is_placed_by_those_who_show_certificates(void **state)
{
    struct service users, orders;
    struct client client;
    char id[WEFT_UUID_TEXT_BYTES];
    (void)state;
    issue_certificates();
    start_users(&users);
    start_orders(&orders, &users);
    open_secure(&client, users.address, true);
    assert_code(create_user(&client, id), WEFT_OK);
    client_close(&client);
    open_secure(&client, orders.address, true);
    assert_code(create_order(&client, id), WEFT_OK);
    client_close(&client);
    stop_service(&orders);
    stop_service(&users);
}

static void others_are_refused_but_where_plaintext_is_wanted(void **state)
{
    struct service users;
    struct client client;
    (void)state;
    issue_certificates();
    start_users(&users);
    open_secure(&client, users.address, false);
    assert_code(list_users(&client), WEFT_UNAVAILABLE);
    client_close(&client);
    client_open(&client, users.address);
    assert_code(list_users(&client), WEFT_UNAVAILABLE);
    client_close(&client);
    client_open(&client, users.plaintext);
    assert_code(list_users(&client), WEFT_OK);
    client_close(&client);
    stop_service(&users);
}

static void a_hangup_has_new_certificates_shown(void **state)
{
    struct service users;
    struct client client;
    (void)state;
    issue_certificates();
    start_users(&users);
    issue_certificates();
    assert_int_equal(kill(users.process.pid, SIGHUP), 0);
    while (strstr(users.process.text, "configuration read again") == NULL)
        assert_true(read_more(&users.process));
    assert_non_null(strstr(users.process.text, "certificates rotated"));
    open_secure(&client, users.address, true); /* trusts the new CA only */
    assert_code(list_users(&client), WEFT_OK);
    client_close(&client);
    stop_service(&users);
}

/* ---- the directory ----------------------------------------------------------------------------------------------- */

/* Listens where a Consul agent might. */
static int listen_as_agent(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* Reads the first request that somebody makes of it, until `last` has come. */
static void read_request(int agent, const char *last, char *out, size_t size)
{
    struct pollfd fd = {.fd = agent, .events = POLLIN};
    size_t len = 0;
    out[0] = '\0';
    assert_int_equal(poll(&fd, 1, 20000), 1);
    fd.fd = accept(agent, NULL, NULL);
    assert_true(fd.fd >= 0);
    while (strstr(out, last) == NULL) {
        assert_int_equal(poll(&fd, 1, 20000), 1);
        ssize_t n = read(fd.fd, out + len, size - 1 - len);
        if (n <= 0)
            fail_msg("%s is not in: %s", last, out);
        len += (size_t)n;
        out[len] = '\0';
    }
    close(fd.fd);
}

/* How the agent is told to ask a service with these lines for its health. */
static void read_registration(const char *lines, char *out, size_t size)
{
    struct service users;
    char all[256];
    int port;
    int agent = listen_as_agent(&port);
    snprintf(all, sizeof all, "registry:\n  consul: 127.0.0.1:%d\n%s", port, lines);
    start_service(&users, USER_SERVICE, "users", all);
    read_request(agent, "}]", out, size); /* the end of the checks */
    close(agent);
    assert_int_equal(kill(users.process.pid, SIGKILL), 0); /* nobody answers when it deregisters */
    assert_int_equal(wait_for_end(&users.process), -1);
}

static void the_directory_asks_by_tls_too(void **state)
{
    char request[4096];
    (void)state;
    issue_certificates();
    read_registration("", request, sizeof request);
    assert_non_null(strstr(request, "\"GRPCUseTLS\":true"));
    assert_null(strstr(request, "TLSSkipVerify"));
    read_registration("  check_verify: false\n", request, sizeof request);
    assert_non_null(strstr(request, "\"GRPCUseTLS\":true"));
    assert_non_null(strstr(request, "\"TLSSkipVerify\":true"));
}

static void certificates_that_cannot_be_used_are_told_with_their_file(void **state)
{
    struct process process;
    char certificate[TEMP_PATH_BYTES + 16], key[TEMP_PATH_BYTES + 16], other_key[TEMP_PATH_BYTES];
    (void)state;
    issue_certificates();
    snprintf(certificate, sizeof certificate, "tls.certificate=%s", test_file(folder, "tls.crt"));
    snprintf(key, sizeof key, "tls.key=%s", temp_path("none.key", other_key));
    start_program(&process, USER_SERVICE, "--listen", "127.0.0.1:0", "--set", certificate, "--set", key, NULL);
    assert_int_equal(wait_for_end(&process), 1);
    assert_non_null(strstr(process.text, "\"msg\":\"cannot use TLS\""));
    assert_non_null(strstr(process.text, "none.key: No such file or directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_order_is_placed_by_those_who_show_certificates, make, drop),
        cmocka_unit_test_setup_teardown(others_are_refused_but_where_plaintext_is_wanted, make, drop),
        cmocka_unit_test_setup_teardown(a_hangup_has_new_certificates_shown, make, drop),
        cmocka_unit_test_setup_teardown(the_directory_asks_by_tls_too, make, drop),
        cmocka_unit_test_setup_teardown(certificates_that_cannot_be_used_are_told_with_their_file, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
