//go:build linux

package release

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// world makes a clean Debian in a folder of its own, and runs inDebian there as its root.
// $1 is the Debian, $2 the folder for it, $3 has the packages, and those of before in old.
const world = `set -e
ip link set lo up
mount -t tmpfs -o mode=755 tmpfs "$2"
tar -C "$2" --numeric-owner --exclude='./dev/*' --exclude=./systemd -xf "$1"
mount --rbind /dev "$2/dev"
mount -t proc proc "$2/proc"
mkdir "$2/packages"
cp -r "$3"/. "$2/packages"
exec chroot "$2" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive HOME=/root sh -c "$4"
`

// inDebian is an administrator at work, and alice, who logs in to this very computer.
const inDebian = `set -e
apt() { apt-get -q -y --no-install-recommends -o APT::Sandbox::User=root -o Dpkg::Options::=--force-confold "$@" 2>&1; }
# What packages are there to change; names of accounts and what the tools log do not count.
files() { find / -xdev \( -path /proc -o -path /dev -o -path /sys -o -path /run -o -path /tmp -o -path /packages -o -path /root -o -path /home -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o -path /var/log \) -prune -o -printf '%p %M %u %l\n' | grep -v -E '^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-? |^/etc/ld.so.cache |^/(etc|var/lib)/? ' | sort; }
alice() { runuser -u alice -- env -C /home/alice HOME=/home/alice SSH_AUTH_SOCK=/home/alice/.ssh/vmux-agent.sock "$@"; }
phone() { alice env VMUX_HOME=/home/alice/phone vmux phone "$@"; }
login() { alice ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/home/alice/hosts -o IdentityAgent=/home/alice/.ssh/vmux-agent.sock -p 2222 alice@127.0.0.1 "$@"; }
tries() { n=0; until "$@" >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 300 ] || { echo "in vain: $*"; alice vmux status; cat /tmp/*.log; exit 1; }; sleep 0.1; done; }
agent() { alice vmux agent --lan=false >>/tmp/agent.log 2>&1 & }
answers() { alice vmux status; [ $? = 3 ]; } # it is there, and its phone is not

useradd --create-home --shell /bin/bash alice
usermod --password '*' alice
mkdir -p /run/sshd
/usr/sbin/sshd -p 2222 -o ListenAddress=127.0.0.1 -o UsePAM=no -E /tmp/sshd.log
files >/tmp/before

apt install /packages/old/*.deb
echo "installed: $(vmux version | cut -d " " -f 2) $(dpkg-query -W -f '${Version} ' vmux vmux-hub vmux-tray)"
echo "account: $(getent passwd vmux | cut -d: -f5-7) $([ "$(id -u vmux)" -lt 1000 ] && echo of the system)"
[ -z "$(find /etc/systemd -name '*vmux*')" ] || echo "WRONG: something is enabled"
echo VMUX_HUB_OPTIONS=--verbose >/etc/default/vmux-hub
install -d -o vmux /var/lib/vmux-hub

agent
tries answers
echo secret phrase >/home/alice/passphrase
chown alice /home/alice/passphrase
chmod 600 /home/alice/passphrase
phone identity create --label key --passphrase-file passphrase >/tmp/key 2>&1
alice env VMUX_HOME=/home/alice/phone vmux phone run --approve always --passphrase-file passphrase --listen 127.0.0.1:0 >/tmp/phone.log 2>&1 &
tries grep -q listen /tmp/phone.log
alice vmux pair --json --address 127.0.0.1 >/tmp/pair 2>/tmp/pair.log &
invited() { grep -q invitation /tmp/pair; }
tries invited
head -n 1 /tmp/pair | sed 's/.*"invitation":"\([^"]*\)".*/\1/' | phone pair -
tries alice vmux status
alice mkdir -p -m 700 .ssh
alice ssh-add -L | alice tee .ssh/authorized_keys >/dev/null
echo "login before: $(login echo yes)"

# A login waits while the packages are upgraded.
running=$(pgrep -f '^vmux agent')
holder=$(pgrep -f '^vmux phone run')
kill -STOP $holder
login echo yes >/tmp/login 2>&1 &
waits() { alice vmux status 2>&1 | grep -q 'waiting for the phone'; }
tries waits
apt install /packages/*.deb
echo "upgraded: $(dpkg-query -W -f '${Version} ' vmux vmux-hub vmux-tray)"
[ "$(pgrep -f '^vmux agent')" = "$running" ] || echo "WRONG: another agent runs"
kill -CONT $holder
wait $!
echo "login that waited: $(cat /tmp/login)"
[ ! -e /usr/share/doc/vmux/docs/of-before.md ] || echo "WRONG: a file of before is there"
[ "$(vmux version | cut -d " " -f 2)" = 0.1.0 ] || echo "WRONG: the program of before is there"
echo "settings: $(cat /etc/default/vmux-hub)"
kill $running
gone() { ! kill -0 $running; }
tries gone
agent
tries alice vmux status
echo "login after: $(login echo yes)"

alice find /home/alice -type f ! -name '*.log' ! -name '*.lock' | sort >/tmp/people
kill $(pgrep -f '^vmux (agent|phone run)')
apt remove vmux vmux-hub vmux-tray
[ ! -e /usr/bin/vmux ] && [ -e /etc/default/vmux-hub ] && [ -d /var/lib/vmux-hub ] || echo "WRONG: removed too little or too much"
apt purge vmux vmux-hub vmux-tray
[ ! -e /var/lib/vmux-hub ] || echo "WRONG: the hub's state is there"
alice find /home/alice -type f ! -name '*.log' ! -name '*.lock' | sort | diff /tmp/people - && echo "what is alice's is there: $(grep -c . /tmp/people) files"
files | diff /tmp/before - && echo "nothing else is left"
`

