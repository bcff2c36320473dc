#include "templates.h"

#include <string.h>

const template_word *template_words(pool *p, const project_name *name)
{
    const template_word words[] = {
        {"sample-service", pool_printf(p, "%s-service", name->dashed)},
        {"sample", name->c},
        {"Sample", name->camel},
        {"SAMPLE", name->upper},
        {NULL, NULL},
    };
    template_word *list = pool_alloc(p, sizeof words);
    memcpy(list, words, sizeof words);
    return list;
}

/* The first word that stands at the beginning of `data`, or NULL. */
static const template_word *word_at(const template_word *words, const char *data, size_t size)
{
    for (const template_word *w = words; w->word != NULL; w++) {
        size_t length = strlen(w->word);
        if (length <= size && memcmp(w->word, data, length) == 0)
            return w;
    }
    return NULL;
}

void template_fill(text *out, const template_word *words, const char *data, size_t size)
{
    size_t begin = 0;
    for (size_t i = 0; i < size;) {
        const template_word *w = word_at(words, data + i, size - i);
        if (w == NULL) {
            i++;
            continue;
        }
        text_add_bytes(out, data + begin, i - begin);
        text_add(out, w->value);
        i += strlen(w->word);
        begin = i;
    }
    text_add_bytes(out, data + begin, size - begin);
}
