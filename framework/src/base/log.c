/* Design notes
 *
 * A line is formatted by the thread that logs, on its stack, and copied into a ring of bytes under a lock; one thread
 * copies whole lines out of it into `chunk` and writes them. Nobody but that thread touches the descriptor.
 *
 * - A line that does not fit the ring is dropped and counted in `dropped` (for ever) and `unreported`.
 * - So is a line that could not be written: disk full, reader gone. If only its beginning was, the next write starts
 *   with a newline, so that the following lines stay whole.
 * - After a write that succeeded and left the ring at most half full, the writer reports what was dropped since the
 *   last report. It is not queued, so that a descriptor which always fails does not make reports of reports. At the end
 *   one last report is tried.
 * - The writer asks poll before each write, and writes PIPE_BUF bytes at most, what a pipe then takes without blocking.
 *   While the descriptor does not take any, it looks every POLL_MS whether the log is being freed.
 * - weft_log_free gives the writer until WRITE_NS to write the rest. If it is stuck inside write for all that (another
 *   process filled the pipe between poll and write), it is left alone: `orphaned`, it frees the log when it comes back.
 */
#include <weft/log.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json_write.h"
#include "base/options.h"
#include "base/thread.h"

#define DEFAULT_MAX_QUEUED_BYTES (1 << 20)
#define DEFAULT_MAX_LINE_BYTES   (8 << 10)
#define MIN_LINE_BYTES           256
#define MAX_BYTES                (INT64_C(1) << 30)
#define STACK_BYTES              (64 * 1024)
#define POLL_MS                  50
#define WRITE_NS                 INT64_C(1800000000)
#define FREE_NS                  INT64_C(2000000000)

struct weft_log {
    int fd;
    weft_log_format format;
    size_t max_line;
    size_t ring_size;
    char *ring;
    char *chunk; /* the writer's; max_chunk + 1 bytes, the first for a newline */
    size_t max_chunk;
    pthread_t thread;

    atomic_int level;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    size_t begin; /* of the oldest byte in the ring */
    size_t len;
    uint64_t dropped;
    uint64_t unreported;
    bool waiting; /* the writer sleeps and nobody has woken it */
    bool stopping;
    int64_t stop_deadline_ns;
    bool finished; /* the writer is done */
    bool orphaned; /* the writer is to free the log */
};

/* ---- lines ---- */

/* A line in the making. */
typedef struct weft_log_line {
    weft__buf buf;
    size_t limit; /* what of it is free for message and fields; beyond it there is room for the end */
    bool json;
    bool cut; /* something did not fit; nothing more is added */
} weft_log_line;

static const char *const level_names[] = {
    [WEFT_LOG_DEBUG] = "debug", [WEFT_LOG_INFO] = "info", [WEFT_LOG_WARN] = "warn", [WEFT_LOG_ERROR] = "error"};

static size_t room(const weft_log_line *line)
{
    return line->buf.len < line->limit ? line->limit - line->buf.len : 0;
}

/* Adds text, escaped, as much of it as fits. */
static void put_text(weft_log_line *line, weft_sv text)
{
    if (weft__json_escape(&line->buf, text, room(line)) < text.len)
        line->cut = true;
}

/* Whether a value can stand without quotes in the text format. */
static bool is_bare(weft_sv text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return text.len > 0;
}

