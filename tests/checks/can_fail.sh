#!/usr/bin/env bash
# can_fail.sh NAME: plants faults in an empty tree, one at a time, and wants scripts/checks/NAME.sh to find each. A
# check that finds nothing in a bad tree guards nothing.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
check=$root/scripts/checks/$1.sh
tree=$(mktemp -d "${TMPDIR:-/tmp}/weft-check.XXXXXX")
trap 'rm -rf "$tree"' EXIT
failures=0

# plant FILE: writes standard input to a file of the tree.
plant() {
    mkdir -p "$tree/$(dirname "$1")"
    cat >"$tree/$1"
}

# finds TEXT [ARGUMENT…]: the check fails and says TEXT. Empties the tree afterwards.
finds() {
    local text=$1 output rc=0
    shift
    output=$("$check" "$tree" "$@" 2>&1) || rc=$?
    [ "$rc" -ne 77 ] || { printf '%s\n' "$output"; exit 77; }
    if [ "$rc" -ne 1 ] || ! grep -qF -- "$text" <<<"$output"; then
        printf 'not found (exit %d): %s\n%s\n' "$rc" "$text" "$output"
        failures=$((failures + 1))
    fi
    rm -rf "${tree:?}"/*
}

# passes [ARGUMENT…]: the check finds nothing. Empties the tree afterwards.
passes() {
    local output rc=0
    output=$("$check" "$tree" "$@" 2>&1) || rc=$?
    [ "$rc" -ne 77 ] || { printf '%s\n' "$output"; exit 77; }
    if [ "$rc" -ne 0 ]; then
        printf 'found what is right (exit %d):\n%s\n' "$rc" "$output"
        failures=$((failures + 1))
    fi
    rm -rf "${tree:?}"/*
}

case $1 in
layers)
    plant framework/src/base/a.c <<<'#include "call/call.h"'
    finds 'framework/src/base/a.c:1: framework/src/base may not include call/call.h'
    plant framework/src/base/a.c <<<'#include <protobuf-c/protobuf-c.h>'
    finds 'protobuf-c/protobuf-c.h is not for framework/src/base'
    plant framework/src/call/a.c <<<'#include "transport/core/engine.h"'
    finds 'framework/src/call may not include transport/core/engine.h'
    plant framework/src/server/a.h <<<$'/* comment */\n#  include <grpc/grpc.h>'
    finds 'framework/src/server/a.h:2: grpc/grpc.h is not for framework/src/server'
    plant framework/src/transport/memory/a.c <<<'#include "transport/core/engine.h"'
    finds 'may not include transport/core/engine.h'
    plant framework/include/weft/a.h <<<'#include "base/list.h"'
    finds 'framework/include/weft may not include base/list.h'
    plant services/user/a.c <<<'#include "call/call.h"'
    finds 'services may include public headers only'
    plant services/user/a.c <<<'#include "../../framework/src/call/call.h"'
    finds 'no .. in an #include'
    plant examples/unary/a.c <<<'#include <sqlite3.h>'
    finds 'sqlite3.h is not for examples'
    plant framework/src/pick/a.c <<<'#include <sys/syscall.h>'
    finds '<sys/syscall.h> is not for framework/src/pick'
    plant framework/src/transport/core/a.c <<<$'#include "base/list.h"\n#include "transport/transport.h"\n#include <grpc/grpc.h>'
    plant framework/src/server/b.c <<<$'#include <weft/server.h>\n#include <stdio.h>\n/* #include <grpc/grpc.h> */'
    plant services/user/c.c <<<$'#include "user.weft.h"\n#include "store.h"\n#include <weft/weft.h>'
    passes
    ;;
banned)
    plant services/user/a.c <<<$'void f(char *a, char *b)\n{\n    strcpy(a, b);\n}'
    finds 'services/user/a.c:3: writes without a limit'
    plant tests/unit/a.c <<<'    usleep (10);'
    finds 'wait for the event instead'
    plant framework/src/base/a.c <<<'    fine(); abort();'
    finds 'the library never ends the process'
    plant framework/src/base/a.c <<<$'/* a comment\n over lines */ printf("x");'
    finds 'framework/src/base/a.c:2: the library never prints'
    plant framework/src/base/a.c <<<'    fprintf(stderr, "x");'
    finds 'the library never prints'
    plant framework/src/base/a.c <<<'    const char *s = "a \" quote"; int n = atoi(s);'
    finds 'cannot report an error'
    plant framework/src/base/a.c <<<$'// strcpy(a, b)\n/* gets(a)\n   atoi(b) */\nconst char *s = "rand()"; int my_rand(void); x->exit(1);'
    passes
    ;;
