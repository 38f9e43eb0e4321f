package sshctx

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/testkit"
)

func newBinding(t testing.TB) Binding { return bindingOf(t, bytes.Repeat([]byte{3}, 32)) }

// bindingOf is what a host signs for a session of that ID.
func bindingOf(t testing.TB, id []byte) Binding {
	t.Helper()
	host := testkit.NewKey(t)
	signature, err := host.Sign(rand.Reader, id)
	if err != nil {
		t.Fatal(err)
	}
	return Binding{HostKey: host.PublicKey().Marshal(), SessionID: id, Signature: ssh.Marshal(signature)}
}

// The attacker changes one bit anywhere: of the key, the session, the signature,
// a length. Only the forwarding flag is not signed. What becomes a key that cannot
// be read proves nothing.
func TestBindingRefusesEveryChangedBit(t *testing.T) {
	good := newBinding(t).Marshal()
	if _, err := ParseBinding(good); err != nil {
		t.Fatal(err)
	}
	for i := range len(good) - 1 {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			b, err := ParseBinding(bad)
			if errors.Is(err, ErrHostKey) && !Readable(b.HostKey) {
				continue
			}
			if !errors.Is(err, ErrNotBinding) && !errors.Is(err, ErrBindingSignature) {
				t.Fatalf("bit %d of byte %d changed: %v", bit, i, err)
			}
		}
	}
	for n := range good {
		if _, err := ParseBinding(good[:n]); !errors.Is(err, ErrNotBinding) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := ParseBinding(append(bytes.Clone(good), 0)); !errors.Is(err, ErrNotBinding) {
		t.Errorf("with a byte behind it: %v", err)
	}
	good[len(good)-1] = 2
	if _, err := ParseBinding(good); !errors.Is(err, ErrNotBinding) {
		t.Errorf("forwarding 2: %v", err)
	}
}

// A host may sign anything: what has not the size of a session ID is none. The flag
// stands in the last byte.
func TestBindingOfSessionsAlone(t *testing.T) {
	for size := range 70 {
		for _, forwarding := range []bool{false, true} {
			b := bindingOf(t, bytes.Repeat([]byte{3}, size))
			b.Forwarding = forwarding
			got, err := ParseBinding(b.Marshal())
			switch size {
			case 20, 32, 48, 64:
				if err != nil || got.Forwarding != forwarding {
					t.Errorf("session ID of %d bytes, forwarding %v: %+v, %v", size, forwarding, got, err)
				}
			default:
				if !errors.Is(err, ErrNotBinding) {
					t.Errorf("session ID of %d bytes: %v", size, err)
				}
			}
		}
	}
}

// A host key of a type that this program does not know, or of one that it knows and
// cannot use: the binding is kept as it is, and said to prove nothing. What is no
// key at all is no binding.
func TestBindingByAHostKeyThatCannotBeRead(t *testing.T) {
	id := bytes.Repeat([]byte{3}, 32)
	rsa := AppendString(AppendString(AppendString(nil, []byte("ssh-rsa")), []byte{1, 0, 0, 0, 1}), bytes.Repeat([]byte{5}, 256))
	for name, key := range map[string][]byte{
		"a newer type":         AppendString(AppendString(nil, []byte("ssh-mldsa44-ed25519")), make([]byte, 1344)),
		"a type of a vendor's": AppendString(AppendString(nil, []byte("ssh-made-up@example.com")), []byte{1}),
		"an odd RSA exponent":  rsa,
	} {
		for _, forwarding := range []bool{false, true} {
			raw := Binding{HostKey: key, SessionID: id, Signature: []byte("any"), Forwarding: forwarding}.Marshal()
			b, err := ParseBinding(raw)
			if !errors.Is(err, ErrHostKey) || Readable(b.HostKey) || !bytes.Equal(b.Marshal(), raw) || b.Forwarding != forwarding {
				t.Errorf("%s: %+v, %v", name, b, err)
			}
		}
	}
	for _, key := range [][]byte{nil, {0}, []byte("ssh-ed25519"), AppendString(nil, []byte("a name alone")), AppendString(AppendString(nil, []byte("two words")), id)} {
		if _, err := ParseBinding(Binding{HostKey: key, SessionID: id}.Marshal()); !errors.Is(err, ErrNotBinding) {
			t.Errorf("host key %q: %v", key, err)
		}
	}
}

func TestCovers(t *testing.T) {
	b := newBinding(t)
	login := Context{Kind: UserAuth, SessionID: b.SessionID, User: "root"}
	bound := Context{Kind: HostBound, SessionID: b.SessionID, HostKey: b.HostKey}
	other := bytes.Repeat([]byte{4}, 32)
	forwarded := b
	forwarded.Forwarding = true
	tests := []struct {
		name string
		b    Binding
		c    Context
		want bool
	}{
		{"its login", b, login, true},
		{"its bound login", b, bound, true},
		{"another session", b, Context{Kind: UserAuth, SessionID: other}, false},
		{"another session, of that host", b, Context{Kind: HostBound, SessionID: other, HostKey: b.HostKey}, false},
		{"a forwarding hop to that host", forwarded, bound, false},
		{"another host key", b, Context{Kind: HostBound, SessionID: b.SessionID, HostKey: []byte("other")}, false},
		{"a forwarding hop", forwarded, login, false},
		{"a file", b, Context{Kind: SSHSIG}, false},
		{"nothing and nothing", Binding{}, Context{}, false},
	}
	for _, test := range tests {
		if got := test.b.Covers(test.c); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
	if got := ServerOf([]Binding{forwarded}, login); got != nil {
		t.Errorf("a forwarding hop named the server: %x", got)
	}
}

func FuzzParseBinding(f *testing.F) {
	f.Add(newBinding(f).Marshal())
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := ParseBinding(raw)
		if (err == nil || errors.Is(err, ErrHostKey)) && !bytes.Equal(b.Marshal(), raw) {
			t.Errorf("%x decodes to what encodes to %x", raw, b.Marshal())
		}
	})
}
