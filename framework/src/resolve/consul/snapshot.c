#include "resolve/consul/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"

#define HEADER     "weft-consul 1 "
#define HEADER_MAX 64

/* Finds damage, keeps nobody out: who can write the folder decides what is in it anyway. */
static const uint64_t plain[2];

static int write_path(weft__buf *path, const char *folder, const char *service, const char *key)
{
    weft__buf_printf(path, "%s/consul-", folder);
    for (size_t i = 0; service[i] != '\0' && i < 64; i++) {
        char c = service[i];
        bool plain_letter =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        weft__buf_append(path, plain_letter ? &c : "_", 1);
    }
    weft__buf_printf(path, "-%016" PRIx64 ".snapshot", weft__hash(plain, key, strlen(key)));
    return path->failed;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Writes to a file of its own beside `path`, then puts it there. */
static int replace(const char *path, const char *draft_name, weft_sv content)
{
    char *draft = strdup(draft_name);
    if (draft == NULL)
        return -ENOMEM;
    int fd = mkstemp(draft);
    int rc = fd < 0 ? -errno : write_all(fd, content.data, content.len);
    if (rc == 0 && fsync(fd) < 0)
        rc = -errno;
    if (fd >= 0 && close(fd) < 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && rename(draft, path) < 0)
        rc = -errno;
    if (rc < 0 && fd >= 0)
        unlink(draft);
    free(draft);
    return rc;
}

int weft__consul_snapshot_save(const char *folder, const char *service, const char *key, weft_sv answer)
{
    weft__buf path, draft, body, file;
    weft__buf_init(&path, 0);
    weft__buf_init(&draft, 0);
    weft__buf_init(&body, 0);
    weft__buf_init(&file, 0);
    write_path(&path, folder, service, key);
    weft__buf_printf(&draft, "%s.XXXXXX", path.data);
    weft__buf_printf(&body, "%s\n", key);
    weft__buf_append(&body, answer.data, answer.len);
    weft__buf_printf(&file, HEADER "%016" PRIx64 " %zu\n", weft__hash(plain, body.data, body.len), body.len);
    weft__buf_append(&file, body.data, body.len);
    int rc = path.failed < 0 || draft.failed < 0 || body.failed < 0 || file.failed < 0
                 ? -ENOMEM
                 : replace(path.data, draft.data, weft_sv_of(file.data, file.len));
    weft__buf_fini(&file);
    weft__buf_fini(&body);
    weft__buf_fini(&draft);
    weft__buf_fini(&path);
    return rc;
}

int weft__consul_snapshot_check(weft_sv file, const char *key, weft_sv *answer)
{
    char expected[HEADER_MAX];
    const char *end = memchr(file.data, '\n', file.len < HEADER_MAX ? file.len : HEADER_MAX);
    if (end == NULL)
        return -EBADMSG;
    weft_sv header = weft_sv_of(file.data, (size_t)(end - file.data));
    weft_sv body = weft_sv_of(end + 1, file.len - header.len - 1);
    snprintf(expected, sizeof expected, HEADER "%016" PRIx64 " %zu", weft__hash(plain, body.data, body.len), body.len);
    size_t key_len = strlen(key);
    if (!weft_sv_is(header, expected) || body.len < key_len + 1 || memcmp(body.data, key, key_len) != 0 ||
        body.data[key_len] != '\n')
        return -EBADMSG;
    *answer = weft_sv_of(body.data + key_len + 1, body.len - key_len - 1);
    return 0;
}

static int read_all(int fd, weft__buf *file)
{
    for (;;) {
        int rc = weft__buf_reserve(file, 4096);
        if (rc < 0)
            return rc == -E2BIG ? -EFBIG : rc;
        ssize_t n = read(fd, file->data + file->len, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        file->len += (size_t)n;
    }
}

int weft__consul_snapshot_load(const char *folder, const char *service, const char *key, weft__buf *file,
                               weft_sv *answer)
{
    weft__buf path;
    weft__buf_init(&path, 0);
    int rc = write_path(&path, folder, service, key);
    int fd = rc < 0 ? -1 : open(path.data, O_RDONLY | O_CLOEXEC);
    if (rc == 0 && fd < 0)
        rc = -errno;
    weft__buf_fini(&path);
    if (rc < 0)
        return rc;
    rc = read_all(fd, file);
    close(fd);
    return rc < 0 ? rc : weft__consul_snapshot_check(weft_sv_of(file->data, file->len), key, answer);
}
