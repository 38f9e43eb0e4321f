// Package transfer takes the phone's keys out into a backup, and those of a backup in. It
// asks nobody: who may have that done, and whose secrets open the keys, is decided elsewhere.
package transfer

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/authority"
	"vmux/internal/signer/backup"
	"vmux/internal/signer/certificates"
	"vmux/internal/signer/hosts"
	"vmux/internal/signer/identity"
	"vmux/internal/wire"
)

// Config says what is in the phone's backups.
type Config struct {
	Identities *identity.List
	CA         *authority.Keeper
	Hosts      *hosts.List
	Issued     *certificates.List
	Providers  map[string]identity.Provider
	Now        func() time.Time
}

// Backups makes backups of a phone and restores them. Safe for concurrent use.
type Backups struct{ cfg Config }

// New returns the backups of a phone.
func New(c Config) Backups { return Backups{c} }

// Made is a backup, and what is in it.
type Made struct {
	File    []byte           `json:"file"`
	Keys    []string         `json:"keys"` // labels
	CA      bool             `json:"ca"`
	Servers int              `json:"servers"`
	Missing []backup.Missing `json:"missing"`
	// Fingerprints of the keys, the CA's among them.
	Fingerprints []string `json:"fingerprints"`
	// Certificates that have not expired.
	Certificates int `json:"certificates"`
}

// LockedError tells of a key that no secret opened.
type LockedError struct {
	Label string
	err   error
}

// Error says which key it is.
func (e *LockedError) Error() string { return fmt.Sprintf("%s: %v", e.Label, e.err) }

// Unwrap is why.
func (e *LockedError) Unwrap() error { return e.err }

// Make encrypts the identities, the CA, what they may do, and the servers that this phone
// remembers, and the certificates that have not expired. The secrets open the keys, each as
// many as it does; a key that none opens is a *LockedError. The log knows of each key before
// it leaves. Pairings, the device key, grants and the log are the phone's own and stay.
func (b Backups) Make(secrets [][]byte, passphrase []byte) (Made, error) {
	var made Made
	if err := backup.CheckPassphrase(passphrase); err != nil {
		return made, err
	}
	ids, err := b.cfg.Identities.All()
	if err != nil {
		return made, err
	}
	doc := backup.Document{CreatedAt: b.cfg.Now().UTC()}
	defer doc.Wipe()
	var leaving []identity.Identity
	for _, id := range ids {
		key, err := b.takeOut(id, secrets)
		switch {
		case errors.Is(err, errNotHere):
			doc.Missing = append(doc.Missing, backup.Missing{Label: id.Label, PublicKey: id.AuthorizedKey(), Provider: id.Provider})
		case err != nil:
			return made, err
		default:
			leaving, made.Keys, made.Fingerprints = append(leaving, id), append(made.Keys, id.Label), append(made.Fingerprints, id.Fingerprint())
			doc.Keys = append(doc.Keys, backup.Key{
				Label: id.Label, PublicKey: id.AuthorizedKey(), PrivateKey: key, Enabled: id.Enabled, Default: id.Default,
				CreatedAt: id.CreatedAt, Principals: id.Principals, Rules: id.Rules,
			})
		}
	}
	ca, err := b.cfg.CA.Get()
	if err == nil {
		var key backup.PrivateKey
		key, err = b.takeOut(ca.Identity(), secrets)
		if err == nil {
			made.CA, made.Fingerprints = true, append(made.Fingerprints, ca.Identity().Fingerprint())
			doc.CA = &backup.CA{PublicKey: ca.AuthorizedKey(), PrivateKey: key, CreatedAt: ca.CreatedAt, Policy: ca.Policy}
		} else if errors.Is(err, errNotHere) {
			doc.Missing = append(doc.Missing, backup.Missing{Label: authority.Label, PublicKey: ca.AuthorizedKey(), Provider: ca.Provider, CA: true})
			err = nil
		}
	}
	if err != nil && !errors.Is(err, authority.ErrNoCA) {
		return made, err
	}
	if doc.Servers, err = b.cfg.Hosts.All(); err != nil {
		return made, err
	}
	if doc.Certificates, err = b.cfg.Issued.Carried(); err != nil {
		return made, err
	}
	made.Servers, made.Missing, made.Certificates = len(doc.Servers), doc.Missing, len(doc.Certificates)
	file, err := backup.Seal(doc, passphrase)
	if err != nil {
		return made, err
	}
	const how = "in an encrypted backup"
	err = b.cfg.Identities.Exported(leaving, how)
	if err == nil && made.CA {
		err = b.cfg.CA.Exported(ca, how)
	}
	if err != nil {
		return made, err
	}
	made.File = file
	return made, nil
}

