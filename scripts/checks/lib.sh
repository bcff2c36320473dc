# shellcheck shell=bash
# scripts/checks/lib.sh: what the checks share.
#
# A check is a script: NAME.sh [TREE]. It looks at the tree (default: this repository), prints one line a finding,
# "file:line: what is wrong", and ends with 1 if there was one. It ends with 77 (skipped) when a tool is missing.
# Each is a ctest test, check.NAME; check.NAME.can_fail (tests/checks/can_fail.sh) plants faults that it must find.

set -euo pipefail
export LC_ALL=C.UTF-8
CHECKS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# enter [TREE]: goes where the check looks.
enter() {
    cd "${1:-$CHECKS/../..}"
}

# need TOOL…: skips the check when a tool is missing.
need() {
    local tool
    for tool; do
        command -v "$tool" >/dev/null && continue
        printf 'skipped: %s is not installed\n' "$tool"
        exit 77
    done
}

# sources FOLDER…: the C files below those of the folders that exist, generated and golden ones left out.
sources() {
    local folder
    for folder; do
        [ -d "$folder" ] || continue
        find "$folder" \( -name golden -o -name build \) -prune -o -name '*.[ch]' -print
    done | sort
}

# strip FILE: a C file without comments and with empty string literals, its lines kept; #include lines stay whole.
strip() {
    awk -f "$CHECKS/strip.awk" "$1"
}

# verdict FINDINGS: prints them and ends.
verdict() {
    [ -n "$1" ] || exit 0
    printf '%s\n' "$1"
    exit 1
}
