package signer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/activity"
	"vmux/internal/signer/documents"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/wire"
)

const (
	caDocument = "ca.json"
	caLabel    = "vmux-ca"
)

// ErrNoCA is returned when no CA has been made.
var ErrNoCA = errors.New("this phone has no CA")

// CA is the phone's certificate authority as it rests: a key of a provider,
// never an identity, and its policy.
type CA struct {
	Version   int            `json:"version"`
	Algorithm string         `json:"algorithm"`
	PublicKey []byte         `json:"publicKey"`
	Provider  string         `json:"provider"`
	Ref       string         `json:"ref"`
	CreatedAt time.Time      `json:"createdAt"`
	Policy    policy.Issuing `json:"policy"`
}

// AuthorizedKey returns the CA's public key line for TrustedUserCAKeys.
func (c CA) AuthorizedKey() string {
	return identity.Identity{PublicKey: c.PublicKey, Label: caLabel}.AuthorizedKey()
}

// identity is the CA's key as a provider knows it; it is none of the phone's
// identities.
func (c CA) identity() identity.Identity {
	return identity.Identity{Label: caLabel, Algorithm: c.Algorithm, PublicKey: c.PublicKey, Provider: c.Provider, Ref: c.Ref}
}

// CA returns the CA, or ErrNoCA.
func (s *Signer) CA() (CA, error) {
	ca, err := documents.Load[CA](s.cfg.Store, caDocument, "CA")
	if ca == nil {
		return CA{}, cmp.Or(err, ErrNoCA)
	}
	if err := ca.Policy.Check(); err != nil {
		return CA{}, fmt.Errorf("load CA: %w", err)
	}
	return *ca, nil
}

// isCA reports whether a public key is the CA's.
func (s *Signer) isCA(publicKey []byte) bool {
	ca, err := s.CA()
	return err == nil && bytes.Equal(ca.PublicKey, publicKey)
}

// CreateCA makes the CA: a P-256 key, encrypted under the passphrase. A phone
// has one CA; a second is identity.ErrExists. Principals may be set later by SetPolicy:
// without them nothing is issued for identities that have none of their own.
func (s *Signer) CreateCA(principals []string, passphrase []byte) (CA, error) {
	key, err := identity.Generate(ssh.KeyAlgoECDSA256, 0)
	if err != nil {
		return CA{}, err
	}
	defer identity.Wipe(key)
	id, file, err := identity.Encrypt(caLabel, key, passphrase)
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
func (s *Signer) AddCA(key identity.Identity, principals []string) (CA, error) {
	if err := policy.CheckPrincipals(principals); err != nil {
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
		Policy:    policy.DefaultIssuing(principals),
	}
	return ca, s.keepCA(ca, activity.DecisionCreated, ca.Algorithm+", "+ca.Provider)
}

func (s *Signer) keepCA(ca CA, decision, what string) error {
	return s.locked(func() error {
		if _, err := s.CA(); !errors.Is(err, ErrNoCA) {
			return errors.Join(err, identity.ErrExists)
		}
		return s.Identities.Without(ca.PublicKey, func() error {
			if err := s.Activity.Write(caRecord(ca, decision, what)); err != nil {
				return err
			}
			return documents.Save(s.cfg.Store, caDocument, ca)
		})
	})
}

// DeleteCA forgets the CA and destroys its private key, if the provider has
// Forget(identity.Identity) error. Certificates that it has issued stay valid until they
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
	if p, ok := s.cfg.Providers[gone.Provider].(interface{ Forget(identity.Identity) error }); ok {
		err = p.Forget(gone.identity())
	}
	return errors.Join(err, s.Activity.Write(caRecord(gone, activity.DecisionDeleted, "")))
}

// SetPolicy replaces the CA's policy by what change makes of it.
func (s *Signer) SetPolicy(change func(*policy.Issuing)) (policy.Issuing, error) {
	var p policy.Issuing
	err := s.locked(func() error {
		ca, err := s.CA()
		if err != nil {
			return err
		}
		before := ca.Policy
		change(&ca.Policy)
		if err := ca.Policy.Check(); err != nil {
			return err
		}
		if len(before.Principals) > 0 && len(ca.Policy.Principals) == 0 {
			return policy.Invalid("a CA needs at least one principal: sshd rejects a certificate without")
		}
		p = ca.Policy
		if what := p.ChangeOf(before); what != "" {
			if err := s.Activity.Write(caRecord(ca, activity.DecisionChanged, "policy: "+what)); err != nil {
				return err
			}
		}
		return documents.Save(s.cfg.Store, caDocument, ca)
	})
	return p, err
}

func caRecord(ca CA, decision, what string) activity.Record {
	id := ca.identity()
	return activity.Record{Kind: activity.KindCA, Decision: decision, Label: wire.Clean(id.Label), Key: id.Fingerprint(), What: wire.Clean(what)}
}
