package main

import (
	"context"
	"path/filepath"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

// certificatePause is how much time passes, on the signer's clock, between two
// certificates: a hundred are remembered at a time, as on a phone in daily use.
const certificatePause = 7 * time.Hour

// measureCertificates issues session certificates within this process, from
// request to answer, with policy, replay guard and log, by a CA whose key is
// unlocked. The yardstick is one process of ssh-keygen for each, with a CA key
// that is not encrypted.
func (b *bench) measureCertificates() {
	now := time.Now()
	ca, keys := b.newSigner(func() time.Time { return now })
	_, err := ca.CA.Add(keys.add(b, "ca"), []string{"root"})
	b.must(err)
	public := keys.add(b, "session").PublicKey
	from := device.Peer{ID: device.ID{1}, Name: wire.Clean("bench")}
	issue := func() error {
		now = now.Add(certificatePause)
		r := wire.CertificateRequest{
			Asking:        wire.NewAsking(from.ID.String(), from.Name.String(), now, wire.Window),
			PublicKeyBlob: public, RequestedValiditySeconds: 8 * 3600,
		}
		e, err := wiretest.Envelope(r.RequestID, wire.KindCertificateRequest, r)
		if err != nil {
			return err
		}
		if _, answer := ca.Serve(context.Background(), from, e, func() {}); answer.(*wire.CertificateResponse).Error != nil {
			return answer.(*wire.CertificateResponse).Error
		}
		return nil
	}
	theirCA, key := filepath.Join(b.TempDir(), "ca"), filepath.Join(b.TempDir(), "key")
	for _, path := range []string{theirCA, key} {
		b.old.Keygen(b, "-q", "-t", "ecdsa", "-b", "256", "-N", "", "-f", path)
	}
	sign := func() error {
		b.old.Keygen(b, "-q", "-s", theirCA, "-I", "vmux", "-n", "root", "-V", "+8h", key+".pub")
		return nil
	}
	var ours, theirs []float64
	for range b.rounds {
		ours = append(ours, b.repeat(issue).perSecond)
		theirs = append(theirs, b.repeat(sign).perSecond)
	}
	b.table.add(row{"issue a certificate, in process", "ssh-keygen -s per process", perSecond, ours, theirs, atLeast(60)})
}
