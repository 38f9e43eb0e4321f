package signer

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/signer/authority"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/wire"
)

const (
	// backdate is how long before its issue a certificate begins, against clock
	// skew.
	backdate = 5 * time.Minute
	// keyIDPrint is how much of the identity's fingerprint stands in a key ID.
	keyIDPrint = 12
	// nonceSize is that of x/crypto and OpenSSH (PROTOCOL.certkeys).
	nonceSize = 32
)

// Draft is a certificate that lacks nothing but its signature: serial, nonce and
// validity are fixed.
type Draft struct {
	cert     ssh.Certificate
	ca       authority.CA
	identity identity.Identity
	validity time.Duration
}

// Data returns what the CA's key signs: all of the certificate but the
// signature.
func (d *Draft) Data() []byte {
	b := d.cert.Marshal()
	return b[:len(b)-4] // the length of the missing signature
}

// Validity is how long the certificate holds, from when the draft was made.
func (d *Draft) Validity() time.Duration { return d.validity }

// Principals returns whom the certificate lets in.
func (d *Draft) Principals() []string { return slices.Clone(d.cert.ValidPrincipals) }

// prepare makes the certificate that a decision leaves of a plan.
func prepare(ca authority.CA, p plan, from device.Peer, decision CertificateDecision, now time.Time) (*Draft, error) {
	if err := p.narrow(decision); err != nil {
		return nil, err
	}
	validity := p.lasts(now)
	if validity < time.Second { // the hours have ended while the sheet was shown
		return nil, policy.Forbidden(p.identity.Label, "only %s", p.identity.Rules.Hours)
	}
	key, err := ssh.ParsePublicKey(ca.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("read the CA's key: %w", err)
	}
	random := make([]byte, nonceSize+8)
	_, _ = rand.Read(random)
	d := &Draft{ca: ca, identity: p.identity, validity: validity, cert: ssh.Certificate{
		Key: p.key, CertType: ssh.UserCert, SignatureKey: key,
		Nonce: random[:nonceSize], Serial: binary.BigEndian.Uint64(random[nonceSize:]),
		ValidPrincipals: slices.Clone(p.principals),
		ValidAfter:      uint64(now.Add(-backdate).Unix()),
		ValidBefore:     uint64(now.Add(validity).Unix()),
		Permissions:     ca.Policy.Permissions(),
	}}
	print := strings.TrimPrefix(p.identity.Fingerprint(), "SHA256:")[:keyIDPrint]
	d.cert.KeyId = fmt.Sprintf("vmux:%s:%s:%d", from.ID, print, d.cert.Serial)
	return d, nil
}

// issue signs a draft of this request, if the phone would still make it.
func (s *Signer) issue(ctx context.Context, d *Draft, r *wire.CertificateRequest, sheet Sheet, rec *record) (*ssh.Certificate, error) {
	if err := s.stands(d, r, sheet.From); err != nil {
		return nil, err
	}
	provider := s.cfg.Providers[d.ca.Provider]
	if provider == nil {
		return nil, wire.Errorf(wire.CodeKeyNotFound, "this phone cannot reach the CA's key")
	}
	unlock := s.cfg.Approver.unlock(wire.Clean(authority.Label), d.ca.Identity().Fingerprint(), sheet, rec)
	signature, err := provider.Sign(ctx, d.ca.Identity(), d.Data(), d.ca.Algorithm, unlock.ask)
	unlock.done(err)
	if err != nil {
		return nil, err
	}
	cert := d.cert
	cert.Signature = signature
	if err := s.Certificates.Note(&cert, sheet.From, wire.Clean(d.identity.Label), d.identity.Fingerprint()); err != nil {
		return nil, unkept("list of certificates", err)
	}
	return &cert, nil
}

// stands checks a draft against what the phone holds now: policy, CA and
// identities may have changed while the sheet was shown, and a draft may have
// come from another sheet.
func (s *Signer) stands(d *Draft, r *wire.CertificateRequest, from device.Peer) error {
	ca, err := s.CA.Get()
	if err != nil {
		return err
	}
	now, err := s.plan(ca, r)
	if err != nil {
		return err
	}
	want := ca.Policy.Permissions()
	allowed := func(name string) bool { return slices.Contains(now.principals, name) }
	switch {
	case !bytes.Equal(ca.PublicKey, d.ca.PublicKey), !bytes.Equal(now.identity.PublicKey, d.identity.PublicKey),
		d.validity > now.validity, !now.hoursEnd.IsZero() && d.cert.ValidBefore > uint64(now.hoursEnd.Unix()), len(d.cert.ValidPrincipals) == 0,
		slices.ContainsFunc(d.cert.ValidPrincipals, func(name string) bool { return !allowed(name) }),
		!maps.Equal(want.CriticalOptions, d.cert.CriticalOptions), !maps.Equal(want.Extensions, d.cert.Extensions):
		return wire.Errorf(wire.CodePolicyDenied, "policy: it was changed on the phone while the request waited")
	case !bytes.Equal(d.cert.Key.Marshal(), r.PublicKeyBlob) || !strings.HasPrefix(d.cert.KeyId, "vmux:"+from.ID.String()+":"):
		return wire.Errorf(wire.CodeInternalError, "the phone prepared a certificate for another request")
	}
	return nil
}
