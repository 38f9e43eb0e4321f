package agent

import (
	"cmp"
	"slices"
	"time"

	"vmux/internal/agent/client"
	"vmux/internal/control"
	"vmux/internal/sshagent"
)

// fruitlessLife is how long a login without a signature is told of as the last one.
const fruitlessLife = 10 * time.Minute

// login is one on a connection that is bound to a server.
type login struct {
	fruitless
	host  string // fingerprint of the host key
	own   bool   // this computer's own: what comes from elsewhere says what it likes
	login *client.Reading[client.Login]
	asked bool // a signature for the server was asked for
}

// fruitless is a login for which no signature was asked.
type fruitless struct {
	last      time.Time
	hostKey   []byte
	listed    int      // how many identities
	keys      int      // how many of them are phone-held
	elsewhere []string // comments of the keys left out, which are for other servers
	left      int      // how many more there are that may be used there
}

// logins are those that have begun, and what came of the last ones. A login counts
// when it has ended: ssh may have several to one server under way (a git fetch of
// many submodules), each of which waits for its signature.
type logins struct {
	open      map[uint64]login     // by the connection
	fruitless map[string]fruitless // the last one for a host, if nothing was asked for since
	elsewhere map[string]passed    // those in vain that came through another host
}

// passed is how many logins in vain at a host came through another one, and when the
// last of them ended.
type passed struct {
	vain int
	last time.Time
}

// begins notes the list of a connection.
func (d *destinations) begins(connection uint64, l login) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if before, ok := d.open[connection]; ok && before.host == l.host {
		l.asked = before.asked
	}
	if d.open == nil {
		d.open = map[uint64]login{}
	}
	d.open[connection] = l
}

// ends forgets a connection, and returns the login that it was for.
func (d *destinations) ends(connection uint64) (l login, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, ok = d.open[connection]
	delete(d.open, connection)
	return l, ok
}

// recall returns what is known of the host, and how many logins there just before
// were in vain.
func (d *destinations) recall(host string, own bool) (known destination, vain int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known = d.byHost[host]
	if !own {
		return known, d.elsewhere[host].vain
	}
	return known, known.Vain
}

// loginOf is what the client of that connection is about to do.
func (a *Agent) loginOf(c sshagent.Connection) *client.Reading[client.Login] {
	a.known.mu.Lock()
	l := a.known.open[c.ID]
	a.known.mu.Unlock()
	if l.login != nil {
		return l.login
	}
	return a.files.Login(c.Peer)
}

// asked notes that a signature is asked for: the server takes a key that was listed
// or named, so that the next login is offered all of them again. Only there: what
// another server takes says nothing of this one.
func (a *Agent) asked(c sshagent.Connection) {
	host, d := boundHost(c.Bindings), &a.known
	if host == "" {
		return
	}
	d.mu.Lock()
	l := d.open[c.ID]
	if l.host == host {
		l.asked = true
		d.open[c.ID] = l
	}
	own := l.own && l.host == host
	if own {
		delete(d.fruitless, host)
	} else {
		delete(d.elsewhere, host)
	}
	known := d.byHost[host]
	d.mu.Unlock()
	if own && known.Vain > 0 && l.login != nil && known.vainFor(l.login.Wait().Account) > 0 {
		a.keepDestinations(d.learn(host, time.Now(), (*destination).forgive))
	}
}

// forgive lets all keys be offered again.
func (d *destination) forgive() { d.Vain, d.InVainAt, d.Name, d.Account = 0, time.Time{}, "", "" }

// anyInVain reports whether there is a server that took none of the keys.
func (d *destinations) anyInVain() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, known := range d.byHost {
		if known.Vain > 0 {
			return true
		}
	}
	return false
}

// offerAgain forgets which servers took none of the keys.
func (a *Agent) offerAgain() {
	d := &a.known
	d.mu.Lock()
	clear(d.elsewhere)
	var hosts []string
	for host, known := range d.byHost {
		if known.Vain > 0 {
			hosts = append(hosts, host)
		}
	}
	d.mu.Unlock()
	due := false
	for _, host := range hosts {
		due = d.learn(host, time.Now(), (*destination).forgive) || due
	}
	a.keepDestinations(due)
}

