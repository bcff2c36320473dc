/* files.h: reading files, and writing many of them: all or none. */
#ifndef WEFT_TOOL_FILES_H
#define WEFT_TOOL_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include "memory.h"

/* One file to write. */
typedef struct disk_file {
    const char *path;
    const char *data;
    size_t size;
} disk_file;

/* A list of them that grows. */
typedef struct file_list {
    disk_file *items;
    size_t count;
    size_t capacity;
} file_list;

void file_list_add(pool *p, file_list *list, const char *path, text content);

/* Reads a whole file of at most FILE_MAX_BYTES. @return false, with the problem in words for the user. */
#define FILE_MAX_BYTES (16 << 20)
bool file_read(pool *p, const char *path, text *out, const char **problem);

/* What files were when they were read, so that a change of theirs is seen. */
typedef struct file_stamp {
    const char *path;
    ino_t inode;
    off_t size;
    struct timespec modified;
} file_stamp;

typedef struct stamp_list {
    file_stamp *items;
    size_t count;
    size_t capacity;
} stamp_list;

/* Notes what a file is now: before it is read. What is noted already stays. */
void stamp_list_add(pool *p, stamp_list *list, const char *path);

bool file_exists(const char *path);
bool file_is_folder(const char *path);

/* The paths of the files below a folder whose names end so, sorted; as the folder's path goes on. Names that begin with
 * a dot, and links to folders, are left out. */
typedef struct path_list {
    const char **items;
    size_t count;
    size_t capacity;
} path_list;
void path_list_add(pool *p, path_list *list, const char *path);
bool path_list_find(pool *p, path_list *list, const char *folder, const char *ending, const char **problem);

/* The folder that a path lies in: "." for a name alone. */
const char *path_folder(pool *p, const char *path);

/**
 * Makes a folder with these files, whose paths begin below it. It is written beside, under another name, and gets its
 * own only when all of it is there.
 *
 * @return false, with the problem in words for the user and nothing left behind. A folder or file that is there already
 *         is one.
 */
bool folder_make(pool *p, const char *folder, const file_list *files, const char **problem);

/* Removes such a folder, `root`; what else lies in it stays. */
void folder_remove(pool *p, const char *root, const file_list *files);

/**
 * Changes files, and adds those that `added` says are new, together. Each is written beside its place first; then they
 * take their places. When one cannot, those that did are put back.
 *
 * @param read what the change was made from: when one of these files is another by now, nothing is done.
 * @return false, with the problem in words for the user and every file as it was. Should one not go back, the problem
 *         names it, and the file that has its old content.
 */
bool files_change(pool *p, const file_list *changed, const file_list *added, const stamp_list *read,
                  const char **problem);

#endif
