package agent

import (
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/agent/certificate"
	"vmux/internal/agent/journal"
	"vmux/internal/device"
	"vmux/internal/sshagent"
)

// identity is a phone-held key and who holds it.
type identity struct {
	AgentKeyInfo
	key     ssh.PublicKey
	holders []device.ID
}

// snapshot is all that listing needs. It is immutable and read
// without a lock.
type snapshot struct {
	identities []*identity // as listed
	byBlob     map[string]*identity
	with       *sshagent.Listing // with the session certificate
	without    *sshagent.Listing
	session    *certificate.Session // nil: none
}

func (a *Agent) rebuild() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rebuildLocked()
	a.journal.Change()
}

// rebuildLocked makes the snapshot anew after a change.
func (a *Agent) rebuildLocked() {
	s := &snapshot{session: a.certificate.Current()}
	s.identities, s.byBlob = a.mergeLocked()
	var normal, passkeys []sshagent.Identity
	for _, id := range s.identities {
		listed := sshagent.Identity{Blob: id.PublicKeyBlob, Comment: id.Comment}
		if id.passkey() {
			passkeys = append(passkeys, listed)
		} else {
			normal = append(normal, listed)
		}
	}
	without, with := slices.Clone(normal), slices.Clone(normal)
	switch a.cfg.Passkeys {
	case PasskeysNever:
	case PasskeysNoCertificate:
		without = append(without, passkeys...)
	default:
		without, with = append(without, passkeys...), append(with, passkeys...)
	}
	s.without = sshagent.NewListing(without)
	s.with = s.without
	if s.session != nil {
		// Last, since many who bind nothing take the first line (ssh-copy-id, git's
		// defaultKeyCommand) or stop at what they cannot parse. A connection that is
		// bound gets a list of its own.
		last := sshagent.Identity{Blob: s.session.Blob, Comment: certificate.Comment}
		s.with = sshagent.NewListing(append(with, last))
	}
	a.snapshot.Store(s)
}

// mergeLocked lists each key once, passkeys last: a key that several phones list
// stands where the one that speaks for it has it, with what that phone says of it.
func (a *Agent) mergeLocked() ([]*identity, map[string]*identity) {
	var list []*identity
	byBlob := map[string]*identity{}
	phones := a.phonesLocked()
	speakers := a.speakersLocked(phones)
	for i, phone := range phones {
		for _, k := range a.keys[phone] {
			id := byBlob[string(k.PublicKeyBlob)]
			if id == nil {
				key, err := ssh.ParsePublicKey(k.PublicKeyBlob)
				if err != nil {
					continue // checked when it came
				}
				id = &identity{key: key}
				byBlob[string(k.PublicKeyBlob)] = id
			}
			if slices.Contains(id.holders, phone) {
				continue // listed twice
			}
			id.holders = append(id.holders, phone)
			if speakers[string(k.PublicKeyBlob)] == phone {
				id.AgentKeyInfo = believed(k, i == 0)
				list = append(list, id)
			}
		}
	}
	for _, id := range list { // no phone hides a key that another may have
		if !id.Proven && len(id.holders) > 1 {
			id.Hosts = nil
		}
	}
	slices.SortStableFunc(list, func(a, b *identity) int {
		switch {
		case a.passkey() == b.passkey():
			return 0
		case a.passkey():
			return 1
		}
		return -1
	})
	return list, byBlob
}

// SignLocal implements sshagent.Backend: it signs with the session key when the
// client names the certificate. The flags choose RSA hashes and mean nothing
// here.
func (a *Agent) SignLocal(c sshagent.Connection, blob, data []byte, _ uint32) (signature []byte, ok bool, err error) {
	s := a.certificate.Find(blob, time.Now())
	if s == nil {
		return nil, false, nil
	}
	about := describe(data)
	if err := a.use.Check(c, blob, about); err != nil {
		a.journal.Fail(journal.KindSign, certificate.Comment, err)
		return nil, true, err
	}
	a.learnCertificate(c, about)
	signature, err = s.Sign(data)
	if err == nil {
		a.journal.ForgetFailures() // of earlier logins: this one succeeds
	}
	return signature, true, err
}

// RemoveAll implements sshagent.Backend: it destroys the session certificate.
func (a *Agent) RemoveAll() { a.certificate.Remove() }
