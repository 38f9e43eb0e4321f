package signer

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

var secret = []byte("a passphrase")

// phone is a signer whose person approves unless a test says otherwise.
type phone struct {
	*Signer
	t        *testing.T
	computer device.Peer
	approver Approver
	asked    int
	sheet    SignSheet
}

func newPhone(t *testing.T) *phone {
	t.Helper()
	p := &phone{t: t, computer: device.Peer{ID: device.ID{1}, Name: "laptop"}}
	p.approver = Approver{
		Sign: func(_ context.Context, s SignSheet) (bool, error) {
			p.asked, p.sheet = p.asked+1, s
			s.Shown()
			return true, nil
		},
		Certificate: func(context.Context, CertificateSheet) (CertificateDecision, error) {
			p.asked++
			return CertificateDecision{Approved: true}, nil
		},
		Passphrase: func(context.Context, PassphraseRequest) ([]byte, error) { return bytes.Clone(secret), nil },
	}
	s, err := New(Config{Store: &MemoryStore{}, Approver: Approver{
		Sign: func(ctx context.Context, s SignSheet) (bool, error) { return p.approver.Sign(ctx, s) },
		Certificate: func(ctx context.Context, s CertificateSheet) (CertificateDecision, error) {
			return p.approver.Certificate(ctx, s)
		},
		Passphrase: func(ctx context.Context, r PassphraseRequest) ([]byte, error) { return p.approver.Passphrase(ctx, r) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.Signer = s
	return p
}

func (p *phone) create(label, algorithm string) Identity {
	p.t.Helper()
	id, err := p.Create(label, algorithm, 0, secret)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// request is a request for a hostbound login with the identity.
func (p *phone) request(id Identity) *wire.RemoteSignRequest {
	data := sshctx.Context{
		Kind: sshctx.HostBound, SessionID: bytes.Repeat([]byte{9}, 32), User: "root", Service: "ssh-connection",
		Algorithm: id.Algorithm, PublicKey: id.PublicKey, HostKey: []byte("host key"),
	}
	return &wire.RemoteSignRequest{
		Asking:       wire.NewAsking(p.computer.ID.String(), "laptop", time.Now(), wire.Window),
		KeyAlgorithm: id.Algorithm, PublicKeyBlob: id.PublicKey, Origin: wire.Origin,
		SignatureFlags: flagRSASHA512, DataToSign: data.Marshal(), Context: wire.Context{ContextQuality: wire.QualityUnknown},
	}
}

func (p *phone) ask(ctx context.Context, r *wire.RemoteSignRequest) *wire.SignResponse {
	p.t.Helper()
	e, err := wire.NewEnvelope(r.RequestID, wire.KindSignRequest, r)
	if err != nil {
		p.t.Fatal(err)
	}
	kind, body := p.Serve(ctx, p.computer, e, func() {})
	if kind != wire.KindSignResponse {
		p.t.Fatalf("answered with %s", kind)
	}
	return body.(*wire.SignResponse)
}

func (p *phone) wantCode(r *wire.SignResponse, want wire.Code) {
	p.t.Helper()
	if r.Error == nil || r.Error.Code != want {
		p.t.Errorf("answered %+v, want code %s", r.Error, want)
	}
	if len(r.Signature) != 0 {
		p.t.Error("a refusal carries a signature")
	}
}

func TestSignsWithEachAlgorithm(t *testing.T) {
	p := newPhone(t)
	for _, algorithm := range []string{"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-ed25519", "ssh-rsa"} {
		id := p.create(algorithm, algorithm)
		r := p.request(id)
		answer := p.ask(t.Context(), r)
		if answer.Error != nil {
			t.Fatalf("%s: %v", algorithm, answer.Error)
		}
		var signature ssh.Signature
		if err := ssh.Unmarshal(answer.Signature, &signature); err != nil {
			t.Fatal(err)
		}
		key, err := ssh.ParsePublicKey(id.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := key.Verify(r.DataToSign, &signature); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
		if algorithm == "ssh-rsa" && signature.Format != "rsa-sha2-512" {
			t.Errorf("RSA signature of format %s", signature.Format)
		}
	}
}

func TestSheetTellsWhatTheBytesSay(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ecdsa-sha2-nistp256")
	r := p.request(id)
	r.Context = wire.Context{ContextQuality: wire.QualityVerified, HostName: "bank.example.com"} // a lie
	p.ask(t.Context(), r)
	want := "login as root on the server with host key " + sshctx.Fingerprint([]byte("host key"))
	if p.sheet.What() != want || p.sheet.Quality != wire.QualityVerified || p.sheet.Label != "work" {
		t.Errorf("sheet says %q, %s", p.sheet.What(), p.sheet.Quality)
	}
	r = p.request(id)
	r.DataToSign = []byte("some bytes")
	r.Context.ContextQuality = wire.QualityVerified
	p.ask(t.Context(), r)
	if p.sheet.Quality != wire.QualityUnknown || p.sheet.What() != "unknown" {
		t.Errorf("the computer's word made unreadable bytes %s: %q", p.sheet.Quality, p.sheet.What())
	}
}

func TestEveryRefusalHasItsCode(t *testing.T) {
	p := newPhone(t)
	id, off, rsaKey := p.create("a", "ecdsa-sha2-nistp256"), p.create("off", "ssh-ed25519"), p.create("rsa", "ssh-rsa")
	if err := p.SetEnabled(off, false); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		id     Identity
		change func(*wire.RemoteSignRequest)
		want   wire.Code
	}{
		"another computer's name": {id, func(r *wire.RemoteSignRequest) { r.SourceDeviceID = device.ID{2}.String() }, wire.CodePairingInvalid},
		"closed window": {id, func(r *wire.RemoteSignRequest) {
			r.IssuedAtMilliseconds -= 61_000
			r.ExpiresAtMilliseconds -= 61_000
		}, wire.CodeRequestExpired},
		"clock ahead": {id, func(r *wire.RemoteSignRequest) {
			r.IssuedAtMilliseconds += 3600_000
			r.ExpiresAtMilliseconds += 3600_000
		}, wire.CodeRequestExpired},
		"unknown key":     {id, func(r *wire.RemoteSignRequest) { r.PublicKeyBlob = []byte("no such key") }, wire.CodeKeyNotFound},
		"disabled key":    {off, nil, wire.CodeKeyDisabled},
		"RSA with SHA-1":  {rsaKey, func(r *wire.RemoteSignRequest) { r.SignatureFlags = 0 }, wire.CodeAlgorithmUnsupported},
		"wrong algorithm": {id, func(r *wire.RemoteSignRequest) { r.KeyAlgorithm = "ssh-ed25519" }, wire.CodeAlgorithmUnsupported},
		"another key in the bytes": {id, func(r *wire.RemoteSignRequest) {
			other := p.request(rsaKey)
			r.DataToSign = other.DataToSign
		}, wire.CodePolicyDenied},
		"no nonce": {id, func(r *wire.RemoteSignRequest) { r.Nonce = nil }, wire.CodeMalformedRequest},
	} {
		r := p.request(c.id)
		if c.change != nil {
			c.change(r)
		}
		t.Run(name, func(t *testing.T) { p.t = t; p.wantCode(p.ask(t.Context(), r), c.want) })
	}
	if p.asked != 0 {
		t.Errorf("the person was asked %d times", p.asked)
	}
}

func TestReplayIsRefused(t *testing.T) {
	p := newPhone(t)
	id := p.create("a", "ecdsa-sha2-nistp256")
	r := p.request(id)
	if answer := p.ask(t.Context(), r); answer.Error != nil {
		t.Fatal(answer.Error)
	}
	p.wantCode(p.ask(t.Context(), r), wire.CodeReplayDetected)
	sameNonce := p.request(id)
	sameNonce.Nonce = r.Nonce
	p.wantCode(p.ask(t.Context(), sameNonce), wire.CodeReplayDetected)
	if p.asked != 1 {
		t.Errorf("the person was asked %d times", p.asked)
	}
}

func TestNothingIsApprovedWithoutAPerson(t *testing.T) {
	s, err := New(Config{Store: &MemoryStore{}})
	if err != nil {
		t.Fatal(err)
	}
	p := &phone{Signer: s, t: t, computer: device.Peer{ID: device.ID{1}}}
	id := p.create("a", "ecdsa-sha2-nistp256")
	p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeUserDenied)
}

func TestWrongPassphraseIsAuthenticationFailed(t *testing.T) {
	p := newPhone(t)
	id := p.create("a", "ecdsa-sha2-nistp256")
	tries := 0
	p.approver.Passphrase = func(context.Context, PassphraseRequest) ([]byte, error) {
		tries++
		return []byte("wrong"), nil
	}
	p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeAuthenticationFailed)
	if tries != maxPassphraseTries {
		t.Errorf("asked %d times for the passphrase", tries)
	}
}

func TestUnansweredRequestExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPhone(t)
		id := p.create("a", "ecdsa-sha2-nistp256")
		p.approver.Sign = func(ctx context.Context, _ SignSheet) (bool, error) {
			<-ctx.Done()
			return false, ctx.Err()
		}
		start := time.Now()
		p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeRequestExpired)
		if took := time.Since(start); took != wire.Window {
			t.Errorf("expired after %v", took)
		}
	})
}

