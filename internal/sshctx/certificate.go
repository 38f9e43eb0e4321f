package sshctx

import (
	"bytes"
	"errors"

	"golang.org/x/crypto/ssh"
)

// ErrNotCertificate is returned for bytes that are no certificate.
var ErrNotCertificate = errors.New("not a certificate")

// keyFields says how many strings stand for the key in a certificate of each
// type (OpenSSH PROTOCOL.certkeys, PROTOCOL.u2f), behind type and nonce.
var keyFields = map[string]int{
	ssh.CertAlgoRSAv01: 2, ssh.CertAlgoECDSA256v01: 2, ssh.CertAlgoECDSA384v01: 2, ssh.CertAlgoECDSA521v01: 2,
	ssh.CertAlgoED25519v01: 1, ssh.CertAlgoSKECDSA256v01: 3, ssh.CertAlgoSKED25519v01: 2,
}

// ParseCertificate reads a certificate, also one that a passkey has signed,
// which x/crypto does not read. What it returns marshals to the same bytes.
func ParseCertificate(blob []byte) (*ssh.Certificate, error) {
	signature, ok := signatureOf(blob)
	if !ok {
		return nil, ErrNotCertificate
	}
	var sig ssh.Signature
	if ssh.Unmarshal(signature, &sig) != nil {
		return nil, ErrNotCertificate
	}
	readable, rest := blob, []byte(nil)
	if sig.Format == FormatWebAuthn {
		rest = sig.Rest
		short := ssh.Marshal(ssh.Signature{Format: sig.Format, Blob: sig.Blob})
		readable = AppendString(bytes.Clone(blob[:len(blob)-len(signature)-4]), short)
	}
	key, err := ssh.ParsePublicKey(readable)
	cert, ok := key.(*ssh.Certificate)
	if err != nil || !ok {
		return nil, ErrNotCertificate
	}
	if rest != nil {
		cert.Signature.Rest = rest
	}
	if !bytes.Equal(cert.Marshal(), blob) {
		return nil, ErrNotCertificate
	}
	return cert, nil
}

// VerifyCertificate checks the CA's signature.
func VerifyCertificate(cert *ssh.Certificate) error {
	unsigned := *cert
	unsigned.Signature = nil
	signed := unsigned.Marshal()
	signed = signed[:len(signed)-4] // without the length of the missing signature
	return VerifySignature(cert.SignatureKey, signed, cert.Signature)
}

// IsCertificate reports whether this program knows certificates of the blob's type.
func IsCertificate(blob []byte) bool {
	_, known := keyFields[KeyType(blob)]
	return known
}

// signatureOf returns the last field of a certificate.
func signatureOf(blob []byte) ([]byte, bool) {
	r := reader{rest: blob}
	fields, known := keyFields[r.text()]
	if !known {
		return nil, false
	}
	for range 1 + fields { // nonce and key
		r.bytes()
	}
	r.take(8 + 4) // serial, type
	r.bytes()     // key ID
	r.bytes()     // principals
	r.take(8 + 8) // validity
	for range 4 { // critical options, extensions, reserved, CA's key
		r.bytes()
	}
	signature := r.bytes()
	return signature, r.done()
}
