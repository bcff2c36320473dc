/* weft/directory.h: a directory of services (Consul, say) as a program uses it: configured by keys, to be found in it
 * and to find others. Who writes a program names one (weft/program.h); who writes a directory fills in a type. */
#ifndef WEFT_DIRECTORY_H
#define WEFT_DIRECTORY_H

#include <stddef.h>

#include <weft/config.h>
#include <weft/log.h>
#include <weft/registry.h>
#include <weft/resolver.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_directory weft_directory; /* the type's: its own struct, by another name */

/* A kind of directory. Static; texts and keys too. */
typedef struct weft_directory_type {
    size_t struct_size;
    const char *name;            /* required; for people: "Consul" */
    const char *scheme;          /* required; of targets that it resolves: "consul" */
    const weft_config_key *keys; /* required; key_count of them: what it may be told */
    size_t key_count;
    const char *address_key; /* required; the one of them, a STRING, that says where it is. While its value is "", the
                                program is registered nowhere */

    /* Makes a client of it. The directory itself may be down. 0; -EINVAL the value of address_key means nothing, and
       `reason` says why (reason_size bytes); or another -errno. `config` and `log`, which may be NULL, outlive it. */
    int (*open)(weft_directory **out, const weft_config *config, weft_log *log, char *reason, size_t reason_size);

    weft_resolver *(*resolver)(weft_directory *self); /* of its scheme; belongs to the directory */
    weft_registry *(*registry)(weft_directory *self); /* belongs to the directory */
    void (*close)(weft_directory *self);              /* nothing is watched or registered any more */
} weft_directory_type;

WEFT_END_DECLS
#endif