func cleanDebian(t *testing.T) string {
	t.Helper()
	debian, err := filepath.Abs("../../.cache/debian-12.tar")
	if err == nil {
		_, err = os.Stat(debian)
	}
	if err != nil {
		t.Fatalf("%v: make setup fetches it", err)
	}
	return debian
}

// packagesOf is a folder with the packages of a release, and in old those of the one before.
func packagesOf(t *testing.T, r made) string {
	t.Helper()
	to := t.TempDir()
	must(t, "", "sh", "-euc", `mkdir "$3/old" && cp "$1"/*.deb "$3" && cp "$2"/*.deb "$3/old"`, "sh", r.folder, r.before, to)
	return to
}

// The packages in a clean Debian: installed, upgraded while a login waits, removed, purged.
func testDebian(t *testing.T, release made) {
	debian, root, packages := cleanDebian(t), t.TempDir(), packagesOf(t, release)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	args := []string{"--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", world, "sh", debian, root, packages, inDebian}
	if os.Getuid() != 0 {
		args = append([]string{"--user", "--map-root-user", "--map-auto"}, args...)
	}
	b, err := exec.CommandContext(ctx, "unshare", args...).CombinedOutput()
	out := strings.ReplaceAll(string(b), "\r", "") // dpkg runs on a terminal of apt's
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"installed: 0.0.9 0.0.9 0.0.9 0.0.9 \n",
		"account: Hub of vmux:/var/lib/vmux-hub:/usr/sbin/nologin of the system\n",
		"login before: yes\n",
		"upgraded: 0.1.0",
		"login that waited: yes\n",
		"settings: VMUX_HUB_OPTIONS=--verbose\n",
		"login after: yes\n",
		"vmux: what people have in their home folders stays:\n  ~/.local/state/vmux",
		"vmux-hub: what the hub remembers stays in /var/lib/vmux-hub, until apt-get purge vmux-hub\n",
		"what is alice's is there: ",
		"nothing else is left\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() || regexp.MustCompile("WRONG|in vain").MatchString(out) {
		t.Errorf("the administrator:\n%s", out)
	}
}