static void put_field(weft_log_line *line, const weft_log_field *field)
{
    char block[48];
    weft__buf number;
    weft__json json = {.buf = &number};
    bool is_text = field->kind == 's' && field->value.text.data != NULL;

    weft__buf_init_block(&number, sizeof block - 1, block, sizeof block);
    switch (field->kind) {
    case 'i':
        weft__json_int(&json, field->value.i);
        break;
    case 'u':
        weft__json_uint(&json, field->value.u);
        break;
    case 'f':
        weft__json_double(&json, field->value.f);
        break;
    case 'b':
        weft__json_bool(&json, field->value.b);
        break;
    default:
        weft__json_null(&json);
        break;
    }

    bool quoted = is_text && (line->json || !is_bare(field->value.text));
    size_t need = strlen(field->key) + (line->json ? strlen(",\"\":") : strlen(" =")) + (quoted ? 2 : 0) +
                  (is_text ? 0 : number.len);
    if (need > room(line)) {
        line->cut = true;
        return;
    }
    weft__buf_puts(&line->buf, line->json ? ",\"" : " ");
    weft__buf_puts(&line->buf, field->key);
    weft__buf_puts(&line->buf, line->json ? "\":" : "=");
    if (!is_text) {
        weft__buf_append(&line->buf, number.data, number.len);
        return;
    }
    if (quoted) {
        weft__buf_putc(&line->buf, '"');
        line->limit--; /* for the closing quote */
    }
    put_text(line, field->value.text);
    if (quoted) {
        weft__buf_putc(&line->buf, '"');
        line->limit++;
    }
}

/* Formats a line of at most `max` bytes into `block`, and further onto the heap. */
static void format_line(weft_log_line *line, weft_log_format format, size_t max, char *block, size_t block_size,
                        weft_log_level level, const char *message, const weft_log_field *fields, size_t count)
{
    const char *cut_end = format == WEFT_LOG_JSON ? ",\"cut\":true}\n" : " cut=true\n";
    const char *whole_end = format == WEFT_LOG_JSON ? "}\n" : "\n";
    weft__clock *clock = weft__clock_system();
    char time[WEFT__WALL_SIZE];

    *line = (weft_log_line){.limit = max - strlen(cut_end) - 1, .json = format == WEFT_LOG_JSON};
    weft__buf_init_block(&line->buf, max, block, block_size);
    size_t time_len = weft__wall_format(time, clock->wall_ns(clock), line->json ? 9 : 3);
    weft__buf_puts(&line->buf, line->json ? "{\"time\":\"" : "");
    weft__buf_append(&line->buf, time, time_len);
    weft__buf_puts(&line->buf, line->json ? "\",\"level\":\"" : " ");
    weft__buf_puts(&line->buf, level_names[level]);
    if (line->json)
        weft__buf_puts(&line->buf, "\",\"msg\":\"");
    else
        weft__buf_puts(&line->buf, strlen(level_names[level]) < 5 ? "  " : " ");
    put_text(line, weft_sv_from(message));
    if (line->json)
        weft__buf_putc(&line->buf, '"');
    for (size_t i = 0; i < count && !line->cut; i++)
        put_field(line, &fields[i]);
    weft__buf_puts(&line->buf, line->cut ? cut_end : whole_end);
}

/* ---- the ring ---- */

/* Copies a whole line in. @return whether there was room. */
static bool ring_put_locked(weft_log *log, const char *data, size_t len)
{
    if (len > log->ring_size - log->len)
        return false;
    size_t at = (log->begin + log->len) % log->ring_size;
    size_t first = len < log->ring_size - at ? len : log->ring_size - at;
    memcpy(log->ring + at, data, first);
    memcpy(log->ring, data + first, len - first);
    log->len += len;
    return true;
}

/* Moves whole lines, max_chunk bytes at most, to `out`. @return how many bytes. */
static size_t ring_take_locked(weft_log *log, char *out)
{
    size_t len = log->len < log->max_chunk ? log->len : log->max_chunk;
    size_t first = len < log->ring_size - log->begin ? len : log->ring_size - log->begin;

    memcpy(out, log->ring + log->begin, first);
    memcpy(out + first, log->ring, len - first);
    while (len > 0 && out[len - 1] != '\n')
        len--;
    log->begin = (log->begin + len) % log->ring_size;
    log->len -= len;
    return len;
}

/* ---- the writer ---- */

/* Waits until the descriptor takes something or fails. @return false when the time to stop has run out. */
static bool wait_writable(weft_log *log)
{
    weft__clock *clock = weft__clock_system();
    struct pollfd entry = {.fd = log->fd, .events = POLLOUT};

    do {
        pthread_mutex_lock(&log->lock);
        bool give_up = log->stopping && clock->now_ns(clock) >= log->stop_deadline_ns;
        pthread_mutex_unlock(&log->lock);
        if (give_up)
            return false;
    } while (poll(&entry, 1, POLL_MS) <= 0);
    return true;
}

