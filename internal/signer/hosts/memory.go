package hosts

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"vmux/internal/confusable"
	"vmux/internal/signer/documents"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

const (
	hostsDocument = "hosts.json"
	// maxHosts bounds the memory of hosts: the one unseen for longest goes.
	maxHosts = 2048
	// maxNames and maxUsers bound what is kept of one host.
	maxNames = 64
	maxUsers = 64
)

// Memory is what a phone remembers of a host key.
type Memory string

// What can be remembered. Changed: the name that the computer claims
// belonged to another host key of the same type so far, and a person has to
// acknowledge it. A server has one host key of each type, and which of them a
// login sees is for client and server to negotiate: another type is a first one.
const (
	First   Memory = "first"
	Known   Memory = "known"
	Changed Memory = "changed"
)

// Host is a server that an approved login went to. The host key is proven; the
// names are those that computers claimed.
type Host struct {
	HostKey []byte      `json:"hostKey"` // blob
	Names   []wire.Text `json:"names,omitempty"`
	Users   []wire.Text `json:"users,omitempty"`
	// HostBound: a login to it was approved whose signed bytes name the host key, so
	// that client and server can do that.
	HostBound bool      `json:"hostBound,omitempty"`
	FirstSeen time.Time `json:"firstSeen"`
	LastSeen  time.Time `json:"lastSeen"`
}

// Fingerprint is the text of `ssh-keygen -l`.
func (h Host) Fingerprint() string { return sshctx.Fingerprint(h.HostKey) }

type hostDocument struct {
	Version int    `json:"version"`
	Hosts   []Host `json:"hosts"`
}

// List are the servers that the phone remembers. Safe for concurrent use.
type List struct {
	store documents.Store
	now   func() time.Time
	log   *slog.Logger

	mu sync.Mutex // held while the document changes
}

// New returns the servers that rest in the store.
func New(store documents.Store, now func() time.Time, log *slog.Logger) *List {
	return &List{store: store, now: now, log: log}
}

// All returns the servers that this phone remembers.
func (l *List) All() ([]Host, error) {
	doc, err := documents.Load[hostDocument](l.store, hostsDocument, "hosts")
	if doc == nil {
		return nil, err
	}
	return doc.Hosts, nil
}

// Forget forgets a server by its fingerprint, so that its next login is the
// first one.
func (l *List) Forget(fingerprint string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, err := l.All()
	if err != nil {
		return err
	}
	kept := slices.DeleteFunc(slices.Clone(list), func(h Host) bool { return h.Fingerprint() == fingerprint })
	if len(kept) == len(list) {
		return errors.New("no such host")
	}
	return documents.Save(l.store, hostsDocument, hostDocument{Version: 1, Hosts: kept})
}

// Recall adds to a destination what this phone remembers of it. A memory that
// cannot be read counts as none: everything is the first time then.
func (l *List) Recall(d *Destination, known sshctx.Context, claimedName wire.Text) {
	if d.HostKey == nil && len(d.Via) == 0 {
		return
	}
	hosts, err := l.All()
	if err != nil {
		l.log.Error("remember hosts", "err", err)
	}
	for i, hop := range d.Via {
		if n := index(hosts, hop.HostKey); n >= 0 {
			d.Via[i].Names = hosts[n].Names
		}
	}
	if d.HostKey == nil {
		return
	}
	d.Memory, d.NewUser = First, true
	if n := index(hosts, d.HostKey); n >= 0 {
		d.Memory, d.Names = Known, hosts[n].Names
		d.NewUser = !slices.Contains(hosts[n].Users, wire.Clean(known.User))
		d.Downgraded = hosts[n].HostBound && known.Kind == sshctx.UserAuth
	}
	if claimedName == (wire.Text{}) || slices.Contains(d.Names, claimedName) {
		return
	}
	var others []string
	for _, h := range hosts {
		like := slices.IndexFunc(h.Names, func(name wire.Text) bool { return alike(name, claimedName) })
		switch {
		case like < 0 || bytes.Equal(h.HostKey, d.HostKey):
		case !slices.Contains(h.Names, claimedName) && slices.ContainsFunc(h.Names, func(name wire.Text) bool {
			return slices.Contains(d.Names, name) && alike(name, claimedName)
		}): // of one pool, that is typed otherwise
		case !slices.Contains(h.Names, claimedName): // a person would take it for the other, whatever its type
			d.Memory, d.Before, d.LooksLike = Changed, append(d.Before, wire.Clean(h.Fingerprint())), h.Names[like]
		case sshctx.KeyType(h.HostKey) == sshctx.KeyType(d.HostKey):
			d.Memory, d.Before = Changed, append(d.Before, wire.Clean(h.Fingerprint()))
		default:
			others = append(others, sshctx.KeyType(h.HostKey))
		}
	}
	slices.Sort(others)
	for _, kind := range slices.Compact(others) {
		d.OtherTypes = append(d.OtherTypes, wire.Clean(kind))
	}
}

