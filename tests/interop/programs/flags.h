/* flags.h: the command line of gRPC's interop programs, --name=value. */
#ifndef INTEROP_FLAGS_H
#define INTEROP_FLAGS_H

#include <stdbool.h>
#include <stddef.h>

#include <weft/tls.h>

/* How both programs end. */
enum {
    INTEROP_PASSED = 0,
    INTEROP_FAILED = 1,
    INTEROP_USAGE = 2
};

/* One flag: of the three places one is set, which says what the value must be. */
typedef struct interop_flag {
    const char *name; /* without the dashes */
    const char **text;
    int *port;
    bool *truth;
} interop_flag;

/* Reads the command line. @return 0; -EINVAL, when standard error says which word is wrong. */
int interop_flags_parse(const interop_flag *flags, size_t count, int argc, char **argv);

/* weft_tls_new; standard error says what is wrong. */
int interop_tls_new(weft_tls **out, weft_engine *engine, const weft_tls_options *options);

#endif
