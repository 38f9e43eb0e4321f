package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshdtest"
	"vmux/internal/testkit"
)

// hubProgram is vmux-hub as it is released, beside vmux.
var hubProgram = sync.OnceValues(func() (string, error) {
	return filepath.Join(scratch, "vmux-hub"), testkit.Build(scratch, nil, "vmux/cmd/vmux-hub")
})

// startHub runs a hub with a home of its own until the test ends.
func startHub(h *home, args ...string) *daemon {
	h.t.Helper()
	path, err := hubProgram()
	if err != nil {
		h.t.Fatal(err)
	}
	d := h.startProgram("hub.log", path, args...)
	d.waitLog("hub is ready")
	return d
}

// hubWorld is a world whose devices have nothing but the hub between them: the
// computer names no address of its own, and the phone listens where nobody is.
func hubWorld(t testing.TB, url string, identities ...string) *world {
	t.Helper()
	w := hubless(t, identities...)
	w.startAgent("--lan=false", "--hub", url)
	return w
}

// hubless is a world with a phone that has what it needs; nothing runs yet.
func hubless(t testing.TB, identities ...string) *world {
	t.Helper()
	w := unpairedWorld(t)
	for _, algorithm := range identities {
		w.createIdentity(algorithm, algorithm)
	}
	w.phone.run("phone", "ca", "create", "--passphrase-file", w.passphraseFile)
	w.phone.run("phone", "ca", "policy", "--principals", "root,"+username(t), "--auto-issue=false")
	return w
}

// status is what `vmux status --json` says.
type status struct {
	Hub *struct {
		URL       string
		Connected bool
		Local     bool
		LastError string
		Renamed   string
	}
	Phones []struct {
		Connected bool
		Route     string
	}
}

func (w *world) status() (s status) {
	w.Helper()
	out := w.computer.run("status", "--json")
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		w.Fatalf("status: %v\n%s", err, out)
	}
	return s
}

func (w *world) waitHub(connected bool) {
	w.Helper()
	waitFor(w, fmt.Sprintf("hub connected: %v", connected), func() bool {
		hub := w.status().Hub
		return hub != nil && hub.Connected == connected
	})
}

// waitAtHub waits until the phone is connected through the hub.
func (w *world) waitAtHub(url string) {
	w.Helper()
	waitFor(w, "the link through the hub", func() bool {
		phones := w.status().Phones
		return len(phones) == 1 && phones[0].Connected && phones[0].Route == "hub:"+url
	})
}

// login logs in to a server that lets in the identity, and asks the phone once.
func (w *world) loginBy(t *testing.T, o sshdtest.OpenSSH, label string) {
	t.Helper()
	server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity(label).PublicKey}})
	before := w.approvals()
	must(t, server.Command(deadline(t), t, o, w.computer.socket(), "-o", "IdentitiesOnly=yes", "-i", w.publicFile(label), "true"))
	if n := w.approvals() - before; n != 1 {
		t.Errorf("the phone approved %d signatures, want 1", n)
	}
}

// Through a hub, also when it is all that the two have: pairing, signatures, a
// certificate. What it carries it cannot read.
func TestHubSeesNothing(t *testing.T) {
	t.Parallel()
	tap := newWiretap(t)
	port := testkit.FreePort(t)
	_, public, _ := net.SplitHostPort(tap.l.Addr().String())
	url := "http://localhost:" + public
	tap.mu.Lock()
	tap.to = "127.0.0.1:" + port
	tap.mu.Unlock()
	startHub(newHome(t), "--listen", "127.0.0.1:"+port, "--public-url", url)
	w := hubWorld(t, url, "ssh-ed25519")
	w.waitHub(true)
	// The phone runs before it knows of any hub, and learns of it by the
	// pairing, which is another process.
	w.startPhone()
	w.pairAt("192.0.2.1") // which is no address of this machine
	w.phoneRun.waitLog("At the hub " + url)

	// Its own address is known to the agent: from now on nobody listens there.
	w.agent.stop()
	w.moveRoutes("127.0.0.1:1")
	w.startAgent("--lan=false", "--hub", url)
	w.waitAtHub(url)
	w.loginBy(t, sshdtest.Old(t), "ssh-ed25519")
	w.requestCertificate()

	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.identity("ssh-ed25519").PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	// The hub's half of each WebSocket is not masked (RFC 6455 section 5.1), and
	// passes on everything that either device says.
	recorded := tap.recorded()
	if !bytes.Contains(recorded, []byte(`"type":"challenge"`)) || len(recorded) < 10000 {
		t.Fatalf("%d bytes passed the tap: this is not the hub's conversation", len(recorded))
	}
	for _, s := range append(spellings(key.Marshal()), "ssh-ed25519", "dataToSign", "certificateRequest", "requestID",
		"deviceName", "sourceDevice", "ssh-connection", "ecdsa-sha2", w.phone.dir) {
		if bytes.Contains(recorded, []byte(s)) {
			t.Errorf("the hub can read %q", s)
		}
	}
}

