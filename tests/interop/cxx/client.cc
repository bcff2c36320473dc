/* The client of gRPC's interop suite on gRPC C++, in a page: Debian ships none.
 *
 *     client --server_host=HOST --server_port=PORT --test_case=CASE
 *            [--use_tls=true --ca_file=PEM --server_host_override=NAME]
 */
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <string>

#include <grpcpp/grpcpp.h>

#include "grpc/testing/test.grpc.pb.h"

using namespace grpc::testing;
using grpc::ClientContext;
using grpc::Status;
using grpc::StatusCode;

static std::unique_ptr<TestService::Stub> stub;
static std::unique_ptr<TestService::Stub> raw_stub; /* on a channel that decompresses nothing */
static std::unique_ptr<UnimplementedService::Stub> unimplemented;

static void Check(bool right, const std::string &what)
{
    if (right)
        return;
    fprintf(stderr, "FAILED: %s\n", what.c_str());
    exit(1);
}

static void CheckStatus(const Status &status, StatusCode code, const std::string &message = "")
{
    Check(status.error_code() == code, "status " + std::to_string(status.error_code()) + ": " + status.error_message());
    Check(message.empty() || status.error_message() == message, "the message is " + status.error_message());
}

static void CheckPayload(const Payload &payload, size_t size)
{
    Check(payload.body() == std::string(size, '\0'), "a body of " + std::to_string(payload.body().size()) + " bytes");
}

static SimpleRequest Large()
{
    SimpleRequest request;
    request.set_response_size(314159);
    request.mutable_payload()->set_body(std::string(271828, '\0'));
    return request;
}

static StreamingOutputCallRequest Ask(int body, int size)
{
    StreamingOutputCallRequest request;
    request.mutable_payload()->set_body(std::string(body, '\0'));
    if (size > 0)
        request.add_response_parameters()->set_size(size);
    return request;
}

static const int bodies[] = {27182, 8, 1828, 45904};
static const int sizes[] = {31415, 9, 2653, 58979};

static void EmptyUnary()
{
    ClientContext context;
    Empty response;
    CheckStatus(stub->EmptyCall(&context, Empty(), &response), StatusCode::OK);
}

static void LargeUnary()
{
    ClientContext context;
    SimpleResponse response;
    CheckStatus(stub->UnaryCall(&context, Large(), &response), StatusCode::OK);
    CheckPayload(response.payload(), 314159);
}

/* UnaryCall whose request goes as `algorithm` says and says itself that it is compressed, or is not. */
static void ToldUnary(grpc_compression_algorithm algorithm, bool told, StatusCode code)
{
    ClientContext context;
    SimpleRequest request = Large();
    SimpleResponse response;
    context.set_compression_algorithm(algorithm);
    request.mutable_expect_compressed()->set_value(told);
    CheckStatus(stub->UnaryCall(&context, request, &response), code);
    if (code == StatusCode::OK)
        CheckPayload(response.payload(), 314159);
}

/* The first is the probe: a server that looks does not believe it. */
static void ClientCompressedUnary()
{
    ToldUnary(GRPC_COMPRESS_NONE, true, StatusCode::INVALID_ARGUMENT);
    ToldUnary(GRPC_COMPRESS_GZIP, true, StatusCode::OK);
    ToldUnary(GRPC_COMPRESS_NONE, false, StatusCode::OK);
}

/* gRPC's API does not show whether a message came compressed. So every call is made twice: gRPC decompresses the first
 * response, and cannot parse the second if it is gzip, for which a unary call has the code UNIMPLEMENTED. */
static void ServerCompressedUnary()
{
    for (bool compressed : {true, false}) {
        ClientContext context, raw_context;
        SimpleRequest request = Large();
        SimpleResponse response, raw_response;
        request.mutable_response_compressed()->set_value(compressed);
        CheckStatus(stub->UnaryCall(&context, request, &response), StatusCode::OK);
        CheckPayload(response.payload(), 314159);
        CheckStatus(raw_stub->UnaryCall(&raw_context, request, &raw_response),
                    compressed ? StatusCode::UNIMPLEMENTED : StatusCode::OK);
    }
}

/* By POST, and without the suite's cache. */
static void CacheableUnary()
{
    for (int i = 0; i < 2; i++) {
        ClientContext context;
        SimpleRequest request;
        SimpleResponse response;
        context.AddMetadata("x-user-ip", "1.2.3.4");
        request.mutable_payload()->set_body("1");
        CheckStatus(stub->CacheableUnaryCall(&context, request, &response), StatusCode::OK);
        Check(!response.payload().body().empty(), "an empty response");
    }
}

static void ClientStreaming()
{
    ClientContext context;
    StreamingInputCallResponse response;
    auto stream = stub->StreamingInputCall(&context, &response);
    for (int body : bodies) {
        StreamingInputCallRequest request;
        request.mutable_payload()->set_body(std::string(body, '\0'));
        Check(stream->Write(request), "a write failed");
    }
    stream->WritesDone();
    CheckStatus(stream->Finish(), StatusCode::OK);
    Check(response.aggregated_payload_size() == 74922, std::to_string(response.aggregated_payload_size()));
}

