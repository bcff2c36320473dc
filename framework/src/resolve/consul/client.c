/* client.c: the client's life, its thread, and one HTTP request.
 *
 *     any thread:  watch, unwatch, hint, register, drain … ── change lists under the lock ──┐ curl_multi_wakeup
 *                                                                                           ▼
 *     the thread:  step services, step registrations ──▶ curl_multi_perform ──▶ curl_multi_poll ──┐
 *                  ▲                                                                              │
 *                  └──────────────────────────────────────────────────────────────────────────────┘
 *
 * - Only the thread talks to libcurl, publishes, and frees services; so it works on them without the lock, and takes
 *   it for the lists and for what other threads say. Each field says whose it is.
 * - An owner (a service, a registration) has one request at a time. A request ends by `done`, which the owner's next
 *   step takes, or by being cancelled, after which nothing comes.
 * - Connections are libcurl's to keep: one for each query that hangs, on HTTP/2 one for all.
 */
#include "resolve/consul/client.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/options.h"
#include "base/thread.h"
#include "resolve/consul/query.h"

#define CONNECT_MS   5000
#define TOKEN_MAX    4096
#define MAX_MS       INT64_C(86400000000) /* of every duration: a thousand days */
#define STACK_BYTES  (2 * 1024 * 1024)    /* what libcurl and the TLS below it take is not for us to know */
#define DEFAULT_PORT "8500"

int64_t weft__consul_now_ns(const weft_consul *consul)
{
    return consul->clock->now_ns(consul->clock);
}

bool weft__consul_forked(const weft_consul *consul)
{
    return consul->pid != getpid();
}

void weft__consul_wake(weft_consul *consul)
{
    curl_multi_wakeup(consul->multi);
}

int64_t weft__consul_backoff_ns(weft_consul *consul, unsigned failures, int64_t max_ms)
{
    int64_t pause_ms = consul->options.backoff_ms;
    while (failures-- > 1 && pause_ms < max_ms)
        pause_ms *= 2;
    if (pause_ms > max_ms)
        pause_ms = max_ms;
    return (int64_t)(weft__random_unit(consul->random) * (double)pause_ms * 1e6);
}

/* ---- one request ------------------------------------------------------------------------------------------------- */

void weft__consul_request_init(weft__consul_request *request, int64_t max_bytes)
{
    *request = (weft__consul_request){0};
    weft__buf_init(&request->answer, max_bytes < INT64_MAX ? (size_t)max_bytes : 0);
}

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
    weft__consul_request *request = arg;
    int rc = weft__buf_append(&request->answer, data, size * count);
    request->too_large = rc == -E2BIG;
    request->no_memory = rc == -ENOMEM;
    return rc < 0 ? 0 : size * count;
}

/* The value of a header line, if it is of this name. */
static bool is_header(weft_sv line, const char *name, weft_sv *value)
{
    size_t len = strlen(name);
    if (line.len <= len || strncasecmp(line.data, name, len) != 0 || line.data[len] != ':')
        return false;
    line = weft_sv_of(line.data + len + 1, line.len - len - 1);
    while (line.len > 0 && (line.data[0] == ' ' || line.data[0] == '\t'))
        line = weft_sv_of(line.data + 1, line.len - 1);
    while (line.len > 0 && strchr(" \t\r\n", line.data[line.len - 1]) != NULL)
        line.len--;
    *value = line;
    return true;
}

static uint64_t read_index(weft_sv value)
{
    uint64_t index = 0;
    if (value.len == 0 || value.len > 19)
        return 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return 0;
        index = index * 10 + (uint64_t)(value.data[i] - '0');
    }
    return index;
}

static size_t take_header(char *data, size_t size, size_t count, void *arg)
{
    weft__consul_request *request = arg;
    weft_sv line = weft_sv_of(data, size * count), value;
    if (is_header(line, "X-Consul-Index", &value))
        request->index = read_index(value);
    else if (is_header(line, "X-Consul-Results-Filtered-By-ACLs", &value))
        request->filtered = weft_sv_is(value, "true");
    return size * count;
}

