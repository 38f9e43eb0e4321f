package signer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// Everything that is asked stands in the log, refused or not.
func TestActivity(t *testing.T) {
	p := newPhone(t)
	p.createCA("root")
	id := p.create("work", "ssh-ed25519")
	r := p.request(id)
	p.ask(t.Context(), r)
	p.ask(t.Context(), r)
	malformed := p.request(id)
	malformed.Nonce = nil
	p.ask(t.Context(), malformed)
	p.approver.Sign = func(context.Context, SignSheet) (SignDecision, error) { return SignDecision{}, nil }
	p.ask(t.Context(), p.request(id))
	cert := p.wantCertificate(certificateRequest(t, p))

	records := p.requests()
	if len(records) != 5 {
		t.Fatalf("%d records", len(records))
	}
	for n, want := range []struct {
		decision string
		code     wire.Code
	}{
		{"approved", ""}, {"refused", wire.CodeReplayDetected}, {"refused", wire.CodeMalformedRequest},
		{"denied", wire.CodeUserDenied}, {"approved", ""},
	} {
		got := records[n]
		if got.Decision != want.decision || got.Code != want.code || got.DeviceID != p.computer.ID.String() ||
			got.DeviceName.String() != "laptop" || time.Since(got.Time) > time.Minute {
			t.Errorf("record %d: %+v", n, got)
		}
	}
	first, last := records[0], records[4]
	if first.RequestID.String() != r.RequestID || first.Label.String() != "work" || first.Key != id.Fingerprint() ||
		first.Quality != wire.QualityVerified || !strings.HasPrefix(first.What.String(), "root@SHA256:") {
		t.Errorf("signature: %+v", first)
	}
	if last.Kind != "certificate" || !strings.HasSuffix(cert.KeyId, ":"+last.Serial) || last.Principals[0] != "root" ||
		last.Key != sshctx.Fingerprint(cert.Key.Marshal()) || last.ValidBefore == "" {
		t.Errorf("certificate: %+v", last)
	}
}

// brokenLog is a store whose log cannot be written.
type brokenLog struct{ *testkit.Documents }

func (brokenLog) Append(string, []byte) error { return errors.New("disk full") }

// A signature that would not be in the log is not given out.
func TestNoSignatureWithoutRecord(t *testing.T) {
	p := newPhone(t)
	id := p.create("a", "ssh-ed25519")
	p.writeTo(brokenLog{p.cfg.Store.(*testkit.Documents)})
	p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeInternalError)
}

// A phone that is out of space signs nothing, and says why: to the computer, and
// with the same words to the person.
func TestOutOfSpace(t *testing.T) {
	for what, left := range map[string]int{"activity log": 1, "list of certificates": 0} {
		p := newPhone(t)
		id := p.create("work", "ecdsa-sha2-nistp256")
		p.createCA("root")
		p.writeTo(testkit.Failing{Documents: p.cfg.Store.(*testkit.Documents), Left: &left})
		answer := p.askCertificate(certificateRequest(t, p))
		want := "The phone cannot write its " + what + ", and signs nothing without it. Is it out of space?"
		if answer.Error == nil || answer.Error.Code != wire.CodeInternalError || answer.Error.Message != want || answer.CertificateBlob != nil {
			t.Errorf("%s: the certificate ended with %v", what, answer.Error)
		}
		left = 0
		signed := p.ask(t.Context(), p.request(id))
		if signed.Error == nil || !strings.Contains(signed.Error.Message, "activity log") || signed.Signature != nil {
			t.Errorf("%s: the signature ended with %v", what, signed.Error)
		}
	}
}
