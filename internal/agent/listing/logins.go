package listing

import (
	"cmp"
	"slices"
	"time"

	"vmux/internal/agent/client"
	"vmux/internal/agent/keys"
	"vmux/internal/control"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
)

// unsignedLife is how long a login without a signature is told of as the last one.
const unsignedLife = 10 * time.Minute

// Login is a connection that is bound to a login at a server, and what may be listed
// there.
type Login struct {
	Connection sshagent.Connection
	// Own: it is this computer's own. What comes from elsewhere says what it likes.
	Own bool
	// Keys are in the order of a listing for no server.
	Keys []*keys.Key
	// Certificate is nil where there is none for this connection.
	Certificate *Certificate
	// Upstream are the upstream agent's keys in its order, of which none is left out: it
	// has judged by the server itself.
	Upstream []sshagent.Identity
}

// login is one that has begun. It counts when it has ended: ssh may have several to one
// server under way (a git fetch of many submodules), each of which waits for its
// signature.
type login struct {
	unsigned
	host   string // fingerprint of the host key
	own    bool
	client *client.Reading[client.Login] // nil if it is not this computer's own
	asked  bool                          // a signature for the server was asked for
}

// unsigned is a login for which no signature was asked.
type unsigned struct {
	last      time.Time
	hostKey   []byte
	listed    int      // how many identities
	keys      int      // how many of them are phone-held
	elsewhere []string // comments of the keys left out, which are for other servers
	left      int      // how many more there are that may be used there
}

// forwarded is how many logins without a signature at a host came through another one,
// and when the last of them ended.
type forwarded struct {
	tries int
	last  time.Time
}

// List is what is listed for a login, which begins with it.
func (m *Memory) List(l Login, now time.Time) []sshagent.Identity {
	host := Host(l.Connection.Bindings)
	m.mu.Lock()
	known, tries := m.byHost[host], m.forwarded[host].tries
	m.mu.Unlock()
	o := order{host: host, worked: known.Key, limit: limit(max(0, m.MaxKeys), len(l.Upstream)), tries: tries}
	begun := login{host: host, own: l.Own}
	if l.Own {
		o.tries, begun.client = known.Tries, m.Client(l.Connection)
		if o.limit > 0 && (len(l.Keys) > o.limit || o.tries > 0) {
			o.named = begun.client.Wait()
			o.tries = known.triesFor(o.named.Account)
		}
	}
	offered := o.apply(l.Keys)
	var list []sshagent.Identity
	for _, key := range offered {
		list = append(list, sshagent.Identity{Blob: key.PublicKeyBlob, Comment: key.Comment})
	}
	worked := func(id sshagent.Identity) bool { return sshctx.Fingerprint(id.Blob) == known.Key }
	if at := slices.IndexFunc(l.Upstream, worked); known.Key != "" && at >= 0 {
		list = slices.Insert(list, 0, l.Upstream[at])
	}
	if l.Certificate != nil {
		at := 0
		if known.refuses(l.Certificate, now) && len(list) > 0 && worked(list[0]) {
			at = 1
		}
		list = slices.Insert(list, at, l.Certificate.Identity)
	}
	for _, id := range l.Upstream {
		if !worked(id) {
			list = append(list, id)
		}
	}
	bindings := l.Connection.Bindings
	begun.unsigned = unsigned{
		last: now, hostKey: bindings[len(bindings)-1].HostKey, listed: len(list), keys: len(offered), elsewhere: o.elsewhere(l.Keys),
	}
	begun.left = len(l.Keys) - len(begun.elsewhere) - len(offered)
	m.begin(l.Connection.ID, begun)
	return list
}

func (m *Memory) begin(connection uint64, l login) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if before, ok := m.open[connection]; ok && before.host == l.host {
		l.asked = before.asked
	}
	m.open[connection] = l
}

// Client is what the client of the connection is about to do.
func (m *Memory) Client(c sshagent.Connection) *client.Reading[client.Login] {
	m.mu.Lock()
	begun := m.open[c.ID].client
	m.mu.Unlock()
	if begun != nil {
		return begun
	}
	return m.Files.Login(c.Peer)
}

// Asked notes that a signature is asked for: the server takes a key that was listed
// or named, so that the next login is offered all of them again. Only there: what
// another server takes says nothing of this one.
func (m *Memory) Asked(c sshagent.Connection) {
	host := Host(c.Bindings)
	if host == "" {
		return
	}
	m.mu.Lock()
	l := m.open[c.ID]
	if l.host == host {
		l.asked = true
		m.open[c.ID] = l
	}
	own := l.own && l.host == host
	if own {
		delete(m.unsigned, host)
	} else {
		delete(m.forwarded, host)
	}
	known := m.byHost[host]
	m.mu.Unlock()
	if own && known.Tries > 0 && l.client != nil && known.triesFor(l.client.Wait().Account) > 0 {
		m.learn(host, time.Now(), (*destination).forgive)
	}
}

