#!/usr/bin/env python3
"""gRPC's own interop suite between Weft and others: suite.py PAIRING [--tls] --bin build/release/bin --work FOLDER

    weft                                                            Weft's client and Weft's server
    go-client  cxx-client  java-netty-client  java-okhttp-client    clients of Weft's server
    go-server  cxx-server  java-server                              servers for Weft's client

Prints a line for each case. Exits 0 when none failed but those that KNOWN_FAILURES names; 77, saying why, when a
toolchain or a package cannot be had. matrix.py makes docs/interop.md of the same runs.
"""
import argparse
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import toolchains
from service import Service, ServiceError

SKIPPED = 77
CASE_SECONDS = 60

# As doc/interop-test-descriptions.md of grpc/grpc has them.
CASES = (
    "empty_unary", "cacheable_unary", "large_unary", "client_compressed_unary", "server_compressed_unary",
    "client_streaming", "client_compressed_streaming", "server_streaming", "server_compressed_streaming", "ping_pong",
    "empty_stream", "custom_metadata", "status_code_and_message", "special_status_message", "unimplemented_method",
    "unimplemented_service", "cancel_after_begin", "cancel_after_first_response", "timeout_on_sleeping_server",
)  # fmt: skip
CLIENT_COMPRESSED = {"client_compressed_unary", "client_compressed_streaming"}
COMPRESSED = CLIENT_COMPRESSED | {"server_compressed_unary", "server_compressed_streaming"}

# How a case can end.
PASS, FAIL, NOT_HAD = "pass", "fail", "not had"

# What a client expects the server to be over TLS, as the suite has it.
SERVER_NAME = "foo.test.google.fr"


class Pairing:
    """A client and a server, one of which at least is Weft's.

    `client` and `server` make the start of a command line from (programs of Weft, work folder, folder of the
    certificates or None for plaintext); `not_had` are the cases that the other side does not implement.
    """

    def __init__(self, title, client, server, not_had=()):
        self.title, self.client, self.server, self.not_had = title, client, server, frozenset(not_had)


def client_flags(tls):
    return [*test_ca_flags(tls), f"--ca_file={tls / 'ca.crt'}"] if tls else []


def test_ca_flags(tls):
    return ["--use_tls=true", "--use_test_ca=true", f"--server_host_override={SERVER_NAME}"] if tls else []


def server_flags(tls):
    files = [f"--tls_cert_file={tls / 'server.crt'}", f"--tls_key_file={tls / 'server.key'}"] if tls else []
    return ["--port=0", f"--use_tls={str(bool(tls)).lower()}", *files]


def weft_client(programs, _, tls):
    return [weft_program(programs, "interop-client"), *client_flags(tls)]


def weft_server(programs, _, tls):
    return [weft_program(programs, "interop-server"), *server_flags(tls)]


def weft_program(programs, name):
    if not (programs / name).exists():
        raise toolchains.Unavailable(f"{name} is not built (Debian: grpc-proto)")
    return programs / name


def go_client(_, work, tls):
    return [toolchains.go(work) / "interop-client", *client_flags(tls)]


def go_server(_, work, tls):
    return [toolchains.go(work) / "interop-server", *server_flags(tls)]


def cxx_client(_, work, tls):
    return [toolchains.cxx(work) / "client", *client_flags(tls)]


def cxx_server(_, work, tls):
    return [toolchains.cxx(work) / "server", *server_flags(tls)]


def java_program(name, work, tls):
    """grpc-java's programs take no files: they have a CA and a certificate among their resources. Ours go before."""
    if tls:
        resources = tls / "certs"
        resources.mkdir(exist_ok=True)
        for ours, theirs in ("ca.crt", "ca.pem"), ("server.crt", "server1.pem"), ("server.key", "server1.key"):
            shutil.copy(tls / ours, resources / theirs)
    return [*toolchains.java(work, tls), f"io.grpc.testing.integration.{name}", f"--use_tls={str(bool(tls)).lower()}"]


def java_netty_client(_, work, tls):
    return [*java_program("TestServiceClient", work, tls), *test_ca_flags(tls)]


def java_okhttp_client(_, work, tls):
    return [*java_netty_client(_, work, tls), "--use_okhttp=true"]


def java_server(_, work, tls):
    return [*java_program("TestServiceServer", work, tls), "--port=0", "--address_type=IPV4"]


PAIRINGS = {
    "weft": Pairing("Weft", weft_client, weft_server),
    "go-client": Pairing("grpc-go", go_client, weft_server, COMPRESSED | {"cacheable_unary"}),
    "go-server": Pairing("grpc-go", weft_client, go_server, COMPRESSED | {"cacheable_unary"}),
    "cxx-client": Pairing("gRPC C++", cxx_client, weft_server),
    "cxx-server": Pairing("gRPC C++", weft_client, cxx_server, CLIENT_COMPRESSED),
    "java-netty-client": Pairing("grpc-java, Netty", java_netty_client, weft_server),
    "java-okhttp-client": Pairing("grpc-java, OkHttp", java_okhttp_client, weft_server),
    "java-server": Pairing("grpc-java", weft_client, java_server, {"cacheable_unary"}),
}

