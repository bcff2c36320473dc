/* health_check.c: what the kinds of checks have in common: options, counting, telling the owner.
 *
 * Design notes
 * - Locks: the balancer's may be held when a checker's is taken, never the other way round. So `changed` and `gone` are
 *   called without.
 * - Who is counted in `users` keeps the checker, and so its backend and the engine's channel, alive. The balancer is
 *   one of them until the channel is closed; what is under way (a call, an alarm) the others. A check by HTTP is none:
 *   it lives on the runner's thread, which weft__runner_remove waits for.
 * - A check that was begun before the connection changed (`renewed`) is let end, and counts for nothing.
 */
#include "client/health_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/utf8.h"

enum {
    MAX_PATH_BYTES = 1023
};

static const int64_t ns_per_ms = 1000000;

/* ---- options ----------------------------------------------------------------------------------------------------- */

static bool is_path(const char *text)
{
    for (const char *c = text; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return text[0] == '/' && strlen(text) <= MAX_PATH_BYTES;
}

static bool is_utf8(const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        size_t len = weft__utf8_sequence(text, left);
        if (len == 0)
            return false;
        text += len;
        left -= len;
    }
    return true;
}

/* -1, for none, is one that is as well as none. */
static int read_tolerance(int64_t *failures)
{
    if (*failures < -1)
        return -EINVAL;
    *failures = *failures == 0 ? 3 : *failures == -1 ? 0 : *failures;
    return 0;
}

int weft__health_check_options(weft_health_check_options *out, const weft_health_check_options *options)
{
    weft_health_check_options o;
    memset(&o, 0, sizeof o);
    int rc = weft__options_copy(&o, sizeof o, options);
    bool watch = o.kind == WEFT_HEALTH_CHECK_WATCH;
    if (rc == 0 && ((int)o.kind < WEFT_HEALTH_CHECK_GRPC || o.kind > WEFT_HEALTH_CHECK_HTTP))
        rc = -EINVAL;
    if (rc == 0 && (o.interval_ms < 0 || o.timeout_ms < 0 || o.healthy_after < 0))
        rc = -EINVAL; /* without them there is nothing: no -1 */
    if (rc == 0)
        rc = weft__limit(&o.interval_ms, 30000, 1);
    int64_t most_ms = watch ? INT32_MAX : o.interval_ms;
    if (rc == 0)
        rc = weft__limit(&o.timeout_ms, most_ms < 5000 ? most_ms : 5000, 1);
    if (rc == 0)
        rc = weft__limit(&o.healthy_after, 1, 1);
    if (rc == 0)
        rc = read_tolerance(&o.unhealthy_after);
    if (rc < 0)
        return rc;
    o.service = o.service != NULL ? o.service : "";
    o.path = o.path != NULL ? o.path : "/health";
    if (o.interval_ms > INT32_MAX || o.timeout_ms > most_ms || !is_path(o.path) || !is_utf8(o.service))
        return -EINVAL;
    if (watch) { /* the server's word counts at once */
        o.unhealthy_after = 0;
        o.healthy_after = 1;
    }
    *out = o;
    return 0;
}

weft_health_check_options weft__health_check_of_service(const char *service)
{
    weft_health_check_options options = WEFT_HEALTH_CHECK_OPTIONS_INIT;
    options.kind = WEFT_HEALTH_CHECK_WATCH;
    options.service = service;
    return options;
}

/* ---- counting ---------------------------------------------------------------------------------------------------- */

weft__verdict weft__health_count_check(weft__health_count *count, const weft_health_check_options *options,
                                       weft__verdict now, bool good)
{
    count->failures = good ? 0 : count->failures + 1;
    count->successes = good ? count->successes + 1 : 0;
    if (count->failures > options->unhealthy_after)
        return WEFT__VERDICT_ILL;
    return count->successes >= options->healthy_after ? WEFT__VERDICT_WELL : now;
}

/* ---- what checkers share ----------------------------------------------------------------------------------------- */

int weft__health_checks_new(weft__health_checks **out, weft_engine *engine, const weft__channel_config *config,
                            const weft_health_check_options *options, const char *host)
{
    bool http = options->kind == WEFT_HEALTH_CHECK_HTTP;
    if (http && engine->vtable->bind_name != NULL)
        return -ENOTSUP;
    weft__health_checks *checks = calloc(1, sizeof *checks);
    if (checks == NULL)
        return -ENOMEM;
    checks->engine = engine;
    checks->log = config->log;
    checks->options = *options;
    checks->min_backoff_ms = config->min_backoff_ms;
    checks->max_backoff_ms = config->max_backoff_ms;
    checks->host = host;
    checks->service = strdup(options->service);
    checks->path = strdup(options->path);
    checks->options.service = checks->service;
    checks->options.path = checks->path;
    int rc = checks->service == NULL || checks->path == NULL ? -ENOMEM : 0;
    if (rc == 0 && http)
        rc = weft__runner_init(&checks->runner, "weft-health");
    checks->has_runner = rc == 0 && http;
    if (rc < 0) {
        weft__health_checks_free(checks);
        return rc;
    }
    *out = checks;
    return 0;
}

void weft__health_checks_free(weft__health_checks *checks)
{
    if (checks == NULL)
        return;
    if (checks->has_runner)
        weft__runner_fini(&checks->runner);
    free(checks->service);
    free(checks->path);
    free(checks);
}

/* ---- a checker --------------------------------------------------------------------------------------------------- */

