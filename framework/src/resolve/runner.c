/* runner.c: one thread in poll(), for all tasks of a resolver.
 *
 * - A task runs without the lock. While it does it is `running`, and who removes it waits; so it stays in the list, and
 *   the walk over the list can go on from it.
 * - What poll() is given is the thread's own array. Whoever adds a task makes sure before that there is a large enough
 *   one, so that the thread itself never allocates.
 */
#include "resolve/runner.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"

#define NS_PER_MS INT64_C(1000000)

int64_t weft__runner_now_ns(void)
{
    weft__clock *clock = weft__clock_system();
    return clock->now_ns(clock);
}

static weft__runner_task *next_task(const weft__runner *runner, const weft__runner_task *before)
{
    weft__list_node *node =
        before == NULL ? weft__list_first(&runner->tasks) : weft__list_next(&runner->tasks, &before->node);
    return node != NULL ? WEFT__CONTAINER_OF(node, weft__runner_task, node) : NULL;
}

/* Milliseconds for poll, rounded up, so that it does not come back too early. */
static int until(int64_t due_ns)
{
    if (due_ns == INT64_MAX)
        return -1;
    int64_t left_ns = due_ns - weft__runner_now_ns();
    if (left_ns <= 0)
        return 0;
    int64_t ms = (left_ns - 1) / NS_PER_MS + 1;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* Fills what is polled. @return how many; `timeout_ms` is until the first task is due. */
static size_t collect_locked(weft__runner *runner, struct pollfd *fds, int *timeout_ms)
{
    size_t count = 0;
    int64_t due_ns = INT64_MAX;
    fds[count++] = (struct pollfd){.fd = runner->wake_fd, .events = POLLIN};
    for (weft__runner_task *task = next_task(runner, NULL); task != NULL; task = next_task(runner, task)) {
        task->polled_at = count;
        memcpy(&fds[count], task->fds, task->fd_count * sizeof *fds);
        count += task->fd_count;
        if (task->woken)
            due_ns = INT64_MIN;
        else if (task->due_ns < due_ns)
            due_ns = task->due_ns;
    }
    *timeout_ms = due_ns == INT64_MIN ? 0 : until(due_ns);
    return count;
}

/* Hands a task what poll said. @return whether it said something. A task that came meanwhile was not polled. */
static bool take_events(weft__runner_task *task, const struct pollfd *polled)
{
    short any = 0;
    for (size_t i = 0; i < task->fd_count; i++) {
        task->fds[i].revents = task->polled_at > 0 ? polled[task->polled_at + i].revents : 0;
        any = (short)(any | task->fds[i].revents);
    }
    task->polled_at = 0;
    return any != 0;
}

static void run_ready_locked(weft__runner *runner, const struct pollfd *polled)
{
    int64_t now_ns = weft__runner_now_ns();
    for (weft__runner_task *task = next_task(runner, NULL); task != NULL; task = next_task(runner, task)) {
        bool ready = take_events(task, polled);
        ready = ready || task->woken || task->due_ns <= now_ns;
        if (!ready || task->leaving)
            continue;
        task->woken = false;
        task->running = true;
        pthread_mutex_unlock(&runner->lock);
        task->run(task);
        pthread_mutex_lock(&runner->lock);
        task->running = false;
        pthread_cond_broadcast(&runner->idle);
    }
}

static void *run(void *arg)
{
    weft__runner *runner = arg;
    struct pollfd *fds = NULL;
    pthread_mutex_lock(&runner->lock);
    while (!runner->stopping) {
        eventfd_t wakes;
        int timeout_ms;
        if (runner->spare != NULL) { /* it is, the first time: a task was added before the thread was started */
            free(fds);
            fds = runner->spare;
            runner->spare = NULL;
        }
        if (fds == NULL)
            break;
        size_t count = collect_locked(runner, fds, &timeout_ms);
        pthread_mutex_unlock(&runner->lock);
        (void)poll(fds, (nfds_t)count, timeout_ms); /* failing, it has set nothing, and what is due still runs */
        (void)eventfd_read(runner->wake_fd, &wakes);
        pthread_mutex_lock(&runner->lock);
        run_ready_locked(runner, fds);
    }
    pthread_mutex_unlock(&runner->lock);
    free(fds);
    return NULL;
}

int weft__runner_init(weft__runner *runner, const char *name)
{
    *runner = (weft__runner){.name = name, .pid = getpid()};
    weft__list_init(&runner->tasks);
    runner->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (runner->wake_fd < 0)
        return -errno;
    int rc = -pthread_mutex_init(&runner->life, NULL);
    if (rc < 0)
        goto fail_life;
    rc = -pthread_mutex_init(&runner->lock, NULL);
    if (rc < 0)
        goto fail_lock;
    rc = -pthread_cond_init(&runner->idle, NULL);
    if (rc < 0)
        goto fail_idle;
    return 0;

fail_idle:
    pthread_mutex_destroy(&runner->lock);
fail_lock:
    pthread_mutex_destroy(&runner->life);
fail_life:
    close(runner->wake_fd);
    return rc;
}

bool weft__runner_forked(const weft__runner *runner)
{
    return runner->pid != getpid();
}

void weft__runner_fini(weft__runner *runner)
{
    pthread_cond_destroy(&runner->idle);
    pthread_mutex_destroy(&runner->lock);
    pthread_mutex_destroy(&runner->life);
    close(runner->wake_fd);
}

/* Room to poll one task more. @return 0; -ENOMEM. */
static int make_room_locked(weft__runner *runner)
{
    if (runner->task_count < runner->room)
        return 0;
    size_t room = runner->room > 0 ? 2 * runner->room : 4;
    struct pollfd *fds = calloc(1 + room * WEFT__TASK_FDS, sizeof *fds);
    if (fds == NULL)
        return -ENOMEM;
    free(runner->spare);
    runner->spare = fds;
    runner->room = room;
    return 0;
}

/* With `life`. Stops the thread when it has nothing to do. */
static void stop_if_idle(weft__runner *runner)
{
    pthread_mutex_lock(&runner->lock);
    bool stops = runner->started && runner->task_count == 0;
    runner->stopping = stops;
    pthread_mutex_unlock(&runner->lock);
    if (stops) {
        (void)eventfd_write(runner->wake_fd, 1);
        pthread_join(runner->thread, NULL);
    }
    if (stops || !runner->started) {
        free(runner->spare);
        runner->spare = NULL;
        runner->room = 0;
        runner->stopping = false;
        runner->started = false;
    }
}

int weft__runner_add(weft__runner *runner, weft__runner_task *task)
{
    pthread_mutex_lock(&runner->life);
    pthread_mutex_lock(&runner->lock);
    int rc = make_room_locked(runner);
    if (rc == 0) {
        weft__list_push_back(&runner->tasks, &task->node);
        runner->task_count++;
    }
    pthread_mutex_unlock(&runner->lock);
    if (rc == 0 && !runner->started) {
        rc = weft__thread_start(&runner->thread, 0, runner->name, run, runner);
        runner->started = rc == 0;
        if (rc < 0) {
            weft__list_remove(&task->node);
            runner->task_count--;
        }
    }
    if (rc < 0)
        stop_if_idle(runner);
    pthread_mutex_unlock(&runner->life);
    if (rc == 0)
        (void)eventfd_write(runner->wake_fd, 1);
    return rc;
}

void weft__runner_remove(weft__runner *runner, weft__runner_task *task)
{
    pthread_mutex_lock(&runner->lock);
    task->leaving = true;
    while (task->running)
        pthread_cond_wait(&runner->idle, &runner->lock);
    weft__list_remove(&task->node);
    runner->task_count--;
    pthread_mutex_unlock(&runner->lock);
    /* Without `lock`: a publish of another task may be adding one. */
    pthread_mutex_lock(&runner->life);
    stop_if_idle(runner);
    pthread_mutex_unlock(&runner->life);
}

void weft__runner_wake(weft__runner *runner, weft__runner_task *task)
{
    pthread_mutex_lock(&runner->lock);
    task->woken = true;
    pthread_mutex_unlock(&runner->lock);
    (void)eventfd_write(runner->wake_fd, 1);
}
