package signer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/signer/activity"
	"vmux/internal/signer/authority"
	"vmux/internal/signer/documents"
	"vmux/internal/signer/identity"
	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

var secret = []byte("a passphrase")

// phone is a signer whose person approves unless a test says otherwise.
type phone struct {
	*Signer
	t        *testing.T
	computer device.Peer
	approver Approver
	keys     ram
	asked    int
	sheet    SignSheet
	other    identity.Identity
}

func newPhone(t *testing.T) *phone {
	t.Helper()
	p := &phone{t: t, computer: device.Peer{ID: device.ID{1}, Name: wire.Clean("laptop")}}
	p.approver = Approver{
		Sign: func(_ context.Context, s SignSheet) (SignDecision, error) {
			p.asked, p.sheet = p.asked+1, s
			s.Shown()
			return SignDecision{Approved: true}, nil
		},
		Certificate: func(context.Context, CertificateSheet) (CertificateDecision, error) {
			p.asked++
			return CertificateDecision{Approved: true}, nil
		},
		Passphrase: func(context.Context, PassphraseRequest) ([]byte, error) { return bytes.Clone(secret), nil },
	}
	p.keys = ram{}
	s, err := New(Config{Store: &testkit.Documents{}, Providers: map[string]identity.Provider{"ram": p.keys}, Approver: Approver{
		Sign: func(ctx context.Context, s SignSheet) (SignDecision, error) { return p.approver.Sign(ctx, s) },
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

// create makes an identity without a passphrase: bcrypt takes its time.
func (p *phone) create(label, algorithm string) identity.Identity {
	p.t.Helper()
	id := p.keys.add(p.t, label, algorithm)
	if err := p.Identities.Add(id); err != nil {
		p.t.Fatal(err)
	}
	id, err := p.Identities.Find(label)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

func (p *phone) createCA(principals ...string) authority.CA {
	p.t.Helper()
	ca, err := p.CA.Add(p.keys.add(p.t, "ca", "ecdsa-sha2-nistp256"), principals)
	if err != nil {
		p.t.Fatal(err)
	}
	return ca
}

// ram is a provider that keeps its keys in memory, by Identity.Ref.
type ram map[string]ssh.AlgorithmSigner

func (ram) Kind() wire.ProviderKind { return wire.ProviderUnknown }

func (r ram) Sign(_ context.Context, id identity.Identity, data []byte, algorithm string, _ identity.Unlock) (*ssh.Signature, error) {
	return r[id.Ref].SignWithAlgorithm(rand.Reader, data, algorithm)
}

func (r ram) Forget(id identity.Identity) error {
	delete(r, id.Ref)
	return nil
}

// sharedRSA is one key for all tests: finding the primes takes seconds.
var sharedRSA = sync.OnceValues(func() (crypto.PrivateKey, error) { return identity.Generate("ssh-rsa", 0) })

func (r ram) add(t testing.TB, label, algorithm string) identity.Identity {
	t.Helper()
	generateKey := func() (crypto.PrivateKey, error) { return identity.Generate(algorithm, 0) }
	if algorithm == "ssh-rsa" {
		generateKey = sharedRSA
	}
	key, err := generateKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	id := identity.Identity{
		Label: label, Algorithm: algorithm, PublicKey: s.PublicKey().Marshal(), Enabled: true, Provider: "ram",
	}
	id.Ref = id.Fingerprint()
	r[id.Ref] = s.(ssh.AlgorithmSigner)
	return id
}

// request is a request for a hostbound login with the identity.
func (p *phone) request(id identity.Identity) *wire.RemoteSignRequest {
	data := sshctx.Context{
		Kind: sshctx.HostBound, SessionID: bytes.Repeat([]byte{9}, 32), User: "root", Service: "ssh-connection",
		Algorithm: id.Algorithm, PublicKey: id.PublicKey, HostKey: id.PublicKey,
	}
	return &wire.RemoteSignRequest{
		Asking:       wire.NewAsking(p.computer.ID.String(), "laptop", time.Now(), wire.Window),
		KeyAlgorithm: id.Algorithm, PublicKeyBlob: id.PublicKey, Origin: wire.Origin,
		SignatureFlags: sshctx.FlagRSASHA512, DataToSign: data.Marshal(), Context: wire.Context{ContextQuality: wire.QualityUnknown},
	}
}

func (p *phone) ask(ctx context.Context, r *wire.RemoteSignRequest) *wire.SignResponse {
	p.t.Helper()
	e, err := wiretest.Envelope(r.RequestID, wire.KindSignRequest, r)
	if err != nil {
		p.t.Fatal(err)
	}
	kind, body := p.Serve(ctx, p.computer, e, func() {})
	if kind != wire.KindSignResponse {
		p.t.Fatalf("answered with %s", kind)
	}
	return body.(*wire.SignResponse)
}

// wantSignature verifies an answer with the identity's public key.
func (p *phone) wantSignature(answer *wire.SignResponse, id identity.Identity, r *wire.RemoteSignRequest) ssh.Signature {
	p.t.Helper()
	if answer.Error != nil {
		p.t.Fatal(answer.Error)
	}
	if answer.RequestID != r.RequestID {
		p.t.Errorf("answered %s, asked %s", answer.RequestID, r.RequestID)
	}
	var signature ssh.Signature
	if err := ssh.Unmarshal(answer.Signature, &signature); err != nil {
		p.t.Fatal(err)
	}
	key, err := ssh.ParsePublicKey(id.PublicKey)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := key.Verify(r.DataToSign, &signature); err != nil {
		p.t.Error(err)
	}
	return signature
}

// codeOf is the code of an answer, "" where it is none.
func codeOf(e *wire.Error) wire.Code {
	if e == nil {
		return ""
	}
	return e.Code
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

func certificateRequest(t testing.TB, p *phone) *wire.CertificateRequest {
	t.Helper()
	key := ram{}.add(t, "session", "ecdsa-sha2-nistp256")
	return &wire.CertificateRequest{
		Asking:        wire.NewAsking(p.computer.ID.String(), "laptop", time.Now(), wire.Window),
		PublicKeyBlob: key.PublicKey, RequestedValiditySeconds: 28800,
	}
}

func (p *phone) askCertificate(r *wire.CertificateRequest) *wire.CertificateResponse {
	p.t.Helper()
	e, err := wiretest.Envelope(r.RequestID, wire.KindCertificateRequest, r)
	if err != nil {
		p.t.Fatal(err)
	}
	_, body := p.Serve(p.t.Context(), p.computer, e, func() {})
	return body.(*wire.CertificateResponse)
}

// writeTo has the phone keep its documents elsewhere from now on.
func (p *phone) writeTo(store documents.Store) {
	p.t.Helper()
	c := p.cfg
	c.Store = store
	s, err := New(c)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Signer = s
}

// requests are the records of what computers asked for, oldest first.
func (p *phone) requests() []activity.Record {
	p.t.Helper()
	all, err := p.Activity.Records()
	if err != nil {
		p.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(r activity.Record) bool { return r.Kind != "sign" && r.Kind != "certificate" })
}
