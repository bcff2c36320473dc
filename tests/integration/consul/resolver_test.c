/* The resolver against an agent that says what the test wants. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft/consul.h>

#include "integration/consul/fake.h"
#include "integration/consul/sink.h"
#include "support/alloc_fault.h"

#define HEALTH "GET /v1/health/service/"

#define INSTANCE(id, address, status)                                                                                  \
    "{\"Node\":{\"Node\":\"n1\",\"Address\":\"10.9.9.9\"},\"Service\":{\"ID\":\"" id                                   \
    "\",\"Service\":\"users\",\"Address\":\"" address "\",\"Port\":50051,\"Tags\":[\"" id                              \
    "\"],\"Meta\":{\"version\":\"2\"},\"Weights\":{\"Passing\":5,\"Warning\":2}},\"Checks\":[{\"CheckID\":\"c\","      \
    "\"Status\":\"" status "\"}]}"
#define A       INSTANCE("a", "10.0.0.1", "passing")
#define A_BAD   INSTANCE("a", "10.0.0.1", "critical")
#define B       INSTANCE("b", "10.0.0.2", "passing")
#define A_TEXT  "ipv4:10.0.0.1:50051/1*5"
#define B_TEXT  "ipv4:10.0.0.2:50051/1*5"
#define AB_TEXT A_TEXT " " B_TEXT

struct rig {
    struct fake *fake;
    weft_consul *consul;
    weft_resolver *resolver;
    weft_sink *sink;
    weft_watch *watch;
    char folder[64];
};

static void make_client(struct rig *rig, const weft_consul_options *given)
{
    weft_consul_options options = *given;
    char reason[256] = "";
    options.no_environment = true;
    options.address = options.address != NULL ? options.address : fake_address(rig->fake);
    if (options.query_interval_ms == 0)
        options.query_interval_ms = 1;
    options.backoff_ms = 1;
    int rc = weft_consul_new(&rig->consul, &options, reason, sizeof reason);
    if (rc != 0)
        fail_msg("weft_consul_new: %d %s", rc, reason);
    rig->resolver = weft_consul_resolver(rig->consul);
}

static void watch(struct rig *rig, const char *target)
{
    char reason[256];
    int rc = sink_watch(rig->resolver, target, rig->sink, &rig->watch, reason);
    if (rc != 0)
        fail_msg("watch: %d %s", rc, reason);
}

/* A client with these options that watches users, and whose first answer has been A and B at index 10. */
static void begin(struct rig *rig, const weft_consul_options *options, const char *target)
{
    make_client(rig, options);
    watch(rig, target);
    fake_answer(fake_next(rig->fake, HEALTH), 200, 10, "[" A "," B "]");
    assert_string_equal(sink_next(rig->sink), AB_TEXT);
}

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->fake = fake_new();
    rig->sink = sink_new();
    snprintf(rig->folder, sizeof rig->folder, "/tmp/weft-consul.XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    *state = rig;
    return 0;
}

static void empty_folder(const char *path)
{
    char file[512];
    const struct dirent *entry;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        snprintf(file, sizeof file, "%s/%.255s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(file);
    }
    closedir(folder);
}

static void stop(struct rig *rig)
{
    if (rig->watch != NULL)
        rig->resolver->vtable->unwatch(rig->resolver, rig->watch);
    rig->watch = NULL;
    assert_int_equal(weft_consul_free(rig->consul), 0);
    rig->consul = NULL;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    stop(rig);
    sink_free(rig->sink);
    fake_free(rig->fake);
    empty_folder(rig->folder);
    rmdir(rig->folder);
    free(rig);
    return 0;
}

static weft_consul_counters count(struct rig *rig)
{
    weft_consul_counters counters = WEFT_CONSUL_COUNTERS_INIT;
    assert_int_equal(weft_consul_count(rig->consul, &counters), 0);
    return counters;
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" has no \"%s\"", text, part);
}

static void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part) != NULL)
        fail_msg("\"%s\" has \"%s\"", text, part);
}

