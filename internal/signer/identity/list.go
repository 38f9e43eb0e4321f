package identity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/activity"
	"vmux/internal/signer/documents"
	"vmux/internal/signer/policy"
	"vmux/internal/wire"
)

const identitiesDocument = "identities.json"

// Config says what a list consists of.
type Config struct {
	Store     documents.Store
	Log       *activity.Log
	Now       func() time.Time
	Providers map[string]Provider // by Identity.Provider
	// Taken reports whether a key cannot be an identity, since it is the CA'l.
	Taken func(publicKey []byte) bool
}

// List are the phone's identities. Safe for concurrent use.
type List struct {
	cfg Config
	mu  sync.Mutex // held while the document changes
}

// New returns the identities that rest in the store.
func New(c Config) *List { return &List{cfg: c} }

type identityDocument struct {
	Version    int        `json:"version"`
	Identities []Identity `json:"identities"`
}

// All returns the identities in the order in which they were made.
func (l *List) All() ([]Identity, error) {
	doc, err := documents.Load[identityDocument](l.cfg.Store, identitiesDocument, "identities")
	if doc == nil {
		return nil, err
	}
	return doc.check()
}

// check returns the identities of a document, which another program may have damaged:
// what comes out of it can be shown, and has one key and label each.
func (doc *identityDocument) check() ([]Identity, error) {
	if len(doc.Identities) > wire.MaxKeys {
		return nil, fmt.Errorf("load identities: over %d", wire.MaxKeys)
	}
	seen := map[string]bool{}
	for n, id := range doc.Identities {
		if CheckLabel(id.Label) != nil || id.Rules.Check() != nil || policy.CheckPrincipals(id.Principals) != nil || len(id.PublicKey) == 0 ||
			len(id.PublicKey) > wire.MaxBlobSize || algorithmOf(id.PublicKey) != id.Algorithm {
			return nil, fmt.Errorf("load identities: entry %d is damaged", n+1)
		}
		if seen["l"+id.Label] || seen["k"+string(id.PublicKey)] {
			return nil, fmt.Errorf("load identities: entry %d is there twice", n+1)
		}
		seen["l"+id.Label], seen["k"+string(id.PublicKey)] = true, true
	}
	return doc.Identities, nil
}

// algorithmOf returns the key type in front of a public key blob (RFC 4253
// section 6.6), "" if there is none.
func algorithmOf(blob []byte) string {
	if len(blob) < 4 {
		return ""
	}
	n := uint64(binary.BigEndian.Uint32(blob))
	if n > uint64(len(blob)-4) {
		return ""
	}
	return string(blob[4 : 4+n])
}

// Find returns the identity that text names: its label, its fingerprint, or at
// least six characters of the fingerprint behind "SHA256:".
func (l *List) Find(text string) (Identity, error) {
	list, err := l.All()
	if err != nil {
		return Identity{}, err
	}
	var found []Identity
	for _, i := range list {
		print := i.Fingerprint()
		short := strings.TrimPrefix(text, "SHA256:")
		if i.Label == text || print == text ||
			len(short) >= 6 && strings.HasPrefix(strings.TrimPrefix(print, "SHA256:"), short) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return Identity{}, ErrNoIdentity
	case 1:
		return found[0], nil
	}
	return Identity{}, ErrAmbiguous
}

// Add keeps an identity whose key was made for this phone, or stays in another agent;
// the provider already holds it. The first one becomes the default.
func (l *List) Add(id Identity) error {
	if id.Provider == ProviderUpstream {
		return l.add(id, activity.DecisionAdded)
	}
	return l.add(id, activity.DecisionCreated)
}

// AddImported is Add for a key that was elsewhere before.
func (l *List) AddImported(id Identity) error { return l.add(id, activity.DecisionImported) }

func (l *List) add(id Identity, decision string) error {
	if err := CheckLabel(id.Label); err != nil {
		return err
	}
	key, err := ssh.ParsePublicKey(id.PublicKey)
	if err != nil || key.Type() != id.Algorithm {
		return errors.New("the public key does not fit its algorithm")
	}
	if err := policy.CheckPrincipals(id.Principals); err != nil {
		return err
	}
	return l.change(func(list []Identity) ([]Identity, *activity.Record, error) {
		if l.cfg.Taken(id.PublicKey) {
			return nil, nil, errors.New("the CA's key cannot be an identity: it would sign what looks like a certificate")
		}
		for _, other := range list {
			if other.Label == id.Label || bytes.Equal(other.PublicKey, id.PublicKey) {
				return nil, nil, ErrExists
			}
		}
		if len(list) >= wire.MaxKeys {
			return nil, nil, fmt.Errorf("over %d identities", wire.MaxKeys)
		}
		id.Default = len(list) == 0
		return append(list, id), keyRecord(id, decision, id.Algorithm+", "+id.Provider), nil
	})
}

// Rename changes an identity's label.
func (l *List) Rename(id Identity, label string) error {
	if err := CheckLabel(label); err != nil {
		return err
	}
	return l.edit(id, func(list []Identity, i *Identity) (rec *activity.Record, err error) {
		if n := slices.IndexFunc(list, func(other Identity) bool { return other.Label == label }); n >= 0 && &list[n] != i {
			return nil, ErrExists
		}
		if i.Label != label {
			rec = keyRecord(*i, activity.DecisionRenamed, "now "+label)
		}
		i.Label = label
		return rec, nil
	})
}

