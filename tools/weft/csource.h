/* csource.h: finding places in C that somebody else wrote. It reads tokens, not the language: comments, literals and
 * preprocessor lines are skipped, braces are counted. What it is not sure of it does not find. */
#ifndef WEFT_TOOL_CSOURCE_H
#define WEFT_TOOL_CSOURCE_H

#include <stdbool.h>
#include <stddef.h>

/* A table of handlers: `static const TYPE NAME = { .Method = function, … };` */
typedef struct csource_table {
    size_t declaration; /* where the outermost declaration that holds it begins, with the comment before it */
    size_t open;        /* its '{' */
    size_t close;       /* its '}' */
    size_t last;        /* behind the last token before that */
    bool comma;         /* that token is a comma, or the '{': another entry may follow */
} csource_table;

/* Finds the one initialized table of a type. @return how many there are; the place is that of the first. */
size_t csource_find_table(const char *data, size_t size, const char *type, csource_table *out);

/* Whether a table has an entry for a member: `.Method =`. */
bool csource_has_entry(const char *data, const csource_table *table, const char *member);

/* The member of the first entry that begins behind `*at`, which moves behind it; begin with the table's `open`. @return
 * its length, or 0: there is none. */
size_t csource_next_entry(const char *data, const csource_table *table, size_t *at, const char **member);

/* Whether a name occurs as a word of the program. */
bool csource_has_word(const char *data, size_t size, const char *word);

/* Finds `#include "NAME"`. @return behind it, or SIZE_MAX. */
size_t csource_find_include(const char *data, size_t size, const char *name);

/* A statement `rc = FUNCTION(ARGUMENTS);`, also one behind `if (…)` that no `else` follows, or a declaration
 * `int rc = FUNCTION(ARGUMENTS);`: another statement may come behind it. */
typedef struct csource_call {
    size_t line;           /* where the line begins that it stands on, or the `if (…)` before it */
    size_t end;            /* behind its ';' */
    size_t result;         /* the name that the result goes to, */
    size_t result_size;    /* and its length */
    size_t arguments;      /* behind the '(' */
    size_t arguments_size; /* up to the ')' */
} csource_call;

/* Finds the calls of a function that look so. @return how many there are; the place is that of the first. */
size_t csource_find_call(const char *data, size_t size, const char *function, csource_call *out);

#endif