int weft__checker_new(weft__checker **out, weft__health_checks *checks, const weft__checked *about)
{
    if (checks == NULL)
        return 0;
    return checks->options.kind == WEFT_HEALTH_CHECK_HTTP ? weft__http_checker_new(out, checks, about)
                                                          : weft__call_checker_new(out, checks, about);
}

/* What is assumed of a connection that nobody has asked about. */
static weft__verdict first_verdict(const weft__checker *checker)
{
    bool watch = checker->checks->options.kind == WEFT_HEALTH_CHECK_WATCH;
    return watch ? WEFT__VERDICT_AWAITED : WEFT__VERDICT_WELL;
}

int weft__checker_init(weft__checker *checker, const weft__checker_kind *kind, weft__health_checks *checks,
                       const weft__checked *about)
{
    checker->kind = kind;
    checker->checks = checks;
    checker->about = *about;
    checker->users = 1;
    atomic_init(&checker->verdict, first_verdict(checker));
    return -pthread_mutex_init(&checker->lock, NULL);
}

void weft__checker_fini(weft__checker *checker)
{
    pthread_mutex_destroy(&checker->lock);
}

void weft__checker_free(weft__checker *checker)
{
    if (checker != NULL)
        checker->kind->free(checker);
}

void weft__checker_link(weft__checker *checker, bool ready)
{
    if (checker == NULL)
        return;
    pthread_mutex_lock(&checker->lock);
    if (!checker->closed && checker->ready != ready) {
        checker->ready = ready;
        checker->renewed = true;
        if (first_verdict(checker) == WEFT__VERDICT_AWAITED) {
            checker->count = (weft__health_count){0};
            atomic_store_explicit(&checker->verdict, WEFT__VERDICT_AWAITED, memory_order_release);
        }
        checker->kind->linked(checker);
    }
    pthread_mutex_unlock(&checker->lock);
}

void weft__checker_close(weft__checker *checker)
{
    if (checker == NULL)
        return;
    pthread_mutex_lock(&checker->lock);
    if (!checker->closed) {
        checker->closed = true;
        checker->kind->linked(checker);
    }
    pthread_mutex_unlock(&checker->lock);
}

void weft__checker_leave_and_unlock(weft__checker *checker)
{
    bool last = --checker->users == 0;
    pthread_mutex_unlock(&checker->lock);
    if (last)
        checker->about.gone(checker->about.owner);
}

void weft__checker_leave(weft__checker *checker)
{
    pthread_mutex_lock(&checker->lock);
    weft__checker_leave_and_unlock(checker);
}

int64_t weft__checker_next_ns(weft__checker *checker, int64_t started_ns, bool first)
{
    int64_t after_ns = checker->checks->options.interval_ms * ns_per_ms;
    if (first)
        after_ns = (int64_t)weft__random_below(checker->checks->engine->random, (uint64_t)after_ns);
    return started_ns + after_ns;
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

/* Unlocks, and tells of a verdict that is another than before. */
static void set_and_unlock(weft__checker *checker, weft__verdict verdict, const char *reason)
{
    weft__verdict before = weft__checker_verdict(checker);
    int64_t failures = checker->count.failures;
    bool recovers = checker->said_ill && verdict == WEFT__VERDICT_WELL;
    checker->said_ill = !recovers && (checker->said_ill || verdict == WEFT__VERDICT_ILL);
    atomic_store_explicit(&checker->verdict, verdict, memory_order_release);
    pthread_mutex_unlock(&checker->lock);
    if (verdict == before)
        return;
    weft_log_field fields[] = {WEFT_STR("address", checker->about.address), WEFT_STR("reason", reason),
                               WEFT_INT("failures_in_row", failures)};
    if (verdict == WEFT__VERDICT_ILL)
        weft_log_warn(checker->checks->log, "an instance is unhealthy", fields, sizeof fields / sizeof *fields);
    else if (recovers)
        weft_log_info(checker->checks->log, "an instance is healthy again", fields, 2);
    checker->about.changed(checker->about.owner);
}

/* Whether an outcome that comes now counts. */
static bool is_of_interest(const weft__checker *checker)
{
    return checker->ready && !checker->closed && !checker->renewed;
}

void weft__checker_note(weft__checker *checker, bool good, const char *reason)
{
    pthread_mutex_lock(&checker->lock);
    weft__verdict verdict = weft__checker_verdict(checker);
    if (is_of_interest(checker))
        verdict = weft__health_count_check(&checker->count, &checker->checks->options, verdict, good);
    set_and_unlock(checker, verdict, reason);
}

void weft__checker_note_unimplemented(weft__checker *checker)
{
    pthread_mutex_lock(&checker->lock);
    bool counts = is_of_interest(checker);
    bool says = counts && !checker->said_unimplemented;
    checker->said_unimplemented = checker->said_unimplemented || counts;
    if (counts)
        checker->count = (weft__health_count){0};
    set_and_unlock(checker, counts ? WEFT__VERDICT_WELL : weft__checker_verdict(checker), "it has no health checks");
    if (says)
        weft_log_warn(checker->checks->log, "an instance has no health checks: taken for healthy",
                      WEFT_FIELDS(WEFT_STR("address", checker->about.address)));
}

void weft__checker_note_unknown(weft__checker *checker)
{
    pthread_mutex_lock(&checker->lock);
    set_and_unlock(checker, is_of_interest(checker) ? WEFT__VERDICT_AWAITED : weft__checker_verdict(checker), "");
}
