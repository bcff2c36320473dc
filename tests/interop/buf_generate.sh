#!/usr/bin/env bash
# buf_generate.sh BUF PLUGIN: `buf generate` with the plugin makes what protoc makes.
set -euo pipefail
export LC_ALL=C.UTF-8
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
buf=$(realpath "$1")
plugin=$(realpath "$2")
work=$(mktemp -d "${TMPDIR:-/tmp}/weft-buf.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
cp -r "$root/proto" proto
mkdir proto/talk
cp "$root/tests/golden/comments/comments.proto" "$root/tests/golden/optional/optional.proto" proto/talk

cat >buf.yaml <<'YAML'
version: v2
modules:
  - path: proto
YAML
cat >buf.gen.yaml <<YAML
version: v2
plugins:
  - local: $plugin
    out: by-buf
YAML
HOME=$work "$buf" generate
mkdir by-protoc
# google/rpc is among the protos of both; neither generates it.
mapfile -t protos < <(cd proto && find . -name '*.proto' | sed 's|^\./||')
protoc --plugin=protoc-gen-weft="$plugin" -Iproto --weft_out=by-protoc "${protos[@]}"
find by-buf -type f | sort
diff -r by-buf by-protoc
test -s by-buf/user.weft.h

# An error of the plugin is shown as it is.
printf 'syntax = "proto2";\nmessage M {\n  optional group G = 1 {}\n}\n' >proto/group.proto
if HOME=$work "$buf" generate 2>error; then
    echo 'buf took a group for granted'
    exit 1
fi
grep -F 'group.proto:3:3: field g is a group' error
