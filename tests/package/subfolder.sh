#!/usr/bin/env bash
# subfolder.sh: a project outside the tree that has Weft as a subfolder. It gets the libraries, shared and static, and the
# plugin; no tests, services, examples or packages.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need cmake ninja gcc g++ protoc protoc-gen-c

use_the_engine_for_tests -DWEFT_SOURCE="$root"
consumer/build/consumer-static
if ldd consumer/build/consumer-static | grep weft; then
    fail 'the static program needs a shared library of Weft'
fi

cd consumer/build
programs=$(find . -path ./CMakeFiles -prune -o -type f -perm -u+x ! -name '*.so*' -printf '%f\n' | sort | xargs)
[ "$programs" = 'consumer-c consumer-cc consumer-static protoc-gen-weft' ] || fail "the programs are $programs"
ctest -N | grep -x 'Total Tests: 0' || fail 'Weft adds tests to a project that has it as a subfolder'
[ ! -e CPackConfig.cmake ] || fail 'Weft makes packages of a project that has it as a subfolder'
