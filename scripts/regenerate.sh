#!/usr/bin/env bash
# scripts/regenerate.sh [--check] [PLUGIN]: writes gen/, what protoc makes of the contracts in proto/.
#
#   --check   changes nothing; fails when gen/ is not what it would write, and shows the difference
#   PLUGIN    protoc-gen-weft (default: that of build/release, then of build/dev)
#
# gen/ mirrors proto/. Besides it holds google/protobuf/*.proto of Debian's protobuf 3.21: libweft carries the one
# compiled copy of those and of google/rpc.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage='usage: scripts/regenerate.sh [--check] [PLUGIN]'
check=no plugin=''
for argument; do
    case $argument in
    --check) check=yes ;;
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;;
    -*) die "unknown option $argument; $usage" ;;
    *) plugin=$argument ;;
    esac
done
for build in release dev; do
    [ -n "$plugin" ] || [ ! -x "build/$build/bin/protoc-gen-weft" ] || plugin=build/$build/bin/protoc-gen-weft
done
[ -n "$plugin" ] || die 'there is no protoc-gen-weft yet: cmake --preset dev && cmake --build --preset dev --target protoc-gen-weft'
command -v protoc >/dev/null || die 'there is no protoc: apt-get install protobuf-compiler'

# Where Debian keeps the well-known types, and compiler/plugin.proto, which is in a package of its own.
well_known=$(pkgconf --variable=includedir protobuf 2>/dev/null || echo /usr/include)
[ -f "$well_known/google/protobuf/compiler/plugin.proto" ] || die 'plugin.proto is missing: apt-get install libprotoc-dev'

protos=$(cd proto && find . -name '*.proto' | sed 's|^\./||')
shared=$(cd "$well_known" && printf '%s\n' google/protobuf/*.proto google/protobuf/compiler/plugin.proto)
made=$(mktemp -d "${TMPDIR:-/tmp}/weft-gen.XXXXXX")
trap 'rm -rf "$made"' EXIT
# shellcheck disable=SC2046 # one word a file
protoc --plugin=protoc-gen-weft="$(realpath "$plugin")" -Iproto -I"$well_known" --weft_opt=bundled --weft_out="$made" \
    $(printf '%s\n%s\n' "$protos" "$shared" | LC_ALL=C sort)

if [ "$check" = yes ]; then
    diff -ru gen "$made" || die 'gen/ is not what the plugin makes of proto/: run scripts/regenerate.sh and commit'
else
    rm -rf gen
    cp -r "$made" gen
    chmod -R u=rwX,go=rX gen
fi
