#!/usr/bin/env bash
# scripts/test.sh [--long]: installs what is missing, builds Weft in every way that counts, and runs every check and test.
#
#   release   scripts/quickstart.sh; all checks and tests, then the unit tests once more under valgrind
#   asan      all tests under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer
#   tsan      under ThreadSanitizer, what does not run gRPC core (which Debian builds without it)
#   fuzz      the fuzz targets over their corpora, and a short search for more
#   tidy      clang with -Werror, and clang-tidy on all but the tests
#
# --long adds the tests labelled "long" (soaks and sweeps at full size; valgrind on gRPC core), clang-tidy on the tests, and
# searches longer.
# Ends with "N passed, N failed, N skipped", what failed and what was skipped; exits 0 when nothing failed.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage='usage: scripts/test.sh [--long]'
long=no
for argument; do
    case $argument in
    --long) long=yes ;;
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;;
    *) die "unknown argument $argument; $usage" ;;
    esac
done
if [ "$long" = yes ]; then
    without='^valgrind$' without_slow='^never$' fuzz_seconds=300 tidy_tests=ON
else
    without='^(valgrind|long)$' without_slow='^long$' fuzz_seconds=5 tidy_tests=OFF
fi

logs=build/test-logs
rm -rf "$logs"
mkdir -p "$logs"
passed=0 failures=() skips=()
jobs=$(nproc 2>/dev/null || echo 2)

# build PRESET [TARGET]: configures and builds, as far as it goes; a failure counts as one.
build() {
    local preset=$1 target=${2:-all}
    step "$preset: build"
    run_logged "$logs/$preset-configure.log" cmake --preset "$preset" -DWEFT_BUILD_TESTS=ON -DWEFT_TIDY_TESTS="$tidy_tests" &&
        run_logged "$logs/$preset-build.log" cmake --build --preset "$preset" --target "$target" -- -k 0 && return
    failures+=("$preset: build")
    return 1
}

# tests PRESET TITLE OPTION…: runs ctest on a build and adds up.
tests() {
    local preset=$1 title=$2 report rc=0
    shift 2
    step "$preset: $title"
    report=$logs/$preset-${title// /-}
    ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure --no-tests=error --output-junit "$PWD/$report.xml" \
        "$@" >"$report.log" 2>&1 </dev/null || rc=$?
    grep -E '% tests passed|Total Test time' "$report.log" || true
    if [ ! -s "$report.xml" ]; then
        tail -n 40 "$report.log" >&2
        failures+=("$preset: $title: ctest failed ($rc)")
        return
    fi
    local count
    count=$(grep -c '<testcase .*status="run"' "$report.xml" || true)
    passed=$((passed + count))
    while read -r name; do
        [ -z "$name" ] || skips+=("$preset: $name")
    done <<<"$(awk -F'"' '/<testcase .*status="(notrun|disabled)"/ { name = $2 }
        name != "" && sub(/.*<system-out>/, "") { sub(/^skipped: */, ""); print name ": " $0; name = "" }' "$report.xml")"
    while read -r name; do
        [ -z "$name" ] || failures+=("$preset: $name")
    done <<<"$(sed -nE 's/.*<testcase name="([^"]*)".*status="fail".*/\1/p' "$report.xml")"
    [ "$rc" -eq 0 ] || sed -n '/\*\*\*[^S]/,/^ *Start\|^[0-9]*% tests/p' "$report.log" |
        grep -vE '^\[ +(RUN|OK) ' | head -n 200 >&2 || true
}

# search LOGS SECONDS TARGET: has a fuzz target look for more than its corpus; leaves LOGS/fuzz-NAME.ok when it found nothing bad.
search() {
    local logs=$1 seconds=$2 target=$3 name=${3##*/fuzz_}
    mkdir -p "$logs/found-$name"
    run_logged "$logs/fuzz-$name.log" "$target" -max_total_time="$seconds" -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$logs/fuzz-$name-" "$logs/found-$name" "tests/fuzz/corpus/$name" || return 1
    printf '%s: %s runs\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/fuzz-$name.log")"
    touch "$logs/fuzz-$name.ok"
}

# The tools that look inside a running program, and some tests, read /proc. A bare chroot has none: mount one meanwhile.
if [ ! -r /proc/self/maps ] && [ "$(id -u)" -eq 0 ] && mount -t proc proc /proc 2>/dev/null; then
    trap 'umount -l /proc' EXIT
    printf 'mounted /proc\n'
fi

step 'packages'
install_packages build test

step 'quickstart'
if run_logged "$logs/quickstart.log" scripts/quickstart.sh; then
    passed=$((passed + 1))
else
    failures+=('quickstart')
fi

if build release; then
    tests release 'all tests' -LE "$without"
fi

if [ -r /proc/self/maps ]; then
    [ ! -f build/release/build.ninja ] || tests release 'valgrind' -L '^valgrind$' -LE "$without_slow"
    if build asan; then
        tests asan 'all tests' -LE "$without"
    fi
    if build tsan; then
        tests tsan 'all but gRPC core' -LE "$without|^core$"
    fi
    if build fuzz fuzzers; then
        tests fuzz 'corpora' -R '^fuzz\.'
        step "fuzz: search, $fuzz_seconds s a target"
        export -f search run_logged
        printf '%s\0' build/fuzz/bin/fuzz_* | xargs -0 -n 1 -P "$jobs" bash -c 'search "$@"' search "$logs" "$fuzz_seconds" || true
        for target in build/fuzz/bin/fuzz_*; do
            name=${target##*/fuzz_}
            if [ -f "$logs/fuzz-$name.ok" ]; then
                passed=$((passed + 1))
            else
                failures+=("fuzz: search: $name")
            fi
        done
    fi
else
    skips+=('valgrind, asan, tsan and fuzz: there is no /proc here (mount -t proc proc /proc)')
fi

if build tidy; then
    passed=$((passed + 1))
fi

printf '\n'
[ "${#skips[@]}" -eq 0 ] || printf 'skipped: %s\n' "${skips[@]}"
[ "${#failures[@]}" -eq 0 ] || printf 'FAILED: %s\n' "${failures[@]}"
printf '%d passed, %d failed, %d skipped  [%d s; logs in %s]\n' "$passed" "${#failures[@]}" "${#skips[@]}" "$SECONDS" "$logs"
[ "${#failures[@]}" -eq 0 ]
