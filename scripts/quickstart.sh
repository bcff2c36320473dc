#!/usr/bin/env bash
# scripts/quickstart.sh: from a fresh clone to answered calls. Installs what is missing, builds Weft, starts two user
# services and an order service on new SQLite databases, places orders, watches one, kills a user service while orders go
# on, and stops everything. No directory is needed: the order service is told where the users are.
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
declare -A pid address
finish() {
    for name in "${!pid[@]}"; do
        kill "${pid[$name]}" 2>/dev/null || true
        wait "${pid[$name]}" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

# give_up MESSAGE: shows what the services logged, and ends.
give_up() {
    tail -n 20 "$work"/*.log >&2
    die "$1"
}

# shown COMMAND…: prints a command as somebody would type it.
shown() {
    local word line='$'
    for word; do
        case $word in
        *' '*) line+=" '$word'" ;;
        *) line+=" $word" ;;
        esac
    done
    printf '\n%s\n' "$line"
}

# start NAME PROGRAM ARGUMENT…: starts a service on a free port and waits until it says which.
start() {
    local name=$1 program=$2 log=$work/$1.log i
    shift 2
    shown "$program" --listen 127.0.0.1:0 "$@" '&'
    (cd "$work" && exec "$WEFT_ROOT/$bin/$program" --listen 127.0.0.1:0 "$@") >"$log" 2>&1 </dev/null &
    pid[$name]=$!
    # {…,"msg":"listening","address":"127.0.0.1:41033"}
    for ((i = 0; i < 200; i++)); do
        address[$name]=$(sed -nE 's/.*"listening".*"address":"([^"]+)".*/\1/p' "$log" | head -n 1)
        [ -z "${address[$name]}" ] || break
        kill -0 "${pid[$name]}" 2>/dev/null || give_up "$name did not start"
        sleep 0.1
    done
    [ -n "${address[$name]}" ] || give_up "$name did not say where it listens"
    printf '%s listens on %s\n' "$name" "${address[$name]}"
}

# call WANTED PROGRAM ARGUMENT…: calls with an example client, which must end well when WANTED is OK, and otherwise name
# the status WANTED first.
call() {
    local wanted=$1 program=$2 status=OK
    shift 2
    shown "$program" "$@"
    answer=$("$bin/$program" "$@" 2>&1) || status=${answer%%[!A-Z_]*}
    printf '%s\n' "$answer"
    [ "$status" = "$wanted" ] || give_up "wanted $wanted"
}

# stop NAME: ends a service as an operator does, and wants it to end well.
stop() {
    local rc=0
    kill -TERM "${pid[$1]}"
    wait "${pid[$1]}" || rc=$?
    unset "pid[$1]"
    [ "$rc" -eq 0 ] || give_up "$1 ended with $rc"
    printf '%s drained and ended with 0\n' "$1"
}

step 'start: two user services on one database, and an order service that knows both'
start user-1 user-service --set database.path=users.db
start user-2 user-service --set database.path=users.db
start order order-service --set database.path=orders.db \
    --set "users.target=static:///${address[user-1]},${address[user-2]}"

step 'users'
call OK user-client "${address[user-1]}" create 'Ada Lovelace' ada@example.com 'analytical engine'
ada=$(sed -nE 's/^created: ([^ ]+) .*/\1/p' <<<"$answer")
call OK user-client "${address[user-2]}" get "$ada"
call ALREADY_EXISTS user-client "${address[user-2]}" create 'Another Ada' ADA@example.com
call DEADLINE_EXCEEDED user-client --timeout-ms 1 "${address[user-1]}" create 'Charles Babbage' charles@example.com 'difference engine'

step 'orders'
call OK order-client --key first-order "${address[order]}" create "$ada" tea:2:350 cup:1:1295
first=$(sed -n 's/^  id: //p' <<<"$answer")
printf '\nThe same again, as a client does that has lost the answer: it is the same order.'
call OK order-client --key first-order "${address[order]}" create "$ada" tea:2:350 cup:1:1295
[ "$(sed -n 's/^  id: //p' <<<"$answer")" = "$first" ] || give_up 'the key has made a second order'
call FAILED_PRECONDITION order-client "${address[order]}" create nobody tea:1:350

step 'a stream: somebody watches the order'
shown order-client "${address[order]}" watch "$first" '&'
"$bin/order-client" "${address[order]}" watch "$first" >"$work/watch.log" 2>&1 </dev/null &
pid[watch]=$!
for ((i = 0; i < 200; i++)); do
    ! grep -q 'status: PENDING' "$work/watch.log" || break
    sleep 0.1
done

step 'one of the user services is killed while orders go on'
# shellcheck disable=SC2016 # as somebody would type it
printf '\n$ for n in $(seq 1 40); do order-client … create …; done     # and: kill -9 %s, which is user-1\n' "${pid[user-1]}"
placed=0
for ((n = 1; n <= 40; n++)); do
    if [ "$n" -eq 10 ]; then
        kill -KILL "${pid[user-1]}"
        wait "${pid[user-1]}" 2>/dev/null || true
        unset 'pid[user-1]'
    fi
    output=$("$bin/order-client" "${address[order]}" create "$ada" "tea:$n:350" 2>&1) || give_up "order $n failed: $output"
    placed=$((placed + 1))
done
printf '%d orders placed, none failed: the other user service answered\n' "$placed"

step 'the order is cancelled, and who watches is told'
call OK order-client "${address[order]}" cancel "$first"
wait "${pid[watch]}" || give_up 'the watch did not end well'
unset 'pid[watch]'
printf '\nwhat the watch has printed:\n'
cat "$work/watch.log"
[ "$(grep -c 'status: ' "$work/watch.log")" -eq 2 ] || give_up 'the watch has not seen both states'

step 'stop'
printf '$ kill %s %s\n' "${pid[order]}" "${pid[user-2]}"
stop order
stop user-2
printf '\nIt all works. Next: README.md; docs/guide/first-service.md makes a service of yours. [%d s]\n' "$SECONDS"
