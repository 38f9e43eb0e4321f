// Package keyfile reads the private key files that SSH clients, OpenSSL and PuTTY
// write. It writes none, and it never repeats in an error what is in a file.
package keyfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Errors of Parse.
var (
	ErrEncrypted       = errors.New("the key file is encrypted")
	ErrWrongPassphrase = errors.New("wrong passphrase")
	// errWrongOrDamaged is for what only a checksum under the passphrase tells.
	errWrongOrDamaged = &wrongPassphrase{}
)

type wrongPassphrase struct{}

func (*wrongPassphrase) Error() string { return "wrong passphrase, or the file is damaged" }
func (*wrongPassphrase) Unwrap() error { return ErrWrongPassphrase }

// Error is a file that no private key can be read from.
type Error struct{ text, hint string }

// Error says in a sentence what the file is, or what is wrong with it.
func (e *Error) Error() string { return e.text }

// Hint says what helps, for a file of this name; it may be empty.
func (e *Error) Hint(name string) string { return strings.ReplaceAll(e.hint, "FILE", name) }

const newKey = "vmux phone identity create --label LABEL makes a new key"

const keepsCopy = "ssh-keygen -p -Z aes256-ctr -f FILE encrypts it anew; then import it again"

func damaged(why string) error {
	return &Error{"the key file is damaged: " + why, "copy it anew from where it was made; ssh-keygen -y -f FILE tells whether it can be read"}
}

// Parse reads a private key: OpenSSH's own format, PEM, PKCS #8 or PuTTY's, as
// they are written or as they arrive from a mail or a chat (byte order mark, any
// line ends, indentation, text around). Passphrase is the file's own, empty if it
// has none. The key is an *ecdsa.PrivateKey on P-256, P-384 or P-521, an
// ed25519.PrivateKey or an *rsa.PrivateKey. Errors are ErrEncrypted if there is no
// passphrase and one is needed, ErrWrongPassphrase, and *Error.
func Parse(file, passphrase []byte) (crypto.PrivateKey, error) {
	if e := notText(file); e != nil {
		return nil, e
	}
	text := plainText(file)
	defer clear(text)
	key, err := parseText(text, passphrase)
	if errors.Is(err, ErrWrongPassphrase) {
		if other := latin1(passphrase); other != nil {
			key, err = parseText(text, other)
			clear(other)
		}
	}
	if err != nil {
		return nil, err
	}
	return key, usable(key)
}

// latin1 is a passphrase as PuTTYgen has it on Windows in western Europe and America, in whose
// files it is not UTF-8; nil if it would be the same, or cannot be.
func latin1(passphrase []byte) []byte {
	other := make([]byte, 0, len(passphrase)) // which holds all of it: nothing is left behind
	for b := passphrase; len(b) > 0; {
		r, size := utf8.DecodeRune(b)
		if r > 0xff {
			clear(other)
			return nil
		}
		other, b = append(other, byte(r)), b[size:]
	}
	if len(other) == len(passphrase) {
		clear(other)
		return nil
	}
	return other
}

func parseText(text, passphrase []byte) (crypto.PrivateKey, error) {
	if i := bytes.Index(text, []byte("PuTTY-User-Key-File-")); i >= 0 {
		return parsePuTTY(text, passphrase)
	}
	b, err := findPEM(text)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, mistaken(text)
	}
	defer clear(b.Bytes)
	switch b.Type {
	case "OPENSSH PRIVATE KEY":
		return parseOpenSSH(b.Bytes, passphrase)
	case "ENCRYPTED PRIVATE KEY":
		return parseEncryptedPKCS8(b.Bytes, passphrase)
	case "DSA PRIVATE KEY":
		return nil, notImported("ssh-dss")
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
		if b.Headers["DEK-Info"] != "" {
			return parseEncryptedPEM(b, passphrase)
		}
		return parseDER(b.Type, b.Bytes)
	}
	return nil, &Error{"a file of type " + safeWords(b.Type) + " is no SSH key that can be imported", ""}
}

// plainText returns the file's text in UTF-8 without a byte order mark. Windows
// PowerShell's > writes UTF-16.
func plainText(file []byte) []byte {
	var order func(a, b byte) uint16
	switch {
	case bytes.HasPrefix(file, []byte{0xff, 0xfe}):
		order = func(a, b byte) uint16 { return uint16(a) | uint16(b)<<8 }
	case bytes.HasPrefix(file, []byte{0xfe, 0xff}):
		order = func(a, b byte) uint16 { return uint16(b) | uint16(a)<<8 }
	default:
		return bytes.Clone(bytes.TrimPrefix(file, []byte("\xef\xbb\xbf")))
	}
	var units []uint16
	for i := 2; i+1 < len(file); i += 2 {
		units = append(units, order(file[i], file[i+1]))
	}
	return []byte(string(utf16.Decode(units)))
}

