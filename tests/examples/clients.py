#!/usr/bin/env python3
"""Runs a client of examples/clients against user-service: clients.py CASE --bin build/release/bin --work FOLDER

    c-blocking  c-async  c-epoll    the programs of this build
    python  go  node                by the commands of their READMEs, with the packages of tests/interop

All print the same. Exits 77, saying why, when a toolchain or a package cannot be had.
"""
import argparse
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLIENTS = HERE.parents[1] / "examples" / "clients"
sys.path[:0] = [str(HERE.parent / "support"), str(HERE.parent / "interop")]
import toolchains
from service import Service

SKIPPED = 77
CLIENT_SECONDS = 120
PAGE_SIZE = 2
PEOPLE = [("Ada Lovelace", "ada@example.org"), ("Бабба́ж", "charles@example.org"), ("Grace", "grace@example.org")]
MADE = ("node_modules", "package-lock.json", "bin", "userpb", "*_pb2*.py", "__pycache__")  # by the READMEs' commands


class Wrong(Exception):
    """Something came out otherwise than it must."""


def check(condition, what):
    if not condition:
        raise Wrong(what)


def run(command, wanted=0, **options):
    """Runs a command to its end. Returns the lines that it printed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          timeout=CLIENT_SECONDS, **{"stdin": subprocess.DEVNULL, **options})  # fmt: skip
    check(done.returncode == wanted, f"{shlex.join(words)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout.splitlines()


# ---- what they print


def read_user(line, what, name, email):
    """The id in such a line."""
    match = re.fullmatch(f"{what}: ([0-9a-f-]{{36}}) {re.escape(f'{name} <{email}>')}", line)
    check(match, f"{line!r} does not show {name} as {what}")
    return match[1]


def lines_of_end(users, details):
    """All lines after those of the users that were just created. `users`: all, as (id, name, email)."""
    lines = [f"page {i // PAGE_SIZE + 1}: {id_} {name} <{email}>" for i, (id_, name, email) in enumerate(sorted(users))]
    lines.append("NOT_FOUND: user no-such-user does not exist")
    return [*lines, "  ResourceInfo: user no-such-user"] if details else lines


def judge(lines, users, person, details=True):
    """Wants the lines of one run, which created `person`, and adds it to the users."""
    check(len(lines) > 1, f"only {lines}")
    users.append((read_user(lines[0], "created", *person), *person))
    check(read_user(lines[1], "got", *person) == users[-1][0], f"another one came back: {lines[1]!r}")
    wanted = lines_of_end(users, details)
    check(lines[2:] == wanted, "\n".join(["wanted", *wanted, "got", *lines[2:]]))


def judge_at_once(lines, users, people):
    """The same for a run that created all of `people`, in whichever order."""
    ends = 2 * len(people)
    for name, email in people:
        id_, again = (read_user(line, what, name, email) for what in ("created", "got")
                      for line in lines[:ends] if line.startswith(what) and email in line)  # fmt: skip
        check(id_ == again, f"another {name} came back")
        users.append((id_, name, email))
    wanted = lines_of_end(users, details=True)
    check(lines[ends:] == wanted, "\n".join(["wanted", *wanted, "got", *lines[ends:]]))


# ---- the clients: functions of (target, name, email, wanted exit code) that return the lines printed


def blocking(programs):
    def client(target, name, email, wanted=0):
        command = [programs / "user-client", target]
        lines = run([*command, "create", name, email], wanted)
        if wanted != 0:
            return lines
        lines += run([*command, "get", lines[0].split()[1]])
        lines += run([*command, "list", PAGE_SIZE])
        return lines + run([*command, "get", "no-such-user"], wanted=1)

    return client


def tour(command, **options):
    def client(target, name, email, wanted=0):
        return run([*command, target, name, email], wanted, **options)

    return client


def epoll(programs):
    def client(target, name, email, wanted=0):
        with subprocess.Popen([programs / "user-client-epoll", target], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True) as process:  # fmt: skip
            watchdog = threading.Timer(CLIENT_SECONDS, process.kill)
            watchdog.daemon = True
            watchdog.start()
            process.stdin.write(f"{email} {name}\n")
            process.stdin.flush()
            lines = [process.stdout.readline() for _ in ([1] if wanted else [1, 2])]  # while the input is open
            process.stdin.close()
            lines += process.stdout.readlines()
            watchdog.cancel()
        check(process.returncode == wanted, f"user-client-epoll ended with {process.returncode}: {lines}")
        return [line.rstrip("\n") for line in lines]

    return client


def readme_commands(folder):
    block = re.search(r"^```sh\n(.*?)^```", (folder / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    check(block, f"{folder.name}/README.md has no commands")
    return block[1].replace("\\\n", " ").splitlines()


def by_readme(name, scratch, environment, prepare=lambda folder: None):
    """Does in a copy of the folder what its README says, up to the last command, which is the client."""
    folder = scratch / "examples" / "clients" / name
    shutil.copytree(CLIENTS / name, folder, ignore=shutil.ignore_patterns(*MADE))
    (scratch / "proto").symlink_to(toolchains.PROTO)
    prepare(folder)
    *steps, last = readme_commands(folder)
    for step in steps:
        run(["bash", "-euc", step], cwd=folder, env=environment)
    words = shlex.split(last)
    check(words[-2:] == list(PEOPLE[0]), f"{name}/README.md ends with {last!r}")
    return tour(words[:-3], cwd=folder, env=environment)


def python(work, scratch):
    interpreter, _, programs = toolchains.python(work)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    return by_readme("python", scratch, {**os.environ, "PATH": path, "PIP_NO_INDEX": "1"})


def go(_, scratch):
    program = toolchains.tool("go", "golang-go")
    toolchains.tool("protoc", "protobuf-compiler")
    environment = toolchains.go_environment()

    def download(folder):
        toolchains.run([program, "mod", "download"], cwd=folder, env=environment)

    return by_readme("go", scratch, environment, download)


def node(work, scratch):
    _, installed = toolchains.node(work)

    def copy(folder):
        shutil.copytree(installed / "node_modules", folder / "node_modules", symlinks=True)

    return by_readme("node", scratch, {**os.environ, "npm_config_offline": "true"}, copy)


# ---- the cases


def refuses_and_gives_up(client, users_target):
    """An address that is taken, and a server that says nothing: both end a client, with the code and 1."""
    lines = client(users_target, "Another", PEOPLE[0][1].upper(), wanted=1)
    check(lines[0] == "ALREADY_EXISTS: email belongs to another user", f"{lines}")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        lines = client(f"127.0.0.1:{silent.getsockname()[1]}", "Nobody", "nobody@example.org", wanted=1)
    check(lines[0].startswith("DEADLINE_EXCEEDED: "), f"{lines}")


def run_case(name, programs, work, scratch):
    details = name != "node"
    client = {
        "c-blocking": lambda: blocking(programs),
        "c-async": lambda: tour([programs / "user-client-async"]),
        "c-epoll": lambda: epoll(programs),
        "python": lambda: python(work, scratch),
        "go": lambda: go(work, scratch),
        "node": lambda: node(work, scratch),
    }[name]()
    with Service([programs / "user-service", "--listen", "127.0.0.1:0", "--set", f"database.path={scratch / 'users.db'}"],
                 scratch / "user-service.log") as service:  # fmt: skip
        users = []
        for person in PEOPLE:
            judge(client(service.target, *person), users, person, details)
        if name == "c-async":
            people = [(f"Number {i}", f"{i}@example.org") for i in range(10)]
            words = [word for person in people for word in person]
            judge_at_once(run([programs / "user-client-async", service.target, *words]), users, people)
        refuses_and_gives_up(client, service.target)


CASES = ("c-blocking", "c-async", "c-epoll", "python", "go", "node")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--bin", type=Path, required=True, help="where the programs are, as build/release/bin")
    parser.add_argument("--work", type=Path, required=True, help="where packages are installed; kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weft-clients-") as scratch:
        try:
            run_case(arguments.case, arguments.bin.resolve(), arguments.work.resolve(), Path(scratch))
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
