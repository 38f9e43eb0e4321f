package signer

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

// RSA keys sign with the hash that the client's flags choose; for the others
// flags mean nothing.
func TestSignatureFormats(t *testing.T) {
	p := newPhone(t)
	rsaKey, ed := p.create("rsa", "ssh-rsa"), p.create("ed", "ssh-ed25519")
	for _, c := range []struct {
		id    identity.Identity
		flags uint32
		want  string
	}{
		{rsaKey, sshctx.FlagRSASHA256, "rsa-sha2-256"}, {rsaKey, sshctx.FlagRSASHA512, "rsa-sha2-512"},
		{rsaKey, sshctx.FlagRSASHA256 | sshctx.FlagRSASHA512, "rsa-sha2-256"},
		{ed, 0, "ssh-ed25519"}, {ed, sshctx.FlagRSASHA512, "ssh-ed25519"},
	} {
		r := p.request(c.id)
		r.SignatureFlags = c.flags
		if s := p.wantSignature(p.ask(t.Context(), r), c.id, r); s.Format != c.want {
			t.Errorf("flags %d make %s, want %s", c.flags, s.Format, c.want)
		}
	}
}

func TestSheetTellsWhatTheBytesSay(t *testing.T) {
	p := newPhone(t)
	id := p.create("work", "ecdsa-sha2-nistp256")
	r := p.request(id)
	r.Context = wire.Context{ContextQuality: wire.QualityVerified, HostName: "bank.example.com"} // a lie
	p.ask(t.Context(), r)
	want := "root@bank.example.com (claimed)"
	if p.sheet.Title().String() != want || p.sheet.Quality != wire.QualityVerified || p.sheet.Label.String() != "work" {
		t.Errorf("sheet says %q, %s", p.sheet.Title(), p.sheet.Quality)
	}
	r = p.request(id)
	r.DataToSign = []byte("some bytes")
	r.Context.ContextQuality = wire.QualityVerified
	p.ask(t.Context(), r)
	if p.sheet.Quality != wire.QualityUnknown || p.sheet.Title().String() != "unknown" {
		t.Errorf("the computer's word made unreadable bytes %s: %q", p.sheet.Quality, p.sheet.Title())
	}
}

