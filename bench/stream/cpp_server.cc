// bench-stream-cpp: bench.Streamer on gRPC C++, in its synchronous, asynchronous and callback API.
//
// The asynchronous and the callback Echo have a read and a write under way at a time, as Weft has: the next message is
// read while the last one is written.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "cpp_server.h"
#include "stream.grpc.pb.h"

namespace
{

enum Api {
    kAsync,
    kCallback,
    kSync
};
const char *const kApiNames[] = {"async", "callback", "sync", nullptr};

// ---- what all three share ----

// The messages of one Source, one after the other in the same memory.
class Chunks
{
  public:
    void Begin(const bench::SourceRequest &request)
    {
        left_ = request.count();
        number_ = 0;
        chunk_.mutable_data()->assign(request.size(), 'w');
    }

    // The next one; null: there are no more.
    const bench::Chunk *Next()
    {
        if (left_ == 0)
            return nullptr;
        left_--;
        std::string *data = chunk_.mutable_data();
        if (!data->empty())
            data->back() = static_cast<char>(number_++);
        return &chunk_;
    }

  private:
    bench::Chunk chunk_;
    uint32_t left_ = 0;
    uint32_t number_ = 0;
};

void SumUp(bench::SinkSummary *summary, const bench::Chunk &chunk)
{
    const std::string &data = chunk.data();
    summary->set_messages(summary->messages() + 1);
    summary->set_bytes(summary->bytes() + data.size());
    if (!data.empty())
        summary->set_sum(summary->sum() + static_cast<unsigned char>(data.back()));
}

// When an Echo may go on: when the last read and the last write are both done, which may be told by two threads.
class EchoTurn
{
  public:
    void Begin()
    {
        read_ok_ = true;
        write_ok_ = true;
        under_way_ = 1; // a read
    }

    // The message that was read, and where to read the next one to.
    bench::Chunk *Read()
    {
        return &chunks_[turn_];
    }

    bench::Chunk *Written()
    {
        return &chunks_[1 - turn_];
    }

    // Both return whether it was the last of the two.
    bool ReadDone(bool ok)
    {
        read_ok_ = ok;
        return under_way_.fetch_sub(1) == 1;
    }

    bool WriteDone(bool ok)
    {
        write_ok_ = ok;
        return under_way_.fetch_sub(1) == 1;
    }

    // Whether there is a message to write, Written(), and one to read.
    bool Next()
    {
        if (!read_ok_ || !write_ok_)
            return false;
        turn_ = 1 - turn_;
        under_way_ = 2;
        return true;
    }

  private:
    bench::Chunk chunks_[2];
    int turn_ = 0;
    bool read_ok_ = true;
    bool write_ok_ = true;
    std::atomic<int> under_way_{0};
};

// ---- synchronous ----

class SyncService final : public bench::Streamer::Service
{
    grpc::Status Echo(grpc::ServerContext *, grpc::ServerReaderWriter<bench::Chunk, bench::Chunk> *stream) override
    {
        bench::Chunk chunk;
        while (stream->Read(&chunk) && stream->Write(chunk)) {
        }
        return grpc::Status::OK;
    }

    grpc::Status Source(grpc::ServerContext *, const bench::SourceRequest *request,
                        grpc::ServerWriter<bench::Chunk> *writer) override
    {
        Chunks chunks;
        chunks.Begin(*request);
        const bench::Chunk *chunk;
        while ((chunk = chunks.Next()) != nullptr && writer->Write(*chunk)) {
        }
        return grpc::Status::OK;
    }

    grpc::Status Sink(grpc::ServerContext *, grpc::ServerReader<bench::Chunk> *reader,
                      bench::SinkSummary *summary) override
    {
        bench::Chunk chunk;
        while (reader->Read(&chunk))
            SumUp(summary, chunk);
        return grpc::Status::OK;
    }
};

// ---- callback ----

class EchoReactor final : public grpc::ServerBidiReactor<bench::Chunk, bench::Chunk>
{
  public:
    EchoReactor()
    {
        turn_.Begin();
        StartRead(turn_.Read());
    }

    void OnReadDone(bool ok) override
    {
        if (turn_.ReadDone(ok))
            GoOn();
    }

