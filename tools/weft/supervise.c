/* Design notes. One loop, no thread: signals, the services' output and our own standard output are descriptors.
 *
 *     running ──dies──▶ pauses ──▶ running            100 ms, twice as long each time
 *        └──ends with 0 or 2, or is to stop──▶ gone
 *
 * - What services write is read in small pieces, one of each service a turn: who writes fast delays nobody.
 * - Our output is a bounded buffer, and what a terminal or a pipe does not take yet stays in it: while it is full
 *   nothing is read, so the services wait, but Ctrl-C does not.
 * - Code 2 is how services tell of a mistake in their command line or configuration: the next start would end as this
 *   one did. Code 0 is an end that somebody wanted.
 */
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "lines.h"
#include "times.h"

enum {
    PIECE = 4096, /* read from a service at a time; written at a time, which a pipe that is ready has room for */
    MAX_WAITING = 64 * 1024, /* with more output than that nothing is read */
    MAX_LAST_PIECES = 32     /* that a service has left behind; a pipe holds half as many */
};

typedef struct crew crew;

typedef struct member {
    crew *crew;
    const supervised *service;
    const char *colour;
    pid_t pid;  /* 0: it does not run */
    int output; /* or -1 */
    int64_t started_ms;
    int64_t pause_ms; /* the last one */
    int64_t due_ms;   /* of its next start; -1: there is none */
    lines lines;
} member;

