package device

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"vmux/internal/wire"
)

// MaxPeers bounds a trust store.
const MaxPeers = 256

// maxAddresses is how many last known addresses a peer keeps.
const maxAddresses = 4

// Errors of a trust store.
var (
	ErrNotPaired = errors.New("not paired")
	ErrAmbiguous = errors.New("names more than one device")
	ErrDamaged   = errors.New("paired devices: the file is damaged")
	ErrTooMany   = fmt.Errorf("over %d paired devices", MaxPeers)
)

// Peer is a paired device as it rests in the store.
type Peer struct {
	ID       ID        `json:"id"`
	Name     wire.Text `json:"name"`
	PairedAt time.Time `json:"pairedAt"`
	// Routes are where it was last reached, newest first: "tcp:HOST:PORT" or
	// "hub:URL".
	Routes []string `json:"routes,omitempty"`
}

// Store keeps one document. Load returns nil and no error when there is none
// yet. Save replaces it as a whole or leaves it as it was.
type Store interface {
	Load() ([]byte, error)
	Save([]byte) error
}

// Trust is the set of paired devices. Its store has one owner: it is read once, and
// written before a change counts. Safe for concurrent use.
type Trust struct {
	store Store

	mu    sync.Mutex
	peers map[ID]Peer // nil: not read yet; never changed, but replaced
}

type trustDocument struct {
	Version int    `json:"version"`
	Peers   []Peer `json:"peers"`
}

// NewTrust returns the trust that rests in store.
func NewTrust(store Store) *Trust { return &Trust{store: store} }

// Peers returns the paired devices by name, then ID.
func (t *Trust) Peers() ([]Peer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	peers, err := t.load()
	if err != nil {
		return nil, err
	}
	ids := slices.SortedFunc(maps.Keys(peers), func(a, b ID) int {
		return cmp.Or(strings.Compare(peers[a].Name.String(), peers[b].Name.String()), a.Compare(b))
	})
	list := make([]Peer, len(ids))
	for i, id := range ids {
		list[i] = peers[id]
		list[i].Routes = slices.Clone(list[i].Routes)
	}
	return list, nil
}

// IDs returns whom the trust is in, for a hub that is to let through nobody else. A
// store that cannot be read trusts nobody, and says so where it is asked for more.
func (t *Trust) IDs() []ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	peers, _ := t.load()
	return slices.SortedFunc(maps.Keys(peers), ID.Compare)
}

// Get returns the peer, or ErrNotPaired. A store that cannot be read trusts
// nobody and says why.
func (t *Trust) Get(id ID) (Peer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	peers, err := t.load()
	if err != nil {
		return Peer{}, err
	}
	p, ok := peers[id]
	if !ok {
		return Peer{}, ErrNotPaired
	}
	p.Routes = slices.Clone(p.Routes)
	return p, nil
}

// Find returns the one peer whose name, ID or beginning of an ID (at least six
// characters) is text. Errors: ErrNotPaired, ErrAmbiguous.
func (t *Trust) Find(text string) (Peer, error) {
	peers, err := t.Peers()
	if err != nil {
		return Peer{}, err
	}
	var found []Peer
	for _, p := range peers {
		if p.Name.String() == text || len(text) >= 6 && strings.HasPrefix(p.ID.String(), text) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return Peer{}, ErrNotPaired
	case 1:
		return found[0], nil
	}
	return Peer{}, ErrAmbiguous
}

// Add pins a peer, or replaces what was known of it.
func (t *Trust) Add(p Peer) error {
	if p.ID.IsZero() {
		return ErrNotID
	}
	return t.update(func(peers map[ID]Peer) error {
		if _, known := peers[p.ID]; !known && len(peers) >= MaxPeers {
			return ErrTooMany
		}
		peers[p.ID] = p
		return nil
	})
}

// Remove ends the trust in a peer. It returns ErrNotPaired if there was none.
func (t *Trust) Remove(id ID) error {
	return t.update(func(peers map[ID]Peer) error {
		if _, ok := peers[id]; !ok {
			return ErrNotPaired
		}
		delete(peers, id)
		return nil
	})
}

// Reached notes where a peer was reached, so that it is tried there first next
// time, and its name, if not empty. It writes only what changed.
func (t *Trust) Reached(id ID, name, route string) error {
	err := t.update(func(peers map[ID]Peer) error {
		p, ok := peers[id]
		if !ok {
			return ErrNotPaired
		}
		before := p
		if name != "" {
			p.Name = wire.Clean(name)
		}
		if route != "" && (len(p.Routes) == 0 || p.Routes[0] != route) {
			others := slices.DeleteFunc(slices.Clone(p.Routes), func(r string) bool { return r == route })
			p.Routes = slices.Concat([]string{route}, others)
			p.Routes = p.Routes[:min(len(p.Routes), maxAddresses)]
		}
		if p.Name == before.Name && slices.Equal(p.Routes, before.Routes) {
			return errUnchanged
		}
		peers[id] = p
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

var errUnchanged = errors.New("unchanged")

func (t *Trust) update(change func(map[ID]Peer) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, err := t.load()
	if err != nil {
		return err
	}
	peers := maps.Clone(known)
	if err := change(peers); err != nil {
		return err
	}
	doc := trustDocument{Version: 1, Peers: make([]Peer, 0, len(peers))}
	for _, id := range slices.SortedFunc(maps.Keys(peers), ID.Compare) {
		doc.Peers = append(doc.Peers, peers[id])
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fmt.Errorf("encode paired devices: %w", err)
	}
	if err := t.store.Save(append(b, '\n')); err != nil {
		return fmt.Errorf("save paired devices: %w", err)
	}
	t.peers = peers
	return nil
}

// load returns the peers, which the caller must not change. What could not be read
// is tried again at the next use.
func (t *Trust) load() (map[ID]Peer, error) {
	if t.peers != nil {
		return t.peers, nil
	}
	b, err := t.store.Load()
	if err != nil {
		return nil, fmt.Errorf("load paired devices: %w", err)
	}
	peers := map[ID]Peer{}
	if b != nil {
		if peers, err = decodePeers(b); err != nil {
			return nil, err
		}
	}
	t.peers = peers
	return peers, nil
}

func decodePeers(b []byte) (map[ID]Peer, error) {
	peers := map[ID]Peer{}
	var doc trustDocument
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, ErrDamaged
	}
	if doc.Version != 1 {
		return nil, fmt.Errorf("paired devices: version %d, want 1", doc.Version)
	}
	for _, p := range doc.Peers {
		if _, twice := peers[p.ID]; twice || p.ID.IsZero() {
			return nil, ErrDamaged
		}
		peers[p.ID] = p
	}
	return peers, nil
}
