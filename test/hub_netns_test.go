//go:build linux

package test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"vmux/internal/sshdtest"
)

// hubAddress is where the hub is, from wherever one looks.
const hubAddress = "203.0.113.1"

// hubNetworkScript makes three hosts: a hub, and behind it, each in a network of
// its own, phone and laptop. The hub's host passes nothing on.
const hubNetworkScript = `
# Without root /etc/shadow cannot be read, and root counts as locked.
echo 'root:*:19000:0:99999:7:::' >/run/shadow
mount --bind /run/shadow /etc/shadow
for n in hub phone laptop; do ip netns add $n; ip -n $n link set lo up; done
ip link set lo up
ip -n hub addr add 203.0.113.1/32 dev lo
i=1
for n in phone laptop; do
  ip link add wire netns $n type veth peer name to-$n netns hub
  ip -n hub addr add 198.18.$i.1/24 dev to-$n
  ip -n hub link set to-$n up
  ip -n $n addr add 198.18.$i.2/24 dev wire
  ip -n $n link set wire up
  ip -n $n route add default via 198.18.$i.1
  i=$((i+1))
done
nsenter --net=/run/netns/hub sysctl -q -w net.ipv4.ip_forward=0
exec "$0" -test.run='^TestHubNetworkInside$' -test.v -test.timeout=540s
`

// TestHubNetwork: a phone and a laptop in networks that reach the hub and not
// each other.
func TestHubNetwork(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"ip", "unshare", "nsenter", "sysctl", "newuidmap"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%v: run `make setup`", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	args := []string{"--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"}
	if os.Getuid() != 0 {
		args = append(args, "--user", "--map-root-user", "--map-auto") // sshd wants an unprivileged user too
	}
	script := "set -e\nmount -t tmpfs tmpfs /run\n" + hubNetworkScript
	c := exec.CommandContext(ctx, "unshare", append(args, "sh", "-c", script, os.Args[0])...)
	c.Env = append(os.Environ(), netnsRole+"=hub-inside")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// TestHubNetworkInside is what TestHubNetwork runs within its namespaces.
func TestHubNetworkInside(t *testing.T) {
	if os.Getenv(netnsRole) != "hub-inside" {
		return // nothing of its own
	}
	hub := newHome(t)
	hub.netns = "hub"
	ca := hubCertificate(t, hub.dir, hubAddress)
	url := "https://" + hubAddress + ":8443"
	startHub(hub, "--listen", ":8443", "--public-url", url,
		"--tls-cert", filepath.Join(hub.dir, "hub.pem"), "--tls-key", filepath.Join(hub.dir, "hub.key"))

	w := unpairedWorld(t)
	w.phone.netns, w.computer.netns = "phone", "laptop"
	w.createIdentity("ssh-ed25519", "ssh-ed25519")
	w.phone.run("phone", "ca", "create", "--passphrase-file", w.passphraseFile)
	w.phone.run("phone", "ca", "policy", "--principals", "root,"+username(t), "--auto-issue=false")
	w.phoneRun = w.phone.start("phone.log", "phone", "run", "--approve", "always", "--passphrase-file", w.passphraseFile)
	w.phoneRun.waitLog("Advertising")
	w.startAgent("--hub", url, "--hub-ca", ca)
	w.waitHub(true)
	apart(t)

	w.invite(func(invitation string) {
		if r := w.phone.tryInput(invitation, "phone", "pair", "-"); r.exit == 0 {
			t.Error("the phone believed a hub whose certificate nobody vouches for")
		}
		w.phone.runInput(invitation, "phone", "pair", "-", "--hub-ca", ca)
	})
	w.waitAtHub(url)
	w.loginBy(t, sshdtest.Old(t), "ssh-ed25519")
	line := w.requestCertificate()
	w.phoneRun.stop()
	o := sshdtest.Old(t)
	server := o.StartServer(t, sshdtest.Config{TrustedUserCAKeys: []string{line}})
	must(t, server.Command(deadline(t), t, o, w.computer.socket(), "true"))

	w.phoneRun = w.phone.start("phone.log", "phone", "run", "--approve", "always", "--passphrase-file", w.passphraseFile)
	w.waitAtHub(url)
	w.computer.run("keys", "refresh")
}

// apart fails if the phone's host can reach the laptop's, by which the test would
// show nothing.
func apart(t *testing.T) {
	t.Helper()
	for _, pair := range [][2]string{{"phone", "198.18.2.2"}, {"laptop", "198.18.1.2"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		out, err := exec.CommandContext(ctx, "nsenter", "--net=/run/netns/"+pair[0],
			"bash", "-c", "exec 3<>/dev/tcp/"+pair[1]+"/22").CombinedOutput()
		cancel()
		// A host that is reached refuses; one that is not is silent.
		if err == nil || ctx.Err() == nil {
			t.Errorf("%s reaches %s: %v %s", pair[0], pair[1], err, out)
		}
	}
}

// hubCertificate writes hub.pem and hub.key below dir, for host names and IP
// addresses, and returns the file of the CA that vouches for them.
func hubCertificate(t *testing.T, dir string, hosts ...string) (ca string) {
	t.Helper()
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	rootKey, key := newKey(), newKey()
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &rootKey.PublicKey, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "hub"},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, &key.PublicKey, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(fmt.Errorf("encode the hub's key: %w", err))
	}
	write("hub.pem", "CERTIFICATE", der)
	write("hub.key", "PRIVATE KEY", keyDER)
	return write("ca.pem", "CERTIFICATE", rootDER)
}
