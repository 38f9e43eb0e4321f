package sshctx

import (
	"errors"
	"strings"
	"testing"
)

// A request whose algorithm is not one that its key signs under is nothing that a
// server accepts.
func TestAlgorithmMustFitTheKey(t *testing.T) {
	tests := []struct {
		algorithm, keyType string
		want               bool
	}{
		{"ssh-ed25519", "ssh-ed25519", true},
		{"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", true},
		{"ecdsa-sha2-nistp384", "ecdsa-sha2-nistp256", false},
		{"rsa-sha2-256", "ssh-rsa", true},
		{"rsa-sha2-512", "ssh-rsa", true},
		{"rsa-sha2-512", "rsa-sha2-512", true}, // an unknown type signs under its own name
		{"rsa-sha2-512", "ssh-ed25519", false},
		{"rsa-sha2-512-cert-v01@openssh.com", "ssh-rsa-cert-v01@openssh.com", true},
		{"rsa-sha2-512", "ssh-rsa-cert-v01@openssh.com", false},
		{"ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com", false},
		{"ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519-cert-v01@openssh.com", true},
		{"sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519@openssh.com", true},
		{"sk-ecdsa-sha2-nistp256@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", true},
		{"webauthn-sk-ecdsa-sha2-nistp256@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", true},
		{"webauthn-sk-ecdsa-sha2-nistp256@openssh.com", "ecdsa-sha2-nistp256", false},
		{"", "", false},
		{"two,names", "two,names", false},
		{"a name", "a name", false},
		{strings.Repeat("a", 65), strings.Repeat("a", 65), false},
	}
	for _, test := range tests {
		c := examples()[0]
		c.Algorithm, c.PublicKey = test.algorithm, blob(test.keyType)
		_, err := Parse(c.Marshal())
		if (err == nil) != test.want || err != nil && !errors.Is(err, ErrUnknown) {
			t.Errorf("%s by %s: %v, want accepted %t", test.algorithm, test.keyType, err, test.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]func(*Context){
		"another service":     func(c *Context) { c.Service = "ssh-userauth" },
		"another method":      func(c *Context) { c.Kind = "password" },
		"no session":          func(c *Context) { c.SessionID = nil },
		"a session too short": func(c *Context) { c.SessionID = c.SessionID[:16] },
		"no key":              func(c *Context) { c.PublicKey = nil },
		"a name without key":  func(c *Context) { c.PublicKey = AppendString(nil, []byte("ssh-ed25519")) },
		"bound to no host":    func(c *Context) { c.Kind = HostBound },
	}
	for name, change := range tests {
		c := examples()[0]
		change(&c)
		if got, err := Parse(c.Marshal()); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, change := range map[string]func(*Context){
		"no namespace": func(c *Context) { c.Namespace = "" },
		"sha1":         func(c *Context) { c.HashAlgorithm = "sha1" },
		"a short hash": func(c *Context) { c.Hash = c.Hash[:32] },
	} {
		c := examples()[2]
		change(&c)
		if got, err := Parse(c.Marshal()); !errors.Is(err, ErrUnknown) {
			t.Errorf("SSHSIG with %s: %+v, %v", name, got, err)
		}
	}
}

// Each byte between the strings counts: the number of the message, and that a
// signature is what follows.
func TestParseRefusesOtherMessages(t *testing.T) {
	for _, c := range examples()[:2] {
		number := 4 + len(c.SessionID)
		hasSignature := number + 1 + 4 + len(c.User) + 4 + len(c.Service) + 4 + len(c.Kind)
		for _, at := range []int{number, hasSignature} {
			for delta := range 255 {
				b := c.Marshal()
				b[at] += byte(delta + 1)
				if got, err := Parse(b); !errors.Is(err, ErrUnknown) {
					t.Fatalf("%s, byte %d is %d: %+v, %v", c.Kind, at, b[at], got, err)
				}
			}
		}
	}
}
