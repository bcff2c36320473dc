"""A well-behaved client that lives beside an attack: bystander.py HOST PORT SECONDS PATH REQUEST [lasting]

It makes one small call after the other on a lasting connection, and every fifth on a new one (not if "lasting" is
said); each must be answered within so many seconds. The request is in hexadecimal. Commands come on standard input:
"more N" is answered, by a line of JSON on what it has seen so far, when N more calls have been made; the end of the
input ends it.
"""
import json
import select
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import http2

PAUSE_SECONDS = 0.002


class Bystander:
    def __init__(self, address, seconds, path, request, lasting_only):
        self.address, self.seconds, self.lasting_only = address, seconds, lasting_only
        self.path, self.request = path, request
        self.calls = 0
        self.served = 0
        self.failures = []
        self.worst_seconds = 0.0
        self._connection = None

    def call(self):
        self.calls += 1
        fresh = self.calls % 5 == 0 and not self.lasting_only
        began = time.monotonic()
        try:
            answer = self._call_fresh() if fresh else self._call_lasting()
        except (http2.Closed, http2.Silent) as error:
            self._fail(fresh, error)
            return
        self.worst_seconds = max(self.worst_seconds, time.monotonic() - began)
        if answer.code == http2.Code.OK:
            self.served += 1
        else:
            self._fail(fresh, answer)

    def _call_fresh(self):
        return http2.call(self.address, self.path, self.request, seconds=self.seconds)

    def _call_lasting(self):
        if self._connection is None:
            self._connection = http2.Connection(self.address)
        try:
            return self._connection.call(self.path, self.request, seconds=self.seconds)
        except (http2.Closed, http2.Silent):
            self._connection.close()
            self._connection = None
            raise

    def _fail(self, fresh, why):
        self.failures.append(f"{'a new connection' if fresh else 'the lasting connection'}: {why}")

    def report(self):
        return json.dumps({"calls": self.calls, "served": self.served, "failed": len(self.failures),
                           "failures": self.failures[:5], "worst_seconds": self.worst_seconds})  # fmt: skip


def main():
    host, port, seconds, path, request, *rest = sys.argv[1:]
    bystander = Bystander((host, int(port)), float(seconds), path, bytes.fromhex(request), "lasting" in rest)
    due = None
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], PAUSE_SECONDS)
        if ready:
            line = sys.stdin.readline()
            if not line:
                return
            due = bystander.calls + int(line.split()[1])
        bystander.call()
        if due is not None and bystander.calls >= due:
            print(bystander.report(), flush=True)
            due = None


if __name__ == "__main__":
    main()