// Whatever names a computer chooses, a title keeps its parts: that a host is claimed
// only is not pushed away.
func TestTitleKeepsItsMark(t *testing.T) {
	space := strings.Repeat(" \u00a0", 100)
	for _, c := range []struct{ user, host, want string }{
		{"root", "bank.example.com" + space, "root@bank.example.com (claimed)"},
		{"root" + space[:60] + ".", "bank.example.com", "\"root .\"@bank.example.com (claimed)"},
		{"root@prod.example.com", "", "\"root@prod.example.com\"@unknown"},
		{"root@prod.example.com (verified)", "evil", "\"root@prod.example.com (verified)\"@evil (claimed)"},
		{`CORP\jane "x"`, "evil", `"CORP\\jane \"x\""@evil (claimed)`},
		{"root", "[db1.example.com]:2222", "root@[db1.example.com]:2222 (claimed)"},
		{"root", "[db1] [x]:22", "root@\"[db1] [x]:22\" (claimed)"},
		{"root＠prod.example.com", "x@prod", "\"root＠prod.example.com\"@\"x@prod\" (claimed)"},
		{strings.Repeat("u", 200), strings.Repeat("é", 120), strings.Repeat("u", 32) + "…@" + strings.Repeat("é", 32) + "… (claimed)"},
	} {
		s := SignSheet{Known: sshctx.Context{Kind: sshctx.HostBound, User: c.user}, Claimed: ClaimsOf(wire.Context{HostName: c.host})}
		if got := s.Title().String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// What a git signature is for only the computer says: it is a commit or a tag, and
// marked, or it is not in the title. A purpose that reads like another title is quoted.
func TestTitleOfAGitSignature(t *testing.T) {
	for _, c := range []struct{ namespace, kind, want string }{
		{"git", "commit", "git commit signature (claimed)"},
		{"git", "tag", "git tag signature (claimed)"},
		{"git", "", "git signature"},
		{"git", "blob", "git signature"},
		{"git", "release v2, verified by root@prod.example:", "git signature"},
		{"git", "commit ", "git commit signature (claimed)"}, // cleaned where it came in,
		{"file", "commit", "file signature"},
		{"git commit", "commit", `"git commit" signature`},
		{"file (verified)", "", `"file (verified)" signature`},
	} {
		s := SignSheet{
			Known:   sshctx.Context{Kind: sshctx.SSHSIG, Namespace: c.namespace},
			Claimed: ClaimsOf(wire.Context{Git: &wire.GitObject{Kind: c.kind, Subject: "release"}}),
		}
		if got := s.Title().String(); got != c.want {
			t.Errorf("%q, %q: %q, want %q", c.namespace, c.kind, got, c.want)
		}
	}
}

func TestEveryRefusalHasItsCode(t *testing.T) {
	p := newPhone(t)
	id, off, rsaKey := p.create("a", "ecdsa-sha2-nistp256"), p.create("off", "ssh-ed25519"), p.create("rsa", "ssh-rsa")
	if err := p.Identities.SetEnabled(off, false); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		id     identity.Identity
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

// No missing function approves.
func TestNothingIsApprovedWithoutAPerson(t *testing.T) {
	p := newPhone(t)
	p.cfg.Approver = Approver{}
	p.createCA("root")
	id := p.create("a", "ecdsa-sha2-nistp256")
	p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeUserDenied)
	if got := codeOf(p.askCertificate(certificateRequest(t, p)).Error); got != wire.CodeUserDenied {
		t.Errorf("certificate: %q", got)
	}
	if _, err := p.cfg.Approver.unlock(wire.Clean("a"), "", Sheet{}, new(record)).ask(t.Context(), 1); wire.CodeOf(err) != wire.CodeAuthenticationFailed {
		t.Errorf("passphrase: %v", err)
	}
}

// A key that is switched off while its sheet is open does not sign any more.
func TestSwitchedOffWhileItWaits(t *testing.T) {
	p := newPhone(t)
	id := p.create("a", "ssh-ed25519")
	p.approver.Sign = func(context.Context, SignSheet) (SignDecision, error) {
		return SignDecision{Approved: true}, p.Identities.SetEnabled(id, false)
	}
	p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeKeyDisabled)
}

// A key whose policy forbids it since its sheet was opened does not sign either.
func TestForbiddenWhileItWaits(t *testing.T) {
	p := newPhone(t)
	id := p.create("a", "ssh-ed25519")
	p.approver.Sign = func(context.Context, SignSheet) (SignDecision, error) {
		_, err := p.Identities.SetRules(id, func(r *policy.Rules) { r.Forbid = []string{policy.UseLogins} })
		return SignDecision{Approved: true}, err
	}
	p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodePolicyDenied)
}

// What the phone cannot name is signed only where it may be.
func TestOnlyNameable(t *testing.T) {
	p := newPhone(t)
	id := p.create("a", "ssh-ed25519")
	p.cfg.OnlyNameable = true
	for name, data := range map[string][]byte{
		"some bytes":    []byte("some bytes"),
		"a certificate": tbsCertificate(t),
		"one byte more": append(p.request(id).DataToSign, 0),
	} {
		r := p.request(id)
		r.DataToSign = data
		t.Run(name, func(t *testing.T) { p.t = t; p.wantCode(p.ask(t.Context(), r), wire.CodePolicyDenied) })
	}
	r := p.request(id)
	r.DataToSign = sshctx.Context{Kind: sshctx.SSHSIG, Namespace: "git", HashAlgorithm: "sha256", Hash: make([]byte, 32)}.Marshal()
	p.wantSignature(p.ask(t.Context(), r), id, r)
	if p.asked != 1 || p.sheet.Title().String() != "git signature" || p.sheet.Quality != wire.QualityVerified {
		t.Errorf("asked %d times, sheet says %q, %s", p.asked, p.sheet.Title(), p.sheet.Quality)
	}
}