// Tried reports whether there is a server that took none of the keys.
func (m *Memory) Tried() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, known := range m.byHost {
		if known.Tries > 0 {
			return true
		}
	}
	return false
}

// OfferAll forgets which servers took none of the keys.
func (m *Memory) OfferAll() {
	m.mu.Lock()
	clear(m.forwarded)
	var hosts []string
	for host, known := range m.byHost {
		if known.Tries > 0 {
			hosts = append(hosts, host)
		}
	}
	m.mu.Unlock()
	for _, host := range hosts {
		m.learn(host, time.Now(), (*destination).forgive)
	}
}

// Closed notes what came of a login: where keys were listed and nothing was asked
// for, the server took none of them, and fewer are listed the next time.
func (m *Memory) Closed(c sshagent.Connection) {
	m.mu.Lock()
	l, ok := m.open[c.ID]
	delete(m.open, c.ID)
	m.mu.Unlock()
	var about client.Login
	if l.client != nil {
		about = l.client.Wait()
	}
	if !ok || l.asked {
		return
	}
	now := time.Now()
	l.last = now
	m.mu.Lock()
	if !l.own {
		if len(m.forwarded) >= maxDestinations {
			clear(m.forwarded)
		}
		if l.keys > 0 {
			m.forwarded[l.host] = forwarded{min(m.forwarded[l.host].tries+1, maxTries), now.Round(0)}
		}
		m.mu.Unlock()
		return
	}
	if len(m.unsigned) >= maxDestinations {
		clear(m.unsigned)
	}
	m.unsigned[l.host] = l.unsigned
	known := m.byHost[l.host]
	m.mu.Unlock()
	if about.Copies { // from now on the server takes a key
		if known.Tries > 0 {
			m.learn(l.host, now, (*destination).forgive)
		}
		return
	}
	if about.NamedOnly || m.MaxKeys < 0 || l.keys == 0 && known.triesFor(about.Account) == 0 {
		return // the server was offered none of the listed keys, or is to be offered all
	}
	name := m.Files.Server(about, l.hostKey)
	m.learn(l.host, now, func(known *destination) {
		known.Tries = known.triesFor(about.Account)
		if l.keys > 0 {
			known.Tries = min(known.Tries+1, maxTries)
		}
		known.TriedAt, known.Name, known.Account = now.Round(0), name, cmp.Or(about.Account, known.Account)
	})
}

// Unsigned is the newest login of late without a signature, ended or not; nil if there
// is none.
func (m *Memory) Unsigned(now time.Time) *control.UnsignedLogin {
	host, newest := m.newestUnsigned(now)
	if host == "" {
		return nil
	}
	return &control.UnsignedLogin{
		At: newest.last.Round(0), Server: host, Name: m.Files.Server(client.Login{}, newest.hostKey),
		Listed: newest.listed, Elsewhere: newest.elsewhere, Left: newest.left,
	}
}

func (m *Memory) newestUnsigned(now time.Time) (host string, newest unsigned) {
	m.mu.Lock()
	defer m.mu.Unlock()
	consider := func(h string, u unsigned) {
		if now.Sub(u.last) <= unsignedLife && u.last.After(newest.last) {
			host, newest = h, u
		}
	}
	for h, u := range m.unsigned {
		consider(h, u)
	}
	for _, l := range m.open {
		if l.own && !l.asked {
			consider(l.host, l.unsigned)
		}
	}
	return host, newest
}

// Fewer are the servers that are offered fewer keys, the latest first. Those of which
// another host tells stand last: it can name as many as it likes.
func (m *Memory) Fewer() []control.FewerKeys {
	if m.MaxKeys < 0 {
		return nil // all are offered, wherever
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []control.FewerKeys
	for _, d := range m.byHost {
		if d.Tries > 0 {
			list = append(list, control.FewerKeys{At: d.TriedAt, Server: d.Host, Name: d.Name, Account: d.Account, Most: most(m.MaxKeys, d.Tries)})
		}
	}
	for host, f := range m.forwarded {
		list = append(list, control.FewerKeys{At: f.last, Server: host, Forwarded: true, Most: most(m.MaxKeys, f.tries)})
	}
	slices.SortFunc(list, func(a, b control.FewerKeys) int {
		if a.Forwarded != b.Forwarded {
			if a.Forwarded {
				return 1
			}
			return -1
		}
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Server, b.Server))
	})
	return list
}