static const weft_consul_options plain = WEFT_CONSUL_OPTIONS_INIT;

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static void the_first_query_has_no_index_and_the_next_one_hangs_at_it(void **state)
{
    struct rig *rig = *state;
    make_client(rig, &plain);
    watch(rig, "consul:///users");
    fake_request *request = fake_next(rig->fake, HEALTH);
    assert_string_equal(fake_line(request), "GET /v1/health/service/users");
    fake_answer(request, 200, 10, "[" A "]");
    request = fake_next(rig->fake, HEALTH);
    assert_has(fake_line(request), "?index=10&wait=");
    fake_answer(request, 200, 11, "[" A "," B "]");
    assert_string_equal(sink_next(rig->sink), A_TEXT);
    assert_string_equal(sink_next(rig->sink), AB_TEXT);
    assert_has(fake_line(fake_next(rig->fake, HEALTH)), "index=11");
    assert_string_equal(sink_first_metadatum(rig->sink, "consul.id"), "consul.id=a");
    assert_string_equal(sink_first_metadatum(rig->sink, "consul.tag"), "consul.tag=a");
    assert_string_equal(sink_first_metadatum(rig->sink, "version"), "version=2");
}

static void what_a_target_asks_for_reaches_the_agent(void **state)
{
    struct rig *rig = *state;
    char target[256];
    make_client(rig, &(weft_consul_options){.struct_size = sizeof(weft_consul_options), .address = "127.0.0.1:1"});
    snprintf(target, sizeof target,
             "consul://%s/my%%20users?dc=east&near=_agent&token=t0&allow-stale=true&wait=2s&ns=team",
             fake_address(rig->fake));
    watch(rig, target);
    fake_request *request = fake_next(rig->fake, HEALTH);
    assert_string_equal(fake_line(request), "GET /v1/health/service/my%20users?dc=east&ns=team&near=_agent&stale");
    assert_has(fake_head(request), "X-Consul-Token: t0\r\n");
    assert_lacks(fake_line(request), "token");
}

static void a_token_file_is_read_again(void **state)
{
    struct rig *rig = *state;
    char path[128];
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    snprintf(path, sizeof path, "%s/token", rig->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("first\n", file);
    fclose(file);
    options.token_file = path;
    make_client(rig, &options);
    watch(rig, "consul:///users");
    fake_request *request = fake_next(rig->fake, HEALTH);
    assert_has(fake_head(request), "X-Consul-Token: first\r\n");
    file = fopen(path, "w");
    fputs("second", file);
    fclose(file);
    fake_answer(request, 200, 1, "[]");
    assert_has(fake_head(fake_next(rig->fake, HEALTH)), "X-Consul-Token: second\r\n");
}

static void sinks_of_one_service_share_its_query_whatever_they_choose(void **state)
{
    struct rig *rig = *state;
    weft_sink *other = sink_new();
    weft_watch *other_watch;
    char reason[256];
    begin(rig, &plain, "consul:///users");
    assert_int_equal(sink_watch(rig->resolver, "consul:///users?tag=B&healthy=true", other, &other_watch, reason), 0);
    assert_string_equal(sink_next(other), B_TEXT); /* at once: it is known */
    fake_request *request = fake_next(rig->fake, HEALTH);
    assert_false(fake_has(rig->fake, HEALTH, 50));
    fake_answer(request, 200, 11, "[" A_BAD "," B "]");
    assert_string_equal(sink_next(rig->sink), "ipv4:10.0.0.1:50051/2*5 " B_TEXT);
    rig->resolver->vtable->unwatch(rig->resolver, other_watch);
    assert_int_equal(sink_lists(other), 1); /* for it nothing has changed */
    sink_free(other);
}

static void another_service_has_a_query_of_its_own(void **state)
{
    struct rig *rig = *state;
    weft_sink *other = sink_new();
    weft_watch *other_watch;
    char reason[256];
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    options.max_services = 2;
    begin(rig, &options, "consul:///users");
    assert_int_equal(sink_watch(rig->resolver, "consul:///orders", other, &other_watch, reason), 0);
    fake_answer(fake_next(rig->fake, HEALTH "orders"), 200, 3, "[" B "]");
    assert_string_equal(sink_next(other), B_TEXT);
    weft_watch *third;
    assert_int_equal(sink_watch(rig->resolver, "consul:///payments", other, &third, reason), -EMFILE);
    assert_int_equal(weft_consul_free(rig->consul), -EBUSY);
    rig->resolver->vtable->unwatch(rig->resolver, other_watch);
    sink_free(other);
}

static void a_wrong_target_is_told_what_would_be_right(void **state)
{
    struct rig *rig = *state;
    char reason[256];
    make_client(rig, &plain);
    assert_int_equal(sink_watch(rig->resolver, "consul:///users?tags=a", rig->sink, &rig->watch, reason), -EINVAL);
    assert_has(reason, "\"tags\" is none of tag, healthy, near");
    assert_int_equal(sink_watch(rig->resolver, "consul:///", rig->sink, &rig->watch, reason), -EINVAL);
    assert_has(reason, "consul:///users");
    assert_null(rig->watch);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void an_answer_that_changes_nothing_is_not_published(void **state)
{
    struct rig *rig = *state;
    begin(rig, &plain, "consul:///users");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 11, "[" B "," A "]");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 12, "[" A "," B "]");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 13, "[" B "]");
    assert_string_equal(sink_next(rig->sink), B_TEXT);
}

