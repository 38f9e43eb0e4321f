package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/sshctx"
)

// Comment is how a session certificate is listed.
const Comment = "vmux-session-cert"

// Session is a session certificate with its key. Immutable: signing takes no
// lock. The key is forgotten with it; it cannot be wiped, since a signature may
// be under way and crypto/ecdsa keeps copies of its own.
type Session struct {
	Certificate *ssh.Certificate
	Blob        []byte // the certificate's
	Phone       device.ID

	key ssh.Signer // nil once it is over
	// life is what was left of the validity when it came.
	life time.Duration
}

// LogValue keeps the key out of logs.
func (s *Session) LogValue() slog.Value { return slog.StringValue(s.String()) }

// String keeps the key out of formatted text.
func (s *Session) String() string { return "session certificate (redacted)" }

// GoString keeps the key out of %#v.
func (s *Session) GoString() string { return s.String() }

func newSession() (*Session, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a session key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, fmt.Errorf("make a session key: %w", err)
	}
	return &Session{key: signer}, nil
}

// Valid compares with the wall clock. Nil is not valid.
func (s *Session) Valid(now time.Time) bool {
	return s != nil && uint64(now.Unix()) >= s.Certificate.ValidAfter && uint64(now.Unix()) < s.Certificate.ValidBefore
}

func (s *Session) validBefore() time.Time { return time.Unix(int64(s.Certificate.ValidBefore), 0) }

// renewAt is when renewal begins: 60 minutes before the end, or at a quarter of a
// life that is shorter than two hours, since otherwise a certificate of 50 minutes
// would be renewed as soon as it is there.
func (s *Session) renewAt() time.Time {
	if s.life < 2*time.Hour {
		return s.validBefore().Add(-s.life / 4)
	}
	return s.validBefore().Add(-time.Hour)
}

// withoutKey is what is remembered of a certificate that is over.
func (s *Session) withoutKey() *Session {
	return &Session{Certificate: s.Certificate, Blob: s.Blob, Phone: s.Phone}
}

func (s *Session) hasSerial(serials []string) bool {
	return slices.Contains(serials, strconv.FormatUint(s.Certificate.Serial, 10))
}

// Sign returns the SSH signature blob (RFC 5656 section 3.1.2). Without a source
// of randomness the nonce comes from the key and the digest (RFC 6979), as in
// Ed25519: nothing rests on the system's randomness, and it takes a fifth less
// time than the library's way of mixing randomness in.
func (s *Session) Sign(data []byte) ([]byte, error) {
	signature, err := s.key.Sign(nil, data)
	if err != nil {
		return nil, fmt.Errorf("sign with the session key: %w", err)
	}
	return ssh.Marshal(signature), nil
}

// line is the certificate as it stands in a file, with its comment.
func (s *Session) line() string { return sshctx.AuthorizedLine(s.Certificate) + " " + Comment }

// describe is the certificate for the status, but for its state.
func (s *Session) describe(phone string) control.Certificate {
	c := s.Certificate
	return control.Certificate{
		Phone: phone, DeviceID: s.Phone.String(),
		KeyID: c.KeyId, Serial: strconv.FormatUint(c.Serial, 10), Principals: c.ValidPrincipals,
		ValidAfter: time.Unix(int64(c.ValidAfter), 0), ValidBefore: s.validBefore(),
		CriticalOptions: c.CriticalOptions, Extensions: c.Extensions,
		Fingerprint:   sshctx.Fingerprint(c.Key.Marshal()),
		CAFingerprint: sshctx.Fingerprint(c.SignatureKey.Marshal()),
		Line:          s.line(),
	}
}
