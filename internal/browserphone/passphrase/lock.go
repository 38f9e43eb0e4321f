package passphrase

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/crypto/argon2"

	"vmux/internal/webauthn"
)

// How much work one guess at a passphrase is. In WebAssembly it is done on one thread,
// while the page stands still.
const (
	// memory is that of RFC 9106 section 4, second option, in KiB. Twice as much was
	// reported to end pages on phones.
	memory    = 64 << 10
	maxMemory = 128 << 10
	minPasses = 3 // the same option's
	maxPasses = 16
	// target is how long opening the vault is to take on the device that makes it.
	target = 750 * time.Millisecond

	saltSize = 16 // RFC 9106 section 3.1
	binding  = "vmux passphrase vault v1"
)

// lock is a secret as it rests under a passphrase.
type lock struct {
	Memory uint32             `json:"memoryKiB"`
	Passes uint32             `json:"passes"`
	Salt   webauthn.Base64URL `json:"salt"`
	Nonce  webauthn.Base64URL `json:"nonce"`
	Sealed webauthn.Base64URL `json:"sealed"`
}

// errWork is for a description that somebody else has written: less work would be for
// who guesses, and more would take the page's memory or keep it busy for ever.
var errWork = errors.New("the vault's description asks for another amount of work (Argon2id) than vmux allows: it was changed, or a newer version wrote it")

func (l lock) valid() error {
	switch {
	case l.Memory < memory || l.Memory > maxMemory || l.Passes < minPasses || l.Passes > maxPasses:
		return errWork
	case len(l.Salt) != saltSize:
		return errDamaged
	}
	return nil
}

// newLock locks a secret, with as much work as this device does in the target's time.
func newLock(passphrase, secret []byte, now func() time.Time) (lock, error) {
	l := lock{Memory: memory, Passes: minPasses, Salt: random(saltSize)}
	began := now()
	key := l.key(passphrase)
	if more := calibrated(now().Sub(began)); more > l.Passes {
		clear(key)
		l.Passes = more
		key = l.key(passphrase)
	}
	defer clear(key)
	aead, err := newAEAD(key)
	if err != nil {
		return lock{}, err
	}
	l.Nonce = random(aead.NonceSize())
	l.Sealed = aead.Seal(nil, l.Nonce, secret, []byte(binding))
	return l, nil
}

// calibrated returns how many passes take the target's time, where the fewest took so
// long. A clock that stands still tells nothing.
func calibrated(took time.Duration) uint32 {
	if took <= 0 {
		return minPasses
	}
	return uint32(min(max(minPasses*target/took, minPasses), maxPasses))
}

// open returns the secret, or ErrWrong.
func (l lock) open(passphrase []byte) ([]byte, error) {
	if err := l.valid(); err != nil {
		return nil, err
	}
	key := l.key(passphrase)
	defer clear(key)
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	if len(l.Nonce) != aead.NonceSize() {
		return nil, errDamaged
	}
	secret, err := aead.Open(nil, l.Nonce, l.Sealed, []byte(binding))
	if err != nil {
		return nil, ErrWrong
	}
	return secret, nil
}

// key does the work. What it worked in is collected at once: a browser never takes memory
// back from WebAssembly, and the next key would be made beside it.
func (l lock) key(passphrase []byte) []byte {
	defer runtime.GC()
	return argon2.IDKey(passphrase, l.Salt, l.Passes, l.Memory, 1, 32)
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("lock the vault: %w", err)
	}
	return cipher.NewGCM(block)
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