// An agent that ends, as to be started anew, takes back what it has asked, also by way of the
// hub: nobody is to approve what nobody waits for.
func TestEndedAgentAsksNoMore(t *testing.T) {
	t.Parallel()
	port := testkit.FreePort(t)
	url := "http://localhost:" + port
	startHub(newHome(t), "--listen", "127.0.0.1:"+port, "--public-url", url)
	w := hubWorld(t, url, "ssh-ed25519")
	person := onTerminal(t, w.phone.command(t.Context(), "phone", "run", "--hub", url, "--listen", "127.0.0.1:0", "--passphrase-file", w.passphraseFile))
	person.waitCount("At the hub", 1, "")
	w.pairAt("192.0.2.1")
	w.agent.stop()
	w.moveRoutes("127.0.0.1:1")
	w.startAgent("--lan=false", "--hub", url)
	w.waitAtHub(url)
	o := sshdtest.Old(t)
	server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}})
	login := server.Command(deadline(t), t, o, w.computer.socket(), "true")
	if err := login.Start(); err != nil {
		t.Fatal(err)
	}
	person.waitCount(" asks: ", 1, "")
	w.agent.stop()
	person.waitCount("Withdrawn: ", 1, "")
	if err := login.Wait(); err == nil {
		t.Error("logged in")
	}
}

// The hub goes and comes, the agent is killed: links come back by themselves,
// and what was asked meanwhile is answered, or ends with its code.
func TestHubComesBack(t *testing.T) {
	t.Parallel()
	port := testkit.FreePort(t)
	url := "http://localhost:" + port
	hubHome := newHome(t)
	start := func() *daemon { return startHub(hubHome, "--listen", "127.0.0.1:"+port, "--public-url", url) }
	hub := start()
	w := hubWorld(t, url, "ssh-ed25519")
	w.startPhone("--hub", url)
	w.pairAt("192.0.2.1")
	w.agent.stop()
	w.moveRoutes("127.0.0.1:1")
	w.startAgent("--lan=false", "--hub", url)
	w.waitAtHub(url)

	o := sshdtest.Old(t)
	server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}})
	login := func() *exec.Cmd {
		return server.Command(deadline(t), t, o, w.computer.socket(), "-o", "IdentitiesOnly=yes", "-i", w.publicFile("ssh-ed25519"), "true")
	}
	hub.kill()
	w.waitHub(false)
	waiting := login()
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	w.waitStatus("waiting for the phone: a signature by")
	start()
	if err := waiting.Wait(); err != nil {
		t.Errorf("a login that waited while the hub was away: %v", err)
	}
	w.waitAtHub(url)
	w.agent.kill()
	w.startAgent("--lan=false", "--hub", url)
	w.waitAtHub(url)
	must(t, login())
	w.phoneRun.kill()
	if r := w.computer.try("cert", "request"); r.exit != 3 {
		t.Errorf("exit %d, want 3: %s", r.exit, r.stderr)
	}
	w.startPhone() // which remembers the hub
	w.waitAtHub(url)
	must(t, login())
}

// A hub of the agent's own: started with it, again after it has crashed, and
// ended with it, also when the agent is killed.
func TestHubLocal(t *testing.T) {
	t.Parallel()
	if _, err := hubProgram(); err != nil {
		t.Fatal(err)
	}
	port := testkit.FreePort(t)
	url := "http://vmux.localhost:" + port
	w := unpairedWorld(t)
	w.createIdentity("key", "ssh-ed25519")
	flags := []string{"--lan=false", "--hub", "local", "--hub-listen", "127.0.0.1:" + port}
	w.startAgent(flags...)
	w.waitHub(true)
	if hub := w.status().Hub; hub.URL != url || !hub.Local {
		t.Errorf("status: %+v", hub)
	}
	w.agent.waitLog("contact=https://example.com ") // its own name is nobody's to look up
	first := w.hubPID(1)
	if r := w.computer.try(append([]string{"agent"}, flags...)...); r.exit != 1 || strings.Contains(r.stderr, "hub started") {
		t.Errorf("a second agent: exit %d, %s", r.exit, r.stderr)
	}
	syscall.Kill(first, syscall.SIGKILL)
	second := w.hubPID(2)
	w.waitHub(true)

	w.startPhone()
	w.pairAt("192.0.2.1")
	w.waitConnected()

	w.agent.kill()
	waitFor(t, "the hub's end", func() bool { return syscall.Kill(second, 0) != nil })
	w.startAgent(flags...)
	w.waitHub(true)
	third := w.hubPID(3)
	w.waitConnected()
	w.agent.stop()
	if syscall.Kill(third, 0) == nil {
		t.Error("the agent has ended and its hub runs on")
	}
}

