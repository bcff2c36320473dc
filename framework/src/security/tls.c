/* tls.c: the TLS object: its options, and generations of certificates.
 *
 *   files ──read, check──▶ generation 1 ──▶ 2 ──▶ …      the newest is `current`; each lives as long as somebody holds
 *   it
 *                └─ refused: the current one stays, the files are looked at again
 *
 * Design notes
 * - No thread and no timer: an engine says `refresh` before each connection, which is when certificates matter. It
 *   costs a look at the clock, and every reload_ms a stat of each file.
 * - `loading` is held by who reads files, `lock` only while `current` changes hands. Who finds somebody else reading
 *   goes on with what there is.
 * - A generation is checked as a whole, so a certificate that was replaced before its key changes nothing: not until
 *   both fit. One warning is logged for each state of the files that is refused.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <weft/tls.h>

#include "base/list.h"
#include "base/options.h"
#include "security/pem.h"
#include "transport/transport.h"

#define SYSTEM_ROOTS "/etc/ssl/certs/ca-certificates.crt"

static const int64_t ns_per_ms = 1000000;

enum {
    CERTIFICATES,
    KEY,
    ROOTS,
    TEXTS
};

struct generation {
    weft__pems pems;
    weft__pem texts[TEXTS];
    atomic_size_t users;
};

struct tls {
    weft_tls base;
    atomic_size_t users;
    weft_log *log;
    char *server_name;
    weft__pem_source sources[TEXTS];
    int64_t reload_ns; /* INT64_MAX: never */

    pthread_mutex_t loading;       /* guards reading, and what is refused */
    weft__stamp refused[TEXTS];    /* the latest */
    atomic_int_least64_t check_ns; /* when to look again */

    pthread_mutex_t lock; /* guards `current` */
    struct generation *current;
    atomic_uint_least64_t number; /* of it */
};

static struct tls *from_base(weft_tls *base)
{
    return WEFT__CONTAINER_OF(base, struct tls, base);
}

/* ---- generations ------------------------------------------------------------------------------------------------- */

static void drop(struct generation *generation)
{
    if (generation == NULL || atomic_fetch_sub(&generation->users, 1) != 1)
        return;
    for (size_t i = 0; i < TEXTS; i++)
        weft__pem_fini(&generation->texts[i]);
    free(generation);
}

static void release(const weft__pems *pems)
{
    drop(WEFT__CONTAINER_OF((weft__pems *)(uintptr_t)pems, struct generation, pems));
}

static const weft__pems *hold(weft_tls *base)
{
    struct tls *tls = from_base(base);
    pthread_mutex_lock(&tls->lock);
    struct generation *current = tls->current;
    atomic_fetch_add(&current->users, 1);
    pthread_mutex_unlock(&tls->lock);
    return &current->pems;
}

static int check(const struct tls *tls, const struct generation *generation, weft__reason reason)
{
    const char *const certificates = generation->texts[CERTIFICATES].text;
    const char *const roots = generation->texts[ROOTS].text;
    int rc = 0;
    if (certificates != NULL)
        rc = weft__pem_check_own(certificates, tls->sources[CERTIFICATES].name, generation->texts[KEY].text,
                                 tls->sources[KEY].name, reason);
    if (rc == 0 && roots != NULL)
        rc = weft__pem_check_roots(roots, tls->sources[ROOTS].name, reason);
    return rc;
}

