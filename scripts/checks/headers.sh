#!/usr/bin/env bash
# Every public header compiles alone, twice over, as C11 and as C++11, with gcc and with clang, free of warnings, the
# initializers of its option structs too, and is included by weft.h unless it belongs to an engine. Every internal header compiles alone as C11.
. "$(dirname "$0")/lib.sh"
enter "$@"
need gcc g++ clang clang++ pkgconf

warnings='-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Werror'
includes="-Iframework/include -Igen -Iframework/src $(pkgconf --cflags libprotobuf-c sqlite3)"

# compile WHAT COMMAND…: compiles standard input; a failure is a finding.
compile() {
    local what=$1 errors
    shift
    errors=$("$@" -fsyntax-only - 2>&1) || printf '%s: does not compile alone with %s\n%s\n' "$what" "$*" "$errors"
}

findings=$(
    # shellcheck disable=SC2086 # lists of options
    for header in framework/include/weft/*.h; do
        name=weft/${header##*/}
        twice="#include <$name>"$'\n'"#include <$name>"
        inits=$(sed -nE 's/^#define (WEFT_[A-Z_]+_INIT) +WEFT__INIT\(([a-z_]+)\)$/    {\2 value = \1; (void)value;}/p' "$header")
        twice+=$'\n'"void weft_uses(void); void weft_uses(void)"$'\n{\n'"$inits"$'\n}'
        for cc in gcc clang; do
            compile "$header:1" "$cc" -x c -std=c11 -D_POSIX_C_SOURCE=200809L $warnings -Wstrict-prototypes $includes <<<"$twice"
        done
        for cxx in g++ clang++; do
            compile "$header:1" "$cxx" -x c++ -std=c++11 $warnings $includes <<<"$twice"
        done
        case $name in
        weft/weft.h | weft/core.h | weft/testing.h | weft/h2.h | weft/consul.h | weft/sqlite.h) ;;
        *) grep -qF "#include <$name>" framework/include/weft/weft.h || printf '%s:1: weft.h does not include it\n' "$header" ;;
        esac
    done
    # shellcheck disable=SC2086
    sources framework/src | while read -r header; do
        [ "${header%.h}" != "$header" ] || continue
        compile "$header:1" gcc -x c -std=c11 -D_POSIX_C_SOURCE=200809L $warnings -Wstrict-prototypes $includes \
            <<<"#include \"${header#framework/src/}\""
    done
)
verdict "$findings"