    void OnWriteDone(bool ok) override
    {
        if (turn_.WriteDone(ok))
            GoOn();
    }

    void OnDone() override
    {
        delete this;
    }

  private:
    void GoOn()
    {
        if (!turn_.Next()) {
            Finish(grpc::Status::OK);
            return;
        }
        bench::Chunk *next = turn_.Read();
        StartWrite(turn_.Written());
        StartRead(next);
    }

    EchoTurn turn_;
};

class SourceReactor final : public grpc::ServerWriteReactor<bench::Chunk>
{
  public:
    explicit SourceReactor(const bench::SourceRequest &request)
    {
        chunks_.Begin(request);
        OnWriteDone(true);
    }

    void OnWriteDone(bool ok) override
    {
        const bench::Chunk *chunk = ok ? chunks_.Next() : nullptr;
        if (chunk != nullptr)
            StartWrite(chunk);
        else
            Finish(grpc::Status::OK);
    }

    void OnDone() override
    {
        delete this;
    }

  private:
    Chunks chunks_;
};

class SinkReactor final : public grpc::ServerReadReactor<bench::Chunk>
{
  public:
    explicit SinkReactor(bench::SinkSummary *summary) : summary_(summary)
    {
        StartRead(&chunk_);
    }

    void OnReadDone(bool ok) override
    {
        if (!ok) {
            Finish(grpc::Status::OK);
            return;
        }
        SumUp(summary_, chunk_);
        StartRead(&chunk_);
    }

    void OnDone() override
    {
        delete this;
    }

  private:
    bench::SinkSummary *summary_;
    bench::Chunk chunk_;
};

class CallbackService final : public bench::Streamer::CallbackService
{
    grpc::ServerBidiReactor<bench::Chunk, bench::Chunk> *Echo(grpc::CallbackServerContext *) override
    {
        return new EchoReactor;
    }

    grpc::ServerWriteReactor<bench::Chunk> *Source(grpc::CallbackServerContext *,
                                                   const bench::SourceRequest *request) override
    {
        return new SourceReactor(*request);
    }

    grpc::ServerReadReactor<bench::Chunk> *Sink(grpc::CallbackServerContext *, bench::SinkSummary *summary) override
    {
        return new SinkReactor(summary);
    }
};

// ---- asynchronous ----

using AsyncService = bench::Streamer::AsyncService;

// A tag that calls a method of its owner.
template <class Owner> class MethodTag final : public bench::Tag
{
  public:
    using Method = void (Owner::*)(bool ok);

    MethodTag(Owner *owner, Method method) : owner_(owner), method_(method)
    {
    }

    void Proceed(bool ok) override
    {
        (owner_->*method_)(ok);
    }

  private:
    Owner *owner_;
    Method method_;
};

// One call at a time, posted again when it is over.
class AsyncEcho
{
  public:
    AsyncEcho(AsyncService *service, grpc::ServerCompletionQueue *queue) : service_(service), queue_(queue)
    {
    }

    void Post()
    {
        stream_.reset();
        context_.emplace();
        stream_.emplace(&*context_);
        service_->RequestEcho(&*context_, &*stream_, queue_, queue_, &accepted_);
    }

  private:
    void OnAccepted(bool ok)
    {
        if (!ok) // the server is stopping
            return;
        turn_.Begin();
        stream_->Read(turn_.Read(), &read_);
    }

    void OnRead(bool ok)
    {
        if (turn_.ReadDone(ok))
            GoOn();
    }

    void OnWritten(bool ok)
    {
        if (turn_.WriteDone(ok))
            GoOn();
    }

    void GoOn()
    {
        if (!turn_.Next()) {
            stream_->Finish(grpc::Status::OK, &finished_);
            return;
        }
        bench::Chunk *next = turn_.Read();
        stream_->Write(*turn_.Written(), &written_);
        stream_->Read(next, &read_);
    }

    void OnFinished(bool)
    {
        Post();
    }

