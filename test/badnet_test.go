//go:build linux

package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The networks that people are in: a path that drops long packets, IPv6 alone,
// addresses that change, a login page in place of everything, a firewall. Each
// connects, or says within 15 s what is wrong.

// saidWithin is how long a program may take to say what is wrong.
const saidWithin = 15 * time.Second

// badNetScript makes four hosts on a switch: phone, laptop, a hub, and one that
// answers names, and everything else if it is told to. Nothing is put together to
// longer packets on the way, so that a limit counts for each.
const badNetScript = `
echo 'root:*:19000:0:99999:7:::' >/run/shadow
mount --bind /run/shadow /etc/shadow
printf 'nameserver 192.0.2.4\nnameserver fd00::4\noptions timeout:1\n' >/run/resolv.conf
mount --bind /run/resolv.conf "$(readlink -f /etc/resolv.conf)"
for n in phone laptop hub portal switch; do ip netns add $n; ip -n $n link set lo up; done
ip -n switch link add br0 type bridge
ip -n switch link set br0 up
i=1
for n in phone laptop hub portal; do
  ip link add wire netns $n type veth peer name to-$n netns switch
  ip -n switch link set to-$n master br0 up gso_max_segs 1
  ip -n $n link set wire up gso_max_segs 1
  ip -n $n addr add 192.0.2.$i/24 dev wire
  ip -n $n addr add fd00::$i/64 dev wire nodad
  i=$((i+1))
done
# As a translator of such a network would have it (RFC 6052), for 192.0.2.3.
ip -n hub addr add 64:ff9b::c000:203/128 dev wire nodad
for n in phone laptop; do ip -n $n route add 64:ff9b::/96 dev wire; done
exec "$0" -test.run='^TestBadNetworksInside$' -test.v -test.timeout=540s
`

