/* kept_log.h: a log whose lines a test counts. */
#ifndef WEFT_TESTS_KEPT_LOG_H
#define WEFT_TESTS_KEPT_LOG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <weft/log.h>

struct kept_log {
    weft_log *log;
    FILE *file;
};

static inline void kept_log_open(struct kept_log *kept)
{
    weft_log_options options = WEFT_LOG_OPTIONS_INIT;
    kept->file = tmpfile();
    assert_non_null(kept->file);
    options.fd = fileno(kept->file);
    assert_int_equal(weft_log_new(&kept->log, &options), 0);
}

/* Frees the log. @return how many of its lines have that text. */
static inline int kept_log_count(struct kept_log *kept, const char *text)
{
    char line[4096];
    int count = 0;
    weft_log_free(kept->log); /* all is written */
    rewind(kept->file);
    while (fgets(line, sizeof line, kept->file) != NULL)
        count += strstr(line, text) != NULL;
    assert_int_equal(fclose(kept->file), 0);
    return count;
}

#endif
