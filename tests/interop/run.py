#!/usr/bin/env python3
"""Lets foreign implementations of gRPC judge Weft's wire: run.py CASE --bin build/release/bin --work FOLDER

    grpcio-client  grpcjs-client  grpcgo-client  grpcurl  buf   clients of Weft's servers
    grpcio-builtin  grpcurl-reflect  buf-reflect  health-probe  clients of health and reflection
    buf-generate  buf-lint                                      buf, with protoc-gen-weft as its plugin; on our contracts
    grpcio-server                                               a server for Weft's client
    grpcio-tls                                                  both ends over TLS, which both must prove themselves by
    raw-server                                                  a server that answers as no library would

Exits 77, saying why, when a toolchain or a package cannot be had.
"""
import argparse
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import http2
import raw_server
import toolchains
from http2 import Code
from service import Service

SKIPPED = 77
CASE_SECONDS = 120


class Wrong(Exception):
    """Something came out otherwise than it must."""


def check(condition, what):
    if not condition:
        raise Wrong(what)


class Weft:
    """Weft's programs of one build."""

    def __init__(self, programs, scratch):
        self.programs, self.scratch = programs, scratch

    def user_service(self):
        program = self.programs / "user-service"
        if not program.exists():
            raise toolchains.Unavailable("user-service is not built")
        return Service([program, "--listen", "127.0.0.1:0", "--set", f"database.path={self.scratch / 'users.db'}"],
                       self.scratch / "user-service.log")  # fmt: skip

    def probe_server(self, *words):
        return Service([self.programs.parent / "tests" / "probe-server", "--listen", "127.0.0.1:0", *words],
                       self.scratch / "probe-server.log")  # fmt: skip

    def interop_server(self):
        program = self.programs / "interop-server"
        if not program.exists():
            raise toolchains.Unavailable("interop-server is not built (Debian: grpc-proto)")
        return Service([program, "--port=0"], self.scratch / "interop-server.log")

    def start_client(self, target, *words):
        command = [self.programs.parent / "tests" / "probe-client", target, *map(str, words)]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)  # fmt: skip

    def call(self, target, *words, calls=1):
        """Runs probe-client. Returns one Outcome for each call."""
        client = self.start_client(target, *words, "--call", calls)
        return finish_client(client, calls)


class Outcome:
    """What probe-client tells of one call."""

    def __init__(self, lines):
        self.facts = {}
        self.headers, self.trailers = [], []
        for line in lines:
            name, _, value = line.partition(" ")
            if name in ("header", "trailer"):
                key, _, value = value.partition(" ")
                (self.headers if name == "header" else self.trailers).append((key, bytes.fromhex(value)))
            else:
                self.facts[name] = value
        self.code = Code(int(self.facts["code"]))
        self.from_peer = self.facts["from_peer"] == "1"
        self.message = bytes.fromhex(self.facts["message"]).decode()  # Weft promises UTF-8
        self.details = bytes.fromhex(self.facts["details"])

    def types(self):
        """The types of the details, without the names of their packages."""
        return [value.rpartition(".")[2] for name, value in self.facts.items() if name.startswith("detail_")]

    def __str__(self):
        return f"{self.code.name} {'' if self.from_peer else 'not '}from the peer: {self.message!r}"


def finish_client(client, calls):
    try:
        output, _ = client.communicate(timeout=CASE_SECONDS)
    except subprocess.TimeoutExpired as error:
        client.kill()
        client.wait()
        raise Wrong(f"probe-client still runs after {CASE_SECONDS} s") from error
    check(client.returncode == 0, f"probe-client ended with {client.returncode}")
    outcomes = [Outcome(part.splitlines()) for part in output.split("end\n")[:-1]]
    check(len(outcomes) == calls, f"probe-client told of {len(outcomes)} calls, not {calls}")
    return outcomes


def run_judge(command, **options):
    """Runs a client that judges by itself."""
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, check=False,
                          timeout=CASE_SECONDS, **options)  # fmt: skip
    check(done.returncode == 0, f"{Path(command[0]).name} ended with {done.returncode}")


# ---- clients of Weft's servers


def grpcio_client(weft, work):
    python, stubs, _ = toolchains.python(work)
    with weft.user_service() as users, weft.probe_server() as probe, weft.interop_server() as suite:
        run_judge([python, HERE / "grpcio_client.py", users.target, probe.target, suite.target],
                  env={"PYTHONPATH": str(stubs)})  # fmt: skip