// Saved keeps that a backup with these keys is where it will be looked for: before that it is
// no way in.
func (b Backups) Saved(fingerprints []string) error {
	return errors.Join(b.cfg.Identities.NoteBackup(fingerprints), b.cfg.CA.NoteBackup(fingerprints))
}

// Unlocked reports whether the secrets open all keys that would be in a backup: nil, or a
// *LockedError.
func (b Backups) Unlocked(secrets [][]byte) error {
	ids, err := b.cfg.Identities.All()
	if err != nil {
		return err
	}
	ca, err := b.cfg.CA.Get()
	if err == nil {
		ids = append(ids, ca.Identity())
	} else if !errors.Is(err, authority.ErrNoCA) {
		return err
	}
	for _, id := range ids {
		if _, err := b.takeOut(id, secrets); err != nil && !errors.Is(err, errNotHere) {
			return err
		}
	}
	return nil
}

// errNotHere is of a key whose private half is not on this phone.
var errNotHere = errors.New("the private key is not on this phone")

func (b Backups) takeOut(id identity.Identity, secrets [][]byte) (backup.PrivateKey, error) {
	p, ok := b.cfg.Providers[id.Provider].(identity.Opener)
	if !ok {
		return backup.PrivateKey{}, errNotHere
	}
	err := identity.ErrWrongPassphrase
	for _, secret := range secrets {
		var key crypto.PrivateKey
		key, err = p.TakeOut(id, secret)
		if err == nil {
			defer identity.Wipe(key)
			return backup.NewPrivateKey(key, id.Label)
		}
		if !errors.Is(err, identity.ErrWrongPassphrase) && !errors.Is(err, identity.ErrVaultSecret) {
			break
		}
	}
	return backup.PrivateKey{}, &LockedError{id.Label, err}
}

// Outcome is what becomes of one part of a backup.
type Outcome struct {
	// What is "key", "ca", "certificates" or "servers"; of a key Name is the label in the backup.
	What string `json:"what"`
	Name string `json:"name"`
	// State is "restored"; "kept", what is on this phone already stays as it is; "differs",
	// this phone has another one; or "missing", it is not in the backup.
	State string `json:"state"`
	Text  string `json:"text"` // the same in words, to stand behind the name
	// PublicKey is the line of a key that is missing.
	PublicKey string `json:"publicKey,omitempty"`
}

// NeedsKeys reports whether private keys are, or would be, put on this phone.
func NeedsKeys(outcomes []Outcome) bool {
	return slices.ContainsFunc(outcomes, func(o Outcome) bool { return o.State == Restored && (o.What == "key" || o.What == "ca") })
}

// States of an Outcome.
const (
	Restored = "restored"
	Kept     = "kept"
	Differs  = "differs"
	Missing  = "missing"
)

