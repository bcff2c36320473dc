#include "resolve/sink.h"

void weft_resolver_free(weft_resolver *resolver)
{
    if (resolver != NULL && resolver->vtable->destroy != NULL)
        resolver->vtable->destroy(resolver);
}

void weft_sink_publish(weft_sink *sink, const weft_resolution *resolution)
{
    sink->publish(sink, resolution);
}

void weft_sink_fail(weft_sink *sink, const char *text)
{
    sink->fail(sink, text);
}

weft_engine *weft_sink_engine(const weft_sink *sink)
{
    return sink->engine;
}

weft_log *weft_sink_log(const weft_sink *sink)
{
    return sink->log;
}
