/* loop.c: callbacks on the program's own thread.
 *
 * Design notes
 * - The descriptor is an eventfd that is written when the first callback comes and read when the last one is taken,
 *   both under the lock: it is readable exactly while callbacks wait, and a burst costs two system calls.
 */
#include "call/loop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/list.h"
#include "base/thread.h"

struct weft_loop {
    int fd;
    atomic_size_t users;
    pthread_mutex_t lock;    /* guards what is below */
    weft__queue_node *first; /* jobs that wait */
    weft__queue_node **last; /* where the next one is linked */
};

int weft_loop_new(weft_loop **out)
{
    weft_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        return -ENOMEM;
    loop->last = &loop->first;
    loop->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = loop->fd < 0 ? -errno : -pthread_mutex_init(&loop->lock, NULL);
    if (rc < 0) {
        if (loop->fd >= 0)
            close(loop->fd);
        free(loop);
        return rc;
    }
    *out = loop;
    return 0;
}

int weft_loop_fd(const weft_loop *loop)
{
    return loop->fd;
}

int weft_loop_free(weft_loop *loop)
{
    if (loop == NULL)
        return 0;
    if (atomic_load(&loop->users) > 0 || loop->first != NULL)
        return -EBUSY;
    close(loop->fd);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
    return 0;
}

void weft__loop_use(weft_loop *loop)
{
    if (loop != NULL)
        atomic_fetch_add(&loop->users, 1);
}

void weft__loop_unuse(weft_loop *loop)
{
    if (loop != NULL)
        atomic_fetch_sub(&loop->users, 1);
}

void weft__loop_post(weft_loop *loop, weft__job *job)
{
    if (loop == NULL) {
        job->run(job);
        return;
    }
    job->node.next = NULL;
    pthread_mutex_lock(&loop->lock);
    if (loop->first == NULL)
        (void)eventfd_write(loop->fd, 1); /* cannot fail: it is 0 */
    *loop->last = &job->node;
    loop->last = &job->node.next;
    pthread_mutex_unlock(&loop->lock);
}

static weft__job *take(weft_loop *loop)
{
    eventfd_t value;
    pthread_mutex_lock(&loop->lock);
    weft__queue_node *node = loop->first;
    if (node != NULL) {
        loop->first = node->next;
        if (loop->first == NULL) {
            loop->last = &loop->first;
            (void)eventfd_read(loop->fd, &value);
        }
    }
    pthread_mutex_unlock(&loop->lock);
    return node != NULL ? WEFT__CONTAINER_OF(node, weft__job, node) : NULL;
}

size_t weft_loop_dispatch(weft_loop *loop, size_t max)
{
    size_t count = 0;
    if (weft__thread_is_loop())
        return 0;
    weft__thread_set_loop(true);
    while (count < max) {
        weft__job *job = take(loop);
        if (job == NULL)
            break;
        job->run(job);
        count++;
    }
    weft__thread_set_loop(false);
    return count;
}

void weft__loop_turn(weft_loop *loop, int ms)
{
    struct pollfd fd = {.fd = loop->fd, .events = POLLIN};
    if (poll(&fd, 1, ms) > 0)
        (void)weft_loop_dispatch(loop, SIZE_MAX);
}

/* ---- who is told ------------------------------------------------------------------------------------------------- */

struct weft__told {
    weft__job job;
    weft_loop *loop;
    void (*fn)(void *arg);
    void *arg;
};

static void tell(weft__job *job)
{
    weft__told *told = WEFT__CONTAINER_OF(job, weft__told, job);
    void (*fn)(void *arg) = told->fn;
    void *arg = told->arg;
    free(told);
    fn(arg);
}

int weft__told_new(weft__told **out, weft_loop *loop, void (*fn)(void *arg), void *arg)
{
    weft__told *told = malloc(sizeof *told);
    if (told == NULL)
        return -ENOMEM;
    *told = (weft__told){{.run = tell}, loop, fn, arg};
    *out = told;
    return 0;
}

void weft__told_post(void *told)
{
    weft__told *it = told;
    weft__loop_post(it->loop, &it->job);
}

void weft__told_free(weft__told *told)
{
    free(told);
}