/* One message of StreamingInputCall, which goes as `compressed` says and says itself that it is, or is not. */
template <typename Stream> static bool WriteTold(Stream *stream, int body, bool compressed, bool told)
{
    StreamingInputCallRequest request;
    grpc::WriteOptions options;
    request.mutable_payload()->set_body(std::string(body, '\0'));
    request.mutable_expect_compressed()->set_value(told);
    return stream->Write(request, compressed ? options : options.set_no_compression());
}

static void ClientCompressedStreaming()
{
    ClientContext probe, context;
    StreamingInputCallResponse response;
    probe.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    auto refused = stub->StreamingInputCall(&probe, &response);
    WriteTold(refused.get(), 27182, false, true);
    refused->WritesDone();
    CheckStatus(refused->Finish(), StatusCode::INVALID_ARGUMENT);

    context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    auto stream = stub->StreamingInputCall(&context, &response);
    Check(WriteTold(stream.get(), 27182, true, true), "a write failed");
    Check(WriteTold(stream.get(), 45904, false, false), "a write failed");
    stream->WritesDone();
    CheckStatus(stream->Finish(), StatusCode::OK);
    Check(response.aggregated_payload_size() == 73086, std::to_string(response.aggregated_payload_size()));
}

/* Twice, as ServerCompressedUnary; the plain response comes first the second time, so that both are seen. */
static void ServerCompressedStreaming()
{
    ClientContext context, raw_context;
    StreamingOutputCallRequest request, reverse;
    StreamingOutputCallResponse response;
    for (auto [size, compressed] : {std::pair(31415, true), std::pair(92653, false)}) {
        auto *parameters = request.add_response_parameters();
        parameters->set_size(size);
        parameters->mutable_compressed()->set_value(compressed);
    }
    *reverse.add_response_parameters() = request.response_parameters(1);
    *reverse.add_response_parameters() = request.response_parameters(0);

    auto stream = stub->StreamingOutputCall(&context, request);
    for (const auto &parameters : request.response_parameters()) {
        Check(stream->Read(&response), "a response is missing");
        CheckPayload(response.payload(), parameters.size());
    }
    Check(!stream->Read(&response), "one response too many");
    CheckStatus(stream->Finish(), StatusCode::OK);

    auto raw = raw_stub->StreamingOutputCall(&raw_context, reverse);
    Check(raw->Read(&response), "the response that was to be plain is not");
    CheckPayload(response.payload(), 92653);
    Check(!raw->Read(&response), "the response that was to be compressed is not");
}

static void ServerStreaming()
{
    ClientContext context;
    StreamingOutputCallRequest request;
    StreamingOutputCallResponse response;
    for (int size : sizes)
        request.add_response_parameters()->set_size(size);
    auto stream = stub->StreamingOutputCall(&context, request);
    for (int size : sizes) {
        Check(stream->Read(&response), "a response is missing");
        CheckPayload(response.payload(), size);
    }
    Check(!stream->Read(&response), "one response too many");
    CheckStatus(stream->Finish(), StatusCode::OK);
}

/* FullDuplexCall with `exchanges` of the usual messages. */
static void Duplex(int exchanges)
{
    ClientContext context;
    StreamingOutputCallResponse response;
    auto stream = stub->FullDuplexCall(&context);
    for (int i = 0; i < exchanges; i++) {
        Check(stream->Write(Ask(bodies[i], sizes[i])) && stream->Read(&response), "no response");
        CheckPayload(response.payload(), sizes[i]);
    }
    stream->WritesDone();
    Check(!stream->Read(&response), "one response too many");
    CheckStatus(stream->Finish(), StatusCode::OK);
}

static const std::string initial = "test_initial_metadata_value", trailing = "\xab\xab\xab";

static void SendMetadata(ClientContext *context)
{
    context->AddMetadata("x-grpc-test-echo-initial", initial);
    context->AddMetadata("x-grpc-test-echo-trailing-bin", trailing);
}

static void CheckMetadata(const ClientContext &context)
{
    const auto &headers = context.GetServerInitialMetadata(), &trailers = context.GetServerTrailingMetadata();
    auto header = headers.find("x-grpc-test-echo-initial"), trailer = trailers.find("x-grpc-test-echo-trailing-bin");
    Check(header != headers.end() && header->second == initial, "the header did not come back");
    Check(trailer != trailers.end() && trailer->second == trailing, "the trailer did not come back");
}

static void CustomMetadata()
{
    ClientContext one, two;
    SimpleResponse response;
    SendMetadata(&one);
    CheckStatus(stub->UnaryCall(&one, Large(), &response), StatusCode::OK);
    CheckPayload(response.payload(), 314159);
    CheckMetadata(one);

    StreamingOutputCallResponse part;
    SendMetadata(&two);
    auto stream = stub->FullDuplexCall(&two);
    Check(stream->Write(Ask(271828, 314159)) && stream->WritesDone() && stream->Read(&part), "no response");
    CheckPayload(part.payload(), 314159);
    Check(!stream->Read(&part), "one response too many");
    CheckStatus(stream->Finish(), StatusCode::OK);
    CheckMetadata(two);
}