static int add_header(struct curl_slist **list, const char *name, const char *value)
{
    weft__buf line;
    weft__buf_init(&line, 0);
    weft__buf_printf(&line, "%s%s", name, value);
    struct curl_slist *longer = line.failed < 0 ? NULL : curl_slist_append(*list, line.data);
    weft__buf_fini(&line);
    if (longer == NULL)
        return -ENOMEM;
    *list = longer;
    return 0;
}

/* What a file holds, without blanks around it, or -errno. */
static int read_token(const char *path, weft__buf *out)
{
    char data[TOKEN_MAX + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, data, sizeof data);
    int rc = n < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    if (rc < 0)
        return rc;
    size_t start = 0, end = n > 0 ? (size_t)n : 0;
    if (end > TOKEN_MAX)
        return -EINVAL;
    while (end > 0 && (unsigned char)data[end - 1] <= ' ')
        end--;
    while (start < end && (unsigned char)data[start] <= ' ')
        start++;
    for (size_t i = start; i < end; i++)
        if ((unsigned char)data[i] <= ' ' || data[i] == 0x7f)
            return -EINVAL;
    if (start == end)
        return -EINVAL;
    weft__buf_reset(out);
    return weft__buf_append(out, data + start, end - start);
}

static const char *current_token(weft_consul *consul)
{
    if (consul->options.token_file == NULL)
        return consul->options.token != NULL ? consul->options.token : "";
    if (read_token(consul->options.token_file, &consul->token) < 0)
        weft_log_warn(consul->options.log, "consul: the token file cannot be read: the last token stays",
                      WEFT_FIELDS(WEFT_STR("file", consul->options.token_file)));
    return consul->token.data;
}

/* "host:port" of an authority that may lack its port. */
static void write_authority(weft__buf *buf, const char *authority)
{
    const char *bracket = strrchr(authority, ']');
    weft__buf_puts(buf, authority);
    if (strchr(bracket != NULL ? bracket : authority, ':') == NULL)
        weft__buf_puts(buf, ":" DEFAULT_PORT);
}

/* The URL to the scratch; `connect_to` when its host is the certificate's and not the agent's. */
static int write_url(weft_consul *consul, weft__consul_request *request, const weft__consul_ask *ask)
{
    const weft_consul_options *options = &consul->options;
    const char *address = options->address;
    bool tls = strncmp(address, "https://", 8) == 0;
    const char *host = strstr(address, "://") + 3;
    const char *real = ask->authority[0] != '\0' ? ask->authority : host;
    weft__buf *url = &consul->scratch;
    weft__buf_reset(url);
    if (strncmp(address, "unix://", 7) == 0 && ask->authority[0] == '\0')
        real = "localhost";
    if (tls && options->server_name != NULL) {
        weft__buf_puts(url, "::");
        write_authority(url, real);
        if (url->failed < 0 || add_header(&request->connect_to, url->data, "") < 0)
            return -ENOMEM;
        const char *bracket = strrchr(real, ']');
        const char *port = strchr(bracket != NULL ? bracket : real, ':');
        weft__buf_reset(url);
        weft__buf_printf(url, "https://%s%s%s", options->server_name, port != NULL ? port : ":" DEFAULT_PORT,
                         ask->path);
        return url->failed;
    }
    weft__buf_puts(url, tls ? "https://" : "http://");
    write_authority(url, real);
    weft__buf_puts(url, ask->path);
    return url->failed;
}

static int set_headers(weft_consul *consul, weft__consul_request *request, const weft__consul_ask *ask)
{
    const char *token = ask->token[0] != '\0' ? ask->token : current_token(consul);
    int rc = 0;
    if (token[0] != '\0')
        rc = add_header(&request->headers, "X-Consul-Token: ", token);
    if (rc == 0 && ask->body != NULL)
        rc = add_header(&request->headers, "Content-Type: ", "application/json");
    if (rc == 0)
        rc = add_header(&request->headers, "Expect:", "");
    return rc;
}