static void an_index_that_goes_backwards_starts_anew(void **state)
{
    struct rig *rig = *state;
    begin(rig, &plain, "consul:///users");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 4, "[" A "]");
    assert_lacks(fake_line(fake_next(rig->fake, HEALTH)), "index");
    assert_string_equal(sink_next(rig->sink), A_TEXT);
    assert_int_equal(count(rig).regressions, 1);
}

static void an_index_that_is_none_still_makes_the_next_query_hang(void **state)
{
    struct rig *rig = *state;
    make_client(rig, &plain);
    watch(rig, "consul:///users");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 0, "[]");
    fake_request *request = fake_next(rig->fake, HEALTH);
    assert_has(fake_line(request), "?index=1&");
    fake_answer(request, 200, -1, "[]");
    request = fake_next(rig->fake, HEALTH);
    assert_has(fake_line(request), "?index=1&");
    fake_answer_with(request, 200, "X-Consul-Index: twelve\r\n", "[]");
    assert_has(fake_line(fake_next(rig->fake, HEALTH)), "?index=1&");
    assert_string_equal(sink_next(rig->sink), "");
}

static void garbage_is_a_failure_and_the_list_stays(void **state)
{
    static const char *const answers[] = {"",       "null",    "{}",        "[1]", "[{}]", "[{\"Service\":3}]",
                                          "<html>", "[" A ",", "[\"\xff\"]"};
    struct rig *rig = *state;
    begin(rig, &plain, "consul:///users");
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        fake_answer(fake_next(rig->fake, HEALTH), 200, 11, answers[i]);
        fake_request *request = fake_next(rig->fake, HEALTH);
        assert_lacks(fake_line(request), "index"); /* after a failure nothing is taken for granted */
        fake_answer(request, 200, 10, "[" A "," B "]");
    }
    fake_send(fake_next(rig->fake, HEALTH), "SSH-2.0-OpenSSH_9\r\n\r\n");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 12, "[" A "]");
    assert_string_equal(sink_next(rig->sink), A_TEXT);
    assert_int_equal(sink_lists(rig->sink), 2);
    assert_has(sink_next_failure(rig->sink), "consul at http://127.0.0.1:");
    assert_true(count(rig).failures >= sizeof answers / sizeof answers[0] + 1);
}

