package keyfile

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"hash"
	"math/big"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// What a file can make the phone compute and hold is bounded: OpenSSL writes
// 2048 iterations, and 16 MiB.
const (
	maxIterations   = 10_000_000
	maxScryptMemory = 256 << 20
)

// names are of what is met in files, by object identifier.
var names = map[string]string{
	"1.2.840.10040.4.1": "ssh-dss", "1.3.101.113": "Ed448", "1.3.101.110": "X25519", "1.3.101.111": "X448",
	"1.2.840.113549.1.1.10": "RSA-PSS", "1.2.840.113549.1.3.1": "DH",

	"1.2.840.113549.1.5.1": "pbeWithMD2AndDES-CBC", "1.2.840.113549.1.5.3": "pbeWithMD5AndDES-CBC",
	"1.2.840.113549.1.5.4": "pbeWithMD2AndRC2-CBC", "1.2.840.113549.1.5.6": "pbeWithMD5AndRC2-CBC",
	"1.2.840.113549.1.5.10": "pbeWithSHA1AndDES-CBC", "1.2.840.113549.1.5.11": "pbeWithSHA1AndRC2-CBC",
	"1.2.840.113549.1.12.1.1": "pbeWithSHA1And128BitRC4", "1.2.840.113549.1.12.1.2": "pbeWithSHA1And40BitRC4",
	"1.2.840.113549.1.12.1.3": "pbeWithSHA1And3-KeyTripleDES-CBC", "1.2.840.113549.1.12.1.4": "pbeWithSHA1And2-KeyTripleDES-CBC",
	"1.2.840.113549.1.12.1.5": "pbeWithSHA1And128BitRC2-CBC", "1.2.840.113549.1.12.1.6": "pbeWithSHA1And40BitRC2-CBC",

	"1.2.840.113549.2.6": "HMAC-MD5", "2.16.840.1.101.3.4.1.3": "AES-128-OFB", "2.16.840.1.101.3.4.1.4": "AES-128-CFB",
	"2.16.840.1.101.3.4.1.43": "AES-256-OFB", "2.16.840.1.101.3.4.1.44": "AES-256-CFB",
	"1.3.14.3.2.7": "DES-CBC", "1.2.840.113549.3.2": "RC2-CBC", "2.16.840.1.101.3.4.1.6": "AES-128-GCM",
	"2.16.840.1.101.3.4.1.26": "AES-192-GCM", "2.16.840.1.101.3.4.1.46": "AES-256-GCM",
	"1.2.392.200011.61.1.1.1.2": "CAMELLIA-128-CBC", "1.2.392.200011.61.1.1.1.3": "CAMELLIA-192-CBC",
	"1.2.392.200011.61.1.1.1.4": "CAMELLIA-256-CBC", "1.2.410.200046.1.1.2": "ARIA-128-CBC",
	"1.2.410.200046.1.1.7": "ARIA-192-CBC", "1.2.410.200046.1.1.12": "ARIA-256-CBC", "1.2.156.10197.1.104.2": "SM4-CBC",
}

func nameOf(id asn1.ObjectIdentifier) string {
	if name := names[id.String()]; name != "" {
		return name
	}
	return "object identifier " + id.String()
}

// parseDER reads a key without encryption, by the type of its PEM block.
func parseDER(kind string, der []byte) (crypto.PrivateKey, error) {
	switch kind {
	case "RSA PRIVATE KEY":
		if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
			return key, nil
		}
		if hasLargeExponent(der) {
			return nil, largeExponent
		}
	case "EC PRIVATE KEY":
		key, err := x509.ParseECPrivateKey(der)
		if err == nil {
			return key, nil
		}
		if key, ok := writtenOut(der, nil); ok {
			return key, nil
		}
		if strings.Contains(err.Error(), "curve") {
			return nil, notImported("ECDSA on this curve")
		}
	default:
		return parsePKCS8(der)
	}
	return nil, damaged("its private half cannot be read")
}

var largeExponent = &Error{"RSA keys with a public exponent of more than 31 bits are not imported", newKey}

// hasLargeExponent tells an RSA key (RFC 8017, section A.1.2) that Go refuses.
func hasLargeExponent(der []byte) bool {
	var k struct {
		Version int
		N, E    *big.Int
	}
	_, err := asn1.Unmarshal(der, &k)
	return err == nil && k.N != nil && k.E != nil && k.E.BitLen() > 31 && k.E.BitLen() < k.N.BitLen()
}

// keyInfo is RFC 5958's PrivateKeyInfo without its attributes.
type keyInfo struct {
	Version   int
	Algorithm pkix.AlgorithmIdentifier
	Private   []byte
}

func parsePKCS8(der []byte) (crypto.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err == nil {
		return key, nil
	}
	var p keyInfo
	if _, e := asn1.Unmarshal(der, &p); e != nil {
		return nil, damaged("its private half cannot be read")
	}
	if key, ok := writtenOut(p.Private, p.Algorithm.Parameters.FullBytes); ok {
		return key, nil
	}
	switch id := p.Algorithm.Algorithm.String(); {
	case hasLargeExponent(p.Private):
		return nil, largeExponent
	case names[id] != "":
		return nil, notImported(names[id])
	case strings.Contains(err.Error(), "unknown algorithm"):
		return nil, notImported(nameOf(p.Algorithm.Algorithm))
	case strings.Contains(err.Error(), "curve"):
		return nil, notImported("ECDSA on this curve")
	}
	return nil, damaged("its private half cannot be read")
}

