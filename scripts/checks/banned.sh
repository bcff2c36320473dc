#!/usr/bin/env bash
# Functions that Weft does not use, by where they are banned. Comments and string literals do not count.
. "$(dirname "$0")/lib.sh"
enter "$@"

everywhere='framework tools services examples tests'
code=$(mktemp "${TMPDIR:-/tmp}/weft-banned.XXXXXX")
trap 'rm -f "$code"' EXIT
# shellcheck disable=SC2086 # a list of folders
sources $everywhere | while read -r file; do
    strip "$file" | awk -v file="$file" '{ sub(/^[[:space:]]*/, ""); print file ":" NR ": " $0 }'
done >"$code"

# look PATTERN WHY FOLDER…: finds calls of these functions (an alternation of names).
look() {
    local names=$1 why=$2
    shift 2
    local folders
    folders=$(printf '|%s' "$@")
    grep -E "^(${folders#|})/[^:]*:[0-9]+: (.*[^A-Za-z0-9_.>])?($names)[[:space:]]*\(" "$code" |
        sed -E "s|^([^:]*:[0-9]+: )|\1$why: |" || true
}

findings=$(
    # shellcheck disable=SC2086 # a list of folders
    {
        look 'strcpy|strcat|stpcpy|sprintf|vsprintf|gets' 'writes without a limit' $everywhere
        look 'strtok|localtime|gmtime|asctime|ctime' 'shares a hidden buffer between threads' $everywhere
        look 'atoi|atol|atoll|atof' 'cannot report an error' $everywhere
        look 'rand|srand|random|srandom|drand48' 'predictable and shared' $everywhere
        look 'alloca|setjmp|longjmp|sigsetjmp|siglongjmp' 'banned' $everywhere
        look 'thrd_create|mtx_init|mtx_lock|cnd_init|cnd_wait|call_once' '<threads.h> crashes under ThreadSanitizer' $everywhere
        look 'atomic_thread_fence|atomic_signal_fence' 'ThreadSanitizer does not see fences' $everywhere
        look 'sleep|usleep|nanosleep' 'wait for the event instead' framework tests
        look 'abort|exit|_exit|_Exit|quick_exit|assert' 'the library never ends the process' framework
        # A program's command line is read and answered in app/program.c, process.c and credentials.c.
        look 'printf|vprintf|fprintf|vfprintf|puts|fputs|putc|fputc|putchar|perror' 'the library never prints' framework |
            grep -vE '^framework/src/app/(program|process|credentials)\.c:' || true
        look 'signal|sigaction|atexit|on_exit|dlopen' 'the library is a good guest in its process' framework
    }
)
verdict "$findings"