// Restore adds what is in a backup and not on this phone: all of it or, on an error,
// nothing. What is here stays as it is. Add encrypts a private key and keeps it, and wipes
// it; nil only finds out what would become of each part.
func (b Backups) Restore(doc *backup.Document, add func(label string, key crypto.PrivateKey) (identity.Identity, error)) (outcomes []Outcome, err error) {
	r := restoring{phone: b.cfg, add: add, from: "from a backup of " + doc.CreatedAt.UTC().Format(time.DateOnly)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.undo())
		}
	}()
	if err := r.keys(doc.Keys); err != nil {
		return nil, err
	}
	if err := r.ca(doc.CA); err != nil {
		return nil, err
	}
	if err := r.certificates(doc.Certificates); err != nil {
		return nil, err
	}
	if err := r.servers(doc); err != nil {
		return nil, err
	}
	for _, m := range doc.Missing {
		what, text := "key", "is not in the backup: its private key was held elsewhere"
		if m.Provider == identity.ProviderPasskey {
			text = "is not in the backup, since a passkey never leaves its device: make a key here in its place"
		}
		if m.CA {
			what = "ca"
		}
		r.say(what, wire.Show(m.Label), Missing, text, wire.Show(m.PublicKey))
	}
	return r.outcomes, nil
}

// restoring is one backup that is being restored.
type restoring struct {
	phone    Config
	add      func(string, crypto.PrivateKey) (identity.Identity, error)
	from     string
	outcomes []Outcome
	done     []func() error // undo what was done
}

func (r *restoring) say(what, name, state, text, publicKey string) {
	r.outcomes = append(r.outcomes, Outcome{what, name, state, text, publicKey})
}

// undo takes back what was done, the last first.
func (r *restoring) undo() (err error) {
	for _, takeBack := range slices.Backward(r.done) {
		err = errors.Join(err, takeBack())
	}
	return err
}

// put keeps a key with its provider.
func (r *restoring) put(label string, key crypto.PrivateKey) (identity.Identity, error) {
	id, err := r.add(label, key)
	if err != nil {
		return id, err
	}
	if p, ok := r.phone.Providers[id.Provider].(identity.Opener); ok {
		r.done = append(r.done, func() error { return p.Forget(id) })
	}
	return id, nil
}

func (r *restoring) keys(list []backup.Key) error {
	here, err := r.phone.Identities.All()
	if err != nil {
		return err
	}
	var restored []identity.Identity
	for _, k := range list {
		key, public, err := k.PrivateKey.Key(k.PublicKey)
		if err != nil {
			return err
		}
		id := identity.Identity{
			Label: k.Label, Algorithm: public.Type(), PublicKey: public.Marshal(), Enabled: k.Enabled, Default: k.Default,
			CreatedAt: k.CreatedAt, Principals: k.Principals, Rules: k.Rules,
		}
		text := "is restored"
		if err := id.Check(); err != nil {
			identity.Wipe(key)
			return fmt.Errorf("%w: %w", backup.ErrDamaged, err)
		}
		if n := slices.IndexFunc(here, func(i identity.Identity) bool { return bytes.Equal(i.PublicKey, id.PublicKey) }); n >= 0 {
			identity.Wipe(key)
			r.say("key", k.Label, Kept, keptAs(k, here[n]), "")
			continue
		}
		if id.Label = freeLabel(id.Label, here); id.Label != k.Label {
			text = "is restored as " + id.Label + ", since another key here has its name"
		}
		if !id.Enabled {
			text += ", switched off as it was"
		}
		if r.add == nil {
			identity.Wipe(key)
		} else {
			kept, err := r.put(id.Label, key)
			if err != nil {
				return err
			}
			id.Provider, id.Ref = kept.Provider, kept.Ref
		}
		here, restored = append(here, id), append(restored, id)
		r.say("key", k.Label, Restored, text, "")
	}
	if len(here) > wire.MaxKeys {
		return fmt.Errorf("with the keys of the backup there would be %d, and a phone holds %d", len(here), wire.MaxKeys)
	}
	if r.add == nil || len(restored) == 0 {
		return nil
	}
	if err := r.phone.Identities.Restore(restored, r.from); err != nil {
		return err
	}
	r.done = append(r.done, func() error { return r.phone.Identities.TakeBack(restored) })
	return nil
}

