package agent

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"golang.org/x/crypto/ssh"
)

var errBadSignature = errors.New("signature does not verify")

// Signature flags of the agent protocol (RFC 9987 section 6.3).
const (
	flagRSASHA256 = 2
	flagRSASHA512 = 4
)

// checkSignature verifies an SSH signature blob over data, all of it, and that
// an RSA signature uses the hash that the client's flags ask for.
func checkSignature(key ssh.PublicKey, data, blob []byte, flags uint32) error {
	var sig ssh.Signature
	if err := ssh.Unmarshal(blob, &sig); err != nil {
		return fmt.Errorf("%w: malformed", errBadSignature)
	}
	if key.Type() == ssh.KeyAlgoRSA && !rsaFormatFits(sig.Format, flags) {
		return fmt.Errorf("%w: format %s was not asked for", errBadSignature, sig.Format)
	}
	return verify(key, data, &sig)
}

func rsaFormatFits(format string, flags uint32) bool {
	switch {
	case flags&flagRSASHA512 != 0: // as OpenSSH: the last one wins
		return format == ssh.KeyAlgoRSASHA512
	case flags&flagRSASHA256 != 0:
		return format == ssh.KeyAlgoRSASHA256
	}
	return true
}

// verify checks a signature of any format that a phone may make. Errors wrap
// errBadSignature.
func verify(key ssh.PublicKey, data []byte, sig *ssh.Signature) error {
	var err error
	if sig.Format == formatWebAuthn {
		err = verifyWebAuthn(key, data, sig)
	} else if !hasTrailing(sig) {
		err = key.Verify(data, sig)
	} else {
		err = errors.New("bytes after the signature")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errBadSignature, err)
	}
	return nil
}

// hasTrailing reports bytes behind a signature whose format has none; those of
// a security key carry flags and counter there.
func hasTrailing(sig *ssh.Signature) bool {
	return len(sig.Rest) > 0 && !strings.HasPrefix(sig.Format, "sk-")
}

// formatWebAuthn is the signature of a passkey (PROTOCOL.u2f, "WebAuthn
// signatures"), which x/crypto does not know.
const formatWebAuthn = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"

// webAuthn is what stands behind (r, s) in such a signature.
type webAuthn struct {
	Flags      byte
	Counter    uint32
	Origin     string
	ClientData string
	Extensions []byte
}

// Flags of the authenticator data (WebAuthn Level 3 section 6.1).
const (
	authUserPresent = 0x01
	authAttested    = 0x40
	authExtensions  = 0x80
)

// verifyWebAuthn checks what OpenSSH's ssh-ecdsa-sk.c checks.
func verifyWebAuthn(key ssh.PublicKey, data []byte, sig *ssh.Signature) error {
	public, application, err := splitSK(key)
	if err != nil {
		return err
	}
	var rs struct{ R, S *big.Int }
	var w webAuthn
	if err := ssh.Unmarshal(sig.Blob, &rs); err != nil {
		return errors.New("malformed (r, s)")
	}
	if err := ssh.Unmarshal(sig.Rest, &w); err != nil {
		return errors.New("malformed WebAuthn fields")
	}
	if err := w.check(data); err != nil {
		return err
	}
	if !ecdsa.Verify(public, w.digest(application), rs.R, rs.S) {
		return errors.New("WebAuthn assertion")
	}
	return nil
}

func (w *webAuthn) check(data []byte) error {
	prefix := `{"type":"webauthn.get","challenge":"` + base64.RawURLEncoding.EncodeToString(data) +
		`","origin":"` + w.Origin + `"`
	switch {
	case strings.Contains(w.Origin, `"`):
		return errors.New("quote in origin")
	case w.Flags&authUserPresent == 0:
		return errors.New("user was not present")
	case w.Flags&authAttested != 0:
		return errors.New("attested data in an assertion")
	case (w.Flags&authExtensions != 0) != (len(w.Extensions) > 0):
		return errors.New("extension flag and extensions differ")
	case !strings.HasPrefix(w.ClientData, prefix):
		return errors.New("client data is about something else")
	}
	return nil
}

// digest is the hash that the authenticator signed: over its data (hash of the
// relying party's ID, flags, counter, extensions) and the client data's hash.
func (w *webAuthn) digest(application string) []byte {
	rp := sha256.Sum256([]byte(application))
	client := sha256.Sum256([]byte(w.ClientData))
	var b bytes.Buffer
	b.Write(rp[:])
	b.WriteByte(w.Flags)
	b.Write([]byte{byte(w.Counter >> 24), byte(w.Counter >> 16), byte(w.Counter >> 8), byte(w.Counter)})
	b.Write(w.Extensions)
	b.Write(client[:])
	digest := sha256.Sum256(b.Bytes())
	return digest[:]
}

// splitSK takes a security key's blob apart: x/crypto hides the application.
func splitSK(key ssh.PublicKey) (*ecdsa.PublicKey, string, error) {
	var k struct {
		Type, Curve string
		Point       []byte
		Application string
	}
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
