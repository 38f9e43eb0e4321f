package keyfile

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/ssh"
)

// PuTTY's own format: appendix C of its manual.
type puttyFile struct {
	version               string
	algorithm, encryption string
	fields                map[string]string
	public, private, mac  []byte
}

const maxArgonMemory = 256 << 10 // KiB; puttygen writes 8 MiB

// maxArgonWork bounds memory times passes, in KiB.
const maxArgonWork = 16 << 20

func parsePuTTY(text, passphrase []byte) (crypto.PrivateKey, error) {
	f, err := readPuTTY(text)
	if err != nil {
		return nil, err
	}
	encrypted := f.encryption != "none"
	key, iv, macKey := []byte(nil), make([]byte, aes.BlockSize), []byte(nil)
	switch {
	case f.version == "1":
		return nil, &Error{"PuTTY key files of version 1 are not read", "load it in puttygen, save it there, and import what it saved"}
	case f.version != "2" && f.version != "3":
		return nil, &Error{"PuTTY key files of version " + safe(f.version) + " are not read", "in puttygen choose Conversions, Export OpenSSH key, and import that"}
	case f.algorithm != ssh.KeyAlgoRSA && f.algorithm != ssh.KeyAlgoED25519 && !strings.HasPrefix(f.algorithm, "ecdsa-sha2-nistp"):
		return nil, notImported(safe(f.algorithm))
	case encrypted && f.encryption != "aes256-cbc":
		return nil, &Error{"the key file is encrypted with " + safe(f.encryption) + ", which vmux cannot read", "in puttygen choose Conversions, Export OpenSSH key, and import that"}
	case encrypted && (len(f.private) == 0 || len(f.private)%aes.BlockSize != 0):
		return nil, damaged("its length is not one that its cipher leaves")
	case encrypted && len(passphrase) == 0:
		return nil, ErrEncrypted
	case f.version == "2" && !encrypted:
		_, macKey = puttyKeys2(nil) // whatever passphrase was typed for it
	case f.version == "2":
		key, macKey = puttyKeys2(passphrase)
	case encrypted:
		if key, iv, macKey, err = f.keys3(passphrase); err != nil {
			return nil, err
		}
	}
	if encrypted {
		c, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		cipher.NewCBCDecrypter(c, iv).CryptBlocks(f.private, f.private)
	}
	defer clear(f.private)
	if !hmac.Equal(f.sum(macKey), f.mac) {
		if encrypted {
			return nil, errWrongOrDamaged
		}
		return nil, damaged("its checksum is not that of what it holds")
	}
	return f.key()
}

