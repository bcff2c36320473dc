#!/usr/bin/env bash
# Who may include whom (docs/internals/layers.md). Every #include of ours is looked up in the tables below.
. "$(dirname "$0")/lib.sh"
enter "$@"

# A folder, and the folders of framework/src that its files may include from besides its own. The longest folder that
# a file lies in counts.
layers='
framework/include/weft
framework/src/base
framework/src/transport          base
framework/src/transport/listen   base
framework/src/transport/core     base transport transport/listen
framework/src/transport/memory   base transport transport/listen
framework/src/transport/h2       base transport transport/listen
framework/src/call               base transport
framework/src/resolve            base
framework/src/resolve/consul     base
framework/src/pick               base
framework/src/json               base
framework/src/server             base transport transport/listen call
framework/src/client             base transport call resolve pick
framework/src/builtin            base call server client json
framework/src/observe            base call server client
framework/src/intercept          base
framework/src/config             base
framework/src/sqlite             base
framework/src/security           base transport call server client
framework/src/app                base transport call server client builtin observe config security
tools
services
examples
'

# Headers that are neither libc, POSIX, protobuf-c nor Weft, and the folders that may include them.
externals='
grpc/health/     framework/src/builtin framework/src/client
grpc/reflection/ framework/src/builtin
grpc/        framework/src/transport/core
nghttp2/     framework/src/transport/h2
zlib.h       framework/src/call
openssl/     framework/src/transport framework/src/security
ares.h       framework/src/resolve
upb/         framework/src/json framework/src/builtin
jansson.h    framework/src/config services
curl/        framework/src/resolve/consul
yaml.h       framework/src/config framework/src/resolve services
sqlite3.h    framework/include/weft framework/src/sqlite services
argon2.h     services
uv.h         examples/loop
cmocka.h     tools/weft/templates/service/tests
setjmp.h     tools/weft/templates/service/tests
protobuf-c/  framework/include/weft framework/src/call framework/src/server framework/src/client framework/src/builtin framework/src/json tools services examples
google/      framework/include/weft framework/src/call framework/src/server framework/src/client framework/src/builtin framework/src/json tools services examples
weft/        framework tools services examples
'

libc=' assert.h ctype.h errno.h fcntl.h fenv.h float.h inttypes.h iso646.h limits.h locale.h math.h netdb.h poll.h
pthread.h sched.h signal.h spawn.h stdalign.h stdarg.h stdatomic.h stdbool.h stddef.h stdint.h stdio.h stdlib.h
stdnoreturn.h string.h strings.h syslog.h time.h unistd.h wchar.h dirent.h glob.h getopt.h arpa/inet.h netinet/in.h
netinet/tcp.h sanitizer/asan_interface.h semaphore.h sys/epoll.h sys/eventfd.h sys/file.h sys/inotify.h sys/ioctl.h sys/mman.h sys/prctl.h
sys/random.h sys/resource.h sys/select.h sys/signalfd.h sys/socket.h sys/stat.h
sys/statvfs.h sys/time.h sys/timerfd.h sys/types.h sys/uio.h sys/un.h sys/utsname.h sys/wait.h '
libc=${libc//$'\n'/ }

findings=$(sources framework tools services examples | while read -r file; do
    strip "$file" | grep -nE '^[[:space:]]*#[[:space:]]*include' | sed -E "s|^|$file:|" || true
done | awk -v layers="$layers" -v externals="$externals" -v libc="$libc" '
    BEGIN {
        n = split(layers, lines, "\n")
        for (i = 1; i <= n; i++) {
            split(lines[i], word, " ")
            if (word[1] != "")
                may[word[1]] = " " substr(lines[i], length(word[1]) + 1) " "
        }
        n_ext = split(externals, ext, "\n")
    }
    function layer_of(file,    best, folder) {
        best = ""
        for (folder in may)
            if (index(file, folder "/") == 1 && length(folder) > length(best))
                best = folder
        return best
    }
    function folder_of(path) { sub(/\/[^\/]*$/, "", path); return path }
    # The table line of externals that names this header, or "".
    function external_line(header,    i, word) {
        for (i = 1; i <= n_ext; i++) {
            split(ext[i], word, " ")
            if (word[1] != "" && (word[1] == header || (word[1] ~ /\/$/ && index(header, word[1]) == 1)))
                return ext[i]
        }
        return ""
    }
    {
        split($0, part, ":")
        file = part[1]; where = part[1] ":" part[2]
        text = substr($0, length(where) + 2)
        layer = layer_of(file)
        if (!match(text, /[<"][^>"]*[>"]/)) {
            print where ": an #include without a name"
            next
        }
        quoted = substr(text, RSTART, 1) == "\""
        header = substr(text, RSTART + 1, RLENGTH - 2)
        if (header ~ /\.\./) {
            print where ": " header ": no .. in an #include"
            next
        }
        line = external_line(header)
        if (line != "") {
            n = split(line, word, " ")
            for (i = 2; i <= n; i++)
                if (index(file, word[i] "/") == 1)
                    break
            if (i > n)
                print where ": " header " is not for " layer
            next
        }
        if (!quoted) {
            if (index(libc, " " header " ") == 0)
                print where ": <" header "> is not for " layer " (scripts/checks/layers.sh lists who may include what)"
            next
        }
        from = folder_of(header)
        internal = from != header && ("framework/src/" from) in may
        if (layer ~ /^framework/) {
            own = substr(layer, length("framework/src/") + 1)
            if (from == header)
                print where ": \"" header "\": name it from framework/src, as \"" own "/" header "\""
            else if (from != own && index(may[layer], " " from " ") == 0)
                print where ": " layer " may not include " header
        } else if (internal) {
            print where ": " layer " may include public headers only, not " header
        }
    }')
verdict "$findings"
