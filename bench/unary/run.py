#!/usr/bin/env python3
"""Compares servers of one unary call, GetUser, by what a call costs them. README.md says how to read the result.

To add a server, add a line to SERVERS. Its program takes --port 0, prints "listening on 127.0.0.1:PORT" when it
serves, and exits 0 on SIGTERM.
"""

import random
import re
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "common"))
import harness
from harness import (
    BenchError,
    begin_report,
    choose_cpus,
    choose_servers,
    describe_tools,
    main,
    make_parser,
    need_tools,
    output_of,
    ratio,
    running,
    summarize,
    warn_if_busy,
    write_report,
)

# Name, and the command in the build's bin folder.
SERVERS = {
    "core-one-batch": "bench-unary-core --ops one-batch",
    "core-recv2": "bench-unary-core --ops recv2",
    "core-early-close": "bench-unary-core --ops early-close",
    "core-early-close-recv2": "bench-unary-core --ops early-close-recv2",
    "cpp-async": "bench-unary-cpp --api async",
    "cpp-callback": "bench-unary-cpp --api callback",
    "cpp-sync": "bench-unary-cpp --api sync",
    "weft-inline": "bench-unary-weft --mode inline",
    "weft-worker": "bench-unary-weft --mode worker",
}

# Servers that are held against another than the baseline: the one that does the same operations, the API to beat.
RIVALS = {
    "weft-inline": ("core-recv2", "cpp-async", "cpp-callback"),
    "weft-worker": ("core-early-close-recv2", "cpp-sync"),
}

METHOD_PATH = "/user.UserService/GetUser"
USER_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
USER_NAME = "Ada Lovelace"
USER_EMAIL = "ada@example.org"

LOAD_TIMEOUT_SECONDS = 300


class Load(NamedTuple):
    connections: int
    streams: int
    calls: int
    warm_up_calls: int

    def __str__(self):
        return f"{self.connections} x {self.streams}"


FULL_LOADS = (Load(10, 10, 200_000, 20_000), Load(1, 1, 30_000, 3_000))
QUICK_LOADS = (Load(10, 10, 10_000, 1_000), Load(1, 1, 1_000, 100))


# ---- the call on the wire ----


def string_field(number, text):
    """A length-delimited protobuf field; number < 16 and length < 128, so that each takes one byte."""
    data = text if isinstance(text, bytes) else text.encode()
    return bytes((number << 3 | 2, len(data))) + data


def grpc_frame(message):
    return struct.pack(">BI", 0, len(message)) + message


REQUEST = grpc_frame(string_field(1, USER_ID))
RESPONSE = grpc_frame(
    string_field(1, string_field(1, USER_ID) + string_field(2, USER_NAME) + string_field(3, USER_EMAIL))
)
HEADERS = ("content-type: application/grpc", "te: trailers")


def url_of(server):
    return f"http://127.0.0.1:{server.port}{METHOD_PATH}"


