package listing

import (
	"slices"

	"vmux/internal/agent/client"
	"vmux/internal/agent/keys"
)

// MaxKeys is how many phone-held keys are listed for a login by default: sshd counts
// each key that is offered, and ends the connection after six (MaxAuthTries), before a
// password is asked for.
const MaxKeys = 4

// maxTries is after how many logins without a signature no key is listed any more: a
// server that takes none of them counts each, and ends the connection before ssh
// comes to the keys in files and to passwords.
const maxTries = 2

// order says which keys are listed for a login, and how.
type order struct {
	host   string       // fingerprint of the server's host key
	worked string       // fingerprint of the key that logged in there; "" if none did
	named  client.Login // the keys that the user has named for ssh
	limit  int          // how many; 0: all
	tries  int          // how many logins there just before led to no signature
}

// limit is how many phone-held keys are listed beside those of the upstream agent: as
// many fewer as leave one try for each of these, but half as many at least.
func limit(most, upstream int) int {
	if most == 0 || upstream < 2 {
		return most
	}
	return max((most+1)/2, most+1-upstream)
}

// most is how many keys are listed, named ones aside, after so many logins without a signature.
func most(limit, tries int) int {
	switch {
	case tries == 0:
		return limit
	case tries < maxTries:
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
	if o.limit > 0 && !(o.named.Unclear && o.tries == 0) {
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
// after a login without a signature those that were listed last or not at all.
func (o order) cut(offered []*keys.Key) []*keys.Key {
	first, others := offered[:o.first(offered)], offered[o.first(offered):]
	room := func(most int) int { return min(max(0, most-len(first)), len(others)) }
	n, skip := room(most(o.limit, o.tries)), 0
	if o.tries > 0 {
		skip = min(room(o.limit), len(others)-n)
	}
	return slices.Concat(first, others[skip:skip+n])
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
	rankNamed
	rankMeant
	rankDefault
	rankOther
)

func (o order) rank(id *keys.Key) int {
	switch {
	case id.Fingerprint == o.worked:
		return rankWorked
	case o.named.Keys[string(id.PublicKeyBlob)]:
		return rankNamed
	case len(id.Hosts) > 0:
		return rankMeant
	case id.Default:
		return rankDefault
	}
	return rankOther
}

// first is how many keys stand first because they have worked or the user has
// named them: ssh looks for the latter in the list, and uses none that is not
// there.
func (o order) first(offered []*keys.Key) int {
	n := 0
	for n < len(offered) && o.rank(offered[n]) <= rankNamed {
		n++
	}
	return n
}
