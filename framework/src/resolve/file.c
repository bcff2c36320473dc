/* file.c: instances from a file.
 *
 * - inotify watches the folder, not the file: a rename over the file, and the links that Kubernetes swaps around a
 *   mounted ConfigMap, are events of the folder. The file's writing is one only when it is closed, so that half of a
 *   list is not read.
 * - An event that names the file has it read; any other, and the poll, only if it looks different from last time.
 * - The poll sees what inotify does not: a folder that comes later or is replaced, NFS, links into other folders.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/options.h"
#include "base/stamp.h"
#include "resolve/instances.h"
#include "resolve/runner.h"
#include "resolve/sink.h"

#define NS_PER_MS     INT64_C(1000000)
#define MAX_POLL_MS   INT64_C(86400000)
#define FOLDER_EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB)

struct file_resolver {
    weft_resolver base;
    weft__runner runner;
    weft_file_resolver_options options;
};

struct file_watch {
    weft__runner_task task;
    struct file_resolver *resolver;
    weft_sink *sink;
    char path[WEFT__TARGET_MAX];
    char folder[WEFT__TARGET_MAX];
    const char *name; /* in path */
    /* the rest is the thread's */
    int inotify; /* -1: none */
    int folder_watch;
    weft__stamp stamp;
    char failure[WEFT__TARGET_MAX + 256]; /* the last one told; "": none */
};

/* ---- the file ---------------------------------------------------------------------------------------------------- */

/* Once for each reason, until there is another or none. */
static void tell_failure(struct file_watch *watch, const char *text)
{
    if (strcmp(text, watch->failure) == 0)
        return;
    (void)snprintf(watch->failure, sizeof watch->failure, "%s", text);
    weft_log_warn(weft_sink_log(watch->sink), "a file of instances cannot be used",
                  WEFT_FIELDS(WEFT_STR("reason", watch->failure)));
    weft_sink_fail(watch->sink, watch->failure);
}

static void tell_error(struct file_watch *watch, int error)
{
    char text[sizeof watch->failure];
    char why[128] = "";
    if (strerror_r(error, why, sizeof why) != 0)
        why[0] = '\0';
    (void)snprintf(text, sizeof text, "%s: %s", watch->path, why);
    tell_failure(watch, text);
}

