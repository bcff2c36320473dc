/* templates.h: the projects in templates/, built into the program, and how they become another's. */
#ifndef WEFT_TOOL_TEMPLATES_H
#define WEFT_TOOL_TEMPLATES_H

#include "files.h"
#include "project_name.h"

typedef struct template_file {
    const char *path;
    const char *data; /* NUL-terminated; its size does not count that */
    size_t size;
} template_file;

/* templates/service: a whole service. */
extern const template_file service_template[];
extern const size_t service_template_count;

/* templates/contract: what a service that is made from a contract has in place of the files of the same names. */
extern const template_file contract_template[];
extern const size_t contract_template_count;

/* A word and what stands for it; the list ends with a NULL word. */
typedef struct template_word {
    const char *word;
    const char *value;
} template_word;

/* The words of the templates: sample, Sample, SAMPLE and sample-service. */
const template_word *template_words(pool *p, const project_name *name);

/* Adds a text in which every word has its value. Where two words fit, the first of the list counts; a value is not
 * searched again. */
void template_fill(text *out, const template_word *words, const char *data, size_t size);

#endif
