"""Judges Weft's server as a Python grpcio client over TLS: grpcio_tls_client.py PROBE_SERVER FOLDER, the folder of the
certificates."""
import sys
import unittest
from pathlib import Path

import grpc
import probe_pb2
import probe_pb2_grpc

SECONDS = 20


class Tls(unittest.TestCase):
    target, folder = "", Path()

    def echo(self, credentials, name="users.example"):
        options = [("grpc.ssl_target_name_override", name)]
        if credentials:
            channel = grpc.secure_channel(self.target, credentials, options)
        else:
            channel = grpc.insecure_channel(self.target)
        self.addCleanup(channel.close)
        request = probe_pb2.EchoRequest(message="over TLS", payload_bytes=1_000_000)
        return probe_pb2_grpc.ProbeStub(channel).EchoInline.with_call(request, timeout=SECONDS)

    def read(self, name):
        return (self.folder / name).read_bytes()

    def known(self):
        return grpc.ssl_channel_credentials(*map(self.read, ("ca.crt", "client.key", "client.crt")))

    def refused(self, *arguments):
        with self.assertRaises(grpc.RpcError) as caught:
            self.echo(*arguments)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE, caught.exception.details())

    def test_a_client_with_a_certificate_is_known(self):
        answer, call = self.echo(self.known())
        self.assertEqual((answer.message, len(answer.payload)), ("over TLS", 1_000_000))
        self.assertIn(("x-peer", "spiffe://acme.example/orders"), [tuple(pair) for pair in call.initial_metadata()])

    def test_a_client_without_one_is_refused(self):
        self.refused(grpc.ssl_channel_credentials(self.read("ca.crt")))

    def test_a_client_that_expects_another_name_turns_away(self):
        self.refused(self.known(), "orders.example")

    def test_plaintext_is_refused(self):
        self.refused(None)


if __name__ == "__main__":
    Tls.target, Tls.folder = sys.argv[1], Path(sys.argv[2])
    unittest.main(argv=sys.argv[:1])