def grpcjs_client(weft, work):
    node, folder = toolchains.node(work)
    protos = toolchains.PROTO / "user.proto", toolchains.PROBE_PROTO / "probe.proto", toolchains.SUITE_PROTO
    with weft.user_service() as users, weft.probe_server() as probe, weft.interop_server() as suite:
        run_judge([node, HERE / "grpcjs_client.js", folder, users.target, protos[0], probe.target, protos[1],
                   suite.target, protos[2]])  # fmt: skip


def grpcgo_client(weft, work):
    programs = toolchains.go(work)
    with weft.user_service() as users, weft.probe_server() as probe:
        run_judge([programs / "client", users.target, probe.target])


def json_tool(command, request):
    """Runs a command-line client. Returns (exit code, answer or None, what it said of an error)."""
    done = subprocess.run([*map(str, command)], input=json.dumps(request), capture_output=True, check=False, text=True,
                          timeout=CASE_SECONDS)  # fmt: skip
    return done.returncode, json.loads(done.stdout) if done.returncode == 0 else None, done.stderr


def judge_by_tool(users, command):
    """The same calls for every command-line client; `command(method)` reads the request from standard input."""
    code, created, error = json_tool(command("CreateUser"), {"name": "Ада", "email": "ada.tool@example.org"})
    check(code == 0, f"CreateUser: {error}")
    code, fetched, error = json_tool(command("GetUser"), {"id": created["id"]})
    check(code == 0 and fetched["user"] == created, f"created {created}, fetched {fetched}; {error}")
    missing = "01890a5d-ac96-774b-bcce-b302099a8057"
    code, _, error = json_tool(command("GetUser"), {"id": missing})
    check(code != 0 and missing in error, f"GetUser of nobody: {code}, {error}")
    check("NotFound" in error or "not_found" in error, error)
    code, _, error = json_tool(command("CreateUser"), {"name": "A", "email": "nowhere"})
    check("InvalidArgument" in error or "invalid_argument" in error, f"a bad e-mail: {code}, {error}")
    code, _, error = json_tool(command("CreateUser"), {"name": "A", "email": "ADA.TOOL@example.org"})
    check("AlreadyExists" in error or "already_exists" in error, f"a double e-mail: {code}, {error}")
    users.check()
    print("5 passed, 0 failed")


def grpcurl(weft, work):
    program = toolchains.go(work) / "grpcurl"
    with weft.user_service() as users:
        judge_by_tool(users, lambda method: [
            program, "-plaintext", "-import-path", toolchains.PROTO, "-proto", "user.proto", "-d", "@", users.target,
            f"user.UserService/{method}"])  # fmt: skip


def buf(weft, work):
    program = toolchains.python(work)[2] / "buf"
    with weft.user_service() as users:
        judge_by_tool(users, lambda method: [
            program, "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--schema", toolchains.PROTO, "-d", "@-",
            f"http://{users.target}/user.UserService/{method}"])  # fmt: skip


def buf_generate(weft, work):
    program = toolchains.python(work)[2] / "buf"
    run_judge([HERE / "buf_generate.sh", program, weft.programs / "protoc-gen-weft"])


def buf_lint(_weft, work):
    run_judge([toolchains.python(work)[2] / "buf", "lint", toolchains.PROTO])


# ---- clients of health and reflection


def grpcio_builtin(weft, work):
    """Health and reflection as grpcio's packages have them; the last thing the client sees is a drain."""
    python = toolchains.python(work)[0]
    with weft.user_service() as users:
        client = subprocess.Popen([python, HERE / "grpcio_builtin.py", users.target], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, text=True)  # fmt: skip
        try:
            line = client.stdout.readline()
            check(line == "watching\n", f"grpcio_builtin.py said {line!r}")
            users.stop()
            check(client.wait(CASE_SECONDS) == 0, f"grpcio_builtin.py ended with {client.returncode}")
        finally:
            client.kill()
            client.wait()
    print("1 passed, 0 failed")


def said(command):
    """What a command says on standard output and error; it must end with 0."""
    done = subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True,
                          timeout=CASE_SECONDS)  # fmt: skip
    check(done.returncode == 0, f"{' '.join(map(str, command))}: {done.returncode}: {done.stderr}")
    return done.stdout


