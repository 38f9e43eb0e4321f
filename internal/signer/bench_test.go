package signer

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// BenchmarkCertify is a certificate from request to answer, with policy, replay
// guard and log, by a CA whose key is unlocked. The target is 60 times the
// figure of BenchmarkSSHKeygen.
func BenchmarkCertify(b *testing.B) {
	keys := ram{}
	now := time.Now()
	s, err := New(Config{
		Store: &MemoryStore{}, Providers: map[string]Provider{"ram": keys}, Now: func() time.Time { return now },
		Approver: Approver{Certificate: func(context.Context, CertificateSheet) (CertificateDecision, error) {
			return CertificateDecision{Approved: true}, nil
		}},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Add(keys.add(b, "a", "ecdsa-sha2-nistp256")); err != nil {
		b.Fatal(err)
	}
	if _, err := s.AddCA(keys.add(b, "ca", "ecdsa-sha2-nistp256"), []string{"root"}); err != nil {
		b.Fatal(err)
	}
	from := device.Peer{ID: device.ID{1}, Name: "laptop"}
	session := keys.add(b, "session", "ecdsa-sha2-nistp256")
	for b.Loop() {
		now = now.Add(time.Second) // or the replay guard would fill up
		r := wire.CertificateRequest{
			Asking:        wire.NewAsking(from.ID.String(), "laptop", now, wire.Window),
			PublicKeyBlob: session.PublicKey, RequestedValiditySeconds: 28800,
		}
		e, err := wire.NewEnvelope(r.RequestID, wire.KindCertificateRequest, r)
		if err != nil {
			b.Fatal(err)
		}
		if _, body := s.Serve(b.Context(), from, e, nil); body.(*wire.CertificateResponse).Error != nil {
			b.Fatal(body)
		}
	}
}

// BenchmarkSSHKeygen is the yardstick: one process for each certificate, with a
// CA key that is not encrypted.
func BenchmarkSSHKeygen(b *testing.B) {
	dir := b.TempDir()
	ca, key := filepath.Join(dir, "ca"), filepath.Join(dir, "key")
	for _, path := range []string{ca, key} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", path).CombinedOutput(); err != nil {
			b.Fatalf("ssh-keygen: %v: %s (missing? run `make setup`)", err, out)
		}
	}
	for b.Loop() {
		if out, err := exec.Command("ssh-keygen", "-q", "-s", ca, "-I", "vmux", "-n", "root", "-V", "+8h", key+".pub").CombinedOutput(); err != nil {
			b.Fatalf("ssh-keygen -s: %v: %s", err, out)
		}
	}
}