// A login by plain publickey names its user, and no server.
func TestPlainPublicKey(t *testing.T) {
	p := newPhone(t)
	id := p.create("a", "ssh-ed25519")
	r := p.request(id)
	r.DataToSign = sshctx.Context{
		Kind: sshctx.UserAuth, SessionID: make([]byte, 32), User: "ro\x1bot", Service: "ssh-connection",
		Algorithm: id.Algorithm, PublicKey: id.PublicKey,
	}.Marshal()
	p.wantSignature(p.ask(t.Context(), r), id, r)
	if p.sheet.Quality != wire.QualityUnknown || p.sheet.Title().String() != "ro\uFFFDot@unknown" {
		t.Errorf("sheet says %q, %s", p.sheet.Title(), p.sheet.Quality)
	}
	r = p.request(id)
	r.DataToSign, r.Context = []byte("x"), wire.Context{ContextQuality: wire.QualityClaimed, HostName: "server"}
	p.wantSignature(p.ask(t.Context(), r), id, r)
	if p.sheet.Quality != wire.QualityClaimed || p.sheet.Claimed.HostName.String() != "server" {
		t.Errorf("sheet says %q, %s", p.sheet.Claimed.HostName, p.sheet.Quality)
	}
}

func TestEnvelopesThatAreRefused(t *testing.T) {
	p := newPhone(t)
	r := p.request(p.create("a", "ssh-ed25519"))
	e, err := wiretest.Envelope(wire.NewID(), wire.KindSignRequest, r)
	if err != nil {
		t.Fatal(err)
	}
	if _, body := p.Serve(t.Context(), p.computer, e, nil); codeOf(body.(*wire.SignResponse).Error) != wire.CodeMalformedRequest {
		t.Errorf("another id on the envelope: %+v", body)
	}
	e.ID, e.Version = r.RequestID, wire.Version+1
	for _, e := range []wire.Envelope{e, {Version: wire.Version, ID: "1", Kind: wire.KindDeviceTokenUpdate}} {
		kind, body := p.Serve(t.Context(), p.computer, e, nil)
		if kind != wire.KindError || codeOf(body.(*wire.Error)) != wire.CodeVersionUnsupported {
			t.Errorf("%s of version %d: %s %+v", e.Kind, e.Version, kind, body)
		}
	}
	e.Version, e.Body = wire.Version, []byte(`{"requestID":`)
	if _, body := p.Serve(t.Context(), p.computer, e, nil); codeOf(body.(*wire.SignResponse).Error) != wire.CodeMalformedRequest {
		t.Errorf("half a body: %+v", body)
	}
	if p.asked != 0 {
		t.Errorf("the person was asked %d times", p.asked)
	}
}

// The disk's errors are the phone's own: a computer learns that there was one.
func TestDamagedDocuments(t *testing.T) {
	p := newPhone(t)
	id := p.create("a", "ssh-ed25519")
	for _, damage := range []string{"{", `{"version":9}`, `{"version":1,"identities":[{"label":"a"}]}`} {
		if err := p.cfg.Store.Put("identities.json", []byte(damage)); err != nil {
			t.Fatal(err)
		}
		p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeInternalError)
		if err := p.Identities.Add(p.keys.add(t, "b", "ssh-ed25519")); err == nil {
			t.Error("a damaged list was replaced")
		}
	}
}

func TestUnansweredRequestExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPhone(t)
		id := p.create("a", "ecdsa-sha2-nistp256")
		p.approver.Sign = func(ctx context.Context, _ SignSheet) (SignDecision, error) {
			<-ctx.Done()
			return SignDecision{}, ctx.Err()
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
	p.approver.Sign = func(_ context.Context, sheet SignSheet) (SignDecision, error) {
		if sheet.Expires != sheet.Expires.Round(0) {
			t.Error("the end has a reading of the clock that stops in a suspend, which would be compared")
		}
		now = now.Add(2 * wire.Window)
		return SignDecision{Approved: true}, nil
	}
	p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeRequestExpired)
}
