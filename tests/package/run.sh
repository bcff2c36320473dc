#!/usr/bin/env bash
# run.sh BUILD: installs a build into an empty prefix, moves that prefix, and uses it as somebody outside the tree would:
#
# - the guide's first project, as the guide has it, with find_package
# - the same by hand, with pkg-config
# - a program in C and one in C++11 that use the engine for tests
set -euo pipefail
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
for tool in cmake ninja pkgconf gcc g++ protoc; do
    command -v "$tool" >/dev/null || { printf 'skipped: %s is not installed\n' "$tool"; exit 77; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/weft-package.XXXXXX")
server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

cmake --install "$build" --prefix "$work/first" >"$work/install.log"
mv "$work/first" "$work/prefix"
cd "$work"

# greets SERVER CLIENT: the two programs talk, and the server stops cleanly.
greets() {
    mkfifo "$1.out"
    "$1" 127.0.0.1:0 >"$1.out" &
    server=$!
    local address answer rc=0
    read -r address <"$1.out"
    answer=$("$2" World "${address#listening on }")
    printf '%s\n' "$answer"
    [ "$answer" = 'Hello, World!' ]
    if "$2" '' "${address#listening on }"; then
        return 1
    fi
    kill -TERM "$server"
    wait "$server" || rc=$?
    server=
    [ "$rc" -eq 0 ]
}

echo '-- the guide, find_package'
mkdir guide
cp "$root"/examples/unary/{greeter.proto,server.c,client.c} guide
awk '/^```cmake$/ { block = 1; next } /^```$/ { block = 0 } block' "$root/docs/guide/first-steps.md" >guide/CMakeLists.txt
cmake -G Ninja -S guide -B guide/build -DCMAKE_PREFIX_PATH="$work/prefix"
cmake --build guide/build
greets guide/build/server guide/build/client

echo '-- the guide, by hand'
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name weft.pc)")
LD_LIBRARY_PATH=$(PKG_CONFIG_PATH=$PKG_CONFIG_PATH pkgconf --variable=libdir weft)
export PKG_CONFIG_PATH LD_LIBRARY_PATH PATH="$work/prefix/bin:$PATH"
read -ra cflags <<<"$(pkgconf --cflags weft-core)"
read -ra libs <<<"$(pkgconf --libs weft-core)"
mkdir by-hand
protoc -I guide --weft_out=by-hand greeter.proto
for program in server client; do
    gcc -std=c11 -Wall -Wextra -Werror -D_POSIX_C_SOURCE=200809L -I by-hand "${cflags[@]}" -o "by-hand/$program" \
        "guide/$program.c" by-hand/greeter.pb-c.c by-hand/greeter.weft.c "${libs[@]}"
done
greets by-hand/server by-hand/client

echo '-- the engine for tests, C and C++'
cp -r "$here/consumer" "$root/examples/unary/greeter.proto" .
mv greeter.proto consumer
cmake -G Ninja -S consumer -B consumer/build -DCMAKE_PREFIX_PATH="$work/prefix"
cmake --build consumer/build
consumer/build/consumer-c
consumer/build/consumer-cc
