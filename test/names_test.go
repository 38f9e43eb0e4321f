//go:build linux

package test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vmux/internal/device"
	"vmux/internal/hostname"
	"vmux/internal/hubpage"
	"vmux/internal/link/lan"
	"vmux/internal/testkit"
)

// The tests in this file give the computer names: in namespaces of their own (user,
// host name, network, mounts), where the test program runs itself again.

// inNamespaces runs the named test once more as somebody who may change names and
// networks, after a script, and shows what it says.
func inNamespaces(t *testing.T, inside, script string, programs ...string) {
	t.Helper()
	for _, p := range append(programs, "unshare") {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%v: run `make setup`", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	args := []string{"--uts", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"}
	if os.Getuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	script = "set -e\nmount -t tmpfs tmpfs /run\nip link set lo up\n" + script +
		"\nexec \"$0\" -test.run='^" + inside + "$' -test.v -test.timeout=540s\n"
	c := exec.CommandContext(ctx, "unshare", append(args, "sh", "-c", script, os.Args[0])...)
	c.Env = append(os.Environ(), netnsRole+"="+inside, "VMUX_TEST_NETNS_DIR="+t.TempDir())
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// setHostname gives the computer another name, as a DHCP server would.
func setHostname(t *testing.T, name string) {
	t.Helper()
	if err := syscall.Sethostname([]byte(name)); err != nil { // hostname(1) checks names, systemd does not
		t.Fatal(err)
	}
}

// TestComputerRenamed: a DHCP server gives the computer another name, and later the
// old one. The hub stays at its first name, under the root that phones trust, and
// tells what has happened and what to do. A name that no host can have is an error
// that says so, and then keeps nobody from the name that the hub has.
func TestComputerRenamed(t *testing.T) {
	t.Parallel()
	inNamespaces(t, "TestComputerRenamedInside", "", "ip")
}

func TestComputerRenamedInside(t *testing.T) {
	if os.Getenv(netnsRole) != "TestComputerRenamedInside" {
		return // nothing of its own
	}
	hub, err := hubProgram() // beside vmux, which looks for it there
	if err != nil {
		t.Fatal(err)
	}
	w := unpairedWorld(t)
	port, plain := testkit.FreePort(t), testkit.FreePort(t)
	flags := []string{"--lan=false", "--hub", "local", "--hub-local-ca", "--hub-listen", "127.0.0.1:" + port, "--hub-listen-http", "127.0.0.1:" + plain}

	for _, name := range []string{"localhost", "工作", "x-"} {
		setHostname(t, name)
		r := w.computer.try(append([]string{"agent"}, flags...)...)
		if r.exit != 2 || !strings.Contains(r.stderr, "hint: sudo hostnamectl set-hostname ") || !strings.Contains(r.stderr, "--hub-url") {
			t.Errorf("named %s: exit %d, %s", name, r.exit, r.stderr)
		}
	}

	setHostname(t, "Laptop.fritz.box")
	root := filepath.Join(w.computer.dir, "hub", "ca", "root.pem")
	want := "https://laptop.local:" + port
	var first []byte
	for _, name := range []string{"laptop", "dhcp-17", "laptop"} {
		w.startAgent(flags...)
		w.waitHub(true)
		got := w.status().Hub
		if got.URL != want || got.Renamed != "" != (name != "laptop") {
			t.Errorf("named %s: the hub is %s, and told is %q", name, got.URL, got.Renamed)
		}
		b, err := os.ReadFile(root)
		if err != nil || first != nil && !bytes.Equal(b, first) {
			t.Errorf("named %s: another root (%v)", name, err)
		}
		first = b
		// It changes while the agent runs.
		setHostname(t, "elsewhere")
		r := w.computer.try("status")
		if !strings.Contains(r.stderr, "warning: this computer is called elsewhere.local now, and its hub is laptop.local still") ||
			!strings.Contains(r.stderr, "hint: sudo hostnamectl set-hostname laptop && sudo systemctl try-restart avahi-daemon\n") {
			t.Errorf("status of a renamed computer: %s", r.stderr)
		}
		if name == "laptop" {
			setHostname(t, "dhcp-17")
		} else {
			w.agent.waitLog("its hub is laptop.local still")
			setHostname(t, "laptop")
		}
		w.agent.stop()
	}
	if keys, err := filepath.Glob(filepath.Join(w.computer.dir, "hub", "ca", "*.key")); err != nil || len(keys) != 1 {
		t.Errorf("roots: %v, %v", keys, err)
	}

	// The hub alone does the same.
	alone := newHome(t)
	hubFlags := []string{"--local-ca", "--listen", "127.0.0.1:" + port, "--listen-http", "none"}
	for _, name := range []string{"my_box", "dhcp-17"} {
		setHostname(t, name)
		d := alone.startProgram("hub.log", hub, hubFlags...)
		d.waitLog("url=https://mybox.local:" + port)
		if name == "dhcp-17" {
			d.waitLog("its hub is mybox.local still")
		}
		d.stop()
	}
}

// mdnsScript gives the test a network with this computer alone in it, where avahi may
// run as the only user that there is.
const mdnsScript = `
mkdir -p /run/avahi-daemon
for f in passwd group; do
  sed -E 's/^avahi:x:[0-9]+:[0-9]+/avahi:x:0:0/; s/^avahi:x:[0-9]+:/avahi:x:0:/' /etc/$f >/run/$f
  mount --bind /run/$f /etc/$f
done
printf '[server]\nenable-dbus=no\n' >/run/avahi.conf
ip link add wire type veth peer name peer
ip addr add 192.0.2.1/24 dev wire
ip link set peer up
ip link set wire up
`

// TestNameIsWhatAvahiTells: the name that a hub takes is the one that phones find.
func TestNameIsWhatAvahiTells(t *testing.T) {
	t.Parallel()
	inNamespaces(t, "TestNameIsWhatAvahiTellsInside", mdnsScript, "ip", "avahi-daemon")
}

func TestNameIsWhatAvahiTellsInside(t *testing.T) {
	if os.Getenv(netnsRole) != "TestNameIsWhatAvahiTellsInside" {
		return // nothing of its own
	}
	for _, name := range []string{"laptop", "my_laptop", "My-PC", "laptop.fritz.box", "x__1", "Jürgen's PC", strings.Repeat("a", 64)} {
		setHostname(t, name)
		local, err := hostname.Local()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		h := newHome(t)
		d := h.startProgram("avahi.log", "avahi-daemon", "--no-drop-root", "--no-rlimits", "--no-chroot", "-f", "/run/avahi.conf")
		d.waitLog("Server startup complete")
		log, err := os.ReadFile(d.logs)
		if err != nil || !strings.Contains(strings.ToLower(string(log)), "host name is "+local+". ") {
			t.Errorf("%s: want %s, %v: %s", name, local, err, log)
		}
		d.stop()
	}
}

// localNamesScript makes two hosts on a switch. On laptop runs avahi, which tells its
// name; the other one has neither avahi nor a resolver that knows multicast DNS.
const localNamesScript = mdnsScript + `
printf '[server]\nhost-name=laptop\nenable-dbus=no\nallow-interfaces=wire\n' >/run/avahi.conf
ip netns add laptop
ip -n laptop link set lo up
ip link del wire
ip link add wire type veth peer name wire netns laptop
for i in all default wire; do sysctl -q -w net.ipv6.conf.$i.accept_dad=0 || true; done
ip addr add 192.0.2.1/24 dev wire
ip link set wire up
ip -n laptop addr add 192.0.2.2/24 dev wire
ip -n laptop link set wire up
`

// TestLocalNames: hub, agent and phone find each other by NAME.local where the system
// itself does not, by IPv4 and by nothing but IPv6 addresses of the link; a name that
// nobody has is told as that, with what to do.
func TestLocalNames(t *testing.T) {
	t.Parallel()
	inNamespaces(t, "TestLocalNamesInside", localNamesScript, "ip", "nsenter", "sysctl", "avahi-daemon")
}

func TestLocalNamesInside(t *testing.T) {
	if os.Getenv(netnsRole) != "TestLocalNamesInside" {
		return // nothing of its own
	}
	laptop := newHome(t)
	laptop.netns = "laptop"
	avahi := laptop.startProgram("avahi.log", "avahi-daemon", "--no-drop-root", "--no-rlimits", "--no-chroot", "-f", "/run/avahi.conf")
	avahi.waitLog("Server startup complete. Host name is laptop.local")
	// Sockets do not belong to a network: this one would answer on the other host.
	if err := os.Rename("/run/avahi-daemon/socket", "/run/avahi-daemon/laptop"); err != nil {
		t.Fatal(err)
	}
	url := "https://laptop.local:8722"
	startHub(laptop, "--local-ca", "--listen", ":8722", "--listen-http", "none", "--public-url", url)
	ca := filepath.Join(laptop.dir, "hub", "ca", "root.pem")

	w := unpairedWorld(t)
	w.createIdentity("key", "ssh-ed25519")
	w.phoneRun = w.phone.start("phone.log", "phone", "run", "--approve", "always", "--passphrase-file", w.passphraseFile)
	w.phoneRun.waitLog("Advertising")
	w.startAgent("--lan=false", "--hub", "https://Laptop.LOCAL.:8722", "--hub-ca", ca)
	w.waitHub(true)
	w.invite(func(invitation string) { w.phone.runInput(invitation, "phone", "pair", "-", "--hub-ca", ca) }, "--address", "127.0.0.1")
	w.phoneRun.waitLog("At the hub " + url)
	reached := func(network string) { // in the end: on a busy machine an answer may come late
		t.Helper()
		waitFor(t, "laptop.local to be dialled at "+network, func() bool { return strings.HasPrefix(dialed(t, "laptop.local:8722"), network) })
	}
	reached("192.0.2.2:")
	if r := w.computer.try("hub", "verify", url, "--hub-ca", ca); strings.Contains(r.stderr, "no computer") {
		t.Errorf("vmux hub verify: %s", r.stderr)
	}

	// Nothing but link-local addresses is left, which are of no use without their interface.
	must(t, exec.Command("ip", "-4", "addr", "flush", "dev", "wire"))
	must(t, exec.Command("ip", "-n", "laptop", "-4", "addr", "flush", "dev", "wire"))
	avahi.waitLog("Withdrawing address record for 192.0.2.2")
	reached("[fe80::")
	w.agent.stop()
	w.startAgent("--lan=false", "--hub", url, "--hub-ca", ca)
	w.waitHub(true)
	reached("[fe80::")

	w.agent.stop()
	w.startAgent("--lan=false", "--hub", "https://nobody.local:8722", "--hub-ca", ca)
	w.waitStatus("lookup nobody.local: no computer in this network answers to this name")
	r := w.computer.try("hub", "verify", "https://nobody.local:8722")
	if built, _ := hubpage.Built(); built != nil && !strings.Contains(r.stderr, "hint: look whether that computer is on") {
		t.Errorf("vmux hub verify: %s", r.stderr)
	}
}

// dialed returns where the local network's route ends that names a host.
func dialed(t *testing.T, address string) string {
	t.Helper()
	var at string
	stop := errors.New("far enough")
	_, _, err := lan.NewDialer(false, nil).Dial(t.Context(), device.Peer{Routes: []string{lan.Route(address)}},
		func(_ context.Context, c net.Conn) (*tls.Conn, error) {
			at = c.RemoteAddr().String()
			return nil, errors.Join(stop, c.Close())
		})
	if !errors.Is(err, stop) {
		return fmt.Sprint(err)
	}
	return at
}
