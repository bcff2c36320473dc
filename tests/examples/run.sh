#!/usr/bin/env bash
# run.sh BIN: starts the examples' servers, runs their clients, and wants the right words.
set -euo pipefail
bin=$1
work=$(mktemp -d "${TMPDIR:-/tmp}/weft-examples.XXXXXX")
servers=()
finish() {
    for pid in "${servers[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" || true
    done
    rm -rf "$work"
}
trap finish EXIT

# serve PROGRAM: starts a server on a free port; $address is where it listens.
serve() {
    local pipe="$work/$1.${#servers[@]}"
    mkfifo "$pipe"
    "$bin/$1" 127.0.0.1:0 >"$pipe" 2>&1 </dev/null &
    servers+=($!)
    read -r -t 20 line <"$pipe"
    address=${line#listening on }
}

# expect WANTED GOT
expect() {
    if [ "$1" != "$2" ]; then
        printf 'FAILED: wanted\n%s\ngot\n%s\n' "$1" "$2"
        exit 1
    fi
    printf 'ok: %s\n' "${1//$'\n'/, }"
}

serve unary-server
expect 'Hello, World!' "$("$bin/unary-client" World "$address")"
expect 'Hello, Ada!
Hello, Bob!' "$(printf 'Ada\nBob\n' | "$bin/loop-epoll" | sort)"
if [ -x "$bin/loop-libuv" ]; then
    expect 'Hello, Ada!
Hello, Bob!' "$("$bin/loop-libuv" "$address" Ada Bob | sort)"
else
    printf 'skipped: loop-libuv is not built (apt-get install libuv1-dev)\n'
fi
first=$address
serve unary-server
expect "$(printf '5 ipv4:%s OK\n' "$first" "$address" | sort)" \
    "$("$bin/picker-client" "static:///$first,$address" | sort | uniq -c | sed 's/^ *//' | sort)"
serve retry-server
expect 'Hello at last, Ada!' "$("$bin/retry-client" Ada "$address")"
serve streaming-server
expect 'ONE
TWO' "$(printf 'one\ntwo\n' | "$bin/streaming-client" "$address")"
