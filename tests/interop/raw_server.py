"""An HTTP/2 server on plain sockets that answers its first call as a scenario says, however wrong, and every other call
with OK. For judging Weft's client."""
import base64
import contextlib
import socket
import struct
import sys
import threading
import time
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import hpack
import http2
from http2 import END_HEADERS, END_STREAM, HEADERS, Closed, Silent, frame, message

RESPONSE_HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
CALL_SECONDS = 30


class ServerEnd(http2.Peer):
    """The server's end of a connection."""

    def __init__(self, sock):
        super().__init__(sock)
        sock.settimeout(http2.ANSWER_SECONDS)
        preface = b""
        while len(preface) < len(http2.PREFACE):
            received = sock.recv(len(http2.PREFACE) - len(preface))
            if not received:
                raise Closed("no preface")
            preface += received
        self.send(http2.settings())
        self._answered = set()

    def refused(self, stream):
        return stream.reset is not None

    def next_call(self):
        """Waits for a whole request. Returns its stream."""

        def pending():
            return [number for number, stream in self.streams.items() if stream.ended and number not in self._answered]

        self.wait(pending, CALL_SECONDS)
        number = min(pending())
        self._answered.add(number)
        return number

    def headers(self, number, headers, end_stream=False):
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end_stream else 0), number, hpack.encode(headers)))

    def data(self, number, data, end_stream=False):
        self.send(http2.data_frames(number, data, end_stream))

    def trailers(self, number, *trailers):
        self.headers(number, trailers, end_stream=True)

    def answer(self, number, body=b"", status="0", *more):
        self.headers(number, RESPONSE_HEADERS)
        self.data(number, message(body))
        self.trailers(number, ("grpc-status", status), *more)

    def hang_up(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def say_goaway(self, last, error=0, text=b""):
        self.send(frame(http2.GOAWAY, 0, 0, struct.pack(">II", last, error) + text))


# ---- scenarios: what the first call meets

SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def trailers_only(*fields, headers=tuple(RESPONSE_HEADERS)):
    """A scenario: one block of headers that ends the stream."""
    return lambda end, number: end.headers(number, [*headers, *fields], end_stream=True)


def status_of(value, body=b""):
    """A scenario: a message and this grpc-status."""
    return lambda end, number: end.answer(number, body, value)


SCENARIOS.update({
    "trailers_only": trailers_only(("grpc-status", "5"), ("grpc-message", "not here")),
    "ok_trailers_only": trailers_only(("grpc-status", "0")),
    "status_99": status_of("99"),
    "status_minus_1": status_of("-1"),
    "status_no_number": status_of("abc"),
    "status_huge": status_of("99999999999999999999"),
    "status_17": status_of("17"),
    "status_empty": status_of(""),
    "no_status": lambda end, number: (end.headers(number, RESPONSE_HEADERS), end.data(number, message(b""), True)),
    "message_not_utf8": trailers_only(("grpc-status", "13"), ("grpc-message", "bad %FF%C3%28 end")),
    "message_raw_bytes": trailers_only(("grpc-status", "13"), (b"grpc-message", b"bad \xff\xc3\x28 end")),
    "message_bad_percent": trailers_only(("grpc-status", "13"), ("grpc-message", "100 % %zz %4")),
    "message_with_nul": trailers_only(("grpc-status", "13"), ("grpc-message", "a%00b")),
    "message_escaped": trailers_only(("grpc-status", "13"), ("grpc-message", "a%0Ab %E2%82%AC %25")),
    "http_404": trailers_only(headers=((":status", "404"), ("content-type", "text/html"))),
    "http_401": trailers_only(headers=((":status", "401"), ("content-type", "text/html"))),
    "http_403": trailers_only(headers=((":status", "403"), ("content-type", "text/html"))),
    "http_503": trailers_only(headers=((":status", "503"), ("content-type", "text/html"))),
    "http_429": trailers_only(headers=((":status", "429"), ("content-type", "text/html"))),
    "not_grpc": lambda end, number: (end.headers(number, [(":status", "200"), ("content-type", "text/html")]),
                                     end.data(number, b"<html></html>", True)),
    "data_without_headers": lambda end, number: end.data(number, message(b""), True),
    "malformed_message": status_of("0", b"\x0a\xff"),
    "message_with_bad_text": status_of("0", b"\x0a\x02\xc3\x28"),
    "message_with_nul_text": status_of("0", b"\x0a\x03a\x00b"),
    "deep_groups": status_of("0", b"\x7b" * 50_000 + b"\x7c" * 50_000),
    "many_fields": status_of("0", b"\x78\x01" * 1_500_000),
    "unknown_fields": status_of("0", b"\x7a\x03abc\xf8\x07\x01\x0a\x02hi"),
})  # fmt: skip

for _name, _error in {"refused_stream": 7, "cancel": 8, "enhance_your_calm": 11, "internal_error": 2,
                      "inadequate_security": 12, "no_error": 0, "unknown_error": 0xFFFFFFFF}.items():  # fmt: skip
    SCENARIOS[f"reset_{_name}"] = lambda end, number, error=_error: end.send(http2.reset(number, error))


@scenario
def ok_without_message(end, number):
    end.headers(number, RESPONSE_HEADERS)
    end.trailers(number, ("grpc-status", "0"))


@scenario
def two_messages(end, number):
    end.headers(number, RESPONSE_HEADERS)
    end.data(number, message(b"\x0a\x01a") + message(b"\x0a\x01b"))
    end.trailers(number, ("grpc-status", "0"))


@scenario
def two_messages_and_an_error(end, number):
    end.headers(number, RESPONSE_HEADERS)
    end.data(number, message(b"\x0a\x01a") + message(b"\x0a\x01b"))
    end.trailers(number, ("grpc-status", "5"), ("grpc-message", "not here"))


@scenario
def half_a_message(end, number):
    end.headers(number, RESPONSE_HEADERS)
    end.data(number, message(b"\x0a\x01a")[:-2])
    end.trailers(number, ("grpc-status", "0"))


def compressed(end, number, body, encoding="gzip"):
    end.headers(number, [*RESPONSE_HEADERS, *([("grpc-encoding", encoding)] if encoding else [])])
    end.send_data(number, message(body, 1), end_stream=False)
    end.trailers(number, ("grpc-status", "0"))


@scenario
def gzip(end, number):
    compressed(end, number, zlib.compress(b"\x0a\x01a", wbits=31))


@scenario
def gzip_that_is_none(end, number):
    compressed(end, number, b"\x0a\x01a")


@scenario
def gzip_without_a_name(end, number):
    compressed(end, number, zlib.compress(b"\x0a\x01a", wbits=31), encoding=None)


@scenario
def gzip_over_the_limit(end, number):
    compressed(end, number, zlib.compress(bytes(100 << 20), wbits=31))


@scenario
def deflate_without_consent(end, number):
    compressed(end, number, zlib.compress(b"\x0a\x01a"), encoding="deflate")


@scenario
def says_what_it_takes(end, number):
    stream = end.streams[number]
    right = stream.header("grpc-accept-encoding") == b"identity, gzip" and stream.header("grpc-encoding") is None
    end.answer(number, b"\x0a\x01a", "0" if right else "3")


@scenario
def message_over_the_limit(end, number):
    end.headers(number, RESPONSE_HEADERS)
    end.send_data(number, message(bytes(5 << 20)), end_stream=False)
    if not end.refused(end.streams[number]):
        end.trailers(number, ("grpc-status", "0"))


@scenario
def headers_over_the_limit(end, number):
    block = hpack.encode([*RESPONSE_HEADERS, *((f"x-{i}", "v" * 1000) for i in range(100))])
    end.send(frame(HEADERS, 0, number, block[:16000]))
    for at in range(16000, len(block), 16000):
        flags = END_HEADERS if at + 16000 >= len(block) else 0
        end.send(frame(http2.CONTINUATION, flags, number, block[at : at + 16000]))
    end.data(number, message(b""))
    end.trailers(number, ("grpc-status", "0"))


@scenario
def bad_binary_header(end, number):
    end.headers(number, [*RESPONSE_HEADERS, ("x-trace-bin", "!!!")])
    end.data(number, message(b""))
    end.trailers(number, ("grpc-status", "0"))


@scenario
def joined_binary_headers(end, number):
    end.headers(number, [*RESPONSE_HEADERS, ("x-trace-bin", "AAE,AgM")])
    end.data(number, message(b""))
    end.trailers(number, ("grpc-status", "0"))


# Pairs that no metadata may hold, among others; and what of them a program may see.
ILLEGAL_METADATA = [("x-text", b"a\0b"), ("x-text", b"a\nb"), ("x-text", b"a\rb"), ("x-text", "caf\u00e9".encode()),
                    ("x-text", b" padded "), ("x-text", b"a\tb"), ("X-Upper", b"v"), ("x-text", b"v"), (b"x-\xff", b"v"),
                    ("x space", b"v"), ("x-text", b""), ("x-raw-bin", b"AAo")]  # fmt: skip
LEGAL_PART = [("x-text", b"padded"), ("x-text", b"v"), ("x-text", b""), ("x-raw-bin", b"\0\n")]


@scenario
def illegal_headers(end, number):
    end.headers(number, [*RESPONSE_HEADERS, *ILLEGAL_METADATA])
    end.data(number, message(b""))
    end.trailers(number, ("grpc-status", "0"), *ILLEGAL_METADATA)


# A google.rpc.Status with code 16, and one with the beginning of a detail.
for _name, _value in {"of_another_code": b"\x08\x10\x1a\x05\x0a\x03a/b", "cut_short": b"\x08\x05\x1a\x05\x0a\x03a"}.items():
    SCENARIOS[f"details_{_name}"] = trailers_only(
        ("grpc-status", "5"), ("grpc-message", "not here"), ("grpc-status-details-bin", base64.b64encode(_value)))  # fmt: skip
SCENARIOS["details_not_base64"] = trailers_only(("grpc-status", "5"), ("grpc-status-details-bin", "!"))


@scenario
def goaway_and_an_answer(end, number):
    end.say_goaway(number)
    end.answer(number)


@scenario
def goaway_that_takes_nothing(end, _):
    end.say_goaway(0)


@scenario
def goaway_with_an_error(end, _):
    end.say_goaway(0, 11, b"too_many_pings")
    end.close()


@scenario
def death_before_headers(end, _):
    end.hang_up()


@scenario
def orderly_close(end, _):
    end.close()


@scenario
def death_within_a_message(end, number):
    end.headers(number, RESPONSE_HEADERS)
    end.data(number, message(b"abc", length=1000))
    end.hang_up()


@scenario
def death_before_trailers(end, number):
    end.headers(number, RESPONSE_HEADERS)
    end.data(number, message(b"\x0a\x01a"))
    end.hang_up()


@scenario
def garbage(end, _):
    end.send(b"\xff" * 1000)


@scenario
def silence(*_):
    pass


@scenario
def pings_and_settings(end, number):
    end.send((frame(http2.PING, 0, 0, b"12345678") + http2.settings()) * 500)
    end.answer(number)


@scenario
def informational(end, number):
    end.headers(number, [(":status", "103"), ("link", "</a>")])
    end.answer(number)


class RawServer:
    """Listens on a free port of the loopback interface and serves each connection on a thread."""

    def __init__(self, first):
        self._first = [SCENARIOS[first]]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends = []
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._ends.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        deadline = time.monotonic() + CALL_SECONDS
        with contextlib.suppress(Closed, Silent, OSError), ServerEnd(sock) as end:
            while time.monotonic() < deadline and not end.closed:
                number = end.next_call()
                if self._first:
                    self._first.pop()(end, number)
                else:
                    end.answer(number, b"\x0a\x02ok")
