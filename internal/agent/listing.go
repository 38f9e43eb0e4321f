package agent

import (
	"context"
	"slices"
	"time"

	"vmux/internal/agent/certificate"
	"vmux/internal/agent/client"
	"vmux/internal/agent/keys"
	"vmux/internal/agent/listing"
	"vmux/internal/sshagent"
)

// snapshot is all that listing needs. It is immutable and read without a lock.
type snapshot struct {
	keys    []*keys.Key // as listed
	byBlob  map[string]*keys.Key
	with    *sshagent.Listing // with the session certificate
	without *sshagent.Listing
	session *certificate.Session // nil: none
}

// unbound is what is listed to who does not say where to log in.
func (s *snapshot) unbound(now time.Time) *sshagent.Listing {
	if s.session.Valid(now) {
		return s.with
	}
	return s.without
}

// rebuild makes the snapshot anew after a change of keys or of the certificate.
func (a *Agent) rebuild() {
	a.rebuilding.Lock()
	defer a.rebuilding.Unlock()
	s := &snapshot{session: a.certificate.Current(), byBlob: map[string]*keys.Key{}}
	s.keys = a.keys.All()
	var with, without []sshagent.Identity
	for _, key := range s.keys { // passkeys last
		s.byBlob[string(key.PublicKeyBlob)] = key
		listed := sshagent.Identity{Blob: key.PublicKeyBlob, Comment: key.Comment}
		if !key.Passkey() || a.cfg.Passkeys != PasskeysNever {
			without = append(without, listed)
		}
		if !key.Passkey() || a.cfg.Passkeys != PasskeysNever && a.cfg.Passkeys != PasskeysNoCertificate {
			with = append(with, listed)
		}
	}
	s.without = sshagent.NewListing(without)
	s.with = s.without
	if s.session != nil {
		// Last, since many who bind nothing take the first line (ssh-copy-id, git's
		// defaultKeyCommand) or stop at what they cannot parse. A connection that is
		// bound gets a list of its own.
		s.with = sshagent.NewListing(append(with, listed(s.session).Identity))
	}
	a.snapshot.Store(s)
	a.journal.Change()
}

// Listing implements sshagent.Backend. Who does not say where to log in, as
// ssh-add -l, sees everything, unless it is for a server's authorized_keys. Over a
// forwarded connection the session certificate is not listed, since whoever is root
// on the other host could log in with it without anybody being asked.
//
// The upstream agent's keys stand behind all others, unless one has worked at the server or
// there is none.
func (a *Agent) Listing(ctx context.Context, c sshagent.Connection) *sshagent.Listing {
	s, now := a.snapshot.Load(), time.Now()
	all, bound := s.without, len(c.Bindings) > 0 || c.Unproven || c.Relayed
	if s.session.Valid(now) && (!bound || a.use.Lists(c)) {
		all = s.with
	}
	upstream := a.upstreamKeys(ctx, c, s)
	if !bound {
		if c.Listed == nil && a.memory.Tried() && client.PrintsKeys(c.Peer.PID) {
			a.memory.OfferAll() // who has them printed is about to give one to a server
		}
		if (all != s.without || upstream != nil) && c.Listed == nil && client.InstallsKeys(c.Peer.PID) {
			all, upstream = s.without, slices.DeleteFunc(upstream, isCertificate)
		}
		return s.withUpstream(all, upstream)
	}
	if listing.Host(c.Bindings) == "" {
		return s.withUpstream(all, upstream)
	}
	l := listing.Login{Connection: c, Own: len(c.Bindings) == 1 && !a.clients.Elsewhere(c), Upstream: upstream}
	for _, listed := range all.Identities() {
		if key := s.byBlob[string(listed.Blob)]; key != nil {
			l.Keys = append(l.Keys, key)
		}
	}
	if all == s.with {
		l.Certificate = listed(s.session)
	}
	return sshagent.NewListing(a.memory.List(l, now))
}

// listed is the session's certificate as it is listed; nil without one.
func listed(s *certificate.Session) *listing.Certificate {
	if s == nil {
		return nil
	}
	return &listing.Certificate{Identity: sshagent.Identity{Blob: s.Blob, Comment: certificate.Comment}, Certificate: s.Certificate}
}

// saveDestinations writes soon what logins have shown. No signature waits for the disk.
func (a *Agent) saveDestinations() {
	a.tasks.run(func(context.Context) {
		if err := a.memory.Save(); err != nil {
			a.log.Warn("keep the memory of destinations", "error", err)
		}
	})
}
