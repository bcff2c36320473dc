# shellcheck shell=bash
# tests/package/lib.sh: what the tests of installed files share. Source it first; it stops on errors and stands in an empty
# folder, $work, that goes at the end. It knows $root, the source tree, and $build, the folder that the script was given.
set -euo pipefail
export LC_ALL=C.UTF-8
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck disable=SC2034 # for the scripts
build=$(cd "${1:-.}" && pwd)

# need TOOL…: skips the test when a tool is missing.
need() {
    local tool
    for tool; do
        command -v "$tool" >/dev/null || { printf 'skipped: %s is not installed\n' "$tool"; exit 77; }
    done
}

# fail MESSAGE…: says what is wrong and ends.
fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

work=$(mktemp -d "${TMPDIR:-/tmp}/weft-package.XXXXXX")
server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
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

# follow_the_guide PREFIX: its first project, as the guide has it, with find_package.
follow_the_guide() {
    printf -- '-- the guide, find_package\n'
    mkdir guide
    cp "$root"/examples/unary/{greeter.proto,server.c,client.c} guide
    awk '/^```cmake$/ { block = 1; next } /^```$/ { block = 0 } block' "$root/docs/guide/first-steps.md" >guide/CMakeLists.txt
    cmake -G Ninja -S guide -B guide/build -DCMAKE_PREFIX_PATH="$1"
    cmake --build guide/build
    greets guide/build/server guide/build/client
}

# follow_by_hand PREFIX: the same project with protoc, cc and pkg-config, which the caller has told where to look.
follow_by_hand() {
    printf -- '-- the guide, by hand\n'
    local cflags libs program
    read -ra cflags <<<"$(pkgconf --cflags weft-core)"
    read -ra libs <<<"$(pkgconf --libs weft-core)"
    printf '%s\n' "${cflags[*]} ${libs[*]}"
    mkdir by-hand
    PATH="$1/bin:$PATH" protoc -I guide --weft_out=by-hand greeter.proto
    for program in server client; do
        gcc -std=c11 -Wall -Wextra -Werror -D_POSIX_C_SOURCE=200809L -I by-hand "${cflags[@]}" -o "by-hand/$program" \
            "guide/$program.c" by-hand/greeter.pb-c.c by-hand/greeter.weft.c "${libs[@]}"
    done
    (
        LD_LIBRARY_PATH=$(dirname "$(find "$1" -name libweft.so)")
        export LD_LIBRARY_PATH
        greets by-hand/server by-hand/client
    )
}

# use_the_engine_for_tests CMAKE-OPTION…: a program in C and one in C++11.
use_the_engine_for_tests() {
    printf -- '-- the engine for tests, C and C++\n'
    cp -r "$here/consumer" "$root/examples/unary/greeter.proto" .
    mv greeter.proto consumer
    cmake -G Ninja -S consumer -B consumer/build "$@"
    cmake --build consumer/build
    consumer/build/consumer-c
    consumer/build/consumer-cc
}
