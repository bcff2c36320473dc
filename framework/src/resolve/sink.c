#include "resolve/sink.h"

#include <stdlib.h>

#include "resolve/address.h"

void weft_resolver_free(weft_resolver *resolver)
{
    if (resolver != NULL && resolver->vtable->destroy != NULL)
        resolver->vtable->destroy(resolver);
}

/* Publishes a list without those that are no addresses: one entry that somebody got wrong must not cost all others. */
static void publish_good(weft_sink *sink, const weft_resolution *resolution, size_t good)
{
    weft_address *kept = good > 0 ? calloc(good, sizeof *kept) : NULL;
    if (kept == NULL) {
        weft_sink_fail(sink, good > 0 ? "out of memory" : "the directory names nothing that is an address");
        return;
    }
    size_t count = 0;
    for (size_t i = 0; i < resolution->address_count; i++)
        if (weft__is_address(resolution->addresses[i].address))
            kept[count++] = resolution->addresses[i];
    const weft_resolution rest = {
        .struct_size = sizeof rest,
        .addresses = kept,
        .address_count = count,
        .service_config = resolution->service_config,
    };
    sink->publish(sink, &rest);
    free(kept);
}

void weft_sink_publish(weft_sink *sink, const weft_resolution *resolution)
{
    size_t good = 0;
    for (size_t i = 0; i < resolution->address_count; i++) {
        const char *address = resolution->addresses[i].address;
        if (weft__is_address(address))
            good++;
        else
            weft_log_warn(sink->log, "a directory names something that is no address",
                          WEFT_FIELDS(WEFT_STR("address", address != NULL ? address : "")));
    }
    if (good == resolution->address_count)
        sink->publish(sink, resolution);
    else
        publish_good(sink, resolution, good);
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
