/* call/intercept.h: the interceptors and observers of a server or channel. */
#ifndef WEFT_CALL_INTERCEPT_H
#define WEFT_CALL_INTERCEPT_H

#include <weft/interceptor.h>

struct weft_call;

/* One interceptor, with what it is for. */
typedef struct weft__link {
    weft_interceptor *interceptor;
    char **methods; /* method_count; NULL: all */
    size_t method_count;
    size_t slot; /* where its state lies in a call's */
} weft__link;

typedef struct weft__chain {
    weft__link *links;
    size_t count;
    size_t state_bytes;
    weft_observer *const *observers;
    size_t observer_count;
} weft__chain;

/* Copies what options say: 0; -EINVAL; -E2BIG more than WEFT_MAX_INTERCEPTORS; -ENOMEM. */
int weft__chain_init(weft__chain *chain, const weft_interception *interceptors, size_t count,
                     weft_observer *const *observers, size_t observer_count);
void weft__chain_fini(weft__chain *chain);

/* Which of them look at a method: a bit each. */
uint64_t weft__chain_mask(const weft__chain *chain, const char *path);

/* The hooks of a call whose `chain` and `mask` are set. What fails has its words in the call, by weft_fail. */
weft_code weft__intercept_start(weft_call *call);
weft_code weft__intercept_recv(weft_call *call, const ProtobufCMessage *message);
weft_code weft__intercept_send(weft_call *call, const ProtobufCMessage *message);

/* Once; also tells the observers. `handled`: see weft_call_summary. */
void weft__intercept_end(weft_call *call, const weft_status *status, bool handled);

#endif
