package sshctx

import (
	"bytes"
	"errors"
	"testing"
)

// blob is as much of a public key as Parse looks at.
func blob(keyType string) []byte {
	return append(AppendString(nil, []byte(keyType)), "key"...)
}

func examples() []Context {
	id := bytes.Repeat([]byte{7}, 32)
	return []Context{
		{Kind: UserAuth, SessionID: id, User: "root", Service: service, Algorithm: "ssh-ed25519", PublicKey: blob("ssh-ed25519")},
		{Kind: HostBound, SessionID: id, User: "git", Service: service, Algorithm: "rsa-sha2-512", PublicKey: blob("ssh-rsa"), HostKey: []byte("host")},
		{Kind: SSHSIG, Namespace: "git", HashAlgorithm: "sha512", Hash: bytes.Repeat([]byte{1}, 64)},
		{Kind: SSHSIG, Namespace: "file", Reserved: []byte("r"), HashAlgorithm: "sha256", Hash: bytes.Repeat([]byte{1}, 32)},
		{
			Kind: Sudo, User: "ada", Service: challengeService, Algorithm: "ssh-ed25519", PublicKey: blob("ssh-ed25519"),
			Challenge: &Challenge{
				Cookie: bytes.Repeat([]byte{3}, 16), Account: "ada", Program: "sudo", Directory: "/home/ada",
				Arguments: []string{"sudo", "-u", "postgres", "psql"}, Host: "web-1", Time: 1767355200,
			},
		},
		{
			Kind: Sudo, User: "ada", Service: challengeService, Algorithm: "rsa-sha2-256", PublicKey: blob("ssh-rsa"),
			Challenge: &Challenge{Cookie: bytes.Repeat([]byte{3}, 255), Account: "root", Program: "su"},
		},
	}
}

func TestParseReadsWhatMarshalWrites(t *testing.T) {
	for _, want := range examples() {
		got, err := Parse(want.Marshal())
		if err != nil {
			t.Fatalf("%s: %v", want.Kind, err)
		}
		if !bytes.Equal(got.Marshal(), want.Marshal()) || got.User != want.User || got.Kind != want.Kind {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestParseRefusesEveryTruncationAndExtension(t *testing.T) {
	for _, c := range examples() {
		b := c.Marshal()
		for n := range b {
			if _, err := Parse(b[:n]); !errors.Is(err, ErrUnknown) {
				t.Fatalf("%s cut to %d of %d bytes: %v", c.Kind, n, len(b), err)
			}
		}
		if _, err := Parse(append(b, 0)); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s with a byte behind it: %v", c.Kind, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range examples() {
		f.Add(c.Marshal())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err == nil && !bytes.Equal(c.Marshal(), b) {
			t.Errorf("%x decodes to what encodes to %x", b, c.Marshal())
		}
	})
}