// An approval that comes after the laptop slept past the window signs nothing.
func TestLateApprovalSignsNothing(t *testing.T) {
	p := newPhone(t)
	id := p.create("a", "ecdsa-sha2-nistp256")
	now := time.Now()
	p.cfg.Now = func() time.Time { return now }
	p.approver.Sign = func(context.Context, SignSheet) (bool, error) {
		now = now.Add(2 * wire.Window)
		return true, nil
	}
	p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeRequestExpired)
}

func TestTooManyWaitingRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPhone(t)
		id := p.create("a", "ecdsa-sha2-nistp256")
		p.approver.Sign = func(ctx context.Context, _ SignSheet) (bool, error) {
			<-ctx.Done()
			return false, ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		for range maxWaitingPerPeer {
			r := p.request(id)
			go p.ask(ctx, r)
		}
		synctest.Wait()
		p.wantCode(p.ask(ctx, p.request(id)), wire.CodeSignerBusy)
		cancel()
		synctest.Wait()
		records, err := p.Activity()
		if err != nil || len(records) != maxWaitingPerPeer+1 || records[len(records)-1].Decision != "withdrawn" {
			t.Errorf("%d records, %v", len(records), err)
		}
	})
}

func certificateRequest(t *testing.T, p *phone) *wire.CertificateRequest {
	t.Helper()
	key, err := generate("ecdsa-sha2-nistp256", 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &wire.CertificateRequest{
		Asking:        wire.NewAsking(p.computer.ID.String(), "laptop", time.Now(), wire.Window),
		PublicKeyBlob: s.PublicKey().Marshal(), RequestedValiditySeconds: 28800,
	}
}

func (p *phone) askCertificate(r *wire.CertificateRequest) *wire.CertificateResponse {
	p.t.Helper()
	e, err := wire.NewEnvelope(r.RequestID, wire.KindCertificateRequest, r)
	if err != nil {
		p.t.Fatal(err)
	}
	_, body := p.Serve(p.t.Context(), p.computer, e, func() {})
	return body.(*wire.CertificateResponse)
}

func TestCertificateIsWhatTheDesignSays(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ecdsa-sha2-nistp256")
	if _, err := p.CreateCA([]string{"root", "deploy"}, secret); err != nil {
		t.Fatal(err)
	}
	if _, err := p.SetPolicy(func(p *Policy) { p.SourceAddress = []string{"192.0.2.0/24"}; p.ForceCommand = "uptime" }); err != nil {
		t.Fatal(err)
	}
	answer := p.askCertificate(certificateRequest(t, p))
	if answer.Error != nil {
		t.Fatal(answer.Error)
	}
	key, err := ssh.ParsePublicKey(answer.CertificateBlob)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cert.pub")
	if err := os.WriteFile(path, ssh.MarshalAuthorizedKey(key), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ssh-keygen", "-L", "-f", path).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen -L: %v: %s", err, out)
	}
	print := strings.TrimPrefix(id.Fingerprint(), "SHA256:")[:12]
	for _, want := range []string{
		"user certificate", "root", "deploy", "source-address 192.0.2.0/24", "force-command uptime", "permit-pty",
		`Key ID: "vmux:` + p.computer.ID.String() + ":" + print + ":",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if d := answer.ValidBefore - answer.ValidAfter; d != 28800+300 {
		t.Errorf("valid for %d s", d)
	}
}

func TestCertificatePolicy(t *testing.T) {
	p := newPhone(t)
	want := func(r *wire.CertificateRequest, code wire.Code) {
		t.Helper()
		if a := p.askCertificate(r); a.Error == nil || a.Error.Code != code {
			t.Errorf("answered %+v, want %s", a.Error, code)
		}
	}
	want(certificateRequest(t, p), wire.CodePolicyDenied) // no CA
	if _, err := p.CreateCA([]string{"deploy"}, secret); err != nil {
		t.Fatal(err)
	}
	want(certificateRequest(t, p), wire.CodeKeyNotFound) // no identity
	p.create("a", "ssh-ed25519")
	automatic := certificateRequest(t, p)
	automatic.Automatic = true
	want(automatic, wire.CodePolicyDenied)
	root := certificateRequest(t, p)
	root.Principals = []string{"root"}
	want(root, wire.CodePolicyDenied)

	p.approver.Certificate = func(context.Context, CertificateSheet) (CertificateDecision, error) {
		return CertificateDecision{Approved: true, Validity: time.Hour}, nil
	}
	if a := p.askCertificate(certificateRequest(t, p)); a.Error != nil || a.ValidBefore-a.ValidAfter != 3600+300 {
		t.Errorf("shortened to an hour: %+v", a)
	}
	p.approver.Certificate = func(context.Context, CertificateSheet) (CertificateDecision, error) {
		return CertificateDecision{Approved: true, Principals: []string{"root"}}, nil
	}
	want(certificateRequest(t, p), wire.CodePolicyDenied) // nobody widens
	p.approver.Certificate = nil
	p.cfg.Approver.Certificate = nil
	want(certificateRequest(t, p), wire.CodeUserDenied)
}

func TestKeyFilesAreSSHKeygens(t *testing.T) {
	p := newPhone(t)
	dir := t.TempDir()
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		path := filepath.Join(dir, kind)
		if out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "old one", "-f", path).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Import(kind, file, nil, secret); !errors.Is(err, ErrEncrypted) {
			t.Errorf("without passphrase: %v", err)
		}
		if _, err := p.Import(kind, file, []byte("wrong"), secret); !errors.Is(err, ErrWrongPassphrase) {
			t.Errorf("with a wrong passphrase: %v", err)
		}
		id, err := p.Import(kind, file, []byte("old one"), secret)
		if err != nil {
			t.Fatal(err)
		}
		exported, err := p.Export(id)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, exported, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("ssh-keygen", "-y", "-P", string(secret), "-f", path).CombinedOutput()
		if err != nil || !strings.HasPrefix(id.AuthorizedKey(), strings.Join(strings.Fields(string(out))[:2], " ")) {
			t.Errorf("%s: ssh-keygen -y: %v: %s", kind, err, out)
		}
	}
}