static void UnaryStatus(const std::string &message)
{
    ClientContext context;
    SimpleRequest request;
    SimpleResponse response;
    request.mutable_response_status()->set_code(StatusCode::UNKNOWN);
    request.mutable_response_status()->set_message(message);
    CheckStatus(stub->UnaryCall(&context, request, &response), StatusCode::UNKNOWN, message);
}

static void StatusCodeAndMessage()
{
    const std::string message = "test status message";
    UnaryStatus(message);
    ClientContext context;
    StreamingOutputCallRequest request;
    StreamingOutputCallResponse response;
    request.mutable_response_status()->set_code(StatusCode::UNKNOWN);
    request.mutable_response_status()->set_message(message);
    auto stream = stub->FullDuplexCall(&context);
    stream->Write(request);
    stream->WritesDone();
    while (stream->Read(&response))
        ;
    CheckStatus(stream->Finish(), StatusCode::UNKNOWN, message);
}

static void UnimplementedMethod()
{
    ClientContext context;
    Empty response;
    CheckStatus(stub->UnimplementedCall(&context, Empty(), &response), StatusCode::UNIMPLEMENTED);
}

static void Unimplemented()
{
    ClientContext context;
    Empty response;
    CheckStatus(unimplemented->UnimplementedCall(&context, Empty(), &response), StatusCode::UNIMPLEMENTED);
}

static void CancelAfterBegin()
{
    ClientContext context;
    StreamingInputCallResponse response;
    auto stream = stub->StreamingInputCall(&context, &response);
    context.TryCancel();
    CheckStatus(stream->Finish(), StatusCode::CANCELLED);
}

static void CancelAfterFirstResponse()
{
    ClientContext context;
    StreamingOutputCallResponse response;
    auto stream = stub->FullDuplexCall(&context);
    Check(stream->Write(Ask(27182, 31415)) && stream->Read(&response), "no response");
    CheckPayload(response.payload(), 31415);
    context.TryCancel();
    CheckStatus(stream->Finish(), StatusCode::CANCELLED);
}

static void TimeoutOnSleepingServer()
{
    ClientContext context;
    StreamingOutputCallResponse response;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(1));
    auto stream = stub->FullDuplexCall(&context);
    stream->Write(Ask(27182, 0));
    Check(!stream->Read(&response), "a response that nobody asked for");
    CheckStatus(stream->Finish(), StatusCode::DEADLINE_EXCEEDED);
}

static const std::map<std::string, std::function<void()>> cases = {
    {"empty_unary", EmptyUnary},
    {"large_unary", LargeUnary},
    {"cacheable_unary", CacheableUnary},
    {"client_compressed_unary", ClientCompressedUnary},
    {"server_compressed_unary", ServerCompressedUnary},
    {"client_streaming", ClientStreaming},
    {"client_compressed_streaming", ClientCompressedStreaming},
    {"server_streaming", ServerStreaming},
    {"server_compressed_streaming", ServerCompressedStreaming},
    {"ping_pong", [] { Duplex(4); }},
    {"empty_stream", [] { Duplex(0); }},
    {"custom_metadata", CustomMetadata},
    {"status_code_and_message", StatusCodeAndMessage},
    {"special_status_message",
     [] { UnaryStatus("\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"); }},
    {"unimplemented_method", UnimplementedMethod},
    {"unimplemented_service", Unimplemented},
    {"cancel_after_begin", CancelAfterBegin},
    {"cancel_after_first_response", CancelAfterFirstResponse},
    {"timeout_on_sleeping_server", TimeoutOnSleepingServer},
};

static std::shared_ptr<grpc::Channel> Connect(std::map<std::string, std::string> &flags, bool decompress)
{
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, decompress);
    const std::string target = flags["--server_host"] + ":" + flags["--server_port"];
    if (flags["--use_tls"] != "true")
        return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
    std::ifstream roots(flags["--ca_file"]);
    grpc::SslCredentialsOptions options;
    options.pem_root_certs.assign(std::istreambuf_iterator<char>(roots), {});
    Check(!options.pem_root_certs.empty(), "--ca_file cannot be read");
    arguments.SetSslTargetNameOverride(flags["--server_host_override"]);
    return grpc::CreateCustomChannel(target, grpc::SslCredentials(options), arguments);
}

int main(int argc, char **argv)
{
    std::map<std::string, std::string> flags;
    for (int i = 1; i < argc; i++) {
        const std::string word = argv[i];
        flags[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
    }
    const auto found = cases.find(flags["--test_case"]);
    if (found == cases.end()) {
        fprintf(stderr, "--test_case=%s: there is no such case\n", flags["--test_case"].c_str());
        return 2;
    }
    auto channel = Connect(flags, true);
    stub = TestService::NewStub(channel);
    raw_stub = TestService::NewStub(Connect(flags, false));
    unimplemented = UnimplementedService::NewStub(channel);
    found->second();
    return 0;
}
