package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	sshclient "golang.org/x/crypto/ssh/agent"

	"vmux/internal/agent"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/signer"
	"vmux/internal/sshctx"
	"vmux/internal/state"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

const patience = 60 * time.Second

// waitFor waits for what nothing announces.
var waitFor = testkit.WaitFor

// computer is an agent with its real sockets and links.
type computer struct {
	*agent.Agent
	dir     string
	control *control.Client
	log     *testkit.Output
	stop    func()
}

func startComputer(t *testing.T, dir string) *computer {
	t.Helper()
	c := &computer{dir: dir, log: &testkit.Output{}, control: control.NewClient(filepath.Join(dir, "agent", agent.ControlSocketName), nil)}
	a, err := agent.New(agent.Config{
		StateDir: filepath.Join(dir, "agent"), Socket: filepath.Join(dir, "agent.sock"), Name: "computer",
		Routes: []link.Route{lan.NewDialer(false, nil)}, PairHosts: []string{"127.0.0.1"},
		Log: slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Agent = a
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("agent: %v", err)
		}
	})
	t.Cleanup(c.stop)
	select {
	case <-a.Ready():
	case err := <-done:
		done <- err
		t.Fatalf("agent: %v", err)
	case <-time.After(patience):
		t.Fatal("the agent is not ready")
	}
	return c
}

