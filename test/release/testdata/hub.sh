#!/bin/bash
# An administrator of a hub, under the system's own systemd.
set -e
apt() { DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends --allow-downgrades -o APT::Sandbox::User=root -o Dpkg::Options::=--force-confold "$@" 2>&1; }
tries() { n=0; until "$@" >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 300 ] || { echo "in vain: $*"; journalctl --no-pager -u vmux-hub; exit 1; }; sleep 0.1; done; }
pid() { systemctl show --property MainPID --value vmux-hub; }
answers() { (exec 3<>/dev/tcp/127.0.0.1/443) 2>/dev/null; } # bash's

apt install /packages/old/vmux-hub_*.deb
echo "new: $(systemctl is-enabled vmux-hub) $(systemctl is-active vmux-hub)"
echo 'VMUX_HUB_OPTIONS="--behind-proxy --public-url https://hub.example.org --listen :443 --listen-http :80"' >/etc/default/vmux-hub
systemctl enable --now vmux-hub
tries answers
echo "runs as: $(ps -o user= -p "$(pid)")"
echo "state: $(stat -c '%U %a' /var/lib/vmux-hub)"
keys=$(sha256sum /var/lib/vmux-hub/*key* 2>/dev/null || find /var/lib/vmux-hub -type f -name '*.json' -exec sha256sum {} +)
before=$(pid)

apt install /packages/vmux-hub_*.deb
tries answers
[ "$(pid)" != "$before" ] && echo "upgraded: it was started again"
cmp -s /proc/"$(pid)"/exe /usr/bin/vmux-hub || echo "WRONG: the program of before runs"
grep -q hub.example.org /etc/default/vmux-hub || echo "WRONG: its settings are gone"
[ "$(sha256sum /var/lib/vmux-hub/*key* 2>/dev/null || find /var/lib/vmux-hub -type f -name '*.json' -exec sha256sum {} +)" = "$keys" ] || echo "WRONG: its keys are others"

printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
before=$(pid)
apt install --reinstall /packages/vmux-hub_*.deb
[ "$(pid)" = "$before" ] && echo "forbidden: it was left alone"
rm /usr/sbin/policy-rc.d

systemctl stop vmux-hub
apt install --reinstall /packages/vmux-hub_*.deb
echo "stopped before: $(systemctl is-active vmux-hub)"
systemctl start vmux-hub
tries answers
apt remove vmux-hub
echo "removed: $(systemctl is-active vmux-hub)"
[ -d /var/lib/vmux-hub ] || echo "WRONG: its state is gone"
apt purge vmux-hub
[ ! -e /var/lib/vmux-hub ] || echo "WRONG: its state is there"
[ -z "$(find /etc -name '*vmux*')" ] || echo "WRONG: something is left in /etc"
getent passwd vmux >/dev/null && echo "the account stays"
echo "failed units: $(systemctl --failed --no-legend | wc -l)"
