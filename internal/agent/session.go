package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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
	signer, err := ssh.NewSignerFromSigner(s.key)
	if err != nil {
		return nil, fmt.Errorf("sign with the session key: %w", err)
	}
	signature, err := signer.Sign(nil, data)
	if err != nil {
		return nil, fmt.Errorf("sign with the session key: %w", err)
	}
	return ssh.Marshal(signature), nil
}
