package signer

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/authority"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/wire"
)

// What the person agreed to is what is signed, to the byte: a passkey's sheet
// shows a draft before anybody decides.
func TestDraftIsSignedAsItIs(t *testing.T) {
	p := newPhone(t)
	p.create("work", "ssh-ed25519")
	p.createCA("root", "deploy")
	var draft *Draft
	var data []byte
	p.approver.Certificate = func(_ context.Context, s CertificateSheet) (CertificateDecision, error) {
		if s.RequestID == "" || s.Identity.Label != "work" || s.CA.Algorithm != "ecdsa-sha2-nistp256" {
			t.Errorf("sheet %+v", s.Sheet)
		}
		var err error
		if draft, err = s.Prepare(CertificateDecision{Validity: time.Hour, Principals: []string{"deploy"}}); err != nil {
			return CertificateDecision{}, err
		}
		data = draft.Data()
		return CertificateDecision{Approved: true, Draft: draft, Validity: 2 * time.Hour, Principals: []string{"root"}}, nil
	}
	cert := p.wantCertificate(certificateRequest(t, p))
	unsigned := *cert
	unsigned.Signature = nil
	if signed := unsigned.Marshal(); !bytes.Equal(signed[:len(signed)-4], data) {
		t.Error("another certificate than the draft was signed")
	}
	if len(cert.ValidPrincipals) != 1 || cert.ValidPrincipals[0] != "deploy" || draft.Validity() != time.Hour {
		t.Errorf("%v for %s", cert.ValidPrincipals, draft.Validity())
	}
	if err := (&ssh.CertChecker{}).CheckCert("deploy", cert); err != nil {
		t.Error(err)
	}
}

// A draft is of one moment; what the phone allows counts when it is signed.
func TestDraftDoesNotOutliveItsPolicy(t *testing.T) {
	for name, change := range map[string]func(p *phone, id identity.Identity) error{
		"another principal": func(p *phone, _ identity.Identity) error {
			_, err := p.CA.SetPolicy(func(policy *policy.Issuing) { policy.Principals = []string{"deploy"} })
			return err
		},
		"a shorter validity": func(p *phone, _ identity.Identity) error {
			_, err := p.CA.SetPolicy(func(policy *policy.Issuing) { policy.MaxValiditySeconds = 60 })
			return err
		},
		"a forced command": func(p *phone, _ identity.Identity) error {
			_, err := p.CA.SetPolicy(func(policy *policy.Issuing) { policy.ForceCommand = "uptime" })
			return err
		},
		"no extensions": func(p *phone, _ identity.Identity) error {
			_, err := p.CA.SetPolicy(func(policy *policy.Issuing) { policy.Extensions = nil })
			return err
		},
		"an identity that is off": func(p *phone, id identity.Identity) error { return p.Identities.SetEnabled(id, false) },
		"another CA": func(p *phone, _ identity.Identity) error {
			if err := p.CA.Delete(); err != nil {
				return err
			}
			p.createCA("root")
			return nil
		},
		"another default identity": func(p *phone, _ identity.Identity) error {
			return p.Identities.SetDefault(p.create("home", "ssh-ed25519"))
		},
		"no CA": func(p *phone, _ identity.Identity) error { return p.CA.Delete() },
	} {
		p := newPhone(t)
		id := p.create("work", "ssh-ed25519")
		p.createCA("root")
		p.approver.Certificate = func(_ context.Context, s CertificateSheet) (CertificateDecision, error) {
			draft, err := s.Prepare(CertificateDecision{})
			return CertificateDecision{Approved: true, Draft: draft}, errors.Join(err, change(p, id))
		}
		if answer := p.askCertificate(certificateRequest(t, p)); answer.Error == nil {
			t.Errorf("%s: a certificate was issued all the same", name)
		}
	}
}

func TestDraftBelongsToItsRequest(t *testing.T) {
	p := newPhone(t)
	p.create("work", "ssh-ed25519")
	p.createCA("root")
	var kept *Draft
	p.approver.Certificate = func(_ context.Context, s CertificateSheet) (d CertificateDecision, err error) {
		if kept == nil {
			kept, err = s.Prepare(d)
		}
		return CertificateDecision{Approved: true, Draft: kept}, err
	}
	p.wantCertificate(certificateRequest(t, p))
	if answer := p.askCertificate(certificateRequest(t, p)); wire.CodeOf(answer.Error) != wire.CodeInternalError {
		t.Errorf("another request's draft: %v", answer.Error)
	}
}

func TestPrepareRefusesWhatIsNotFollowed(t *testing.T) {
	p := newPhone(t)
	p.create("work", "ssh-ed25519")
	p.createCA("root")
	p.approver.Certificate = func(_ context.Context, s CertificateSheet) (CertificateDecision, error) {
		for _, d := range []CertificateDecision{{Principals: []string{"admin"}}, {Principals: []string{}}} {
			if _, err := s.Prepare(d); err == nil {
				t.Errorf("%v was prepared", d)
			}
		}
		if draft, err := s.Prepare(CertificateDecision{Validity: 1000 * time.Hour}); err != nil || draft.Validity() > s.Validity {
			t.Errorf("a longer validity: %v", err)
		}
		return CertificateDecision{}, nil
	}
	p.askCertificate(certificateRequest(t, p))
}

func TestDeleteCA(t *testing.T) {
	p := newPhone(t)
	if err := p.CA.Delete(); !errors.Is(err, authority.ErrNoCA) {
		t.Errorf("without one: %v", err)
	}
	ca := p.createCA("root")
	if err := p.CA.Delete(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.CA.Get(); !errors.Is(err, authority.ErrNoCA) || p.keys[ca.Ref] != nil {
		t.Errorf("the CA is still there: %v", err)
	}
}