def grpcurl_reflect(weft, work):
    program = toolchains.go(work) / "grpcurl"
    with weft.user_service() as users:
        services = said([program, "-plaintext", users.target, "list"]).split()
        wanted = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                  "grpc.reflection.v1alpha.ServerReflection", "user.UserService"]  # fmt: skip
        check(services == wanted, services)
        methods = said([program, "-plaintext", users.target, "list", "user.UserService"]).split()
        check("user.UserService.CreateUser" in methods, methods)
        for name, text in (("user.UserService", "rpc CreateUser ( .user.CreateUserRequest )"),
                           ("user.CreateUserRequest", "message CreateUserRequest {"),
                           ("user.UserService.GetUser", "rpc GetUser ("),
                           ("grpc.health.v1.HealthCheckResponse.ServingStatus", "SERVICE_UNKNOWN = 3;")):  # fmt: skip
            answer = said([program, "-plaintext", users.target, "describe", name])
            check(text in answer, f"describe {name}: {answer}")
        said([program, "-plaintext", users.target, "describe"])
        missing = subprocess.run([program, "-plaintext", users.target, "describe", "no.Such"], capture_output=True,
                                 check=False, text=True, timeout=CASE_SECONDS)  # fmt: skip
        check(missing.returncode != 0 and "not found" in missing.stderr.lower(), missing.stderr)
        health = said([program, "-plaintext", users.target, "grpc.health.v1.Health/List"])
        check(json.loads(health)["statuses"]["user.UserService"] == {"status": "SERVING"}, health)
        judge_by_tool(users, lambda method: [
            program, "-plaintext", "-d", "@", users.target, f"user.UserService/{method}"])  # fmt: skip


def buf_reflect(weft, work):
    program = toolchains.python(work)[2] / "buf"
    for version in ("grpc-v1", "grpc-v1alpha"):
        (weft.scratch / "users.db").unlink(missing_ok=True)
        with weft.user_service() as users:
            judge_by_tool(users, lambda method: [
                program, "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--reflect", "--reflect-protocol",
                version, "-d", "@-", f"http://{users.target}/user.UserService/{method}"])  # fmt: skip


def health_probe(weft, work):
    program = toolchains.go(work) / "grpc-health-probe"

    def probe(target, service):
        done = subprocess.run([program, f"-addr={target}", f"-service={service}", "-rpc-timeout=10s",
                               "-connect-timeout=10s"], stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              text=True, timeout=CASE_SECONDS)  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    with weft.user_service() as users:
        for service in ("", "user.UserService"):
            code, text = probe(users.target, service)
            check(code == 0 and "SERVING" in text, f"{service!r}: {code}, {text}")
        gone = users.target
    with weft.probe_server() as server:
        code, text = probe(server.target, "down")
        check(code == 4 and "NOT_SERVING" in text, f"a service that is down: {code}, {text}")
        code, text = probe(server.target, "no.Such")
        check(code == 3 and "NotFound" in text, f"an unknown service: {code}, {text}")
    code, text = probe(gone, "")
    check(code != 0, f"a server that is gone: {code}, {text}")
    print("5 passed, 0 failed")


# ---- servers for Weft's client


def judge_retries(weft, server):
    """The server fails so many times, says when to try again, and sees how often that was done."""
    policy = {"maxAttempts": 4, "initialBackoff": "30s", "maxBackoff": "30s", "backoffMultiplier": 1,
              "retryableStatusCodes": ["UNAVAILABLE"]}  # fmt: skip
    config = json.dumps({"methodConfig": [{"name": [{"service": "probe.Probe"}], "retryPolicy": policy}]})
    words = "--service-config", config, "--timeout-ms", 20000, "--message", "again"
    (ok,) = weft.call(server.target, *words, "--metadata", "fail-times=3", "--metadata", "pushback=20")
    check(ok.code == Code.OK and bytes.fromhex(ok.facts["answer"]) == b"again", ok)
    check(("tail-attempts", b"3") in ok.trailers, ok.trailers)
    (failed,) = weft.call(server.target, *words, "--metadata", "fail-times=4", "--metadata", "pushback=20")
    check(failed.code == Code.UNAVAILABLE and failed.message == "failure 4", failed)
    (stopped,) = weft.call(server.target, *words, "--metadata", "fail-times=1", "--metadata", "pushback=-1")
    check(stopped.code == Code.UNAVAILABLE and stopped.message == "failure 1", stopped)
    return 3


