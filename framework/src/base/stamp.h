/* base/stamp.h: what a file looks like, to see that it has become another one. */
#ifndef WEFT_BASE_STAMP_H
#define WEFT_BASE_STAMP_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

/* All zero: no file. */
typedef struct weft__stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
    struct timespec changed;
} weft__stamp;

bool weft__stamp_equal(const weft__stamp *a, const weft__stamp *b);

weft__stamp weft__stamp_from(const struct stat *file);

/* Of a file as it is now; all zero when it cannot be had. NULL is none. */
weft__stamp weft__stamp_of(const char *file);

#endif
