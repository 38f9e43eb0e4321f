package backup

import (
	"bytes"
	"crypto"
	"encoding/pem"
	"fmt"
	"log/slog"

	"golang.org/x/crypto/ssh"

	"vmux/internal/keyfile"
)

// PrivateKey is an OpenSSH private key file without a passphrase, since all of the document
// is under one: whoever decrypts it by hand has keys that ssh takes. It is shown nowhere.
type PrivateKey struct{ file []byte }

// NewPrivateKey returns the file of a key.
func NewPrivateKey(key crypto.PrivateKey, comment string) (PrivateKey, error) {
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("write key: %w", err)
	}
	defer clear(block.Bytes)
	return PrivateKey{pem.EncodeToMemory(block)}, nil
}

// Key returns the key, if it is that of a public line.
func (k PrivateKey) Key(line string) (crypto.PrivateKey, ssh.PublicKey, error) {
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, nil, ErrDamaged
	}
	key, err := keyfile.Parse(k.file, nil)
	if err != nil {
		return nil, nil, ErrDamaged
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil || !bytes.Equal(signer.PublicKey().Marshal(), public.Marshal()) {
		return nil, nil, ErrDamaged
	}
	return key, public, nil
}

// MarshalText implements encoding.TextMarshaler.
func (k PrivateKey) MarshalText() ([]byte, error) { return bytes.Clone(k.file), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *PrivateKey) UnmarshalText(b []byte) error {
	k.file = bytes.Clone(b)
	return nil
}

// String hides the key.
func (PrivateKey) String() string { return "redacted" }

// GoString hides the key.
func (PrivateKey) GoString() string { return "redacted" }

// LogValue hides the key.
func (PrivateKey) LogValue() slog.Value { return slog.StringValue("redacted") }