func TestBadNetworks(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"ip", "unshare", "nsenter", "nft", "newuidmap", "curl"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%v: run `make setup`", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	args := []string{"--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"}
	if os.Getuid() != 0 {
		args = append(args, "--user", "--map-root-user", "--map-auto")
	}
	script := "set -e\nmount -t tmpfs tmpfs /run\n" + badNetScript
	c := exec.CommandContext(ctx, "unshare", append(args, "sh", "-c", script, os.Args[0])...)
	c.Env = append(os.Environ(), netnsRole+"=bad-inside", "VMUX_TEST_NETNS_DIR="+t.TempDir())
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// badNet is the network and what runs in it.
type badNet struct {
	*world
	hub  *home
	ca   string
	mode string // the file that tells the portal what to do
}

const badHub = "https://hub.example"

func TestBadNetworksInside(t *testing.T) {
	if os.Getenv(netnsRole) != "bad-inside" {
		return // nothing of its own
	}
	b := &badNet{hub: newHome(t), mode: filepath.Join(os.Getenv("VMUX_TEST_NETNS_DIR"), "mode")}
	b.portal(t, "names")
	startPortal(t)
	b.hub.netns = "hub"
	b.ca = hubCertificate(t, b.hub.dir, "hub.example", "192.0.2.3")
	startHub(b.hub, "--listen", ":443", "--public-url", badHub,
		"--tls-cert", filepath.Join(b.hub.dir, "hub.pem"), "--tls-key", filepath.Join(b.hub.dir, "hub.key"))
	for _, s := range []struct {
		name string
		test func(*badNet, *testing.T)
	}{
		{"long packets vanish", (*badNet).longPacketsVanish},
		{"IPv6 alone", (*badNet).ipv6Alone},
		{"addresses change", (*badNet).addressesChange},
		{"a login page", (*badNet).loginPage},
		{"a firewall", (*badNet).firewall},
	} {
		t.Run(s.name, func(t *testing.T) { s.test(b, t) })
	}
}

// begin makes a phone with a key and a laptop.
func (b *badNet) begin(t *testing.T) {
	b.world = unpairedWorld(t)
	b.phone.netns, b.computer.netns = "phone", "laptop"
	b.createIdentity("key", "ecdsa-sha2-nistp256")
}

func (b *badNet) runPhone() {
	b.phoneRun = b.phone.start("phone.log", "phone", "run", "--approve", "always",
		"--passphrase-file", b.passphraseFile, "--listen", "[::]:45671")
	b.phoneRun.waitLog("Advertising")
}

func (b *badNet) end() {
	b.agent.stop()
	b.phoneRun.stop()
}

func (b *badNet) pairAtHub() {
	b.invite(func(invitation string) { b.phone.runInput(invitation+"\n", "phone", "pair", "-", "--hub-ca", b.ca) })
}

// signs asks the phone for a signature, in the background.
func (b *badNet) signs() (done <-chan error) {
	b.Helper()
	b.waitStatus("key SHA256:") // the list of keys comes after the link
	message := b.computer.file("message", "text")
	os.Remove(message + ".sig")
	key := filepath.Join(b.computer.dir, "key.pub")
	if _, err := os.Stat(key); err != nil {
		key = b.publicFile("key")
	}
	c := exec.Command("ssh-keygen", "-Y", "sign", "-n", "file", "-f", key, message)
	c.Env = []string{"SSH_AUTH_SOCK=" + b.computer.socket()}
	signed := make(chan error, 1)
	go func() {
		out, err := c.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		signed <- err
	}()
	return signed
}

func (b *badNet) sign(what string) {
	b.Helper()
	if err := <-b.signs(); err != nil {
		b.Errorf("%s: %v", what, err)
	}
}

// in runs a program of the network's in a namespace.
func (b *badNet) in(name string, args ...string) {
	b.Helper()
	out, err := exec.Command("nsenter", append([]string{"--net=/run/netns/" + name}, args...)...).CombinedOutput()
	if err != nil {
		b.Fatalf("%s: %v: %v: %s", name, args, err, out)
	}
}

func (b *badNet) portal(t *testing.T, mode string) {
	t.Helper()
	if err := os.WriteFile(b.mode, []byte(mode), 0o600); err != nil {
		t.Fatal(err)
	}
}

// says fails unless `vmux status` says all of it soon.
func (b *badNet) says(words ...string) {
	b.Helper()
	began := time.Now()
	text := ""
	waitFor(b, fmt.Sprintf("%q in vmux status", words), func() bool {
		r := b.computer.try("status")
		text = r.stdout + r.stderr
		for _, w := range words {
			if !strings.Contains(text, w) {
				return false
			}
		}
		return true
	})
	if took := time.Since(began); took > saidWithin {
		b.Errorf("said after %v: %q", took, words)
	}
	b.Logf("vmux status:\n%s", text)
}

// No ICMP tells of it: a switch drops what is longer than its port carries.
func (b *badNet) longPacketsVanish(t *testing.T) {
	for _, mtu := range []string{"1280", "620"} {
		b.begin(t)
		b.in("switch", "ip", "link", "set", "to-laptop", "mtu", mtu)
		b.runPhone()
		b.startAgent("--hub", badHub, "--hub-ca", b.ca)
		b.waitHub(true)
		b.pairAtHub()
		b.sign("paths of " + mtu)
		b.end()

		b.begin(t) // and without a hub
		b.runPhone()
		b.startAgent()
		b.pair()
		b.sign("paths of " + mtu + ", direct")
		b.end()
	}
	// Browsers have sockets of their own, so that the hub's must do.
	b.in("switch", "ip", "link", "set", "to-laptop", "mtu", "1050")
	b.in("laptop", "curl", "--silent", "--max-time", "20", "--cacert", b.ca, "--output", "/dev/null", badHub+"/healthz")
	b.in("switch", "ip", "link", "set", "to-laptop", "mtu", "1500")
}

func (b *badNet) ipv6Alone(t *testing.T) {
	for _, n := range []string{"phone", "laptop"} {
		b.in(n, "ip", "-4", "addr", "flush", "dev", "wire")
	}
	for _, hub := range []string{badHub, "https://192.0.2.3", ""} {
		b.begin(t)
		b.runPhone()
		switch hub {
		case "":
			b.startAgent()
			b.pair()
		case badHub:
			b.startAgent("--hub", hub, "--hub-ca", b.ca)
			b.waitHub(true)
			b.pairAtHub()
		default: // a hub has one name, which is not this: it is reached, and says so
			b.startAgent("--hub", hub, "--hub-ca", b.ca)
			b.says("hub https://192.0.2.3 not connected: ", "the hub names another origin")
		}
		if hub != "https://192.0.2.3" {
			b.sign("IPv6 alone, hub " + hub)
		}
		b.end()
	}
	b.in("phone", "ip", "addr", "add", "192.0.2.1/24", "dev", "wire")
	b.in("laptop", "ip", "addr", "add", "192.0.2.2/24", "dev", "wire")
}

// The phone has the request when one side gets other addresses: nothing is reset,
// what either sends goes nowhere.
func (b *badNet) addressesChange(t *testing.T) {
	b.begin(t)
	b.runPhone()
	b.startAgent("--hub", badHub, "--hub-ca", b.ca)
	b.waitHub(true)
	b.pairAtHub()
	b.publicFile("key") // a phone that is stopped tells it to nobody
	for _, moving := range []string{"laptop", "phone"} {
		_ = b.phoneRun.cmd.Process.Signal(syscall.SIGSTOP) // a person who thinks
		signed := b.signs()
		b.waitStatus("waiting for the phone")
		b.in(moving, "ip", "addr", "flush", "dev", "wire", "scope", "global")
		b.in(moving, "ip", "addr", "add", "192.0.2.77/24", "dev", "wire")
		_ = b.phoneRun.cmd.Process.Signal(syscall.SIGCONT)
		began := time.Now()
		if err := <-signed; err != nil {
			t.Errorf("the %s's address changed: %v", moving, err)
		}
		t.Logf("the %s's address changed: signed after %v", moving, time.Since(began))
		b.in(moving, "ip", "addr", "flush", "dev", "wire", "scope", "global")
		i := map[string]string{"phone": "1", "laptop": "2"}[moving]
		b.in(moving, "ip", "addr", "add", "192.0.2."+i+"/24", "dev", "wire")
		b.in(moving, "ip", "addr", "add", "fd00::"+i+"/64", "dev", "wire", "nodad")
	}
	b.waitConnected()
	if n := b.approvals(); n != 2 {
		t.Errorf("the phone approved %d signatures, want 2", n)
	}
	b.end()
}

// Both come to a network that answers every name with its own address, and HTTP
// and HTTPS with a page.
func (b *badNet) loginPage(t *testing.T) {
	b.begin(t)
	b.runPhone()
	b.startAgent("--hub", badHub, "--hub-ca", b.ca)
	b.waitHub(true)
	b.pairAtHub()
	b.portal(t, "page")
	b.in("hub", "ip", "link", "set", "wire", "down")
	for i, n := range []string{"phone", "laptop"} {
		b.in(n, "ip", "addr", "flush", "dev", "wire", "scope", "global")
		b.in(n, "ip", "addr", "add", fmt.Sprintf("192.0.2.8%d/24", i), "dev", "wire")
	}
	b.says("hub https://hub.example not connected: ", "this network answers with a page of its own in place of the hub",
		"hint: open http://hub.example/ in a browser and sign in")
	b.phoneRun.waitLog("vmux: The hub https://hub.example is not reachable: connect to the hub: this network answers with a page of its own")
	b.phoneRun.waitLog("\nhint: open http://hub.example/ in a browser and sign in")

	b.portal(t, "names") // somebody signs in
	b.in("hub", "ip", "link", "set", "wire", "up")
	b.waitHub(true)
	b.waitConnected()
	b.sign("signed in to the network")
	b.end()
}

const dropInbound = `
table inet guard {
	chain in {
		type filter hook input priority 0; policy drop;
		iif lo accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
		udp dport 5353 drop
		ct state established,related accept
	}
}
`

// What firewalls of desktops do: nothing comes in that was not asked for, and no
// multicast.
func (b *badNet) firewall(t *testing.T) {
	rules := b.hub.file("guard.nft", dropInbound)
	b.in("phone", "nft", "-f", rules)
	b.begin(t)
	b.runPhone()
	b.startAgent()
	// The phone dials to pair, and is let out; the laptop is not let in later.
	b.invite(func(invitation string) { b.phone.runInput(invitation+"\n", "phone", "pair", "-") })
	b.phoneRun.stop()
	b.runPhone()
	b.says("Phone not connected", " is not reached: no answer at ", ":45671", "hint: if vmux runs there, its machine's firewall drops what comes in")
	b.end()

	b.in("laptop", "nft", "-f", rules)
	b.begin(t)
	b.runPhone()
	b.startAgent()
	b.pairFails("the computer does not answer", "no firewall there drops what comes in")
	b.end()

	b.begin(t) // a hub helps
	b.runPhone()
	b.startAgent("--hub", badHub, "--hub-ca", b.ca)
	b.waitHub(true)
	b.pairAtHub()
	b.sign("behind firewalls")
	b.end()
	for _, n := range []string{"phone", "laptop"} {
		b.in(n, "nft", "flush", "ruleset")
	}
}

// pairFails redeems an invitation, which fails, and looks how long that took.
func (b *badNet) pairFails(words ...string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	c := b.computer.command(ctx, "pair")
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	line := make([]byte, 4096)
	n, err := out.Read(line)
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	r := b.phone.tryInput(string(line[:n]), "phone", "pair", "-")
	took := time.Since(began)
	cancel()
	_ = c.Wait()
	if r.exit == 0 || took > saidWithin {
		b.Errorf("exit %d after %v", r.exit, took)
	}
	for _, w := range words {
		if !strings.Contains(r.stderr, w) {
			b.Errorf("no %q:\n%s", w, r.stderr)
		}
	}
	b.Logf("vmux phone pair, after %v:\n%s", took, r.stderr)
}
