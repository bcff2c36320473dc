#!/usr/bin/env bash
# plugin.sh PLUGIN: how the plugin behaves as a program: options, broken requests, and a protoc-gen-c that is missing,
# dies, or talks out of turn. A stand-in for protoc-gen-c in PATH plays the last.
set -euo pipefail
export LC_ALL=C.UTF-8
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
plugin=$(realpath "$1")
work=$(mktemp -d "${TMPDIR:-/tmp}/weft-plugin.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
for tool in protoc python3; do
    command -v $tool >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
failures=0
real=$PATH

# expect NAME WANTED GOT: WANTED is a pattern.
expect() {
    # shellcheck disable=SC2053 # a pattern
    if [[ $3 == $2 ]]; then
        printf 'ok: %s\n' "$1"
    else
        printf 'FAILED: %s\n  wanted: %s\n  got:    %s\n' "$1" "$2" "$3"
        failures=$((failures + 1))
    fi
}

# run COMMAND…: its output and exit status on one line.
run() {
    local output rc=0
    output=$(timeout 60 "$@" 2>&1) || rc=$?
    printf '%s [%d]' "$output" "$rc"
}

# stand_in BODY: makes a protoc-gen-c of that shell text and puts it first in PATH.
stand_in() {
    mkdir -p stand-in
    printf '#!/bin/bash\n%s\n' "$1" >stand-in/protoc-gen-c
    chmod +x stand-in/protoc-gen-c
    PATH=$work/stand-in:$real
}

cat >small.proto <<'PROTO'
syntax = "proto3";
package small;
message M { int32 number = 1; }
service S { rpc Get(M) returns (M); }
PROTO
# protoc_weft ARGUMENT…: protoc with the plugin, into an empty out/; its output and exit status.
protoc_weft() {
    rm -rf out
    mkdir out
    run protoc --plugin=protoc-gen-weft="$plugin" -I. --weft_out=out "$@"
}

expect 'version' 'protoc-gen-weft [0-9]*.[0-9]*.[0-9]* \[0\]' "$(run "$plugin" --version)"
expect 'help' '*protoc --weft_out=DIR*\[0\]' "$(run "$plugin" --help)"
expect 'an unknown argument gets help and an error' '*protoc --weft_out=DIR*\[2\]' "$(run "$plugin" --no-such)"
if script -qec true /dev/null </dev/null >/dev/null 2>&1; then # there is a terminal to be had
    expect 'on a terminal it explains itself' '*protoc --weft_out=DIR*\[2\]' \
        "$(run script -qec "'$plugin'" /dev/null </dev/null)"
fi

no_request='protoc-gen-weft: stdin holds no CodeGeneratorRequest of protoc'\''s \[1\]'
expect 'garbage is refused' "$no_request" "$(run bash -c "echo garbage | '$plugin'")"
expect 'a request cut short is refused' "$no_request" "$(run bash -c "printf '\x7a\x20\x0a' | '$plugin'")"
# file_to_generate: "a", and no such file in it.
expect 'a request without the file to generate is refused' "$no_request" "$(run bash -c "printf '\x0a\x01a' | '$plugin'")"
# proto_file with a service without a name.
expect 'a nameless service is refused' "$no_request" "$(run bash -c "printf '\x7a\x05\x0a\x01a\x32\x00' | '$plugin'")"
# A message in a message, 100,000 times: more than the stack holds.
python3 - >nested <<'PY'
import sys
def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])
lengths, size = [], 0
for _ in range(100000):
    lengths.append(size)
    size += 1 + len(varint(size))
message = b"".join(b"\x1a" + varint(n) for n in reversed(lengths))
body = b"\x22" + varint(len(message)) + message
sys.stdout.buffer.write(b"\x7a" + varint(len(body)) + body)
PY
expect 'endless nesting is refused' "$no_request" "$(run bash -c "'$plugin' <nested")"
# What protoc may send and nothing is to be made of: the answer says only what the plugin can do.
expect 'an empty request gets an empty answer' '1001' "$("$plugin" </dev/null | od -An -tx1 | tr -d ' \n')"
expect 'a closed stdin is an error' '*cannot read the request*\[1\]' "$(run bash -c "'$plugin' <&-")"
expect 'a full disk is an error' '*cannot write the answer: No space left on device \[1\]' \
    "$(run bash -c "'$plugin' </dev/null >/dev/full")"

