"""Serves probe.Probe/Echo by Python grpcio, so that Weft's client can be judged. EchoInline is left unimplemented. It
prints "call" when a call has begun. With a folder as its argument it speaks TLS by the certificates there, and asks its
clients for one."""
import signal
import sys
import time
from concurrent import futures
from pathlib import Path

import grpc
import probe_pb2
import probe_pb2_grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

CODES = {code.value[0]: code for code in grpc.StatusCode}


def rich_status(code, message):
    status = status_pb2.Status(code=code, message=message)
    info = error_details_pb2.ErrorInfo(reason="PROBED", domain="probe.example.org", metadata={"limit": "12"})
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="message", description="is wrong")
    bad.field_violations.add(field="tree.children", description="are Grüße")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    for detail in (info, bad, retry):
        status.details.add().Pack(detail)
    return status


def fail_as_told(metadata, context):
    """Fails the first "fail-times" attempts of a call, and says "pushback" of the next."""
    attempt = 1 + int(metadata.get("grpc-previous-rpc-attempts", "0"))
    if attempt <= int(metadata.get("fail-times", "0")):
        context.set_trailing_metadata([("grpc-retry-pushback-ms", metadata["pushback"])])
        context.abort(grpc.StatusCode.UNAVAILABLE, f"failure {attempt}")


class Probe(probe_pb2_grpc.ProbeServicer):
    def Echo(self, request, context):
        print("call", flush=True)
        metadata = context.invocation_metadata()
        fail_as_told(dict(tuple(pair) for pair in metadata), context)
        if ("compress", "1") in [tuple(pair) for pair in metadata]:
            context.set_compression(grpc.Compression.Gzip)
        context.send_initial_metadata([tuple(pair) for pair in metadata if pair[0].startswith("head-")])
        trailers = [tuple(pair) for pair in metadata if pair[0].startswith("tail-")]
        before = [("tail-attempts", value) for key, value in metadata if key == "grpc-previous-rpc-attempts"]
        context.set_trailing_metadata(trailers + before)
        remaining = context.time_remaining()
        if request.wait_ms:
            time.sleep(request.wait_ms / 1000)
        if request.code and ("details", "1") in [tuple(pair) for pair in metadata]:
            context.abort_with_status(rpc_status.to_status(rich_status(request.code, request.message)))
        if request.code:
            context.abort(CODES[request.code], request.message)
        payload = (bytes(range(256)) * (request.payload_bytes // 256 + 1))[: request.payload_bytes]
        left = 0 if remaining is None or remaining > 1e9 else int(remaining * 1000)
        return probe_pb2.EchoResponse(message=request.message, payload=payload, remaining_ms=left)


def main():
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_send_message_length", -1)])
    probe_pb2_grpc.add_ProbeServicer_to_server(Probe(), server)
    if len(sys.argv) > 1:
        names = "ca.crt", "server.key", "server.crt"
        roots, key, certificate = ((Path(sys.argv[1]) / name).read_bytes() for name in names)
        credentials = grpc.ssl_server_credentials([(key, certificate)], roots, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    if port == 0:
        sys.exit("cannot listen")
    signal.signal(signal.SIGTERM, lambda *_: server.stop(1))
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
