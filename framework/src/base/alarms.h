/* base/alarms.h: a thread that calls functions at times of the system's monotonic clock. */
#ifndef WEFT_BASE_ALARMS_H
#define WEFT_BASE_ALARMS_H

#include "base/heap.h"

/* Something that is to happen at a time. Lies in what it is about; all zero but `run` before the first use. */
typedef struct weft__alarm {
    weft__heap_node node; /* whose it is while it is set */
    void (*run)(struct weft__alarm *alarm);
    bool background; /* nobody waits for it: it does not move the time of a stepped engine */
} weft__alarm;

typedef struct weft__alarms weft__alarms;

/* 0; -ENOMEM. The thread is started by the first alarm. */
WEFT_API int weft__alarms_new(weft__alarms **out);

/* No alarm is set any more; one that runs is waited for. NULL is fine. */
WEFT_API void weft__alarms_free(weft__alarms *alarms);

/**
 * Has `alarm->run` called at that time, on the thread of alarms, which must not block: it is marked so.
 *
 * @param alarm is not set. @return 0; -EAGAIN out of threads; -ENOMEM. Thread: any.
 */
WEFT_API int weft__alarms_set(weft__alarms *alarms, weft__alarm *alarm, int64_t at_ns);

/* Takes an alarm back. @return true: it does not run; false: it runs, has run, or was not set. Thread: any. */
WEFT_API bool weft__alarms_cancel(weft__alarms *alarms, weft__alarm *alarm);

#endif