/* libcurl fails to take an option only for want of memory, or because it was built without what the option needs. */
static int set_options(weft_consul *consul, weft__consul_request *request, const weft__consul_ask *ask)
{
    const weft_consul_options *o = &consul->options;
    const char *user = ask->user_password[0] != '\0' ? ask->user_password : o->user_password;
    bool verify = !o->insecure && !ask->insecure;
    bool over_unix = strncmp(o->address, "unix://", 7) == 0 && ask->authority[0] == '\0';
    long connect_ms = ask->timeout_ms < CONNECT_MS ? (long)ask->timeout_ms : CONNECT_MS;
    CURL *easy = request->easy;
    CURLcode bad = CURLE_OK;
#define SET(option, value) (bad = bad != CURLE_OK ? bad : curl_easy_setopt(easy, CURLOPT_##option, (value)))
    SET(URL, consul->scratch.data);
    SET(CUSTOMREQUEST, ask->method);
    if (ask->body != NULL)
        SET(COPYPOSTFIELDS, ask->body);
    SET(HTTPHEADER, request->headers);
    SET(CONNECT_TO, request->connect_to);
    if (over_unix)
        SET(UNIX_SOCKET_PATH, o->address + strlen("unix://"));
    if (user != NULL)
        SET(USERPWD, user);
    SET(NOSIGNAL, 1L);
    SET(PROXY, ""); /* the agent is near: the environment's proxy is for others */
    SET(PROTOCOLS_STR, "http,https");
    SET(ACCEPT_ENCODING, "gzip");
    SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    SET(PIPEWAIT, 1L);
    SET(TCP_KEEPALIVE, 1L);
    SET(TIMEOUT_MS, (long)ask->timeout_ms);
    SET(CONNECTTIMEOUT_MS, connect_ms);
    SET(SSL_VERIFYPEER, verify ? 1L : 0L);
    SET(SSL_VERIFYHOST, verify ? 2L : 0L);
    if (o->ca_file != NULL)
        SET(CAINFO, o->ca_file);
    if (o->ca_folder != NULL)
        SET(CAPATH, o->ca_folder);
    if (o->cert_file != NULL)
        SET(SSLCERT, o->cert_file);
    if (o->key_file != NULL)
        SET(SSLKEY, o->key_file);
    SET(WRITEFUNCTION, take_body);
    SET(WRITEDATA, (void *)request);
    SET(HEADERFUNCTION, take_header);
    SET(HEADERDATA, (void *)request);
    SET(PRIVATE, (void *)request);
#undef SET
    return bad == CURLE_OK ? 0 : -ENOMEM;
}

static void free_lists(weft__consul_request *request)
{
    curl_slist_free_all(request->headers);
    curl_slist_free_all(request->connect_to);
    request->headers = NULL;
    request->connect_to = NULL;
}

int weft__consul_request_start(weft_consul *consul, weft__consul_request *request, const weft__consul_ask *ask)
{
    free_lists(request);
    weft__buf_reset(&request->answer);
    request->done = request->too_large = request->no_memory = request->filtered = false;
    request->index = 0;
    request->status = 0;
    if (request->easy == NULL)
        request->easy = curl_easy_init();
    else
        curl_easy_reset(request->easy);
    int rc = request->easy == NULL ? -ENOMEM : write_url(consul, request, ask);
    if (rc == 0)
        rc = set_headers(consul, request, ask);
    if (rc == 0)
        rc = set_options(consul, request, ask);
    if (rc == 0 && curl_multi_add_handle(consul->multi, request->easy) != CURLM_OK)
        rc = -ENOMEM;
    request->running = rc == 0;
    return rc < 0 ? -ENOMEM : 0;
}

/* The first line of an answer, as a text for people. */
static void quote(char *out, size_t size, weft_sv text)
{
    size_t len = 0;
    while (len < text.len && len + 1 < size && text.data[len] >= ' ' && text.data[len] < 0x7f)
        len++;
    memcpy(out, text.data, len);
    out[len] = '\0';
}

bool weft__consul_request_ok(weft__consul_request *request)
{
    char said[100];
    if (request->result == CURLE_OK && request->status == 200)
        return true;
    if (request->too_large)
        snprintf(request->text, sizeof request->text, "the answer is larger than max_answer_bytes");
    else if (request->no_memory)
        snprintf(request->text, sizeof request->text, "out of memory");
    else if (request->result != CURLE_OK)
        snprintf(request->text, sizeof request->text, "%s", curl_easy_strerror(request->result));
    else {
        quote(said, sizeof said, weft_sv_of(request->answer.data, request->answer.len));
        snprintf(request->text, sizeof request->text, "HTTP %ld: %s", request->status, said);
    }
    return false;
}