// Remember notes an approved login. The name stays with the host keys that
// had it before: behind one name there may be a pool of servers, and whoever
// acknowledged each of them once is not to be warned at every switch.
func (l *List) Remember(d Destination, known sshctx.Context, claimedName wire.Text) error {
	if d.HostKey == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	hosts, err := l.All()
	if err != nil {
		return err
	}
	now := l.now().UTC()
	n := index(hosts, d.HostKey)
	if n < 0 {
		hosts = append(hosts, Host{HostKey: d.HostKey, FirstSeen: now})
		n = len(hosts) - 1
	}
	// The names that there are stay: a computer that calls a server by many others
	// would have the next one that goes by its name be a new one.
	if names := hosts[n].Names; claimedName != (wire.Text{}) && (len(names) < maxNames || slices.Contains(names, claimedName)) {
		hosts[n].Names = latest(hosts[n].Names, claimedName, maxNames)
	}
	hosts[n].Users = latest(hosts[n].Users, wire.Clean(known.User), maxUsers)
	hosts[n].HostBound = hosts[n].HostBound || known.Kind == sshctx.HostBound
	hosts[n].LastSeen = now
	return documents.Save(l.store, hostsDocument, hostDocument{Version: 1, Hosts: newest(hosts)})
}

// Merge adds servers that another phone remembers, if save is set, and returns how many
// there are. What this phone remembers stays as it is: a server that it knows is known,
// and one by whose name it knows another host key is left out, and named. Otherwise a
// backup would have a changed host key look like an expected one.
func (l *List) Merge(others []Host, save bool) (added int, differ []wire.Text, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own, err := l.All()
	if err != nil {
		return 0, nil, err
	}
	list := slices.Clone(own)
	for _, h := range others {
		if len(h.HostKey) == 0 || len(h.HostKey) > wire.MaxBlobSize || len(h.Names) > maxNames || len(h.Users) > maxUsers {
			return 0, nil, errors.New("a server to remember is damaged")
		}
		name, elsewhere := nameTaken(own, h)
		switch {
		case elsewhere:
			differ = append(differ, name)
		case index(list, h.HostKey) < 0 && len(list) < maxHosts:
			list = append(list, h)
		}
	}
	if added = len(list) - len(own); added == 0 || !save {
		return added, differ, nil
	}
	return added, differ, documents.Save(l.store, hostsDocument, hostDocument{Version: 1, Hosts: list})
}

// nameTaken returns a name of a host that another host key of its type has here.
func nameTaken(own []Host, h Host) (name wire.Text, taken bool) {
	if index(own, h.HostKey) >= 0 {
		return name, false
	}
	for _, other := range own {
		for _, name := range h.Names {
			like := func(theirs wire.Text) bool { return alike(theirs, name) }
			if sshctx.KeyType(other.HostKey) == sshctx.KeyType(h.HostKey) && slices.ContainsFunc(other.Names, like) {
				return name, true
			}
		}
	}
	return name, false
}

// alike reports whether a person could take one host name for the other: also
// with another dot, one at the end, brackets, a user, or the port that is meant anyway.
func alike(a, b wire.Text) bool {
	return confusable.Alike(bare(a.String()), bare(b.String()))
}

func bare(name string) string {
	name = otherDots.Replace(name)
	name = name[strings.LastIndexByte(name, '@')+1:]
	host, port := name, ""
	if at := strings.LastIndexByte(name, ':'); at >= 0 {
		host, port = name[:at], strings.TrimLeft(name[at+1:], "0")
	}
	isAddress := strings.Contains(host, ":") && !strings.HasSuffix(host, "]") // of IPv6, without a port
	if isAddress || port != "" && port != "22" {
		host = name
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	return strings.TrimRight(host, ".")
}

// otherDots are those that IDNA reads as dots (RFC 3490 section 3.1).
var otherDots = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".")

func index(hosts []Host, hostKey []byte) int {
	return slices.IndexFunc(hosts, func(h Host) bool { return bytes.Equal(h.HostKey, hostKey) })
}

// latest puts text first in the list, once, and keeps it within limit.
func latest(list []wire.Text, text wire.Text, limit int) []wire.Text {
	others := slices.DeleteFunc(slices.Clone(list), func(t wire.Text) bool { return t == text })
	list = slices.Concat([]wire.Text{text}, others)
	return list[:min(len(list), limit)]
}

// newest leaves out the hosts that were unseen for longest, over maxHosts.
func newest(hosts []Host) []Host {
	if len(hosts) <= maxHosts {
		return hosts
	}
	slices.SortStableFunc(hosts, func(a, b Host) int { return b.LastSeen.Compare(a.LastSeen) })
	return hosts[:maxHosts]
}
