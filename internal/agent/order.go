package agent

import (
	"slices"
	"time"

	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
)

// maxListed is how many phone-held keys are listed for a login: sshd counts each
// key that is offered, and ends the connection after six (MaxAuthTries), before a
// password is asked for.
const maxListed = 4

// fruitlessStep is how many keys further down a list begins after one that led
// to no signature. It is less than what is listed, since servers with a lower
// MaxAuthTries have not been offered all of it.
const fruitlessStep = 2

// Listing implements sshagent.Backend. Who does not say where to log in, as
// ssh-add -l, sees everything, unless it is for a server's authorized_keys.
func (a *Agent) Listing(c sshagent.Connection) *sshagent.Listing {
	s, now := a.snapshot.Load(), time.Now()
	all := s.without
	if s.session.valid(now) {
		all = s.with
	}
	if len(c.Bindings) == 0 && !c.Unproven {
		if all != s.without && c.Listed == nil && installsKeys(c.Peer.PID) {
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
	withCertificate := s.session.valid(now) && a.certifies(c)
	all := s.without
	if withCertificate {
		all = s.with
	}
	host := boundHost(c.Bindings)
	if host == "" {
		return all
	}
	known, inVain := a.known.recall(host, now)
	o, mine := order{host: host, worked: known.Key, limit: max(0, a.cfg.MaxKeys)}, s.keysOf(all)
	if o.limit > 0 && len(mine) > o.limit {
		o.skip = inVain * fruitlessStep
		if !forwarded(c.Bindings) {
			o.chosen = a.chosenBy(c.Peer)
		}
	}
	keys := o.apply(mine)
	var list []sshagent.Identity
	for _, id := range keys {
		list = append(list, sshagent.Identity{Blob: id.PublicKeyBlob, Comment: id.Comment})
	}
	if withCertificate {
		at := 0
		if known.refuses(s.session, now) && len(keys) > 0 && keys[0].Fingerprint == known.Key {
			at = 1
		}
		list = slices.Insert(list, at, sshagent.Identity{Blob: s.session.blob, Comment: certificateComment})
	}
	if c.Listed == nil {
		f := fruitless{last: now, listed: len(list), elsewhere: o.elsewhere(mine)}
		f.left = len(mine) - len(f.elsewhere) - len(keys)
		if !forwarded(c.Bindings) {
			f.hostKey = c.Bindings[0].HostKey
		}
		a.known.listed(host, f)
	}
	return sshagent.NewListing(list)
}

// certifies reports whether the session certificate is for this connection. It is
// not where the server's host key cannot be read: nothing proves where that leads.
func (a *Agent) certifies(c sshagent.Connection) bool {
	if _, found := unreadable(c.Bindings, sshctx.Context{}); found {
		return false
	}
	return a.cfg.ForwardCertificate || !a.fromElsewhere(c)
}

// keysOf are the phone-held keys of a listing, in its order.
func (s *snapshot) keysOf(l *sshagent.Listing) []*identity {
	var keys []*identity
	for _, listed := range l.Identities() {
		if id := s.byBlob[string(listed.Blob)]; id != nil {
			keys = append(keys, id)
		}
	}
	return keys
}

// order says which keys are listed for a login, and how.
type order struct {
	host   string // fingerprint of the server's host key
	worked string // fingerprint of the key that logged in there; "" if none did
	chosen choice // the keys that the user has named for ssh
	limit  int    // how many; 0: all
	skip   int    // how many of those that are not preferred are passed over
}

// apply leaves out keys that may not be used there, and brings the others into
// order: the key that worked, those that the user has named, those that are for
// just such servers, the default ones, all others. Passkeys stay last, since
// older SSH clients cannot use them, unless they have worked.
func (o order) apply(keys []*identity) []*identity {
	keys = slices.DeleteFunc(slices.Clone(keys), o.forOthers)
	slices.SortStableFunc(keys, func(a, b *identity) int { return o.rank(a) - o.rank(b) })
	preferred := slices.IndexFunc(keys, func(id *identity) bool { return o.rank(id) == rankOther })
	if others := len(keys) - preferred; preferred >= 0 {
		keys = slices.Concat(keys[:preferred], rotate(keys[preferred:], o.skip%others))
	}
	if o.limit > 0 && !o.chosen.unclear {
		keys = keys[:min(len(keys), max(o.limit, o.named(keys)))]
	}
	last := func(id *identity) int {
		if id.passkey() && o.rank(id) > rankWorked {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(keys, func(a, b *identity) int { return last(a) - last(b) })
	return keys
}

// forOthers reports whether the phone limits the key to other servers.
func (o order) forOthers(id *identity) bool {
	return len(id.Hosts) > 0 && !slices.Contains(id.Hosts, o.host)
}

// elsewhere are the comments of the keys that apply leaves out for good.
func (o order) elsewhere(keys []*identity) []string {
	var list []string
	for _, id := range keys {
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

func (o order) rank(id *identity) int {
	switch {
	case id.Fingerprint == o.worked:
		return rankWorked
	case o.chosen.has(id):
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
func (o order) named(keys []*identity) int {
	n := 0
	for n < len(keys) && o.rank(keys[n]) <= rankChosen {
		n++
	}
	return n
}

func rotate(keys []*identity, n int) []*identity { return slices.Concat(keys[n:], keys[:n]) }