mkdir -p bare
ln -sf "$(command -v protoc)" bare/protoc
expect 'a missing protoc-gen-c' '--weft_out: protoc-gen-c is not in PATH — install protobuf-c*\[1\]' \
    "$(run env PATH="$work/bare" protoc --plugin=protoc-gen-weft="$plugin" -I. --weft_out=. small.proto)"

# shellcheck disable=SC2016 # text of the stand-in
stand_in 'kill -SEGV $$'
expect 'protoc-gen-c crashes' '*protoc-gen-c was killed by signal 11*\[1\]' "$(protoc_weft small.proto)"
stand_in 'exit 3'
expect 'protoc-gen-c fails' '*protoc-gen-c exited with 3*\[1\]' "$(protoc_weft small.proto)"
stand_in 'cat >/dev/null; echo garbage'
expect 'protoc-gen-c prints garbage' '*protoc-gen-c printed something that is no CodeGeneratorResponse*\[1\]' \
    "$(protoc_weft small.proto)"
# Field 1 of the answer: the error "no".
stand_in "cat >/dev/null; printf '\\x0a\\x02no'"
expect 'protoc-gen-c has an error' '*protoc-gen-c: no*\[1\]' "$(protoc_weft small.proto)"

# More than pipes hold, both ways.
PATH=$real
python3 - >large.proto <<'PY'
print('syntax = "proto3"; package large; message M {}')
for i in range(3000):
    print(f'// {"x" * 60}\nmessage Message{i} {{ string first_field = 1; repeated Message{i} second_field = 2; }}')
print('service S { rpc Get(M) returns (M); }')
PY
expect 'a large file' ' \[0\]' "$(protoc_weft large.proto)"
expect 'a large file is complete' '*large.pb-c.c large.pb-c.h large.weft.c large.weft.h*' "$(echo out/* | sed 's|out/||g')"
# An answer (a file "x" of 1 MB) before anything of a large request is read, or without ever reading it.
# shellcheck disable=SC2016
printer='python3 -c '\''
import sys
def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])
content = b"x" * 1000000
file = b"\x0a\x01x\x7a" + varint(len(content)) + content
sys.stdout.buffer.write(b"\x7a" + varint(len(file)) + file)
'\'
stand_in "$printer; cat >/dev/null"
expect 'protoc-gen-c answers before it reads' ' \[0\]' "$(protoc_weft large.proto)"
expect 'and its answer is whole' '1000000' "$(stat -c %s out/x)"
stand_in "exec 0<&-; $printer"
expect 'protoc-gen-c never reads' ' \[0\]' "$(protoc_weft large.proto)"
PATH=$real

expect 'what libweft carries is not generated' ' \[0\]' \
    "$(protoc_weft google/protobuf/empty.proto small.proto)"
expect 'only the rest is' 'out/small.pb-c.c out/small.pb-c.h out/small.weft.c out/small.weft.h' "$(find out -type f | sort | tr '\n' ' ' | sed 's/ $//')"
expect 'unless Weft itself asks' ' \[0\]' \
    "$(protoc_weft --weft_opt=bundled google/protobuf/empty.proto)"
expect 'then it is' '*out/google/protobuf/empty.pb-c.c*out/google/protobuf/empty.weft.h*' "$(find out -type f | sort | tr '\n' ' ')"
expect 'options go on to protoc-gen-c' ' \[0\]' \
    "$(protoc_weft --weft_opt=dllexport_decl=MINE small.proto)"
expect 'and count there' '*struct MINE*Small__M*' "$(cat out/small.pb-c.h)"

# Generated code names the shape it has; a Weft that serves another one refuses it, and says what to do.
if command -v gcc >/dev/null; then
    protoc_weft small.proto >/dev/null
    for range in 'too_old 2 9' 'too_new 0 0'; do
        read -r name min max <<<"$range"
        mkdir -p "$name/weft"
        sed -E "s/(WEFT_GENERATED_MIN) .*/\1 $min/; s/(WEFT_GENERATED_MAX) .*/\1 $max/" \
            "$root/framework/include/weft/version.h" >"$name/weft/version.h"
        expect "generated code that is $name" "*#error \"small.weft.h is ${name/_/ } for this Weft: *generate it again*" \
            "$(run gcc -fsyntax-only -I"$name" -I"$root/framework/include" -Iout out/small.weft.c)"
    done
fi

[ "$failures" -eq 0 ]
