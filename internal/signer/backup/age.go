package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

const (
	// workFactor makes each guess of a passphrase cost 128 MiB and about half a second: what
	// a browser on a phone has to spend as well.
	workFactor = 17
	// maxWorkFactor is what `age -p` writes, 256 MiB.
	maxWorkFactor = 18
	// MaxSize bounds a backup, in bytes: all servers that a phone remembers are less.
	MaxSize = 4 << 20

	binaryHeader = "age-encryption.org/"
)

// Seal encrypts a document under a passphrase, as `age -p -a` does.
func Seal(d Document, passphrase []byte) ([]byte, error) {
	plain, err := d.encode()
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	recipient, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, err
	}
	recipient.SetWorkFactor(workFactor)
	var file bytes.Buffer
	text := armor.NewWriter(&file)
	w, err := age.Encrypt(text, recipient)
	if err != nil {
		return nil, fmt.Errorf("encrypt backup: %w", err)
	}
	_, err = w.Write(plain)
	if err = errors.Join(err, w.Close(), text.Close()); err != nil {
		return nil, fmt.Errorf("encrypt backup: %w", err)
	}
	if file.Len() > MaxSize {
		return nil, fmt.Errorf("the backup is over %d MiB", MaxSize>>20)
	}
	return file.Bytes(), nil
}

// Open decrypts a backup, in either of age's forms. It takes a passphrase as it is, and then
// one of NewPassphrase as people type it. Wipe what it returns.
func Open(file, passphrase []byte) (*Document, error) {
	if len(file) > MaxSize {
		return nil, ErrNotBackup
	}
	plain, err := decrypt(file, string(passphrase))
	if tidied := tidy(string(passphrase)); errors.Is(err, ErrWrongPassphrase) && tidied != string(passphrase) {
		plain, err = decrypt(file, tidied)
	}
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return decode(plain)
}

// decrypt has the memory that it worked in collected at once: a browser never takes it back
// from WebAssembly, and the next try would be made beside it.
func decrypt(file []byte, passphrase string) ([]byte, error) {
	defer runtime.GC()
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, ErrWrongPassphrase // it is empty
	}
	identity.SetMaxWorkFactor(maxWorkFactor)
	plain, err := plainOf(file, identity)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(plain, MaxSize))
	if err != nil {
		clear(b)
		return nil, ErrDamaged
	}
	return b, nil
}

// Check finds what can be none that a passphrase opens, before anybody is asked for one.
func Check(file []byte) error {
	if len(file) > MaxSize {
		return ErrNotBackup
	}
	if _, err := plainOf(file, nobody{}); !errors.Is(err, ErrWrongPassphrase) {
		return err
	}
	return nil
}

// nobody is an age.Identity that opens nothing.
type nobody struct{}

func (nobody) Unwrap([]*age.Stanza) ([]byte, error) { return nil, age.ErrIncorrectIdentity }

// plainOf reads a backup by one who can open it.
func plainOf(file []byte, identity age.Identity) (io.Reader, error) {
	var source io.Reader = bytes.NewReader(file)
	text := bytes.TrimSpace(bytes.TrimPrefix(file, []byte("\xef\xbb\xbf"))) // as a mail or an editor leaves it
	switch {
	case bytes.HasPrefix(text, []byte(armor.Header)):
		source = armor.NewReader(bytes.NewReader(text))
	case !bytes.HasPrefix(file, []byte(binaryHeader)):
		return nil, ErrNotBackup
	}
	plain, err := age.Decrypt(source, identity)
	if err != nil {
		return nil, refused(err)
	}
	return plain, nil
}

// refused says which of its own errors age's is.
func refused(err error) error {
	if other, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		if slices.Equal(other.StanzaTypes, []string{"scrypt"}) {
			return ErrWrongPassphrase
		}
		return ErrNotBackup // encrypted to a key
	}
	if strings.Contains(err.Error(), "work factor too large") {
		return ErrTooCostly
	}
	return ErrDamaged
}
