"""Starts a service on a free port of the loopback interface, watches it, and stops it by its own pid."""
import contextlib
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

START_SECONDS = 20
STOP_SECONDS = 20

# As /proc/net/tcp writes a listening socket's state; 127.0.0.1, which in tcp6 ends an IPv4-mapped address; any address.
_LISTEN, _LOOPBACK, _ANY = "0A", "0100007F", "00000000"


class ServiceError(Exception):
    """The service did not start, or it did not live or stop as it should."""


def _listening_port(pid, anywhere):
    """The TCP port of 127.0.0.1, or also of any address, that process `pid` listens on; None if there is none yet."""
    ends = (_LOOPBACK, _ANY) if anywhere else _LOOPBACK
    inodes = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                inodes.add(os.readlink(entry.path))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, port, inode = *fields[1].split(":"), fields[9]
            if fields[3] == _LISTEN and address.endswith(ends) and f"socket:[{inode}]" in inodes:
                return int(port, 16)
    return None


class Service:
    """A server process. Its command has it listen on port 0 of 127.0.0.1; what it says goes to a file.

    `descriptors` limits how many files it may have open. `anywhere`: it may also listen on all addresses.
    """

    def __init__(self, command, log, descriptors=None, environment=None, anywhere=False):
        self.log = Path(log)
        self._anywhere = anywhere

        def limit():
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                preexec_fn=limit, env={**os.environ, **(environment or {})})  # fmt: skip
        self.pid = self._process.pid
        try:
            self.address = ("127.0.0.1", self._wait_for_port())
        except BaseException:
            self.kill()
            raise

    def _wait_for_port(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            self.check()
            port = _listening_port(self.pid, self._anywhere)
            if port:
                return port
            if time.monotonic() > deadline:
                raise ServiceError(f"it does not listen after {START_SECONDS} s; {self._log_end()}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self._process.returncode is not None:
            return
        if kind is None:
            self.stop()
        else:
            self.kill()

    @property
    def target(self):
        return f"{self.address[0]}:{self.address[1]}"

    def check(self):
        """Raises ServiceError when the process has ended."""
        code = self._process.poll()
        if code is not None:
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
            raise ServiceError(f"the server {how}; {self._log_end()}")

    def stop(self):
        """Asks it to end, and wants exit code 0."""
        self.check()
        self._process.terminate()
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise ServiceError(f"it still runs {STOP_SECONDS} s after SIGTERM; {self._log_end()}") from error
        if code != 0:
            raise ServiceError(f"it ended with {code} on SIGTERM; {self._log_end()}")

    def kill(self):
        """Ends it at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def _status(self, name):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise ServiceError(f"no {name} in /proc")

    @property
    def peak_kib(self):
        return self._status("VmHWM")

    @property
    def memory_kib(self):
        return self._status("VmRSS")

    @property
    def threads(self):
        return self._status("Threads")

    @property
    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def _log_end(self):
        text = self.log.read_text(errors="replace").strip()
        return f"its last words:\n{text[-2000:]}" if text else "it said nothing"
