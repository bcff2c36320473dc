"""Serves probe.Probe/Echo by Python grpcio, so that Weft's client can be judged. EchoInline is left unimplemented. It
prints "call" when a call has begun."""
import signal
import sys
import time
from concurrent import futures

import grpc
import probe_pb2
import probe_pb2_grpc

CODES = {code.value[0]: code for code in grpc.StatusCode}


class Probe(probe_pb2_grpc.ProbeServicer):
    def Echo(self, request, context):
        print("call", flush=True)
        metadata = context.invocation_metadata()
        if ("compress", "1") in [tuple(pair) for pair in metadata]:
            context.set_compression(grpc.Compression.Gzip)
        context.send_initial_metadata([tuple(pair) for pair in metadata if pair[0].startswith("head-")])
        trailers = [tuple(pair) for pair in metadata if pair[0].startswith("tail-")]
        if ("details", "1") in [tuple(pair) for pair in metadata]:
            trailers.append(("grpc-status-details-bin", b"\x08\x05\x12\x02no"))
        context.set_trailing_metadata(trailers)
        remaining = context.time_remaining()
        if request.wait_ms:
            time.sleep(request.wait_ms / 1000)
        if request.code:
            context.abort(CODES[request.code], request.message)
        payload = (bytes(range(256)) * (request.payload_bytes // 256 + 1))[: request.payload_bytes]
        left = 0 if remaining is None or remaining > 1e9 else int(remaining * 1000)
        return probe_pb2.EchoResponse(message=request.message, payload=payload, remaining_ms=left)


def main():
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_send_message_length", -1)])
    probe_pb2_grpc.add_ProbeServicer_to_server(Probe(), server)
    if server.add_insecure_port("127.0.0.1:0") == 0:
        sys.exit("cannot listen")
    signal.signal(signal.SIGTERM, lambda *_: server.stop(1))
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
