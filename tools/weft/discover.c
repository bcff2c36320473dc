/* Design notes. A channel does the work: it resolves, connects and checks as that of any client does, and this shows
 * what it knows, ten times a second, whenever that is something else than before. It makes no calls; so there is
 * nothing to tell of calls and latencies.
 *
 * An instance that cannot be reached is "failed" until it can, though the channel tries again and again.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <weft/consul.h>
#include <weft/core.h>
#include <weft/weft.h>

#include "commands.h" /* after Weft, whose parameters may be called as the types of memory.h are */
#include "times.h"

enum {
    LOOK_MS = 100,
    DEFAULT_TIMEOUT_MS = 5000,
    MAX_BACKOFF_MS = 5000, /* who watches wants to see soon that something is back */
};

static const int64_t ns_per_ms = 1000000;
static const int64_t ns_per_s = 1000000000;

/* ---- what there is to look with ---------------------------------------------------------------------------------- */

struct lookout {
    const cli_args *args;
    const char *target;
    int64_t timeout_ms;
    int signals; /* a descriptor */
    weft_log *log;
    weft_engine *engine;
    weft_consul *consul;
    weft_resolver *resolver; /* its own, or consul's; or NULL */
    weft_tls *tls;
    weft_channel *channel;
    const char *problem; /* is told when the log, with its own words about it, is written */
};

/* All instances at one time. */
struct view {
    weft_arena *arena;
    weft_endpoint_info *rows;
    size_t count;
    bool awaited;
    const char *reason;
    int64_t now_ns; /* of the engine, and of the calendar */
    int64_t wall_ns;
};

static int fail(struct lookout *look, const char *format, ...) WEFT_PRINTF(2, 3);

/* @return CLI_FAILED. */
static int fail(struct lookout *look, const char *format, ...)
{
    char words[1024];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(words, sizeof words, format, list);
    va_end(list);
    look->problem = pool_printf(look->args->pool, "%s", words);
    return CLI_FAILED;
}

static bool begins(const char *s, const char *start)
{
    return strncmp(s, start, strlen(start)) == 0;
}

/* "users:50051" is a name to look up. */
static const char *full_target(pool *p, const char *target)
{
    const char *colon = strchr(target, ':');
    if (colon == NULL || colon[1] == '\0' || colon[1 + strspn(colon + 1, "0123456789")] != '\0')
        return target;
    return pool_printf(p, "dns:///%s", target);
}

static int open_consul(struct lookout *look)
{
    char reason[256] = "";
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    options.log = look->log;
    options.address = cli_value(look->args, "--consul");
    int rc = weft_consul_new(&look->consul, &options, reason, sizeof reason);
    if (rc < 0)
        return fail(look, "%s: %s: --consul HOST:PORT or CONSUL_HTTP_ADDR name the agent",
                    options.address != NULL ? options.address : "Consul", reason[0] != '\0' ? reason : strerror(-rc));
    look->resolver = weft_consul_resolver(look->consul);
    return CLI_OK;
}

static int open_resolver(struct lookout *look)
{
    int rc = 0;
    if (begins(look->target, "consul:"))
        return open_consul(look);
    if (cli_has(look->args, "--consul"))
        return cli_usage(look->args, "--consul is for targets like consul:///users, not for %s", look->target);
    if (begins(look->target, "dns:"))
        rc = weft_dns_resolver_new(&look->resolver, NULL);
    else if (begins(look->target, "file:"))
        rc = weft_file_resolver_new(&look->resolver, NULL);
    return rc < 0 ? fail(look, "cannot look up %s: %s", look->target, strerror(-rc)) : CLI_OK;
}

static int open_tls(struct lookout *look)
{
    char reason[256] = "";
    weft_tls_options options = WEFT_TLS_OPTIONS_INIT;
    options.log = look->log;
    options.roots_file = cli_value(look->args, "--cacert");
    if (options.roots_file == NULL)
        return CLI_OK;
    int rc = weft_tls_new(&look->tls, look->engine, &options, reason, sizeof reason);
    return rc < 0 ? fail(look, "--cacert %s", reason[0] != '\0' ? reason : strerror(-rc)) : CLI_OK;
}

