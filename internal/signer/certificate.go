package signer

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/signer/authority"
	"vmux/internal/signer/identity"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
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

func (s *Signer) issueApproved(ctx context.Context, from device.Peer, e wire.Envelope, r *wire.CertificateRequest, received func(), rec *record) (*ssh.Certificate, error) {
	until, leave, err := s.gate.Admit(from, e, &r.Asking, s.cfg.Now())
	if err != nil {
		return nil, err
	}
	defer leave()
	ca, err := s.CA.Get()
	if errors.Is(err, authority.ErrNoCA) {
		return nil, wire.Errorf(wire.CodePolicyDenied, "policy: this phone has no CA; make one there (in the app, or with `vmux phone ca create`)")
	}
	if err != nil {
		return nil, err
	}
	plan, err := s.plan(ca, r)
	rec.Label, rec.Principals = wire.Clean(plan.identity.Label), plan.principals // also of what is refused
	if plan.identity.PublicKey != nil {
		rec.identity = plan.identity.Fingerprint()
	}
	if err != nil {
		return nil, err
	}
	if err := s.paused(from.ID, wire.Text{}); err != nil {
		return nil, err
	}
	var cert *ssh.Certificate
	err = s.inWindow(ctx, until, received, func(ctx context.Context, sheet Sheet) error {
		sheet.RequestID, sheet.From, sheet.Identity, sheet.Label = r.RequestID, from, plan.identity, rec.Label
		draft, err := s.askCertificate(ctx, ca, plan, CertificateSheet{Sheet: sheet, Automatic: r.Automatic}, rec)
		if err != nil {
			return err
		}
		cert, err = s.issue(ctx, draft, r, sheet, rec)
		return err
	})
	if err != nil {
		return nil, err
	}
	rec.issued(cert)
	return cert, nil
}

// askCertificate asks the person, and returns what is to be signed.
func (s *Signer) askCertificate(ctx context.Context, ca authority.CA, p plan, sheet CertificateSheet, rec *record) (*Draft, error) {
	sheet.CA, sheet.Principals, sheet.Validity = ca.Identity(), slices.Clone(p.principals), p.lasts(s.cfg.Now())
	sheet.Prepare = func(d CertificateDecision) (*Draft, error) { return prepare(ca, p, sheet.From, d, s.cfg.Now()) }
	decision, err := s.cfg.Approver.certificate(ctx, sheet)
	if wire.CodeOf(err) == wire.CodeUserDenied {
		rec.pause = s.denied(sheet.From)
	}
	if err != nil || decision.Draft != nil {
		return decision.Draft, err
	}
	return sheet.Prepare(decision)
}

// sessionAlgorithms are those of keys that a certificate is issued for.
var sessionAlgorithms = []string{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoED25519}

// plan is a certificate before it is made.
type plan struct {
	key        ssh.PublicKey
	identity   identity.Identity
	principals []string
	validity   time.Duration
	hoursEnd   time.Time // of the identity's hours; zero: not within the validity
}

// lasts is how long a certificate holds that is made now.
func (p *plan) lasts(now time.Time) time.Duration {
	if p.hoursEnd.IsZero() {
		return p.validity
	}
	return min(p.validity, p.hoursEnd.Sub(now))
}

func (s *Signer) plan(ca authority.CA, r *wire.CertificateRequest) (plan, error) {
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
		return p, wire.Errorf(wire.CodePolicyDenied, "policy: no principals are set; set them on the phone (in the app, or with `vmux phone ca policy --principals NAMES`)")
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
	if err := p.identity.Rules.AllowCertificate(p.identity.Label, p.principals, s.cfg.Now()); err != nil {
		return p, err
	}
	longest := ca.Policy.MaxValiditySeconds
	p.validity = time.Duration(min(r.RequestedValiditySeconds, longest)) * time.Second
	p.hoursEnd, err = p.identity.Rules.HoursEnd(s.cfg.Now(), p.validity)
	return p, err
}

// certified returns the identity that a certificate stands for: the one named,
// else the default one.
func (s *Signer) certified(blob []byte) (identity.Identity, error) {
	list, err := s.Identities.All()
	if err != nil {
		return identity.Identity{}, err
	}
	if len(blob) > 0 {
		return s.pick(list, func(id identity.Identity) bool { return bytes.Equal(id.PublicKey, blob) })
	}
	if len(list) == 0 {
		return identity.Identity{}, wire.Errorf(wire.CodeKeyNotFound, "this phone has no identity that a certificate could stand for")
	}
	return s.pick(list, func(id identity.Identity) bool { return id.Default })
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

func (r *record) issued(c *ssh.Certificate) {
	r.ValidAfter = time.Unix(int64(c.ValidAfter), 0).UTC().Format(time.RFC3339)
	r.Serial, r.Principals = strconv.FormatUint(c.Serial, 10), c.ValidPrincipals
	r.ValidBefore = time.Unix(int64(c.ValidBefore), 0).UTC().Format(time.RFC3339)
}
