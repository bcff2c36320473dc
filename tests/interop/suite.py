#!/usr/bin/env python3
"""gRPC's own interop suite between Weft and others: suite.py PAIRING --bin build/release/bin --work FOLDER

    weft                                                            Weft's client and Weft's server
    go-client  cxx-client  java-netty-client  java-okhttp-client    clients of Weft's server
    go-server  cxx-server  java-server                              servers for Weft's client

Prints a line for each case. Exits 0 when none failed but those that KNOWN_FAILURES names; 77, saying why, when a
toolchain or a package cannot be had. matrix.py makes docs/interop.md of the same runs.
"""
import argparse
import signal
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


class Pairing:
    """A client and a server, one of which at least is Weft's.

    `client` and `server` make the start of a command line from (programs of Weft, work folder); `not_had` are the cases
    that the other side does not implement.
    """

    def __init__(self, title, client, server, not_had=()):
        self.title, self.client, self.server, self.not_had = title, client, server, frozenset(not_had)


def weft_client(programs, _):
    return [weft_program(programs, "interop-client")]


def weft_server(programs, _):
    return [weft_program(programs, "interop-server"), "--port=0"]


def weft_program(programs, name):
    if not (programs / name).exists():
        raise toolchains.Unavailable(f"{name} is not built (Debian: grpc-proto)")
    return programs / name


def java_client(work, *flags):
    return [*toolchains.java(work), "io.grpc.testing.integration.TestServiceClient", "--use_tls=false", *flags]


def java_server(_, work):
    return [*toolchains.java(work), "io.grpc.testing.integration.TestServiceServer", "--use_tls=false", "--port=0",
            "--address_type=IPV4"]  # fmt: skip


PAIRINGS = {
    "weft": Pairing("Weft", weft_client, weft_server),
    "go-client": Pairing("grpc-go", lambda _, work: [toolchains.go(work) / "interop-client"], weft_server,
                         COMPRESSED | {"cacheable_unary"}),
    "go-server": Pairing("grpc-go", weft_client, lambda _, work: [toolchains.go(work) / "interop-server", "--port=0"],
                         COMPRESSED | {"cacheable_unary"}),
    "cxx-client": Pairing("gRPC C++", lambda _, work: [toolchains.cxx(work) / "client"], weft_server),
    "cxx-server": Pairing("gRPC C++", weft_client, lambda _, work: [toolchains.cxx(work) / "server", "--port=0"],
                          CLIENT_COMPRESSED),
    "java-netty-client": Pairing("grpc-java, Netty", lambda _, work: java_client(work), weft_server),
    "java-okhttp-client": Pairing("grpc-java, OkHttp", lambda _, work: java_client(work, "--use_okhttp=true"),
                                  weft_server),
    "java-server": Pairing("grpc-java", weft_client, java_server, {"cacheable_unary"}),
}  # fmt: skip

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


def start_server(pairing, programs, work, scratch):
    command = pairing.server(programs, work)
    kind = Service if pairing.server is weft_server else AnyServer
    return kind(command, scratch / "server.log", anywhere=True)


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


def run(name, programs, work):
    """Runs a pairing. Yields (case, how it ended, what the client said)."""
    pairing = PAIRINGS[name]
    with tempfile.TemporaryDirectory(prefix="weft-interop-") as scratch:
        command = pairing.client(programs, work)
        with start_server(pairing, programs, work, Path(scratch)) as server:
            for case in CASES:
                yield (case, *run_case(pairing, case, command, server.address[1]))
                server.check()


def as_expected(name, case, ended):
    return ended != FAIL if (name, case) not in KNOWN_FAILURES else ended == FAIL


def judge(name, programs, work):
    """Runs a pairing, prints what came out, and returns whether all of it is as it must be."""
    wrong = 0
    counts = dict.fromkeys((PASS, FAIL, NOT_HAD), 0)
    for case, ended, words in run(name, programs, work):
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
    parser.add_argument("--bin", type=Path, required=True, help="where the programs are, as build/release/bin")
    parser.add_argument("--work", type=Path, required=True, help="where packages are installed; kept")
    arguments = parser.parse_args()
    try:
        return 0 if judge(arguments.pairing, arguments.bin.resolve(), arguments.work.resolve()) else 1
    except toolchains.Unavailable as error:
        print(f"SKIPPED: {arguments.pairing}: {error}")
        return SKIPPED
    except ServiceError as error:
        print(f"FAILED: {arguments.pairing}: {error}")
        return 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
