package browserphone

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"time"

	"vmux/internal/signer/identity"
	"vmux/internal/webauthn"
)

const (
	algES256 = -7 // RFC 9053 section 2.1
	// tapTimeout bounds a WebAuthn call that no request's window bounds.
	tapTimeout = 2 * time.Minute
	maxPending = 8
)

// Plan is the WebAuthn call that a tap has to make at once, before anything is
// waited for: browsers insist. Both nil: none.
type Plan struct {
	Create *CreationOptions `json:"create,omitempty"`
	Get    *RequestOptions  `json:"get,omitempty"`
}

// CreationOptions are PublicKeyCredentialCreationOptions (WebAuthn Level 3
// section 5.4) in JSON.
type CreationOptions struct {
	RP                     map[string]string      `json:"rp"`
	User                   user                   `json:"user"`
	Challenge              webauthn.Base64URL     `json:"challenge"`
	PubKeyCredParams       []credentialParameters `json:"pubKeyCredParams"`
	AuthenticatorSelection map[string]any         `json:"authenticatorSelection"`
	Attestation            string                 `json:"attestation"`
	Timeout                int64                  `json:"timeout"` // milliseconds
	Extensions             extensions             `json:"extensions"`
}

// RequestOptions are PublicKeyCredentialRequestOptions in JSON.
type RequestOptions struct {
	RPID             string             `json:"rpId"`
	Challenge        webauthn.Base64URL `json:"challenge"`
	AllowCredentials []descriptor       `json:"allowCredentials"`
	UserVerification string             `json:"userVerification"`
	Timeout          int64              `json:"timeout"`
	Extensions       extensions         `json:"extensions"`
}

type user struct {
	ID          webauthn.Base64URL `json:"id"`
	Name        string             `json:"name"`
	DisplayName string             `json:"displayName"`
}

type credentialParameters struct {
	Type string `json:"type"`
	Alg  int    `json:"alg"`
}

type descriptor struct {
	Type       string             `json:"type"`
	ID         webauthn.Base64URL `json:"id"`
	Transports []string           `json:"transports,omitempty"`
}

type extensions struct {
	PRF *prfInputs `json:"prf,omitempty"`
}

type prfInputs struct {
	Eval struct {
		First webauthn.Base64URL `json:"first"`
	} `json:"eval"`
}

func prfOf(salt []byte) *prfInputs {
	var in prfInputs
	in.Eval.First = salt
	return &in
}

// pending are the WebAuthn calls that were planned and have not come back.
type pending struct {
	mu    sync.Mutex
	calls []pendingCall
}

type pendingCall struct {
	challenge []byte
	salt      []byte // of a new vault
}

func (p *pending) add(c pendingCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls[max(0, len(p.calls)-maxPending+1):], c)
}

// take returns the call that was planned with a challenge, once.
func (p *pending) take(challenge []byte) (pendingCall, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.calls, func(c pendingCall) bool { return bytes.Equal(c.challenge, challenge) })
	if len(challenge) == 0 || i < 0 {
		return pendingCall{}, badAnswer(errNotAsked)
	}
	c := p.calls[i]
	p.calls = slices.Delete(p.calls, i, i+1)
	return c, nil
}

// Prepare returns the WebAuthn call that Call of the same name and arguments
// needs, or why it would fail. It waits for nothing.
func (p *Phone) Prepare(name string, args []byte) (Plan, error) {
	a, err := parseArguments(args)
	if err != nil {
		return Plan{}, err
	}
	switch name {
	case "approve":
		return p.planApproval(a)
	case "createPasskey":
		return p.planPasskey(a.Label)
	case "createVault":
		if err := p.vacant(a.Label); err != nil {
			return Plan{}, err
		}
		return p.planVault()
	case "importVault":
		if err := p.vacant(a.Label); err != nil {
			return Plan{}, err
		}
		// Trying the passphrase takes longer than a tap lasts.
		_, err := identity.ParsePrivateKey([]byte(a.File), nil)
		if err != nil && (!errors.Is(err, identity.ErrEncrypted) || a.Passphrase == "") {
			return Plan{}, err
		}
		return p.planVault()
	case "createCA":
		return p.planCA(a)
	}
	return Plan{}, nil
}

