package sshctx

import (
	"slices"

	"golang.org/x/crypto/ssh"

	"vmux/internal/wire"
)

// signatureAlgorithms lists, for the key types that sign under other names than
// their own, those names: RFC 8332 section 3 for RSA, and OpenSSH's PROTOCOL.u2f
// and PROTOCOL.certkeys. Every other key type signs under its own name.
var signatureAlgorithms = map[string][]string{
	"ssh-rsa": {"ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"},
	"ssh-rsa-cert-v01@openssh.com": {
		"ssh-rsa-cert-v01@openssh.com", "rsa-sha2-256-cert-v01@openssh.com", "rsa-sha2-512-cert-v01@openssh.com",
	},
	"sk-ecdsa-sha2-nistp256@openssh.com": {
		"sk-ecdsa-sha2-nistp256@openssh.com", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
	},
	"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com": {
		"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com", "webauthn-sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
	},
}

// KeyType returns the type name at the head of a public key or certificate blob
// (RFC 4253 section 6.6), or "" if the blob is no such thing. It does not check
// what stands behind the name.
func KeyType(blob []byte) string {
	r := reader{rest: blob}
	name := r.text()
	if r.failed || len(r.rest) == 0 || !isName(name) {
		return ""
	}
	return name
}

// Readable reports whether this program can verify signatures of the key or
// certificate. OpenSSH has new types of keys sooner than golang.org/x/crypto/ssh.
func Readable(blob []byte) bool {
	_, err := ssh.ParsePublicKey(blob)
	return err == nil
}

// TypeName is KeyType for people.
func TypeName(blob []byte) string {
	if name := KeyType(blob); name != "" {
		return wire.Show(name)
	}
	return "of no type"
}

// signs reports whether a key or certificate of the blob's type signs under the
// algorithm. A request that names another one is none that a server accepts, so
// whoever shows it to a person would show a lie.
func signs(algorithm string, blob []byte) bool {
	keyType := KeyType(blob)
	if keyType == "" {
		return false
	}
	if names, known := signatureAlgorithms[keyType]; known {
		return slices.Contains(names, algorithm)
	}
	return algorithm == keyType
}

// Flags of SSH_AGENTC_SIGN_REQUEST (RFC 9987, "Signature Flags").
const (
	FlagRSASHA256 = 2
	FlagRSASHA512 = 4
)

// RSAAlgorithm returns the algorithm that the flags ask an RSA key for: "" if they ask for
// none, and of both the one that ssh-agent takes.
func RSAAlgorithm(flags uint32) string {
	switch {
	case flags&FlagRSASHA256 != 0:
		return ssh.KeyAlgoRSASHA256
	case flags&FlagRSASHA512 != 0:
		return ssh.KeyAlgoRSASHA512
	}
	return ""
}

// isName reports whether s is an algorithm name: 1 to 64 printable US-ASCII
// characters without comma or space (RFC 4251 section 6).
func isName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ',' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
