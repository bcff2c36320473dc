/* Design notes. Signals that end the program are blocked while files are written, so that a Ctrl-C comes before or
 * after the change. What is temporary is called .weft-XXXXXX and lies beside its place, so that a rename is all that is
 * left to do. Nothing is synchronised to the disk: a power cut may cost the change, as with any editor. */
#define _XOPEN_SOURCE 700 /* realpath */

#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

/* Makes room for one more item. */
static void *grown(pool *p, void *items, size_t count, size_t *capacity, size_t item_size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity == 0 ? 16 : 2 * *capacity;
    void *more = pool_alloc(p, *capacity * item_size);
    if (count > 0)
        memcpy(more, items, count * item_size);
    return more;
}

void file_list_add(pool *p, file_list *list, const char *path, text content)
{
    list->items = grown(p, list->items, list->count, &list->capacity, sizeof *list->items);
    list->items[list->count++] = (disk_file){.path = path, .data = content.data, .size = content.size};
}

void path_list_add(pool *p, path_list *list, const char *path)
{
    list->items = grown(p, list->items, list->count, &list->capacity, sizeof *list->items);
    list->items[list->count++] = path;
}

const char *path_folder(pool *p, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return ".";
    return slash == path ? "/" : pool_printf(p, "%.*s", (int)(slash - path), path);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static bool told(pool *p, const char **problem, const char *path, int error)
{
    *problem = pool_printf(p, "%s: %s", path, strerror(error));
    return false;
}

bool file_read(pool *p, const char *path, text *out, const char **problem)
{
    char chunk[65536];
    text content = text_new(p);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return told(p, problem, path, errno);
    ssize_t got;
    while ((got = read(fd, chunk, sizeof chunk)) > 0 || (got < 0 && errno == EINTR)) {
        if (got > 0)
            text_add_bytes(&content, chunk, (size_t)got);
        if (content.size > FILE_MAX_BYTES) {
            close(fd);
            return told(p, problem, path, EFBIG);
        }
    }
    int error = errno;
    close(fd);
    if (got < 0)
        return told(p, problem, path, error);
    *out = content;
    return true;
}

void stamp_list_add(pool *p, stamp_list *list, const char *path)
{
    struct stat status;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].path, path) == 0)
            return;
    if (stat(path, &status) < 0)
        return; /* whoever reads it will tell */
    list->items = grown(p, list->items, list->count, &list->capacity, sizeof *list->items);
    list->items[list->count++] = (file_stamp){path, status.st_ino, status.st_size, status.st_mtim};
}

/* The first file that is not what it was; NULL: there is none. */
static const char *find_changed(const stamp_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct stat status;
        const file_stamp *s = &list->items[i];
        if (stat(s->path, &status) < 0 || status.st_ino != s->inode || status.st_size != s->size ||
            status.st_mtim.tv_sec != s->modified.tv_sec || status.st_mtim.tv_nsec != s->modified.tv_nsec)
            return s->path;
    }
    return NULL;
}

bool file_exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

