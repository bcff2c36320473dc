#!/usr/bin/env bash
# The Markdown pages: their C compiles and their links lead somewhere.
#
# - ```c           a piece of a file; it compiles after the page's context
# - ```c fragment  statements; they compile inside a function after the page's context
# - A line `<!-- same as: PATH -->` before a block: the block is that file, to the letter.
# - The context is what stands between `<!-- c-context` and `-->`; the last one before the block counts.
. "$(dirname "$0")/lib.sh"
enter "$@"
need gcc pkgconf

work=$(mktemp -d "${TMPDIR:-/tmp}/weft-docs.XXXXXX")
trap 'rm -rf "$work"' EXIT
cflags="-std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Werror -Wno-unused -Iframework/include -Igen -Iexamples
    $(pkgconf --cflags libprotobuf-c)"

# Writes each C block of a page to $work/LINE.c; a block that must equal a file to $work/LINE.text, and that file's name
# to $work/LINE.same.
extract() {
    awk -v work="$work" '
        /^<!-- same as: .* -->$/ { same = $4; next }
        /^<!-- c-context$/ { in_context = 1; context = "#line " NR + 1 " \"" FILENAME "\"\n"; next }
        in_context && /^-->$/ { in_context = 0; next }
        in_context { context = context $0 "\n"; next }
        in_block && /^```$/ {
            if (fragment)
                print "}" > out
            if (out != "")
                close(out)
            in_block = 0
            same = ""
            next
        }
        in_block { if (out != "") print > out; next }
        /^```/ {
            in_block = 1
            fragment = 0
            out = ""
            if (same != "") {
                out = work "/" NR ".text"
                print same > (work "/" NR ".same")
            } else if ($1 == "```c") {
                out = work "/" NR ".c"
                fragment = $2 == "fragment"
                printf "%s", context > out
                if (fragment)
                    print "void weft_page_fragment(void);\nvoid weft_page_fragment(void)\n{" > out
                print "#line " NR + 1 " \"" FILENAME "\"" > out
            }
            next
        }
        NF { same = "" }' "$1"
}

findings=$(
    find . \( -path ./.git -o -path ./build -o -path ./gen -o -name node_modules \) -prune -o -name '*.md' -print | sed 's|^\./||' | sort |
        while read -r page; do
            rm -f "$work"/*
            extract "$page"
            for block in "$work"/*.c; do
                [ -f "$block" ] || continue
                # shellcheck disable=SC2086 # a list of options
                gcc $cflags -fsyntax-only "$block" 2>&1 || true
            done
            for same in "$work"/*.same; do
                [ -f "$same" ] || continue
                line=${same##*/}
                diff -u "$(cat "$same")" "${same%.same}.text" >"$work/diff" 2>&1 || {
                    printf '%s:%s: differs from %s\n' "$page" "${line%.same}" "$(cat "$same")"
                    cat "$work/diff"
                }
            done
            folder=$(dirname "$page")
            awk '/^```/ { code = !code } !code { gsub(/`[^`]*`/, ""); while (match($0, /\]\([^)]*\)/)) {
                print NR ":" substr($0, RSTART + 2, RLENGTH - 3); $0 = substr($0, RSTART + RLENGTH) } }' "$page" |
                while IFS=: read -r line target; do
                    case $target in
                    http:* | https:* | mailto:* | '#'*) continue ;;
                    esac
                    [ -e "$folder/${target%%#*}" ] || printf '%s:%s: leads nowhere: %s\n' "$page" "$line" "$target"
                done
        done
)
verdict "$findings"