// keptAs says what stays, and whether the backup says otherwise.
func keptAs(k backup.Key, here identity.Identity) string {
	text := "is on this phone already, and stays as it is"
	if here.Label != k.Label {
		text = "is on this phone already, as " + here.Label + ", and stays as it is"
	}
	if k.Rules.ChangeOf(here.Rules) != "" {
		text += "; what it may do is different in the backup"
	}
	return text
}

// freeLabel is a label that no key has yet.
func freeLabel(label string, here []identity.Identity) string {
	free := label
	for n := 2; slices.ContainsFunc(here, func(i identity.Identity) bool { return i.Label == free }); n++ {
		number := fmt.Sprintf(" %d", n)
		short := strings.ToValidUTF8(label[:min(len(label), wire.MaxNameSize-len(number))], "")
		free = strings.TrimSpace(short) + number
	}
	return free
}

func (r *restoring) ca(c *backup.CA) error {
	if c == nil {
		return nil
	}
	key, public, err := c.PrivateKey.Key(c.PublicKey)
	if err != nil {
		return err
	}
	if public.Type() != ssh.KeyAlgoECDSA256 || c.Policy.Check() != nil {
		identity.Wipe(key)
		return backup.ErrDamaged
	}
	here, err := r.phone.CA.Get()
	switch {
	case err == nil && bytes.Equal(here.PublicKey, public.Marshal()):
		r.say("ca", authority.Label, Kept, "is on this phone already, and stays as it is, with its policy", "")
	case err == nil:
		r.say("ca", authority.Label, Differs, "is not restored, since this phone has another CA, which stays; delete that one first if it is the wrong one", "")
	case !errors.Is(err, authority.ErrNoCA):
		identity.Wipe(key)
		return err
	default:
		r.say("ca", authority.Label, Restored, "is restored, with its policy", "")
		if r.add != nil {
			return r.restoreCA(*c, key)
		}
	}
	identity.Wipe(key)
	return nil
}

func (r *restoring) restoreCA(c backup.CA, key crypto.PrivateKey) error {
	id, err := r.put(authority.Label, key)
	if err != nil {
		return err
	}
	ca := authority.CA{Algorithm: id.Algorithm, PublicKey: id.PublicKey, Provider: id.Provider, Ref: id.Ref, CreatedAt: c.CreatedAt, Policy: c.Policy}
	if err := r.phone.CA.Restore(ca, r.from); err != nil {
		return err
	}
	r.done = append(r.done, r.phone.CA.TakeBack)
	return nil
}

// certificates has this phone know which the other one has issued, and revoked.
func (r *restoring) certificates(carried []certificates.Issued) error {
	added, revoked, undo, err := r.phone.Issued.Merge(carried, r.from, r.add != nil)
	if undo != nil {
		r.done = append(r.done, undo)
	}
	if err == nil && added+revoked > 0 {
		r.say("certificates", "certificates", Restored, fmt.Sprintf("%d that have not expired are restored, so that they can be revoked here; %d are revoked", added, revoked), "")
	}
	return err
}

// servers comes last: it changes one document, and nothing fails after it.
func (r *restoring) servers(doc *backup.Document) error {
	added, differ, err := r.phone.Hosts.Merge(doc.Servers, r.add != nil)
	if err != nil || len(doc.Servers) == 0 {
		return err
	}
	text := "all are restored"
	if n := len(doc.Servers) - len(differ); added < n {
		text = fmt.Sprintf("%d of %d are restored; this phone knows the others, or has no room", added, n)
	}
	r.say("servers", "servers", Restored, text, "")
	if len(differ) > 0 {
		var names []string
		for _, name := range differ {
			names = append(names, name.String())
		}
		r.say("servers", "servers", Differs, "are not restored where this phone knows another host key by the name: "+wire.Show(strings.Join(names, ", ")), "")
	}
	return nil
}
