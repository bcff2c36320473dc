#include "flags.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int set_port(int *port, const char *value)
{
    char *end;
    errno = 0;
    long number = strtol(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || number < 0 || number > 65535)
        return -EINVAL;
    *port = (int)number;
    return 0;
}

static int set_truth(bool *truth, const char *value)
{
    *truth = strcmp(value, "true") == 0;
    return *truth || strcmp(value, "false") == 0 ? 0 : -EINVAL;
}

static int set(const interop_flag *flag, const char *value)
{
    if (flag->port != NULL)
        return set_port(flag->port, value);
    if (flag->truth != NULL)
        return set_truth(flag->truth, value);
    *flag->text = value;
    return 0;
}

static int parse_word(const interop_flag *flags, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(flags[i].name);
        if (strncmp(word, "--", 2) == 0 && strncmp(word + 2, flags[i].name, length) == 0 && word[2 + length] == '=')
            return set(&flags[i], word + 2 + length + 1);
    }
    return -EINVAL;
}

int interop_flags_parse(const interop_flag *flags, size_t count, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (parse_word(flags, count, argv[i]) < 0) {
            fprintf(stderr, "%s: not a flag, or not a value of it\n", argv[i]);
            return -EINVAL;
        }
    return 0;
}

int interop_tls_new(weft_tls **out, weft_engine *engine, const weft_tls_options *options)
{
    char why[256];
    int rc = weft_tls_new(out, engine, options, why, sizeof why);
    if (rc < 0)
        fprintf(stderr, "TLS: %s\n", why);
    return rc;
}
