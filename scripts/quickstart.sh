#!/usr/bin/env bash
# scripts/quickstart.sh: from a fresh clone to answered calls. Installs what is missing, builds Weft, starts the bundled
# user service on a free port with a new SQLite database, calls it, and stops it.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -eq 0 ] || die "takes no arguments"

step 'packages'
install_packages build

step 'build'
mkdir -p build
run_logged build/quickstart-configure.log cmake --preset release -DWEFT_BUILD_TESTS=OFF
run_logged build/quickstart-build.log cmake --build --preset release
bin=build/release/bin

work=$(mktemp -d "${TMPDIR:-/tmp}/weft-quickstart.XXXXXX")
service=
finish() {
    if [ -n "$service" ]; then
        kill "$service" 2>/dev/null || true
        wait "$service" || true
    fi
    rm -rf "$work"
}
trap finish EXIT

# give_up MESSAGE: shows what the service logged, and ends.
give_up() {
    cat "$work/log" >&2
    die "$1"
}

step 'start'
printf '$ user-service --listen 127.0.0.1:0 --set database.path=users.db &\n'
"$bin/user-service" --listen 127.0.0.1:0 --set database.path="$work/users.db" >"$work/log" 2>&1 </dev/null &
service=$!

# The service logs the address that it bound: {…,"msg":"listening","address":"127.0.0.1:41033"}.
address=
for ((i = 0; i < 200; i++)); do
    address=$(sed -nE 's/.*"listening".*"address":"([^"]+)".*/\1/p' "$work/log" | head -n 1)
    [ -z "$address" ] || break
    kill -0 "$service" 2>/dev/null || give_up 'user-service did not start'
    sleep 0.1
done
[ -n "$address" ] || give_up 'user-service did not say where it listens'
printf 'user-service listens on %s\n' "$address"

# call WANTED ARGUMENT…: calls the service with the example client, which must end well when WANTED is OK, and otherwise
# name the status WANTED first.
call() {
    local wanted=$1 status=OK output word
    shift
    printf '\n$ user-client'
    for word; do
        case $word in
        *' '*) printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
    output=$("$bin/user-client" "$@" 2>&1) || status=${output%%[!A-Z_]*}
    printf '%s\n' "$output"
    [ "$status" = "$wanted" ] || give_up "wanted $wanted"
    answer=$output
}

step 'calls'
call OK "$address" create 'Ada Lovelace' ada@example.com 'analytical engine'
id=$(sed -nE 's/^created: ([^ ]+) .*/\1/p' <<<"$answer")
call OK "$address" get "$id"
call OK "$address" list
call NOT_FOUND "$address" get no-such-user
call ALREADY_EXISTS "$address" create 'Another Ada' ADA@example.com
call DEADLINE_EXCEEDED --timeout-ms 1 "$address" create 'Charles Babbage' charles@example.com 'difference engine'

step 'stop'
printf '$ kill %d\n' "$service"
kill -TERM "$service"
rc=0
wait "$service" || rc=$?
service=
[ "$rc" -eq 0 ] || give_up "user-service ended with $rc"
printf 'user-service drained and ended with 0\n\nIt all works. Next: README.md, examples/unary and examples/clients. [%d s]\n' "$SECONDS"