def grpcio_server(weft, work):
    python, stubs, _ = toolchains.python(work)

    def serve(name):
        return Service([python, HERE / "grpcio_server.py"], weft.scratch / name, environment={"PYTHONPATH": str(stubs)})

    text = "Grüße, 100 %\nand more \U0001f44b"
    passed = 0
    with serve("first.log") as server:
        (ok,) = weft.call(server.target, "--message", text, "--timeout-ms", 30000)
        check(ok.code == Code.OK and ok.from_peer, ok)
        check(bytes.fromhex(ok.facts["answer"]).decode() == text, ok.facts["answer"])
        check(20000 < int(ok.facts["remaining_ms"]) <= 30100, f"the server saw {ok.facts['remaining_ms']} ms of 30 s")
        for code in list(Code)[1:]:
            (failed,) = weft.call(server.target, "--code", int(code), "--message", text)
            check(failed.code == code and failed.from_peer and failed.message == text, f"{code.name}: {failed}")
        (back,) = weft.call(server.target, "--metadata", "head-text=a b", "--metadata", "head-data-bin=raw \x01\x7f",
                            "--metadata", "tail-text=c", "--metadata", "head-text=d")  # fmt: skip
        check([value for key, value in back.headers if key == "head-text"] == [b"a b", b"d"], back.headers)
        check(("head-data-bin", b"raw \x01\x7f") in back.headers, back.headers)
        check(("tail-text", b"c") in back.trailers, back.trailers)
        (rich,) = weft.call(server.target, "--code", 5, "--message", "no", "--metadata", "details=1")
        check(rich.code == Code.NOT_FOUND and rich.from_peer and rich.details, rich)
        check(rich.types() == ["ErrorInfo", "BadRequest", "RetryInfo"], rich.facts)
        check(rich.facts["error_info"] == "PROBED probe.example.org limit=12", rich.facts)
        check(rich.facts["violation_0"] == "message is wrong", rich.facts)
        check(rich.facts["violation_1"] == "tree.children are Grüße", rich.facts)
        check(rich.facts["retry_ms"] == "1500", rich.facts)
        (large,) = weft.call(server.target, "--payload-bytes", 4_000_000)
        check(large.facts.get("payload_bytes") == "4000000" and large.facts["payload_right"] == "1", large)
        (over,) = weft.call(server.target, "--payload-bytes", 5_000_000)
        check(over.code == Code.RESOURCE_EXHAUSTED and not over.from_peer, over)
        late, again = weft.call(server.target, "--wait-ms", 1500, "--timeout-ms", 200, calls=2)
        for outcome in (late, again):
            check(outcome.code == Code.DEADLINE_EXCEEDED and not outcome.from_peer, outcome)
        words = ("--message", "x" * 10_000, "--payload-bytes", 4_000_000, "--metadata", "compress=1")
        for gzip in (0, 1):
            (squeezed,) = weft.call(server.target, "--gzip", gzip, *words)
            check(squeezed.facts.get("payload_bytes") == "4000000" and squeezed.facts["payload_right"] == "1", squeezed)
            check(squeezed.facts["compressed"] == "1", "the server's answer is not compressed")
        (over,) = weft.call(server.target, "--payload-bytes", 5_000_000, "--metadata", "compress=1")
        check(over.code == Code.RESOURCE_EXHAUSTED and not over.from_peer, over)
        passed += 32
        passed += judge_retries(weft, server)

        dying = weft.start_client(server.target, "--wait-ms", 60000, "--timeout-ms", 60000, "--call", 1)
        calls = server.log.read_text().count("call")
        while server.log.read_text().count("call") == calls:
            server.check()
        server.kill()
        (dead,) = finish_client(dying, 1)
        check(dead.code == Code.UNAVAILABLE and not dead.from_peer, f"the server died: {dead}")
        (none,) = weft.call(server.target)
        check(none.code == Code.UNAVAILABLE and not none.from_peer, f"nobody listens: {none}")
        passed += 2
    print(f"{passed} passed, 0 failed")


def grpcio_tls(weft, work):
    python, stubs, _ = toolchains.python(work)
    folder = weft.scratch
    toolchains.certificates(folder)
    with weft.probe_server("--certificate", folder / "server.crt", "--key", folder / "server.key", "--client-roots",
                           folder / "ca.crt") as probe:  # fmt: skip
        run_judge([python, HERE / "grpcio_tls_client.py", probe.target, folder], env={"PYTHONPATH": str(stubs)})
        probe.check()

    roots = ("--tls-roots", folder / "ca.crt", "--timeout-ms", 30000)
    known = (*roots, "--tls-certificate", folder / "client.crt", "--tls-key", folder / "client.key")
    with Service([python, HERE / "grpcio_server.py", folder], folder / "server.log",
                 environment={"PYTHONPATH": str(stubs)}) as server:  # fmt: skip
        (ok,) = weft.call(server.target, *known, "--tls-name", "users.example", "--message", "over TLS")
        check(ok.code == Code.OK and bytes.fromhex(ok.facts["answer"]) == b"over TLS", ok)
        for words in (known, (*known, "--tls-name", "orders.example"), (*roots, "--tls-name", "users.example"),
                      ("--timeout-ms", 30000)):  # fmt: skip
            (refused,) = weft.call(server.target, *words)
            check(refused.code == Code.UNAVAILABLE and not refused.from_peer, f"{words}: {refused}")
    print("5 passed, 0 failed")


