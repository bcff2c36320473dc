/* A folder that a test has for itself, and that goes with all that is in it. */
#ifndef SAMPLE_TEMP_DIR_H
#define SAMPLE_TEMP_DIR_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEMP_PATH_BYTES 320

static char temp_dir[] = "/tmp/sample-test-XXXXXX";

static inline int temp_dir_make(void)
{
    memcpy(strrchr(temp_dir, '-'), "-XXXXXX", sizeof "-XXXXXX");
    return mkdtemp(temp_dir) != NULL ? 0 : -1;
}

static inline const char *temp_path(const char *name, char path[TEMP_PATH_BYTES])
{
    snprintf(path, TEMP_PATH_BYTES, "%s/%s", temp_dir, name);
    return path;
}

static inline void temp_dir_remove(void)
{
    char path[TEMP_PATH_BYTES];
    DIR *dir = opendir(temp_dir);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            unlink(temp_path(entry->d_name, path));
    if (dir != NULL)
        closedir(dir);
    rmdir(temp_dir);
}

#endif
