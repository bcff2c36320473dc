"""What the comparisons of bench/ share: servers as processes of their own, rounds and their summary, where and when."""

import argparse
import contextlib
import datetime
import json
import math
import os
import platform
import re
import select
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

START_TIMEOUT_SECONDS = 10
STOP_TIMEOUT_SECONDS = 10
QUICK_ROUNDS = 2
CPUCLOCK_SCHED = 2  # of the clock ids that the kernel makes of a process id; see clock_getcpuclockid(3)


class BenchError(Exception):
    """A run that must not be counted; the message says why."""


# ---- a server ----


class Server:
    """A running server, pinned to one CPU."""

    def __init__(self, command, cpu):
        self.process = subprocess.Popen(
            ["taskset", "--cpu-list", str(cpu), *command], stdout=subprocess.PIPE, text=True
        )
        try:
            ready, _, _ = select.select([self.process.stdout], [], [], START_TIMEOUT_SECONDS)
            line = self.process.stdout.readline() if ready else ""
            match = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
            if not match:
                raise BenchError(f"{shlex.join(command)} did not announce its port, it said {line!r}")
        except BaseException:
            self.kill()
            raise
        self.port = int(match[1])

    def cpu_seconds(self):
        """User and system time of all its threads, also of those that have ended."""
        return time.clock_gettime(~self.process.pid << 3 | CPUCLOCK_SCHED)

    def peak_memory_kib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[1])

    def stop(self):
        """SIGTERM; a server that does not end cleanly is not worth measuring."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise BenchError(f"did not end within {STOP_TIMEOUT_SECONDS} s of SIGTERM") from None
        if code != 0:
            raise BenchError(f"ended with {code} on SIGTERM")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def running(command, cpu):
    server = Server(command, cpu)
    try:
        yield server
        server.stop()
    finally:
        server.kill()


# ---- rounds and their summary ----


def quartiles(values):
    """First quartile, median, third quartile."""
    if len(values) == 1:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def summarize(rounds):
    return {figure: quartiles([r[figure] for r in rounds]) for figure in rounds[0]}


def ratio(results, name, other, figure):
    """Round by round: what slows the machine for a while slows both. A round too short for the clock is left out."""
    ratios = [
        mine[figure] / theirs[figure] for mine, theirs in zip(results[name], results[other]) if theirs[figure] > 0
    ]
    return quartiles(ratios or [math.nan])


# ---- where and when ----


def output_of(*command):
    try:
        return subprocess.run(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def describe_machine(cpus):
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    siblings = Path(f"/sys/devices/system/cpu/cpu{cpus[0]}/topology/thread_siblings_list")
    return {
        "cpu": model[1] if model else platform.machine(),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "load_average": os.getloadavg(),
        "server_cpu": cpus[0],
        "driver_cpu": cpus[1],
        "server_cpu_shares_a_core_with": siblings.read_text().strip() if siblings.exists() else "unknown",
    }


def describe_commit():
    commit = output_of("git", "rev-parse", "HEAD")
    changed = output_of("git", "status", "--porcelain", "--untracked-files=no")
    return commit + ("-dirty" if changed not in ("", "unknown") else "")


def package_version(package):
    return output_of("dpkg-query", "--show", "--showformat=${Version}", package)


def describe_tools(**others):
    return {
        **others,
        "grpc": package_version("libgrpc-dev"),
        "protobuf-c": package_version("libprotobuf-c-dev"),
        "compiler": output_of("cc", "--version").partition("\n")[0],
    }


def warn_if_busy():
    busy = os.getloadavg()[0]
    if busy > 0.5:
        print(f"warning: the load average is {busy:.1f}; others are using this machine", file=sys.stderr)


# ---- the program ----


def make_parser(description, name, servers):
    """The options that every comparison has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", metavar="A,B,…", help=f"default: all of {', '.join(servers)}")
    parser.add_argument("--rounds", type=int, help=f"default: 9, quick: {QUICK_ROUNDS}")
    parser.add_argument("--quick", action="store_true", help="small rounds: shows that it works, measures little")
    parser.add_argument("--preset", default="bench", help="build/PRESET/bin holds the servers (default: %(default)s)")
    parser.add_argument("--server-cpu", type=int, metavar="N", help="default: the first CPU allowed")
    parser.add_argument("--driver-cpu", type=int, metavar="N", help="default: the second CPU allowed")
    parser.add_argument("--output", type=Path, help=f"default: build/PRESET/bench-{name}.json")
    return parser


def parse_arguments(parser):
    arguments = parser.parse_args()
    if arguments.rounds is None:
        arguments.rounds = QUICK_ROUNDS if arguments.quick else 9
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return arguments


def build_folder(arguments):
    return REPOSITORY / "build" / arguments.preset


def choose_named(wanted, names, kind):
    """Those of `names` that a comma-separated list asks for; all without one."""
    chosen = wanted.split(",") if wanted else list(names)
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise BenchError(f"no such {kind}: {', '.join(unknown)}; there are {', '.join(names)}")
    return chosen


def choose_servers(table, arguments):
    """{name: command} of those that are built. The others are named, not passed over in silence."""
    bin_folder = build_folder(arguments) / "bin"
    servers = {}
    for name in choose_named(arguments.servers, table, "server"):
        program, *options = shlex.split(table[name])
        if (bin_folder / program).exists():
            servers[name] = [str(bin_folder / program), *options]
        else:
            print(f"skipping {name}: {bin_folder / program} is not built", file=sys.stderr)
    if not servers:
        raise BenchError("nothing to measure: cmake --preset bench && cmake --build --preset bench")
    return servers


def choose_cpus(arguments):
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchError("two CPUs are needed, one for the server and one for the driver")
    server = allowed[0] if arguments.server_cpu is None else arguments.server_cpu
    driver = arguments.driver_cpu
    if driver is None:
        driver = next(cpu for cpu in allowed if cpu != server)
    if server == driver:
        raise BenchError("the server and the driver need a CPU each")
    return server, driver


def need_tools(tools, packages):
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        raise BenchError(f"missing: {', '.join(missing)}; apt-get install {packages}")


def begin_report(name, cpus, table, servers, tools):
    return {
        "benchmark": name,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": describe_commit(),
        "command": shlex.join([f"bench/{name}/run.py", *sys.argv[1:]]),
        "machine": describe_machine(cpus),
        "tools": tools,
        "servers": {server: table[server] for server in servers},
    }


def write_report(report, arguments):
    output = arguments.output or build_folder(arguments) / f"bench-{report['benchmark']}.json"
    output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nwritten: {output}")


def main(run):
    try:
        run()
    except (BenchError, subprocess.TimeoutExpired) as error:
        sys.exit(f"run.py: {error}")
