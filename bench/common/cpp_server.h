// How a server on gRPC C++ is run, whatever it serves.
#ifndef WEFT_BENCH_CPP_SERVER_H
#define WEFT_BENCH_CPP_SERVER_H

#include <functional>

#include <grpcpp/grpcpp.h>

#include "program.h"

namespace bench
{

// What an asynchronous server gives to its completion queue.
class Tag
{
  public:
    virtual ~Tag() = default;
    virtual void Proceed(bool ok) = 0;
};

// Serves a synchronous or a callback service until it is stopped by a signal: true; false: the port cannot be had.
bool Serve(grpc::Service *service, const bench_options &options);

// The same for an asynchronous one. `post` is called options.posted times for each queue, once it is served.
bool ServeAsync(grpc::Service *service, const bench_options &options,
                const std::function<void(grpc::ServerCompletionQueue *)> &post);

} // namespace bench

#endif
