#include "times.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int64_t pause_next_ms(int64_t last_ms, int64_t lived_ms)
{
    if (last_ms == 0 || lived_ms >= PAUSE_SOUND_MS)
        return PAUSE_MIN_MS;
    return last_ms * 2 < PAUSE_MAX_MS ? last_ms * 2 : PAUSE_MAX_MS;
}

bool parse_time_ms(const char *s, int64_t *ms)
{
    static const double longest_ms = 3600000;
    char *end;
    errno = 0;
    double value = strtod(s, &end);
    if (end == s || errno != 0)
        return false;
    if (*end != '\0' && strcmp(end, "s") != 0 && strcmp(end, "ms") != 0)
        return false;
    if (strcmp(end, "ms") != 0)
        value *= 1000;
    if (!(value >= 1 && value <= longest_ms)) /* no number at all is neither */
        return false;
    *ms = (int64_t)value;
    return true;
}
