package agent

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
)

// session is a session certificate with its key. Immutable: signing takes no
// lock. The key is forgotten with it; it cannot be wiped, since a signature may
// be under way and crypto/ecdsa keeps copies of its own.
type session struct {
	key   *ecdsa.PrivateKey
	cert  *ssh.Certificate
	blob  []byte
	phone device.ID
	// life is what was left of the validity when it came.
	life time.Duration
}

// LogValue keeps the key out of logs.
func (s *session) LogValue() slog.Value { return slog.StringValue(s.String()) }

// String keeps the key out of formatted text.
func (s *session) String() string { return "session certificate (redacted)" }

// GoString keeps the key out of %#v.
func (s *session) GoString() string { return s.String() }

func newSessionKey() (*ecdsa.PrivateKey, ssh.PublicKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a session key: %w", err)
	}
	public, err := ssh.NewPublicKey(&key.PublicKey)
	if err != nil {
		return nil, nil, fmt.Errorf("make a session key: %w", err)
	}
	return key, public, nil
}

// valid compares with the wall clock. Nil is not valid.
func (s *session) valid(now time.Time) bool {
	return s != nil && uint64(now.Unix()) >= s.cert.ValidAfter && uint64(now.Unix()) < s.cert.ValidBefore
}

func (s *session) validBefore() time.Time { return time.Unix(int64(s.cert.ValidBefore), 0) }

// renewBefore is how long before the end the next one is asked for: 60 minutes,
// or a quarter of a life that is shorter than two hours, since otherwise a
// certificate of 50 minutes would be renewed as soon as it is there.
func (s *session) renewBefore() time.Duration {
	if s.life < 2*time.Hour {
		return s.life / 4
	}
	return time.Hour
}

// renewAt is when renewal begins.
func (s *session) renewAt() time.Time { return s.validBefore().Add(-s.renewBefore()) }

// sign returns the SSH signature blob (RFC 5656 section 3.1.2). Without a source
// of randomness the nonce comes from the key and the digest (RFC 6979), as in
// Ed25519: nothing rests on the system's randomness, and it takes a fifth less
// time than the library's way of mixing randomness in.
func (s *session) sign(data []byte) ([]byte, error) {
	digest := sha256.Sum256(data)
	der, err := s.key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign with the session key: %w", err)
	}
	return signatureBlob(der)
}

var errDER = errors.New("sign with the session key: malformed signature")

// signatureBlob turns a DER ECDSA-Sig-Value into an SSH signature. The contents
// of a DER INTEGER are those of an SSH mpint: shortest two's complement.
func signatureBlob(der []byte) ([]byte, error) {
	// A P-256 signature is at most 72 bytes long: all DER lengths are short.
	if len(der) < 8 || der[0] != 0x30 || int(der[1]) != len(der)-2 || der[2] != 0x02 {
		return nil, errDER
	}
	n := int(der[3])
	if 4+n+2 > len(der) || der[4+n] != 0x02 || int(der[5+n]) != len(der)-6-n {
		return nil, errDER
	}
	r, s := der[4:4+n], der[6+n:]
	blob := make([]byte, 0, 4+len(ssh.KeyAlgoECDSA256)+4+8+len(r)+len(s))
	blob = appendString(blob, []byte(ssh.KeyAlgoECDSA256))
	blob = binary.BigEndian.AppendUint32(blob, uint32(8+len(r)+len(s)))
	blob = appendString(blob, r)
	return appendString(blob, s), nil
}

func appendString(dst, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}
