package sshctx

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"golang.org/x/crypto/ssh"
)

// ErrSignature is wrapped by the errors of VerifySignature.
var ErrSignature = errors.New("signature does not verify")

// ErrClientData is for client data that do not begin as they have to, byte by byte.
var ErrClientData = errors.New("client data is about something else")

// FormatWebAuthn is the signature of a passkey (PROTOCOL.u2f, "WebAuthn
// signatures"), which x/crypto does not know.
const FormatWebAuthn = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"

// Flags of the authenticator data (WebAuthn Level 3 section 6.1).
const (
	FlagUserPresent    = 0x01
	FlagUserVerified   = 0x04
	FlagBackupEligible = 0x08
	FlagBackedUp       = 0x10
	FlagAttested       = 0x40
	FlagExtensions     = 0x80
)

// WebAuthn is what stands behind (r, s) in a passkey's signature, in the order
// of PROTOCOL.u2f.
type WebAuthn struct {
	Flags      byte
	Counter    uint32
	Origin     string
	ClientData string
	Extensions []byte
}

// VerifySignature checks a signature of any format that a phone may make, over
// all of data. It is as strict as OpenSSH with passkeys. Errors wrap ErrSignature.
func VerifySignature(key ssh.PublicKey, data []byte, sig *ssh.Signature) error {
	var err error
	switch {
	case sig.Format == FormatWebAuthn:
		err = verifyWebAuthn(key, data, sig)
	case len(sig.Rest) > 0 && !strings.HasPrefix(sig.Format, "sk-"): // a security key's carries flags and counter there
		err = errors.New("bytes after the signature")
	default:
		err = key.Verify(data, sig)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return nil
}

// verifyWebAuthn checks what OpenSSH's ssh-ecdsa-sk.c checks.
func verifyWebAuthn(key ssh.PublicKey, data []byte, sig *ssh.Signature) error {
	public, application, err := SplitPasskey(key)
	if err != nil {
		return err
	}
	var rs struct{ R, S *big.Int }
	var w WebAuthn
	if err := ssh.Unmarshal(sig.Blob, &rs); err != nil {
		return errors.New("malformed (r, s)")
	}
	if err := ssh.Unmarshal(sig.Rest, &w); err != nil {
		return errors.New("malformed WebAuthn fields")
	}
	if err := w.check(data); err != nil {
		return err
	}
	digest := sha256.Sum256(w.Signed(application))
	if !ecdsa.Verify(public, digest[:], rs.R, rs.S) {
		return errors.New("WebAuthn assertion")
	}
	return nil
}

func (w *WebAuthn) check(data []byte) error {
	prefix := `{"type":"webauthn.get","challenge":"` + base64.RawURLEncoding.EncodeToString(data) +
		`","origin":"` + w.Origin + `"`
	switch {
	case strings.Contains(w.Origin, `"`):
		return errors.New("quote in origin")
	case w.Flags&FlagUserPresent == 0:
		return errors.New("user was not present")
	case w.Flags&FlagAttested != 0:
		return errors.New("attested data in an assertion")
	case (w.Flags&FlagExtensions != 0) != (len(w.Extensions) > 0):
		return errors.New("extension flag and extensions differ")
	case !strings.HasPrefix(w.ClientData, prefix):
		return ErrClientData
	}
	return nil
}

// Signed returns what the authenticator signs: its data (hash of the relying
// party's ID, flags, counter, extensions) and the client data's hash.
func (w *WebAuthn) Signed(application string) []byte {
	rp, client := sha256.Sum256([]byte(application)), sha256.Sum256([]byte(w.ClientData))
	b := append(bytes.Clone(rp[:]), w.Flags)
	b = binary.BigEndian.AppendUint32(b, w.Counter)
	return append(append(b, w.Extensions...), client[:]...)
}

// passkey is the blob of a sk-ecdsa-sha2-nistp256@openssh.com key (PROTOCOL.u2f).
type passkey struct {
	Type, Curve string
	Point       []byte
	Application string
}

// PasskeyBlob returns the public key blob of a passkey: P-256, with the relying
// party's ID as its application.
func PasskeyBlob(public *ecdsa.PublicKey, application string) ([]byte, error) {
	point, err := public.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return ssh.Marshal(passkey{ssh.KeyAlgoSKECDSA256, "nistp256", point, application}), nil
}

// SplitPasskey takes a passkey's blob apart: x/crypto hides the application.
func SplitPasskey(key ssh.PublicKey) (*ecdsa.PublicKey, string, error) {
	var k passkey
	if key.Type() != ssh.KeyAlgoSKECDSA256 {
		return nil, "", fmt.Errorf("key type %s", key.Type())
	}
	if err := ssh.Unmarshal(key.Marshal(), &k); err != nil {
		return nil, "", errors.New("malformed key")
	}
	c, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return nil, "", errors.New("unknown key")
	}
	public, ok := c.CryptoPublicKey().(*ecdsa.PublicKey)
	if !ok {
		return nil, "", errors.New("unknown key")
	}
	return public, k.Application, nil
}
