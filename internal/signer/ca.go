package signer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/activity"
	"vmux/internal/signer/documents"
	"vmux/internal/wire"
)

const (
	caDocument = "ca.json"
	caLabel    = "vmux-ca"

	// DefaultValidity is the longest validity of a new CA's policy.
	DefaultValidity = 8 * time.Hour
	// maxValidity bounds what a policy can allow: a session, not a key.
	maxValidity     = 7 * 24 * time.Hour
	minValidity     = time.Minute
	maxForceCommand = 1024
	maxPolicyList   = 64
)

// ErrNoCA is returned when no CA has been made.
var ErrNoCA = errors.New("this phone has no CA")

// Policy is what the CA issues.
type Policy struct {
	MaxValiditySeconds int64    `json:"maxValiditySeconds"`
	AutomaticIssuance  bool     `json:"automaticIssuance"`
	Principals         []string `json:"principals"`
	Extensions         []string `json:"extensions"`
	SourceAddress      []string `json:"sourceAddress,omitempty"` // CIDR
	ForceCommand       string   `json:"forceCommand,omitempty"`
}

// CA is the phone's certificate authority as it rests: a key of a provider,
// never an identity, and its policy.
type CA struct {
	Version   int       `json:"version"`
	Algorithm string    `json:"algorithm"`
	PublicKey []byte    `json:"publicKey"`
	Provider  string    `json:"provider"`
	Ref       string    `json:"ref"`
	CreatedAt time.Time `json:"createdAt"`
	Policy    Policy    `json:"policy"`
}

// DefaultExtensions are what ssh-keygen gives a user certificate by default.
var DefaultExtensions = []string{
	"permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty", "permit-user-rc",
}

// AuthorizedKey returns the CA's public key line for TrustedUserCAKeys.
func (c CA) AuthorizedKey() string {
	return Identity{PublicKey: c.PublicKey, Label: caLabel}.AuthorizedKey()
}

// identity is the CA's key as a provider knows it; it is none of the phone's
// identities.
func (c CA) identity() Identity {
	return Identity{Label: caLabel, Algorithm: c.Algorithm, PublicKey: c.PublicKey, Provider: c.Provider, Ref: c.Ref}
}

// CA returns the CA, or ErrNoCA.
func (s *Signer) CA() (CA, error) {
	ca, err := documents.Load[CA](s.cfg.Store, caDocument, "CA")
	if ca == nil {
		return CA{}, cmp.Or(err, ErrNoCA)
	}
	if err := ca.Policy.check(); err != nil {
		return CA{}, fmt.Errorf("load CA: %w", err)
	}
	return *ca, nil
}

// CreateCA makes the CA: a P-256 key, encrypted under the passphrase. A phone
// has one CA; a second is ErrExists. Principals may be set later by SetPolicy:
// without them nothing is issued for identities that have none of their own.
func (s *Signer) CreateCA(principals []string, passphrase []byte) (CA, error) {
	key, err := generate(ssh.KeyAlgoECDSA256, 0)
	if err != nil {
		return CA{}, err
	}
	defer wipe(key)
	id, file, err := encryptKey(caLabel, key, passphrase)
	if err != nil {
		return CA{}, err
	}
	if err := s.cfg.Store.Put(id.Ref, file); err != nil {
		return CA{}, fmt.Errorf("save the CA's key: %w", err)
	}
	ca, err := s.AddCA(id, principals)
	if err != nil {
		return CA{}, errors.Join(err, s.cfg.Store.Delete(id.Ref))
	}
	return ca, nil
}

// AddCA makes the CA of a key that a provider already holds: P-256, or the
// passkey form of it. A key that is an identity is refused: what an identity
// signs, a computer chooses, and it could choose a certificate.
func (s *Signer) AddCA(key Identity, principals []string) (CA, error) {
	if err := CheckPrincipals(principals); err != nil {
		return CA{}, err
	}
	public, err := ssh.ParsePublicKey(key.PublicKey)
	if err != nil || public.Type() != key.Algorithm {
		return CA{}, errors.New("the public key does not fit its algorithm")
	}
	if key.Algorithm != ssh.KeyAlgoECDSA256 && key.Algorithm != ssh.KeyAlgoSKECDSA256 {
		return CA{}, wire.Errorf(wire.CodeAlgorithmUnsupported, "a CA's key is P-256, not %s", key.Algorithm)
	}
	ca := CA{
		Version: 1, Algorithm: key.Algorithm, PublicKey: key.PublicKey, Provider: key.Provider, Ref: key.Ref,
		CreatedAt: s.cfg.Now().UTC(),
		Policy: Policy{
			MaxValiditySeconds: int64(DefaultValidity.Seconds()),
			Principals:         principals, Extensions: slices.Clone(DefaultExtensions),
		},
	}
	return ca, s.locked(func() error { return s.keepCA(ca) })
}

