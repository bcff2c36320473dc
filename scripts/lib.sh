# shellcheck shell=bash
# scripts/lib.sh: what the scripts share. Source it first; it stops on errors and stands in the repository's root.

set -euo pipefail
WEFT_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$WEFT_ROOT"
export LC_ALL=C.UTF-8 LANG=C.UTF-8
unset CDPATH

# die MESSAGE…: says what is wrong on standard error and ends.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# step TITLE: a heading with the seconds since the script began.
step() {
    printf '\n== %s  [%d s]\n' "$*" "$SECONDS"
}

# run_logged LOG COMMAND…: runs a command with its output in a file; shows its errors, or its end, when the command fails.
run_logged() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 </dev/null && return 0
    local rc=$?
    { grep -A 4 -E 'error: |FAILED: ' "$log" || tail -n 60 "$log"; } | head -n 100 | cut -c 1-300 >&2 || true
    printf '%s: failed (%d): %s\n' "${0##*/}" "$rc" "$*" >&2
    return "$rc"
}

# missing_packages GROUP…: the packages of these groups in scripts/packages.txt that are not installed.
missing_packages() {
    local group package
    sed 's/#.*//; /^[[:space:]]*$/d' scripts/packages.txt | while read -r group package; do
        case " $* " in
        *" $group "*) ;;
        *) continue ;;
        esac
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s\n' "$package"
    done | sort -u
}

# install_packages GROUP…: installs what is missing, as root or through sudo, asking nothing.
install_packages() {
    command -v dpkg-query >/dev/null || die "this needs Debian's apt; install what scripts/packages.txt names by hand"
    local missing
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086 # one word a package
    set -- $missing
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
            die "run as root, or with sudo that asks no password: apt-get install $*"
        fi
        as_root=(sudo)
    fi
    printf 'installing %s\n' "$*"
    local log
    log=$(mktemp "${TMPDIR:-/tmp}/weft-apt.XXXXXX")
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3
        -o DPkg::Lock::Timeout=300 --no-install-recommends)
    run_logged "$log" "${apt[@]}" update || die "apt-get update failed: is there a network, and a mirror in /etc/apt?"
    run_logged "$log" "${apt[@]}" install "$@" || die "apt-get install failed (log: $log)"
    rm -f "$log"
}
