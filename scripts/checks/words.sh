#!/usr/bin/env bash
# Words that no file may hold: paths of one machine, and marks of unfinished work.
. "$(dirname "$0")/lib.sh"
enter "$@"

findings=$(
    text() {
        grep -rnIE --exclude-dir=.git --exclude=.git --exclude-dir=build --exclude-dir=corpus --exclude-dir=node_modules --exclude=words.sh --exclude=can_fail.sh "$1" . |
            sed "s|^\./||; s|^\([^:]*:[0-9]*\):.*|\1: $2|" || true
    }
    text '(^|[^A-Za-z0-9_.$}*])/(home|root|Users|work|mnt|srv|tmp/[a-z]+)/[a-z]' 'a path of one machine'
    text '(^|[^A-Za-z0-9_])(TODO|FIXME|XXX|HACK)([^A-Za-z0-9_]|$)' 'unfinished by its own words'
)
verdict "$findings"
