/* weft/weft.h: all of libweft. An engine comes with a header of its own: weft/core.h or weft/testing.h; so does
 * Consul: weft/consul.h, and SQLite: weft/sqlite.h. */
#ifndef WEFT_WEFT_H
#define WEFT_WEFT_H

#include <weft/app.h>
#include <weft/arena.h>
#include <weft/async.h>
#include <weft/call.h>
#include <weft/channel.h>
#include <weft/compression.h>
#include <weft/config.h>
#include <weft/details.h>
#include <weft/directory.h>
#include <weft/endpoint.h>
#include <weft/engine.h>
#include <weft/feed.h>
#include <weft/health.h>
#include <weft/health_check.h>
#include <weft/interceptor.h>
#include <weft/limits.h>
#include <weft/log.h>
#include <weft/loop.h>
#include <weft/metadata.h>
#include <weft/method.h>
#include <weft/outlier.h>
#include <weft/picker.h>
#include <weft/program.h>
#include <weft/protobuf_c.h>
#include <weft/reflection.h>
#include <weft/registry.h>
#include <weft/resolver.h>
#include <weft/server.h>
#include <weft/status.h>
#include <weft/stream.h>
#include <weft/sv.h>
#include <weft/tls.h>
#include <weft/token.h>
#include <weft/uuid.h>
#include <weft/version.h>

#endif
