/* lines.h: a stream of bytes as whole lines, none of them longer than a bound. */
#ifndef WEFT_TOOL_LINES_H
#define WEFT_TOOL_LINES_H

#include <stdbool.h>
#include <stddef.h>

enum {
    LINES_MAX = 4096 /* bytes of a line that are kept; the rest is cut, and a mark says so */
};

/* Gets each line without its end. */
typedef void lines_sink(void *arg, const char *line, size_t length);

/* All zero at first, but for the sink. */
typedef struct lines {
    lines_sink *sink;
    void *arg;
    size_t length; /* of what is kept of the line so far */
    bool cut;
    char kept[LINES_MAX];
} lines;

/* Takes what was read. */
void lines_take(lines *l, const char *bytes, size_t size);

/* There is no more: what is there counts as a line. */
void lines_end(lines *l);

#endif
