// Package authority is the phone's certificate authority: a key of a provider and the policy
// that it issues by, made, changed and deleted. It decides over no request.
package authority

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/activity"
	"vmux/internal/signer/documents"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/wire"
)

const document = "ca.json"

// Label is the CA's name, where a key has one.
const Label = "vmux-ca"

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
	// BackedUp is when a backup that holds it was saved last; zero: never.
	BackedUp time.Time `json:"backedUp,omitzero"`
}

// Config says what the CA is kept with.
type Config struct {
	Store      documents.Store
	Activity   *activity.Log
	Identities *identity.List
	Providers  map[string]identity.Provider
	Now        func() time.Time
}

// Keeper keeps the phone's one CA. Safe for concurrent use.
type Keeper struct {
	cfg Config
	mu  sync.Mutex // held while the document changes
}

// New returns the keeper of the CA that rests in the store.
func New(c Config) *Keeper { return &Keeper{cfg: c} }

// AuthorizedKey returns the CA's public key line for TrustedUserCAKeys.
func (c CA) AuthorizedKey() string {
	return identity.Identity{PublicKey: c.PublicKey, Label: Label}.AuthorizedKey()
}

// Identity is the CA's key as a provider knows it; it is none of the phone's
// identities.
func (c CA) Identity() identity.Identity {
	return identity.Identity{Label: Label, Algorithm: c.Algorithm, PublicKey: c.PublicKey, Provider: c.Provider, Ref: c.Ref, BackedUp: c.BackedUp}
}

// Get returns the CA, or ErrNoCA.
func (k *Keeper) Get() (CA, error) { return load(k.cfg.Store) }

func load(store documents.Store) (CA, error) {
	ca, err := documents.Load[CA](store, document, "CA")
	if ca == nil {
		return CA{}, cmp.Or(err, ErrNoCA)
	}
	if err := ca.Policy.Check(); err != nil {
		return CA{}, fmt.Errorf("load CA: %w", err)
	}
	return *ca, nil
}

// Has reports whether a public key is that of the CA in a store.
func Has(store documents.Store, publicKey []byte) bool {
	ca, err := load(store)
	return err == nil && bytes.Equal(ca.PublicKey, publicKey)
}

// Create makes the CA: a P-256 key, encrypted under the passphrase. A phone
// has one CA; a second is identity.ErrExists. Principals may be set later by SetPolicy:
// without them nothing is issued for identities that have none of their own.
func (k *Keeper) Create(principals []string, passphrase []byte) (CA, error) {
	key, err := identity.Generate(ssh.KeyAlgoECDSA256, 0)
	if err != nil {
		return CA{}, err
	}
	defer identity.Wipe(key)
	id, file, err := identity.Encrypt(Label, key, passphrase)
	if err != nil {
		return CA{}, err
	}
	if err := k.cfg.Store.Put(id.Ref, file); err != nil {
		return CA{}, fmt.Errorf("save the CA's key: %w", err)
	}
	ca, err := k.Add(id, principals)
	if err != nil {
		return CA{}, errors.Join(err, k.cfg.Store.Delete(id.Ref))
	}
	return ca, nil
}

// Add makes the CA of a key that a provider already holds: P-256, or the
// passkey form of it. A key that is an identity is refused: what an identity
// signs, a computer chooses, and it could choose a certificate.
func (k *Keeper) Add(key identity.Identity, principals []string) (CA, error) {
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
		CreatedAt: k.cfg.Now().UTC(),
		Policy:    policy.DefaultIssuing(principals),
	}
	return ca, k.keep(ca, activity.DecisionCreated, ca.Algorithm+", "+ca.Provider)
}

func (k *Keeper) keep(ca CA, decision, what string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, err := k.Get(); !errors.Is(err, ErrNoCA) {
		return errors.Join(err, identity.ErrExists)
	}
	return k.cfg.Identities.Without(ca.PublicKey, func() error {
		if err := k.note(ca, decision, what); err != nil {
			return err
		}
		return documents.Save(k.cfg.Store, document, ca)
	})
}

// Restore keeps the CA of a backup, whose key its provider holds already: identity.ErrExists
// where there is another. TakeBack undoes it; the provider forgets the key itself.
func (k *Keeper) Restore(ca CA, from string) error {
	ca.Version = 1
	return k.keep(ca, activity.DecisionImported, ca.Algorithm+", "+ca.Provider+", "+from)
}

// TakeBack undoes Restore.
func (k *Keeper) TakeBack() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cfg.Store.Delete(document)
}

// Exported notes in the log that the CA's private key leaves this phone, and how.
func (k *Keeper) Exported(ca CA, how string) error { return k.note(ca, activity.DecisionExported, how) }

// NoteBackup keeps that a backup with the keys of these fingerprints was saved.
func (k *Keeper) NoteBackup(fingerprints []string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	ca, err := k.Get()
	if errors.Is(err, ErrNoCA) {
		return nil
	}
	if err != nil || !slices.Contains(fingerprints, ca.Identity().Fingerprint()) {
		return err
	}
	ca.BackedUp = k.cfg.Now().UTC()
	return documents.Save(k.cfg.Store, document, ca)
}

// Delete forgets the CA and destroys its private key, if the provider has
// Forget(identity.Identity) error. Certificates that it has issued stay valid until they
// expire.
func (k *Keeper) Delete() error {
	gone, err := k.remove()
	if err != nil {
		return err
	}
	if p, ok := k.cfg.Providers[gone.Provider].(interface{ Forget(identity.Identity) error }); ok {
		err = p.Forget(gone.Identity())
	}
	return errors.Join(err, k.note(gone, activity.DecisionDeleted, ""))
}

func (k *Keeper) remove() (CA, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ca, err := k.Get()
	if err != nil {
		return CA{}, err
	}
	return ca, k.cfg.Store.Delete(document)
}

// SetPolicy replaces the CA's policy by what change makes of it.
func (k *Keeper) SetPolicy(change func(*policy.Issuing)) (policy.Issuing, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ca, err := k.Get()
	if err != nil {
		return policy.Issuing{}, err
	}
	before := ca.Policy
	change(&ca.Policy)
	if err := ca.Policy.Check(); err != nil {
		return policy.Issuing{}, err
	}
	if len(before.Principals) > 0 && len(ca.Policy.Principals) == 0 {
		return policy.Issuing{}, policy.Invalid("a CA needs at least one principal: sshd rejects a certificate without")
	}
	if what := ca.Policy.ChangeOf(before); what != "" {
		if err := k.note(ca, activity.DecisionChanged, "policy: "+what); err != nil {
			return ca.Policy, err
		}
	}
	return ca.Policy, documents.Save(k.cfg.Store, document, ca)
}

func (k *Keeper) note(ca CA, decision, what string) error {
	id := ca.Identity()
	return k.cfg.Activity.Write(activity.Record{
		Kind: activity.KindCA, Decision: decision, Label: wire.Clean(id.Label), Key: id.Fingerprint(), What: wire.Clean(what),
	})
}
