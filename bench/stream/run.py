#!/usr/bin/env python3
"""Compares servers of streams by messages a second, CPU a message and latency. README.md says how to read the result.

To add a server, add a line to SERVERS. Its program serves stream.proto, takes --port 0, prints
"listening on 127.0.0.1:PORT" when it serves, and exits 0 on SIGTERM.
"""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "common"))
import harness
from harness import (
    BenchError,
    begin_report,
    build_folder,
    choose_cpus,
    choose_named,
    choose_servers,
    describe_tools,
    main,
    make_parser,
    need_tools,
    package_version,
    ratio,
    running,
    summarize,
    warn_if_busy,
    write_report,
)

# Name, and the command in the build's bin folder.
SERVERS = {
    "weft-inline": "bench-stream-weft --mode inline",
    "weft-worker": "bench-stream-weft --mode worker",
    "cpp-async": "bench-stream-cpp --api async",
    "cpp-callback": "bench-stream-cpp --api callback",
    "cpp-sync": "bench-stream-cpp --api sync",
}
OURS = ("weft-inline", "weft-worker")
RIVALS = ("cpp-async", "cpp-callback", "cpp-sync")

# What is compared, and whether more is better.
COMPARED = {"messages_per_second": True, "cpu_us_per_message": False, "p50_us": False, "p99_us": False}

LOAD_PROGRAM = "bench-stream-load"
LOAD_TIMEOUT_SECONDS = 120

KIB, MIB = 1 << 10, 1 << 20
MESSAGES = {64: 120_000, KIB: 80_000, 64 * KIB: 5_000, MIB: 300}  # by size; a third of a second or so
PING_PONGS = 8_000
QUICK_DIVISOR = 20
STREAMS = 100  # beside one; every count is a multiple of this


class Load(NamedTuple):
    kind: str
    size: int
    streams: int
    messages: int
    warm_up: int

    def __str__(self):
        size = f"{self.size} B" if self.size < KIB else f"{self.size // KIB} KiB"
        return f"{self.kind}, {size}, {self.streams} stream{'s' if self.streams > 1 else ''}"


