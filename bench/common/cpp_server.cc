#include "cpp_server.h"

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace bench
{
namespace
{

constexpr std::chrono::seconds kStopGrace{5};

void ServeQueue(grpc::ServerCompletionQueue *queue)
{
    void *tag = nullptr;
    bool ok = false;
    while (queue->Next(&tag, &ok))
        static_cast<Tag *>(tag)->Proceed(ok);
}

// Builds and starts the server; null if the port cannot be had.
std::unique_ptr<grpc::Server> Start(grpc::ServerBuilder *builder, int wanted_port, int *port)
{
    builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder->AddListeningPort("127.0.0.1:" + std::to_string(wanted_port), grpc::InsecureServerCredentials(), port);
    return builder->BuildAndStart();
}

bool ServeUntilStopped(grpc::Server *server, int port)
{
    if (server == nullptr) {
        std::fprintf(stderr, "cannot serve on that port\n");
        return false;
    }
    bench_announce(port);
    bench_wait_for_stop_signal();
    server->Shutdown(std::chrono::system_clock::now() + kStopGrace);
    return true;
}

} // namespace

bool Serve(grpc::Service *service, const bench_options &options)
{
    grpc::ServerBuilder builder;
    builder.RegisterService(service);
    int port = 0;
    std::unique_ptr<grpc::Server> server = Start(&builder, options.port, &port);
    return ServeUntilStopped(server.get(), port);
}

bool ServeAsync(grpc::Service *service, const bench_options &options,
                const std::function<void(grpc::ServerCompletionQueue *)> &post)
{
    grpc::ServerBuilder builder;
    builder.RegisterService(service);
    std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
    for (int i = 0; i < options.queues; i++)
        queues.push_back(builder.AddCompletionQueue());
    int port = 0;
    std::unique_ptr<grpc::Server> server = Start(&builder, options.port, &port);
    std::vector<std::thread> threads;
    if (server != nullptr) {
        for (const auto &queue : queues)
            for (int i = 0; i < options.posted; i++)
                post(queue.get());
        for (int i = 0; i < options.threads; i++)
            threads.emplace_back(ServeQueue, queues[i % queues.size()].get());
    }
    bool served = ServeUntilStopped(server.get(), port);
    for (const auto &queue : queues)
        queue->Shutdown();
    for (std::thread &thread : threads)
        thread.join();
    void *tag = nullptr;
    bool ok = false;
    for (const auto &queue : queues) {
        while (queue->Next(&tag, &ok)) {
        }
    }
    return served;
}

} // namespace bench