struct crew {
    member *members;
    size_t count;
    int width; /* of names; 0: lines have none before them */
    const char *plain;
    int signals;
    bool stopping;
    bool killing; /* the user does not want to wait */
    bool failed;
    bool mute;       /* nobody reads what we write any more */
    int write_error; /* unless there is no reader who could want to know */
    char *waiting;
    size_t length;
    size_t size;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- what is written --------------------------------------------------------------------------------------------- */

static void put(crew *c, const char *bytes, size_t length)
{
    if (c->mute || length == 0)
        return;
    if (c->size - c->length < length) {
        size_t size = (c->length + length) * 2;
        char *larger = realloc(c->waiting, size);
        if (larger == NULL)
            return; /* a line less */
        c->waiting = larger;
        c->size = size;
    }
    memcpy(c->waiting + c->length, bytes, length);
    c->length += length;
}

static void put_text(crew *c, const char *s)
{
    put(c, s, strlen(s));
}

static void put_line(crew *c, const char *name, const char *colour, const char *line, size_t length)
{
    char before[128];
    if (c->width > 0) {
        (void)snprintf(before, sizeof before, "%-*s |", c->width, name);
        put_text(c, colour);
        put_text(c, before);
        put_text(c, c->plain);
        put_text(c, " ");
    }
    put(c, line, length);
    put_text(c, "\n");
}

static void on_line(void *arg, const char *line, size_t length)
{
    member *m = arg;
    put_line(m->crew, m->service->name, m->colour, line, length);
}

/* What we have to say ourselves. */
static void say(crew *c, const char *format, ...) WEFT_PRINTF(2, 3);
static void say(crew *c, const char *format, ...)
{
    char line[512];
    size_t begin = c->width > 0 ? 0 : (size_t)snprintf(line, sizeof line, "weft: ");
    va_list list;
    va_start(list, format);
    (void)vsnprintf(line + begin, sizeof line - begin, format, list);
    va_end(list);
    put_line(c, "weft", cli_style_on(stdout, CLI_BOLD), line, strlen(line));
}

/* ---- members ----------------------------------------------------------------------------------------------------- */

static void schedule(member *m, int64_t lived_ms)
{
    m->pause_ms = pause_next_ms(m->pause_ms, lived_ms);
    m->due_ms = now_ms() + m->pause_ms;
}

/* A pipe whose end for reading is ours alone, and does not block. 0; -errno. */
static int open_output(int ends[2])
{
    if (pipe(ends) < 0)
        return -errno;
    if (fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(ends[1], F_SETFD, FD_CLOEXEC) == 0 &&
        fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0)
        return 0;
    int rc = -errno;
    close(ends[0]);
    close(ends[1]);
    return rc;
}

static void start(member *m)
{
    int ends[2];
    process_spec spec = m->service->process;
    m->due_ms = -1;
    int rc = open_output(ends);
    if (rc == 0) {
        spec.output = ends[1];
        rc = process_start(&m->pid, &spec);
        close(ends[1]);
        m->output = ends[0];
    }
    m->started_ms = now_ms();
    if (rc == 0)
        return;
    if (m->output >= 0)
        close(m->output);
    m->output = -1;
    schedule(m, 0);
    say(m->crew, "%s cannot be started: %s; tried again in %lld ms", m->service->name, strerror(-rc),
        (long long)m->pause_ms);
}

/* Reads a piece. @return whether there may be more. */
static bool read_piece(member *m)
{
    char piece[PIECE];
    errno = 0; /* at the end of the pipe */
    ssize_t n = read(m->output, piece, sizeof piece);
    if (n > 0)
        lines_take(&m->lines, piece, (size_t)n);
    return n > 0 || (n < 0 && errno == EINTR);
}

static void close_output(member *m)
{
    lines_end(&m->lines);
    close(m->output);
    m->output = -1;
}

/* "ended with code 1", "was killed by signal 11 (Segmentation fault)". */
static void describe(int status, char *out, size_t size)
{
    if (WIFSIGNALED(status))
        (void)snprintf(out, size, "was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        (void)snprintf(out, size, "ended with code %d", WEXITSTATUS(status));
}

/* It has ended. */
static void bury(member *m, int status)
{
    crew *c = m->crew;
    char how[128];
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    bool obeyed = c->stopping && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM;
    const char *name = m->service->name;
    for (int i = 0; m->output >= 0 && i < MAX_LAST_PIECES && read_piece(m); i++)
        continue;
    if (m->output >= 0)
        close_output(m);
    m->pid = 0;
    if (code == CLI_OK || obeyed) {
        if (!c->stopping)
            say(c, "%s ended with code 0: it is not started again", name);
        return;
    }
    describe(status, how, sizeof how);
    if (c->stopping) {
        say(c, "%s %s", name, how);
        c->failed = true;
    } else if (code == CLI_USAGE) {
        say(c, "%s %s, a mistake in its command line or configuration: mend it, and run again", name, how);
        c->failed = true;
    } else {
        schedule(m, now_ms() - m->started_ms);
        say(c, "%s %s: started again in %lld ms", name, how, (long long)m->pause_ms);
    }
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static void stop_all(crew *c)
{
    bool again = c->stopping;
    c->killing = again;
    bool any = false;
    c->stopping = true;
    for (size_t i = 0; i < c->count; i++) {
        member *m = &c->members[i];
        m->due_ms = -1;
        any = any || m->pid > 0;
        if (m->pid > 0)
            (void)kill(again ? -m->pid : m->pid, again ? SIGKILL : SIGTERM);
    }
    if (any && !again)
        say(c, "stopping; Ctrl-C again kills");
}

static void reap(crew *c)
{
    for (size_t i = 0; i < c->count; i++) {
        int status;
        if (c->members[i].pid > 0 && waitpid(c->members[i].pid, &status, WNOHANG) == c->members[i].pid)
            bury(&c->members[i], status);
    }
}

static void take_signals(crew *c)
{
    int number;
    bool died = false;
    while ((number = process_next_signal(c->signals)) != 0) {
        if (number == SIGCHLD)
            died = true;
        else
            stop_all(c);
    }
    if (died)
        reap(c);
}

static bool anything_left(const crew *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->members[i].pid > 0 || c->members[i].due_ms >= 0)
            return true;
    return false;
}

/* Starts who is due. @return milliseconds until the next one is; -1: none is. */
static int start_due(crew *c)
{
    int64_t wait_ms = -1;
    for (size_t i = 0; i < c->count; i++) {
        member *m = &c->members[i];
        if (m->due_ms >= 0 && m->due_ms <= now_ms())
            start(m);
        if (m->due_ms >= 0) {
            int64_t left_ms = m->due_ms - now_ms();
            left_ms = left_ms > 0 ? left_ms : 0;
            wait_ms = wait_ms < 0 || left_ms < wait_ms ? left_ms : wait_ms;
        }
    }
    return (int)wait_ms;
}

static void write_piece(crew *c)
{
    ssize_t n = write(STDOUT_FILENO, c->waiting, c->length < PIECE ? c->length : PIECE);
    if (n >= 0) {
        c->length -= (size_t)n;
        if (c->length > 0)
            memmove(c->waiting, c->waiting + n, c->length);
    } else if (errno != EINTR && errno != EAGAIN) { /* a reader that is gone, a full disk */
        c->mute = true;
        c->length = 0;
        c->failed = true;
        c->write_error = errno != EPIPE ? errno : 0;
        if (!c->stopping)
            stop_all(c);
    }
}

/* One turn: waits until something happens, and does it. `fds` has room for two more than there are members. */
static void turn(crew *c, struct pollfd *fds, int wait_ms)
{
    bool reads = c->length < MAX_WAITING;
    fds[0] = (struct pollfd){.fd = c->signals, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = c->length > 0 ? STDOUT_FILENO : -1, .events = POLLOUT};
    for (size_t i = 0; i < c->count; i++)
        fds[i + 2] = (struct pollfd){.fd = reads ? c->members[i].output : -1, .events = POLLIN};
    if (poll(fds, c->count + 2, wait_ms) <= 0)
        return;
    for (size_t i = 0; i < c->count; i++)
        if (fds[i + 2].revents != 0 && !read_piece(&c->members[i]) && errno != EAGAIN)
            close_output(&c->members[i]);
    if (fds[1].revents != 0)
        write_piece(c);
    if (fds[0].revents != 0)
        take_signals(c);
}

/* Writes what is left; when the user does not want to wait, no more than goes at once. */
static void flush_all(crew *c)
{
    while (c->length > 0) {
        struct pollfd fds[2] = {{.fd = c->signals, .events = POLLIN}, {.fd = STDOUT_FILENO, .events = POLLOUT}};
        int ready = poll(fds, 2, c->killing ? 0 : -1);
        if (ready == 0)
            return;
        if (ready > 0 && fds[1].revents != 0)
            write_piece(c);
        if (ready > 0 && fds[0].revents != 0)
            take_signals(c);
    }
}

static void join(crew *c, const supervised *services)
{
    static const cli_style styles[] = {CLI_CYAN, CLI_YELLOW, CLI_GREEN, CLI_MAGENTA, CLI_BLUE};
    c->plain = cli_style_on(stdout, CLI_PLAIN);
    for (size_t i = 0; i < c->count; i++) {
        member *m = &c->members[i];
        int length = (int)strlen(services[i].name);
        *m = (member){.crew = c, .service = &services[i], .output = -1, .lines = {.sink = on_line, .arg = m}};
        m->colour = cli_style_on(stdout, styles[i % (sizeof styles / sizeof *styles)]);
        c->width = length > c->width ? length : c->width;
    }
    if (c->width < (int)strlen("weft"))
        c->width = (int)strlen("weft");
    if (c->count < 2)
        c->width = 0;
}

int supervise(const supervised *services, size_t count, int signals)
{
    crew c = {.count = count, .signals = signals, .members = calloc(count, sizeof *c.members)};
    struct pollfd *fds = calloc(count + 2, sizeof *fds);
    if (c.members == NULL || fds == NULL) {
        free(c.members);
        free(fds);
        return cli_error("out of memory");
    }
    fflush(stdout);
    signal(SIGPIPE, SIG_IGN);
    join(&c, services);
    while (anything_left(&c)) /* all are due */
        turn(&c, fds, start_due(&c));
    flush_all(&c);
    free(c.waiting);
    free(c.members);
    free(fds);
    if (c.write_error != 0)
        return cli_error("cannot write the output: %s", strerror(c.write_error));
    return c.failed ? CLI_FAILED : CLI_OK;
}
