#!/usr/bin/env python3
"""One unary call: call.py PORT PATH [MESSAGE], the message in hexadecimal digits. Prints the status code's name and the
answer's digits."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import http2

CHECK = "/grpc.health.v1.Health/Check"


def text(number, value):
    """A string field of a message."""
    value = value.encode()
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


def number(field, value):
    """A small integer field of a message."""
    assert 0 <= value < 128
    return bytes([field << 3, value])


def message(field, body):
    """A message field of a message."""
    return text(field, "")[:1] + bytes([len(body)]) + body


def call(port, path, body=b""):
    """Returns (code's name, answer)."""
    stream = http2.call(("127.0.0.1", port), path, body)
    return stream.code.name, stream.messages[0] if stream.code == http2.Code.OK else b""


def serving(port, service):
    """Whether grpc.health.v1 says so of the service."""
    return call(port, CHECK, text(1, service)) == ("OK", number(1, 1))


if __name__ == "__main__":
    code, answer = call(int(sys.argv[1]), sys.argv[2], bytes.fromhex("".join(sys.argv[3:])))
    print(code, answer.hex())
