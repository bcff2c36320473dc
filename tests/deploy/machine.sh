#!/usr/bin/env bash
# machine.sh LAYER OUTSIDE: becomes the systemd of a machine of its own. Its files are this machine's, which it leaves
# alone, below those of the folder LAYER. Units are those of LAYER's /etc/weft-units and no others. The folder OUTSIDE is
# the machine's /run/outside, and has a socket `notify`, on which it tells when it is up.
#
# To be run as the first process of new namespaces: unshare --fork --pid --mount --cgroup --net --uts --ipc
set -euo pipefail
layer=$1 outside=$2

mount --make-rprivate /
work=$outside/machine
mkdir "$work"
mount -t tmpfs -o mode=755 tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"
cp -a "$layer/." "$work/upper"
mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" overlay "$work/root"
cd "$work/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir run/outside old
mount --bind "$outside" run/outside
pivot_root . old
umount -l /old
cd /
exec env -i container=weft-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    SYSTEMD_UNIT_PATH=/etc/weft-units NOTIFY_SOCKET=/run/outside/notify \
    /lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=no
