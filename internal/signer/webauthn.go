package signer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"vmux/internal/sshctx"
)

const (
	maxCredentialID = 1023 // WebAuthn Level 3 section 7.1
	maxClientData   = 1 << 20
	maxAuthData     = 64 << 10
	maxTransports   = 16
	authDataHead    = sha256.Size + 1 + 4 // RP ID hash, flags, counter
	credentialHead  = 16 + 2              // AAGUID, length of the credential's ID
)

// Base64URL is bytes that JSON holds as unpadded base64url, as WebAuthn's own
// JSON forms do.
type Base64URL []byte

// MarshalText implements encoding.TextMarshaler.
func (b Base64URL) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Base64URL) UnmarshalText(text []byte) error {
	decoded, err := base64.RawURLEncoding.Strict().AppendDecode(nil, text)
	if err != nil {
		return errors.New("not base64url")
	}
	*b = decoded
	return nil
}

// RelyingParty is where a page comes from, as WebAuthn sees it.
type RelyingParty struct {
	ID     string // host name
	Origin string // scheme://host[:port]
}

// Registration is what navigator.credentials.create has returned.
type Registration struct {
	ID         Base64URL `json:"id"`
	ClientData Base64URL `json:"clientDataJSON"`
	AuthData   Base64URL `json:"authenticatorData"`
	PublicKey  Base64URL `json:"publicKey"` // SubjectPublicKeyInfo
	Transports []string  `json:"transports,omitempty"`
	// PRF tells whether the authenticator has the PRF extension; nil if it was
	// not asked.
	PRF *bool `json:"prf,omitempty"`
}

// Assertion is what navigator.credentials.get has returned.
type Assertion struct {
	ID         Base64URL `json:"id"`
	ClientData Base64URL `json:"clientDataJSON"`
	AuthData   Base64URL `json:"authenticatorData"`
	Signature  Base64URL `json:"signature"` // ECDSA in ASN.1
}

// Credential is a WebAuthn credential as it rests on the phone.
type Credential struct {
	Version    int       `json:"version"`
	ID         Base64URL `json:"id"`
	RPID       string    `json:"rpID"`
	Transports []string  `json:"transports,omitempty"`
	PublicKey  Base64URL `json:"publicKey"` // SubjectPublicKeyInfo
	// BackupEligible says that the authenticator may copy the key to other
	// devices of its owner, and BackedUp that it did when it was last used.
	BackupEligible bool `json:"backupEligible"`
	BackedUp       bool `json:"backedUp"`
}

// errNotVerified: the person was not identified, by whatever the device has.
var errNotVerified = errors.New("the device did not verify who uses it (no Face ID, fingerprint or PIN)")

// authData is authenticator data (WebAuthn Level 3 section 6.1).
type authData struct {
	flags   byte
	counter uint32
	rest    []byte // attested credential data and extensions
}

func (rp RelyingParty) parseAuthData(b []byte) (authData, error) {
	if len(b) < authDataHead || len(b) > maxAuthData {
		return authData{}, errors.New("malformed authenticator data")
	}
	d := authData{
		flags: b[sha256.Size], counter: binary.BigEndian.Uint32(b[sha256.Size+1:]), rest: b[authDataHead:],
	}
	want := sha256.Sum256([]byte(rp.ID))
	switch {
	case !bytes.Equal(b[:sha256.Size], want[:]):
		return d, errors.New("the credential belongs to another site")
	case d.flags&sshctx.FlagUserPresent == 0:
		return d, errors.New("nobody was present")
	case d.flags&sshctx.FlagUserVerified == 0:
		return d, errNotVerified
	case d.flags&sshctx.FlagBackedUp != 0 && d.flags&sshctx.FlagBackupEligible == 0:
		return d, errors.New("the backup flags contradict each other")
	}
	return d, nil
}

// ChallengeOf returns the challenge that client data names, nil if they are
// malformed.
func ChallengeOf(clientData []byte) []byte {
	var c struct {
		Challenge Base64URL `json:"challenge"`
	}
	if len(clientData) > maxClientData || json.Unmarshal(clientData, &c) != nil {
		return nil
	}
	return c.Challenge
}

// checkClientData checks what the browser says that it asked for.
func (rp RelyingParty) checkClientData(b []byte, kind string, challenge []byte) error {
	var c struct {
		Type        string    `json:"type"`
		Challenge   Base64URL `json:"challenge"`
		Origin      string    `json:"origin"`
		CrossOrigin bool      `json:"crossOrigin"`
	}
	if len(b) > maxClientData || json.Unmarshal(b, &c) != nil {
		return errors.New("malformed client data")
	}
	switch {
	case c.Type != kind:
		return fmt.Errorf("the browser answered another question than %s", kind)
	case len(challenge) == 0 || !bytes.Equal(c.Challenge, challenge):
		return errors.New("the answer belongs to another request")
	case c.Origin != rp.Origin || c.CrossOrigin:
		return errors.New("the answer was given to another site")
	}
	return nil
}

// check verifies a registration (WebAuthn Level 3 section 7.1) for a key of
// ES256. Attestation is not asked for: which device it is matters to nobody.
func (rp RelyingParty) check(r Registration, challenge []byte) (Credential, *ecdsa.PublicKey, error) {
	if err := rp.checkClientData(r.ClientData, "webauthn.create", challenge); err != nil {
		return Credential{}, nil, err
	}
	d, err := rp.parseAuthData(r.AuthData)
	if err != nil {
		return Credential{}, nil, err
	}
	public, err := parseES256(r.PublicKey)
	if err != nil {
		return Credential{}, nil, err
	}
	if len(r.ID) == 0 || len(r.ID) > maxCredentialID || len(r.Transports) > maxTransports {
		return Credential{}, nil, errors.New("malformed credential")
	}
	cose, err := coseKey(public)
	if err != nil {
		return Credential{}, nil, err
	}
	want := slices.Concat(binary.BigEndian.AppendUint16(nil, uint16(len(r.ID))), r.ID, cose)
	if d.flags&sshctx.FlagAttested == 0 || len(d.rest) < credentialHead || !bytes.HasPrefix(d.rest[credentialHead-2:], want) {
		return Credential{}, nil, errors.New("the authenticator made another key than the browser says")
	}
	return Credential{
		Version: 1, ID: r.ID, RPID: rp.ID, Transports: r.Transports, PublicKey: r.PublicKey,
		BackupEligible: d.flags&sshctx.FlagBackupEligible != 0, BackedUp: d.flags&sshctx.FlagBackedUp != 0,
	}, public, nil
}

func parseES256(spki []byte) (*ecdsa.PublicKey, error) {
	k, err := x509.ParsePKIXPublicKey(spki)
	public, ok := k.(*ecdsa.PublicKey)
	if err != nil || !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("the authenticator made a key that is not P-256")
	}
	return public, nil
}

// coseKey is the one form in which an authenticator writes an ES256 key: the
// canonical CBOR of CTAP2 (RFC 9052 section 7, WebAuthn Level 3 section 6.5.1.1).
func coseKey(public *ecdsa.PublicKey) ([]byte, error) {
	point, err := public.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	x, y := point[1:33], point[33:]
	head := []byte{0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20}
	return slices.Concat(head, x, []byte{0x22, 0x58, 0x20}, y), nil
}
