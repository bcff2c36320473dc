/* A channel's end of a watch, for tests: it keeps what it was told, and lets a test wait for it. */
#ifndef WEFT_TEST_RESOLVE_WATCHER_H
#define WEFT_TEST_RESOLVE_WATCHER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "resolve/sink.h"

struct watcher {
    weft_sink sink;
    pthread_mutex_t lock;
    pthread_cond_t told;
    int lists; /* published so far */
    int fails;
    char
        list[4096]; /* the last: "ipv4:10.0.0.1:1 ipv6:[::1]:2*3!2@zone{k=v}", sorted: weight, health, zone, metadata */
    char text[2048]; /* of the last failure */
    bool inside;     /* a publish waits for `leave` */
    bool hold;
    weft_resolver *resolver;
    weft_watch *watch;
};

void watcher_init(struct watcher *watcher);
void watcher_fini(struct watcher *watcher);

/* Watches a target, which the resolver takes or not. @return what its watch did. */
int watcher_watch(struct watcher *watcher, weft_resolver *resolver, const char *text, char reason[256]);

/* Watches a target that the resolver takes. */
void watcher_start(struct watcher *watcher, weft_resolver *resolver, const char *target);
void watcher_stop(struct watcher *watcher);

/* Waits until a list has come that reads so, or until there were so many lists or failures. Ten seconds at most. */
void watcher_expect(struct watcher *watcher, const char *list);
void watcher_expect_lists(struct watcher *watcher, int lists);
void watcher_expect_fails(struct watcher *watcher, int fails);

/* Waits until there was a list or a failure. @return whether it was a list. */
bool watcher_expect_any(struct watcher *watcher);

/* Waits until a failure has come whose text contains this. */
void watcher_expect_text(struct watcher *watcher, const char *part);

int watcher_lists(struct watcher *watcher);
int watcher_fails(struct watcher *watcher);

/* The next publishes stay inside until they are let go. */
void watcher_hold(struct watcher *watcher);
void watcher_expect_inside(struct watcher *watcher);
void watcher_release(struct watcher *watcher);

/* With a publish held inside: unwatch, called on another thread, returns only after it is let go. Another watch of the
 * resolver must be there, so that it is not the end of the resolver's thread that is waited for. */
void watcher_expect_end_waits(struct watcher *watcher);

/* In a child made by fork() the resolver refuses another watch; a hint, the end of its watch and its own end do
 * nothing: none of them waits for a thread that is not there. */
void watcher_expect_fork_refused(struct watcher *watcher, const char *target);

#endif