/* Writes all of it. @return how many bytes were written; fewer than `len` on failure. */
static size_t write_all(weft_log *log, const char *data, size_t len)
{
    size_t done = 0;

    while (done < len) {
        size_t part = len - done < PIPE_BUF ? len - done : PIPE_BUF;
        if (!wait_writable(log))
            break;
        ssize_t n = write(log->fd, data + done, part);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || (errno != EINTR && errno != EAGAIN))
            break;
    }
    return done;
}

/* Writes a chunk of whole lines that lies at chunk + 1. @return how many of them were lost. */
static uint64_t write_lines(weft_log *log, size_t len, bool *torn)
{
    const char *from = log->chunk + 1;
    uint64_t lost = 0;

    if (*torn) {
        log->chunk[0] = '\n';
        from--;
        len++;
    }
    size_t done = write_all(log, from, len);
    if (done > 0)
        *torn = from[done - 1] != '\n';
    for (size_t i = done; i < len; i++)
        lost += from[i] == '\n' && &from[i] != log->chunk;
    return lost;
}

/* Writes a line that says how many were dropped. @return whether it was written. */
static bool write_report(weft_log *log, uint64_t count, bool *torn)
{
    weft_log_line line;
    const weft_log_field field = {.key = "count", .kind = 'u', .value.u = count};

    format_line(&line, log->format, MIN_LINE_BYTES, log->chunk + 1, log->max_chunk, WEFT_LOG_WARN, "log lines dropped",
                &field, 1);
    return write_lines(log, line.buf.len, torn) == 0;
}

static void destroy(weft_log *log)
{
    pthread_cond_destroy(&log->changed);
    pthread_mutex_destroy(&log->lock);
    free(log->chunk);
    free(log->ring);
    free(log);
}

static void *run_writer(void *arg)
{
    weft_log *log = arg;
    bool torn = false; /* the last byte written was not the end of a line */
    bool last = false;

    pthread_mutex_lock(&log->lock);
    while (!last) {
        while (log->len == 0 && !log->stopping) {
            log->waiting = true;
            pthread_cond_wait(&log->changed, &log->lock);
        }
        log->waiting = false;
        last = log->len == 0;
        size_t len = ring_take_locked(log, log->chunk + 1);
        pthread_mutex_unlock(&log->lock);
        uint64_t lost = write_lines(log, len, &torn);
        pthread_mutex_lock(&log->lock);

        log->dropped += lost;
        log->unreported += lost;
        uint64_t count = log->unreported;
        if (count > 0 && (last || (lost == 0 && log->len <= log->ring_size / 2))) {
            pthread_mutex_unlock(&log->lock);
            bool reported = write_report(log, count, &torn);
            pthread_mutex_lock(&log->lock);
            if (reported)
                log->unreported -= count;
        }
    }
    log->finished = true;
    bool orphaned = log->orphaned;
    pthread_cond_broadcast(&log->changed);
    pthread_mutex_unlock(&log->lock);
    if (orphaned)
        destroy(log);
    return NULL;
}

/* ---- the public functions ---- */

/* An option that must lie in a range; 0 stands for `fallback`. @return the value, or -1. */
static int64_t pick_bytes(int64_t value, int64_t fallback, int64_t least)
{
    if (value == 0)
        value = fallback;
    return value >= least && value <= MAX_BYTES ? value : -1;
}

static bool is_level(weft_log_level level)
{
    return level >= WEFT_LOG_DEBUG && level <= WEFT_LOG_OFF;
}

