/* times.h: arithmetic with times. */
#ifndef WEFT_TOOL_TIMES_H
#define WEFT_TOOL_TIMES_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PAUSE_MIN_MS = 100, /* between a service's death and its next start */
    PAUSE_MAX_MS = 10000,
    PAUSE_SOUND_MS = 10000 /* who has lived for so long begins anew */
};

/* How long to pause after a life of `lived_ms` that followed a pause of `last_ms` (0: the first). */
int64_t pause_next_ms(int64_t last_ms, int64_t lived_ms);

/* "5s", "500ms", "5": seconds. 1 ms to an hour. @return whether it is one; else `ms` is untouched. */
bool parse_time_ms(const char *s, int64_t *ms);

#endif
