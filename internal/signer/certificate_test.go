package signer

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/authority"
	"vmux/internal/signer/documents"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

func (p *phone) wantCertificate(r *wire.CertificateRequest) *ssh.Certificate {
	p.t.Helper()
	answer := p.askCertificate(r)
	if answer.Error != nil {
		p.t.Fatal(answer.Error)
	}
	if err := answer.Check(); err != nil {
		p.t.Error(err)
	}
	key, err := ssh.ParsePublicKey(answer.CertificateBlob)
	if err != nil {
		p.t.Fatal(err)
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok || cert.ValidAfter != answer.ValidAfter || cert.ValidBefore != answer.ValidBefore {
		p.t.Fatalf("the answer does not repeat the certificate: %+v", answer)
	}
	if !bytes.Equal(cert.Key.Marshal(), r.PublicKeyBlob) || !bytes.Equal(cert.SignatureKey.Marshal(), answer.CAPublicKey) {
		p.t.Error("the certificate is over another key, or by another CA")
	}
	return cert
}

// The whole policy, through the CA's key file, as ssh-keygen reads it.
func TestCertificateIsWhatTheDesignSays(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ssh-ed25519")
	ca, err := p.CA.Create([]string{"root", "deploy"}, secret)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.CA.SetPolicy(func(p *policy.Issuing) {
		p.SourceAddress, p.ForceCommand = []string{"192.0.2.0/24", "2001:db8::1"}, "uptime"
	}); err != nil {
		t.Fatal(err)
	}
	cert := p.wantCertificate(certificateRequest(t, p))
	checker := ssh.CertChecker{SupportedCriticalOptions: []string{"source-address", "force-command"}}
	if err := checker.CheckCert("deploy", cert); err != nil {
		t.Error(err)
	}
	out := testkit.Keygen(t, "-L", "-f", testkit.WriteFile(t, "cert.pub", ssh.MarshalAuthorizedKey(cert)))
	print := strings.TrimPrefix(id.Fingerprint(), "SHA256:")[:12]
	serial := strconv.FormatUint(cert.Serial, 10)
	for _, want := range []string{
		"ecdsa-sha2-nistp256-cert-v01@openssh.com user certificate",
		"Signing CA: ECDSA " + sshctx.Fingerprint(ca.PublicKey) + " (using ecdsa-sha2-nistp256)",
		`Key ID: "vmux:` + p.computer.ID.String() + ":" + print + ":" + serial + `"`,
		"Serial: " + serial, "root\n", "deploy\n",
		"source-address 192.0.2.0/24,2001:db8::1", "force-command uptime",
		"permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty", "permit-user-rc",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	begin, end := time.Unix(int64(cert.ValidAfter), 0), time.Unix(int64(cert.ValidBefore), 0)
	if end.Sub(begin) != 8*time.Hour+5*time.Minute || time.Since(begin) < 5*time.Minute || time.Since(begin) > 6*time.Minute {
		t.Errorf("valid from %s to %s", begin, end)
	}
}

func TestCertificateRefusals(t *testing.T) {
	p := newPhone(t)
	want := func(name string, code wire.Code, change func(*wire.CertificateRequest)) {
		t.Helper()
		r := certificateRequest(t, p)
		if change != nil {
			change(r)
		}
		if got := codeOf(p.askCertificate(r).Error); got != code {
			t.Errorf("%s: %q, want %q", name, got, code)
		}
	}
	want("no CA", wire.CodePolicyDenied, nil)
	p.createCA()
	want("no identity", wire.CodeKeyNotFound, nil)
	a, off := p.create("a", "ssh-ed25519"), p.create("off", "ssh-ed25519")
	want("no principals", wire.CodePolicyDenied, nil)
	if _, err := p.CA.SetPolicy(func(p *policy.Issuing) { p.Principals = []string{"deploy"} }); err != nil {
		t.Fatal(err)
	}
	if err := p.Identities.SetEnabled(off, false); err != nil {
		t.Fatal(err)
	}
	want("nobody pressed a button", wire.CodePolicyDenied, func(r *wire.CertificateRequest) { r.Automatic = true })
	want("principal not allowed", wire.CodePolicyDenied, func(r *wire.CertificateRequest) { r.Principals = []string{"deploy", "root"} })
	want("identity switched off", wire.CodeKeyDisabled, func(r *wire.CertificateRequest) { r.IdentityPublicKeyBlob = off.PublicKey })
	want("unknown identity", wire.CodeKeyNotFound, func(r *wire.CertificateRequest) { r.IdentityPublicKeyBlob = r.PublicKeyBlob })
	want("RSA session key", wire.CodeAlgorithmUnsupported, func(r *wire.CertificateRequest) {
		r.PublicKeyBlob = p.keys.add(t, "x", "ssh-rsa").PublicKey
	})
	want("no key", wire.CodeMalformedRequest, func(r *wire.CertificateRequest) { r.PublicKeyBlob = []byte("key") })
	want("no validity", wire.CodeMalformedRequest, func(r *wire.CertificateRequest) { r.RequestedValiditySeconds = 0 })
	want("another computer", wire.CodePairingInvalid, func(r *wire.CertificateRequest) { r.SourceDeviceID = "x" })
	if p.asked != 0 {
		t.Errorf("the person was asked %d times", p.asked)
	}
	want("named identity", "", func(r *wire.CertificateRequest) { r.IdentityPublicKeyBlob = a.PublicKey })
	p.approver.Certificate = func(context.Context, CertificateSheet) (CertificateDecision, error) {
		return CertificateDecision{}, nil
	}
	want("denied", wire.CodeUserDenied, nil)
	if err := p.Identities.SetEnabled(a, false); err != nil {
		t.Fatal(err)
	}
	want("default identity switched off", wire.CodeKeyDisabled, nil)
}

func TestCertificateIsNarrowed(t *testing.T) {
	p := newPhone(t)
	p.createCA("root", "deploy")
	a := p.create("a", "ssh-ed25519")
	var decision CertificateDecision
	var sheet CertificateSheet
	p.approver.Certificate = func(_ context.Context, s CertificateSheet) (CertificateDecision, error) {
		sheet = s
		s.Principals[0] = "changed by the approver" // its copy
		return decision, nil
	}
	validity := func(c *ssh.Certificate) time.Duration {
		return time.Duration(c.ValidBefore-c.ValidAfter)*time.Second - backdate
	}
	for _, c := range []struct {
		name       string
		asked      int64
		decision   CertificateDecision
		validity   time.Duration
		principals string
	}{
		{"as asked", 600, CertificateDecision{Approved: true}, 10 * time.Minute, "root,deploy"},
		{"longer than the policy", 1 << 62, CertificateDecision{Approved: true}, 8 * time.Hour, "root,deploy"},
		{"shortened", 28800, CertificateDecision{Approved: true, Validity: time.Hour}, time.Hour, "root,deploy"},
		{"not lengthened", 600, CertificateDecision{Approved: true, Validity: time.Hour}, 10 * time.Minute, "root,deploy"},
		{"fewer principals", 600, CertificateDecision{Approved: true, Principals: []string{"deploy"}}, 10 * time.Minute, "deploy"},
	} {
		decision = c.decision
		r := certificateRequest(t, p)
		r.RequestedValiditySeconds = c.asked
		cert := p.wantCertificate(r)
		if validity(cert) != c.validity || strings.Join(cert.ValidPrincipals, ",") != c.principals {
			t.Errorf("%s: %s for %s", c.name, cert.ValidPrincipals, validity(cert))
		}
	}
	if sheet.Label.String() != "a" || sheet.From.ID != p.computer.ID || sheet.Validity != 10*time.Minute || sheet.Automatic {
		t.Errorf("sheet: %+v", sheet)
	}
	for _, d := range []CertificateDecision{
		{Approved: true, Principals: []string{"postgres"}}, {Approved: true, Principals: []string{}},
	} {
		decision = d
		if a := p.askCertificate(certificateRequest(t, p)); a.Error == nil {
			t.Errorf("issued for %q", d.Principals)
		}
	}
	decision = CertificateDecision{Approved: true}
	if err := p.Identities.SetPrincipals(a, []string{"alice"}); err != nil {
		t.Fatal(err)
	}
	if cert := p.wantCertificate(certificateRequest(t, p)); cert.ValidPrincipals[0] != "alice" || len(cert.ValidPrincipals) != 1 {
		t.Errorf("the identity's own principals: %s", cert.ValidPrincipals)
	}
	if _, err := p.CA.SetPolicy(func(p *policy.Issuing) { p.AutomaticIssuance = true }); err != nil {
		t.Fatal(err)
	}
	r := certificateRequest(t, p)
	r.Automatic = true
	p.wantCertificate(r)
	if !sheet.Automatic || !p.Hello().AutomaticIssuance {
		t.Error("automatic issuance is not told")
	}
}

// The CA's key signs certificates and nothing else. An identity's key signs
// what a computer chooses, which could be a certificate.
func TestCAKeyIsNoIdentity(t *testing.T) {
	p := newPhone(t)
	a := p.create("a", "ecdsa-sha2-nistp256")
	if _, err := p.CA.Add(a, []string{"root"}); err == nil {
		t.Error("made an identity's key the CA's")
	}
	if _, err := p.CA.Add(p.keys.add(t, "rsa", "ssh-rsa"), []string{"root"}); wire.CodeOf(err) != wire.CodeAlgorithmUnsupported {
		t.Errorf("an RSA CA: %v", err)
	}
	ca := p.createCA("root")
	if _, err := p.CA.Create([]string{"root"}, secret); !errors.Is(err, identity.ErrExists) {
		t.Errorf("a second CA: %v", err)
	}
	if names, _ := p.cfg.Store.List("keys/"); len(names) != 0 {
		t.Errorf("a CA that was not made left %s", names)
	}
	key := identity.Identity{Label: "ca", Algorithm: ca.Algorithm, PublicKey: ca.PublicKey, Enabled: true, Provider: ca.Provider, Ref: ca.Ref}
	if err := p.Identities.Add(key); err == nil {
		t.Error("made the CA's key an identity")
	}
	r := p.request(key)
	r.DataToSign = tbsCertificate(t)
	p.wantCode(p.ask(t.Context(), r), wire.CodePolicyDenied)
	// However it came into the document, it does not sign.
	if err := documents.Save(p.cfg.Store, "identities.json", map[string]any{"version": 1, "identities": []identity.Identity{a, key}}); err != nil {
		t.Fatal(err)
	}
	r = p.request(key)
	r.DataToSign = tbsCertificate(t)
	p.wantCode(p.ask(t.Context(), r), wire.CodePolicyDenied)
	if p.asked != 0 {
		t.Errorf("the person was asked %d times", p.asked)
	}
}

// tbsCertificate is what a CA signs: a certificate without its signature.
func tbsCertificate(t *testing.T) []byte {
	t.Helper()
	keys := ram{}
	id := keys.add(t, "x", "ecdsa-sha2-nistp256")
	cert := &ssh.Certificate{Key: keys[id.Ref].PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"root"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, keys[id.Ref]); err != nil {
		t.Fatal(err)
	}
	cert.Signature = nil
	b := cert.Marshal()
	return b[:len(b)-4] // without the empty signature
}

func TestPolicyIsChecked(t *testing.T) {
	p := newPhone(t)
	if _, err := p.CA.SetPolicy(func(*policy.Issuing) {}); !errors.Is(err, authority.ErrNoCA) {
		t.Errorf("without a CA: %v", err)
	}
	p.createCA("root")
	for name, change := range map[string]func(*policy.Issuing){
		"no principals":      func(p *policy.Issuing) { p.Principals = nil },
		"comma":              func(p *policy.Issuing) { p.Principals = []string{"root,deploy"} },
		"empty principal":    func(p *policy.Issuing) { p.Principals = []string{""} },
		"for ever":           func(p *policy.Issuing) { p.MaxValiditySeconds = 1 << 40 },
		"not at all":         func(p *policy.Issuing) { p.MaxValiditySeconds = 0 },
		"two lines":          func(p *policy.Issuing) { p.ForceCommand = "a\nb" },
		"no address":         func(p *policy.Issuing) { p.SourceAddress = []string{"example.com"} },
		"bits behind a mask": func(p *policy.Issuing) { p.SourceAddress = []string{"192.0.2.1/24"} },
		"no extension":       func(p *policy.Issuing) { p.Extensions = []string{"permit pty"} },
	} {
		if _, err := p.CA.SetPolicy(change); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if ca, err := p.CA.Get(); err != nil || len(ca.Policy.Principals) != 1 || ca.Policy.MaxValiditySeconds != 28800 {
		t.Errorf("a refused change left %+v, %v", ca.Policy, err)
	}
}

func FuzzCA(f *testing.F) {
	store := &testkit.Documents{}
	keys := ram{}
	s, err := New(Config{Store: store})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := s.CA.Add(keys.add(f, "ca", "ecdsa-sha2-nistp256"), []string{"root"}); err != nil {
		f.Fatal(err)
	}
	seed, _ := store.Get("ca.json")
	f.Add(seed)
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		store := &testkit.Documents{}
		_ = store.Put("ca.json", b)
		s, err := New(Config{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		ca, err := s.CA.Get()
		if hello := s.Hello(); err != nil && (hello.AutomaticIssuance || hello.CAPublicKey != nil) {
			t.Error("a damaged CA is advertised")
		}
		if err != nil {
			return
		}
		if err := ca.Policy.Check(); err != nil {
			t.Errorf("loaded a policy that could not have been set: %v", err)
		}
		_, _ = ca.AuthorizedKey(), ca.Policy.Permissions()
	})
}