// findPEM returns the first private key in PEM, or nil. It forgives what
// encoding/pem does not: indentation, and lines that were joined or whose ends
// became \n on the way through a program's settings.
func findPEM(text []byte) (*pem.Block, error) {
	for {
		_, rest, ok := bytes.Cut(text, []byte("-----BEGIN "))
		if !ok {
			return nil, nil
		}
		text = rest
		name, body, ok := bytes.Cut(rest, []byte("-----"))
		kind := string(name)
		if !ok || !strings.HasSuffix(kind, "PRIVATE KEY") || strings.ContainsAny(kind, "\r\n") {
			continue // EC PARAMETERS, or a certificate
		}
		body, _, complete := bytes.Cut(body, []byte("-----END "+kind+"-----"))
		if !complete {
			return nil, damaged("its last line, -----END " + safeWords(kind) + "-----, is missing")
		}
		return decodePEM(kind, body)
	}
}

func decodePEM(kind string, body []byte) (*pem.Block, error) {
	body = bytes.ReplaceAll(bytes.ReplaceAll(body, []byte(`\r`), nil), []byte(`\n`), []byte("\n"))
	b := &pem.Block{Type: kind, Headers: map[string]string{}}
	if before, rest, ok := bytes.Cut(body, []byte("DEK-Info:")); ok {
		rest = bytes.TrimLeft(rest, " \t")
		end := bytes.IndexAny(rest, " \t\r\n")
		if end < 0 {
			end = len(rest)
		}
		name, iv, _ := strings.Cut(string(rest[:end]), ",")
		b.Headers["Proc-Type"], b.Headers["DEK-Info"] = "4,ENCRYPTED", strings.ToUpper(name)+","+iv
		before, _, _ = bytes.Cut(before, []byte("Proc-Type:")) // which says that there is a DEK-Info
		body = append(bytes.Clone(before), rest[end:]...)
	}
	body = withoutHeaders(body)
	defer clear(body)
	packed := make([]byte, 0, len(body))
	for _, c := range body {
		if c > ' ' && c < 0x7f { // no blanks, also none of Unicode
			packed = append(packed, c)
		}
	}
	defer clear(packed)
	b.Bytes = make([]byte, base64.StdEncoding.DecodedLen(len(packed)))
	n, err := base64.StdEncoding.Decode(b.Bytes, packed)
	if err != nil || n == 0 {
		return nil, damaged("what stands between its first and its last line is not base64")
	}
	b.Bytes = b.Bytes[:n]
	return b, nil
}

// withoutHeaders returns a copy without further lines of the form Name: value.
func withoutHeaders(body []byte) []byte {
	var kept []byte
	for line := range bytes.FieldsFuncSeq(body, func(r rune) bool { return r == '\r' || r == '\n' }) {
		if !bytes.Contains(line, []byte(":")) {
			kept = append(append(kept, line...), '\n')
		}
	}
	return kept
}

// parseEncryptedPEM reads what OpenSSL wrote before PKCS #8, and OpenSSH before
// its own format.
func parseEncryptedPEM(b *pem.Block, passphrase []byte) (crypto.PrivateKey, error) {
	name, iv, _ := strings.Cut(b.Headers["DEK-Info"], ",")
	switch name {
	case "AES-128-CBC", "AES-192-CBC", "AES-256-CBC", "DES-EDE3-CBC", "DES-CBC":
	default:
		return nil, unknownCipher(safe(name))
	}
	if raw, err := hex.DecodeString(iv); err != nil || len(raw) == 0 {
		return nil, damaged("the line DEK-Info is not whole")
	}
	//lint:ignore SA1019 weak, and yet what the files are in that are to be replaced
	plain, err := x509.DecryptPEMBlock(b, passphrase)
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, refusedPassphrase(passphrase)
	}
	if err != nil {
		return nil, damaged("its length is not one that its cipher leaves")
	}
	defer clear(plain)
	key, err := parseDER(b.Type, plain)
	if err != nil { // the padding of one wrong passphrase in 256 looks right
		return nil, refusedPassphrase(passphrase)
	}
	return key, nil
}

// refusedPassphrase is the error of a passphrase that does not decrypt. Without
// one, the empty one was tried: OpenSSL encrypts under it when told to.
func refusedPassphrase(passphrase []byte) error {
	if len(passphrase) == 0 {
		return ErrEncrypted
	}
	return ErrWrongPassphrase
}

func unknownCipher(name string) error {
	return &Error{"the key file is encrypted with " + name + ", which vmux cannot read", keepsCopy}
}

// notImported is the error of a key type that vmux holds none of.
func notImported(algorithm string) error {
	switch {
	case strings.HasPrefix(algorithm, "sk-"), strings.HasPrefix(algorithm, "webauthn-sk-"):
		return &Error{
			"the file of a " + algorithm + " key holds no private key: that is inside of a security key, which does not give it away",
			"--upstream SOCKET takes it from an SSH agent in front of the security key",
		}
	case algorithm == "ssh-dss":
		return &Error{"DSA keys are not imported: OpenSSH servers refuse them since version 7.0", newKey}
	}
	return &Error{"keys of type " + algorithm + " are not imported, only ECDSA, Ed25519 and RSA keys are", newKey}
}

// usable refuses what no SSH key type is for.
func usable(key crypto.PrivateKey) error {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if len(k.Primes) != 2 { // RFC 8017, section 3.2
			return &Error{"RSA keys of more than two primes are not imported: OpenSSH's key files have no room for them", newKey}
		}
		return nil
	case ed25519.PrivateKey:
		return nil
	case *ecdsa.PrivateKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return notImported("ECDSA on the curve " + k.Curve.Params().Name)
	}
	return notImported("X25519 or another of key agreement")
}
