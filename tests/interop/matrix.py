#!/usr/bin/env python3
"""Runs gRPC's interop suite in every pairing and writes docs/interop.md:

    matrix.py --bin build/release/bin --work build/release/interop

Exits 1 when a case came out otherwise than it must, and writes the page all the same: it tells what happened.
"""
import argparse
import re
import sys
from pathlib import Path

import suite
import toolchains
from service import ServiceError

PAGE = suite.HERE.parents[1] / "docs" / "interop.md"
NOT_RUN = "not run"
CELLS = {suite.PASS: "pass", suite.FAIL: "**fail**", suite.NOT_HAD: "–", NOT_RUN: NOT_RUN}

HEAD = """\
# Interoperability

[gRPC's interop suite](https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md) is how implementations
of gRPC judge each other. Weft's ends are `interop-server` and `interop-client` (`tests/interop/programs`), written with
the glue that every user of Weft gets. This page is what `tests/interop/matrix.py` saw:

```sh
cmake --preset release -DWEFT_BUILD_TESTS=ON && cmake --build --preset release
tests/interop/matrix.py --bin build/release/bin --work build/release/interop
```

The same runs are tests, `ctest --test-dir build/release -R interop.suite`; a peer whose toolchain is not there is
skipped, and says so.

A column is a client and the server that it calls. *pass* and *fail* are the client's own verdict; *–*: the other side
has not got the case.
"""
TLS = """\
The client trusts one CA, which is made for the run, and expects `foo.test.google.fr`; the server's certificate is made
out to `*.test.google.fr`. Before the cases, Python's `ssl` sees that the server speaks HTTP/2 over TLS with it.
"""
TAIL = """\
## Notes

- `cacheable_unary` asks for GET and for a caching proxy that answers the second call. gRPC core 1.51 sends no GET, and
  no proxy is there. Weft's client, and the one on gRPC C++, make two plain calls and want both to succeed (*pass,
  plain*); grpc-java's wants the cached answer.
- grpc-java's client does not look whether what it receives is compressed: of `server_compressed_…` its pass says only
  that it could read it. Weft's client looks, and so does the one on gRPC C++.
- grpc-java's server does not look whether a request is compressed, and compresses unary responses only; its own client
  fails the same `client_compressed_…` with it.
- gRPC C++ does not show a server whether a message came compressed. Its client has a second channel that decompresses
  nothing, and sees that it cannot read the response.
- grpc-java's programs look for a CA and a certificate among their resources; over TLS, those of the run go before them.
- grpc-go's and grpc-java's programs are their own; Debian ships none for gRPC C++, so that client and server are a page
  each over libgrpc++ (`tests/interop/cxx`).
"""


def versions():
    """What the columns' peers are, from the pins."""
    go = re.search(r"google\.golang\.org/grpc (v\S+)", (suite.HERE / "go" / "go.mod").read_text()).group(1)
    pins = (suite.HERE / "java" / "pom.xml").read_text()
    java = re.search(r"<version>([\d.]+)</version>\s*</dependency>", pins).group(1)
    try:
        cxx = toolchains.run([toolchains.tool("pkg-config", "pkgconf"), "--modversion", "grpc++"]).strip()
    except toolchains.Unavailable:
        cxx = "(none)"
    return f"grpc-go {go}, gRPC C++ {cxx}, grpc-java {java}."


def column(name, over_tls, arguments, wrong):
    """Runs one pairing: {case: how it ended}; what came out wrong is added to `wrong`."""
    ended = {}
    label = f"{name}, TLS" if over_tls else name
    try:
        for case, how, _ in suite.run(name, arguments.bin.resolve(), arguments.work.resolve(), over_tls):
            print(f"{label}: {how}: {case}", flush=True)
            ended[case] = how
            if not suite.as_expected(name, case, how):
                wrong.append(f"{label}: {case}: {how}")
    except (toolchains.Unavailable, ServiceError) as error:
        wrong.append(f"{label}: {error}")
    return ended


def title(pairing):
    if pairing.title == "Weft":
        return "Weft → Weft"
    return f"Weft → {pairing.title}" if pairing.client is suite.weft_client else f"{pairing.title} → Weft"


def cell(case, how):
    """`cacheable_unary` passes only where the client does not want what makes it cacheable."""
    return "pass, plain" if case == "cacheable_unary" and how == suite.PASS else CELLS[how]


def table(columns):
    rows = [["case", *(title(suite.PAIRINGS[name]) for name in columns)], ["---"] * (len(columns) + 1)]
    for case in suite.CASES:
        rows.append([f"`{case}`", *(cell(case, ended.get(case, NOT_RUN)) for ended in columns.values())])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bin", type=Path, required=True, help="where the programs are, as build/release/bin")
    parser.add_argument("--work", type=Path, required=True, help="where packages are installed; kept")
    arguments = parser.parse_args()
    wrong = []
    plain, tls = (table({name: column(name, over_tls, arguments, wrong) for name in suite.PAIRINGS})
                  for over_tls in (False, True))  # fmt: skip
    PAGE.write_text(f"{HEAD}\n{versions()}\n\n## Plaintext\n\n{plain}\n## TLS\n\n{TLS}\n{tls}\n{TAIL}")
    for line in wrong:
        print(f"FAILED: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