# What Weft's client must make of each scenario of raw_server: codes, whether the peer said so (None: either may be),
# and text that the message contains.
UNTRUE = (Code.INTERNAL, Code.UNIMPLEMENTED, Code.UNKNOWN)
LOST = (Code.UNAVAILABLE,)
EXPECTED = {
    "trailers_only": ((Code.NOT_FOUND,), True, "not here"),
    "ok_trailers_only": (UNTRUE, None, ""),
    "status_99": ((Code.UNKNOWN,), True, ""),
    "status_minus_1": ((Code.UNKNOWN,), None, ""),
    "status_no_number": ((Code.UNKNOWN,), True, ""),
    "status_huge": ((Code.UNKNOWN,), True, ""),
    "status_17": ((Code.UNKNOWN,), True, ""),
    "status_empty": ((Code.UNKNOWN,), True, ""),
    "no_status": ((Code.UNKNOWN, Code.INTERNAL), None, ""),
    "message_not_utf8": ((Code.INTERNAL,), True, "bad "),
    "message_raw_bytes": ((Code.INTERNAL,), True, "bad "),
    "message_bad_percent": ((Code.INTERNAL,), True, "100 % %zz %4"),
    "message_with_nul": ((Code.INTERNAL,), True, "a"),
    "message_escaped": ((Code.INTERNAL,), True, "a\nb \u20ac %"),
    "http_404": ((Code.UNIMPLEMENTED,), None, ""),
    "http_401": ((Code.UNAUTHENTICATED,), None, ""),
    "http_403": ((Code.PERMISSION_DENIED,), None, ""),
    "http_503": ((Code.UNAVAILABLE,), None, ""),
    "http_429": ((Code.UNAVAILABLE,), None, ""),
    "not_grpc": ((Code.UNKNOWN, Code.INTERNAL), None, ""),
    "data_without_headers": ((*UNTRUE, *LOST), None, ""),
    "malformed_message": ((Code.INTERNAL,), False, ""),
    "message_with_bad_text": ((Code.INTERNAL,), False, ""),
    "message_with_nul_text": ((Code.INTERNAL,), False, ""),
    "deep_groups": ((Code.INTERNAL,), False, ""),
    "many_fields": ((Code.INTERNAL,), False, ""),
    "unknown_fields": ((Code.OK,), True, ""),
    "reset_refused_stream": (LOST, False, ""),
    "reset_cancel": ((Code.CANCELLED,), None, ""),
    "reset_enhance_your_calm": ((Code.RESOURCE_EXHAUSTED,), None, ""),
    "reset_internal_error": ((Code.INTERNAL,), None, ""),
    "reset_inadequate_security": ((Code.PERMISSION_DENIED,), None, ""),
    "reset_no_error": ((Code.INTERNAL,), None, ""),
    "reset_unknown_error": ((Code.INTERNAL, Code.UNKNOWN), None, ""),
    "ok_without_message": ((Code.UNIMPLEMENTED,), False, "without a response"),
    "two_messages": ((Code.UNIMPLEMENTED,), False, "more than one response"),
    "two_messages_and_an_error": ((Code.NOT_FOUND, *UNTRUE), None, ""),
    "half_a_message": ((*UNTRUE, *LOST), None, ""),
    "gzip": ((Code.OK,), True, ""),
    "gzip_that_is_none": ((Code.INTERNAL,), False, "gzip"),
    "gzip_without_a_name": ((Code.INTERNAL,), False, "grpc-encoding"),
    "gzip_over_the_limit": ((Code.RESOURCE_EXHAUSTED,), False, "4194304"),
    "deflate_without_consent": ((Code.INTERNAL,), False, "not supported"),
    "says_what_it_takes": ((Code.OK,), True, ""),
    "message_over_the_limit": ((Code.RESOURCE_EXHAUSTED,), False, ""),
    "headers_over_the_limit": ((Code.RESOURCE_EXHAUSTED,), None, ""),
    "bad_binary_header": ((*UNTRUE, *LOST), None, ""),
    "joined_binary_headers": ((*UNTRUE, *LOST), None, ""),  # allowed, but gRPC core does not take them apart
    "illegal_headers": ((Code.OK,), True, ""),
    "details_of_another_code": ((Code.NOT_FOUND,), True, "not here"),
    "details_cut_short": ((Code.NOT_FOUND,), True, "not here"),
    "details_not_base64": ((Code.NOT_FOUND, *UNTRUE, *LOST), None, ""),
    "goaway_and_an_answer": ((Code.OK,), True, ""),
    "goaway_that_takes_nothing": ((Code.OK, *LOST), None, ""),
    "goaway_with_an_error": (LOST, None, ""),
    "death_before_headers": (LOST, False, ""),
    "orderly_close": (LOST, False, ""),
    "death_within_a_message": (LOST, False, ""),
    "death_before_trailers": (LOST, False, ""),
    "garbage": ((*LOST, Code.INTERNAL, Code.UNKNOWN), False, ""),
    "silence": ((Code.DEADLINE_EXCEEDED,), False, ""),
    "pings_and_settings": ((Code.OK,), True, ""),
    "informational": ((Code.OK, *UNTRUE), None, ""),
}