func TestIdentitiesAreManaged(t *testing.T) {
	p := newPhone(t)
	a, b := p.create("a", "ssh-ed25519"), p.create("b", "ssh-ed25519")
	if !a.Default || b.Default {
		t.Error("the first identity is the default one")
	}
	if _, err := p.Create("a", "ssh-ed25519", 0, secret); !errors.Is(err, ErrExists) {
		t.Errorf("a second identity of one label: %v", err)
	}
	if err := p.Rename(b, "a"); !errors.Is(err, ErrExists) {
		t.Errorf("renamed to a label in use: %v", err)
	}
	if err := p.SetDefault(b); err != nil {
		t.Fatal(err)
	}
	b, _ = p.Find("b")
	if err := p.Delete(b); err != nil {
		t.Fatal(err)
	}
	if names, _ := p.cfg.Store.List("keys/"); len(names) != 1 {
		t.Errorf("key files after deletion: %v", names)
	}
	if a, _ = p.Find("a"); !a.Default {
		t.Error("no default identity is left")
	}
	for _, label := range []string{"", " x", "a\nb", "\u202eevil", strings.Repeat("x", 300)} {
		if _, err := p.Create(label, "ssh-ed25519", 0, secret); err == nil {
			t.Errorf("made an identity labelled %q", label)
		}
	}
	if _, err := p.Create("short", "ssh-rsa", 2048, secret); err == nil {
		t.Error("made an RSA key of 2048 bits")
	}
	if _, err := p.Create("none", "ssh-ed25519", 0, nil); !errors.Is(err, ErrNoPassphrase) {
		t.Errorf("without a passphrase: %v", err)
	}
}

func FuzzDocuments(f *testing.F) {
	f.Add([]byte(`{"version":1,"identities":[{"label":"a"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		store := &MemoryStore{}
		for _, name := range []string{identitiesDocument, caDocument, activityDocument} {
			_ = store.Put(name, b)
		}
		s, err := New(Config{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.Identities()
		_, _ = s.Activity()
		_ = s.Hello()
		_, _ = s.keyList()
	})
}
