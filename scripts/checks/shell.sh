#!/usr/bin/env bash
# Every shell script passes shellcheck.
. "$(dirname "$0")/lib.sh"
enter "$@"
need shellcheck

findings=$(find .ci scripts tests examples deploy -type f 2>/dev/null | sort | while read -r file; do
    case $(head -n 1 "$file" | tr -d '\0') in
    '#!'*sh | '# shellcheck shell='*) printf '%s\n' "$file" ;;
    esac
done | xargs -r shellcheck --format gcc || true)
verdict "$findings"
