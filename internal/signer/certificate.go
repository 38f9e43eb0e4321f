package signer

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

const (
	// backdate is how long before its issue a certificate begins, against clock
	// skew.
	backdate = 5 * time.Minute
	// keyIDPrint is how much of the identity's fingerprint stands in a key ID.
	keyIDPrint = 12
)

func (s *Signer) certify(ctx context.Context, from device.Peer, e wire.Envelope, received func()) *wire.CertificateResponse {
	var r wire.CertificateRequest
	rec := newRecord("certificate", from, e)
	var cert *ssh.Certificate
	err := wire.DecodeBody(e, &r)
	if err == nil {
		rec.Key = sshctx.Fingerprint(r.PublicKeyBlob)
		cert, err = s.issueApproved(ctx, from, e, &r, received, &rec)
	}
	if err = s.conclude(rec, err); err != nil {
		return &wire.CertificateResponse{RequestID: e.ID, Error: wire.AsError(err)}
	}
	return &wire.CertificateResponse{
		RequestID: e.ID, CertificateBlob: cert.Marshal(), CAPublicKey: cert.SignatureKey.Marshal(),
		ValidAfter: cert.ValidAfter, ValidBefore: cert.ValidBefore,
	}
}

func (s *Signer) issueApproved(ctx context.Context, from device.Peer, e wire.Envelope, r *wire.CertificateRequest, received func(), rec *Record) (*ssh.Certificate, error) {
	until, leave, err := s.admit(from, e, &r.Asking)
	if err != nil {
		return nil, err
	}
	defer leave()
	ca, err := s.CA()
	if errors.Is(err, ErrNoCA) {
		return nil, wire.Errorf(wire.CodePolicyDenied, "policy: this phone has no CA; make one with `vmux phone ca create`")
	}
	if err != nil {
		return nil, err
	}
	plan, err := s.plan(ca, r)
	if err != nil {
		return nil, err
	}
	rec.Label = plan.identity.Label
	var cert *ssh.Certificate
	err = s.inWindow(ctx, until, received, func(ctx context.Context, sheet Sheet) error {
		sheet.From, sheet.Label = from, plan.identity.Label
		decision, err := s.cfg.Approver.certificate(ctx, CertificateSheet{
			Sheet: sheet, Principals: slices.Clone(plan.principals), Validity: plan.validity, Automatic: r.Automatic,
		})
		if err != nil {
			return err
		}
		if err := plan.narrow(decision); err != nil {
			return err
		}
		cert, err = s.issue(ctx, ca, plan, from)
		return err
	})
	if err != nil {
		return nil, err
	}
	rec.issued(cert)
	return cert, nil
}

// sessionAlgorithms are those of keys that a certificate is issued for.
var sessionAlgorithms = []string{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoED25519}

// plan is a certificate before it is made.
type plan struct {
	key        ssh.PublicKey
	identity   Identity
	principals []string
	validity   time.Duration
}

func (s *Signer) plan(ca CA, r *wire.CertificateRequest) (plan, error) {
	var p plan
	var err error
	if r.Automatic && !ca.Policy.AutomaticIssuance {
		return p, wire.Errorf(wire.CodePolicyDenied, "policy: certificates are not issued unasked; run `vmux cert request`")
	}
	if p.key, err = ssh.ParsePublicKey(r.PublicKeyBlob); err != nil {
		return p, wire.Errorf(wire.CodeMalformedRequest, "publicKeyBlob is not a public key")
	}
	if !slices.Contains(sessionAlgorithms, p.key.Type()) {
		return p, wire.Errorf(wire.CodeAlgorithmUnsupported, "session certificates are not issued for %s", p.key.Type())
	}
	if p.identity, err = s.certified(r.IdentityPublicKeyBlob); err != nil {
		return p, err
	}
	allowed := p.identity.Principals
	if len(allowed) == 0 {
		allowed = ca.Policy.Principals
	}
	if len(allowed) == 0 {
		return p, wire.Errorf(wire.CodePolicyDenied, "policy: no principals are set; set them with `vmux phone ca policy --principals NAMES`")
	}
	p.principals = allowed
	if len(r.Principals) > 0 {
		p.principals = r.Principals
	}
	for _, name := range p.principals {
		if !slices.Contains(allowed, name) {
			return p, wire.Errorf(wire.CodePolicyDenied, "policy: principal %s is not allowed", name)
		}
	}
	longest := ca.Policy.MaxValiditySeconds
	p.validity = time.Duration(min(r.RequestedValiditySeconds, longest)) * time.Second
	return p, nil
}

