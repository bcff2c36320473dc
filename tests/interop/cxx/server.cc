/* The server of gRPC's interop suite on gRPC C++, in a page: Debian ships none. Until it is killed:
 *
 *     server --port=PORT [--use_tls=true --tls_cert_file=PEM --tls_key_file=PEM]
 */
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "grpc/testing/test.grpc.pb.h"

using namespace grpc::testing;
using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;

static void EchoMetadata(ServerContext *context)
{
    const auto &metadata = context->client_metadata();
    auto initial = metadata.find("x-grpc-test-echo-initial");
    auto trailing = metadata.find("x-grpc-test-echo-trailing-bin");
    if (initial != metadata.end())
        context->AddInitialMetadata("x-grpc-test-echo-initial",
                                    std::string(initial->second.data(), initial->second.size()));
    if (trailing != metadata.end())
        context->AddTrailingMetadata("x-grpc-test-echo-trailing-bin",
                                     std::string(trailing->second.data(), trailing->second.size()));
}

/* The server-streaming half of three methods. Of a stream that may compress, only what is to be compressed is. */
template <typename Stream> static Status Respond(Stream *stream, const StreamingOutputCallRequest &request)
{
    for (const auto &parameters : request.response_parameters()) {
        std::this_thread::sleep_for(std::chrono::microseconds(parameters.interval_us()));
        StreamingOutputCallResponse response;
        response.mutable_payload()->set_body(std::string(parameters.size(), '\0'));
        grpc::WriteOptions options;
        if (!parameters.compressed().value())
            options.set_no_compression();
        if (!stream->Write(response, options))
            return Status(StatusCode::CANCELLED, "nobody reads");
    }
    return Status::OK;
}

class Server final : public TestService::Service
{
    Status EmptyCall(ServerContext *, const Empty *, Empty *) override
    {
        return Status::OK;
    }

    Status UnaryCall(ServerContext *context, const SimpleRequest *request, SimpleResponse *response) override
    {
        EchoMetadata(context);
        if (request->has_response_status())
            return Status(StatusCode(request->response_status().code()), request->response_status().message());
        response->mutable_payload()->set_body(std::string(request->response_size(), '\0'));
        if (request->response_compressed().value())
            context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
        return Status::OK;
    }

    Status CacheableUnaryCall(ServerContext *context, const SimpleRequest *, SimpleResponse *response) override
    {
        auto now = std::chrono::system_clock::now().time_since_epoch();
        context->AddInitialMetadata("cache-control", "max-age=60, public");
        response->mutable_payload()->set_body(std::to_string(std::chrono::nanoseconds(now).count()));
        return Status::OK;
    }

    Status StreamingOutputCall(ServerContext *context, const StreamingOutputCallRequest *request,
                               grpc::ServerWriter<StreamingOutputCallResponse> *stream) override
    {
        context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
        return Respond(stream, *request);
    }

    Status StreamingInputCall(ServerContext *, grpc::ServerReader<StreamingInputCallRequest> *stream,
                              StreamingInputCallResponse *response) override
    {
        StreamingInputCallRequest request;
        size_t sum = 0;
        while (stream->Read(&request))
            sum += request.payload().body().size();
        response->set_aggregated_payload_size(int(sum));
        return Status::OK;
    }

    using Duplex = grpc::ServerReaderWriter<StreamingOutputCallResponse, StreamingOutputCallRequest>;

    Status FullDuplexCall(ServerContext *context, Duplex *stream) override
    {
        EchoMetadata(context);
        StreamingOutputCallRequest request;
        Status status = Status::OK;
        while (status.ok() && stream->Read(&request))
            status = request.has_response_status()
                         ? Status(StatusCode(request.response_status().code()), request.response_status().message())
                         : Respond(stream, request);
        return status;
    }

    Status HalfDuplexCall(ServerContext *, Duplex *stream) override
    {
        std::vector<StreamingOutputCallRequest> requests(1);
        while (stream->Read(&requests.back()))
            requests.emplace_back();
        for (const auto &request : requests)
            if (Status status = Respond(stream, request); !status.ok())
                return status;
        return Status::OK;
    }
};

static std::string Read(const std::string &file)
{
    std::ifstream stream(file);
    return {std::istreambuf_iterator<char>(stream), {}};
}

static std::shared_ptr<grpc::ServerCredentials> Credentials(std::map<std::string, std::string> &flags)
{
    if (flags["--use_tls"] != "true")
        return grpc::InsecureServerCredentials();
    grpc::SslServerCredentialsOptions options;
    options.pem_key_cert_pairs.push_back({Read(flags["--tls_key_file"]), Read(flags["--tls_cert_file"])});
    return grpc::SslServerCredentials(options);
}

int main(int argc, char **argv)
{
    std::map<std::string, std::string> flags;
    for (int i = 1; i < argc; i++) {
        const std::string word = argv[i];
        flags[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
    }
    if (flags["--port"].empty()) {
        fprintf(stderr, "usage: server --port=PORT\n");
        return 2;
    }
    Server service;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + flags["--port"], Credentials(flags));
    builder.RegisterService(&service);
    auto server = builder.BuildAndStart();
    if (server == nullptr)
        return 1;
    server->Wait();
    return 0;
}
