package browserphone

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/activity"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

const typed = "correct horse battery"

// types does what core.js does with passphrases: nothing asks for a passkey.
func (p *page) types(name string, args map[string]any, passphrases ...string) (any, error) {
	p.t.Helper()
	b, err := json.Marshal(args)
	if err != nil {
		p.t.Fatal(err)
	}
	if plan, err := p.Prepare(name, b); err != nil || plan != (Plan{}) {
		if err == nil {
			p.t.Errorf("%s asks for a passkey", name)
		}
		return nil, err
	}
	var secrets [][]byte
	for _, s := range passphrases {
		secrets = append(secrets, []byte(s))
	}
	result, err := p.Call(p.t.Context(), name, b, secrets...)
	for _, s := range secrets {
		if !bytes.Equal(s, make([]byte, len(s))) {
			p.t.Errorf("%s left a passphrase as it was", name)
		}
	}
	return result, err
}

func (p *page) wantTypedFailure(code, name string, args map[string]any, passphrases ...string) {
	p.t.Helper()
	if _, err := p.types(name, args, passphrases...); err == nil || AsError(err).Code != code {
		p.t.Errorf("%s: %v, want code %s", name, err, code)
	}
}

func (p *page) mustType(name string, args map[string]any, passphrases ...string) {
	p.t.Helper()
	if _, err := p.types(name, args, passphrases...); err != nil {
		p.t.Fatalf("%s: %v", name, err)
	}
}

func desktopKey(label string) map[string]any {
	return map[string]any{"label": label, "kind": "passphrase", "algorithm": "ssh-ed25519"}
}

// A browser without any passkeys makes keys, imports one, has a CA, and signs: the
// passphrase is asked for each signature. The line for servers claims no verification
// of the person, which no authenticator has made.
func TestPassphraseKeys(t *testing.T) {
	p := newPage(t, func(c *Config) { c.Secure = false }) // no WebAuthn
	p.wantTypedFailure("weakPassphrase", "createVault", desktopKey("desktop"), "too short")
	p.nothingKept()
	p.mustType("createVault", desktopKey("desktop"), typed)
	p.wantTypedFailure("vaultPassphrase", "createVault", desktopKey("second"), "not the passphrase")
	p.mustType("createVault", desktopKey("second"), typed)
	p.wantTypedFailure("exists", "createVault", desktopKey("second"), typed)
	p.mustType("createCA", map[string]any{"kind": "passphrase", "principals": []string{"root"}}, typed)
	s := p.state()
	if s.Passphrases != 3 || s.Vault != nil || s.CA.Kind != "passphrase" || p.taps > 0 || len(s.Identities) != 2 {
		t.Errorf("%+v", s)
	}
	for _, id := range s.Identities {
		if id.Kind != "passphrase" || id.AuthorizedKey != id.PublicKey || strings.Contains(id.AuthorizedKey, "verify-required") || id.BackedUp != nil || id.Warning != "" {
			t.Errorf("%+v", id)
		}
	}
	id := p.identity("desktop")
	r := p.signRequest(id)
	answer := p.asks(t.Context(), wire.KindSignRequest, r.RequestID, r)
	sheet := p.sheet()
	if sheet.KeyKind != "passphrase" {
		t.Errorf("%+v", sheet)
	}
	for _, wrong := range []string{"", "not the passphrase"} {
		p.wantTypedFailure("vaultPassphrase", "approve", map[string]any{"id": sheet.ID}, wrong)
	}
	p.wantTypedFailure("vaultPassphrase", "approve", map[string]any{"id": sheet.ID})
	p.mustType("approve", map[string]any{"id": sheet.ID}, typed)
	got := (<-answer).(*wire.SignResponse)
	if got.Error != nil {
		t.Fatal(got.Error)
	}
	var signature ssh.Signature
	key, err := ssh.ParsePublicKey(id.PublicKey)
	if err != nil || ssh.Unmarshal(got.Signature, &signature) != nil {
		t.Fatal(err)
	}
	if err := sshctx.VerifySignature(key, r.DataToSign, &signature); err != nil {
		t.Error(err)
	}
	p.end()

	// Nothing of it is kept for the next one.
	next := p.signRequest(id)
	answer = p.asks(t.Context(), wire.KindSignRequest, next.RequestID, next)
	sheet = p.sheet()
	p.wantTypedFailure("vaultPassphrase", "approve", map[string]any{"id": sheet.ID}, "")
	p.must("deny", map[string]any{"id": sheet.ID})
	if got := (<-answer).(*wire.SignResponse); wire.CodeOf(asError(got.Error)) != wire.CodeUserDenied {
		t.Errorf("signed without a passphrase: %+v", got)
	}
}

// A certificate is signed as the sheet shows it, whatever was decided meanwhile.
func TestPassphraseCertificate(t *testing.T) {
	p := newPage(t)
	p.mustType("createVault", desktopKey("desktop"), typed)
	p.mustType("createCA", map[string]any{"kind": "passphrase", "principals": []string{"root", "ada"}}, typed)
	r := p.certificateRequest()
	answer := p.asks(t.Context(), wire.KindCertificateRequest, r.RequestID, r)
	sheet := p.sheet()
	p.mustType("approve", map[string]any{
		"id": sheet.ID, "decision": map[string]any{"validitySeconds": 900, "principals": []string{"ada"}},
	}, typed)
	got := (<-answer).(*wire.CertificateResponse)
	if got.Error != nil {
		t.Fatal(got.Error)
	}
	c, err := sshctx.ParseCertificate(got.CertificateBlob)
	if err != nil {
		t.Fatal(err)
	}
	if length := time.Until(time.Unix(int64(c.ValidBefore), 0)); !slices.Equal(c.ValidPrincipals, []string{"ada"}) || length > 16*time.Minute {
		t.Errorf("%v for %v", c.ValidPrincipals, length)
	}
}

