package webauthn

import (
	"crypto/rand"
	"time"
	"unicode/utf8"
)

const (
	// tapTimeout bounds a call that no request's window bounds.
	tapTimeout = 2 * time.Minute
	// maxName is how many bytes of a name each authenticator has to take (WebAuthn Level 3
	// section 6.4.1). Some refuse to make a passkey with more (w3c/webauthn#1296).
	maxName = 64
)

// CreationOptions are PublicKeyCredentialCreationOptions (WebAuthn Level 3
// section 5.4) in JSON.
type CreationOptions struct {
	RP                     map[string]string      `json:"rp"`
	User                   user                   `json:"user"`
	Challenge              Base64URL              `json:"challenge"`
	PubKeyCredParams       []credentialParameters `json:"pubKeyCredParams"`
	AuthenticatorSelection map[string]any         `json:"authenticatorSelection"`
	Attestation            string                 `json:"attestation"`
	Timeout                int64                  `json:"timeout"` // milliseconds
	Extensions             extensions             `json:"extensions"`
}

// RequestOptions are PublicKeyCredentialRequestOptions in JSON.
type RequestOptions struct {
	RPID             string       `json:"rpId"`
	Challenge        Base64URL    `json:"challenge"`
	AllowCredentials []descriptor `json:"allowCredentials"`
	UserVerification string       `json:"userVerification"`
	Timeout          int64        `json:"timeout"`
	Extensions       extensions   `json:"extensions"`
}

type user struct {
	ID          Base64URL `json:"id"`
	Name        string    `json:"name"`
	DisplayName string    `json:"displayName"`
}

type credentialParameters struct {
	Type string `json:"type"`
	Alg  int    `json:"alg"`
}

type descriptor struct {
	Type       string    `json:"type"`
	ID         Base64URL `json:"id"`
	Transports []string  `json:"transports,omitempty"`
}

type extensions struct {
	PRF *prfInputs `json:"prf,omitempty"`
}

type prfInputs struct {
	Eval struct {
		First Base64URL `json:"first"`
	} `json:"eval"`
}

func prfOf(salt []byte) *prfInputs {
	if salt == nil {
		return nil
	}
	var in prfInputs
	in.Eval.First = salt
	return &in
}

// NewChallenge returns a challenge that nobody can foresee.
func NewChallenge() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return b
}

// AskFor asks for one passkey, and for the output of its PRF extension if there is
// a salt.
func (p RelyingParty) AskFor(c Credential, challenge, salt []byte) *RequestOptions {
	return &RequestOptions{
		RPID: p.ID, Challenge: challenge, UserVerification: "required", Timeout: tapTimeout.Milliseconds(),
		AllowCredentials: []descriptor{{"public-key", c.ID, c.Transports}}, Extensions: extensions{prfOf(salt)},
	}
}

// Creation asks for a new passkey. Its user is made up: a second passkey of the
// same user would replace the first.
func (p RelyingParty) Creation(label string, challenge, salt []byte) *CreationOptions {
	for len(label) > maxName {
		_, last := utf8.DecodeLastRuneInString(label)
		label = label[:len(label)-last]
	}
	return &CreationOptions{
		RP:        map[string]string{"id": p.ID, "name": "vmux"},
		User:      user{NewChallenge()[:16], label, label},
		Challenge: challenge, PubKeyCredParams: []credentialParameters{{"public-key", coseES256}},
		AuthenticatorSelection: map[string]any{
			"residentKey": "required", "requireResidentKey": true, "userVerification": "required",
		},
		Attestation: "none", Timeout: tapTimeout.Milliseconds(), Extensions: extensions{prfOf(salt)},
	}
}
