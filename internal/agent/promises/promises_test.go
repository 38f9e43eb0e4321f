// Package promises holds only tests: what an agent promises to its user, seen
// from outside, over its two sockets and a real link.
package promises

import (
	"context"
	"crypto/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	sshclient "golang.org/x/crypto/ssh/agent"

	"vmux/internal/agent"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// phone is the other end of a real link, with one key and a CA.
type phone struct {
	key  ssh.Signer
	ca   atomic.Pointer[ssh.Signer]
	more atomic.Bool // lists a second key
	two  ssh.Signer
	deny atomic.Bool
	hang atomic.Bool // shows a request and does not answer
	mute atomic.Bool // does not even show it
	lie  atomic.Bool // signs something else

	node  *link.Node
	route string

	asked     atomic.Int32
	withdrawn atomic.Int32
}

func (*phone) LinkUp(device.Peer, wire.Hello, string) {}
func (*phone) LinkDown(device.Peer, error)            {}
func (*phone) Unpaired(device.Peer)                   {}
func (*phone) Paired(device.Peer)                     {}

func (p *phone) Serve(ctx context.Context, r *link.Request) (wire.Kind, any) {
	switch r.Envelope.Kind {
	case wire.KindKeyListRequest:
		return wire.KindKeyListResponse, wire.KeyListResponse{Keys: p.list()}
	case wire.KindCertificateRequest:
		var q wire.CertificateRequest
		if err := wire.DecodeBody(r.Envelope, &q); err != nil {
			return wire.KindError, wire.AsError(err)
		}
		r.Received()
		return wire.KindCertificateResponse, p.issue(q)
	}
	var q wire.RemoteSignRequest
	if err := wire.DecodeBody(r.Envelope, &q); err != nil {
		return wire.KindError, wire.AsError(err)
	}
	return p.sign(ctx, r, q)
}

func (p *phone) list() []wire.RemoteSignerPublicKey {
	keys := []wire.RemoteSignerPublicKey{publicKey(p.key, "work")}
	if p.more.Load() {
		keys = append(keys, publicKey(p.two, "home"))
	}
	return keys
}

func publicKey(s ssh.Signer, comment string) wire.RemoteSignerPublicKey {
	return wire.RemoteSignerPublicKey{
		Algorithm: s.PublicKey().Type(), PublicKeyBlob: s.PublicKey().Marshal(), Comment: comment, ProviderKind: wire.ProviderUnknown,
	}
}

func (p *phone) issue(q wire.CertificateRequest) wire.CertificateResponse {
	refused := wire.CertificateResponse{RequestID: q.RequestID, Error: wire.NewError(wire.CodeInternalError)}
	key, err := ssh.ParsePublicKey(q.PublicKeyBlob)
	if err != nil {
		return refused
	}
	ca := *p.ca.Load()
	c := &ssh.Certificate{
		Key: key, CertType: ssh.UserCert, ValidPrincipals: []string{"root"},
		ValidAfter: uint64(q.IssuedAtMilliseconds/1000 - 300), ValidBefore: uint64(q.IssuedAtMilliseconds/1000 + q.RequestedValiditySeconds),
	}
	if err := c.SignCert(rand.Reader, ca); err != nil {
		return refused
	}
	return wire.CertificateResponse{
		RequestID: q.RequestID, CertificateBlob: c.Marshal(), CAPublicKey: ca.PublicKey().Marshal(),
		ValidAfter: c.ValidAfter, ValidBefore: c.ValidBefore,
	}
}

func (p *phone) sign(ctx context.Context, r *link.Request, q wire.RemoteSignRequest) (wire.Kind, any) {
	p.asked.Add(1)
	if !p.mute.Load() {
		r.Received()
	}
	if p.hang.Load() || p.mute.Load() {
		<-ctx.Done()
		p.withdrawn.Add(1)
		return "", nil
	}
	if p.deny.Load() {
		return wire.KindSignResponse, wire.SignResponse{RequestID: q.RequestID, Error: wire.NewError(wire.CodeUserDenied)}
	}
	if p.lie.Load() {
		q.DataToSign = []byte("something else")
	}
	s, err := p.key.Sign(rand.Reader, q.DataToSign)
	if err != nil {
		return wire.KindError, wire.AsError(err)
	}
	return wire.KindSignResponse, wire.SignResponse{RequestID: q.RequestID, Signature: ssh.Marshal(s)}
}

type world struct {
	control *control.Client
	ssh     sshclient.ExtendedAgent
	phone   *phone
	socket  string
	home    string
	stop    func()
}

// waitFor waits for what nothing announces.
var waitFor = testkit.WaitFor

func startAgent(t *testing.T, home string, change func(*agent.Config)) *world {
	t.Helper()
	c := agent.Config{
		StateDir: filepath.Join(home, "agent"), Socket: filepath.Join(home, "agent.sock"), Name: "computer",
		Routes: []link.Route{lan.NewDialer(false, nil)}, PairHosts: []string{"127.0.0.1"},
	}
	if change != nil {
		change(&c)
	}
	a, err := agent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	w := &world{home: home, socket: c.Socket}
	stopped := false
	w.stop = func() {
		if cancel(); !stopped {
			stopped = true
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	t.Cleanup(w.stop)
	select {
	case <-a.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	w.control = control.NewClient(filepath.Join(c.StateDir, agent.ControlSocketName), nil)
	conn, err := net.Dial("unix", c.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	w.ssh = sshclient.NewClient(conn)
	return w
}

// startPhone runs a phone that holds key.
func startPhone(t *testing.T, name string, key ssh.Signer) *phone {
	t.Helper()
	p := &phone{key: key, two: testkit.NewKey(t)}
	ca := testkit.NewKey(t)
	p.ca.Store(&ca)
	deviceKey, err := device.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	p.node = link.New(link.Config{
		Key: deviceKey, Trust: device.NewTrust(&testkit.Document{}), Name: name, Handler: p,
		Routes: []link.Route{lan.NewDialer(false, nil)},
		Hello:  func() wire.Hello { return wire.Hello{CAPublicKey: (*p.ca.Load()).PublicKey().Marshal()} },
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.route = lan.Route(l.Addr().String())
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- p.node.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); p.node.Close(); <-served })
	return p
}

// pair pairs the phone by an invitation over the control socket.
func (w *world) pair(t *testing.T, p *phone) {
	t.Helper()
	err := w.control.Pair(t.Context(), control.PairOptions{}, func(e control.PairEvent) error {
		if e.Invitation == nil {
			return nil
		}
		inv, err := device.ParseInvitation(e.Invitation.URL)
		if err != nil {
			return err
		}
		_, err = p.node.Pair(t.Context(), inv, []string{p.route})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// pairedWorld is an agent and a phone, paired over the control socket.
func pairedWorld(t *testing.T, change func(*agent.Config)) *world {
	t.Helper()
	w := startAgent(t, testkit.SocketDir(t), change)
	w.phone = startPhone(t, "iPhone", testkit.NewKey(t))
	w.pair(t, w.phone)
	waitFor(t, "the phone's key", func() bool { k, err := w.ssh.List(); return err == nil && len(k) == 1 })
	return w
}

func (w *world) status(t *testing.T) control.Status {
	t.Helper()
	s, err := w.control.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSignByPhoneAndByCertificate(t *testing.T) {
	w := pairedWorld(t, nil)
	data := []byte("data to sign")
	s, err := w.ssh.Sign(w.phone.key.PublicKey(), data)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.phone.key.PublicKey().Verify(data, s); err != nil {
		t.Fatal(err)
	}
	c, err := w.control.RequestCertificate(t.Context(), control.CertificateOptions{})
	if err != nil || c.State != control.CertificateValid {
		t.Fatalf("%+v, %v", c, err)
	}
	keys, err := w.ssh.List()
	if err != nil || len(keys) != 2 || keys[0].Comment != "work" || keys[1].Comment != "vmux-session-cert" {
		t.Fatalf("%v, %v", keys, err)
	}
	certificate, err := ssh.ParsePublicKey(keys[1].Blob)
	if err != nil {
		t.Fatal(err)
	}
	data = sshctx.Context{
		Kind: sshctx.UserAuth, SessionID: make([]byte, 32), User: "root", Service: "ssh-connection",
		Algorithm: certificate.Type(), PublicKey: keys[1].Blob,
	}.Marshal()
	if s, err = w.ssh.Sign(certificate, data); err != nil || certificate.Verify(data, s) != nil || w.phone.asked.Load() != 1 {
		t.Fatalf("%v, the phone was asked %d times", err, w.phone.asked.Load())
	}
	st := w.status(t)
	if st.ConnectionLine != "Connected to iPhone" || !strings.HasPrefix(st.CertificateLine, "Certificate valid until ") || len(st.Identities) != 2 {
		t.Fatalf("%+v", st)
	}
	// By another program: one that has logged in could be forwarding the agent.
	add := exec.Command("ssh-add", "-D")
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+w.socket)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if st = w.status(t); st.CertificateLine != "No session certificate" || len(st.Identities) != 1 {
		t.Fatalf("%+v", st)
	}
}

func TestFailuresOfTheAsking(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(*phone)
		want wire.Code
	}{
		{"denied", func(p *phone) { p.deny.Store(true) }, wire.CodeUserDenied},
		{"no answer", func(p *phone) { p.hang.Store(true) }, wire.CodeRequestExpired},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := pairedWorld(t, func(c *agent.Config) { c.ApprovalTimeout = time.Second })
			test.set(w.phone)
			if _, err := w.ssh.Sign(w.phone.key.PublicKey(), []byte("data")); err == nil {
				t.Fatal("signed")
			}
			if f := w.status(t).LastFailure; f == nil || f.Code != test.want || f.Sentence == "" || f.Hint == "" {
				t.Fatalf("%+v", f)
			}
			if n := len(w.status(t).Waiting); n != 0 {
				t.Fatalf("%d still wait", n)
			}
		})
	}
}

// The client goes away: the phone stops asking, at once and not when the request's
// window ends.
func TestWithdrawal(t *testing.T) {
	w := pairedWorld(t, nil)
	w.phone.hang.Store(true)
	conn, err := net.Dial("unix", w.socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = sshclient.NewClient(conn).Sign(w.phone.key.PublicKey(), []byte("data")) }()
	waitFor(t, "the phone to show it", func() bool { s := w.status(t).Waiting; return len(s) == 1 && s[0].Shown })
	began := time.Now()
	conn.Close()
	waitFor(t, "the withdrawal", func() bool { return w.phone.withdrawn.Load() == 1 })
	if took := time.Since(began); took > wire.Window/2 {
		t.Errorf("withdrawn after %s", took)
	}
	if f := w.status(t).LastFailure; f != nil {
		t.Errorf("a client that leaves is no failure: %+v", f)
	}
}

// After a restart the keys are listed, though no phone is there; unpairing
// forgets them.
func TestCacheAndUnpair(t *testing.T) {
	w := pairedWorld(t, nil)
	w.stop()
	again := startAgent(t, w.home, func(c *agent.Config) { c.Routes = nil })
	keys, err := again.ssh.List()
	if err != nil || len(keys) != 1 || string(keys[0].Blob) != string(w.phone.key.PublicKey().Marshal()) {
		t.Fatalf("%v, %v", keys, err)
	}
	if s := again.status(t); s.ConnectionLine != "Phone not connected" || s.Identities[0].Available {
		t.Fatalf("%+v", s)
	}
	if _, err := again.control.Unpair(t.Context(), "iPhone"); err != nil {
		t.Fatal(err)
	}
	if keys, err = again.ssh.List(); err != nil || len(keys) != 0 {
		t.Fatalf("%v, %v", keys, err)
	}
}

// A signature that does not verify never reaches the SSH client.
func TestWrongSignature(t *testing.T) {
	w := pairedWorld(t, nil)
	w.phone.lie.Store(true)
	if s, err := w.ssh.Sign(w.phone.key.PublicKey(), []byte("data")); err == nil {
		t.Fatalf("passed on: %v", s)
	}
	if f := w.status(t).LastFailure; f == nil || f.Sentence == "" {
		t.Fatalf("%+v", f)
	}
}

// autossh asks nine times in 40 s: a denied session is not asked again, nor is
// the same program's next one to the same server; one to another server is.
func TestDeniedOnce(t *testing.T) {
	w := pairedWorld(t, nil)
	w.phone.deny.Store(true)
	login := func(session, host string) []byte {
		return sshctx.Context{
			Kind: sshctx.HostBound, SessionID: []byte(session), User: "root", Service: "ssh-connection",
			Algorithm: ssh.KeyAlgoED25519, PublicKey: w.phone.key.PublicKey().Marshal(), HostKey: []byte(host),
		}.Marshal()
	}
	for _, session := range []string{"1", "1", "1", "2", "3"} {
		if _, err := w.ssh.Sign(w.phone.key.PublicKey(), login(strings.Repeat(session, 32), "host")); err == nil {
			t.Fatal("signed")
		}
	}
	if n := w.phone.asked.Load(); n != 1 {
		t.Fatalf("asked %d times", n)
	}
	w.phone.deny.Store(false)
	if _, err := w.ssh.Sign(w.phone.key.PublicKey(), login(strings.Repeat("4", 32), "another host")); err != nil {
		t.Fatal(err)
	}
}

// A key that two phones hold is listed once and asked of both; the first
// decision is final and the other phone is told.
func TestTwoPhones(t *testing.T) {
	w := pairedWorld(t, nil)
	other := startPhone(t, "Pixel", w.phone.key)
	w.pair(t, other)
	waitFor(t, "the other phone's keys", func() bool {
		s := w.status(t)
		return len(s.Identities) == 1 && len(s.Identities[0].Phones) == 2
	})
	other.hang.Store(true)
	if _, err := w.ssh.Sign(w.phone.key.PublicKey(), []byte("data")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the withdrawal", func() bool { return other.withdrawn.Load() == other.asked.Load() })
	w.phone.deny.Store(true)
	if _, err := w.ssh.Sign(w.phone.key.PublicKey(), []byte("other data")); err == nil {
		t.Fatal("signed after a denial")
	}
}

// Another CA than the phone's first one is refused until the user confirms it.
func TestAnotherCA(t *testing.T) {
	w := pairedWorld(t, nil)
	if _, err := w.control.RequestCertificate(t.Context(), control.CertificateOptions{}); err != nil {
		t.Fatal(err)
	}
	before, err := w.control.ShowCertificate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ca := testkit.NewKey(t)
	w.phone.ca.Store(&ca)
	if _, err := w.control.RequestCertificate(t.Context(), control.CertificateOptions{}); wire.CodeOf(err) != control.CodeCAChanged {
		t.Fatalf("%v", err)
	}
	if now, err := w.control.ShowCertificate(t.Context()); err != nil || now.Line != before.Line {
		t.Fatalf("the old certificate must serve on: %v", err)
	}
	if s := w.status(t); len(s.Warnings) == 0 {
		t.Fatal("no warning")
	}
	if _, err := w.control.AcceptCA(t.Context(), "iPhone", "SHA256:another"); err == nil {
		t.Fatal("confirmed under a wrong fingerprint")
	}
	if _, err := w.control.AcceptCA(t.Context(), "iPhone", ssh.FingerprintSHA256(ca.PublicKey())); err != nil {
		t.Fatal(err)
	}
	if c, err := w.control.RequestCertificate(t.Context(), control.CertificateOptions{}); err != nil || c.CAFingerprint != ssh.FingerprintSHA256(ca.PublicKey()) {
		t.Fatalf("%v", err)
	}
}

// A damaged cache is set aside and told of; the agent starts, and the phone
// fills it again.
func TestDamagedCache(t *testing.T) {
	w := pairedWorld(t, nil)
	w.stop()
	path := filepath.Join(w.home, "agent", cacheFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	again := startAgent(t, w.home, nil)
	if s := again.status(t); len(s.Warnings) != 1 {
		t.Fatalf("warnings: %q", s.Warnings)
	}
	aside, err := filepath.Glob(path + ".damaged*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside: %v, %v", aside, err)
	}
	waitFor(t, "the phone to fill it again", func() bool { k, err := again.ssh.List(); return err == nil && len(k) == 1 })
}

const cacheFile = "cached-keys.json"
