//go:build linux

package test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vmux/internal/hostname"
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
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	args := []string{"--uts", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"}
	if os.Getuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	script = "set -e\nmount -t tmpfs tmpfs /run\nip link set lo up\n" + script +
		"\nexec \"$0\" -test.run='^" + inside + "$' -test.v -test.timeout=150s\n"
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
	port, plain := freePort(t), freePort(t)
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
			!strings.Contains(r.stderr, "hint: sudo hostnamectl set-hostname laptop\n") {
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