static void an_answer_as_deep_as_can_be_is_a_failure_like_others(void **state)
{
    struct rig *rig = *state;
    size_t depths[] = {2000, 2048, 100000};
    begin(rig, &plain, "consul:///users");
    for (size_t i = 0; i < 3; i++) {
        char *deep = calloc(1, 2 * depths[i] + 1);
        assert_non_null(deep);
        memset(deep, '[', depths[i]);
        memset(deep + depths[i], ']', depths[i]);
        fake_answer(fake_next(rig->fake, HEALTH), 200, 11, deep);
        free(deep);
        sink_next_failure(rig->sink);
        fake_answer(fake_next(rig->fake, HEALTH), 200, 11, "[" A "," B "]");
    }
}

static void an_answer_over_the_limit_is_a_failure(void **state)
{
    struct rig *rig = *state;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    options.max_answer_bytes = 2048;
    char *large = malloc(4097);
    assert_non_null(large);
    memset(large, ' ', 4096);
    large[4096] = '\0';
    begin(rig, &options, "consul:///users");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 11, large);
    free(large);
    assert_has(sink_next_failure(rig->sink), "larger than max_answer_bytes");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 12, "[" A "]");
    assert_string_equal(sink_next(rig->sink), A_TEXT);
}

static void no_leader_and_refusals_are_told_and_tried_again(void **state)
{
    struct rig *rig = *state;
    make_client(rig, &plain);
    watch(rig, "consul:///users");
    fake_answer(fake_next(rig->fake, HEALTH), 500, -1, "No cluster leader");
    assert_has(sink_next_failure(rig->sink), "HTTP 500: No cluster leader");
    fake_answer(fake_next(rig->fake, HEALTH), 403, -1, "ACL not found");
    assert_has(sink_next_failure(rig->sink), "HTTP 403: ACL not found");
    fake_answer(fake_next(rig->fake, HEALTH), 404, -1, "");
    assert_has(sink_next_failure(rig->sink), "HTTP 404");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 12, "[" A "]");
    assert_string_equal(sink_next(rig->sink), A_TEXT);
}

static void an_agent_that_hangs_is_given_up_and_asked_again(void **state)
{
    struct rig *rig = *state;
    make_client(rig, &plain);
    watch(rig, "consul:///users?timeout=100ms");
    fake_next(rig->fake, HEALTH);
    fake_answer(fake_next(rig->fake, HEALTH), 200, 12, "[" A "]");
    assert_string_equal(sink_next(rig->sink), A_TEXT);
    assert_has(sink_next_failure(rig->sink), "Timeout");
}

static void an_agent_that_dies_and_comes_back_is_found_again(void **state)
{
    struct rig *rig = *state;
    begin(rig, &plain, "consul:///users?max-backoff=10ms");
    fake_next(rig->fake, HEALTH);
    fake_stop(rig->fake);
    sink_next_failure(rig->sink);
    fake_start(rig->fake);
    fake_request *request = fake_next(rig->fake, HEALTH);
    assert_lacks(fake_line(request), "index");
    fake_answer(request, 200, 2, "[" B "]");
    assert_string_equal(sink_next(rig->sink), B_TEXT);
}

/* ---- empty answers ----------------------------------------------------------------------------------------------- */

/* Every allocation on the way of an answer to the sink fails once. */
static void an_answer_that_finds_no_memory_is_a_failure_and_the_list_stays(void **state)
{
    struct rig *rig = *state;
    bool failed = true;
    int told = 0;
    begin(rig, &plain, "consul:///users");
    for (long n = 1; failed; n++) {
        const char *body = n % 2 != 0 ? "[" A "]" : "[" A "," B "]";
        fake_request *request = fake_next(rig->fake, HEALTH);
        unsigned lists = sink_lists(rig->sink);
        sink_hold(rig->sink);
        weft_test_alloc_fail_at(n);
        fake_answer(request, 200, 10 + n, body);
        const char *failure = sink_next_failure_or_held(rig->sink);
        failed = weft_test_alloc_failed();
        weft_test_alloc_fail_at(0);
        assert_int_equal(sink_lists(rig->sink), lists);
        sink_release(rig->sink);
        if (failure != NULL) {
            told++;
            assert_has(failure, "out of memory");
            fake_answer(fake_next(rig->fake, HEALTH), 200, 10 + n, body);
        }
        assert_string_equal(sink_next(rig->sink), n % 2 != 0 ? A_TEXT : AB_TEXT);
    }
    assert_true(told >= 5); /* what comes in, what is read of it, what is chosen, what is published */
}