    AsyncService *service_;
    grpc::ServerCompletionQueue *queue_;
    std::optional<grpc::ServerContext> context_;
    std::optional<grpc::ServerAsyncReaderWriter<bench::Chunk, bench::Chunk>> stream_;
    EchoTurn turn_;
    MethodTag<AsyncEcho> accepted_{this, &AsyncEcho::OnAccepted};
    MethodTag<AsyncEcho> read_{this, &AsyncEcho::OnRead};
    MethodTag<AsyncEcho> written_{this, &AsyncEcho::OnWritten};
    MethodTag<AsyncEcho> finished_{this, &AsyncEcho::OnFinished};
};

class AsyncSource
{
  public:
    AsyncSource(AsyncService *service, grpc::ServerCompletionQueue *queue) : service_(service), queue_(queue)
    {
    }

    void Post()
    {
        writer_.reset();
        context_.emplace();
        writer_.emplace(&*context_);
        service_->RequestSource(&*context_, &request_, &*writer_, queue_, queue_, &accepted_);
    }

  private:
    void OnAccepted(bool ok)
    {
        if (!ok)
            return;
        chunks_.Begin(request_);
        OnWritten(true);
    }

    void OnWritten(bool ok)
    {
        const bench::Chunk *chunk = ok ? chunks_.Next() : nullptr;
        if (chunk != nullptr)
            writer_->Write(*chunk, &written_);
        else
            writer_->Finish(grpc::Status::OK, &finished_);
    }

    void OnFinished(bool)
    {
        Post();
    }

    AsyncService *service_;
    grpc::ServerCompletionQueue *queue_;
    std::optional<grpc::ServerContext> context_;
    std::optional<grpc::ServerAsyncWriter<bench::Chunk>> writer_;
    bench::SourceRequest request_;
    Chunks chunks_;
    MethodTag<AsyncSource> accepted_{this, &AsyncSource::OnAccepted};
    MethodTag<AsyncSource> written_{this, &AsyncSource::OnWritten};
    MethodTag<AsyncSource> finished_{this, &AsyncSource::OnFinished};
};

class AsyncSink
{
  public:
    AsyncSink(AsyncService *service, grpc::ServerCompletionQueue *queue) : service_(service), queue_(queue)
    {
    }

    void Post()
    {
        reader_.reset();
        context_.emplace();
        reader_.emplace(&*context_);
        service_->RequestSink(&*context_, &*reader_, queue_, queue_, &accepted_);
    }

  private:
    void OnAccepted(bool ok)
    {
        if (!ok)
            return;
        summary_.Clear();
        reader_->Read(&chunk_, &read_);
    }

    void OnRead(bool ok)
    {
        if (!ok) {
            reader_->Finish(summary_, grpc::Status::OK, &finished_);
            return;
        }
        SumUp(&summary_, chunk_);
        reader_->Read(&chunk_, &read_);
    }

    void OnFinished(bool)
    {
        Post();
    }

    AsyncService *service_;
    grpc::ServerCompletionQueue *queue_;
    std::optional<grpc::ServerContext> context_;
    std::optional<grpc::ServerAsyncReader<bench::SinkSummary, bench::Chunk>> reader_;
    bench::Chunk chunk_;
    bench::SinkSummary summary_;
    MethodTag<AsyncSink> accepted_{this, &AsyncSink::OnAccepted};
    MethodTag<AsyncSink> read_{this, &AsyncSink::OnRead};
    MethodTag<AsyncSink> finished_{this, &AsyncSink::OnFinished};
};

template <class Call> using Calls = std::vector<std::unique_ptr<Call>>;

template <class Call> void PostOne(Calls<Call> *calls, AsyncService *service, grpc::ServerCompletionQueue *queue)
{
    calls->push_back(std::make_unique<Call>(service, queue));
    calls->back()->Post();
}

bool ServeAsyncStreams(const bench_options &options)
{
    AsyncService service;
    Calls<AsyncEcho> echos;
    Calls<AsyncSource> sources;
    Calls<AsyncSink> sinks;
    return bench::ServeAsync(&service, options, [&](grpc::ServerCompletionQueue *queue) {
        PostOne(&echos, &service, queue);
        PostOne(&sources, &service, queue);
        PostOne(&sinks, &service, queue);
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
        served = ServeAsyncStreams(options);
    } else if (options.variant == kCallback) {
        CallbackService service;
        served = bench::Serve(&service, options);
    } else {
        SyncService service;
        served = bench::Serve(&service, options);
    }
    return served ? 0 : 1;
}