// Requests for one key are answered together with one passphrase.
func TestPassphraseTogether(t *testing.T) {
	p := newPage(t)
	p.mustType("createVault", desktopKey("desktop"), typed)
	id := p.identity("desktop")
	first, one := p.sheetOf(id)
	second, two := p.sheetOf(id)
	p.mustType("approve", map[string]any{"id": first.ID, "joined": []string{second.ID}}, typed)
	for _, answer := range []<-chan any{one, two} {
		if got := (<-answer).(*wire.SignResponse); got.Error != nil {
			t.Error(got.Error)
		}
	}
}

// Both kinds of vault stand beside each other, and neither opens the other.
func TestTwoVaults(t *testing.T) {
	p := newPage(t)
	p.must("createVault", map[string]any{"label": "hardware", "algorithm": "ssh-ed25519"})
	p.mustType("createVault", desktopKey("desktop"), typed)
	p.mustSign("hardware")
	sheet, answer := p.sheetOf(p.identity("hardware"))
	b, _ := json.Marshal(map[string]any{"id": sheet.ID})
	if _, err := p.Call(t.Context(), "approve", b, []byte(typed)); err == nil || AsError(err).Code != "malformed" {
		t.Errorf("a passphrase approves for a passkey: %v", err)
	}
	p.must("approve", map[string]any{"id": sheet.ID})
	<-answer
	p.end()
	p.must("deleteIdentity", map[string]any{"fingerprint": p.identity("hardware").Fingerprint()})
	if s := p.state(); s.Vault != nil || s.Passphrases != 1 {
		t.Errorf("%+v, %d", s.Vault, s.Passphrases)
	}
	p.must("deleteIdentity", map[string]any{"fingerprint": p.identity("desktop").Fingerprint()})
	p.nothingKept()
}

// The passphrase can be changed by who knows it, and that is on record.
func TestPassphraseIsChanged(t *testing.T) {
	p := newPage(t)
	p.mustType("createVault", desktopKey("desktop"), typed)
	const next = "staple staple staple"
	p.wantTypedFailure("vaultPassphrase", "changePassphrase", nil, "not the passphrase", next)
	p.wantTypedFailure("weakPassphrase", "changePassphrase", nil, typed, "short")
	p.wantTypedFailure("weakPassphrase", "changePassphrase", nil, typed)
	p.mustType("changePassphrase", nil, typed, next)
	sheet, answer := p.sheetOf(p.identity("desktop"))
	p.wantTypedFailure("vaultPassphrase", "approve", map[string]any{"id": sheet.ID}, typed)
	p.mustType("approve", map[string]any{"id": sheet.ID}, next)
	if got := (<-answer).(*wire.SignResponse); got.Error != nil {
		t.Error(got.Error)
	}
	log, err := p.signer.Activity.Records()
	if err != nil || !slices.ContainsFunc(log, func(r activity.Record) bool {
		return r.Kind == activity.KindKey && r.Decision == activity.DecisionChanged && r.What.String() == "the passphrase of the vault"
	}) {
		t.Errorf("not on record: %+v, %v", log, err)
	}
}

// A full disk keeps the change out of the log: then it is said which passphrase counts.
func TestPassphraseIsChangedOffTheRecord(t *testing.T) {
	store := &slowStore{}
	p := newPage(t, func(c *Config) { c.Store = store })
	p.mustType("createVault", desktopKey("desktop"), typed)
	store.writing = func(name string) error {
		if name != p.typed.Document() {
			return errors.New("QuotaExceededError")
		}
		return nil
	}
	const next = "staple staple staple"
	_, err := p.types("changePassphrase", nil, typed, next)
	if e := AsError(err); err == nil || e.Code != "storage" || !strings.Contains(e.Message, "opens with the new passphrase") || strings.Contains(e.Hint, "try again") {
		t.Errorf("%+v", err)
	}
	if secret, err := p.typed.Unlock([]byte(next)); err != nil {
		t.Error(err)
	} else {
		clear(secret)
	}
}

// What was approved in advance is signed without the passphrase, and ends as for other
// vaults.
func TestPassphraseGrant(t *testing.T) {
	p := newPage(t)
	p.mustType("createVault", desktopKey("desktop"), typed)
	p.must("enableGrants", map[string]any{"enabled": true})
	id := p.identity("desktop")
	sheet, answer := p.sheetOf(id)
	if !sheet.Grantable {
		t.Fatalf("%+v", sheet)
	}
	p.mustType("approve", map[string]any{"id": sheet.ID, "decision": map[string]any{"grantSeconds": 300}}, typed)
	<-answer
	p.end()
	if code := p.answeredWithout(id); code != "" {
		t.Errorf("a grant: %s", code)
	}
	p.must("endGrant", nil)
	sheet, answer = p.sheetOf(id)
	p.wantTypedFailure("vaultPassphrase", "approve", map[string]any{"id": sheet.ID}, "")
	p.must("deny", map[string]any{"id": sheet.ID})
	<-answer
}