// closed notes what came of a login: where keys were listed and nothing was asked
// for, the server took none of them, and fewer are listed the next time.
func (a *Agent) closed(c sshagent.Connection) {
	d := &a.known
	l, ok := d.ends(c.ID)
	if !ok {
		return
	}
	var chosen client.Login
	if l.login != nil {
		chosen = l.login.Wait()
	}
	if l.asked {
		return
	}
	now := time.Now()
	l.last = now
	d.mu.Lock()
	if !l.own {
		if d.elsewhere == nil || len(d.elsewhere) >= maxDestinations {
			d.elsewhere = map[string]passed{}
		}
		if l.keys > 0 {
			d.elsewhere[l.host] = passed{min(d.elsewhere[l.host].vain+1, maxVain), now.Round(0)}
		}
		d.mu.Unlock()
		return
	}
	if d.fruitless == nil || len(d.fruitless) >= maxDestinations {
		d.fruitless = map[string]fruitless{}
	}
	d.fruitless[l.host] = l.fruitless
	known := d.byHost[l.host]
	d.mu.Unlock()
	if chosen.Copies { // from now on the server takes a key
		if known.Vain > 0 {
			a.keepDestinations(d.learn(l.host, now, (*destination).forgive))
		}
		return
	}
	if chosen.NamedOnly || a.cfg.MaxKeys < 0 || l.keys == 0 && known.vainFor(chosen.Account) == 0 {
		return // the server was offered none of the listed keys, or is to be offered all
	}
	name := a.files.Server(chosen, l.hostKey)
	a.keepDestinations(d.learn(l.host, now, func(known *destination) {
		known.Vain = known.vainFor(chosen.Account)
		if l.keys > 0 {
			known.Vain = min(known.Vain+1, maxVain)
		}
		known.InVainAt, known.Name, known.Account = now.Round(0), name, cmp.Or(chosen.Account, known.Account)
	}))
}

// inVain returns the newest login of late without a signature, ended or not.
func (d *destinations) inVain(now time.Time) (host string, newest fruitless) {
	d.mu.Lock()
	defer d.mu.Unlock()
	consider := func(h string, f fruitless) {
		if now.Sub(f.last) <= fruitlessLife && f.last.After(newest.last) {
			host, newest = h, f
		}
	}
	for h, f := range d.fruitless {
		consider(h, f)
	}
	for _, l := range d.open {
		if l.own && !l.asked {
			consider(l.host, l.fruitless)
		}
	}
	return host, newest
}

func (a *Agent) unsigned() *control.UnsignedLogin {
	host, f := a.known.inVain(time.Now())
	if host == "" {
		return nil
	}
	return &control.UnsignedLogin{
		At: f.last.Round(0), Server: host, Name: a.files.Server(client.Login{}, f.hostKey),
		Listed: f.listed, Elsewhere: f.elsewhere, Left: f.left,
	}
}

// fewer are the servers that are offered fewer keys, the latest first. Those of which
// another host tells stand last: it can name as many as it likes.
func (a *Agent) fewer() []control.FewerKeys {
	if a.cfg.MaxKeys < 0 {
		return nil // all are offered, wherever
	}
	a.known.mu.Lock()
	defer a.known.mu.Unlock()
	var list []control.FewerKeys
	for _, d := range a.known.byHost {
		if d.Vain > 0 {
			list = append(list, control.FewerKeys{At: d.InVainAt, Server: d.Host, Name: d.Name, Account: d.Account, Most: most(a.cfg.MaxKeys, d.Vain)})
		}
	}
	for host, p := range a.known.elsewhere {
		list = append(list, control.FewerKeys{At: p.last, Server: host, Forwarded: true, Most: most(a.cfg.MaxKeys, p.vain)})
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