static int bad_target(struct lookout *look)
{
    (void)fail(look,
               "%s is no target. Targets are HOST:PORT, dns:///HOST:PORT, static:///IP:PORT,…, ipv4:IP:PORT, "
               "unix:/PATH, file:///PATH and consul:///SERVICE",
               look->target);
    return CLI_USAGE;
}

static int open_channel(struct lookout *look)
{
    weft_health_check_options check = WEFT_HEALTH_CHECK_OPTIONS_INIT;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    check.kind = WEFT_HEALTH_CHECK_WATCH;
    check.service = cli_value(look->args, "--check");
    check.timeout_ms = look->timeout_ms;
    options.log = look->log;
    options.tls = look->tls;
    options.authority = cli_value(look->args, "--authority");
    options.connect_timeout_ms = look->timeout_ms;
    options.max_backoff_ms = MAX_BACKOFF_MS;
    options.resolvers = &look->resolver;
    options.resolver_count = look->resolver != NULL;
    options.health_check = check.service != NULL ? &check : NULL;
    int rc = weft_channel_new(&look->channel, look->engine, look->target, &options);
    if (rc == -EINVAL || rc == -ENAMETOOLONG)
        return bad_target(look);
    if (rc < 0)
        return fail(look, "cannot watch %s: %s", look->target, strerror(-rc));
    (void)weft_channel_connect(look->channel, 0); /* a single address is connected to when somebody wants it */
    return CLI_OK;
}

/* Ctrl-C and SIGTERM come by a descriptor. Before the first thread, which inherits it. */
static int open_signals(struct lookout *look)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &ends, NULL) == 0)
        look->signals = signalfd(-1, &ends, SFD_CLOEXEC);
    return look->signals < 0 ? fail(look, "cannot wait for signals: %s", strerror(errno)) : CLI_OK;
}

static int open_lookout(struct lookout *look)
{
    weft_log_options log = WEFT_LOG_OPTIONS_INIT;
    weft_core_engine_options core = WEFT_CORE_ENGINE_OPTIONS_INIT;
    log.level = WEFT_LOG_WARN;
    log.format = WEFT_LOG_TEXT;
    int code = open_signals(look);
    if (code != CLI_OK)
        return code;
    int rc = weft_log_new(&look->log, &log);
    core.log = look->log;
    core.threads = 2;
    if (rc == 0)
        rc = weft_core_engine_new(&look->engine, &core);
    if (rc < 0)
        return fail(look, "cannot start: %s", strerror(-rc));
    code = open_resolver(look);
    if (code == CLI_OK)
        code = open_tls(look);
    return code == CLI_OK ? open_channel(look) : code;
}

