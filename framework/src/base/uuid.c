/* Design notes
 *
 * The 12 bits after the time are a counter (RFC 9562, section 6.2, method 1). A new millisecond seeds it with 11 random
 * bits, which leaves room for at least 2048 more ids; when it runs over, the series borrows the next millisecond
 * instead of waiting for it. A clock that went back is ignored until it has caught up. So last_ms and the counter
 * together only grow.
 */
#include "base/uuid.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define COUNTER_MAX  0xfffU
#define SEED_MAX     0x7ffU
#define RANDOM_BYTES 10 /* two for the counter, eight for the rest */

void weft__uuid7_next(weft__uuid7_series *series, uint64_t unix_ms, const uint8_t *random, uint8_t id[WEFT_UUID_BYTES])
{
    bool fresh = unix_ms > series->last_ms;
    if (!fresh && series->counter == COUNTER_MAX) {
        unix_ms = series->last_ms + 1;
        fresh = true;
    }
    if (fresh) {
        series->last_ms = unix_ms;
        series->counter = ((unsigned)random[0] << 8 | random[1]) & SEED_MAX;
    } else {
        series->counter++;
    }
    for (int i = 0; i < 6; i++)
        id[i] = (uint8_t)(series->last_ms >> (40 - 8 * i));
    id[6] = (uint8_t)(0x70U | series->counter >> 8);
    id[7] = (uint8_t)series->counter;
    memcpy(id + 8, random + 2, 8);
    id[8] = (uint8_t)(0x80U | (id[8] & 0x3fU));
}

int weft_uuid7(char text[WEFT_UUID_TEXT_BYTES])
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static weft__uuid7_series series;
    uint8_t random[RANDOM_BYTES];
    uint8_t id[WEFT_UUID_BYTES];
    struct timespec now;
    ssize_t n;
    do
        n = getrandom(random, sizeof random, 0);
    while (n < 0 && errno == EINTR);
    if (n != sizeof random)
        return n < 0 ? -errno : -EIO;
    pthread_mutex_lock(&lock);
    clock_gettime(CLOCK_REALTIME, &now);
    weft__uuid7_next(&series, (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000, random, id);
    pthread_mutex_unlock(&lock);
    weft_uuid_format(id, text);
    return 0;
}

/* Whether a dash stands before the byte. */
static bool dash_before(int byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void weft_uuid_format(const uint8_t id[WEFT_UUID_BYTES], char text[WEFT_UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < WEFT_UUID_BYTES; i++) {
        if (dash_before(i))
            *text++ = '-';
        *text++ = digits[id[i] >> 4];
        *text++ = digits[id[i] & 0xf];
    }
    *text = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool weft_uuid_parse(const char *text, uint8_t id[WEFT_UUID_BYTES])
{
    uint8_t parsed[WEFT_UUID_BYTES];
    for (int i = 0; i < WEFT_UUID_BYTES; i++) {
        if (dash_before(i) && *text++ != '-')
            return false;
        int high = hex_value(text[0]);
        int low = high < 0 ? -1 : hex_value(text[1]);
        if (low < 0)
            return false;
        parsed[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    if (*text != '\0')
        return false;
    memcpy(id, parsed, sizeof parsed);
    return true;
}