def check_answer(server, scratch):
    """One call: HTTP 200, grpc-status 0 in the trailers, and the user asked for, to the byte."""
    body, headers = scratch / "body", scratch / "headers"
    command = ["curl", "--silent", "--show-error", "--http2-prior-knowledge", "--max-time", "10"]
    command += ["--data-binary", f"@{scratch / 'request'}", "--output", str(body), "--dump-header", str(headers)]
    for header in HEADERS:
        command += ["--header", header]
    done = subprocess.run([*command, url_of(server)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise BenchError(f"curl: {done.stderr.strip()}")
    fields = headers.read_text().lower().splitlines()
    if not fields[0].startswith("http/2 200") or "grpc-status: 0" not in fields:
        raise BenchError(f"the answer is not a gRPC OK: {fields}")
    if body.read_bytes() != RESPONSE:
        raise BenchError(f"the answer is not the user: {body.read_bytes()!r}")


# ---- the driver ----


def h2load_command(url, load, calls, scratch):
    command = ["h2load", "--threads=1", f"--clients={load.connections}", f"--max-concurrent-streams={load.streams}"]
    command += [f"--requests={calls}", f"--data={scratch / 'request'}"]
    return command + [f"--header={header}" for header in HEADERS] + [url]


def drive(command, cpu):
    done = subprocess.run(
        ["taskset", "--cpu-list", str(cpu), *command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LOAD_TIMEOUT_SECONDS,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"h2load ended with {done.returncode}: {done.stdout.strip()}")
    return done.stdout


def parse_summary(text, calls):
    """Calls a second, after making sure that each call was answered with a message of the right size."""
    succeeded = re.search(r"(\d+) succeeded", text)
    data = re.search(r"\((\d+)\) data$", text, re.MULTILINE)
    rate = re.search(r"([\d.]+) req/s", text)
    if not (succeeded and data and rate):
        raise BenchError(f"h2load said what was not expected: {text.strip()}")
    if int(succeeded[1]) != calls or int(data[1]) != calls * len(RESPONSE):
        raise BenchError(f"of {calls} calls {succeeded[1]} succeeded, with {data[1]} bytes of messages")
    return float(rate[1])


def percentile(ordered, percent):
    """By nearest rank: an observed value."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def read_latencies(log):
    with log.open() as lines:
        return sorted(int(line.split("\t")[2]) for line in lines)


def children_cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(command, load, cpus, scratch):
    """One round: a fresh process, checked, warmed up, measured, stopped."""
    server_cpu, driver_cpu = cpus
    log = scratch / "latencies"
    with running(command, server_cpu) as server:
        check_answer(server, scratch)
        drive(h2load_command(url_of(server), load, load.warm_up_calls, scratch), driver_cpu)
        log.unlink(missing_ok=True)
        timed = h2load_command(url_of(server), load, load.calls, scratch) + [f"--log-file={log}"]
        driver_before, server_before, start = children_cpu_seconds(), server.cpu_seconds(), time.monotonic()
        summary = drive(timed, driver_cpu)
        elapsed = time.monotonic() - start
        server_seconds = server.cpu_seconds() - server_before
        driver_seconds = children_cpu_seconds() - driver_before
        peak_memory_kib = server.peak_memory_kib()
    calls_per_second = parse_summary(summary, load.calls)
    latencies = read_latencies(log)
    return {
        "cpu_us_per_call": server_seconds / load.calls * 1e6,
        "calls_per_second": calls_per_second,
        "p50_us": percentile(latencies, 50),
        "p99_us": percentile(latencies, 99),
        "peak_memory_mib": peak_memory_kib / 1024,
        "server_busy": server_seconds / elapsed,
        "driver_busy": driver_seconds / elapsed,
    }


# ---- rounds and their summary ----


def run_rounds(servers, load, rounds, cpus, scratch):
    """{server: [round, …]}. In each round every server has one turn, in an order of its own."""
    results = {name: [] for name in servers}
    for number in range(1, rounds + 1):
        for name in random.sample(list(servers), len(servers)):
            try:
                results[name].append(measure(servers[name], load, cpus, scratch))
            except BenchError as error:
                raise BenchError(f"{name}, {load}, round {number}: {error}") from None
        print(f"{load}: round {number} of {rounds}", file=sys.stderr, flush=True)
    return results


def compare(results, baseline):
    """[(name, other, quartiles of the ratio)]: each with the baseline, then with its rivals."""
    chosen = [(name, baseline) for name in results if name != baseline and baseline in results]
    for name in results:
        chosen += [(name, rival) for rival in RIVALS.get(name, ()) if rival in results and rival != baseline]
    return [(name, other, ratio(results, name, other, "cpu_us_per_call")) for name, other in chosen]


def print_results(load, rounds, summaries, ratios):
    print(f"\n{load.connections} connections x {load.streams} streams, {rounds} rounds of {load.calls:,} calls")
    width = max(map(len, summaries))
    print(
        f"{'server':{width}}  {'CPU us/call [q1 .. q3]':>24}  {'calls/s':>9}  {'p50 us':>7}  {'p99 us':>7}"
        f"  {'peak MiB':>8}  {'CPU busy: server, driver':>24}"
    )
    for name, summary in summaries.items():
        q1, cpu, q3 = summary["cpu_us_per_call"]
        medians = {figure: values[1] for figure, values in summary.items()}
        print(
            f"{name:{width}}  {f'{cpu:6.2f} [{q1:6.2f} .. {q3:6.2f}]':>24}  {medians['calls_per_second']:9,.0f}"
            f"  {medians['p50_us']:7,.0f}  {medians['p99_us']:7,.0f}  {medians['peak_memory_mib']:8.1f}"
            f"  {medians['server_busy']:17.0%}, {medians['driver_busy']:4.0%}"
        )
    if ratios:
        print("CPU a call, as a ratio [q1 .. q3]:")
        for name, other, (q1, median, q3) in ratios:
            print(f"  {name:{width}}  {median:5.3f} [{q1:5.3f} .. {q3:5.3f}] of {other}")


# ---- the program ----


def parse_arguments():
    parser = make_parser(__doc__, "unary", SERVERS)
    parser.add_argument("--baseline", default="core-one-batch", help="what ratios are to (default: %(default)s)")
    arguments = harness.parse_arguments(parser)
    if arguments.baseline not in SERVERS:
        parser.error(f"no such server: {arguments.baseline}")
    return arguments


def run():
    arguments = parse_arguments()
    need_tools(("h2load", "curl", "taskset"), "nghttp2-client curl util-linux")
    cpus = choose_cpus(arguments)
    servers = choose_servers(SERVERS, arguments)
    tools = describe_tools(h2load=output_of("h2load", "--version"))
    report = begin_report("unary", cpus, SERVERS, servers, tools) | {"loads": []}
    warn_if_busy()
    with tempfile.TemporaryDirectory(prefix="bench-unary-") as folder:
        scratch = Path(folder)
        (scratch / "request").write_bytes(REQUEST)
        for load in QUICK_LOADS if arguments.quick else FULL_LOADS:
            results = run_rounds(servers, load, arguments.rounds, cpus, scratch)
            summaries = {name: summarize(rounds) for name, rounds in results.items()}
            ratios = compare(results, arguments.baseline)
            print_results(load, arguments.rounds, summaries, ratios)
            report["loads"].append({
                **load._asdict(),
                "quartiles": summaries,
                "cpu_ratios": [dict(zip(("server", "to", "quartiles"), entry)) for entry in ratios],
                "rounds": results,
            })  # fmt: skip
    write_report(report, arguments)


if __name__ == "__main__":
    main(run)
