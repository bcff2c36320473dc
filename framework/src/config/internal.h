/* config/internal.h: a configuration, as the files of this folder share it. */
#ifndef WEFT_SRC_CONFIG_INTERNAL_H
#define WEFT_SRC_CONFIG_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include <weft/arena.h>
#include <weft/config.h>

#include "base/buf.h"

/* Where a value comes from. A later layer wins over an earlier one, whatever the order in which they are read. */
typedef enum weft__config_layer {
    WEFT__CONFIG_UNSET,
    WEFT__CONFIG_DEFAULT,
    WEFT__CONFIG_FILE,
    WEFT__CONFIG_ENVIRONMENT,
    WEFT__CONFIG_FLAG
} weft__config_layer;

/* One key's value. All strings lie in the configuration's arena. */
typedef struct weft__config_entry {
    const weft_config_key *key;
    const char *variable; /* in the environment, or NULL */
    weft__config_layer layer;
    const char *source;
    const char *text; /* as it was written; NULL for a LIST */
    int64_t number;
    const char **items;
    size_t item_count;
    unsigned file; /* the last file that named the key, by number, and where */
    size_t line;
} weft__config_entry;

/* What stands before a dot in some key: "database" of "database.path". */
typedef struct weft__config_section {
    weft_sv name;
    unsigned file;
    size_t line;
} weft__config_section;

struct weft_config {
    weft_arena *arena;
    weft__config_entry *entries;
    size_t entry_count;
    weft__config_section *sections;
    size_t section_count;
    unsigned files;   /* read so far */
    weft__buf errors; /* in the caller's memory; has failed once a line did not fit */
    size_t error_count;
};

weft__config_entry *weft__config_find(const weft_config *config, weft_sv name);
weft__config_section *weft__config_find_section(const weft_config *config, weft_sv name);

/* Adds a line "where: …" to the errors. */
void weft__config_report(weft_config *config, const char *where, const char *format, ...) WEFT_PRINTF(3, 4);

/* Reports a key that is not in the table, with the nearest one that is. */
void weft__config_report_unknown(weft_config *config, const char *where, weft_sv name);

/* Reads `text` as the key's type and stores it unless a later layer has a value. What is wrong is reported.
   @return 0; -EINVAL it was reported; -ENOMEM. */
int weft__config_store(weft_config *config, weft__config_entry *entry, weft__config_layer layer, const char *source,
                       const char *text);

/* The same for a LIST whose entries are known. They must lie in the arena. */
void weft__config_store_list(weft__config_entry *entry, weft__config_layer layer, const char *source,
                             const char **items, size_t count);

#endif
