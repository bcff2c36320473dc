// bench-unary-cpp: GetUser on gRPC C++, in its synchronous, asynchronous and callback API. Each is written as its
// users write it; the asynchronous one has as many queues, threads and posted calls as bench-unary-core.

#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "common.h"
#include "user.grpc.pb.h"

namespace
{

enum Api {
    kSync,
    kAsync,
    kCallback
};
const char *const kApiNames[] = {"sync", "async", "callback", nullptr};

constexpr std::chrono::seconds kStopGrace{5};

void AnswerUser(const user::GetUserRequest &request, user::GetUserResponse *response)
{
    user::User *user = response->mutable_user();
    user->set_id(request.id());
    user->set_name(BENCH_USER_NAME);
    user->set_email(BENCH_USER_EMAIL);
}

class SyncService final : public user::UserService::Service
{
    grpc::Status GetUser(grpc::ServerContext *, const user::GetUserRequest *request,
                         user::GetUserResponse *response) override
    {
        AnswerUser(*request, response);
        return grpc::Status::OK;
    }
};

class CallbackService final : public user::UserService::CallbackService
{
    grpc::ServerUnaryReactor *GetUser(grpc::CallbackServerContext *context, const user::GetUserRequest *request,
                                      user::GetUserResponse *response) override
    {
        AnswerUser(*request, response);
        grpc::ServerUnaryReactor *reactor = context->DefaultReactor();
        reactor->Finish(grpc::Status::OK);
        return reactor;
    }
};

// One call at a time, posted again when it is over. A call has one operation outstanding, so one thread at a time.
class AsyncCall
{
  public:
    AsyncCall(user::UserService::AsyncService *service, grpc::ServerCompletionQueue *queue)
        : service_(service), queue_(queue)
    {
    }

    void Post()
    {
        answering_ = false;
        writer_.reset();
        context_.emplace();
        writer_.emplace(&*context_);
        request_.Clear();
        service_->RequestGetUser(&*context_, &request_, &*writer_, queue_, queue_, this);
    }

    void Proceed(bool ok)
    {
        if (answering_) {
            Post();
        } else if (ok) {
            answering_ = true;
            user::GetUserResponse response;
            AnswerUser(request_, &response);
            writer_->Finish(response, grpc::Status::OK, this);
        } // else the server is stopping
    }

  private:
    user::UserService::AsyncService *service_;
    grpc::ServerCompletionQueue *queue_;
    std::optional<grpc::ServerContext> context_;
    user::GetUserRequest request_;
    std::optional<grpc::ServerAsyncResponseWriter<user::GetUserResponse>> writer_;
    bool answering_ = false;
};

void ServeQueue(grpc::ServerCompletionQueue *queue)
{
    void *tag = nullptr;
    bool ok = false;
    while (queue->Next(&tag, &ok))
        static_cast<AsyncCall *>(tag)->Proceed(ok);
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

bool RunService(grpc::Service *service, const bench_options &options)
{
    grpc::ServerBuilder builder;
    builder.RegisterService(service);
    int port = 0;
    std::unique_ptr<grpc::Server> server = Start(&builder, options.port, &port);
    return ServeUntilStopped(server.get(), port);
}

bool RunAsync(const bench_options &options)
{
    user::UserService::AsyncService service;
    grpc::ServerBuilder builder;
    builder.RegisterService(&service);
    std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
    for (int i = 0; i < options.queues; i++)
        queues.push_back(builder.AddCompletionQueue());
    int port = 0;
    std::unique_ptr<grpc::Server> server = Start(&builder, options.port, &port);
    std::vector<std::unique_ptr<AsyncCall>> calls;
    std::vector<std::thread> threads;
    if (server != nullptr) {
        for (const auto &queue : queues) {
            for (int i = 0; i < options.posted; i++) {
                calls.push_back(std::make_unique<AsyncCall>(&service, queue.get()));
                calls.back()->Post();
            }
        }
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

} // namespace

int main(int argc, char **argv)
{
    const bench_variants variants = {"api", kApiNames};
    bench_options options = {};
    if (bench_options_parse(&options, &variants, argc, argv) < 0)
        return 2;
    bench_block_stop_signals();
    bool served = false;
    if (options.variant == kAsync) {
        served = RunAsync(options);
    } else if (options.variant == kCallback) {
        CallbackService service;
        served = RunService(&service, options);
    } else {
        SyncService service;
        served = RunService(&service, options);
    }
    return served ? 0 : 1;
}
