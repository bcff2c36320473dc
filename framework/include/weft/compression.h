/* weft/compression.h: whether messages travel as gzip. What a peer sends as gzip is taken in any case. */
#ifndef WEFT_COMPRESSION_H
#define WEFT_COMPRESSION_H

#include <weft/version.h>

WEFT_BEGIN_DECLS

/* How messages are sent. One that gzip would not make smaller is sent as it is. */
typedef enum weft_compression {
    WEFT_COMPRESSION_DEFAULT = 0, /* as the channel's or server's options say; there: none */
    WEFT_COMPRESSION_NONE = 1,
    WEFT_COMPRESSION_GZIP = 2
} weft_compression;

WEFT_END_DECLS
#endif