def judge_scenario(weft, name):
    codes, from_peer, text = EXPECTED[name]
    timeout_ms = 500 if name == "silence" else 10_000
    with raw_server.RawServer(name) as server:
        words = ("--timeout-ms", timeout_ms, "--wait-for-ready", 1, "--call", 1)
        if name == "silence":
            outcomes = weft.call(server.target, *words[:-2])
        else:  # those that follow at once may still meet the connection that the first has lost
            outcomes = finish_client(weft.start_client(server.target, *words, "--until-ok", timeout_ms), 2)
    first, last = outcomes[0], outcomes[-1]
    check(first.code in codes, f"{first}; wanted {' or '.join(code.name for code in codes)}")
    check(from_peer is None or first.from_peer == from_peer, f"{first}; from the peer: wanted {from_peer}")
    check(text in first.message, f"{first}; wanted {text!r}")
    check(first.code == Code.OK or first.facts["response"] == "0", f"{first}; and there is a response")
    if name == "illegal_headers":
        for pairs in (first.headers, first.trailers):
            kept = [pair for pair in pairs if pair[0] not in ("date", "server")]
            check(kept == raw_server.LEGAL_PART, f"of illegal metadata came {kept}")
    if name.startswith("details_"):
        read = {"details_of_another_code": "ok", "details_cut_short": "Bad message"}.get(name)
        check(read in (None, first.facts["details_read"]), first.facts["details_read"])
    if name != "silence":
        check(last.code == Code.OK, f"a later call: {last}")
    return first


def raw(weft, _):
    failed = 0
    check(set(EXPECTED) == set(raw_server.SCENARIOS), f"{set(EXPECTED) ^ set(raw_server.SCENARIOS)}")
    for name in EXPECTED:
        try:
            print(f"ok: {name}: {judge_scenario(weft, name)}", flush=True)
        except Wrong as error:
            failed += 1
            print(f"FAILED: {name}: {error}", flush=True)
    print(f"{len(EXPECTED) - failed} passed, {failed} failed")
    check(failed == 0, "Weft's client misjudged a server")


CASES = {
    "grpcio-client": grpcio_client,
    "grpcjs-client": grpcjs_client,
    "grpcgo-client": grpcgo_client,
    "grpcurl": grpcurl,
    "buf": buf,
    "buf-generate": buf_generate,
    "buf-lint": buf_lint,
    "grpcio-builtin": grpcio_builtin,
    "grpcurl-reflect": grpcurl_reflect,
    "buf-reflect": buf_reflect,
    "health-probe": health_probe,
    "grpcio-server": grpcio_server,
    "grpcio-tls": grpcio_tls,
    "raw-server": raw,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--bin", type=Path, required=True, help="where the programs are, as build/release/bin")
    parser.add_argument("--work", type=Path, required=True, help="where packages are installed; kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weft-interop-") as scratch:
        try:
            CASES[arguments.case](Weft(arguments.bin.resolve(), Path(scratch)), arguments.work.resolve())
        except toolchains.Unavailable as error:
            print(f"SKIPPED: {arguments.case}: {error}")
            return SKIPPED
        except Wrong as error:
            print(f"FAILED: {arguments.case}: {error}")
            return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
