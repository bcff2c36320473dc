#!/usr/bin/env bash
# real.sh PROGRAM FOLDER: runs a test program with a real Consul agent's binary as its argument. Consul is not in this
# Debian; the last packaged one, 1.8.7, is fetched from the archive of bullseye into FOLDER and unpacked there, never
# installed. Ends with 77 (skipped) when it cannot be had. CONSUL_BINARY names another one to test with.
set -euo pipefail
export LC_ALL=C.UTF-8
program=$1
folder=$2
key=/usr/share/keyrings/debian-archive-keyring.gpg

skip() {
    printf 'skipped: no real Consul: %s\n' "$*"
    exit 77
}

# fetch: leaves the binary at $folder/usr/bin/consul. apt gets a configuration of its own, so that the system's lists,
# cache and locks are left alone.
fetch() {
    command -v apt-get >/dev/null || skip 'apt-get is not installed'
    command -v dpkg-deb >/dev/null || skip 'dpkg-deb is not installed'
    [ -f $key ] || skip "$key is not there"
    mkdir -p "$folder"/{state/lists/partial,cache/archives/partial,etc/parts,unpacked}
    printf 'deb [signed-by=%s] http://deb.debian.org/debian bullseye main\n' "$key" >"$folder/etc/sources.list"
    : >"$folder/etc/status"
    cat >"$folder/etc/apt.conf" <<EOF
Dir::State "$folder/state";
Dir::State::status "$folder/etc/status";
Dir::Cache "$folder/cache";
Dir::Etc::sourcelist "$folder/etc/sources.list";
Dir::Etc::sourceparts "$folder/etc/parts";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
APT::Sandbox::User "";
EOF
    export APT_CONFIG=$folder/etc/apt.conf
    apt-get -q update >"$folder/log" 2>&1 || skip "apt-get update failed, see $folder/log"
    (cd "$folder" && apt-get -q download consul >>"$folder/log" 2>&1) || skip "no package, see $folder/log"
    dpkg-deb -x "$folder"/consul_*.deb "$folder/unpacked"
    mv "$folder/unpacked/usr" "$folder/usr"
}

# One at a time: test programs of several builds share the folder.
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9

consul=${CONSUL_BINARY:-$folder/usr/bin/consul}
if [ ! -x "$consul" ]; then
    rm -rf "$folder"
    fetch
fi
"$consul" version >/dev/null 2>&1 || skip "$consul does not run here"
exec "$program" "$consul" 9>&-