/* Up to `size` bytes. @return how many, or -errno. */
static ssize_t read_up_to(int fd, char *data, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, data + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

/* @return 0; -EINVAL with a reason; another -errno. */
static int read_instances(const struct file_watch *watch, int fd, weft__addresses *out, char *reason,
                          size_t reason_size)
{
    size_t size = WEFT_FILE_RESOLVER_MAX_BYTES + 1;
    char *data = malloc(size);
    if (data == NULL)
        return -ENOMEM;
    ssize_t len = read_up_to(fd, data, size);
    int rc = len < 0 ? (int)len : len == (ssize_t)size ? -EFBIG : 0;
    if (rc == 0)
        rc = weft__instances_parse(watch->path, weft_sv_of(data, (size_t)len), out, reason, reason_size);
    free(data);
    return rc;
}

/* Takes the file's stamp over. @return whether it is another one. */
static bool take_stamp(struct file_watch *watch, const struct stat *stat)
{
    const weft__stamp before = watch->stamp;
    watch->stamp = weft__stamp_from(stat);
    return !weft__stamp_equal(&before, &watch->stamp);
}

static void publish(struct file_watch *watch, int fd)
{
    weft__addresses list = {NULL, 0};
    char reason[sizeof watch->failure];
    int rc = read_instances(watch, fd, &list, reason, sizeof reason);
    if (rc == -EINVAL) {
        tell_failure(watch, reason);
        return;
    }
    if (rc < 0) {
        watch->stamp = (weft__stamp){.inode = 0}; /* the next poll tries again */
        tell_error(watch, -rc);
        return;
    }
    const weft_resolution resolution = {
        .struct_size = sizeof resolution, .addresses = list.items, .address_count = list.count};
    watch->failure[0] = '\0';
    weft_sink_publish(watch->sink, &resolution);
    weft__addresses_fini(&list);
}

/* Reads the file if it must be, or looks different. */
static void look(struct file_watch *watch, bool must)
{
    struct stat stat = {0};
    int fd = open(watch->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* of a FIFO, open would wait */
    int error = fd < 0 || fstat(fd, &stat) < 0 ? errno : 0;
    if (error == 0 && !S_ISREG(stat.st_mode))
        error = S_ISDIR(stat.st_mode) ? EISDIR : EINVAL;
    if (error != 0) {
        watch->stamp = (weft__stamp){.inode = 0};
        tell_error(watch, error);
    } else if (take_stamp(watch, &stat) || must) {
        publish(watch, fd);
    }
    if (fd >= 0)
        close(fd);
}

/* ---- the folder -------------------------------------------------------------------------------------------------- */

/* Watches the folder that has the name now. Without inotify there is the poll. */
static void watch_folder(struct file_watch *watch)
{
    if (watch->inotify < 0)
        return;
    int folder_watch = inotify_add_watch(watch->inotify, watch->folder, FOLDER_EVENTS | IN_ONLYDIR);
    if (folder_watch == watch->folder_watch) /* the same folder has the same number */
        return;
    if (watch->folder_watch >= 0)
        (void)inotify_rm_watch(watch->inotify, watch->folder_watch);
    watch->folder_watch = folder_watch;
}

/* Reads all events. @return whether the file may be another one without looking so. */
static bool take_events(const struct file_watch *watch)
{
    bool named = false;
    union {
        struct inotify_event first; /* aligns them */
        char bytes[4096];
    } events;
    ssize_t len;
    while (watch->inotify >= 0 && (len = read(watch->inotify, &events, sizeof events)) > 0) {
        for (size_t at = 0; at < (size_t)len;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)(events.bytes + at);
            bool lost = (event->mask & IN_Q_OVERFLOW) != 0;
            named = named || lost || (event->len > 0 && strcmp(event->name, watch->name) == 0);
            at += sizeof *event + event->len;
        }
    }
    return named;
}

static void run(weft__runner_task *task)
{
    struct file_watch *watch = WEFT__CONTAINER_OF(task, struct file_watch, task);
    bool named = take_events(watch);
    watch_folder(watch); /* before the file is read: what changes after is told */
    look(watch, named);
    task->due_ns = weft__runner_now_ns() + watch->resolver->options.poll_ms * NS_PER_MS;
}

/* ---- the resolver ------------------------------------------------------------------------------------------------ */

/* "file:///etc/users.yaml" is absolute, "file:users.yaml" not. @return 0; -EINVAL. */
static int read_target(struct file_watch *watch, const weft_target *target)
{
    const char *rest = target->text + strlen(target->scheme) + 1;
    bool absolute = strncmp(rest, "//", 2) == 0;
    int len = snprintf(watch->path, sizeof watch->path, "%s%s", absolute ? "/" : "", target->path);
    if (target->authority[0] != '\0' || target->query[0] != '\0' || (size_t)len >= sizeof watch->path)
        return -EINVAL;
    const char *slash = strrchr(watch->path, '/');
    watch->name = slash != NULL ? slash + 1 : watch->path;
    if (watch->name[0] == '\0')
        return -EINVAL;
    size_t folder_len = (size_t)(watch->name - watch->path);
    memcpy(watch->folder, watch->path, folder_len);
    watch->folder[folder_len] = '\0';
    if (folder_len == 0)
        memcpy(watch->folder, ".", sizeof ".");
    return 0;
}

static void free_watch(struct file_watch *watch)
{
    if (watch->inotify >= 0)
        close(watch->inotify);
    free(watch);
}

static int watch_file(weft_resolver *self, const weft_target *target, weft_sink *sink, weft_watch **out, char *reason,
                      size_t reason_size)
{
    struct file_resolver *resolver = WEFT__CONTAINER_OF(self, struct file_resolver, base);
    if (weft__runner_forked(&resolver->runner))
        return -ECHILD;
    struct file_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return -ENOMEM;
    *watch = (struct file_watch){.resolver = resolver, .sink = sink, .inotify = -1, .folder_watch = -1};
    int rc = read_target(watch, target);
    if (rc < 0) {
        (void)snprintf(reason, reason_size, "\"%s\" is no file: write file:///etc/users.yaml", target->text);
    } else {
        watch->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        watch->task.run = run;
        watch->task.due_ns = INT64_MIN;
        watch->task.fds[0] = (struct pollfd){.fd = watch->inotify, .events = POLLIN};
        watch->task.fd_count = watch->inotify >= 0;
        rc = weft__runner_add(&resolver->runner, &watch->task);
    }
    if (rc < 0) {
        free_watch(watch);
        return rc;
    }
    *out = (weft_watch *)watch;
    return 0;
}

static void unwatch(weft_resolver *self, weft_watch *watch)
{
    struct file_resolver *resolver = WEFT__CONTAINER_OF(self, struct file_resolver, base);
    struct file_watch *ended = (struct file_watch *)watch;
    if (weft__runner_forked(&resolver->runner))
        return;
    weft__runner_remove(&resolver->runner, &ended->task);
    free_watch(ended);
}

static void destroy(weft_resolver *self)
{
    struct file_resolver *resolver = WEFT__CONTAINER_OF(self, struct file_resolver, base);
    if (weft__runner_forked(&resolver->runner))
        return;
    weft__runner_fini(&resolver->runner);
    free(resolver);
}

int weft_file_resolver_new(weft_resolver **out, const weft_file_resolver_options *options)
{
    static const weft_resolver_vtable vtable = {
        .struct_size = sizeof vtable,
        .scheme = "file",
        .watch = watch_file,
        .unwatch = unwatch,
        .destroy = destroy,
    };
    struct file_resolver *resolver = calloc(1, sizeof *resolver);
    if (resolver == NULL)
        return -ENOMEM;
    int rc = weft__options_copy(&resolver->options, sizeof resolver->options, options);
    if (rc == 0)
        rc = weft__limit(&resolver->options.poll_ms, 5000, 1);
    if (rc == 0 && resolver->options.poll_ms > MAX_POLL_MS)
        rc = -EINVAL;
    if (rc == 0)
        rc = weft__runner_init(&resolver->runner, "weft-file");
    if (rc < 0) {
        free(resolver);
        return rc;
    }
    resolver->base.vtable = &vtable;
    *out = &resolver->base;
    return 0;
}