void weft__consul_request_cancel(weft_consul *consul, weft__consul_request *request)
{
    if (request->running)
        curl_multi_remove_handle(consul->multi, request->easy);
    request->running = false;
    request->done = false;
}

void weft__consul_request_fini(weft_consul *consul, weft__consul_request *request)
{
    weft__consul_request_cancel(consul, request);
    if (request->easy != NULL)
        curl_easy_cleanup(request->easy);
    free_lists(request);
    weft__buf_fini(&request->answer);
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

/* Takes the outcomes. @return whether there was one. */
static bool collect(weft_consul *consul)
{
    bool any = false;
    int left;
    const CURLMsg *message;
    while ((message = curl_multi_info_read(consul->multi, &left)) != NULL) {
        weft__consul_request *request = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURL *easy = message->easy_handle;
        CURLcode result = message->data.result;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&request);
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &request->status);
        curl_multi_remove_handle(consul->multi, easy);
        request->result = result;
        request->running = false;
        request->done = true;
        any = true;
    }
    return any;
}

static int wait_ms(int64_t now_ns, int64_t next_ns)
{
    if (next_ns <= now_ns)
        return 0;
    int64_t ms = (next_ns - now_ns - 1) / 1000000 + 1;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

static void *run(void *arg)
{
    weft_consul *consul = arg;
    weft__thread_set_loop(true);
    pthread_mutex_lock(&consul->lock);
    while (!consul->stopping) {
        int64_t next_ns = INT64_MAX;
        int running;
        weft__consul_services_step_locked(consul, &next_ns);
        weft__consul_registrations_step_locked(consul, &next_ns);
        pthread_mutex_unlock(&consul->lock);
        curl_multi_perform(consul->multi, &running);
        if (!collect(consul))
            curl_multi_poll(consul->multi, NULL, 0, wait_ms(weft__consul_now_ns(consul), next_ns), NULL);
        pthread_mutex_lock(&consul->lock);
    }
    pthread_mutex_unlock(&consul->lock);
    return NULL;
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

struct reader {
    weft_consul *consul;
    char *reason;
    size_t reason_size;
};

/* An option, or else what the environment has, copied to the arena; NULL when neither is there. */
static const char *pick(struct reader *reader, const char *option, const char *variable)
{
    const char *text = option;
    if (text == NULL && variable != NULL && !reader->consul->options.no_environment)
        text = getenv(variable);
    return text == NULL || *text == '\0' ? NULL : weft_arena_strdup(reader->consul->arena, text);
}

static int environment_bool(struct reader *reader, const char *variable, bool *out)
{
    const char *text = pick(reader, NULL, variable);
    if (text == NULL)
        return 0;
    if (strcmp(text, "1") == 0 || strcasecmp(text, "true") == 0 || strcasecmp(text, "t") == 0) {
        *out = true;
    } else if (strcmp(text, "0") == 0 || strcasecmp(text, "false") == 0 || strcasecmp(text, "f") == 0) {
        *out = false;
    } else {
        snprintf(reader->reason, reader->reason_size, "%s=%.64s: write true or false", variable, text);
        return -EINVAL;
    }
    return 0;
}

/* What stands before an '@' may be a password, and is not shown. */
static int refuse_address(struct reader *reader, const char *address)
{
    const char *at = strrchr(address, '@');
    if (at != NULL)
        snprintf(reader->reason, reader->reason_size,
                 "address ...@%.64s: write user and password into CONSUL_HTTP_AUTH, and host:port here", at + 1);
    else
        snprintf(reader->reason, reader->reason_size,
                 "address %.64s: write host:port, http://host:port, https://host:port or unix:///path", address);
    return -EINVAL;
}

/* Makes the address one with a scheme. */
static int read_address(struct reader *reader)
{
    weft_consul_options *options = &reader->consul->options;
    weft_arena *arena = reader->consul->arena;
    bool ssl = false;
    bool given = options->address != NULL;
    int rc = environment_bool(reader, "CONSUL_HTTP_SSL", &ssl);
    if (rc < 0)
        return rc;
    const char *address = pick(reader, options->address, "CONSUL_HTTP_ADDR");
    if (address == NULL)
        address = "127.0.0.1:8500";
    if (strstr(address, "://") == NULL)
        address = weft_arena_printf(arena, "%s://%s", ssl && !given ? "https" : "http", address);
    else if (ssl && !given && strncmp(address, "http://", 7) == 0)
        address = weft_arena_printf(arena, "https://%s", address + 7);
    if (address == NULL)
        return -ENOMEM;
    options->address = address;
    const char *rest = strstr(address, "://") + 3;
    bool is_http = strncmp(address, "http://", 7) == 0 || strncmp(address, "https://", 8) == 0;
    if ((is_http && weft__consul_authority_ok(rest)) || (strncmp(address, "unix:///", 8) == 0 && strlen(rest) <= 107))
        return 0;
    return refuse_address(reader, address);
}

static int read_texts(struct reader *reader)
{
    weft_consul_options *o = &reader->consul->options;
    bool verify = true;
    int rc = environment_bool(reader, "CONSUL_HTTP_SSL_VERIFY", &verify);
    if (rc == 0)
        rc = read_address(reader);
    if (rc < 0)
        return rc;
    bool given = o->token != NULL && o->token_file == NULL; /* then the environment's file does not count */
    o->token = pick(reader, o->token, "CONSUL_HTTP_TOKEN");
    o->token_file = pick(reader, o->token_file, given ? NULL : "CONSUL_HTTP_TOKEN_FILE");
    o->user_password = pick(reader, o->user_password, "CONSUL_HTTP_AUTH");
    o->datacenter = pick(reader, o->datacenter, NULL);
    o->name_space = pick(reader, o->name_space, "CONSUL_NAMESPACE");
    o->partition = pick(reader, o->partition, "CONSUL_PARTITION");
    o->ca_file = pick(reader, o->ca_file, "CONSUL_CACERT");
    o->ca_folder = pick(reader, o->ca_folder, "CONSUL_CAPATH");
    o->cert_file = pick(reader, o->cert_file, "CONSUL_CLIENT_CERT");
    o->key_file = pick(reader, o->key_file, "CONSUL_CLIENT_KEY");
    o->server_name = pick(reader, o->server_name, "CONSUL_TLS_SERVER_NAME");
    o->snapshot_folder = pick(reader, o->snapshot_folder, NULL);
    o->insecure = o->insecure || !verify;
    if (weft_arena_failed(reader->consul->arena))
        return -ENOMEM;
    if (o->server_name != NULL && (!weft__consul_authority_ok(o->server_name) || strchr(o->server_name, ':') != NULL)) {
        snprintf(reader->reason, reader->reason_size, "server_name %.64s: not a host's name", o->server_name);
        return -EINVAL;
    }
    for (const char *c = o->token; c != NULL && *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f) {
            snprintf(reader->reason, reader->reason_size, "the token holds blanks or control characters");
            return -EINVAL;
        }
    if (o->token_file == NULL)
        return 0;
    rc = read_token(o->token_file, &reader->consul->token);
    if (rc < 0)
        snprintf(reader->reason, reader->reason_size, "token_file %.128s: %s", o->token_file,
                 rc == -EINVAL ? "holds no token" : "cannot be read");
    return rc;
}

static int read_limits(struct reader *reader)
{
    weft_consul_options *o = &reader->consul->options;
    const struct {
        const char *name;
        int64_t *value;
        int64_t fallback;
        int64_t min;
        int64_t max;
    } limits[] = {
        {"max_answer_bytes", &o->max_answer_bytes, 8 << 20, 1024, INT64_MAX},
        {"max_services", &o->max_services, 100, 1, INT64_MAX},
        {"max_registrations", &o->max_registrations, 100, 1, INT64_MAX},
        {"query_interval_ms", &o->query_interval_ms, 1000, 1, MAX_MS},
        {"backoff_ms", &o->backoff_ms, 500, 1, MAX_MS},
        {"max_backoff_ms", &o->max_backoff_ms, 60000, 1, MAX_MS},
        {"snapshot_after_ms", &o->snapshot_after_ms, 2000, 1, MAX_MS},
        {"reassert_ms", &o->reassert_ms, 180000, 1, MAX_MS},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        if (weft__limit(limits[i].value, limits[i].fallback, limits[i].min) < 0 || *limits[i].value > limits[i].max) {
            snprintf(reader->reason, reader->reason_size, "%s is out of range", limits[i].name);
            return -EINVAL;
        }
    }
    if (o->empty_grace_ms == 0)
        o->empty_grace_ms = 30000;
    else if (o->empty_grace_ms == -1)
        o->empty_grace_ms = 0;
    if (o->empty_grace_ms < 0 || o->empty_grace_ms > MAX_MS) {
        snprintf(reader->reason, reader->reason_size, "empty_grace_ms is out of range");
        return -EINVAL;
    }
    return 0;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void destroy(weft_consul *consul)
{
    weft__consul_services_fini(consul);
    if (consul->multi != NULL)
        curl_multi_cleanup(consul->multi);
    curl_global_cleanup();
    pthread_cond_destroy(&consul->changed);
    pthread_mutex_destroy(&consul->lock);
    weft__buf_fini(&consul->scratch);
    weft__buf_fini(&consul->token);
    weft_arena_free(consul->arena);
    free(consul);
}

/* What destroy undoes. */
static int create(weft_consul **out)
{
    weft_consul *consul = calloc(1, sizeof *consul);
    if (consul == NULL)
        return -ENOMEM;
    int rc = weft_arena_new(&consul->arena, 0);
    if (rc == 0 && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        weft_arena_free(consul->arena);
        rc = -ENOMEM;
    }
    if (rc < 0) {
        free(consul);
        return rc;
    }
    pthread_mutex_init(&consul->lock, NULL);
    pthread_cond_init(&consul->changed, NULL);
    weft__list_init(&consul->services);
    weft__list_init(&consul->registrations);
    weft__buf_init(&consul->scratch, 0);
    weft__buf_init(&consul->token, 0);
    consul->resolver.vtable = &weft__consul_resolver_vtable;
    consul->registry.vtable = &weft__consul_registry_vtable;
    consul->clock = weft__clock_system();
    consul->random = weft__random_system();
    consul->seed = consul->random->next(consul->random);
    consul->pid = getpid();
    consul->multi = curl_multi_init();
    if (consul->multi == NULL) {
        destroy(consul);
        return -ENOMEM;
    }
    *out = consul;
    return 0;
}

int weft_consul_new(weft_consul **out, const weft_consul_options *options, char *reason, size_t reason_size)
{
    char nowhere[1];
    weft_consul *consul;
    if (reason_size == 0) {
        reason = nowhere;
        reason_size = sizeof nowhere;
    }
    reason[0] = '\0';
    int rc = create(&consul);
    if (rc < 0)
        return rc;
    struct reader reader = {consul, reason, reason_size};
    rc = weft__options_copy(&consul->options, sizeof consul->options, options);
    if (rc == 0)
        rc = read_limits(&reader);
    if (rc == 0)
        rc = read_texts(&reader);
    if (rc == 0)
        rc = weft__thread_start(&consul->thread, STACK_BYTES, "weft-consul", run, consul);
    if (rc < 0) {
        destroy(consul);
        return rc;
    }
    *out = consul;
    return 0;
}

int weft_consul_free(weft_consul *consul)
{
    if (consul == NULL)
        return 0;
    if (weft__consul_forked(consul))
        return -ECHILD;
    pthread_mutex_lock(&consul->lock);
    bool busy = consul->service_count > 0 || consul->registration_count > 0;
    consul->stopping = !busy;
    pthread_mutex_unlock(&consul->lock);
    if (busy)
        return -EBUSY;
    weft__consul_wake(consul);
    pthread_join(consul->thread, NULL);
    destroy(consul);
    return 0;
}

weft_resolver *weft_consul_resolver(weft_consul *consul)
{
    return &consul->resolver;
}

weft_registry *weft_consul_registry(weft_consul *consul)
{
    return &consul->registry;
}

int weft_consul_count(weft_consul *consul, weft_consul_counters *out)
{
    size_t size = out->struct_size;
    if (size < sizeof size)
        return -EINVAL;
    pthread_mutex_lock(&consul->lock);
    weft_consul_counters counters = consul->counters;
    pthread_mutex_unlock(&consul->lock);
    memset(out, 0, size);
    memcpy(out, &counters, size < sizeof counters ? size : sizeof counters);
    out->struct_size = size;
    return 0;
}
