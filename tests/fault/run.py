#!/usr/bin/env python3
"""Attacks servers as hostile peers would, and checks that they go on serving others.

    run.py --bin build/release/bin [--full] [--only NAME …] [--list] [--instrumented] [--one-server]

Each attack meets a fresh server, and beside it a client that makes one small call after the other. Wanted: the server
lives, every one of those calls succeeds, during the attack and after it, and the memory of the server stays below the
bound of the attack. At the end comes a table. With --one-server all attacks go to the same servers, one after the
other, which says what a server reaches over a long bad day.
"""
import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import http2
from attacks import ATTACKS, Failed, Size
from service import Service, ServiceError

SKIPPED = 77
ATTACK_SECONDS = 120
CALL_SECONDS = 20  # within which a call must be answered while it lasts
AFTERWARDS_SECONDS = 10  # within which a call must be answered when the attack is over, …
INSTRUMENTED_SECONDS = 60  # … and when the build is slow and large on purpose
WARM_UP_CALLS = 20
CALLS_AFTERWARDS = 20


class Bystander:
    """The other client: a process of its own (bystander.py)."""

    def __init__(self, target, new_connections, instrumented):
        patience = INSTRUMENTED_SECONDS if instrumented else CALL_SECONDS
        command = [sys.executable, HERE / "bystander.py", *target.address, patience, target.path, target.request.hex()]
        if not new_connections:
            command.append("lasting")
        self._process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
        self.more(1)  # it is connected

    def more(self, calls):
        """Waits until it has made `calls` more. Returns what it has seen so far."""
        self._process.stdin.write(f"more {calls}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Failed("the bystander died")
        return json.loads(line)

    def stop(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


class Target:
    """A running server, and a request that it answers with OK."""

    def __init__(self, service, path, request, ask_for=None):
        self.service, self.path, self.request, self.ask_for = service, path, request, ask_for
        self.address = service.address
        self.bystander = None

    def headers(self, *extra, without=()):
        return http2.request_headers(self.path, *extra, without=without)

    def let_others_call(self, calls):
        self.bystander.more(calls)


def field(number, value):
    """A length-delimited field of a protobuf message; `value` of less than 128 bytes."""
    return bytes([number << 3 | 2, len(value)]) + value


def user_target(programs, scratch, attack):
    command = [programs / "user-service", "--listen", "127.0.0.1:0", "--set", f"database.path={scratch / 'users.db'}"]
    service = Service([*command, *attack.options], scratch / "user-service.log", attack.descriptors)
    created = http2.call(service.address, "/user.UserService/CreateUser",
                         field(1, b"Ada") + field(2, b"ada@example.org"))  # fmt: skip
    if created.code != http2.Code.OK:
        raise ServiceError(f"CreateUser: {created}")
    user_id = created.messages[0][2:38]
    return Target(service, "/user.UserService/GetUser", field(1, user_id))


def probe_target(programs, scratch, attack):
    service = Service([programs.parent / "tests" / "probe-server", "--listen", "127.0.0.1:0", *attack.options],
                      scratch / "probe-server.log", attack.descriptors)  # fmt: skip

    def ask_for(size):
        out = bytearray(b"\x18")  # EchoRequest.payload_bytes
        while size >= 128:
            out.append(size & 127 | 128)
            size >>= 7
        return bytes([*out, size])

    return Target(service, "/probe.Probe/Echo", b"", ask_for)


SERVERS = {"user": user_target, "probe": probe_target}


def server_of(attack, programs):
    """Which server meets an attack. probe-server stands in where the services are not built."""
    return attack.server if (programs / "user-service").exists() else "probe"


def check_afterwards(target, seconds):
    """New and lasting connections are served promptly."""
    with http2.Connection(target.address) as connection:
        for _ in range(CALLS_AFTERWARDS):
            answer = connection.call(target.path, target.request, seconds=seconds)
            fresh = http2.call(target.address, target.path, target.request, seconds=seconds)
            if answer.code != http2.Code.OK or fresh.code != http2.Code.OK:
                raise Failed(f"{answer}; on a new connection: {fresh}")


def run_attack(attack, target, size, instrumented, bounded):
    """Returns the row for the table: name, seconds, calls served meanwhile, worst call, peak memory, remark."""
    for _ in range(WARM_UP_CALLS):
        http2.call(target.address, target.path, target.request)
    target.bystander = bystander = Bystander(target, attack.new_connections, instrumented)
    began = time.monotonic()
    problems, seen = [], ""
    try:
        signal.alarm(ATTACK_SECONDS)
        seen = attack.run(target, size)
    except (Failed, http2.Closed, http2.Silent) as error:
        problems.append(str(error))
    finally:
        signal.alarm(0)
    seconds = time.monotonic() - began
    report = {"served": 0, "worst_seconds": 0}
    try:
        target.service.check()
        check_afterwards(target, INSTRUMENTED_SECONDS if instrumented else AFTERWARDS_SECONDS)
        report = bystander.more(1)
        if report["failed"]:
            problems.append(f"{report['failed']} calls of others failed: {'; '.join(report['failures'])}")
    except (Failed, ServiceError, http2.Closed, http2.Silent) as error:
        problems.append(f"afterwards: {error}")
    finally:
        bystander.stop()
    peak_mib = 0.0
    try:
        target.service.check()
        peak_mib = target.service.peak_kib / 1024
        bound_mib = size.full and attack.full_peak_mib or attack.peak_mib
        if bounded and peak_mib > bound_mib:
            problems.append(f"{peak_mib:.0f} MiB of memory, more than {bound_mib}")
    except ServiceError as error:
        problems.append(str(error))
    return {
        "attack": attack.name, "seconds": seconds, "served": report["served"],
        "worst_ms": report["worst_seconds"] * 1000, "peak_mib": peak_mib, "seen": seen, "problems": problems,
    }  # fmt: skip


def out_of_time(*_):
    raise Failed(f"not over after {ATTACK_SECONDS} s")


def print_table(rows):
    print(f"\n{'attack':36}{'seconds':>8}{'served':>8}{'worst ms':>10}{'peak MiB':>10}  seen")
    for row in rows:
        figures = f"{row['seconds']:8.1f}{row['served']:8d}{row['worst_ms']:10.0f}{row['peak_mib']:10.1f}"
        print(f"{row['attack']:36}{figures}  {'FAILED ' if row['problems'] else ''}{row['seen']}")
    print(f"{'highest':36}{'':26}{max(row['peak_mib'] for row in rows):10.1f}")


def run_all(arguments, attacks, scratch):
    rows = []
    shared = {}
    size = Size(arguments.full)
    for attack in attacks:
        folder = scratch / attack.name
        folder.mkdir()
        print(f"-- {attack.name}", flush=True)
        server = server_of(attack, arguments.bin)
        own_server = not arguments.one_server or attack.options or attack.descriptors
        if own_server or server not in shared:
            target = SERVERS[server](arguments.bin, folder, attack)
            if not own_server:
                shared[server] = target
        else:
            target = shared[server]
        bounded = not (arguments.instrumented or arguments.one_server)
        row = run_attack(attack, target, size, arguments.instrumented, bounded)
        if own_server:
            try:
                target.service.stop()
            except ServiceError as error:
                row["problems"].append(str(error))
        for problem in row["problems"]:
            print(f"   FAILED: {problem}", flush=True)
        rows.append(row)
    for target in shared.values():
        target.service.stop()
    return rows


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bin", type=Path, help="where the programs are, as build/release/bin")
    parser.add_argument("--full", action="store_true", help="at full size (minutes)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these attacks")
    parser.add_argument("--instrumented", action="store_true",
                        help="for builds with sanitizers: with patience, and without bounds for memory")  # fmt: skip
    parser.add_argument("--one-server", action="store_true", help="all attacks on the same servers")
    parser.add_argument("--list", action="store_true", help="names the attacks")
    arguments = parser.parse_args()
    names = [attack.name for attack in ATTACKS]
    for name in arguments.only or ():
        if name not in names:
            parser.error(f"no such attack: {name}")
    if not arguments.list and arguments.bin is None:
        parser.error("--bin is required")
    return arguments


def main():
    arguments = parse_arguments()
    attacks = [attack for attack in ATTACKS if not arguments.only or attack.name in arguments.only]
    if arguments.list:
        for attack in attacks:
            print(f"{attack.name:40}{(attack.run.__doc__ or '').strip().partition(chr(10))[0]}")
        return 0
    if not Path("/proc/self/status").exists():
        print("skipped: there is no /proc here to read a server's memory from")
        return SKIPPED
    signal.signal(signal.SIGALRM, out_of_time)
    with tempfile.TemporaryDirectory(prefix="weft-fault-") as scratch:
        rows = run_all(arguments, attacks, Path(scratch))
    print_table(rows)
    failed = sum(bool(row["problems"]) for row in rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