// A hub for phones of the network: under a CA of its own, which a phone gets
// without HTTPS, and which the agent believes by itself, though this machine
// cannot resolve the hub's name.
func TestHubLocalWithItsOwnCA(t *testing.T) {
	t.Parallel()
	if _, err := hubProgram(); err != nil {
		t.Fatal(err)
	}
	port, plain := testkit.FreePort(t), testkit.FreePort(t)
	url := "https://box.test:" + port
	w := hubless(t, "ssh-ed25519")
	w.startAgent("--lan=false", "--hub", "local", "--hub-local-ca", "--hub-url", url,
		"--hub-listen", "127.0.0.1:"+port, "--hub-listen-http", "127.0.0.1:"+plain, "--push-subject", "mailto:root@example.org")
	w.waitHub(true)
	w.agent.waitLog("contact=mailto:root@example.org")

	page := must(t, exec.CommandContext(deadline(t), "curl", "-sSf", "http://127.0.0.1:"+plain+"/install-ca"))
	if !strings.Contains(page, "box.test") {
		t.Errorf("the page does not say what is installed: %s", page)
	}
	root := filepath.Join(w.computer.dir, "hub", "ca", "root.pem")
	believing := func(flags ...string) error {
		_, _, err := finish(exec.CommandContext(deadline(t), "curl", append(flags,
			"-sS", "-o", "/dev/null", "--connect-to", "box.test:"+port+":127.0.0.1:"+port, url+"/")...))
		return err
	}
	if err := believing("--cacert", root); err != nil {
		t.Errorf("who has installed the CA: %v", err)
	}
	if believing() == nil {
		t.Error("who has not installed the CA believes the hub")
	}
	w.startPhone()
	w.invite(func(invitation string) {
		if !strings.HasPrefix(invitation, url+"/#") {
			t.Errorf("the invitation does not open the hub's page: %s", invitation)
		}
		w.phone.runInput(invitation, "phone", "pair", "-", "--hub-ca", root)
	}, "--address", "127.0.0.1")
	w.loginBy(t, sshdtest.Old(t), "ssh-ed25519")
}

// hubPID returns the process ID of the n-th hub that the agent has started.
func (w *world) hubPID(n int) (pid int) {
	w.Helper()
	started := regexp.MustCompile(`msg="hub started" pid=(\d+)`)
	waitFor(w, fmt.Sprintf("hub number %d", n), func() bool {
		found := started.FindAllStringSubmatch(w.agent.log(), -1)
		if len(found) >= n {
			pid, _ = strconv.Atoi(found[n-1][1])
		}
		return len(found) >= n
	})
	return pid
}

// pairAt pairs, with an invitation that names an address.
func (w *world) pairAt(address string, phoneArgs ...string) {
	w.Helper()
	w.invite(func(invitation string) {
		w.phone.runInput(invitation+"\n", append([]string{"phone", "pair", "-"}, phoneArgs...)...)
	}, "--address", address)
}

// Nobody gets into an invitation at the hub without its secret, and when it has
// ended nobody gets in at all.
func TestHubInvitationEnds(t *testing.T) {
	t.Parallel()
	port := testkit.FreePort(t)
	url := "http://localhost:" + port
	startHub(newHome(t), "--listen", "127.0.0.1:"+port, "--public-url", url)
	w := hubWorld(t, url)
	w.waitHub(true)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := w.computer.command(ctx, "pair", "--json", "--address", "192.0.2.1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var line struct{ Invitation string }
	if err := json.NewDecoder(stdout).Decode(&line); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(line.Invitation, url+"/#") {
		t.Errorf("the invitation does not open the hub's page: %s", line.Invitation)
	}
	forged := regexp.MustCompile(`s=[^&]{8}`).ReplaceAllString(line.Invitation, "s=AAAAAAAA")
	if r := w.phone.tryInput(forged, "phone", "pair", "-"); r.exit == 0 {
		t.Error("paired with a wrong secret")
	}
	cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	start := time.Now()
	if r := w.phone.tryInput(line.Invitation, "phone", "pair", "-"); r.exit == 0 {
		t.Error("paired by an invitation that has ended")
	} else if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v to say so: %s", took, r.stderr)
	}
	if list := w.computer.run("devices", "--json"); strings.TrimSpace(list) != "[]" {
		t.Errorf("paired: %s", list)
	}
}