static void a_service_that_never_had_instances_is_published_as_empty(void **state)
{
    struct rig *rig = *state;
    make_client(rig, &plain);
    watch(rig, "consul:///users");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 1, "[]");
    assert_string_equal(sink_next(rig->sink), "");
}

static void instances_that_vanish_all_at_once_are_kept_for_a_while(void **state)
{
    struct rig *rig = *state;
    begin(rig, &plain, "consul:///users");
    fake_answer_with(fake_next(rig->fake, HEALTH), 200,
                     "X-Consul-Index: 11\r\nX-Consul-Results-Filtered-By-ACLs: true\r\n", "[]");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 12, "[" A "," B "]");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 13, "[" A "]");
    assert_string_equal(sink_next(rig->sink), A_TEXT);
    assert_int_equal(sink_lists(rig->sink), 2);
    assert_int_equal(count(rig).kept_empties, 1);
}

static void instances_that_stay_away_are_gone_after_the_grace(void **state)
{
    struct rig *rig = *state;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    options.empty_grace_ms = 50;
    begin(rig, &options, "consul:///users");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 11, "[]");
    assert_string_equal(sink_next(rig->sink), "");
}

static void without_a_grace_an_empty_answer_is_believed_at_once(void **state)
{
    struct rig *rig = *state;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    options.empty_grace_ms = -1;
    begin(rig, &options, "consul:///users");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 11, "[]");
    assert_string_equal(sink_next(rig->sink), "");
}

/* ---- rates ------------------------------------------------------------------------------------------------------- */

static void a_service_that_changes_all_the_time_is_asked_at_a_bounded_rate(void **state)
{
    struct rig *rig = *state;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    options.query_interval_ms = 3600000;
    begin(rig, &options, "consul:///users");
    for (int i = 0; i < 2; i++)
        fake_answer(fake_next(rig->fake, HEALTH), 200, 11 + i, "[" A "," B "]");
    assert_false(fake_has(rig->fake, HEALTH, 100));
}

static void a_hint_asks_before_the_rate_allows_it(void **state)
{
    struct rig *rig = *state;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    options.query_interval_ms = 3600000;
    begin(rig, &options, "consul:///users");
    for (int i = 0; i < 2; i++)
        fake_answer(fake_next(rig->fake, HEALTH), 200, 11 + i, "[" A "," B "]");
    while (count(rig).queries < 3)
        assert_false(fake_has(rig->fake, HEALTH, 1)); /* else the hint would be spent on a query that is under way */
    rig->resolver->vtable->hint(rig->resolver, rig->watch);
    fake_next(rig->fake, HEALTH);
}

/* ---- snapshots --------------------------------------------------------------------------------------------------- */

/* Watches users once, so that A and B are in the folder's snapshot; then there is no agent. */
static void leave_snapshot(struct rig *rig, weft_consul_options *options)
{
    options->snapshot_folder = rig->folder;
    begin(rig, options, "consul:///users");
    stop(rig);
    fake_stop(rig->fake);
}

static void a_snapshot_stands_in_for_an_agent_that_is_down(void **state)
{
    struct rig *rig = *state;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    leave_snapshot(rig, &options);
    make_client(rig, &options);
    watch(rig, "consul:///users?max-backoff=10ms");
    assert_string_equal(sink_next(rig->sink), AB_TEXT);
    assert_int_equal(count(rig).snapshots, 1);
    fake_start(rig->fake);
    fake_answer(fake_next(rig->fake, HEALTH), 200, 3, "[" B "]");
    assert_string_equal(sink_next(rig->sink), B_TEXT);
}

