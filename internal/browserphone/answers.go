package browserphone

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"vmux/internal/browserphone/sheets"
	"vmux/internal/signer"
	"vmux/internal/signer/identity"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

// approve checks what the passkey has answered or the person typed, and lets the request
// go on with it. It returns when the request has ended. What is no good leaves the sheet
// open, so that the person may try again.
func (p *Phone) approve(ctx context.Context, a arguments) (any, error) {
	if _, err := p.planApproval(a); err != nil { // with a passphrase nothing else ties the answer to what is shown
		return nil, err
	}
	o, err := p.sheets.Get(a.ID)
	if err != nil {
		return nil, err
	}
	sheet, challenge, draft := p.sheets.Now(o)
	var grant time.Duration // for how long the like of it may pass
	if a.Decision != nil {
		grant = time.Duration(min(a.Decision.GrantSeconds, int64(signer.MaxGrant/time.Second))) * time.Second
	}
	if sheet.MustAcknowledge && !a.Acknowledged {
		return nil, &Error{Code: "notAcknowledged", Message: "The warning has to be acknowledged first."}
	}
	if grant != 0 && (grant < 0 || !sheet.Grantable) {
		return nil, &Error{Code: "notGrantable", Message: "This request cannot be approved in advance."}
	}
	joined, err := p.sheets.Joined(o, a.Joined)
	if err != nil {
		return nil, err
	}
	secret, err := p.unlockWith(o.Signing, challenge, a.Assertion, a.secret)
	if err != nil {
		return nil, err
	}
	shared := bytes.Clone(secret)
	defer clear(shared)
	if err := p.sheets.Take(o, sheets.Answer{Approved: true, Draft: draft, Grant: grant}, secret); err != nil {
		return nil, err
	}
	for _, other := range joined {
		_ = p.sheets.Take(other, sheets.Answer{Approved: true, Joined: true}, bytes.Clone(shared)) // it may have ended a moment ago
	}
	if grant > 0 {
		time.AfterFunc(grant+time.Second, p.changed) // it is over then
	}
	return p.await(ctx, o)
}

// unlockWith returns the secret that the key's provider wants.
func (p *Phone) unlockWith(key identity.Identity, challenge []byte, a *webauthn.Assertion, given []byte) ([]byte, error) {
	switch {
	case key.Provider == identity.ProviderPassphrase:
		return p.typed.Unlock(given)
	case a == nil:
		return nil, &Error{Code: "malformed", Message: "The browser brought no answer of a passkey."}
	case key.Provider == identity.ProviderPasskey:
		if _, err := p.passkeys.Signature(key, challenge, *a); err != nil {
			return nil, badAnswer(err)
		}
		return json.Marshal(a)
	}
	if err := p.openVault(challenge, *a, given); err != nil {
		return nil, err
	}
	return bytes.Clone(given), nil
}

func badAnswer(err error) error {
	return &Error{Code: "badAnswer", Message: "The passkey's answer is no good: " + wire.Show(err.Error()) + ".", Hint: "Try again. If it stays so, the passkey's provider (password manager) is at fault: use a key of another."}
}

func (p *Phone) await(ctx context.Context, o *sheets.Request) (any, error) {
	end, err := o.End(ctx)
	if err != nil {
		return nil, err
	}
	if end.Outcome == sheets.OutcomeFailed {
		return nil, &Error{Code: string(end.Code), Message: end.Message}
	}
	return end, nil
}

func (p *Phone) deny(ctx context.Context, a arguments) (any, error) {
	o, err := p.sheets.Get(a.ID)
	if err != nil {
		return nil, err
	}
	joined, err := p.sheets.Joined(o, a.Joined)
	if err != nil {
		return nil, err
	}
	if err := p.sheets.Take(o, sheets.Answer{Mute: a.Mute && o.Prepare == nil}, nil); err != nil {
		return nil, err
	}
	for _, other := range joined {
		_ = p.sheets.Take(other, sheets.Answer{Joined: true}, nil)
	}
	return p.await(ctx, o)
}