/* Reads and checks all texts. What of it can be told is in `stamps`, also on failure. */
static int load(struct generation **out, const struct tls *tls, weft__stamp stamps[TEXTS], weft__reason reason)
{
    struct generation *generation = calloc(1, sizeof *generation);
    if (generation == NULL) {
        memset(stamps, 0, TEXTS * sizeof *stamps);
        return weft__reason_tell(reason, -ENOMEM, "out of memory");
    }
    atomic_init(&generation->users, 1);
    int rc = 0;
    for (size_t i = 0; i < TEXTS && rc == 0; i++)
        rc = weft__pem_read(&generation->texts[i], &tls->sources[i], reason);
    for (size_t i = 0; i < TEXTS; i++)
        stamps[i] = generation->texts[i].stamp;
    if (rc == 0)
        rc = check(tls, generation, reason);
    if (rc < 0) {
        drop(generation);
        return rc;
    }
    generation->pems = (weft__pems){
        .number = atomic_load(&tls->number) + 1,
        .certificates = generation->texts[CERTIFICATES].text,
        .key = generation->texts[KEY].text,
        .roots = generation->texts[ROOTS].text,
    };
    *out = generation;
    return 0;
}

static bool are_rotated(const struct tls *tls)
{
    for (size_t i = 0; i < TEXTS; i++) {
        weft__stamp now = weft__stamp_of(tls->sources[i].file);
        if (!weft__stamp_equal(&now, &tls->current->texts[i].stamp))
            return true;
    }
    return false;
}

static bool are_refused_already(const struct tls *tls, const weft__stamp stamps[TEXTS])
{
    for (size_t i = 0; i < TEXTS; i++)
        if (!weft__stamp_equal(&stamps[i], &tls->refused[i]))
            return false;
    return true;
}

/* Only who is loading changes `current`, so it may be read here without the lock. */
static int reload_loading(struct tls *tls, weft__reason reason)
{
    weft__stamp stamps[TEXTS];
    struct generation *next;
    if (!are_rotated(tls))
        return 0;
    int rc = load(&next, tls, stamps, reason);
    if (rc < 0) {
        if (!are_refused_already(tls, stamps))
            weft_log_warn(tls->log, "rotated certificates are refused, the old ones stay",
                          WEFT_FIELDS(WEFT_STR("reason", reason.text)));
        memcpy(tls->refused, stamps, sizeof stamps);
        return rc;
    }
    pthread_mutex_lock(&tls->lock);
    struct generation *old = tls->current;
    tls->current = next;
    pthread_mutex_unlock(&tls->lock);
    atomic_store(&tls->number, next->pems.number);
    drop(old);
    weft_log_info(tls->log, "certificates rotated",
                  WEFT_FIELDS(WEFT_STR("certificate", tls->sources[CERTIFICATES].name),
                              WEFT_INT("generation", next->pems.number)));
    return 0;
}

static uint64_t refresh(weft_tls *base)
{
    struct tls *tls = from_base(base);
    int64_t now_ns = weft_engine_now_ns(base->engine);
    if (now_ns >= atomic_load_explicit(&tls->check_ns, memory_order_relaxed) &&
        pthread_mutex_trylock(&tls->loading) == 0) {
        char text[512] = "";
        (void)reload_loading(tls, (weft__reason){text, sizeof text});
        atomic_store_explicit(&tls->check_ns, weft__clock_deadline_ns(now_ns, tls->reload_ns), memory_order_relaxed);
        pthread_mutex_unlock(&tls->loading);
    }
    return atomic_load(&tls->number);
}

int weft_tls_reload(weft_tls *base, char *error, size_t error_size)
{
    struct tls *tls = from_base(base);
    char text[512] = "";
    if (weft__engine_forked(base->engine))
        return weft__reason_tell((weft__reason){error, error_size}, -ECHILD, "not after fork");
    pthread_mutex_lock(&tls->loading);
    int rc = reload_loading(tls, (weft__reason){text, sizeof text});
    pthread_mutex_unlock(&tls->loading);
    return rc < 0 ? weft__reason_tell((weft__reason){error, error_size}, rc, "%s", text) : 0;
}

/* ---- the object -------------------------------------------------------------------------------------------------- */

static void free_tls(struct tls *tls)
{
    drop(tls->current);
    for (size_t i = 0; i < TEXTS; i++) {
        weft__pem text = {.text = tls->sources[i].text};
        weft__pem_fini(&text);
        free(tls->sources[i].file);
    }
    free(tls->server_name);
    pthread_mutex_destroy(&tls->lock);
    pthread_mutex_destroy(&tls->loading);
    free(tls);
}