static void a_snapshot_stands_in_for_an_agent_that_hangs(void **state)
{
    struct rig *rig = *state;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    leave_snapshot(rig, &options);
    fake_start(rig->fake);
    options.snapshot_after_ms = 20;
    make_client(rig, &options);
    watch(rig, "consul:///users");
    fake_next(rig->fake, HEALTH);
    assert_string_equal(sink_next(rig->sink), AB_TEXT);
}

static void an_empty_answer_does_not_replace_a_snapshot(void **state)
{
    struct rig *rig = *state;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    options.empty_grace_ms = -1;
    options.snapshot_folder = rig->folder;
    begin(rig, &options, "consul:///users");
    fake_answer(fake_next(rig->fake, HEALTH), 200, 11, "[]");
    assert_string_equal(sink_next(rig->sink), "");
    stop(rig);
    fake_stop(rig->fake);
    make_client(rig, &options);
    watch(rig, "consul:///users");
    assert_string_equal(sink_next(rig->sink), AB_TEXT);
}

static void a_snapshot_of_another_service_or_a_damaged_one_is_not_used(void **state)
{
    struct rig *rig = *state;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    leave_snapshot(rig, &options);
    make_client(rig, &options);
    watch(rig, "consul:///orders");
    sink_next_failure(rig->sink);
    stop(rig);

    DIR *folder = opendir(rig->folder);
    const struct dirent *entry;
    char path[512] = "";
    while ((entry = readdir(folder)) != NULL)
        if (strstr(entry->d_name, ".snapshot") != NULL)
            snprintf(path, sizeof path, "%s/%.255s", rig->folder, entry->d_name);
    closedir(folder);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "9", 1, 120), 1);
    close(fd);
    make_client(rig, &options);
    watch(rig, "consul:///users");
    sink_next_failure(rig->sink);
    assert_int_equal(count(rig).snapshots, 0);
    assert_int_equal(sink_lists(rig->sink), 1); /* that of the client before */
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void *unwatch_now(void *arg)
{
    struct rig *rig = arg;
    rig->resolver->vtable->unwatch(rig->resolver, rig->watch);
    return NULL;
}

static void unwatch_waits_for_a_publish_that_is_under_way(void **state)
{
    struct rig *rig = *state;
    pthread_t thread;
    begin(rig, &plain, "consul:///users");
    sink_hold(rig->sink);
    fake_answer(fake_next(rig->fake, HEALTH), 200, 11, "[" A "]");
    sink_wait_held(rig->sink);
    assert_int_equal(pthread_create(&thread, NULL, unwatch_now, rig), 0);
    sink_release(rig->sink);
    pthread_join(thread, NULL);
    rig->watch = NULL;
    assert_string_equal(sink_next(rig->sink), A_TEXT);
}

static void a_service_that_nobody_watches_is_not_asked_for(void **state)
{
    struct rig *rig = *state;
    begin(rig, &plain, "consul:///users");
    fake_request *request = fake_next(rig->fake, HEALTH);
    rig->resolver->vtable->unwatch(rig->resolver, rig->watch);
    rig->watch = NULL;
    fake_has(rig->fake, "none such", 50); /* reads that the connection was given up */
    fake_answer(request, 200, 11, "[" A "]");
    assert_false(fake_has(rig->fake, HEALTH, 50));
    assert_int_equal(sink_lists(rig->sink), 1);
}

