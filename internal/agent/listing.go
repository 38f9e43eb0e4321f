package agent

import (
	"slices"
	"time"

	"vmux/internal/agent/certificate"
	"vmux/internal/agent/journal"
	"vmux/internal/agent/keys"
	"vmux/internal/sshagent"
)

// snapshot is all that listing needs. It is immutable and read
// without a lock.
type snapshot struct {
	keys    []*keys.Key // as listed
	byBlob  map[string]*keys.Key
	with    *sshagent.Listing // with the session certificate
	without *sshagent.Listing
	session *certificate.Session // nil: none
}

func (a *Agent) rebuild() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rebuildLocked()
	a.journal.Change()
}

// rebuildLocked makes the snapshot anew after a change.
func (a *Agent) rebuildLocked() {
	s := &snapshot{session: a.certificate.Current(), byBlob: map[string]*keys.Key{}}
	s.keys = a.keys.All()
	var normal, passkeys []sshagent.Identity
	for _, key := range s.keys {
		s.byBlob[string(key.PublicKeyBlob)] = key
		listed := sshagent.Identity{Blob: key.PublicKeyBlob, Comment: key.Comment}
		if key.Passkey() {
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
