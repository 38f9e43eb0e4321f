package signer

import (
	"testing"
	"time"

	"vmux/internal/signer/policy"
)

// A certificate must not outlast the hours in which its identity may be used: it
// would be good for logins outside of them.
func TestCertificateEndsWithTheHours(t *testing.T) {
	at := func(day, hour, minute, second int) time.Time {
		return time.Date(2026, time.June, day, hour, minute, second, 0, time.UTC) // the 4th is a Thursday
	}
	p := newPhone(t)
	p.create("work", "ssh-ed25519")
	id := p.create("other", "ssh-ed25519")
	if _, err := p.CA.Create([]string{"root"}, secret); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		hours    string
		now, end time.Time
	}{
		{"", at(4, 12, 0, 0), at(4, 20, 0, 0)},
		{"mon-fri 08:00-18:00", at(4, 12, 0, 0), at(4, 18, 0, 0)},
		{"mon-fri 08:00-18:00", at(4, 17, 59, 30), at(4, 18, 0, 0)},
		{"mon-fri 08:00-18:00", at(4, 8, 0, 1), at(4, 16, 0, 1)},
		{"22:00-06:00", at(4, 23, 0, 0), at(5, 6, 0, 0)},
		{"thu 22:00-06:00", at(5, 1, 0, 0), at(5, 6, 0, 0)},
		{"thu 00:00-23:59", at(4, 20, 0, 0), at(4, 23, 59, 0)},
	} {
		if _, err := p.Identities.SetRules(id, func(r *policy.Rules) { r.Hours = c.hours }); err != nil {
			t.Fatal(err)
		}
		p.Signer.cfg.Now = func() time.Time { return c.now }
		r := certificateRequest(t, p)
		r.IdentityPublicKeyBlob, r.RequestedValiditySeconds = id.PublicKey, int64(8*time.Hour/time.Second)
		r.IssuedAtMilliseconds, r.ExpiresAtMilliseconds = c.now.UnixMilli(), c.now.Add(time.Minute).UnixMilli()
		cert := p.wantCertificate(r)
		if end := time.Unix(int64(cert.ValidBefore), 0).UTC(); !end.Equal(c.end) {
			t.Errorf("%q at %s: valid until %s, want %s", c.hours, c.now, end, c.end)
		}
	}
}