// planApproval makes sure that the bytes are those of the decision that the
// page shows.
func (p *Phone) planApproval(a arguments) (Plan, error) {
	o, err := p.sheets.get(a.ID)
	if err != nil {
		return Plan{}, err
	}
	if o.prepare != nil && a.Decision != nil {
		now := p.sheets.snapshot(o)
		if a.Decision.ValiditySeconds != 0 && a.Decision.ValiditySeconds != now.ValiditySeconds ||
			a.Decision.Principals != nil && !slices.Equal(a.Decision.Principals, now.Principals) {
			if err := p.draft(o, a.Decision.signers()); err != nil {
				return Plan{}, err
			}
		}
	}
	p.sheets.mu.Lock()
	challenge, expires := o.challenge, o.sheet.Expires
	p.sheets.mu.Unlock()
	get, err := p.getOptions(o.signing, challenge)
	if err != nil {
		return Plan{}, err
	}
	get.Timeout = max(1000, expires-p.cfg.Now().UnixMilli())
	return Plan{Get: get}, nil
}

// getOptions asks for the passkey that a key needs.
func (p *Phone) getOptions(key identity.Identity, challenge []byte) (*RequestOptions, error) {
	if key.Provider == identity.ProviderPasskey {
		c, err := p.passkeys.Credential(key)
		if err != nil {
			return nil, err
		}
		return p.askFor(c, challenge, nil), nil
	}
	info, err := p.vault.Info()
	if err != nil {
		return nil, err
	}
	return p.askFor(info.Credential, challenge, prfOf(info.Salt)), nil
}

// askFor asks for one passkey.
func (p *Phone) askFor(c webauthn.Credential, challenge []byte, prf *prfInputs) *RequestOptions {
	return &RequestOptions{
		RPID: p.cfg.Host, Challenge: challenge, UserVerification: "required", Timeout: tapTimeout.Milliseconds(),
		AllowCredentials: []descriptor{{"public-key", c.ID, c.Transports}}, Extensions: extensions{prf},
	}
}

// creation asks for a new passkey. Its user is made up: a second passkey of the
// same user would replace the first.
func (p *Phone) creation(label string, challenge []byte) (*CreationOptions, error) {
	if problem := p.passkeyProblem(); problem != "" {
		return nil, &Error{Code: "rpUnusable", Message: problem}
	}
	return &CreationOptions{
		RP:        map[string]string{"id": p.cfg.Host, "name": "vmux"},
		User:      user{newChallenge()[:16], label, label},
		Challenge: challenge, PubKeyCredParams: []credentialParameters{{"public-key", algES256}},
		AuthenticatorSelection: map[string]any{
			"residentKey": "required", "requireResidentKey": true, "userVerification": "required",
		},
		Attestation: "none", Timeout: tapTimeout.Milliseconds(),
	}, nil
}

func (p *Phone) planPasskey(label string) (Plan, error) {
	if err := p.vacant(label); err != nil {
		return Plan{}, err
	}
	if n := p.making().passkey; n != nil && n.Identity.Label == label {
		return Plan{Get: p.askFor(n.Credential, n.Test(), nil)}, nil
	}
	return p.planCreation("vmux: "+label, nil)
}

func (p *Phone) planCreation(label string, salt []byte) (Plan, error) {
	challenge := newChallenge()
	create, err := p.creation(label, challenge)
	if err != nil {
		return Plan{}, err
	}
	if salt != nil {
		create.Extensions.PRF = prfOf(salt)
	}
	p.pending.add(pendingCall{challenge: challenge, salt: salt})
	return Plan{Create: create}, nil
}

// planVault asks for the vault's passkey, or for a new one where there is no
// vault. A vault without keys is what a crash has left, and its passkey may be gone:
// it is made anew.
func (p *Phone) planVault() (Plan, error) {
	challenge := newChallenge()
	if n := p.making().vault; n != nil {
		p.pending.add(pendingCall{challenge: challenge})
		return Plan{Get: p.askFor(n.Credential, challenge, prfOf(n.Salt))}, nil
	}
	empty, err := p.vault.Empty()
	if err != nil {
		return Plan{}, err
	}
	if empty {
		return p.planCreation("vmux vault", identity.NewSalt())
	}
	get, err := p.getOptions(identity.Identity{Provider: identity.ProviderVault}, challenge)
	if err != nil {
		return Plan{}, err
	}
	p.pending.add(pendingCall{challenge: challenge})
	return Plan{Get: get}, nil
}

func (p *Phone) planCA(a arguments) (Plan, error) {
	if err := p.noCA(a.Principals); err != nil {
		return Plan{}, err
	}
	if a.Kind == identity.ProviderVault {
		return p.planVault()
	}
	if n := p.making().passkey; n != nil && n.Identity.Label == labelCA {
		return Plan{Get: p.askFor(n.Credential, n.Test(), nil)}, nil
	}
	return p.planCreation(labelCA, nil)
}
