package browserphone

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"vmux/internal/signer/identity"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

// approval is what the page brings from the tap on Approve.
type approval struct {
	ID           string              `json:"id"`
	Credential   *webauthn.Assertion `json:"credential"`
	Acknowledged bool                `json:"acknowledged"`
	Grant        time.Duration       `json:"-"` // for how long the like of it may pass
	// Joined are the sheets that this one has listed, and that are answered with
	// it.
	Joined []string `json:"joined"`
}

// approve checks what the passkey has answered, and lets the request go on with
// it. It returns when the request has ended. What is no good leaves the sheet
// open, so that the person may try again.
func (p *Phone) approve(ctx context.Context, a approval, prf []byte) (any, error) {
	o, err := p.sheets.get(a.ID)
	if err != nil {
		return nil, err
	}
	if a.Credential == nil {
		return nil, &Error{Code: "malformed", Message: "The browser brought no answer of a passkey."}
	}
	p.sheets.mu.Lock()
	challenge, draft, warned, grantable := o.challenge, o.draft, o.sheet.MustAcknowledge, o.sheet.Grantable
	p.sheets.mu.Unlock()
	if warned && !a.Acknowledged {
		return nil, &Error{Code: "notAcknowledged", Message: "The warning has to be acknowledged first."}
	}
	if a.Grant != 0 && (a.Grant < 0 || !grantable) {
		return nil, &Error{Code: "notGrantable", Message: "This request cannot be approved in advance."}
	}
	joined, err := p.sheets.joined(o, a.Joined)
	if err != nil {
		return nil, err
	}
	secret, err := p.unlockWith(o.signing, challenge, *a.Credential, prf)
	if err != nil {
		return nil, err
	}
	if err := p.sheets.take(o, answer{approved: true, draft: draft, grant: a.Grant}, secret); err != nil {
		clear(secret)
		return nil, err
	}
	for _, other := range joined {
		p.takeJoined(other, answer{approved: true, joined: true}, bytes.Clone(prf))
	}
	if a.Grant > 0 {
		p.endGrantLater(a.Grant)
	}
	return p.await(ctx, o)
}

// unlockWith returns the secret that the key's provider wants.
func (p *Phone) unlockWith(key identity.Identity, challenge []byte, a webauthn.Assertion, prf []byte) ([]byte, error) {
	if key.Provider == identity.ProviderPasskey {
		if _, err := p.passkeys.Signature(key, challenge, a); err != nil {
			return nil, badAnswer(err)
		}
		return json.Marshal(a)
	}
	if err := p.openVault(challenge, a, prf); err != nil {
		return nil, err
	}
	return bytes.Clone(prf), nil
}

func badAnswer(err error) error {
	return &Error{Code: "badAnswer", Message: "The passkey's answer is no good: " + wire.Show(err.Error()) + ".", Hint: "Try again. If it stays so, the passkey's provider (password manager) is at fault: use a key of another."}
}

func (p *Phone) await(ctx context.Context, o *openSheet) (any, error) {
	select {
	case <-o.closed:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if o.end.Outcome == OutcomeFailed {
		return nil, &Error{Code: string(o.end.Code), Message: o.end.Message}
	}
	return o.end, nil
}

func (p *Phone) deny(ctx context.Context, a arguments) (any, error) {
	o, err := p.sheets.get(a.ID)
	if err != nil {
		return nil, err
	}
	joined, err := p.sheets.joined(o, a.Joined)
	if err != nil {
		return nil, err
	}
	if err := p.sheets.take(o, answer{mute: a.Mute && o.prepare == nil}, nil); err != nil {
		return nil, err
	}
	for _, other := range joined {
		p.takeJoined(other, answer{joined: true}, nil)
	}
	return p.await(ctx, o)
}

// joined returns the sheets that a sheet has listed, but for those that have
// ended since. Only what is like it can be answered with it: signatures by one
// key of the vault, for one computer, without a warning. A passkey is asked for
// each signature by its nature.
func (s *sheets) joined(o *openSheet, ids []string) ([]*openSheet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*openSheet
	for _, id := range ids {
		other := s.byID[id]
		if other == nil || other.answered {
			continue
		}
		if other == o || slices.Contains(list, other) || !o.joins() || !other.joins() ||
			other.key.from != o.key.from || other.sheet.Fingerprint != o.sheet.Fingerprint {
			return nil, &Error{Code: "malformed", Message: "These requests cannot be answered together."}
		}
		list = append(list, other)
	}
	return list, nil
}

// joins reports whether others can be answered together with the sheet's request.
func (o *openSheet) joins() bool {
	return o.prepare == nil && o.signing.Provider == identity.ProviderVault && !o.sheet.MustAcknowledge
}

// takeJoined answers a request that may have ended a moment ago.
func (p *Phone) takeJoined(o *openSheet, a answer, secret []byte) {
	if err := p.sheets.take(o, a, secret); err != nil {
		clear(secret)
	}
}
