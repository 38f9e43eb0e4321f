package certificate

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/crypto/ssh"
)

// The session key's signatures verify, whatever the lengths of r and s.
func TestSessionSignature(t *testing.T) {
	s, err := newSession()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2000 { // r or s is short in one of about 128
		data := fmt.Appendf(nil, "data %d", i)
		blob, err := s.Sign(data)
		if err != nil {
			t.Fatal(err)
		}
		var signature ssh.Signature
		if err := ssh.Unmarshal(blob, &signature); err != nil {
			t.Fatalf("signature %d: %v", i, err)
		}
		if err := s.key.PublicKey().Verify(data, &signature); err != nil {
			t.Fatalf("signature %d: %v", i, err)
		}
		if again, err := s.Sign(data); err != nil || !bytes.Equal(again, blob) {
			t.Fatalf("signature %d is another one the second time (RFC 6979): %v", i, err)
		}
	}
}

// No log and no error shows the key.
func TestSessionIsRedacted(t *testing.T) {
	s, err := newSession()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), s.LogValue().String()} {
		if text != "session certificate (redacted)" {
			t.Errorf("shown as %q", text)
		}
	}
}

func BenchmarkSessionSign(b *testing.B) {
	s, err := newSession()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Sign(make([]byte, 300)); err != nil {
			b.Fatal(err)
		}
	}
}
