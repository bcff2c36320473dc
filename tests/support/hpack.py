"""HPACK (RFC 7541): an encoder that only writes literals, and a whole decoder."""

# The static table, entries 1 to 61.
_METHODS = [(b":method", b"GET"), (b":method", b"POST")]
_STATUSES = [(b":status", code) for code in (b"200", b"204", b"206", b"304", b"400", b"404", b"500")]
STATIC_TABLE = [
    (b":authority", b""), *_METHODS, (b":path", b"/"), (b":path", b"/index.html"), (b":scheme", b"http"),
    (b":scheme", b"https"), *_STATUSES, (b"accept-charset", b""), (b"accept-encoding", b"gzip, deflate"),
] + [
    (name, b"") for name in (
        b"accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control "
        b"content-disposition content-encoding content-language content-length content-location content-range "
        b"content-type cookie date etag expect expires from host if-match if-modified-since if-none-match if-range "
        b"if-unmodified-since last-modified link location max-forwards proxy-authenticate proxy-authorization range "
        b"referer refresh retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary "
        b"via www-authenticate").split()
]  # fmt: skip

# The Huffman code is canonical, so the lengths of its 257 codes (letter a: 5 bits, b: 6, …; the last is the end of
# string) say all: codes of one length are consecutive, in the order of their symbols.
_CODE_LENGTHS = (
    "isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhf"
    "ibccccccccccccccccccccccdcdioijbkabababbbaccbbbabcbaabccccckgjix"
    "prpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrs"
    "vvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwv"
    "z")
_END_OF_STRING = 256


def _make_huffman_table():
    lengths = [ord(letter) - ord("a") + 5 for letter in _CODE_LENGTHS]
    table, code, previous = {}, 0, 0
    for symbol in sorted(range(len(lengths)), key=lambda symbol: (lengths[symbol], symbol)):
        code <<= lengths[symbol] - previous
        previous = lengths[symbol]
        table[previous, code] = symbol
        code += 1
    return table


_HUFFMAN = _make_huffman_table()


def encode_integer(value, prefix_bits, first=0):
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes([first | value])
    out = bytearray([first | limit])
    value -= limit
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_string(text):
    return encode_integer(len(text), 7) + text


def _to_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def encode(headers, indexing=False):
    """A header block of literals; with `indexing`, each also enters the peer's dynamic table."""
    first = b"\x40" if indexing else b"\x00"
    return b"".join(first + encode_string(_to_bytes(name)) + encode_string(_to_bytes(value)) for name, value in headers)


class HpackError(Exception):
    """A header block that breaks the rules."""


def decode_huffman(data):
    out, code, length = bytearray(), 0, 0
    for byte in data:
        for shift in range(7, -1, -1):
            code, length = code << 1 | byte >> shift & 1, length + 1
            symbol = _HUFFMAN.get((length, code))
            if symbol is None:
                continue
            if symbol == _END_OF_STRING:
                raise HpackError("end of string inside a string")
            out.append(symbol)
            code, length = 0, 0
    if length > 7 or code != (1 << length) - 1:
        raise HpackError("bad padding of a string")
    return bytes(out)


class Decoder:
    """Decodes the header blocks of one connection, in their order."""

    def __init__(self):
        self._dynamic = []
        self._size = 0
        self._limit = 4096

    def decode(self, block):
        headers, at = [], 0
        while at < len(block):
            first = block[at]
            if first & 0x80:  # indexed
                index, at = self._integer(block, at, 7)
                headers.append(self._entry(index))
            elif first & 0xE0 == 0x20:  # size update
                self._limit, at = self._integer(block, at, 5)
                self._evict()
            else:
                index, at = self._integer(block, at, 6 if first & 0x40 else 4)
                name, at = (self._entry(index)[0], at) if index else self._string(block, at)
                value, at = self._string(block, at)
                headers.append((name, value))
                if first & 0x40:
                    self._dynamic.insert(0, (name, value))
                    self._size += len(name) + len(value) + 32
                    self._evict()
        return headers

    def _entry(self, index):
        table = STATIC_TABLE if index <= len(STATIC_TABLE) else self._dynamic
        position = index - 1 if table is STATIC_TABLE else index - 1 - len(STATIC_TABLE)
        if not 0 <= position < len(table):
            raise HpackError(f"no header at index {index}")
        return table[position]

    def _evict(self):
        while self._size > self._limit:
            name, value = self._dynamic.pop()
            self._size -= len(name) + len(value) + 32

    @staticmethod
    def _integer(block, at, prefix_bits):
        limit = (1 << prefix_bits) - 1
        value, shift, at = block[at] & limit, 0, at + 1
        if value < limit:
            return value, at
        while True:
            byte, at = block[at], at + 1
            value += (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value, at

    def _string(self, block, at):
        huffman = block[at] & 0x80
        length, at = self._integer(block, at, 7)
        text, at = bytes(block[at : at + length]), at + length
        return (decode_huffman(text) if huffman else text), at