func (c *computer) status(t *testing.T) control.Status {
	t.Helper()
	s, err := c.control.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// client is an SSH client's connection to the agent.
func (c *computer) client(t *testing.T) sshclient.ExtendedAgent {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(c.dir, "agent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return sshclient.NewClient(conn)
}

// handset is a phone: the real signer on a real link.
type handset struct {
	link.Handler
	*signer.Signer
	node  *link.Node
	trust *device.Trust
	route string
	stop  func()
}

func (h *handset) LinkUp(device.Peer, wire.Hello, string) {}
func (h *handset) LinkDown(device.Peer, error)            {}
func (h *handset) Paired(device.Peer)                     {}
func (h *handset) Unpaired(p device.Peer)                 { _ = h.trust.Remove(p.ID) }

func (h *handset) Serve(ctx context.Context, r *link.Request) (wire.Kind, any) {
	return h.Signer.Serve(ctx, r.From, r.Envelope, r.Received)
}

func startHandset(t *testing.T, approves func() bool) *handset {
	t.Helper()
	passphrase := []byte("correct horse battery staple")
	s, err := signer.New(signer.Config{Store: &testkit.Documents{}, Approver: signer.Approver{
		Sign: func(_ context.Context, sheet signer.SignSheet) (signer.SignDecision, error) {
			sheet.Shown()
			return signer.SignDecision{Approved: approves()}, nil
		},
		Certificate: func(_ context.Context, sheet signer.CertificateSheet) (signer.CertificateDecision, error) {
			sheet.Shown()
			return signer.CertificateDecision{Approved: approves()}, nil
		},
		Passphrase: func(context.Context, signer.PassphraseRequest) ([]byte, error) { return bytes.Clone(passphrase), nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Identities.Create("mine", ssh.KeyAlgoED25519, 0, passphrase); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CA.Create([]string{"root"}, passphrase); err != nil {
		t.Fatal(err)
	}
	key, err := device.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	h := &handset{Signer: s, trust: device.NewTrust(&testkit.Document{})}
	h.node = link.New(link.Config{Key: key, Trust: h.trust, Name: "handset", Hello: s.Hello, Handler: h,
		Routes: []link.Route{lan.NewDialer(false, nil)}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.route = lan.Route(l.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	var parts sync.WaitGroup
	parts.Go(func() { _ = h.node.Run(ctx) })
	parts.Go(func() { _ = h.node.Serve(ctx, l) })
	h.stop = sync.OnceFunc(func() { cancel(); parts.Wait() })
	t.Cleanup(h.stop)
	return h
}

func pair(t *testing.T, c *computer, h *handset) control.Device {
	t.Helper()
	var paired control.Device
	err := c.control.Pair(t.Context(), control.PairOptions{}, func(e control.PairEvent) error {
		if e.Paired != nil {
			paired = *e.Paired
			return nil
		}
		inv, err := device.ParseInvitation(e.Invitation.URL)
		if err != nil {
			return err
		}
		_, err = h.node.Pair(t.Context(), inv, []string{h.route})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the phone's keys", func() bool { return len(c.status(t).Identities) > 0 })
	return paired
}

func TestWhole(t *testing.T) {
	approves := true
	var mu sync.Mutex
	h := startHandset(t, func() bool { mu.Lock(); defer mu.Unlock(); return approves })
	dir := t.TempDir()
	c := startComputer(t, dir)
	if s := c.status(t); s.ConnectionLine != "Phone not connected" || s.CertificateLine != "No session certificate" {
		t.Errorf("at first: %q, %q", s.ConnectionLine, s.CertificateLine)
	}
	paired := pair(t, c, h)
	if paired.Name != "handset" {
		t.Errorf("paired with %+v", paired)
	}
	if s := c.status(t); s.ConnectionLine != "Connected to handset" || len(s.Phones) != 1 || s.Phones[0].Keys != 1 {
		t.Errorf("paired: %q, %+v", s.ConnectionLine, s.Phones)
	}

	client := c.client(t)
	signs(t, client, 0)
	if _, err := c.control.RequestCertificate(t.Context(), control.CertificateOptions{}); err != nil {
		t.Fatal(err)
	}
	signs(t, client, 0)
	shown, err := c.control.ShowCertificate(t.Context())
	if err != nil || shown.State != control.CertificateValid || !slices.Equal(shown.Principals, []string{"root"}) {
		t.Errorf("certificate %+v, %v", shown, err)
	}

	mu.Lock()
	approves = false
	mu.Unlock()
	signs(t, client, 0) // by certificate: nobody is asked
	// By another program: one that has logged in could be forwarding the agent.
	add := exec.Command("ssh-add", "-D")
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+filepath.Join(c.dir, "agent.sock"))
	if out, err := add.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	list, err := client.List()
	if err != nil || len(list) != 1 {
		t.Fatalf("after ssh-add -D: %v, %v", list, err)
	}
	if _, err := client.Sign(list[0], []byte("data")); err == nil {
		t.Error("signed though denied")
	}
	if f := c.status(t).LastFailure; f == nil || f.Code != wire.CodeUserDenied {
		t.Errorf("last failure %+v", f)
	}
	if _, err := c.control.RequestCertificate(t.Context(), control.CertificateOptions{}); wire.CodeOf(err) != wire.CodeUserDenied {
		t.Errorf("denied certificate: %v", err)
	}

	// Phone away, agent restarted: the keys are still listed.
	h.stop()
	c.stop()
	c = startComputer(t, dir)
	if s := c.status(t); len(s.Identities) != 1 || s.Connected {
		t.Errorf("after a restart: %+v", s)
	}
	holdsNoSecret(t, c)
	if _, err := c.control.Unpair(t.Context(), paired.ID[:12]); err != nil {
		t.Fatal(err)
	}
	if s := c.status(t); len(s.Identities)+len(s.Phones) != 0 {
		t.Errorf("after unpairing: %+v", s)
	}
}

// signs makes and checks a signature with the first identity in the list.
func signs(t *testing.T, client sshclient.ExtendedAgent, flags sshclient.SignatureFlags) {
	t.Helper()
	list, err := client.List()
	if err != nil || len(list) == 0 {
		t.Fatalf("list: %v, %v", list, err)
	}
	data, by := []byte("data of a test"), list[0]
	if last := list[len(list)-1]; last.Comment == "vmux-session-cert" {
		by, data = last, sshctx.Context{
			Kind: sshctx.UserAuth, SessionID: make([]byte, 32), User: "root", Service: "ssh-connection",
			Algorithm: last.Format, PublicKey: last.Blob,
		}.Marshal()
	}
	signature, err := client.SignWithFlags(by, data, flags)
	if err != nil {
		t.Fatalf("sign with %s: %v", by.Comment, err)
	}
	key, err := ssh.ParsePublicKey(by.Blob)
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Verify(data, signature); err != nil {
		t.Errorf("%s: %v", by.Comment, err)
	}
}

// holdsNoSecret reads all that the agent has written: of private keys only the
// device key, which signs TLS and nothing for SSH, may be there.
func holdsNoSecret(t *testing.T, c *computer) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(c.dir, "agent"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			return errors.Join(err, fs.ErrPermission)
		}
		if filepath.Base(path) != "device-key" && bytes.Contains(b, []byte("PRIVATE")) {
			t.Errorf("%s holds a private key", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if strings.Contains(c.log.String(), "data of a test") || strings.Contains(c.log.String(), "PRIVATE") {
		t.Error("the log holds a payload or a key")
	}
}

// A second agent on the same state is refused before it reads anything of it, whatever
// its socket: one that is about to start would bring back a phone that the first one
// unpairs meanwhile. The first serves on.
func TestSecondAgent(t *testing.T) {
	dir := t.TempDir()
	c := startComputer(t, dir)
	owned := new(state.Owned)
	_, err := agent.New(agent.Config{
		StateDir: filepath.Join(dir, "agent"), Socket: filepath.Join(dir, "second.sock"),
	})
	if !errors.As(err, &owned) {
		t.Errorf("two agents share a state folder: %v", err)
	}
	if _, err := c.control.Status(t.Context()); err != nil {
		t.Error(err)
	}
}

// Something else stands where the control socket belongs: the agent says so,
// and takes back the SSH socket that it already serves.
func TestControlSocketInTheWay(t *testing.T) {
	dir := t.TempDir()
	a, err := agent.New(agent.Config{
		StateDir: filepath.Join(dir, "agent"), Socket: filepath.Join(dir, "agent.sock"),
	})
	if err != nil {
		t.Fatal(err)
	}
	inTheWay := filepath.Join(dir, "agent", agent.ControlSocketName)
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), inTheWay+" is not a socket") {
		t.Errorf("the agent ran: %v", err)
	}
	select {
	case <-a.Ready():
		t.Error("the agent calls itself ready")
	default:
	}
	if _, err := os.Lstat(filepath.Join(dir, "agent.sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the SSH socket: %v", err)
	}
}

func TestNotRunning(t *testing.T) {
	client := control.NewClient(filepath.Join(t.TempDir(), "control.sock"), nil)
	if _, err := client.Status(t.Context()); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("without an agent: %v", err)
	}
}

// Who stops waiting for the invitation ends it, and the listener with it.
func TestPairingEnds(t *testing.T) {
	c := startComputer(t, t.TempDir())
	var address string
	stop := errors.New("^C")
	err := c.control.Pair(t.Context(), control.PairOptions{}, func(e control.PairEvent) error {
		address, _ = lan.Address(e.Invitation.Routes[0])
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Errorf("nobody listens while the invitation is open: %v", err)
		} else {
			conn.Close()
		}
		other := c.control.Pair(t.Context(), control.PairOptions{}, func(control.PairEvent) error { return nil })
		if wire.CodeOf(other) != control.CodeBusy {
			t.Errorf("a second invitation: %v", other)
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	waitFor(t, "the end of the listener", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

// --watch: a line at once, and one after each change.
func TestWatch(t *testing.T) {
	c := startComputer(t, t.TempDir())
	stop, seen := errors.New("enough"), 0
	err := c.control.Watch(t.Context(), func(s control.Status) error {
		if seen++; seen == 1 {
			c.client(t).RemoveAll()
			return nil
		}
		if len(s.History) == 0 {
			t.Error("the change is not told")
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Error(err)
	}
}
