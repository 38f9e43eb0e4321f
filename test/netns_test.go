//go:build linux

package test

import (
	"bufio"
	"context"
	"crypto/tls"
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
	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// The tests in this file have a network of their own: the test program runs
// itself again in new namespaces (user, network, mounts), which end with it.
// There, a phone and a laptop are network namespaces that hang on a switch.

// netnsRole says which part this process plays; unset in the test itself.
const netnsRole = "VMUX_TEST_NETNS_ROLE"

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/run/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy>
</busconfig>`

const networkScript = `
mkdir -p /run/avahi-daemon
# Without root there is one user ID only: avahi-daemon must find its own to be that.
for f in passwd group; do
  sed -E 's/^avahi:x:[0-9]+:[0-9]+/avahi:x:0:0/; s/^avahi:x:[0-9]+:/avahi:x:0:/' /etc/$f >/run/$f
  mount --bind /run/$f /etc/$f
done
for n in phone laptop switch; do ip netns add $n; ip -n $n link set lo up; done
ip -n switch link add br0 type bridge
ip -n switch link set br0 up
i=1
for n in phone laptop; do
  ip link add wire netns $n type veth peer name to-$n netns switch
  ip -n switch link set to-$n master br0 up
  ip -n $n addr add 192.0.2.$i/24 dev wire
  ip -n $n link set wire up
  i=$((i+1))
done
dbus-daemon --config-file=/run/bus.conf --fork --nopidfile --print-address=1
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus
nsenter --net=/run/netns/laptop avahi-daemon --daemonize --no-drop-root --no-rlimits --no-chroot
exec "$0" -test.run='^TestNetworkInside$' -test.v -test.timeout=540s
`

// TestNetwork: avahi-browse on another host sees the phone; two hosts find each
// other by multicast alone and pass a request; a link whose packets vanish is
// noticed within 15 s, and comes back with the network.
func TestNetwork(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"ip", "unshare", "nsenter", "dbus-daemon", "avahi-daemon", "avahi-browse"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%v: run `make setup`", err)
		}
	}
	dir := t.TempDir()
	script := fmt.Sprintf("set -e\nmount -t tmpfs tmpfs /run\ncat >/run/bus.conf <<'END'\n%s\nEND\n%s", busConfig, networkScript)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	args := []string{"--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"}
	if os.Getuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	c := exec.CommandContext(ctx, "unshare", append(args, "sh", "-c", script, os.Args[0])...)
	c.Env = append(os.Environ(), netnsRole+"=inside", "VMUX_TEST_NETNS_DIR="+dir)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// host runs this test program in a namespace, in a role.
type host struct {
	t     *testing.T
	lines chan string
}

func startHost(t *testing.T, name string) *host {
	t.Helper()
	c := exec.CommandContext(t.Context(), "nsenter", "--net=/run/netns/"+name, os.Args[0], "-test.run=^TestNetworkHost$")
	c.Env = append(os.Environ(), netnsRole+"="+name)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t, make(chan string, 100)}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			h.lines <- s.Text()
		}
		close(h.lines)
	}()
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return h
}

// await returns how long it took until the host said text.
func (h *host) await(text string, patience time.Duration) time.Duration {
	h.t.Helper()
	began := time.Now()
	late := time.After(patience)
	var said []string
	for {
		select {
		case line, open := <-h.lines:
			if strings.Contains(line, text) {
				return time.Since(began)
			}
			if said = append(said, line); !open {
				h.t.Fatalf("host ended before %q: %q", text, said)
			}
		case <-late:
			h.t.Fatalf("no %q within %v: %q", text, patience, said)
		}
	}
}

// TestNetworkInside is what TestNetwork runs within its namespaces.
func TestNetworkInside(t *testing.T) {
	if os.Getenv(netnsRole) != "inside" {
		return // nothing of its own
	}
	dir := os.Getenv("VMUX_TEST_NETNS_DIR")
	for _, name := range []string{"phone", "laptop"} {
		k, err := device.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		b, err := k.Marshal()
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	laptop := startHost(t, "laptop") // first, so that it has to notice the phone's coming
	laptop.await("ready", 20*time.Second)
	phone := startHost(t, "phone")
	t.Logf("found and answered after %v", laptop.await("answered", 20*time.Second))
	seenByAvahi(t)

	wire := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", append([]string{"-n", "switch", "link", "set", "to-phone"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	wire("nomaster") // no carrier is lost, nothing is reset: packets vanish
	took := laptop.await("down: "+link.ErrDead.Error(), 15*time.Second)
	t.Logf("laptop noticed the black hole after %v", took)
	phone.await("down: "+link.ErrDead.Error(), 15*time.Second-took+2*time.Second)
	wire("master", "br0")
	t.Logf("back after %v", laptop.await("answered", 25*time.Second))
	vmuxSignsAcrossHosts(t)
}

// vmuxSignsAcrossHosts runs the product on the two hosts: they pair, the phone
// signs; it moves to another port, which only DNS-SD can tell, and signs again.
func vmuxSignsAcrossHosts(t *testing.T) {
	w := unpairedWorld(t)
	w.phone.netns, w.computer.netns = "phone", "laptop"
	w.createIdentity("key", "ecdsa-sha2-nistp256")
	listen := func(address string) *daemon {
		d := w.phone.start("phone.log", "phone", "run", "--approve", "always",
			"--passphrase-file", w.passphraseFile, "--listen", address)
		d.waitLog("Advertising")
		return d
	}
	w.phoneRun = listen("0.0.0.0:45671")
	w.startAgent()
	w.pair()
	sign := func() {
		t.Helper()
		message := w.computer.file("message", "text")
		os.Remove(message + ".sig")
		c := exec.Command("ssh-keygen", "-Y", "sign", "-n", "file", "-f", w.publicFile("key"), message)
		c.Env = []string{"SSH_AUTH_SOCK=" + w.computer.socket()}
		must(t, c)
	}
	sign()
	w.phoneRun.stop()
	w.waitStatus("Phone not connected")
	w.phoneRun = listen("0.0.0.0:45672")
	w.waitConnected()
	sign()
	if n := w.approvals(); n != 2 {
		t.Errorf("the phone approved %d signatures, want 2", n)
	}
}

func seenByAvahi(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nsenter", "--net=/run/netns/laptop",
		"avahi-browse", "--resolve", "--parsable", "--terminate", lan.ServiceType).CombinedOutput()
	if err != nil {
		t.Fatalf("avahi-browse: %v\n%s", err, out)
	}
	id := hostKey(t, "phone").ID().String()
	for _, want := range []string{"=;wire;IPv4;J\\195\\188rgen\\039s\\032phone", ";192.0.2.1;4100;", "\"id=" + id + "\""} {
		if !strings.Contains(string(out), want) {
			t.Errorf("avahi-browse does not show %s:\n%s", want, out)
		}
	}
}

func hostKey(t *testing.T, name string) *device.Key {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(os.Getenv("VMUX_TEST_NETNS_DIR"), name))
	if err != nil {
		t.Fatal(err)
	}
	k, err := device.ParseKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestNetworkHost is one host of TestNetworkInside, in a process of its own: it
// lives until that ends it.
func TestNetworkHost(t *testing.T) {
	role := os.Getenv(netnsRole)
	if role != "phone" && role != "laptop" {
		return // nothing of its own
	}
	other := map[string]string{"phone": "laptop", "laptop": "phone"}[role]
	trust := device.NewTrust(new(testkit.Document))
	peer := device.Peer{ID: hostKey(t, other).ID(), Name: wire.Clean(other)}
	if err := trust.Add(peer); err != nil {
		t.Fatal(err)
	}
	h := linkEvents{make(chan struct{}, 100)}
	config := link.Config{Key: hostKey(t, role), Trust: trust, Name: role, Handler: h}
	if role == "laptop" {
		config.Routes = []link.Route{onlyFound{lan.NewDialer(true, nil)}}
	}
	node := link.New(config)
	go func() { _ = node.Run(t.Context()) }()
	if role == "phone" {
		l, err := net.Listen("tcp", ":4100")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = lan.Advertise(t.Context(), config.Key.ID(), "Jürgen's phone", 4100, nil) }()
		_ = node.Serve(t.Context(), l)
		return
	}
	fmt.Println("ready")
	for range h.up {
		if _, err := node.Ask(t.Context(), peer.ID, wire.KindKeyListRequest, wire.NewID(), nil, nil); err != nil {
			fmt.Println("ask:", err)
			continue
		}
		fmt.Println("answered")
	}
}

// onlyFound hides the last known addresses from the dialer: what it reaches, it
// has found by multicast.
type onlyFound struct{ *lan.Dialer }

func (o onlyFound) Dial(ctx context.Context, p device.Peer, secure link.Secure) (*tls.Conn, string, error) {
	p.Routes = nil
	return o.Dialer.Dial(ctx, p, secure)
}