// certified returns the identity that a certificate stands for: the one named,
// else the default one.
func (s *Signer) certified(blob []byte) (Identity, error) {
	list, err := s.Identities()
	if err != nil {
		return Identity{}, err
	}
	if len(blob) > 0 {
		return s.pick(list, func(id Identity) bool { return bytes.Equal(id.PublicKey, blob) })
	}
	if len(list) == 0 {
		return Identity{}, wire.Errorf(wire.CodeKeyNotFound, "this phone has no identity that a certificate could stand for")
	}
	return s.pick(list, func(id Identity) bool { return id.Default })
}

// narrow applies the person's decision, which cannot widen what was asked.
func (p *plan) narrow(d CertificateDecision) error {
	if d.Validity > 0 {
		p.validity = min(p.validity, d.Validity)
	}
	if d.Principals != nil {
		for _, name := range d.Principals {
			if !slices.Contains(p.principals, name) {
				return wire.Errorf(wire.CodePolicyDenied, "policy: principal %s was not asked for", name)
			}
		}
		p.principals = d.Principals
	}
	if len(p.principals) == 0 || p.validity < time.Second {
		return wire.NewError(wire.CodeUserDenied)
	}
	return nil
}

func (s *Signer) issue(ctx context.Context, ca CA, p plan, from device.Peer) (*ssh.Certificate, error) {
	caKey, err := ssh.ParsePublicKey(ca.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("read the CA's key: %w", err)
	}
	provider := s.cfg.Providers[ca.Provider]
	if provider == nil {
		return nil, wire.Errorf(wire.CodeKeyNotFound, "this phone cannot reach the CA's key")
	}
	var serial [8]byte
	_, _ = rand.Read(serial[:])
	now := s.cfg.Now()
	cert := &ssh.Certificate{
		Key: p.key, CertType: ssh.UserCert, Serial: binary.BigEndian.Uint64(serial[:]),
		ValidPrincipals: p.principals,
		ValidAfter:      uint64(now.Add(-backdate).Unix()),
		ValidBefore:     uint64(now.Add(p.validity).Unix()),
		Permissions:     ca.Policy.permissions(),
	}
	print := strings.TrimPrefix(p.identity.Fingerprint(), "SHA256:")[:keyIDPrint]
	cert.KeyId = fmt.Sprintf("vmux:%s:%s:%d", from.ID, print, cert.Serial)
	return cert, cert.SignCert(rand.Reader, caSigner{ctx, ca, caKey, provider, s.cfg.Approver.unlock(caLabel)})
}

func (r *Record) issued(c *ssh.Certificate) {
	r.Serial, r.Principals = strconv.FormatUint(c.Serial, 10), c.ValidPrincipals
	r.ValidBefore = time.Unix(int64(c.ValidBefore), 0).UTC().Format(time.RFC3339)
}

// caSigner lets x/crypto encode the certificate and a provider sign it.
type caSigner struct {
	ctx      context.Context // SignCert has none
	ca       CA
	key      ssh.PublicKey
	provider Provider
	unlock   Unlock
}

func (c caSigner) PublicKey() ssh.PublicKey { return c.key }

func (c caSigner) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	id := Identity{Label: caLabel, Algorithm: c.ca.Algorithm, PublicKey: c.ca.PublicKey, Provider: c.ca.Provider, Ref: c.ca.Ref}
	return c.provider.Sign(c.ctx, id, data, c.ca.Algorithm, c.unlock)
}
