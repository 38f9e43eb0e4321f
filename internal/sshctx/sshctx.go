// Package sshctx reads what an SSH client asks to have signed: a user
// authentication request, an SSHSIG message or sudo's challenge, and the session
// bindings that go with them. It is total, exact and pure, and trusts nobody's word: what it
// returns stands in the bytes, and a binding was signed by the host key it names.
package sshctx

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"

	"golang.org/x/crypto/ssh"
)

// Kind says what the signed bytes are.
type Kind string

// The kinds.
const (
	// UserAuth is SSH_MSG_USERAUTH_REQUEST with method publickey (RFC 4252
	// section 7). It does not name the server.
	UserAuth Kind = "publickey"
	// HostBound is the same with publickey-hostbound-v00@openssh.com, which
	// carries the server's host key (OpenSSH PROTOCOL section 3.1).
	HostBound Kind = "publickey-hostbound-v00@openssh.com"
	// SSHSIG is a signature over a file or a git object (OpenSSH
	// PROTOCOL.sshsig).
	SSHSIG Kind = "sshsig"
	// Sudo is a challenge of pam_ssh_agent_auth, for sudo or another program. No
	// server takes it for a login: its message number and service are others.
	Sudo Kind = "sudo"
)

const (
	msgUserAuthRequest = 50 // RFC 4250 section 4.1.2
	sshsigMagic        = "SSHSIG"
	service            = "ssh-connection"
)

// ErrUnknown is returned for bytes that are none of the kinds.
var ErrUnknown = errors.New("not a known SSH message")

// Context is what the bytes say. Byte slices refer to the parsed input.
type Context struct {
	Kind Kind

	// Of UserAuth, HostBound and Sudo.
	SessionID []byte // of Sudo: the challenge's bytes; Marshal takes Challenge
	User      string // of Sudo: who has called the program
	Service   string // "ssh-connection", of Sudo "pam_ssh_agent_auth"
	Algorithm string // signature algorithm
	PublicKey []byte // blob of the key or certificate that signs
	HostKey   []byte // blob of the server's host key; HostBound only

	Challenge *Challenge // of Sudo

	// Of SSHSIG.
	Namespace     string
	Reserved      []byte
	HashAlgorithm string // "sha256" or "sha512"
	Hash          []byte
}

// Parse reads all of data, or returns ErrUnknown.
func Parse(data []byte) (Context, error) {
	if len(data) >= len(sshsigMagic) && string(data[:len(sshsigMagic)]) == sshsigMagic {
		return parseSSHSIG(data[len(sshsigMagic):])
	}
	return parseUserAuth(data)
}

func parseUserAuth(data []byte) (Context, error) {
	r := reader{rest: data}
	c := Context{SessionID: r.bytes()}
	number := r.byte()
	c.User, c.Service, c.Kind = r.text(), r.text(), Kind(r.text())
	hasSignature := r.byte()
	c.Algorithm, c.PublicKey = r.text(), r.bytes()
	if c.Kind == HostBound {
		c.HostKey = r.bytes()
	}
	if !r.done() || hasSignature != 1 || !signs(c.Algorithm, c.PublicKey) {
		return Context{}, ErrUnknown
	}
	known := c.Kind == UserAuth || c.Kind == HostBound && len(c.HostKey) > 0
	switch {
	case known && number == msgUserAuthRequest && c.Service == service && isExchangeHash(c.SessionID):
		return c, nil
	case c.Kind == UserAuth && number == msgUserAuthTrustRequest && c.Service == challengeService:
		if c.Challenge, known = parseChallenge(c.SessionID, c.User); known {
			c.Kind = Sudo
			return c, nil
		}
	}
	return Context{}, ErrUnknown
}

// isExchangeHash reports whether the session ID has the size of a hash that SSH
// key exchanges use: SHA-1, SHA-256, SHA-384 or SHA-512 (RFC 4253 section 7.2).
func isExchangeHash(id []byte) bool {
	switch len(id) {
	case 20, 32, 48, 64:
		return true
	}
	return false
}

func parseSSHSIG(data []byte) (Context, error) {
	r := reader{rest: data}
	c := Context{Kind: SSHSIG, Namespace: r.text(), Reserved: r.bytes(), HashAlgorithm: r.text(), Hash: r.bytes()}
	size := map[string]int{"sha256": 32, "sha512": 64}[c.HashAlgorithm]
	if !r.done() || c.Namespace == "" || size == 0 || len(c.Hash) != size {
		return Context{}, ErrUnknown
	}
	return c, nil
}

// Marshal encodes the context to the bytes it was parsed from.
func (c Context) Marshal() []byte {
	var b []byte
	if c.Kind == SSHSIG {
		b = append(b, sshsigMagic...)
		for _, s := range [][]byte{[]byte(c.Namespace), c.Reserved, []byte(c.HashAlgorithm), c.Hash} {
			b = AppendString(b, s)
		}
		return b
	}
	session, number, method := c.SessionID, byte(msgUserAuthRequest), c.Kind
	if c.Kind == Sudo {
		session, number, method = c.Challenge.marshal(c.User), msgUserAuthTrustRequest, UserAuth
	}
	b = append(AppendString(b, session), number)
	for _, s := range []string{c.User, c.Service, string(method)} {
		b = AppendString(b, s)
	}
	b = AppendString(AppendString(append(b, 1), c.Algorithm), c.PublicKey)
	if c.Kind == HostBound {
		b = AppendString(b, c.HostKey)
	}
	return b
}

// IsLogin reports whether the bytes log in to a server.
func (c Context) IsLogin() bool { return c.Kind == UserAuth || c.Kind == HostBound }

// AuthorizedLine is a key or certificate as it stands in authorized_keys, without
// comment.
func AuthorizedLine(key ssh.PublicKey) string {
	b := ssh.MarshalAuthorizedKey(key)
	return string(b[:len(b)-1])
}

// Fingerprint returns "SHA256:" and the unpadded base64 of the SHA-256 over a
// key blob: the text of `ssh-keygen -l`.
func Fingerprint(blob []byte) string {
	sum := sha256.Sum256(blob)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}
