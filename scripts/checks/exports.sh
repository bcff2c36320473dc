#!/usr/bin/env bash
# What the shared libraries export: exports.sh [TREE [LIBRARY-FOLDER]].
#
# - Each function that a public header declares is exported by its library, and no other weft_ name is.
# - A weft__ name is exported by libweft only, and only if an engine library uses it or a public header declares it.
# - Nothing else is exported but google__…, the shared messages, by libweft.
. "$(dirname "$0")/lib.sh"
enter "$@"
need nm
libraries=${2:-build/release/lib}
include=framework/include/weft

exported() {
    nm -D --defined-only "$libraries/lib$1.so" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u
}

needed() {
    nm -D --undefined-only "$libraries/lib$1.so" | awk '{ sub(/@.*/, "", $2); print $2 }' | sort -u
}

# declared HEADER…: the functions and objects marked WEFT_API.
declared() {
    local header
    for header; do
        [ -f "$header" ] || continue
        strip "$header" | grep -v '^[[:space:]]*#' || true
        printf ';\n'
    done | tr '\n' ' ' | grep -oE 'WEFT_API[^;]*;' | grep -oE 'weft_[a-z0-9_]+(\(|;|\[)' | sed 's/.$//' | sort -u || true
}

# only A B: the lines of A that B has not.
only() {
    printf '%s\n' "$1" | sed '/^$/d' | grep -vxF -e "$2" || true
}

# headers_of LIBRARY: the public headers whose functions it carries.
headers_of() {
    case $1 in
    weft) find $include -name '*.h' ! -name core.h ! -name testing.h ! -name h2.h ! -name consul.h ! -name sqlite.h | sort ;;
    *) printf '%s\n' "$include/${1#weft-}.h" ;;
    esac
}

findings=$(
    engines=''
    for engine in weft-core weft-testing weft-h2 weft-consul weft-sqlite; do
        [ -f "$libraries/lib$engine.so" ] || continue
        engines="$engines $engine"
    done
    [ -f "$libraries/libweft.so" ] || { printf '%s: no libweft.so: build first\n' "$libraries"; exit; }
    for library in weft $engines; do
        has=$(exported "$library")
        # shellcheck disable=SC2046 # a list of files
        public=$(declared $(headers_of "$library"))
        api=$(grep -E '^weft_[^_]' <<<"$has" || true)
        only "$public" "$has" | sed "s|^|lib$library: declared and not exported: |"
        only "$api" "$public" | sed "s|^|lib$library: exported and in no public header: |"
        private=$(grep -E '^weft__' <<<"$has" || true)
        if [ "$library" = weft ]; then
            users=$(for engine in $engines; do needed "$engine"; done | sort -u)
            only "$private" "$(printf '%s\n%s\n' "$users" "$public" | sort -u)" |
                sed "s|^|lib$library: exported, and no engine needs it: |"
            other=$(grep -vE '^(weft_|google__)' <<<"$has" || true)
        else
            only "$private" "$public" | sed "s|^|lib$library: exported private name: |"
            other=$(grep -vE '^weft_' <<<"$has" || true)
        fi
        only "$other" '' | sed "s|^|lib$library: exported foreign name: |"
    done
)
verdict "$findings"
