package keyfile

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/binary"
	"encoding/pem"
	"strings"

	//lint:ignore SA1019 bcrypt_pbkdf, which OpenSSH encrypts its keys with, is made of it
	"golang.org/x/crypto/blowfish"
	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/poly1305" //lint:ignore SA1019 no other form has OpenSSH's use of it
	"golang.org/x/crypto/ssh"
)

// opensshFile is OpenSSH's PROTOCOL.key. The tag of an authenticated cipher
// stands behind what the document describes.
type opensshFile struct {
	Cipher, KDF string
	KDFOptions  []byte
	Keys        uint32
	Public      []byte
	Private     []byte
	Tag         []byte `ssh:"rest"`
}

const (
	opensshMagic = "openssh-key-v1\x00"
	// maxRounds bounds what a file can make the phone compute: 128 times what
	// ssh-keygen writes.
	maxRounds = 2048
)

func parseOpenSSH(b, passphrase []byte) (crypto.PrivateKey, error) {
	rest, ok := bytes.CutPrefix(b, []byte(opensshMagic))
	var f opensshFile
	if !ok || ssh.Unmarshal(rest, &f) != nil || f.Keys != 1 {
		return nil, damaged("it is not what OpenSSH writes")
	}
	algorithm, ok := firstString(f.Public)
	if !ok {
		return nil, damaged("it names no type of key")
	}
	switch algorithm {
	case ssh.KeyAlgoRSA, ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
	default:
		return nil, notImported(safe(algorithm))
	}
	if f.Cipher == "none" {
		return parseDecrypted(f.Public, f.Private)
	}
	plain, err := f.decrypt(passphrase)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return parseDecrypted(f.Public, plain)
}

// firstString is the type that a key in SSH's encoding begins with.
func firstString(blob []byte) (string, bool) {
	var s struct {
		Name string
		Rest []byte `ssh:"rest"`
	}
	return s.Name, ssh.Unmarshal(blob, &s) == nil && s.Name != ""
}

// parseDecrypted leaves the reading to x/crypto, as a file without encryption.
func parseDecrypted(public, private []byte) (crypto.PrivateKey, error) {
	file := append([]byte(opensshMagic), ssh.Marshal(opensshFile{Cipher: "none", KDF: "none", Keys: 1, Public: public, Private: private})...)
	defer clear(file)
	text := pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: file})
	defer clear(text)
	key, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		return nil, damaged("its private half cannot be read")
	}
	if k, ok := key.(*ed25519.PrivateKey); ok {
		key = *k // as x509 has it
	}
	return key, samePublic(key, public)
}

// samePublic finds a file whose halves are of different keys.
func samePublic(key crypto.PrivateKey, public []byte) error {
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil || !bytes.Equal(signer.PublicKey().Marshal(), public) {
		return damaged("its private half is not that of its public half")
	}
	return nil
}

// opensshCipher opens what is sealed under a key that the passphrase makes. It
// works in place.
type opensshCipher struct {
	key, iv, block, tag int // sizes in bytes
	open                func(key, iv, sealed, tag []byte) ([]byte, error)
}

// opensshCiphers are what ssh-keygen -Z takes.
var opensshCiphers = map[string]opensshCipher{
	"aes128-ctr":                    {16, 16, 16, 0, openCTR},
	"aes192-ctr":                    {24, 16, 16, 0, openCTR},
	"aes256-ctr":                    {32, 16, 16, 0, openCTR},
	"aes128-cbc":                    {16, 16, 16, 0, openCBC},
	"aes192-cbc":                    {24, 16, 16, 0, openCBC},
	"aes256-cbc":                    {32, 16, 16, 0, openCBC},
	"3des-cbc":                      {24, 8, 8, 0, open3DES},
	"aes128-gcm@openssh.com":        {16, 12, 16, 16, openGCM},
	"aes256-gcm@openssh.com":        {32, 12, 16, 16, openGCM},
	"chacha20-poly1305@openssh.com": {64, 0, 8, 16, openChaCha},
}