bool file_is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool ends_with(const char *s, const char *ending)
{
    size_t length = strlen(s);
    size_t tail = strlen(ending);
    return length > tail && strcmp(s + length - tail, ending) == 0;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool find_below(pool *p, path_list *list, const char *folder, const char *ending, const char **problem)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    if (dir == NULL)
        return told(p, problem, folder, errno);
    bool found = true;
    while (found && (entry = readdir(dir)) != NULL) {
        struct stat status;
        const char *path = pool_printf(p, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' || lstat(path, &status) < 0)
            continue;
        if (S_ISDIR(status.st_mode))
            found = find_below(p, list, path, ending, problem);
        else if (ends_with(entry->d_name, ending))
            path_list_add(p, list, path);
    }
    closedir(dir);
    return found;
}

bool path_list_find(pool *p, path_list *list, const char *folder, const char *ending, const char **problem)
{
    size_t before = list->count;
    if (!find_below(p, list, folder, ending, problem))
        return false;
    if (list->count > before)
        qsort(list->items + before, list->count - before, sizeof *list->items, compare_paths);
    return true;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

/* What signals did before they were kept away. */
typedef struct signals {
    sigset_t mask;
    struct sigaction limit;
} signals;

static void block_signals(signals *before)
{
    sigset_t set;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGQUIT);
    sigprocmask(SIG_BLOCK, &set, &before->mask);
    sigaction(SIGXFSZ, &ignore, &before->limit); /* a file beyond the limit is EFBIG */
}

static void restore_signals(const signals *before)
{
    sigaction(SIGXFSZ, &before->limit, NULL);
    sigprocmask(SIG_SETMASK, &before->mask, NULL);
}

/* Writes and closes. @return 0 or -errno. */
static int fill_and_close(int fd, const disk_file *f)
{
    int rc = 0;
    size_t written = 0;
    while (rc == 0 && written < f->size) {
        ssize_t n = write(fd, f->data + written, f->size - written);
        if (n > 0)
            written += (size_t)n;
        else if (errno != EINTR)
            rc = -errno;
    }
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    return rc;
}

/* Makes the folders that lie between `root` and the file. */
static int make_folders(pool *p, const char *root, const char *path)
{
    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        const char *folder = pool_printf(p, "%s/%.*s", root, (int)(slash - path), path);
        if (mkdir(folder, 0777) < 0 && errno != EEXIST)
            return -errno;
    }
    return 0;
}

