"""A small HTTP/2 peer on a plain socket, for saying what no library would let one say.

`Connection` is the client's end of a connection, `Peer` what both ends share: frames out as the caller wants them,
frames in sorted into streams. It acknowledges settings and pings and gives back flow control credit, unless told not
to.
"""
import base64
import enum
import socket
import struct
import time
import urllib.parse
from dataclasses import dataclass, field

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8

SETTINGS_HEADER_TABLE_SIZE, SETTINGS_MAX_CONCURRENT_STREAMS, SETTINGS_INITIAL_WINDOW_SIZE = 1, 3, 4

NO_ERROR, CANCEL = 0, 8

ANSWER_SECONDS = 10


class Code(enum.IntEnum):
    """The status codes of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Closed(Exception):
    """The other side has closed the connection, or it has said GOAWAY and the stream will not be answered."""


class Silent(Exception):
    """No answer came in time."""


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def reset(stream, error=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", error))


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def message(body, compressed=0, length=None):
    """A gRPC message: its prefix and the body; `length` for a prefix that lies."""
    return struct.pack(">BI", compressed, len(body) if length is None else length) + body


def request_headers(path, *extra, without=()):
    headers = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
               ("te", "trailers"), ("content-type", "application/grpc")]  # fmt: skip
    return [header for header in headers if header[0] not in without] + list(extra)


def headers_frame(stream, headers, end_stream=False):
    return frame(HEADERS, END_HEADERS | (END_STREAM if end_stream else 0), stream, hpack.encode(headers))


def data_frames(stream, data, end_stream=False, piece=16384):
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)] or [b""]
    return b"".join(
        frame(DATA, END_STREAM if end_stream and at == len(pieces) - 1 else 0, stream, part)
        for at, part in enumerate(pieces)
    )


@dataclass
class Stream:
    """What has come in on one stream."""

    blocks: list = field(default_factory=list)  # decoded header blocks: headers, then trailers
    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None
    credit: int = 0  # given by window updates, less what was sent

    @property
    def over(self):
        return self.ended or self.reset is not None

    def header(self, name):
        name = name.encode()
        return next((value for block in self.blocks for key, value in block if key == name), None)

    @property
    def code(self):
        """The gRPC status; None if there is none."""
        value = self.header("grpc-status")
        return None if value is None else Code(int(value))

    @property
    def message(self):
        return urllib.parse.unquote((self.header("grpc-message") or b"").decode())

    @property
    def messages(self):
        """The gRPC messages that came."""
        out, at = [], 0
        while at + 5 <= len(self.data):
            (length,) = struct.unpack_from(">I", self.data, at + 1)
            out.append(bytes(self.data[at + 5 : at + 5 + length]))
            at += 5 + length
        return out

    @property
    def flags(self):
        """The first byte of each gRPC message that came: 1 for a compressed one."""
        out, at = [], 0
        while at + 5 <= len(self.data):
            out.append(self.data[at])
            at += 5 + struct.unpack_from(">I", self.data, at + 1)[0]
        return out

    def __str__(self):
        if self.code is not None:
            return f"{self.code.name}: {self.message}" if self.message else self.code.name
        if self.reset is not None:
            return f"reset with error {self.reset}"
        status = self.header(":status")
        return f"HTTP {status.decode()}" if status else "nothing"


class Peer:
    """One end of a connection."""

    def __init__(self, sock, polite=True):
        self.socket = sock
        self.polite = polite  # gives credit, and acknowledges
        self.streams = {}
        self.goaway = None  # (last stream, error, text)
        self.peer_settings = {}
        self.pongs = 0
        self._credit = 65535
        self._decoder = hpack.Decoder()
        self._inbox = bytearray()
        self._replies = bytearray()
        self._sending = False
        self._open_block = None  # (stream, end_stream, bytes) of headers that CONTINUATION goes on with
        self.closed = False

    def close(self):
        self.closed = True
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        """Sends all of `data`, reading what comes in meanwhile if polite. Raises Closed, Silent."""
        self._sending = True  # replies must not fall into the middle of a frame
        try:
            while data:
                view = memoryview(data)
                while view:
                    self.socket.settimeout(ANSWER_SECONDS)
                    view = view[self.socket.send(view[: 1 << 18]) :]
                    if self.polite:
                        self.take(0)
                data, self._replies = self._replies, bytearray()
        except TimeoutError as error:
            raise Silent("the other side reads nothing") from error
        except OSError as error:
            raise self._lost(error) from error
        finally:
            self._sending = False

    def take(self, timeout):
        """Handles what has come in, waiting `timeout` seconds for something. Returns whether something came."""
        self.socket.settimeout(timeout)
        try:
            received = self.socket.recv(1 << 18)
        except (BlockingIOError, TimeoutError):
            return False
        except OSError as error:
            raise self._lost(error) from error
        if not received:
            raise self._lost("closed by the other side")
        self._inbox += received
        at = 0
        while at + 9 <= len(self._inbox):
            length = int.from_bytes(self._inbox[at : at + 3], "big")
            if at + 9 + length > len(self._inbox):
                break
            kind, flags, stream = struct.unpack_from(">BBI", self._inbox, at + 3)
            self._handle(kind, flags, stream & 0x7FFFFFFF, bytes(self._inbox[at + 9 : at + 9 + length]))
            at += 9 + length
        del self._inbox[:at]
        if not self.polite:
            self._replies.clear()
        elif self._replies and not self._sending:
            replies, self._replies = self._replies, bytearray()
            try:
                self.send(replies)
            except (Closed, Silent):
                pass  # what it still has to say counts more; the next receive tells that it is gone
        return True

    def _lost(self, why):
        self.closed = True
        farewell = "no GOAWAY" if self.goaway is None else f"GOAWAY {self.goaway[1]} {self.goaway[2]}".strip()
        return Closed(f"{why}; {farewell}")

    def wait(self, condition, seconds=ANSWER_SECONDS):
        """Takes in frames until `condition()` holds. Raises Silent, Closed."""
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silent("no answer in time")
            self.take(left)

    def refused(self, stream):
        """Whether the other side wants no more data on a stream."""
        return stream.over

    def send_data(self, number, body, end_stream=True):
        """Sends data as flow control allows. Stops early when the other side has reset the stream, or, a server,
        has answered."""
        stream = self.streams.setdefault(number, Stream())
        sent = 0

        def credit():
            window = self.peer_settings.get(SETTINGS_INITIAL_WINDOW_SIZE, 65535)
            return min(self._credit, window + stream.credit, len(body) - sent)

        while sent < len(body):
            self.wait(lambda: credit() > 0 or self.refused(stream))
            if self.refused(stream):
                return
            size = credit()
            last = sent + size == len(body)
            self.send(data_frames(number, body[sent : sent + size], end_stream and last))
            sent += size
            stream.credit -= size
            self._credit -= size

    def ping(self, seconds=ANSWER_SECONDS):
        """Sends a PING and waits for its answer: all that was sent before has been read by then."""
        want = self.pongs + 1
        self.send(frame(PING, 0, 0, b"12345678"))
        self.wait(lambda: self.pongs >= want, seconds)

    def _handle(self, kind, flags, number, payload):
        stream = self.streams.setdefault(number, Stream()) if number else None
        if kind == DATA and stream:
            stream.data += payload
            stream.ended |= bool(flags & END_STREAM)
            if payload:
                self._replies += window_update(0, len(payload))
                if not stream.ended:
                    self._replies += window_update(number, len(payload))
        elif kind == HEADERS:
            self._open_block = (number, bool(flags & END_STREAM), bytearray())
            self._continue(payload, flags)
        elif kind == CONTINUATION:
            self._continue(payload, flags)
        elif kind == RST_STREAM and stream:
            (stream.reset,) = struct.unpack(">I", payload)
        elif kind == WINDOW_UPDATE:
            (increment,) = struct.unpack(">I", payload)
            if stream:
                stream.credit += increment
            else:
                self._credit += increment
        elif kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                key, value = struct.unpack_from(">HI", payload, at)
                self.peer_settings[key] = value
            self._replies += frame(SETTINGS, ACK, 0)
        elif kind == PING:
            if flags & ACK:
                self.pongs += 1
            else:
                self._replies += frame(PING, ACK, 0, payload)
        elif kind == GOAWAY:
            last, error = struct.unpack_from(">II", payload)
            self.goaway = (last, error, payload[8:].decode(errors="replace"))

    def _continue(self, payload, flags):
        number, end_stream, block = self._open_block
        block += payload
        if flags & END_HEADERS:
            stream = self.streams[number]
            stream.blocks.append(self._decoder.decode(block))
            stream.ended |= end_stream
            self._open_block = None


class Connection(Peer):
    """The client's end."""

    def __init__(self, address, *own_settings, polite=True, preface=True, receive_buffer=None):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.settimeout(ANSWER_SECONDS)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            raise Closed(f"cannot connect: {error}") from error
        super().__init__(sock, polite)
        self._next_stream = 1
        if preface:
            self.send(PREFACE + settings(*own_settings))

    def new_stream(self):
        number = self._next_stream
        self._next_stream += 2
        return number

    def start(self, path, body=b"", *extra, end_stream=True, headers=None):
        """Sends a request of which `body` is all the data, prefix included. Returns the stream's number."""
        number = self.new_stream()
        fields = request_headers(path, *extra) if headers is None else headers
        self.send(headers_frame(number, fields, end_stream and not body))
        if body:
            self.send_data(number, body, end_stream)
        return number

    def answer(self, number, seconds=ANSWER_SECONDS):
        """Waits for the end of a stream. Raises Silent, Closed."""

        def over():
            stream = self.streams.get(number)
            if stream is not None and stream.over:
                return True
            if self.goaway is not None and self.goaway[0] < number:
                raise self._lost("not taken")
            return False

        try:
            self.wait(over, seconds)
        except Closed:
            if not (number in self.streams and self.streams[number].over):
                raise
        return self.streams[number]

    def call(self, path, body, *extra, seconds=ANSWER_SECONDS):
        """A unary call with one well-formed message. Returns the Stream."""
        return self.answer(self.start(path, message(body), *extra), seconds)


def call(address, path, body, *extra, seconds=ANSWER_SECONDS):
    """A unary call on a connection of its own."""
    with Connection(address) as connection:
        return connection.call(path, body, *extra, seconds=seconds)


def encode_binary(value):
    """The value of a -bin header."""
    return base64.b64encode(value).rstrip(b"=").decode()
