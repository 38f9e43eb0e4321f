// Package webauthn reads and checks what a browser answers for a passkey: registrations
// and assertions of WebAuthn Level 3, as providers of all kinds write them. It holds no
// state and no secret.
package webauthn

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
	"math/big"
	"slices"
	"strings"

	"vmux/internal/sshctx"
)

const (
	maxCredentialID = 1023 // WebAuthn Level 3 section 7.1
	// maxClientData and maxAuthData keep a signature that holds them within a
	// message of SSH.
	maxClientData = 64 << 10
	maxAuthData   = 64 << 10
	maxTransports = 16
	authDataHead  = sha256.Size + 1 + 4 // RP ID hash, flags, counter
	aaguidSize    = 16
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

// Registration is what navigator.credentials.create has returned. The attestation
// object, or else the authenticator data, say all that there is to know of the
// passkey: providers leave the other fields out, or write nonsense there.
type Registration struct {
	ID          Base64URL `json:"id,omitempty"`
	ClientData  Base64URL `json:"clientDataJSON"`
	Attestation Base64URL `json:"attestationObject,omitempty"`
	AuthData    Base64URL `json:"authenticatorData,omitempty"`
	Transports  []string  `json:"transports,omitempty"`
	// PRF tells whether the authenticator has the PRF extension; nil if it did
	// not say.
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

// AuthData is authenticator data (WebAuthn Level 3 section 6.1).
type AuthData struct {
	Flags   byte   // see sshctx.FlagUserPresent and its like
	Counter uint32 // of signatures
	Rest    []byte // attested credential data and extensions
}

func (rp RelyingParty) parseAuthData(b []byte) (AuthData, error) {
	if len(b) < authDataHead || len(b) > maxAuthData {
		return AuthData{}, errors.New("malformed authenticator data")
	}
	d := AuthData{
		Flags: b[sha256.Size], Counter: binary.BigEndian.Uint32(b[sha256.Size+1:]), Rest: b[authDataHead:],
	}
	want := sha256.Sum256([]byte(rp.ID))
	switch {
	case !bytes.Equal(b[:sha256.Size], want[:]):
		return d, errors.New("the credential belongs to another site")
	case d.Flags&sshctx.FlagUserPresent == 0:
		return d, errors.New("nobody was present")
	case d.Flags&sshctx.FlagUserVerified == 0:
		return d, errNotVerified
	}
	return d, nil
}

// ChallengeOf returns the challenge that client data name, nil if they are
// malformed.
func ChallengeOf(clientData []byte) []byte {
	c, err := parseClientData(clientData)
	if err != nil {
		return nil
	}
	return c.challenge
}

// clientData are CollectedClientData (WebAuthn Level 3 section 5.8.1), however
// they are written. What OpenSSH demands of their form, a test signature shows.
type clientData struct {
	kind, origin string
	challenge    []byte
	framed       bool
}

func parseClientData(b []byte) (clientData, error) {
	var c struct {
		Type        string          `json:"type"`
		Challenge   string          `json:"challenge"`
		Origin      string          `json:"origin"`
		CrossOrigin json.RawMessage `json:"crossOrigin"`
	}
	if len(b) > maxClientData {
		return clientData{}, fmt.Errorf("its clientDataJSON has %d bytes", len(b))
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // section 7.1: UTF-8 decode
	if json.Unmarshal(b, &c) != nil {
		return clientData{}, errors.New("its clientDataJSON is not such JSON")
	}
	switch string(c.CrossOrigin) {
	case "", "null", "false", `"false"`:
		return clientData{c.Type, c.Origin, decodeAnyBase64(c.Challenge), false}, nil
	}
	return clientData{c.Type, c.Origin, decodeAnyBase64(c.Challenge), true}, nil
}

// decodeAnyBase64 reads base64 of either alphabet, padded or not; nil if it is none.
func decodeAnyBase64(text string) []byte {
	encoding := base64.RawURLEncoding
	if strings.ContainsAny(text, "+/") {
		encoding = base64.RawStdEncoding
	}
	b, err := encoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil
	}
	return b
}

// checkClientData checks what the browser says that it asked for.
func (rp RelyingParty) checkClientData(b []byte, kind string, challenge []byte) error {
	c, err := parseClientData(b)
	switch {
	case err != nil:
		return err
	case c.kind != kind:
		return fmt.Errorf("the browser answered another question than %s", kind)
	case len(challenge) == 0 || !bytes.Equal(c.challenge, challenge):
		return errors.New("the answer belongs to another request")
	case c.origin != rp.Origin || c.framed:
		return errors.New("the answer was given to another site")
	}
	return nil
}

// Check verifies a registration (WebAuthn Level 3 section 7.1) for a key of
// ES256. Attestation is not asked for: which device it is matters to nobody.
func (rp RelyingParty) Check(r Registration, challenge []byte) (Credential, *ecdsa.PublicKey, error) {
	if err := rp.checkClientData(r.ClientData, "webauthn.create", challenge); err != nil {
		return Credential{}, nil, err
	}
	authData, err := r.authData()
	if err != nil {
		return Credential{}, nil, err
	}
	d, err := rp.parseAuthData(authData)
	if err != nil {
		return Credential{}, nil, err
	}
	if d.Flags&sshctx.FlagAttested == 0 {
		return Credential{}, nil, errors.New("its authenticator data name no passkey")
	}
	id, public, err := parseAttested(d.Rest)
	if err != nil {
		return Credential{}, nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Credential{}, nil, fmt.Errorf("encode public key: %w", err)
	}
	if len(r.ID) > 0 && !slices.Equal(r.ID, id) {
		return Credential{}, nil, errors.New("it names two passkeys: rawId and authenticator data differ")
	}
	return Credential{
		Version: 1, ID: id, RPID: rp.ID, Transports: r.Transports[:min(len(r.Transports), maxTransports)], PublicKey: spki,
		BackupEligible: d.backupEligible(), BackedUp: d.Flags&sshctx.FlagBackedUp != 0,
	}, public, nil
}

// backupEligible: whoever has copies can make them, though some that have say
// only the former.
func (d AuthData) backupEligible() bool {
	return d.Flags&(sshctx.FlagBackupEligible|sshctx.FlagBackedUp) != 0
}

// CredentialID returns the new passkey's ID, nil if it cannot be read.
func (r Registration) CredentialID() []byte {
	if len(r.ID) > 0 {
		return r.ID
	}
	b, err := r.authData()
	if err != nil || len(b) < authDataHead {
		return nil
	}
	id, _, _ := parseAttested(b[authDataHead:])
	return id
}

// authData returns the authenticator data, out of the attestation object
// (section 6.5) where there is one.
func (r Registration) authData() ([]byte, error) {
	if len(r.Attestation) == 0 {
		return r.AuthData, nil
	}
	c := cbor{r.Attestation}
	b, err := c.attestedData()
	if err != nil {
		return nil, errors.New("its attestationObject cannot be read")
	}
	return b, nil
}

// parseAttested reads the attested credential data (section 6.5.1) that b begins
// with; extensions may follow.
func parseAttested(b []byte) ([]byte, *ecdsa.PublicKey, error) {
	malformed := errors.New("its authenticator data are cut short")
	if len(b) < aaguidSize+2 {
		return nil, nil, malformed
	}
	size := int(binary.BigEndian.Uint16(b[aaguidSize:]))
	b = b[aaguidSize+2:]
	if len(b) < size {
		return nil, nil, malformed
	}
	if size == 0 || size > maxCredentialID {
		return nil, nil, fmt.Errorf("the passkey's ID has %d bytes", size)
	}
	c := cbor{b[size:]}
	public, err := c.es256()
	return b[:size], public, err
}

func parseES256(spki []byte) (*ecdsa.PublicKey, error) {
	k, err := x509.ParsePKIXPublicKey(spki)
	public, ok := k.(*ecdsa.PublicKey)
	if err != nil || !ok || public.Curve != elliptic.P256() {
		return nil, errNotP256
	}
	return public, nil
}

// Answer checks that an assertion answers the challenge here, with the person
// verified; whose signature it is, is not looked at.
func (rp RelyingParty) Answer(challenge []byte, a Assertion) (AuthData, error) {
	if err := rp.checkClientData(a.ClientData, "webauthn.get", challenge); err != nil {
		return AuthData{}, err
	}
	return rp.parseAuthData(a.AuthData)
}

// Verify checks that a credential has answered the challenge, with the person
// verified.
func (rp RelyingParty) Verify(credential Credential, challenge []byte, a Assertion) (AuthData, error) {
	d, err := rp.Answer(challenge, a)
	if err != nil {
		return d, err
	}
	public, err := parseES256(credential.PublicKey)
	if err != nil {
		return d, err
	}
	r, s, err := ParseSignature(a.Signature)
	if err != nil {
		return d, err
	}
	client := sha256.Sum256(a.ClientData)
	digest := sha256.Sum256(slices.Concat(a.AuthData, client[:]))
	if !ecdsa.Verify(public, digest[:], r, s) {
		return d, errors.New("another passkey has answered")
	}
	return d, nil
}

// ParseSignature reads an ECDSA signature in ASN.1 (section 6.5.5), also one whose
// integers lack or have leading zeros, and one as WebCrypto makes them, which is r
// and s alone: password managers forget to convert it.
func ParseSignature(b []byte) (r, s *big.Int, err error) {
	const size = 32
	if len(b) == 2*size {
		r, s = new(big.Int).SetBytes(b[:size]), new(big.Int).SetBytes(b[size:])
	}
	sequence, rest, ok := derValue(b, 0x30)
	if ok && len(rest) == 0 {
		first, more, ok1 := derValue(sequence, 0x02)
		second, end, ok2 := derValue(more, 0x02)
		if ok1 && ok2 && len(end) == 0 {
			r, s = new(big.Int).SetBytes(first), new(big.Int).SetBytes(second)
		}
	}
	if r == nil || r.Sign() == 0 || s.Sign() == 0 {
		return nil, nil, errors.New("its signature is none of ECDSA")
	}
	return r, s, nil
}

// derValue splits off a value with a tag, of a length in the short form or in one
// byte more.
func derValue(b []byte, tag byte) (value, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	size, b := int(b[1]), b[2:]
	if size == 0x81 && len(b) > 0 {
		size, b = int(b[0]), b[1:]
	} else if size >= 0x80 {
		return nil, nil, false
	}
	if len(b) < size {
		return nil, nil, false
	}
	return b[:size], b[size:], true
}