func (f *opensshFile) decrypt(passphrase []byte) ([]byte, error) {
	c, ok := opensshCiphers[f.Cipher]
	var options struct {
		Salt   []byte
		Rounds uint32
	}
	switch {
	case !ok:
		return nil, unknownCipher(safe(f.Cipher))
	case f.KDF != "bcrypt":
		return nil, unknownCipher("a key that " + safe(f.KDF) + " makes of the passphrase")
	case ssh.Unmarshal(f.KDFOptions, &options) != nil, len(options.Salt) == 0, options.Rounds == 0:
		return nil, damaged("it does not say how the passphrase makes its key")
	case options.Rounds > maxRounds:
		return nil, &Error{"the key file takes too long to open: more than 2048 rounds of bcrypt", "ssh-keygen -p -a 100 -f FILE encrypts it anew; then import it again"}
	case len(f.Private) == 0, len(f.Private)%c.block != 0, len(f.Tag) < c.tag:
		return nil, damaged("its length is not one that its cipher leaves")
	case len(passphrase) == 0:
		return nil, ErrEncrypted
	}
	key := bcryptPBKDF(passphrase, options.Salt, int(options.Rounds), c.key+c.iv)
	defer clear(key)
	plain, err := c.open(key[:c.key], key[c.key:], bytes.Clone(f.Private), f.Tag[:c.tag])
	if err != nil {
		return nil, err
	}
	// Two equal numbers begin it: PROTOCOL.key, section 3.
	if len(plain) < 8 || !bytes.Equal(plain[:4], plain[4:8]) {
		clear(plain)
		return nil, ErrWrongPassphrase
	}
	return plain, nil
}

func openCTR(key, iv, b, _ []byte) ([]byte, error) {
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	cipher.NewCTR(c, iv).XORKeyStream(b, b)
	return b, nil
}

func openCBC(key, iv, b, _ []byte) ([]byte, error) {
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	cipher.NewCBCDecrypter(c, iv).CryptBlocks(b, b)
	return b, nil
}

func open3DES(key, iv, b, _ []byte) ([]byte, error) {
	c, err := des.NewTripleDESCipher(key)
	if err != nil {
		return nil, err
	}
	cipher.NewCBCDecrypter(c, iv).CryptBlocks(b, b)
	return b, nil
}

func openGCM(key, iv, b, tag []byte) ([]byte, error) {
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(c)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, iv, append(b, tag...), nil)
	if err != nil {
		return nil, errWrongOrDamaged
	}
	return plain, nil
}

// openChaCha is OpenSSH's PROTOCOL.chacha20poly1305 for the packet of number 0
// and no length field, which leaves the second half of the key unused.
func openChaCha(key, _, b, tag []byte) ([]byte, error) {
	c, err := chacha20.NewUnauthenticatedCipher(key[:32], make([]byte, chacha20.NonceSize))
	if err != nil {
		return nil, err
	}
	var once [32]byte
	c.XORKeyStream(once[:], once[:])
	defer clear(once[:])
	if !poly1305.Verify((*[16]byte)(tag), b, &once) {
		return nil, errWrongOrDamaged
	}
	c.SetCounter(1)
	c.XORKeyStream(b, b)
	return b, nil
}

// bcryptPBKDF is OpenBSD's bcrypt_pbkdf(3). x/crypto has it, but for its own use
// only.
func bcryptPBKDF(passphrase, salt []byte, rounds, size int) []byte {
	const block = 32
	pass := sha512.Sum512(passphrase)
	defer clear(pass[:])
	blocks := (size + block - 1) / block
	key := make([]byte, blocks*block)
	for n := range blocks {
		salted := sha512.Sum512(binary.BigEndian.AppendUint32(bytes.Clone(salt), uint32(n+1)))
		out := bcryptHash(pass[:], salted[:])
		sum := out
		for range rounds - 1 {
			salted = sha512.Sum512(out[:])
			out = bcryptHash(pass[:], salted[:])
			for i := range sum {
				sum[i] ^= out[i]
			}
		}
		for i, v := range sum {
			key[i*blocks+n] = v
		}
	}
	return key[:size]
}

func bcryptHash(pass, salt []byte) [32]byte {
	c, err := blowfish.NewSaltedCipher(pass, salt)
	if err != nil {
		panic(err) // both are SHA-512: the sizes are right
	}
	for range 64 {
		blowfish.ExpandKey(salt, c)
		blowfish.ExpandKey(pass, c)
	}
	out := [32]byte([]byte("OxychromaticBlowfishSwatDynamite"))
	for i := 0; i < len(out); i += 8 {
		for range 64 {
			c.Encrypt(out[i:i+8], out[i:i+8])
		}
	}
	for i := 0; i < len(out); i += 4 {
		out[i], out[i+1], out[i+2], out[i+3] = out[i+3], out[i+2], out[i+1], out[i]
	}
	return out
}

// safe returns a name from a file as it may be shown.
func safe(name string) string {
	name = strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f {
			return r
		}
		return '?'
	}, name)
	return name[:min(len(name), 60)]
}

// safeWords does so for several words.
func safeWords(name string) string {
	words := strings.Fields(name)
	for i := range words {
		words[i] = safe(words[i])
	}
	return strings.Join(words[:min(len(words), 5)], " ")
}