static void ref(weft_tls *base)
{
    atomic_fetch_add(&from_base(base)->users, 1);
}

static void unref(weft_tls *base)
{
    struct tls *tls = from_base(base);
    if (atomic_fetch_sub(&tls->users, 1) != 1)
        return;
    weft__engine_unuse(base->engine);
    free_tls(tls);
}

static const weft__tls_vtable vtable = {
    .ref = ref,
    .unref = unref,
    .refresh = refresh,
    .hold = hold,
    .release = release,
};

void weft_tls_free(weft_tls *tls)
{
    if (tls != NULL && !weft__engine_forked(tls->engine))
        unref(tls);
}

/* Whether a name may stand in a certificate and in :authority. */
static bool is_name(const char *text)
{
    for (const char *c = text; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return text[0] != '\0';
}

struct text_options {
    const char *file;
    weft_sv pem;
    const char *option;
};

static int check_options(const weft_tls_options *o, const struct text_options texts[TEXTS], weft__reason reason)
{
    bool given[TEXTS];
    for (size_t i = 0; i < TEXTS; i++) {
        if (texts[i].file != NULL && texts[i].pem.data != NULL)
            return weft__reason_tell(reason, -EINVAL, "%s: give a file or a text, not both", texts[i].option);
        if (texts[i].pem.data != NULL && memchr(texts[i].pem.data, '\0', texts[i].pem.len) != NULL)
            return weft__reason_tell(reason, -EBADMSG, "%s: not PEM: it has a NUL in it", texts[i].option);
        given[i] = texts[i].file != NULL || texts[i].pem.data != NULL;
    }
    if (given[CERTIFICATES] != given[KEY])
        return weft__reason_tell(reason, -EINVAL, "a certificate and its key go together");
    if ((int)o->client_certificates < 0 || (int)o->client_certificates > (int)WEFT_CLIENT_CERTIFICATES_REQUIRE)
        return weft__reason_tell(reason, -EINVAL, "client_certificates: unknown");
    if (o->client_certificates != WEFT_CLIENT_CERTIFICATES_NONE && (!given[CERTIFICATES] || !given[ROOTS]))
        return weft__reason_tell(reason, -EINVAL, "who asks for client certificates needs one too, and roots");
    if (o->server_name != NULL && !is_name(o->server_name))
        return weft__reason_tell(reason, -EINVAL, "server_name: not a name");
    if (o->min_version != 0 && o->min_version != 12 && o->min_version != 13)
        return weft__reason_tell(reason, -EINVAL, "min_version: 12 or 13");
    return 0;
}

static int check_engine(const weft_engine *engine, int min_version, weft__reason reason)
{
    const weft__engine_vtable *e = engine->vtable;
    if (weft__engine_forked(engine))
        return weft__reason_tell(reason, -ECHILD, "not after fork");
    if (e->tls_min_version == 0)
        return weft__reason_tell(reason, -ENOTSUP, "the %s engine has no TLS", e->name);
    if (min_version > e->tls_min_version)
        return weft__reason_tell(reason, -ENOTSUP,
                                 "min_version: the %s engine cannot keep to TLS 1.%d, it takes 1.%d as well", e->name,
                                 min_version - 10, e->tls_min_version - 10);
    return 0;
}

/* Copies where texts come from. */
static int copy_sources(struct tls *tls, const struct text_options texts[TEXTS])
{
    for (size_t i = 0; i < TEXTS; i++) {
        weft__pem_source *source = &tls->sources[i];
        source->name = texts[i].option;
        if (texts[i].file != NULL) {
            source->file = strdup(texts[i].file);
            source->name = source->file;
        } else if (texts[i].pem.data != NULL) {
            source->text = strndup(texts[i].pem.data, texts[i].pem.len);
        }
        if ((texts[i].file != NULL && source->file == NULL) || (texts[i].pem.data != NULL && source->text == NULL))
            return -ENOMEM;
    }
    return 0;
}

/* The first generation. A listener can do without the system's roots, where there are none. */
static int load_first(struct tls *tls, bool default_roots, weft__reason reason)
{
    weft__stamp stamps[TEXTS];
    weft__pem_source *roots = &tls->sources[ROOTS];
    if (default_roots && tls->base.has_certificate) {
        weft__stamp none = {.inode = 0};
        weft__stamp now = weft__stamp_of(roots->file);
        if (weft__stamp_equal(&now, &none)) {
            free(roots->file);
            roots->file = NULL;
        }
    }
    tls->base.has_roots = roots->file != NULL || roots->text != NULL;
    return load(&tls->current, tls, stamps, reason);
}

static int read_options(weft_tls_options *out, const weft_tls_options *options, weft__reason reason)
{
    memset(out, 0, sizeof *out);
    int rc = weft__options_copy(out, sizeof *out, options);
    if (rc < 0)
        return weft__reason_tell(reason, rc, "options: not of this library");
    rc = weft__limit(&out->reload_ms, 10000, 1);
    return rc < 0 ? weft__reason_tell(reason, rc, "reload_ms: below 1") : 0;
}

int weft_tls_new(weft_tls **out, weft_engine *engine, const weft_tls_options *options, char *error, size_t error_size)
{
    const weft__reason reason = {error, error_size};
    weft_tls_options o;
    if (error_size > 0)
        error[0] = '\0';
    if (engine == NULL)
        return weft__reason_tell(reason, -EINVAL, "no engine");
    int rc = read_options(&o, options, reason);
    if (rc < 0)
        return rc;
    struct text_options texts[TEXTS] = {
        {o.certificate_file, o.certificate_pem, "certificate_pem"},
        {o.key_file, o.key_pem, "key_pem"},
        {o.roots_file, o.roots_pem, "roots_pem"},
    };
    rc = check_options(&o, texts, reason);
    if (rc == 0)
        rc = check_engine(engine, o.min_version, reason);
    if (rc < 0)
        return rc;
    const bool default_roots = texts[ROOTS].file == NULL && texts[ROOTS].pem.data == NULL;
    if (default_roots)
        texts[ROOTS].file = SYSTEM_ROOTS;
    struct tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL)
        return weft__reason_tell(reason, -ENOMEM, "out of memory");
    (void)pthread_mutex_init(&tls->loading, NULL); /* cannot fail without attributes */
    (void)pthread_mutex_init(&tls->lock, NULL);
    atomic_init(&tls->users, 1);
    tls->base.vtable = &vtable;
    tls->base.engine = engine;
    tls->base.client_certificates = o.client_certificates;
    tls->base.has_certificate = o.certificate_file != NULL || o.certificate_pem.data != NULL;
    tls->log = o.log;
    tls->reload_ns = o.reload_ms < INT64_MAX / ns_per_ms ? o.reload_ms * ns_per_ms : INT64_MAX;
    tls->server_name = o.server_name != NULL ? strdup(o.server_name) : NULL;
    tls->base.server_name = tls->server_name;
    rc = o.server_name != NULL && tls->server_name == NULL ? -ENOMEM : copy_sources(tls, texts);
    if (rc < 0)
        weft__reason_tell(reason, rc, "out of memory");
    else
        rc = load_first(tls, default_roots, reason);
    if (rc < 0) {
        free_tls(tls);
        return rc;
    }
    atomic_init(&tls->number, tls->current->pems.number);
    atomic_init(&tls->check_ns, weft__clock_deadline_ns(weft_engine_now_ns(engine), tls->reload_ns));
    (void)weft__engine_use(engine); /* checked above */
    *out = &tls->base;
    return 0;
}
