#!/usr/bin/env bash
# debian.sh BUILD: makes the Debian packages of a build, looks into them, installs them into a root of their own by dpkg,
# uses them there as somebody outside the tree would, and removes them again.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need cmake cpack dpkg dpkg-deb dpkg-shlibdeps readelf ninja pkgconf gcc g++ protoc protoc-gen-c
[ -x "$build/bin/user-service" ] || { printf 'skipped: this build has no services\n'; exit 77; }
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    need fakeroot
    as_root=(fakeroot)
fi

cpack -G DEB --config "$build/CPackConfig.cmake" -B "$work/debs" >cpack.log || fail "cpack: $(tail -n 5 cpack.log)"
version=$(sed -n 's/^project(weft VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")
major=${version%%.*}
mapfile -t libraries < <(basename -s .so "$build"/lib/libweft*.so)
mapfile -t packages < <(printf "%s$major\n" "${libraries[@]}" && printf '%s\n' libweft-dev weft-services weft-tools)

# field PACKAGE NAME, control PACKAGE FILE, contents PACKAGE: what is in a package.
field() { dpkg-deb -f debs/"$1"_"$version"_*.deb "$2"; }
control() { dpkg-deb -I debs/"$1"_"$version"_*.deb "$2"; }
contents() { dpkg-deb --fsys-tarfile debs/"$1"_"$version"_*.deb | tar -t | sed -n 's|^\./||; \|/$|!p' | sort; }

# wants PACKAGE WHAT PATTERN TEXT: some line of the text must be the pattern, an extended regular expression.
wants() {
    grep -qxE -e "$3" <<<"$4" || fail "$1: no $2 is '$3' in:" "$4"
}

# depends PACKAGE PATTERN…: it must depend on each, or must not on !PATTERN. "NAME=" means this very version.
depends() {
    local package=$1 all pattern
    all=$(field "$package" Depends | sed 's/, */\n/g')
    shift
    for pattern; do
        case $pattern in
        !*) ! grep -xE -e "${pattern#!}( .*)?" <<<"$all" || fail "$package: unwanted dependency" ;;
        *=) wants "$package" dependency "${pattern%=} \(= $version\)" "$all" ;;
        *) wants "$package" dependency "$pattern( .*)?" "$all" ;;
        esac
    done
}