static void close_lookout(struct lookout *look)
{
    weft_channel_free(look->channel);
    weft_tls_free(look->tls);
    if (look->consul == NULL)
        weft_resolver_free(look->resolver);
    (void)weft_consul_free(look->consul);
    (void)weft_engine_free(look->engine);
    weft_log_free(look->log);
    if (look->signals >= 0)
        close(look->signals);
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

static const weft_endpoint_info *find(const struct view *view, const char *address, size_t guess)
{
    if (guess < view->count && strcmp(view->rows[guess].address, address) == 0)
        return &view->rows[guess];
    for (size_t i = 0; i < view->count; i++)
        if (strcmp(view->rows[i].address, address) == 0)
            return &view->rows[i];
    return NULL;
}

/* Fills `view` anew. `before`: what was seen last. 0; -ENOMEM. */
static int take_view(struct lookout *look, struct view *view, const struct view *before)
{
    weft_endpoint_list list = WEFT_ENDPOINT_LIST_INIT;
    struct timespec wall;
    weft_arena_reset(view->arena);
    int rc = weft_channel_endpoints(look->channel, view->arena, &list);
    if (rc < 0)
        return rc;
    view->rows = weft_arena_calloc(view->arena, list.count, sizeof *view->rows);
    if (view->rows == NULL)
        return -ENOMEM;
    view->count = list.count;
    view->awaited = list.awaited;
    view->reason = list.reason;
    view->now_ns = weft_engine_now_ns(look->engine);
    clock_gettime(CLOCK_REALTIME, &wall);
    view->wall_ns = wall.tv_sec * ns_per_s + wall.tv_nsec;
    for (size_t i = 0; i < list.count; i++) {
        weft_endpoint_info *row = &view->rows[i];
        *row = *list.endpoints[i];
        const weft_endpoint_info *last = find(before, row->address, i);
        if (last != NULL && last->state == WEFT_LINK_BACKOFF && row->state == WEFT_LINK_CONNECTING)
            row->state = last->state;
        if (last != NULL && row->state == WEFT_LINK_BACKOFF && last->state == WEFT_LINK_BACKOFF)
            row->since_ns = last->since_ns;
    }
    return 0;
}

static bool same_zone(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_row(const weft_endpoint_info *a, const weft_endpoint_info *b)
{
    return strcmp(a->address, b->address) == 0 && same_zone(a->zone, b->zone) && a->weight == b->weight &&
           a->state == b->state && a->since_ns == b->since_ns && a->health == b->health && a->check == b->check &&
           a->ejected == b->ejected;
}

static bool same_view(const struct view *a, const struct view *b)
{
    bool same = a->count == b->count && a->awaited == b->awaited;
    if (same && a->count == 0)
        same = strcmp(a->reason, b->reason) == 0;
    for (size_t i = 0; same && i < a->count; i++)
        same = same_row(&a->rows[i], &b->rows[i]);
    return same;
}

/* Whether all is known that was asked for: each instance is connected, or failed to. */
static bool is_settled(const struct view *view)
{
    for (size_t i = 0; i < view->count; i++) {
        const weft_endpoint_info *row = &view->rows[i];
        bool asked = row->state == WEFT_LINK_READY && row->check == WEFT_CHECKED_NOT_YET;
        if (asked || row->state == WEFT_LINK_IDLE || row->state == WEFT_LINK_CONNECTING)
            return false;
    }
    return !view->awaited;
}

static bool is_well(const weft_endpoint_info *row)
{
    return row->state == WEFT_LINK_READY && !row->ejected && row->health != WEFT_INSTANCE_UNHEALTHY &&
           row->health != WEFT_INSTANCE_DRAINING && row->check != WEFT_CHECKED_UNHEALTHY &&
           row->check != WEFT_CHECKED_NOT_YET;
}

static bool any_is_well(const struct view *view)
{
    for (size_t i = 0; i < view->count; i++)
        if (is_well(&view->rows[i]))
            return true;
    return false;
}

/* ---- in words ---------------------------------------------------------------------------------------------------- */

static const char *state_word(const weft_endpoint_info *row)
{
    static const char *const words[] = {"idle", "connecting", "ready", "failed"};
    return row->ejected ? "ejected" : words[row->state];
}

static const char *health_word(weft_instance_health health)
{
    static const char *const words[] = {"", "healthy", "unhealthy", "draining"};
    return words[health];
}

/* Who is not connected is not asked. */
static const char *check_word(const weft_endpoint_info *row)
{
    static const char *const words[] = {"", "asked", "serving", "not serving"};
    return row->state == WEFT_LINK_READY ? words[row->check] : "";
}

/* What the directory says, and what the instance itself does. */
static const char *health_words(pool *p, const weft_endpoint_info *row)
{
    const char *health = health_word(row->health);
    const char *check = check_word(row);
    if (*health != '\0' && *check != '\0')
        return pool_printf(p, "%s, %s", health, check);
    return *health != '\0' ? health : *check != '\0' ? check : "-";
}

/* "ipv4:10.0.0.1:50051" as others want it. */
static const char *short_address(const char *address)
{
    return begins(address, "ipv4:") || begins(address, "ipv6:") ? address + 5 : address;
}

/* A directory's text for a terminal, which is not to be driven by it. */
static const char *plain(pool *p, const char *s)
{
    if (s == NULL || *s == '\0')
        return "-";
    char *copy = pool_printf(p, "%s", s);
    for (char *c = copy; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return copy;
}

static const char *clock_time(pool *p, int64_t wall_ns)
{
    char digits[16] = "";
    time_t seconds = (time_t)(wall_ns / ns_per_s);
    struct tm parts;
    if (localtime_r(&seconds, &parts) != NULL)
        (void)strftime(digits, sizeof digits, "%H:%M:%S", &parts);
    return pool_printf(p, "%s", digits);
}

static int64_t since_wall_ns(const struct view *view, const weft_endpoint_info *row)
{
    return view->wall_ns - (view->now_ns - row->since_ns);
}

static cli_style style_of(const weft_endpoint_info *row)
{
    if (is_well(row))
        return CLI_GREEN;
    return row->state == WEFT_LINK_BACKOFF ? CLI_RED : CLI_YELLOW;
}

/* ---- as a table -------------------------------------------------------------------------------------------------- */

enum {
    COLUMNS = 6
};

static const char *const headings[COLUMNS] = {"ADDRESS", "STATE", "HEALTH", "WEIGHT", "ZONE", "SINCE"};

static void fill_cells(pool *p, const struct view *view, const weft_endpoint_info *row, const char *cells[COLUMNS])
{
    cells[0] = plain(p, short_address(row->address));
    cells[1] = state_word(row);
    cells[2] = health_words(p, row);
    cells[3] = pool_printf(p, "%u", (unsigned)row->weight);
    cells[4] = plain(p, row->zone);
    cells[5] = clock_time(p, since_wall_ns(view, row));
}

static void print_cells(const char *const cells[COLUMNS], const int widths[COLUMNS], cli_style style)
{
    for (int i = 0; i < COLUMNS; i++) {
        bool coloured = i == 1 && style != CLI_PLAIN;
        fputs(coloured ? cli_style_on(stdout, style) : "", stdout);
        fputs(cells[i], stdout);
        fputs(coloured ? cli_style_on(stdout, CLI_PLAIN) : "", stdout);
        if (i < COLUMNS - 1)
            printf("%*s", widths[i] - (int)strlen(cells[i]) + 2, "");
    }
    putchar('\n');
}

static void print_table(const struct view *view)
{
    pool p;
    int widths[COLUMNS];
    pool_init(&p);
    const char *(*cells)[COLUMNS] = pool_alloc(&p, (view->count + 1) * sizeof *cells);
    for (int k = 0; k < COLUMNS; k++)
        widths[k] = (int)strlen(headings[k]);
    for (size_t i = 0; i < view->count; i++) {
        fill_cells(&p, view, &view->rows[i], cells[i]);
        for (int k = 0; k < COLUMNS; k++)
            widths[k] = (int)strlen(cells[i][k]) > widths[k] ? (int)strlen(cells[i][k]) : widths[k];
    }
    print_cells(headings, widths, CLI_PLAIN);
    for (size_t i = 0; i < view->count; i++)
        print_cells(cells[i], widths, style_of(&view->rows[i]));
    pool_fini(&p);
}

static void redraw(const struct lookout *look, const struct view *view)
{
    static const char clear[] = "\033[H\033[2J";
    pool p;
    pool_init(&p);
    printf("%s%s  %s\n\n", clear, look->target, clock_time(&p, view->wall_ns));
    if (view->count > 0)
        print_table(view);
    else
        printf("%s\n", plain(&p, view->reason));
    pool_fini(&p);
}

/* ---- as changes -------------------------------------------------------------------------------------------------- */

static void print_line(const struct view *view, const weft_endpoint_info *row, const char *event)
{
    pool p;
    const char *cells[COLUMNS];
    pool_init(&p);
    fill_cells(&p, view, row, cells);
    if (strcmp(event, "gone") == 0)
        printf("%s  %s  gone\n", clock_time(&p, view->wall_ns), cells[0]);
    else
        printf("%s  %s  %s  health %s  weight %s  zone %s  since %s\n", clock_time(&p, view->wall_ns), cells[0],
               cells[1], cells[2], cells[3], cells[4], cells[5]);
    pool_fini(&p);
}

static void print_json_time(const char *key, int64_t wall_ns)
{
    time_t seconds = (time_t)(wall_ns / ns_per_s);
    struct tm parts;
    char digits[32] = "";
    if (gmtime_r(&seconds, &parts) != NULL)
        (void)strftime(digits, sizeof digits, "%Y-%m-%dT%H:%M:%S", &parts);
    printf("\"%s\":\"%s.%03dZ\"", key, digits, (int)(wall_ns / ns_per_ms % 1000));
}

static void print_json_text(const char *key, const char *value)
{
    printf(",\"%s\":", key);
    if (value == NULL || *value == '\0')
        fputs("null", stdout);
    else
        cli_json_string(stdout, value);
}

static void print_json(const struct view *view, const weft_endpoint_info *row, const char *event)
{
    putchar('{');
    print_json_time("time", view->wall_ns);
    print_json_text("event", event);
    print_json_text("address", short_address(row->address));
    print_json_text("state", state_word(row));
    print_json_text("health", health_word(row->health));
    print_json_text("check", check_word(row));
    printf(",\"weight\":%u", (unsigned)row->weight);
    print_json_text("zone", row->zone);
    putchar(',');
    print_json_time("since", since_wall_ns(view, row));
    puts("}");
}

static void print_nothing(const struct lookout *look, const struct view *view)
{
    pool p;
    pool_init(&p);
    if (cli_has(look->args, "--json")) {
        putchar('{');
        print_json_time("time", view->wall_ns);
        print_json_text("event", "none");
        print_json_text("reason", view->reason);
        puts("}");
    } else
        printf("%s  none: %s\n", clock_time(&p, view->wall_ns), plain(&p, view->reason));
    pool_fini(&p);
}

static void print_changes(const struct lookout *look, const struct view *view, const struct view *before)
{
    void (*print)(const struct view *, const weft_endpoint_info *, const char *) =
        cli_has(look->args, "--json") ? print_json : print_line;
    for (size_t i = 0; i < before->count; i++)
        if (find(view, before->rows[i].address, i) == NULL)
            print(view, &before->rows[i], "gone");
    for (size_t i = 0; i < view->count; i++) {
        const weft_endpoint_info *last = find(before, view->rows[i].address, i);
        if (last == NULL || !same_row(last, &view->rows[i]))
            print(view, &view->rows[i], last == NULL ? "new" : "changed");
    }
    if (view->count == 0 && !view->awaited)
        print_nothing(look, view);
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

/* Waits for the next look. @return whether there is one, or the user has had enough. */
static bool wait_for_more(const struct lookout *look)
{
    struct pollfd fd = {.fd = look->signals, .events = POLLIN};
    return poll(&fd, 1, LOOK_MS) == 0;
}

/* Shows all changes until Ctrl-C. */
static int watch(struct lookout *look, struct view views[2])
{
    bool redraws = isatty(STDOUT_FILENO) != 0 && !cli_has(look->args, "--json");
    struct view *view = &views[0];
    struct view *before = &views[1];
    bool first = true;
    do {
        if (take_view(look, view, before) < 0)
            return fail(look, "out of memory");
        if (!first && same_view(view, before)) /* `before` stays what was shown last */
            continue;
        if (redraws)
            redraw(look, view);
        else
            print_changes(look, view, before);
        if (fflush(stdout) != 0)
            return fail(look, "cannot write the output: %s", strerror(errno));
        struct view *shown = view;
        view = before;
        before = shown;
        first = false;
    } while (wait_for_more(look));
    return CLI_OK;
}

static int nothing_found(struct lookout *look, const struct view *view)
{
    const char *mend = "";
    if (view->awaited)
        return fail(look, "%s: no answer within %g s; --timeout gives it longer", look->target,
                    (double)look->timeout_ms / 1000);
    if (begins(look->target, "consul:") && strcmp(view->reason, "the service has no instance") != 0)
        mend = "; --consul HOST:PORT or CONSUL_HTTP_ADDR name the agent";
    return fail(look, "%s: %s%s", look->target, view->reason, mend);
}

/* Shows all once they are known. */
static int show(struct lookout *look, struct view views[2])
{
    int64_t until_ns = weft_engine_now_ns(look->engine) + look->timeout_ms * ns_per_ms;
    int turn = 0;
    for (;; turn = !turn) {
        if (take_view(look, &views[turn], &views[!turn]) < 0)
            return fail(look, "out of memory");
        if (is_settled(&views[turn]) || views[turn].now_ns > until_ns)
            break;
        if (!wait_for_more(look))
            return CLI_FAILED;
    }
    const struct view *view = &views[turn];
    const struct view none = {.count = 0};
    if (cli_has(look->args, "--json"))
        print_changes(look, view, &none);
    else if (view->count > 0)
        print_table(view);
    if (view->count == 0)
        return nothing_found(look, view);
    return any_is_well(view) ? CLI_OK : CLI_FAILED;
}

static int run(const cli_args *args)
{
    struct lookout look = {.args = args, .signals = -1, .timeout_ms = DEFAULT_TIMEOUT_MS};
    struct view views[2] = {{.count = 0}, {.count = 0}};
    const char *timeout = cli_value(args, "--timeout");
    if (timeout != NULL && !parse_time_ms(timeout, &look.timeout_ms))
        return cli_usage(args, "--timeout %s is no time from 1ms to 3600s", timeout);
    look.target = full_target(args->pool, args->operands[0]);
    int code = open_lookout(&look);
    if (code == CLI_OK && (weft_arena_new(&views[0].arena, 0) < 0 || weft_arena_new(&views[1].arena, 0) < 0))
        code = fail(&look, "out of memory");
    if (code == CLI_OK)
        code = cli_has(args, "--watch") ? watch(&look, views) : show(&look, views);
    weft_arena_free(views[0].arena);
    weft_arena_free(views[1].arena);
    close_lookout(&look);
    if (look.problem != NULL)
        (void)cli_error("%s", look.problem);
    return code;
}

static const cli_option options[] = {
    {.name = "--watch", .doc = "goes on, and shows what changes, until Ctrl-C"},
    {.name = "--json", .doc = "one JSON object for each instance, and for each change"},
    {.name = "--consul", .value = "ADDR", .doc = "Consul's agent; default: CONSUL_HTTP_ADDR, or 127.0.0.1:8500"},
    {.name = "--check", .value = "SERVICE", .doc = "asks each instance whether this service is well; \"\": the server"},
    {.name = "--cacert", .value = "FILE", .doc = "connects by TLS, to servers that these CAs (PEM) vouch for"},
    {.name = "--authority", .value = "NAME", .doc = "the name in the certificates; default: from the target"},
    {.name = "--timeout", .value = "TIME", .doc = "how long to wait for an answer: 5s (the default), 500ms"},
    {.name = NULL},
};

static const cli_example examples[] = {
    {"weft discover dns:///users:50051", "all addresses of a name, and whether they can be connected to"},
    {"weft discover consul:///user-service --watch", "what Consul knows of a service, as it changes"},
    {"weft discover static:///10.0.0.1:50051,10.0.0.2:50051 --check user.UserService",
     "what two servers say themselves"},
    {"weft discover file:///etc/users.yaml --json | jq -r 'select(.state == \"ready\").address'", "for a program"},
    {NULL, NULL},
};

const cli_command discover_command = {
    .name = "discover",
    .summary = "show the instances of a service",
    .synopsis = "TARGET [--watch] [--json] [OPTION…]",
    .description = "Finds the instances of a service as a client of Weft does, connects to each of them, and\n"
                   "shows what it knows: address, state, health, weight, zone, and since when the state is\n"
                   "what it is. A target is one of\n"
                   "\n"
                   "  HOST:PORT, dns:///HOST:PORT        all addresses of a name\n"
                   "  dns:///_grpc._tcp.NAME             its SRV records\n"
                   "  static:///IP:PORT,IP:PORT;weight=3, ipv4:IP:PORT, unix:/PATH\n"
                   "  file:///PATH                       a list in YAML or JSON\n"
                   "  consul:///SERVICE                  what Consul knows of it\n"
                   "\n"
                   "States: connecting, ready, failed (it is tried again). Health: what the directory says\n"
                   "(healthy, unhealthy, draining), and with --check what the instance says (serving, not\n"
                   "serving).\n"
                   "\n"
                   "Without --watch it ends when all are connected or have failed: with 0 if at least one is\n"
                   "ready and well, else with 1. With --watch, a terminal shows a table that is drawn again,\n"
                   "anything else gets one line a change.",
    .options = options,
    .examples = examples,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
