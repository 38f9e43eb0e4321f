// Package sshctx reads what an SSH client asks to have signed: a user
// authentication request or an SSHSIG message. It is total, exact and pure; it
// verifies no signature and trusts nobody's word.
package sshctx

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
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

	// Of UserAuth and HostBound.
	SessionID []byte
	User      string
	Service   string // always "ssh-connection"
	Algorithm string // signature algorithm
	PublicKey []byte // blob of the key or certificate that signs
	HostKey   []byte // blob of the server's host key; HostBound only

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
	known := c.Kind == UserAuth || c.Kind == HostBound && len(c.HostKey) > 0
	if !r.done() || !known || number != msgUserAuthRequest || hasSignature != 1 ||
		c.Service != service || len(c.SessionID) < sha256.Size/2 || len(c.PublicKey) == 0 {
		return Context{}, ErrUnknown
	}
	return c, nil
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
			b = appendString(b, s)
		}
		return b
	}
	b = append(appendString(b, c.SessionID), msgUserAuthRequest)
	for _, s := range []string{c.User, c.Service, string(c.Kind)} {
		b = appendString(b, []byte(s))
	}
	b = appendString(appendString(append(b, 1), []byte(c.Algorithm)), c.PublicKey)
	if c.Kind == HostBound {
		b = appendString(b, c.HostKey)
	}
	return b
}

// Fingerprint returns "SHA256:" and the unpadded base64 of the SHA-256 over a
// key blob: the text of `ssh-keygen -l`.
func Fingerprint(blob []byte) string {
	sum := sha256.Sum256(blob)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// reader takes SSH data types (RFC 4251 section 5) from the front of rest. After
// the first failure it returns zero values and done reports false.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) byte() byte {
	if r.failed || len(r.rest) == 0 {
		r.failed = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) bytes() []byte {
	if r.failed || len(r.rest) < 4 {
		r.failed = true
		return nil
	}
	n := binary.BigEndian.Uint32(r.rest)
	if uint64(n) > uint64(len(r.rest)-4) {
		r.failed = true
		return nil
	}
	s := r.rest[4 : 4+n : 4+n]
	r.rest = r.rest[4+n:]
	return s
}

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) done() bool { return !r.failed && len(r.rest) == 0 }

func appendString(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