func (s *Signer) keepCA(ca CA) error {
	if _, err := s.CA(); !errors.Is(err, ErrNoCA) {
		return errors.Join(err, ErrExists)
	}
	list, err := s.Identities()
	if err != nil {
		return err
	}
	for _, id := range list {
		if bytes.Equal(id.PublicKey, ca.PublicKey) {
			return errors.New("an identity's key cannot be the CA's: it would sign what looks like a certificate")
		}
	}
	if err := s.Activity.Write(caRecord(ca, activity.DecisionCreated, ca.Algorithm+", "+ca.Provider)); err != nil {
		return err
	}
	return documents.Save(s.cfg.Store, caDocument, ca)
}

// DeleteCA forgets the CA and destroys its private key, if the provider has
// Forget(Identity) error. Certificates that it has issued stay valid until they
// expire.
func (s *Signer) DeleteCA() error {
	var gone CA
	err := s.locked(func() (err error) {
		if gone, err = s.CA(); err != nil {
			return err
		}
		return s.cfg.Store.Delete(caDocument)
	})
	if err != nil {
		return err
	}
	if p, ok := s.cfg.Providers[gone.Provider].(interface{ Forget(Identity) error }); ok {
		err = p.Forget(gone.identity())
	}
	return errors.Join(err, s.Activity.Write(caRecord(gone, activity.DecisionDeleted, "")))
}

// SetPolicy replaces the CA's policy by what change makes of it.
func (s *Signer) SetPolicy(change func(*Policy)) (Policy, error) {
	var p Policy
	err := s.locked(func() error {
		ca, err := s.CA()
		if err != nil {
			return err
		}
		before := ca.Policy
		change(&ca.Policy)
		if err := ca.Policy.check(); err != nil {
			return err
		}
		if len(before.Principals) > 0 && len(ca.Policy.Principals) == 0 {
			return badInput("a CA needs at least one principal: sshd rejects a certificate without")
		}
		p = ca.Policy
		if what := p.changeOf(before); what != "" {
			if err := s.Activity.Write(caRecord(ca, activity.DecisionChanged, "policy: "+what)); err != nil {
				return err
			}
		}
		return documents.Save(s.cfg.Store, caDocument, ca)
	})
	return p, err
}

func (p Policy) check() error {
	v := time.Duration(p.MaxValiditySeconds) * time.Second
	if v < minValidity || v > maxValidity {
		return badInput("the longest validity is %s to %s, not %s", minValidity, maxValidity, v)
	}
	if len(p.ForceCommand) > maxForceCommand || !wire.Printable(p.ForceCommand) {
		return badInput("a forced command is one printable line of at most %d bytes", maxForceCommand)
	}
	if len(p.Extensions) > maxPolicyList || len(p.SourceAddress) > maxPolicyList {
		return badInput("over %d extensions or source addresses", maxPolicyList)
	}
	for _, e := range p.Extensions {
		if e == "" || !wire.Printable(e) || strings.ContainsAny(e, " ,") {
			return badInput("not an extension: %q", e)
		}
	}
	for _, a := range p.SourceAddress {
		if !isSourceAddress(a) {
			return badInput("not an address or a network such as 192.0.2.0/24: %q", a)
		}
	}
	return CheckPrincipals(p.Principals)
}

// isSourceAddress reports whether sshd takes a for source-address: like
// ssh-keygen it refuses networks with bits behind the mask.
func isSourceAddress(a string) bool {
	if p, err := netip.ParsePrefix(a); err == nil {
		return p == p.Masked()
	}
	addr, err := netip.ParseAddr(a)
	return err == nil && addr.Zone() == ""
}

// CheckPrincipals reports why these cannot be the principals of a certificate.
func CheckPrincipals(list []string) error {
	if len(list) > wire.MaxPrincipals {
		return badInput("over %d principals", wire.MaxPrincipals)
	}
	for _, p := range list {
		if p == "" || len(p) > wire.MaxNameSize || !wire.Printable(p) || strings.ContainsAny(p, ", \t") {
			return badInput("not a principal: %q", p)
		}
	}
	return nil
}

func (p Policy) permissions() ssh.Permissions {
	perms := ssh.Permissions{CriticalOptions: map[string]string{}, Extensions: map[string]string{}}
	for _, e := range p.Extensions {
		perms.Extensions[e] = ""
	}
	if len(p.SourceAddress) > 0 {
		perms.CriticalOptions["source-address"] = strings.Join(p.SourceAddress, ",")
	}
	if p.ForceCommand != "" {
		perms.CriticalOptions["force-command"] = p.ForceCommand
	}
	return perms
}