static int write_below(pool *p, const char *root, const disk_file *f)
{
    int rc = make_folders(p, root, f->path);
    if (rc < 0)
        return rc;
    int fd = open(pool_printf(p, "%s/%s", root, f->path), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return fd < 0 ? -errno : fill_and_close(fd, f);
}

void folder_remove(pool *p, const char *root, const file_list *files)
{
    for (size_t i = 0; i < files->count; i++)
        unlink(pool_printf(p, "%s/%s", root, files->items[i].path));
    for (size_t i = 0; i < files->count; i++) {
        const char *path = files->items[i].path;
        for (const char *folder = path_folder(p, path); strcmp(folder, ".") != 0; folder = path_folder(p, folder))
            rmdir(pool_printf(p, "%s/%s", root, folder)); /* fails until its last folder is gone */
    }
    rmdir(root);
}

static mode_t current_umask(void)
{
    mode_t mask = umask(0);
    umask(mask);
    return mask;
}

static bool make_beside(pool *p, const char *folder, const file_list *files, const char **problem)
{
    char *temporary = pool_printf(p, "%s/.weft-XXXXXX", path_folder(p, folder));
    if (mkdtemp(temporary) == NULL)
        return told(p, problem, path_folder(p, folder), errno);
    int rc = chmod(temporary, 0777 & ~current_umask()) < 0 ? -errno : 0;
    const char *failed = folder;
    for (size_t i = 0; i < files->count && rc == 0; i++) {
        rc = write_below(p, temporary, &files->items[i]);
        failed = pool_printf(p, "%s/%s", folder, files->items[i].path);
    }
    /* An empty folder that somebody made just now would be replaced, and nobody would miss it. */
    if (rc == 0 && rename(temporary, folder) < 0) {
        rc = -errno;
        failed = folder;
    }
    if (rc == 0)
        return true;
    folder_remove(p, temporary, files);
    return told(p, problem, failed, -rc);
}

bool folder_make(pool *p, const char *folder, const file_list *files, const char **problem)
{
    signals before;
    if (file_exists(folder)) {
        *problem = pool_printf(p, "%s is there already, and nothing is overwritten", folder);
        return false;
    }
    block_signals(&before);
    bool made = make_beside(p, folder, files, problem);
    restore_signals(&before);
    return made;
}

/* ---- Changing ---------------------------------------------------------------------------------------------------- */

/* One file on its way to its place. */
typedef struct change {
    const disk_file *file;
    const char *path;  /* its place, without links */
    char *temporary;   /* the new content, or NULL */
    const char *saved; /* another name for the old content; NULL for a new file */
    bool placed;
} change;

static int prepare(pool *p, change *c, bool is_new)
{
    struct stat status = {.st_mode = 0666 & ~current_umask()};
    if (is_new) {
        if (file_exists(c->file->path))
            return -EEXIST;
        c->path = c->file->path;
    } else {
        char *real = realpath(c->file->path, NULL);
        if (real == NULL)
            return -errno;
        c->path = pool_printf(p, "%s", real);
        free(real);
        if (stat(c->path, &status) < 0)
            return -errno;
    }
    char *temporary = pool_printf(p, "%s/.weft-XXXXXX", path_folder(p, c->path));
    int fd = mkstemp(temporary);
    if (fd < 0)
        return -errno;
    c->temporary = temporary;
    int rc = fchmod(fd, status.st_mode & 0777) < 0 ? -errno : 0;
    int written = fill_and_close(fd, c->file);
    if (rc == 0)
        rc = written;
    if (rc < 0 || is_new)
        return rc;
    c->saved = pool_printf(p, "%s.old", temporary);
    if (link(c->path, c->saved) < 0) {
        c->saved = NULL;
        return -errno;
    }
    return 0;
}

/* Gives a new file its place. A rename would replace what somebody made there meanwhile; a link does not. Where there
 * are no links, an empty file keeps the place for the rename. */
static int place_new(change *c)
{
    if (link(c->temporary, c->path) == 0) {
        if (unlink(c->temporary) == 0)
            c->temporary = NULL; /* else clean() tries again */
        c->placed = true;
        return 0;
    }
    if (errno != EPERM && errno != ENOTSUP && errno != ENOSYS)
        return -errno;
    int fd = open(c->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    c->placed = true;
    if (rename(c->temporary, c->path) < 0)
        return -errno;
    c->temporary = NULL;
    return 0;
}

static int place(change *c)
{
    if (c->saved == NULL)
        return place_new(c);
    if (rename(c->temporary, c->path) < 0)
        return -errno;
    c->temporary = NULL;
    c->placed = true;
    return 0;
}

/* @param lost grows by what could not be put back; its old content stays under the other name then. */
static void put_back(change *c, text *lost)
{
    if (!c->placed)
        return;
    if (c->saved == NULL) {
        if (unlink(c->path) < 0 && errno != ENOENT)
            text_printf(lost, "; %s is new and could not be removed", c->path);
        return;
    }
    if (rename(c->saved, c->path) < 0)
        text_printf(lost, "; %s could not be put back: its old content is %s", c->path, c->saved);
    c->saved = NULL;
}

static void clean(const change *c)
{
    if (c->temporary != NULL)
        unlink(c->temporary);
    if (c->saved != NULL)
        unlink(c->saved);
}

bool files_change(pool *p, const file_list *changed, const file_list *added, const stamp_list *read,
                  const char **problem)
{
    size_t count = changed->count + added->count;
    change *changes = pool_alloc(p, (count + 1) * sizeof *changes);
    signals before;
    size_t prepared = 0;
    const change *last = NULL;
    int rc = 0;
    block_signals(&before);
    for (; prepared < count && rc == 0; prepared++) {
        bool is_new = prepared >= changed->count;
        change *c = &changes[prepared];
        c->file = is_new ? &added->items[prepared - changed->count] : &changed->items[prepared];
        rc = prepare(p, c, is_new);
        last = c;
    }
    const char *meanwhile = find_changed(read);
    for (size_t i = 0; i < count && rc == 0 && meanwhile == NULL; i++) {
        rc = place(&changes[i]);
        last = &changes[i];
    }
    if (rc < 0) {
        text lost = text_new(p);
        for (size_t j = 0; j < prepared; j++)
            put_back(&changes[j], &lost);
        *problem = pool_printf(p, "%s: %s%s", last->file->path, strerror(-rc),
                               lost.size > 0 ? lost.data : "; nothing was changed");
    } else if (meanwhile != NULL) {
        *problem = pool_printf(p, "%s was changed meanwhile; nothing was changed here: try again", meanwhile);
    }
    for (size_t j = 0; j < prepared; j++)
        clean(&changes[j]);
    restore_signals(&before);
    return rc == 0 && meanwhile == NULL;
}