printf -- '-- what is in them\n'
made=$(basename -a debs/*.deb | sed 's/_.*//' | sort)
[ "$made" = "$(printf '%s\n' "${packages[@]}" | sort)" ] || fail "want the packages ${packages[*]}; made are" "$made"
for package in "${packages[@]}"; do
    for name in Maintainer Homepage Section Source Depends; do
        [ -n "$(field "$package" $name)" ] || fail "$package has no $name"
    done
    wants "$package" description ' [A-Z].*' "$(field "$package" Description)"
    wants "$package" file "usr/share/doc/$package/copyright" "$(contents "$package")"
done

development=$(contents libweft-dev)
for library in "${libraries[@]}"; do
    package=$library$major
    files=$(contents "$package" | sed '/^usr\/share\/doc\//d')
    [[ $files == usr/lib/*"$library.so.$major"$'\n'usr/lib/*"$library.so.$version" ]] || fail "$package has" "$files"
    wants "$package" trigger 'activate-noawait ldconfig' "$(control "$package" triggers)"
    wants "$package" shlibs "$library $major $package \(>= $version\), $package \(<< .*~\)" "$(control "$package" shlibs)"
    [ "$library" = libweft ] || depends "$package" "libweft$major="
    [ "$library" = libweft-core ] || depends "$package" '!libgrpc[0-9]+' '!libstdc\+\+6' "!libweft-core$major"
    depends libweft-dev "$package="
    wants libweft-dev link "usr/lib/(.*/)?$library\.so" "$development"
    wants libweft-dev file "usr/lib/(.*/)?pkgconfig/${library#lib}\.pc" "$development"
done
depends "libweft$major" libc6 libprotobuf-c1 zlib1g 'libssl[0-9]+' libyaml-0-2 libc-ares2 '!libcurl4' '!libsqlite3-0'
depends "libweft-core$major" 'libgrpc[0-9]+'
depends "libweft-consul$major" libcurl4
depends "libweft-sqlite$major" libsqlite3-0
depends libweft-dev libprotobuf-c-dev libprotobuf-dev libsqlite3-dev pkgconf weft-tools=
depends weft-tools protobuf-compiler protobuf-c-compiler libprotobuf-c1
depends weft-services "libweft-core$major=" "libweft-consul$major=" "libweft-sqlite$major=" libargon2-1
headers=$(cd "$root/framework/include" && find weft -type f | sort)
[ "$(sed -n 's|^usr/include/\(weft/\)|\1|p' <<<"$development")" = "$headers" ] || fail 'libweft-dev has not the public headers'
wants weft-tools file usr/bin/protoc-gen-weft "$(contents weft-tools)"
wants weft-tools file usr/bin/weft "$(contents weft-tools)"
wants weft-tools file 'usr/share/man/man1/weft\.1\.gz' "$(contents weft-tools)"
services=$(contents weft-services)
for service in user-service order-service; do
    wants weft-services file usr/bin/$service "$services"
    wants weft-services file "(usr/)?lib/systemd/system/$service\.service" "$services"
    wants weft-services file "etc/weft/$service\.yaml" "$services"
    wants weft-services conffiles "/etc/weft/$service\.yaml" "$(control weft-services conffiles)"
done

if command -v lintian >/dev/null; then
    # Not all programs have a manual page. Only the preset "package" has the folders that a second architecture needs.
    lintian --allow-root --fail-on error,warning \
        --suppress-tags no-manual-page,pkg-config-unavailable-for-cross-compilation debs/*.deb
else
    printf 'skipped: lintian is not installed\n'
fi

printf -- '-- installed into a root of their own\n'
# It starts with this machine's list of packages, without their files: dpkg wants every dependency to be in it.
mkdir -p system/var/lib/dpkg/info system/var/lib/dpkg/updates
cp /var/lib/dpkg/status system/var/lib/dpkg
dpkg_there() {
    PATH="$PATH:/usr/sbin:/sbin" "${as_root[@]}" dpkg --root="$work/system" --force-script-chrootless "$@" >dpkg.log 2>&1 ||
        fail "dpkg $1:" "$(grep -v 'files list file for package' dpkg.log)"
}
dpkg_there --install debs/*.deb
libdir=$(dirname "$(find "$work/system" -name libweft.so)")
for file in "$libdir"/libweft*.so.*.*.* system/usr/bin/*; do
    ! readelf -d "$file" | grep -E 'R(UN)?PATH' || fail "$file says where to look for libraries"
done
LD_LIBRARY_PATH="$libdir" ldd "$libdir/libweft.so.$major" >libweft.needs
! grep -E 'not found|libgrpc|libstdc\+\+' libweft.needs || fail "libweft needs what it should not"
LD_LIBRARY_PATH="$libdir" system/usr/bin/user-service --help >/dev/null

follow_the_guide "$work/system/usr"
export PKG_CONFIG_SYSROOT_DIR="$work/system" PKG_CONFIG_PATH="$libdir/pkgconfig"
follow_by_hand "$work/system/usr"
unset PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_PATH
use_the_engine_for_tests -DCMAKE_PREFIX_PATH="$work/system/usr"

printf -- '-- what a package of somebody else depends on\n'
mkdir -p theirs/debian
touch theirs/debian/control
for library in libweft libweft-testing; do
    dpkg-deb -R debs/"$library$major"_*.deb "theirs/$library"
done
theirs=$(cd theirs && dpkg-shlibdeps -O -Slibweft -Slibweft-testing ../consumer/build/consumer-c 2>shlibdeps.log) ||
    fail 'dpkg-shlibdeps:' "$(cat theirs/shlibdeps.log)"
for library in libweft libweft-testing; do
    package=$library$major
    [[ $theirs == *"$package (>= $version), $package (<< "* ]] || fail "want $package in $theirs"
done

printf -- '-- and removed\n'
dpkg_there --purge "${packages[@]}"
left=$(find system ! -type d ! -path 'system/var/lib/dpkg/*')
[ -z "$left" ] || fail 'they leave' "$left"
