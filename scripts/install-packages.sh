#!/usr/bin/env bash
# scripts/install-packages.sh [GROUP…]: installs the Debian packages of scripts/packages.txt that are missing.
# Groups: build, test, bench. Default: build and test.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -gt 0 ] || set -- build test
for group; do
    grep -q "^$group " scripts/packages.txt || die "no group '$group' in scripts/packages.txt"
done
install_packages "$@"