headers)
    mkdir -p "$tree/framework/include/weft"
    plant framework/include/weft/weft.h <<<''
    plant framework/include/weft/core.h <<<'static inline size_t f(void) { return 1; }'
    finds 'framework/include/weft/core.h:1: does not compile alone with gcc'
    plant framework/include/weft/weft.h <<<''
    plant framework/include/weft/core.h <<<'static inline int *f(void *p) { return p; }'
    finds 'framework/include/weft/core.h:1: does not compile alone with g++'
    plant framework/include/weft/weft.h <<<''
    plant framework/include/weft/core.h <<<'struct twice { int a; };'
    finds 'framework/include/weft/core.h:1: does not compile alone with clang'
    plant framework/include/weft/weft.h <<<''
    plant framework/include/weft/core.h <<<$'#pragma once\ntypedef struct weft_x {int a; int b;} weft_x;\n#define WEFT__INIT(t) {sizeof(t)}
#define WEFT_X_INIT WEFT__INIT(weft_x)'
    finds 'core.h:1: does not compile alone with g++'
    plant framework/include/weft/weft.h <<<''
    plant framework/include/weft/forgotten.h <<<''
    finds 'forgotten.h:1: weft.h does not include it'
    plant framework/include/weft/weft.h <<<''
    plant framework/src/base/a.h <<<'uint32_t f(void);'
    finds 'framework/src/base/a.h:1: does not compile alone'
    ;;
exports)
    # library NAME SOURCE: builds lib/libNAME.so of the tree from a line of C.
    library() {
        mkdir -p "$tree/lib" "$tree/framework/include/weft"
        gcc -shared -fPIC -x c -o "$tree/lib/lib$1.so" - <<<"$2"
    }
    header='WEFT_API int weft_one(int a,\n    int b);\n/* WEFT_API int weft_gone(void); */\n'
    finds 'build first' lib
    library weft 'int weft_one(int a, int b) { return a + b; } int helper(void) { return 0; }'
    printf '%b' "$header" | plant framework/include/weft/a.h
    finds 'libweft: exported foreign name: helper' lib
    library weft 'int weft_one(int a, int b) { return a + b; } int weft_two(void) { return 0; }'
    printf '%b' "$header" | plant framework/include/weft/a.h
    finds 'libweft: exported and in no public header: weft_two' lib
    library weft 'static int x; int *weft_two(void) { return &x; }'
    printf '%b' "$header" | plant framework/include/weft/a.h
    finds 'libweft: declared and not exported: weft_one' lib
    library weft 'int weft_one(int a, int b) { return a + b; } int weft__x(void) { return 0; }'
    printf '%b' "$header" | plant framework/include/weft/a.h
    finds 'libweft: exported, and no engine needs it: weft__x' lib
    library weft 'int weft_one(int a, int b) { return a + b; }'
    library weft-core 'int weft__y(void) { return 0; }'
    printf '%b' "$header" | plant framework/include/weft/a.h
    finds 'libweft-core: exported private name: weft__y' lib
    library weft 'int weft_one(int a, int b) { return a + b; } int weft__x(void) { return 0; } int google__z;'
    library weft-core 'int weft__x(void); int weft_core_new(void) { return weft__x(); }'
    printf '%b' "$header" | plant framework/include/weft/a.h
    plant framework/include/weft/core.h <<<'WEFT_API int weft_core_new(void);'
    passes lib
    ;;
format)
    plant services/user/a.c <<<'int  f ( void ) ;'
    finds 'services/user/a.c:1:4: warning'
    printf 'text \n' | plant docs/a.md
    finds 'docs/a.md:1: blanks at the end of the line'
    printf 'text' | plant scripts/a.sh
    finds 'scripts/a.sh: no newline at the end'
    plant services/user/a.c <<<'int f(void);'
    plant gen/a.c <<<'int  f ( void ) ;'
    passes
    ;;
words)
    plant docs/a.md <<<'see /home/somebody/weft'
    finds 'docs/a.md:1: a path of one machine'
    plant framework/src/base/a.c <<<$'\n/* TODO: this */'
    finds 'framework/src/base/a.c:2: unfinished by its own words'
    plant docs/a.md <<<'build/work/x, /tmp/users.db, /usr/share/weft'
    passes
    ;;
shell)
    plant scripts/a.sh <<<$'#!/bin/sh\nrm -rf $1/x'
    finds 'scripts/a.sh:2'
    ;;
docs)
    plant a.md <<<$'# Page\n\n```c\nint f(void) { return undeclared; }\n```'
    finds 'a.md:4'
    plant a.md <<<$'```c fragment\nint x = f();\n```'
    finds 'a.md:2'
    plant a.md <<<$'<!-- same as: x.c -->\n```c\nint f(void);\n```'
    plant x.c <<<'int g(void);'
    finds 'a.md:2: differs from x.c'
    plant a.md <<<'See [the page](docs/none.md).'
    finds 'a.md:1: leads nowhere: docs/none.md'
    plant a.md <<<$'<!-- c-context\nint f(void);\n-->\n[x](x.c) `[y](y)`\n```c fragment\nint x = f();\n```\n\n<!-- same as: x.c -->\n\n```c\nint g(void);\n```'
    plant x.c <<<'int g(void);'
    passes
    ;;
*)
    printf 'no faults are known for %s\n' "$1"
    failures=1
    ;;
esac
[ "$failures" -eq 0 ]