def make_load(kind, size, streams, messages, quick):
    def whole(count):
        return max(STREAMS, round(count) // STREAMS * STREAMS)

    messages = whole(messages / QUICK_DIVISOR if quick else messages)
    return Load(kind, size, streams, messages, whole(messages / 10))


def make_loads(kinds, quick):
    loads = []
    for kind in kinds:
        if kind == "ping-pong":
            loads.append(make_load(kind, 64, 1, PING_PONGS, quick))
            continue
        for size, messages in MESSAGES.items():
            messages = messages / 2 if kind == "echo" else messages  # it moves each twice
            loads += [make_load(kind, size, streams, messages, quick) for streams in (1, STREAMS)]
    return loads


# ---- a round ----


def drive(program, server, load, cpu):
    command = ["taskset", "--cpu-list", str(cpu), program, "--kind", load.kind, "--port", str(server.port)]
    command += ["--server-pid", str(server.process.pid), "--streams", str(load.streams), "--size", str(load.size)]
    command += ["--messages", str(load.messages), "--warm-up", str(load.warm_up)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LOAD_TIMEOUT_SECONDS
    )
    if done.returncode != 0:
        raise BenchError(f"{LOAD_PROGRAM} ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def measure(command, program, load, cpus):
    """One round: a fresh process, warmed up, measured, stopped. The load program checks every message."""
    server_cpu, driver_cpu = cpus
    with running(command, server_cpu) as server:
        seen = drive(program, server, load, driver_cpu)
        peak_memory_kib = server.peak_memory_kib()
    figures = {
        "messages_per_second": load.messages / seen["seconds"],
        "mb_per_second": load.messages * load.size / seen["seconds"] / 1e6,
        "cpu_us_per_message": seen["server_cpu_seconds"] / load.messages * 1e6,
        "peak_memory_mib": peak_memory_kib / 1024,
        "server_busy": seen["server_cpu_seconds"] / seen["seconds"],
        "driver_busy": seen["driver_cpu_seconds"] / seen["seconds"],
    }
    return figures | {figure: seen[figure] for figure in ("p50_us", "p99_us") if figure in seen}


def run_rounds(servers, program, loads, rounds, cpus):
    """{load: {server: [round, …]}}. In each round every load and server has one turn, in an order of its own; those of
    one load follow each other, so that a ratio is of neighbours in time."""
    results = {load: {name: [] for name in servers} for load in loads}
    for number in range(1, rounds + 1):
        for load in random.sample(loads, len(loads)):
            for name in random.sample(list(servers), len(servers)):
                try:
                    results[load][name].append(measure(servers[name], program, load, cpus))
                except BenchError as error:
                    raise BenchError(f"{name}, {load}, round {number}: {error}") from None
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    return results


# ---- the summary ----


def compare(results, summaries):
    """[(figure, name, other, quartiles of the ratio)]: each of ours with the rival that is best in that figure."""
    rivals = [name for name in RIVALS if name in results]
    chosen = []
    for figure, more_is_better in COMPARED.items():
        if not rivals or figure not in summaries[rivals[0]]:
            continue
        best = (max if more_is_better else min)(rivals, key=lambda name: summaries[name][figure][1])
        chosen += [(figure, name, best, ratio(results, name, best, figure)) for name in OURS if name in results]
    return chosen


def print_load(load, rounds, summaries):
    print(f"\n{load}: {rounds} rounds of {load.messages:,} messages")
    width = max(map(len, summaries))
    latency = "p50_us" in next(iter(summaries.values()))
    print(
        f"{'server':{width}}  {'messages/s [q1 .. q3]':>30}  {'MB/s':>6}  {'CPU us/message [q1 .. q3]':>28}  {'peak MiB':>8}"
        f"  {'CPU busy: server, driver':>24}{'  p50 us  p99 us' if latency else ''}"
    )
    for name, summary in summaries.items():
        medians = {figure: values[1] for figure, values in summary.items()}
        q1, rate, q3 = summary["messages_per_second"]
        cpu_q1, cpu, cpu_q3 = summary["cpu_us_per_message"]
        print(
            f"{name:{width}}  {f'{rate:9,.0f} [{q1:7,.0f} .. {q3:7,.0f}]':>30}  {medians['mb_per_second']:6,.0f}"
            f"  {f'{cpu:7.2f} [{cpu_q1:7.2f} .. {cpu_q3:7.2f}]':>28}  {medians['peak_memory_mib']:8.1f}"
            f"  {medians['server_busy']:17.0%}, {medians['driver_busy']:4.0%}"
            + (f"{medians['p50_us']:8.1f}{medians['p99_us']:8.1f}" if latency else "")
        )


def print_ratios(loads):
    """Of all loads at the end, a line for each, so that a look down a column shows where Weft stands."""
    for figure, more_is_better in COMPARED.items():
        print(f"\n{figure}, as a ratio to the best of gRPC C++; {'above' if more_is_better else 'below'} 1 is better")
        for load, ratios in loads.items():
            columns = [
                f"{name} {median:5.3f} [{q1:5.3f} .. {q3:5.3f}] of {other:12}"
                for of_figure, name, other, (q1, median, q3) in ratios
                if of_figure == figure
            ]
            if columns:
                print(f"  {str(load):32}  {'  '.join(columns)}".rstrip())


# ---- the program ----


def run():
    kinds = ("download", "upload", "echo", "ping-pong")
    parser = make_parser(__doc__, "stream", SERVERS)
    parser.add_argument("--kinds", metavar="A,B,…", help=f"default: all of {', '.join(kinds)}")
    arguments = harness.parse_arguments(parser)
    need_tools(("taskset",), "util-linux")
    cpus = choose_cpus(arguments)
    servers = choose_servers(SERVERS, arguments)
    program = build_folder(arguments) / "bin" / LOAD_PROGRAM
    if not program.exists():
        raise BenchError(f"{program} is not built: cmake --preset bench && cmake --build --preset bench")
    loads = make_loads(choose_named(arguments.kinds, kinds, "kind"), arguments.quick)
    tools = describe_tools(nghttp2=package_version("libnghttp2-dev"))
    report = begin_report("stream", cpus, SERVERS, servers, tools) | {"loads": []}
    warn_if_busy()
    ratios = {}
    for load, results in run_rounds(servers, program, loads, arguments.rounds, cpus).items():
        summaries = {name: summarize(rounds) for name, rounds in results.items()}
        ratios[load] = compare(results, summaries)
        print_load(load, arguments.rounds, summaries)
        report["loads"].append({
            **load._asdict(),
            "quartiles": summaries,
            "ratios": [dict(zip(("figure", "server", "to", "quartiles"), entry)) for entry in ratios[load]],
            "rounds": results,
        })  # fmt: skip
    print_ratios(ratios)
    write_report(report, arguments)


if __name__ == "__main__":
    main(run)
