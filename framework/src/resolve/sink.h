/* resolve/sink.h: the channel's end of a watch. */
#ifndef WEFT_RESOLVE_SINK_H
#define WEFT_RESOLVE_SINK_H

#include <weft/resolver.h>

struct weft_sink {
    void (*publish)(weft_sink *sink, const weft_resolution *resolution);
    void (*fail)(weft_sink *sink, const char *text);
    weft_engine *engine;
    weft_log *log;
};

#endif
