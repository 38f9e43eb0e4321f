package agent

import (
	"slices"
	"time"

	"vmux/internal/agent/certificate"
	"vmux/internal/agent/client"
	"vmux/internal/agent/keys"
	"vmux/internal/sshagent"
)

// maxListed is how many phone-held keys are listed for a login: sshd counts each
// key that is offered, and ends the connection after six (MaxAuthTries), before a
// password is asked for.
const maxListed = 4

// maxVain is after how many logins without a signature no key is listed any more: a
// server that takes none of them counts each, and ends the connection before ssh
// comes to the keys in files and to passwords.
const maxVain = 2

// Listing implements sshagent.Backend. Who does not say where to log in, as
// ssh-add -l, sees everything, unless it is for a server's authorized_keys.
func (a *Agent) Listing(c sshagent.Connection) *sshagent.Listing {
	s, now := a.snapshot.Load(), time.Now()
	all := s.without
	if s.session.Valid(now) {
		all = s.with
	}
	if len(c.Bindings) == 0 && !c.Unproven {
		if c.Listed == nil && a.known.anyInVain() && client.PrintsKeys(c.Peer.PID) {
			a.offerAgain() // who has them printed is about to give one to a server
		}
		if all != s.without && c.Listed == nil && client.InstallsKeys(c.Peer.PID) {
			return s.without
		}
		return all
	}
	return a.listingFor(c, s, now)
}

// listingFor is the list on a connection that is bound. Over a forwarded one the
// session certificate is not listed, since whoever is root on the other host
// could log in with it without anybody being asked.
func (a *Agent) listingFor(c sshagent.Connection, s *snapshot, now time.Time) *sshagent.Listing {
	withCertificate := s.session.Valid(now) && a.use.Lists(c)
	all := s.without
	if withCertificate {
		all = s.with
	}
	host := boundHost(c.Bindings)
	if host == "" {
		return all
	}
	own := len(c.Bindings) == 1 && !a.clients.Elsewhere(c)
	known, vain := a.known.recall(host, own)
	o, mine := order{host: host, worked: known.Key, limit: max(0, a.cfg.MaxKeys), vain: vain}, s.keysOf(all)
	l := login{host: host, own: own}
	if own {
		l.login = a.loginOf(c)
		if o.limit > 0 && (len(mine) > o.limit || vain > 0) {
			o.chosen = l.login.Wait()
			o.vain = known.vainFor(o.chosen.Account)
		}
	}
	offered := o.apply(mine)
	var list []sshagent.Identity
	for _, id := range offered {
		list = append(list, sshagent.Identity{Blob: id.PublicKeyBlob, Comment: id.Comment})
	}
	if withCertificate {
		at := 0
		if known.refuses(s.session, now) && len(offered) > 0 && offered[0].Fingerprint == known.Key {
			at = 1
		}
		list = slices.Insert(list, at, sshagent.Identity{Blob: s.session.Blob, Comment: certificate.Comment})
	}
	l.fruitless = fruitless{
		last: now, hostKey: c.Bindings[len(c.Bindings)-1].HostKey, listed: len(list), keys: len(offered), elsewhere: o.elsewhere(mine),
	}
	l.left = len(mine) - len(l.elsewhere) - len(offered)
	a.known.begins(c.ID, l)
	return sshagent.NewListing(list)
}

// keysOf are the phone-held keys of a listing, in its order.
func (s *snapshot) keysOf(l *sshagent.Listing) []*keys.Key {
	var offered []*keys.Key
	for _, listed := range l.Identities() {
		if id := s.byBlob[string(listed.Blob)]; id != nil {
			offered = append(offered, id)
		}
	}
	return offered
}

// order says which keys are listed for a login, and how.
type order struct {
	host   string       // fingerprint of the server's host key
	worked string       // fingerprint of the key that logged in there; "" if none did
	chosen client.Login // the keys that the user has named for ssh
	limit  int          // how many; 0: all
	vain   int          // how many logins there just before led to no signature
}

// most is how many keys are listed, named ones aside, after so many logins in vain.
func most(limit, vain int) int {
	switch {
	case vain == 0:
		return limit
	case vain < maxVain:
		return (limit + 1) / 2
	}
	return 0
}

// apply leaves out keys that may not be used there, and brings the others into
// order: the key that worked, those that the user has named, those that are for
// just such servers, the default ones, all others. Passkeys stay last, since
// older SSH clients cannot use them, unless they have worked.
func (o order) apply(offered []*keys.Key) []*keys.Key {
	offered = slices.DeleteFunc(slices.Clone(offered), o.forOthers)
	slices.SortStableFunc(offered, func(a, b *keys.Key) int { return o.rank(a) - o.rank(b) })
	// Keys that ssh cannot be seen to name are listed once: it has then tried them
	// before all others.
	if o.limit > 0 && !(o.chosen.Unclear && o.vain == 0) {
		offered = o.cut(offered)
	}
	last := func(id *keys.Key) int {
		if id.Passkey() && o.rank(id) > rankWorked {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(offered, func(a, b *keys.Key) int { return last(a) - last(b) })
	return offered
}

// cut leaves as many keys as are listed: those that have worked or are named, and
// after a login in vain those that were listed last or not at all.
func (o order) cut(offered []*keys.Key) []*keys.Key {
	named, others := offered[:o.named(offered)], offered[o.named(offered):]
	room := func(most int) int { return min(max(0, most-len(named)), len(others)) }
	n, skip := room(most(o.limit, o.vain)), 0
	if o.vain > 0 {
		skip = min(room(o.limit), len(others)-n)
	}
	return slices.Concat(named, others[skip:skip+n])
}

// forOthers reports whether the phone limits the key to other servers.
func (o order) forOthers(id *keys.Key) bool {
	return len(id.Hosts) > 0 && !slices.Contains(id.Hosts, o.host)
}

// elsewhere are the comments of the keys that apply leaves out for good.
func (o order) elsewhere(offered []*keys.Key) []string {
	var list []string
	for _, id := range offered {
		if o.forOthers(id) {
			list = append(list, id.Comment)
		}
	}
	return list
}

const (
	rankWorked = iota
	rankChosen
	rankMeant
	rankDefault
	rankOther
)

func (o order) rank(id *keys.Key) int {
	switch {
	case id.Fingerprint == o.worked:
		return rankWorked
	case o.chosen.Keys[string(id.PublicKeyBlob)]:
		return rankChosen
	case len(id.Hosts) > 0:
		return rankMeant
	case id.Default:
		return rankDefault
	}
	return rankOther
}

// named is how many keys stand first because they have worked or the user has
// named them: ssh looks for the latter in the list, and uses none that is not
// there.
func (o order) named(offered []*keys.Key) int {
	n := 0
	for n < len(offered) && o.rank(offered[n]) <= rankChosen {
		n++
	}
	return n
}