// readPuTTY takes the file's lines apart. The checksum is over the comment too,
// whose blanks therefore stay.
func readPuTTY(text []byte) (*puttyFile, error) {
	f := &puttyFile{fields: map[string]string{}}
	lines := strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' })
	for i := 0; i < len(lines); i++ {
		name, value, ok := strings.Cut(strings.TrimLeft(lines[i], " \t"), ": ")
		if !ok {
			continue
		}
		if v, ok := strings.CutPrefix(name, "PuTTY-User-Key-File-"); ok {
			f.version, f.algorithm = v, strings.TrimSpace(value)
			continue
		}
		f.fields[name] = value
		into := map[string]*[]byte{"Public-Lines": &f.public, "Private-Lines": &f.private}[name]
		if into == nil {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil || n < 0 || i+n >= len(lines) {
			return nil, damaged("lines are missing")
		}
		var b strings.Builder
		for _, line := range lines[i+1 : i+1+n] {
			b.WriteString(strings.TrimSpace(line))
		}
		if *into, err = base64.StdEncoding.DecodeString(b.String()); err != nil {
			return nil, damaged("its lines are not base64")
		}
		i += n
	}
	f.encryption = strings.TrimSpace(f.fields["Encryption"])
	mac, err := hex.DecodeString(strings.TrimSpace(f.fields["Private-MAC"]))
	if f.mac = mac; f.version != "1" && (err != nil || len(mac) == 0 || f.public == nil || f.private == nil || f.encryption == "") {
		return nil, damaged("lines are missing")
	}
	return f, nil
}

func puttyKeys2(passphrase []byte) (key, mac []byte) {
	for n := range byte(2) {
		sum := sha1.Sum(append([]byte{0, 0, 0, n}, passphrase...))
		key = append(key, sum[:]...)
	}
	sum := sha1.Sum(append([]byte("putty-private-key-file-mac-key"), passphrase...))
	return key[:32], sum[:]
}

func (f *puttyFile) keys3(passphrase []byte) (key, iv, mac []byte, err error) {
	number := func(name string, most uint64) uint64 {
		n, err := strconv.ParseUint(strings.TrimSpace(f.fields[name]), 10, 32)
		if err != nil || n < 1 || n > most {
			return 0
		}
		return n
	}
	memory, passes, threads := number("Argon2-Memory", maxArgonMemory), number("Argon2-Passes", maxArgonWork), number("Argon2-Parallelism", 255)
	salt, err := hex.DecodeString(strings.TrimSpace(f.fields["Argon2-Salt"]))
	if err != nil || memory == 0 || passes == 0 || threads == 0 || memory*passes > maxArgonWork {
		return nil, nil, nil, &Error{"the key file takes too long to open, or too much memory, or does not say how its passphrase makes its key", "in puttygen choose Conversions, Export OpenSSH key, and import that"}
	}
	var out []byte
	switch kdf := strings.TrimSpace(f.fields["Key-Derivation"]); kdf {
	case "Argon2id":
		out = argon2.IDKey(passphrase, salt, uint32(passes), uint32(memory), uint8(threads), 80)
	case "Argon2i":
		out = argon2.Key(passphrase, salt, uint32(passes), uint32(memory), uint8(threads), 80)
	default:
		return nil, nil, nil, &Error{"the key file's passphrase makes its key by " + safe(kdf) + ", which vmux cannot read", "puttygen FILE -P --ppk-param kdf=argon2id -o NEW.ppk, and import that"}
	}
	return out[:32], out[32:48], out[48:], nil
}

func (f *puttyFile) sum(key []byte) []byte {
	h := hmac.New(sha256.New, key)
	if f.version == "2" {
		h = hmac.New(sha1.New, key)
	}
	h.Write(ssh.Marshal(struct {
		Algorithm, Encryption, Comment string
		Public, Private                []byte
	}{f.algorithm, f.encryption, f.fields["Comment"], f.public, f.private}))
	return h.Sum(nil)
}

// key makes the key of its numbers: what is secret stands in the private half,
// the rest in the public half.
func (f *puttyFile) key() (crypto.PrivateKey, error) {
	broken := damaged("its private half cannot be read")
	var key crypto.PrivateKey
	switch f.algorithm {
	case ssh.KeyAlgoRSA:
		var public struct {
			Name string
			E, N *big.Int
		}
		var private struct {
			D, P, Q, Inverse *big.Int
			Padding          []byte `ssh:"rest"`
		}
		if ssh.Unmarshal(f.public, &public) != nil || ssh.Unmarshal(f.private, &private) != nil || public.E.BitLen() > 24 ||
			public.N.BitLen() > 16384 || private.P.BitLen() > 8192 || private.Q.BitLen() > 8192 || private.D.BitLen() > 16384 {
			return nil, broken
		}
		k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: public.N, E: int(public.E.Int64())}, D: private.D, Primes: []*big.Int{private.P, private.Q}}
		if k.Validate() != nil {
			return nil, broken
		}
		k.Precompute()
		key = k
	case ssh.KeyAlgoED25519:
		var private struct {
			Seed    []byte // little-endian, without the zeros at its end
			Padding []byte `ssh:"rest"`
		}
		if ssh.Unmarshal(f.private, &private) != nil || len(private.Seed) > ed25519.SeedSize {
			return nil, broken
		}
		key = ed25519.NewKeyFromSeed(append(bytes.Clone(private.Seed), make([]byte, ed25519.SeedSize-len(private.Seed))...))
	default:
		curve := map[string]elliptic.Curve{
			ssh.KeyAlgoECDSA256: elliptic.P256(), ssh.KeyAlgoECDSA384: elliptic.P384(), ssh.KeyAlgoECDSA521: elliptic.P521(),
		}[f.algorithm]
		var private struct {
			D       *big.Int
			Padding []byte `ssh:"rest"`
		}
		if curve == nil || ssh.Unmarshal(f.private, &private) != nil || private.D.Sign() < 0 || private.D.BitLen() > curve.Params().BitSize {
			return nil, broken
		}
		k, err := ecdsa.ParseRawPrivateKey(curve, private.D.FillBytes(make([]byte, (curve.Params().BitSize+7)/8)))
		if err != nil {
			return nil, broken
		}
		key = k
	}
	return key, samePublic(key, f.public)
}
