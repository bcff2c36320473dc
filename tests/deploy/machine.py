"""A systemd of the test's own: process 1 of namespaces of its own, over this machine's files, which it leaves alone."""
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import toolchains
from ways import check

HERE = Path(__file__).resolve().parent
NAMESPACES = ("--pid", "--mount", "--cgroup", "--net", "--uts", "--ipc")
BOOT_SECONDS = 30
COMMAND_SECONDS = 60
STUBS = ("sysinit.target", "basic.target", "multi-user.target", "network-online.target", "shutdown.target",
         "sockets.target")  # fmt: skip


def _cgroup():
    """The folder of this process in the unified hierarchy of control groups."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            for membership in Path("/proc/self/cgroup").read_text().splitlines():
                if membership.startswith("0::/"):
                    return Path(place) / membership[len("0::/") :]
    raise toolchains.Unavailable("there is no cgroup2 file system")


class Machine:
    """`layer` holds what lies over this machine's files; its etc/weft-units gets the units. Ends with the block."""

    def __init__(self, layer):
        if os.geteuid() != 0:
            raise toolchains.Unavailable("a systemd of its own needs root")
        if not Path("/lib/systemd/systemd").exists():
            raise toolchains.Unavailable("systemd is not installed (Debian: systemd)")
        self._unshare = [toolchains.tool("setpriv", "util-linux"), "--pdeathsig=KILL",  # nothing outlives the test
                         toolchains.tool("unshare", "util-linux"), "--fork", "--kill-child", *NAMESPACES]  # fmt: skip
        self._nsenter = toolchains.tool("nsenter", "util-linux")
        self.layer = layer
        self.outside = Path(tempfile.mkdtemp(prefix="weft-machine-"))
        self.outside.chmod(0o755)  # a unit's user goes through it
        self._process = self._group = self._init = None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self):
        units = self.layer / "etc" / "weft-units"
        for name in STUBS:
            (units / name).write_text(f"[Unit]\nDescription={name}\nDefaultDependencies=no\n")
        for folder in [self.layer, *filter(Path.is_dir, self.layer.rglob("*"))]:
            folder.chmod(0o755)
        group = _cgroup() / f"weft-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError as error:
            raise toolchains.Unavailable(f"cannot make a control group: {error}") from error
        self._group = group
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(str(self.outside / "notify"))
            told.settimeout(0.1)
            with (self.outside / "console").open("wb") as console:
                self._process = subprocess.Popen(
                    [*self._unshare, HERE / "machine.sh", self.layer, self.outside],
                    stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                    preexec_fn=lambda: (group / "cgroup.procs").write_text("0"))  # fmt: skip
            deadline = time.monotonic() + BOOT_SECONDS
            words = b""
            while b"READY=1" not in words:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise toolchains.Unavailable(f"systemd does not start in namespaces here: {self._last_words()}")
                try:
                    words = told.recv(4096)
                except TimeoutError:
                    continue
        self._init = int(Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text())

    def _last_words(self):
        lines = (self.outside / "console").read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it said nothing"

    def __exit__(self, *_):
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)  # unshare takes all with it
            self._process.wait()
        if self._group is not None:
            self._remove_group()
        shutil.rmtree(self.outside)

    def _remove_group(self):
        with (self._group / "cgroup.events").open() as events:
            poll = select.poll()
            poll.register(events, select.POLLPRI)
            for _ in range(100):
                events.seek(0)
                if "populated 0" in events.read():
                    break
                poll.poll(100)
        for folder in sorted([self._group, *filter(Path.is_dir, self._group.rglob("*"))], reverse=True):
            folder.rmdir()

    def run(self, *command, namespaces="--all"):
        """Runs a command in there, as root. Returns (exit code, what it said)."""
        done = subprocess.run([self._nsenter, "--target", str(self._init), namespaces, *map(str, command)], check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=COMMAND_SECONDS)  # fmt: skip
        return done.returncode, done.stdout.strip()

    def must(self, *command, namespaces="--all"):
        """The same; it must end with 0. Returns what it said."""
        code, said = self.run(*command, namespaces=namespaces)
        check(code == 0, f"{' '.join(map(str, command))}: {code}: {said}\n{self._log()}")
        return said

    def reach(self, *command):
        """Runs a command of this machine on the network of that one; it must end with 0. Returns what it said."""
        return self.must(*command, namespaces="--net")

    def _log(self):
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(self.outside.glob("*.log")))

    def properties(self, unit, *names):
        """Values of a unit's properties."""
        lines = self.must("systemctl", "show", unit, *(f"--property={name}" for name in names)).splitlines()
        values = dict(line.split("=", 1) for line in lines)
        return [values[name] for name in names]

    def wait(self, condition, seconds=COMMAND_SECONDS):
        """Asks until it is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            check(time.monotonic() < deadline, f"not within {seconds} s\n{self._log()}")