static void the_environment_says_what_the_options_do_not(void **state)
{
    struct rig *rig = *state;
    char reason[256];
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    setenv("CONSUL_HTTP_ADDR", fake_address(rig->fake), 1);
    setenv("CONSUL_HTTP_TOKEN", "from-environment", 1);
    setenv("CONSUL_HTTP_AUTH", "me:secret", 1);
    assert_int_equal(weft_consul_new(&rig->consul, &options, reason, sizeof reason), 0);
    rig->resolver = weft_consul_resolver(rig->consul);
    watch(rig, "consul:///users");
    fake_request *request = fake_next(rig->fake, HEALTH);
    assert_has(fake_head(request), "X-Consul-Token: from-environment\r\n");
    assert_has(fake_head(request), "Authorization: Basic bWU6c2VjcmV0\r\n");
    setenv("CONSUL_HTTP_SSL", "perhaps", 1);
    weft_consul *other;
    assert_int_equal(weft_consul_new(&other, &options, reason, sizeof reason), -EINVAL);
    assert_has(reason, "CONSUL_HTTP_SSL=perhaps");
    unsetenv("CONSUL_HTTP_SSL");
    unsetenv("CONSUL_HTTP_AUTH");
    unsetenv("CONSUL_HTTP_TOKEN");
    unsetenv("CONSUL_HTTP_ADDR");
}

static void options_that_mean_nothing_are_refused(void **state)
{
    struct rig *rig = *state;
    char reason[256];
    weft_consul *consul;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    make_client(rig, &plain);
    options.no_environment = true;
    options.address = "ftp://x";
    assert_int_equal(weft_consul_new(&consul, &options, reason, sizeof reason), -EINVAL);
    assert_has(reason, "unix:///path");
    options.address = NULL;
    options.token_file = "/nonexistent";
    assert_int_equal(weft_consul_new(&consul, &options, reason, sizeof reason), -ENOENT);
    options.token_file = NULL;
    options.token = "a\r\nX: y";
    assert_int_equal(weft_consul_new(&consul, &options, reason, sizeof reason), -EINVAL);
    options.token = NULL;
    options.backoff_ms = -2;
    assert_int_equal(weft_consul_new(&consul, &options, NULL, 0), -EINVAL);
    options.struct_size = 0;
    assert_int_equal(weft_consul_new(&consul, &options, NULL, 0), -EINVAL);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_first_query_has_no_index_and_the_next_one_hangs_at_it),
        CASE(what_a_target_asks_for_reaches_the_agent),
        CASE(a_token_file_is_read_again),
        CASE(sinks_of_one_service_share_its_query_whatever_they_choose),
        CASE(another_service_has_a_query_of_its_own),
        CASE(a_wrong_target_is_told_what_would_be_right),
        CASE(an_answer_that_changes_nothing_is_not_published),
        CASE(an_index_that_goes_backwards_starts_anew),
        CASE(an_index_that_is_none_still_makes_the_next_query_hang),
        CASE(garbage_is_a_failure_and_the_list_stays),
        CASE(an_answer_as_deep_as_can_be_is_a_failure_like_others),
        CASE(an_answer_that_finds_no_memory_is_a_failure_and_the_list_stays),
        CASE(an_answer_over_the_limit_is_a_failure),
        CASE(no_leader_and_refusals_are_told_and_tried_again),
        CASE(an_agent_that_hangs_is_given_up_and_asked_again),
        CASE(an_agent_that_dies_and_comes_back_is_found_again),
        CASE(a_service_that_never_had_instances_is_published_as_empty),
        CASE(instances_that_vanish_all_at_once_are_kept_for_a_while),
        CASE(instances_that_stay_away_are_gone_after_the_grace),
        CASE(without_a_grace_an_empty_answer_is_believed_at_once),
        CASE(a_service_that_changes_all_the_time_is_asked_at_a_bounded_rate),
        CASE(a_hint_asks_before_the_rate_allows_it),
        CASE(a_snapshot_stands_in_for_an_agent_that_is_down),
        CASE(a_snapshot_stands_in_for_an_agent_that_hangs),
        CASE(an_empty_answer_does_not_replace_a_snapshot),
        CASE(a_snapshot_of_another_service_or_a_damaged_one_is_not_used),
        CASE(unwatch_waits_for_a_publish_that_is_under_way),
        CASE(a_service_that_nobody_watches_is_not_asked_for),
        CASE(the_environment_says_what_the_options_do_not),
        CASE(options_that_mean_nothing_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