# What fails, and why that is known: {(pairing, case): reason}. One that passes after all is a finding too.
KNOWN_FAILURES = {
    ("java-netty-client", "cacheable_unary"): "it wants a caching proxy in between",
    ("java-okhttp-client", "cacheable_unary"): "it wants a caching proxy in between",
    ("java-server", "client_compressed_unary"): "it does not look whether a request is compressed",
    ("java-server", "client_compressed_streaming"): "it does not look whether a request is compressed",
    ("java-server", "server_compressed_streaming"): "it compresses unary responses only",
}


class AnyServer(Service):
    """A server that may end on SIGTERM as it likes."""

    def stop(self):
        self.check()
        self.kill()


def start_server(pairing, programs, work, scratch, tls):
    command = pairing.server(programs, work, tls)
    kind = Service if pairing.server is weft_server else AnyServer
    return kind(command, scratch / "server.log", anywhere=True)


def make_certificates(scratch):
    """Makes a CA and a certificate of the server. Returns their folder."""
    folder = scratch / "tls"
    folder.mkdir()
    toolchains.certificates(folder, "DNS:*.test.google.fr,DNS:localhost")
    return folder


def check_tls(server, tls):
    """Sees for itself that the server has our certificate and speaks HTTP/2 over TLS: the cases do not tell."""
    context = ssl.create_default_context(cafile=tls / "ca.crt")
    context.set_alpn_protocols(["h2"])
    try:
        with socket.create_connection(server.address, CASE_SECONDS) as plain:
            with context.wrap_socket(plain, server_hostname=SERVER_NAME) as connection:
                protocol = connection.selected_alpn_protocol()
    except OSError as error:
        raise ServiceError(f"no TLS: {error}") from error
    if protocol != "h2":
        raise ServiceError(f"ALPN has chosen {protocol}")


def run_case(pairing, case, command, port):
    """Returns how it ended and what the client said."""
    if case in pairing.not_had:
        return NOT_HAD, ""
    words = [*command, "--server_host=127.0.0.1", f"--server_port={port}", f"--test_case={case}"]
    try:
        done = subprocess.run(list(map(str, words)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=CASE_SECONDS)  # fmt: skip
    except subprocess.TimeoutExpired:
        return FAIL, f"it still runs after {CASE_SECONDS} s"
    return PASS if done.returncode == 0 else FAIL, done.stdout.strip()


def run(name, programs, work, over_tls=False):
    """Runs a pairing. Yields (case, how it ended, what the client said)."""
    pairing = PAIRINGS[name]
    with tempfile.TemporaryDirectory(prefix="weft-interop-") as folder:
        scratch = Path(folder)
        tls = make_certificates(scratch) if over_tls else None
        command = pairing.client(programs, work, tls)
        with start_server(pairing, programs, work, scratch, tls) as server:
            if over_tls:
                check_tls(server, tls)
            for case in CASES:
                yield (case, *run_case(pairing, case, command, server.address[1]))
                server.check()


def as_expected(name, case, ended):
    return ended != FAIL if (name, case) not in KNOWN_FAILURES else ended == FAIL


def judge(name, programs, work, over_tls):
    """Runs a pairing, prints what came out, and returns whether all of it is as it must be."""
    wrong = 0
    counts = dict.fromkeys((PASS, FAIL, NOT_HAD), 0)
    for case, ended, words in run(name, programs, work, over_tls):
        counts[ended] += 1
        reason = KNOWN_FAILURES.get((name, case))
        print(f"{ended}: {case}" + (f" ({reason})" if reason else ""), flush=True)
        if not as_expected(name, case, ended):
            wrong += 1
            print(f"FAILED: {case}: {ended}\n{words[-3000:]}", flush=True)
    print(", ".join(f"{count} {ended}" for ended, count in counts.items()))
    return wrong == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pairing", choices=PAIRINGS)
    parser.add_argument("--tls", action="store_true", help="over TLS")
    parser.add_argument("--bin", type=Path, required=True, help="where the programs are, as build/release/bin")
    parser.add_argument("--work", type=Path, required=True, help="where packages are installed; kept")
    arguments = parser.parse_args()
    try:
        right = judge(arguments.pairing, arguments.bin.resolve(), arguments.work.resolve(), arguments.tls)
        return 0 if right else 1
    except toolchains.Unavailable as error:
        print(f"SKIPPED: {arguments.pairing}: {error}")
        return SKIPPED
    except ServiceError as error:
        print(f"FAILED: {arguments.pairing}: {error}")
        return 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