// parseEncryptedPKCS8 reads RFC 5958's EncryptedPrivateKeyInfo under PBES2
// (RFC 8018) with PBKDF2 or scrypt (RFC 7914). PBES1 makes keys of 64 bits or
// less that count; it is named and not read.
func parseEncryptedPKCS8(der, passphrase []byte) (crypto.PrivateKey, error) {
	var f struct {
		Algorithm pkix.AlgorithmIdentifier
		Sealed    []byte
	}
	if _, err := asn1.Unmarshal(der, &f); err != nil {
		return nil, damaged("it is not what its first line says")
	}
	if f.Algorithm.Algorithm.String() != "1.2.840.113549.1.5.13" {
		return nil, unknownPKCS8(f.Algorithm.Algorithm)
	}
	var p struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	if _, err := asn1.Unmarshal(f.Algorithm.Parameters.FullBytes, &p); err != nil {
		return nil, damaged("it does not say how it is encrypted")
	}
	block, size, err := pkcs8Cipher(p.Cipher.Algorithm)
	if err != nil {
		return nil, err
	}
	var iv []byte
	if _, err := asn1.Unmarshal(p.Cipher.Parameters.FullBytes, &iv); err != nil {
		return nil, damaged("it does not say how it is encrypted")
	}
	key, err := pkcs8Key(p.KDF, passphrase, size)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	c, err := block(key)
	if err != nil {
		return nil, err
	}
	if len(iv) != c.BlockSize() || len(f.Sealed) == 0 || len(f.Sealed)%c.BlockSize() != 0 {
		return nil, damaged("its length is not one that its cipher leaves")
	}
	plain := bytes.Clone(f.Sealed)
	defer clear(plain)
	cipher.NewCBCDecrypter(c, iv).CryptBlocks(plain, plain)
	inner, ok := unpad(plain, c.BlockSize())
	// The padding of one wrong passphrase in 256 looks right.
	var whole keyInfo
	if _, err := asn1.Unmarshal(inner, &whole); !ok || err != nil {
		return nil, refusedPassphrase(passphrase)
	}
	return parsePKCS8(inner)
}

func unknownPKCS8(id asn1.ObjectIdentifier) error {
	return &Error{
		"the key file is encrypted with " + nameOf(id) + ", which vmux cannot read",
		"ssh-keygen -p -f FILE encrypts it anew; where that cannot read it either: openssl pkcs8 -provider default -provider legacy -in FILE -topk8 -v2 aes256 -out NEW",
	}
}

func pkcs8Cipher(id asn1.ObjectIdentifier) (block func([]byte) (cipher.Block, error), keySize int, err error) {
	switch id.String() {
	case "2.16.840.1.101.3.4.1.2":
		return aes.NewCipher, 16, nil
	case "2.16.840.1.101.3.4.1.22":
		return aes.NewCipher, 24, nil
	case "2.16.840.1.101.3.4.1.42":
		return aes.NewCipher, 32, nil
	case "1.2.840.113549.3.7":
		return des.NewTripleDESCipher, 24, nil
	}
	return nil, 0, unknownPKCS8(id)
}

func pkcs8Key(kdf pkix.AlgorithmIdentifier, passphrase []byte, size int) ([]byte, error) {
	tooLong := &Error{"the key file takes too long to open, or too much memory", keepsCopy}
	switch kdf.Algorithm.String() {
	case "1.2.840.113549.1.5.12":
		var p struct {
			Salt       []byte
			Iterations int
			Size       int                      `asn1:"optional"`
			PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
		}
		if _, err := asn1.Unmarshal(kdf.Parameters.FullBytes, &p); err != nil || p.Iterations < 1 {
			return nil, damaged("it does not say how the passphrase makes its key")
		}
		if p.Iterations > maxIterations {
			return nil, tooLong
		}
		prf, err := pkcs8PRF(p.PRF.Algorithm)
		if err != nil {
			return nil, err
		}
		return pbkdf2.Key(prf, string(passphrase), p.Salt, p.Iterations, size)
	case "1.3.6.1.4.1.11591.4.11":
		var p struct {
			Salt    []byte
			N, R, P int
			Size    int `asn1:"optional"`
		}
		if _, err := asn1.Unmarshal(kdf.Parameters.FullBytes, &p); err != nil || p.N < 2 || p.N&(p.N-1) != 0 || p.R < 1 || p.P < 1 {
			return nil, damaged("it does not say how the passphrase makes its key")
		}
		if p.N > maxScryptMemory/128/p.R || p.P > 16 {
			return nil, tooLong
		}
		return scrypt.Key(passphrase, p.Salt, p.N, p.R, p.P, size)
	}
	return nil, unknownPKCS8(kdf.Algorithm)
}

func pkcs8PRF(id asn1.ObjectIdentifier) (func() hash.Hash, error) {
	switch id.String() {
	case "", "1.2.840.113549.2.7":
		return sha1.New, nil
	case "1.2.840.113549.2.8":
		return sha256.New224, nil
	case "1.2.840.113549.2.9":
		return sha256.New, nil
	case "1.2.840.113549.2.10":
		return sha512.New384, nil
	case "1.2.840.113549.2.11":
		return sha512.New, nil
	case "1.2.840.113549.2.12":
		return sha512.New512_224, nil
	case "1.2.840.113549.2.13":
		return sha512.New512_256, nil
	}
	return nil, unknownPKCS8(id)
}

// unpad takes PKCS #7's padding away.
func unpad(b []byte, block int) ([]byte, bool) {
	n := int(b[len(b)-1])
	if n < 1 || n > block || n > len(b) {
		return nil, false
	}
	for _, c := range b[len(b)-n:] {
		if int(c) != n {
			return nil, false
		}
	}
	return b[:len(b)-n], true
}
