#!/bin/sh
# A clean Debian with systemd as its system manager, in namespaces of its own; runs a script
# in there. $1 is the Debian, $2 an empty folder for it, $3 the packages, $4 the script.
set -e
ip link set lo up
ip link add lan0 type veth peer name lan1
ip addr add 192.0.2.1/24 dev lan0
ip link set lan0 up
ip link set lan1 up
hostname desk
mount -t tmpfs -o mode=755 tmpfs "$2"
tar -C "$2" --numeric-owner -xf "$1"
mkdir "$2/packages"
cp -r "$3"/. "$2/packages"
cp "$4" "$2/packages/script"
echo desk >"$2/etc/hostname"
echo '127.0.0.1 localhost desk' >"$2/etc/hosts"
mount -t proc proc "$2/proc"
chroot "$2" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive \
	sh -c 'apt-get -q -y --no-install-recommends --allow-downgrades -o APT::Sandbox::User=root install /systemd/*.deb' >"$2/packages/log" 2>&1 ||
	{ cat "$2/packages/log"; exit 1; }
umount "$2/proc"
for unit in console-getty getty@ serial-getty@ container-getty@ apt-daily.timer; do # nothing of the host's console
	ln -s /dev/null "$2/etc/systemd/system/${unit%.timer}.$([ "${unit#*.}" = timer ] && echo timer || echo service)"
done
mount -t sysfs sysfs "$2/sys"
mount -t cgroup2 cgroup2 "$2/sys/fs/cgroup"
mount -t tmpfs tmpfs "$2/run"
unshare --pid --mount --fork --kill-child sh -c 'mount -t proc proc "$1/proc"
exec chroot "$1" env -i container=vmux PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=multi-user.target --log-target=null --show-status=no' sh "$2" &
outer=$!
tries() { n=0; until "$@" >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 600 ] || { echo "in vain: $*"; exit 1; }; sleep 0.1; done; }
tries pgrep -P $outer
inside() { nsenter --target "$(pgrep -P $outer)" --mount --pid --root --cgroup -- /usr/bin/env -i -C / PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"; }
tries inside systemctl is-system-running
inside bash /packages/script
