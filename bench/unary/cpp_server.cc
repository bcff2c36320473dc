// bench-unary-cpp: GetUser on gRPC C++, in its synchronous, asynchronous and callback API. Each is written as its
// users write it; the asynchronous one has as many queues, threads and posted calls as bench-unary-core.

#include <memory>
#include <optional>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "cpp_server.h"
#include "user.grpc.pb.h"
#include "user.h"

namespace
{

enum Api {
    kSync,
    kAsync,
    kCallback
};
const char *const kApiNames[] = {"sync", "async", "callback", nullptr};

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
class AsyncCall final : public bench::Tag
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

    void Proceed(bool ok) override
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

bool ServeAsyncUsers(const bench_options &options)
{
    user::UserService::AsyncService service;
    std::vector<std::unique_ptr<AsyncCall>> calls;
    return bench::ServeAsync(&service, options, [&](grpc::ServerCompletionQueue *queue) {
        calls.push_back(std::make_unique<AsyncCall>(&service, queue));
        calls.back()->Post();
    });
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
        served = ServeAsyncUsers(options);
    } else if (options.variant == kCallback) {
        CallbackService service;
        served = bench::Serve(&service, options);
    } else {
        SyncService service;
        served = bench::Serve(&service, options);
    }
    return served ? 0 : 1;
}
