#!/usr/bin/env bash
# Every C file is as clang-format writes it, and every text file ends its lines without blanks and its last with a
# newline. `clang-format -i FILE` mends the first, but for comments, which it leaves as they are, too long or not.
. "$(dirname "$0")/lib.sh"
enter "$@"
need clang-format
case $(clang-format --version) in
*' 14.'*) ;;
*) printf 'skipped: clang-format 14 is the one that counts, this is %s\n' "$(clang-format --version)"; exit 77 ;;
esac

findings=$(
    sources framework tools services examples tests bench | xargs -r clang-format --dry-run 2>&1 |
        grep -E '^[^ ].*-Wclang-format-violations' || true
    sources framework tools services examples tests bench |
        xargs -r grep -HnE '^.{121,}' | sed 's/^\([^:]*:[0-9]*\):.*/\1: longer than 120 characters/' || true
    find . \( -path ./.git -o -path ./build -o -path ./gen -o -name golden -o -name corpus -o -name node_modules \) -prune -o -type f \
        \( -name '*.[ch]' -o -name '*.sh' -o -name '*.md' -o -name '*.py' -o -name '*.cmake' -o -name '*.proto' -o \
        -name CMakeLists.txt \) -print | sort | while read -r file; do
        grep -nE '[[:blank:]]+$' "$file" | sed "s|^\([0-9]*\):.*|$file:\1: blanks at the end of the line|" || true
        [ -z "$(tail -c 1 "$file")" ] || printf '%s: no newline at the end\n' "$file"
    done
)
verdict "$findings"