// SetEnabled switches an identity on or off. One that is off is not listed and
// signs nothing.
func (l *List) SetEnabled(id Identity, enabled bool) error {
	return l.edit(id, func(_ []Identity, i *Identity) (rec *activity.Record, err error) {
		switch {
		case enabled && !i.Enabled:
			rec = keyRecord(*i, activity.DecisionEnabled, "")
		case !enabled && i.Enabled:
			rec = keyRecord(*i, activity.DecisionDisabled, "")
		}
		i.Enabled = enabled
		return rec, nil
	})
}

// SetPrincipals sets what session certificates for this identity name.
func (l *List) SetPrincipals(id Identity, principals []string) error {
	if err := policy.CheckPrincipals(principals); err != nil {
		return err
	}
	return l.edit(id, func(_ []Identity, i *Identity) (rec *activity.Record, err error) {
		if what := policy.PrincipalsChange(i.Principals, principals); what != "" {
			rec = keyRecord(*i, activity.DecisionChanged, what)
		}
		i.Principals = principals
		return rec, nil
	})
}

// NoteBackup keeps that a backup with the keys of these fingerprints was saved.
func (l *List) NoteBackup(fingerprints []string) error {
	return l.change(func(list []Identity) ([]Identity, *activity.Record, error) {
		for n := range list {
			if slices.Contains(fingerprints, list[n].Fingerprint()) {
				list[n].BackedUp = l.cfg.Now().UTC()
			}
		}
		return list, nil, nil
	})
}

// SetDefault chooses the identity that session certificates stand for.
func (l *List) SetDefault(id Identity) error {
	return l.edit(id, func(list []Identity, i *Identity) (rec *activity.Record, err error) {
		if !i.Default {
			rec = keyRecord(*i, activity.DecisionDefault, "")
		}
		for n := range list {
			list[n].Default = false
		}
		i.Default = true
		return rec, nil
	})
}

// CheckNew reports why no identity of that label can be made: before anybody is
// asked for a passphrase.
func (l *List) CheckNew(label string) error {
	if err := CheckLabel(label); err != nil {
		return err
	}
	list, err := l.All()
	if err == nil && slices.ContainsFunc(list, func(i Identity) bool { return i.Label == label }) {
		err = ErrExists
	}
	return err
}

// Delete forgets an identity and destroys its private key, if the provider has
// Forget(Identity) error. The first of those that are left becomes the default,
// if it was.
func (l *List) Delete(id Identity) error {
	var gone Identity
	var next string
	err := l.change(func(list []Identity) ([]Identity, *activity.Record, error) {
		n := index(list, id.PublicKey)
		if n < 0 {
			return nil, nil, ErrNoIdentity
		}
		gone = list[n]
		list = slices.Delete(list, n, n+1)
		if gone.Default && len(list) > 0 {
			list[0].Default = true
			next = "the default is now " + list[0].Label
		}
		return list, nil, nil
	})
	if err != nil {
		return err
	}
	// The list goes first: an identity without its key would be a lie.
	if p, ok := l.cfg.Providers[gone.Provider].(interface{ Forget(Identity) error }); ok {
		err = p.Forget(gone)
	}
	return errors.Join(err, l.cfg.Log.Write(*keyRecord(gone, activity.DecisionDeleted, next)))
}

func index(list []Identity, publicKey []byte) int {
	return slices.IndexFunc(list, func(i Identity) bool { return bytes.Equal(i.PublicKey, publicKey) })
}

// edit changes one identity, which stands in the list. Set returns what the log will say;
// nil: nothing is different.
func (l *List) edit(id Identity, set func(list []Identity, i *Identity) (*activity.Record, error)) error {
	return l.change(func(list []Identity) ([]Identity, *activity.Record, error) {
		n := index(list, id.PublicKey)
		if n < 0 {
			return nil, nil, ErrNoIdentity
		}
		rec, err := set(list, &list[n])
		return list, rec, err
	})
}

// change replaces the list by what f makes of it. What f says of it is
// written to the log before: nothing is changed that the log does not know.
func (l *List) change(f func([]Identity) ([]Identity, *activity.Record, error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, err := l.All()
	if err != nil {
		return err
	}
	list, rec, err := f(list)
	if err != nil {
		return err
	}
	if rec != nil {
		if err := l.cfg.Log.Write(*rec); err != nil {
			return err
		}
	}
	return documents.Save(l.cfg.Store, identitiesDocument, identityDocument{Version: 1, Identities: list})
}

// keyRecord is the record of a change of an identity; what says what it is now.
func keyRecord(id Identity, decision, what string) *activity.Record {
	return &activity.Record{Kind: activity.KindKey, Decision: decision, Label: wire.Clean(id.Label), Key: id.Fingerprint(), What: wire.Clean(what)}
}

// SetRules replaces an identity's rules by what set makes of them.
func (l *List) SetRules(id Identity, set func(*policy.Rules)) (policy.Rules, error) {
	var rules policy.Rules
	err := l.edit(id, func(_ []Identity, i *Identity) (rec *activity.Record, err error) {
		rules = i.Rules
		set(&rules)
		if err := errors.Join(rules.Check(), rules.CheckHosts()); err != nil {
			return nil, err
		}
		if what := rules.ChangeOf(i.Rules); what != "" {
			rec = keyRecord(*i, activity.DecisionChanged, "policy: "+what)
		}
		i.Rules = rules
		return rec, nil
	})
	return rules, err
}

// Without runs change while no identity has a key, and none can get it: for the CA's.
func (l *List) Without(publicKey []byte, change func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, err := l.All()
	if err != nil {
		return err
	}
	if index(list, publicKey) >= 0 {
		return errors.New("an identity's key cannot be the CA's: it would sign what looks like a certificate")
	}
	return change()
}
