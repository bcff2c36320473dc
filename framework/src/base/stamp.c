#include "base/stamp.h"

#include <stddef.h>

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool weft__stamp_equal(const weft__stamp *a, const weft__stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}

weft__stamp weft__stamp_from(const struct stat *file)
{
    return (weft__stamp){file->st_dev, file->st_ino, file->st_size, file->st_mtim, file->st_ctim};
}

weft__stamp weft__stamp_of(const char *file)
{
    struct stat now;
    if (file == NULL || stat(file, &now) != 0)
        return (weft__stamp){.inode = 0};
    return weft__stamp_from(&now);
}