int weft_log_new(weft_log **out, const weft_log_options *options)
{
    weft_log_options chosen = {0};
    int rc = weft__options_copy(&chosen, sizeof chosen, options);
    if (rc < 0)
        return rc;
    int64_t max_line = pick_bytes(chosen.max_line_bytes, DEFAULT_MAX_LINE_BYTES, MIN_LINE_BYTES);
    int64_t max_queued = pick_bytes(chosen.max_queued_bytes, DEFAULT_MAX_QUEUED_BYTES, max_line);
    weft_log_level level = (int)chosen.level != 0 ? chosen.level : WEFT_LOG_INFO;
    if (chosen.fd < 0 || max_line < 0 || max_queued < 0 || !is_level(level) ||
        (chosen.format != WEFT_LOG_JSON && chosen.format != WEFT_LOG_TEXT))
        return -EINVAL;

    weft_log *log = calloc(1, sizeof *log);
    if (log == NULL)
        return -ENOMEM;
    log->fd = chosen.fd > 0 ? chosen.fd : STDERR_FILENO;
    log->format = chosen.format;
    log->max_line = (size_t)max_line;
    log->max_chunk = log->max_line > PIPE_BUF ? log->max_line : PIPE_BUF;
    log->ring_size = (size_t)max_queued;
    log->ring = malloc(log->ring_size);
    log->chunk = malloc(log->max_chunk + 1);
    atomic_init(&log->level, (int)level);

    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&log->lock, NULL);
    pthread_cond_init(&log->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);

    rc = log->ring != NULL && log->chunk != NULL ? 0 : -ENOMEM;
    if (rc == 0)
        rc = weft__thread_start(&log->thread, STACK_BYTES, "weft-log", run_writer, log);
    if (rc < 0) {
        destroy(log);
        return rc;
    }
    *out = log;
    return 0;
}

void weft_log_free(weft_log *log)
{
    weft__clock *clock = weft__clock_system();
    int error = 0;

    if (log == NULL)
        return;
    int64_t now_ns = clock->now_ns(clock);
    int64_t deadline_ns = now_ns + FREE_NS;
    struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000),
                                .tv_nsec = (long)(deadline_ns % 1000000000)};

    pthread_mutex_lock(&log->lock);
    log->stopping = true;
    log->stop_deadline_ns = now_ns + WRITE_NS;
    pthread_cond_broadcast(&log->changed);
    while (!log->finished && error == 0)
        error = pthread_cond_timedwait(&log->changed, &log->lock, &deadline);
    log->orphaned = !log->finished;
    pthread_t thread = log->thread;
    bool orphaned = log->orphaned;
    pthread_mutex_unlock(&log->lock);

    if (orphaned) {
        pthread_detach(thread);
        return;
    }
    pthread_join(thread, NULL);
    destroy(log);
}

bool weft_log_enabled(const weft_log *log, weft_log_level level)
{
    return log != NULL && level < WEFT_LOG_OFF && (int)level >= atomic_load_explicit(&log->level, memory_order_relaxed);
}

void weft_log_set_level(weft_log *log, weft_log_level level)
{
    if (log != NULL && is_level(level))
        atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

void weft_log_write(weft_log *log, weft_log_level level, const char *message, const weft_log_field *fields,
                    size_t count)
{
    char block[1024];
    weft_log_line line;

    if (!weft_log_enabled(log, level))
        return;
    format_line(&line, log->format, log->max_line, block, sizeof block, level, message, fields, count);

    pthread_mutex_lock(&log->lock);
    bool wake = false;
    if (line.buf.failed == 0 && ring_put_locked(log, line.buf.data, line.buf.len)) {
        wake = log->waiting;
        log->waiting = false;
    } else {
        log->dropped++;
        log->unreported++;
    }
    pthread_mutex_unlock(&log->lock);
    if (wake)
        pthread_cond_signal(&log->changed);
    weft__buf_fini(&line.buf);
}

uint64_t weft_log_dropped(const weft_log *log)
{
    weft_log *self = (weft_log *)log; /* the lock is no part of what the caller sees as constant */

    if (log == NULL)
        return 0;
    pthread_mutex_lock(&self->lock);
    uint64_t dropped = self->dropped;
    pthread_mutex_unlock(&self->lock);
    return dropped;
}
