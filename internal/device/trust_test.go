package device

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// brokenStore fails as a disk does.
type brokenStore struct {
	testkit.Document
	load, save error
}

func (b *brokenStore) Load() ([]byte, error) {
	if b.load != nil {
		return nil, b.load
	}
	return b.Document.Load()
}

func (b *brokenStore) Save(doc []byte) error {
	if b.save != nil {
		return b.save
	}
	return b.Document.Save(doc)
}

func peerNamed(n int, name string) Peer {
	return Peer{ID: ID{byte(n >> 8), byte(n), 1}, Name: wire.Clean(name), PairedAt: noon}
}

func add(t *testing.T, trust *Trust, p Peer) {
	t.Helper()
	if err := trust.Add(p); err != nil {
		t.Fatal(err)
	}
}

func TestTrustRests(t *testing.T) {
	store := &testkit.Document{}
	add(t, NewTrust(store), peerNamed(1, "phone"))
	trust := NewTrust(store)
	if p, err := trust.Get(peerNamed(1, "").ID); err != nil || p.Name.String() != "phone" || !p.PairedAt.Equal(noon) {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := trust.Get(peerNamed(2, "").ID); !errors.Is(err, ErrNotPaired) {
		t.Errorf("an unpaired device: %v", err)
	}
	if err := trust.Remove(peerNamed(1, "").ID); err != nil {
		t.Fatal(err)
	}
	if err := trust.Remove(peerNamed(1, "").ID); !errors.Is(err, ErrNotPaired) {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := trust.Get(peerNamed(1, "").ID); !errors.Is(err, ErrNotPaired) {
		t.Errorf("after removal: %v", err)
	}
}

// Damage must not read as an empty store: the next pairing would overwrite what
// can still be saved by hand. And it must never trust.
func TestDamagedStoreTrustsNobodyAndStays(t *testing.T) {
	store := &testkit.Document{}
	add(t, NewTrust(store), peerNamed(1, "phone"))
	good, _ := store.Load()
	id := peerNamed(1, "").ID.String()
	for name, bad := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)-4], "zeros": make([]byte, 64), "null bytes behind": append(bytes.Clone(good), 0),
		"another version": bytes.Replace(good, []byte(`"version": 1`), []byte(`"version": 2`), 1),
		"null":            []byte("null"), "no version": []byte(`{"peers":[]}`),
		"a peer without ID":  []byte(`{"version":1,"peers":[{"name":"x"}]}`),
		"a damaged ID":       bytes.Replace(good, []byte(id), []byte("x"+id[1:51]+"1"), 1),
		"a peer twice":       []byte(`{"version":1,"peers":[{"id":"` + id + `","name":"a"},{"id":"` + id + `","name":"b"}]}`),
		"two documents":      append(bytes.Clone(good), good...),
		"a list of no peers": []byte(`{"version":1,"peers":7}`),
	} {
		if err := store.Save(bad); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(bad, good) {
			t.Fatalf("%s: nothing was damaged", name)
		}
		trust := NewTrust(store)
		if p, err := trust.Get(peerNamed(1, "").ID); err == nil || errors.Is(err, ErrNotPaired) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		if trust.Add(peerNamed(2, "new")) == nil || trust.Remove(peerNamed(1, "").ID) == nil || trust.Reached(peerNamed(1, "").ID, "", "tcp:a:1") == nil {
			t.Errorf("%s: changed a damaged store", name)
		}
		if after, _ := store.Load(); !bytes.Equal(after, bad) {
			t.Errorf("%s: the store was overwritten", name)
		}
	}
}

// What is returned is the caller's own: to change it pairs and unpairs nobody.
func TestPeersAreTheCallersOwn(t *testing.T) {
	trust := NewTrust(&testkit.Document{})
	one := peerNamed(1, "phone")
	one.Routes = []string{"tcp:a:1", "tcp:b:2"}
	add(t, trust, one)
	for range 2 {
		p, err := trust.Get(one.ID)
		if err != nil || len(p.Routes) != 2 || p.Routes[0] != "tcp:a:1" {
			t.Fatalf("%+v, %v", p, err)
		}
		p.Routes[0] = "tcp:evil:1"
		peers, err := trust.Peers()
		if err != nil || len(peers) != 1 || peers[0].Routes[0] != "tcp:a:1" {
			t.Fatalf("%+v, %v", peers, err)
		}
		peers[0].Routes[0], peers[0].ID = "tcp:evil:1", ID{99}
	}
}

func TestTrustTellsOfAFailingDisk(t *testing.T) {
	disk := errors.New("disk")
	if _, err := NewTrust(&brokenStore{load: disk}).Get(ID{1}); !errors.Is(err, disk) {
		t.Errorf("load: %v", err)
	}
	if ids := NewTrust(&brokenStore{load: disk}).IDs(); len(ids) > 0 {
		t.Errorf("unread, and yet in %v", ids)
	}
	store := &brokenStore{save: disk}
	trust := NewTrust(store)
	if err := trust.Add(peerNamed(1, "phone")); !errors.Is(err, disk) {
		t.Errorf("save: %v", err)
	}
	if _, err := trust.Get(peerNamed(1, "").ID); !errors.Is(err, ErrNotPaired) {
		t.Errorf("trusted what was not saved: %v", err)
	}
}

func TestTrustIsBounded(t *testing.T) {
	trust := NewTrust(&testkit.Document{})
	for n := range MaxPeers {
		add(t, trust, peerNamed(n, fmt.Sprint(n)))
	}
	if err := trust.Add(peerNamed(MaxPeers, "one more")); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	if err := trust.Add(peerNamed(0, "again")); err != nil {
		t.Errorf("one that is known: %v", err)
	}
	if err := trust.Add(Peer{Name: wire.Clean("nobody")}); !errors.Is(err, ErrNotID) {
		t.Errorf("the zero ID: %v", err)
	}
}

func TestFind(t *testing.T) {
	trust := NewTrust(&testkit.Document{})
	a, b := peerNamed(1, "phone"), peerNamed(2, "tablet")
	twin := Peer{ID: b.ID, Name: wire.Clean("twin")}
	twin.ID[31] = 1 // the same beginning
	for _, p := range []Peer{a, b, twin} {
		add(t, trust, p)
	}
	if got, want := trust.IDs(), []ID{a.ID, b.ID, twin.ID}; !slices.Equal(got, slices.SortedFunc(slices.Values(want), ID.Compare)) {
		t.Errorf("IDs %v, want %v", got, want)
	}
	if p, err := trust.Find("phone"); err != nil || p.ID != a.ID {
		t.Errorf("by name: %v, %v", p, err)
	}
	if p, err := trust.Find(b.ID.String()); err != nil || p.ID != b.ID {
		t.Errorf("by ID: %v, %v", p, err)
	}
	if _, err := trust.Find(b.ID.Short()); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("by a beginning of two: %v", err)
	}
	for _, text := range []string{"", "pho", a.ID.String()[:5], "\x00"} {
		if _, err := trust.Find(text); !errors.Is(err, ErrNotPaired) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestReached(t *testing.T) {
	trust := NewTrust(&testkit.Document{})
	p := peerNamed(1, "phone")
	add(t, trust, p)
	for n := range 6 {
		if err := trust.Reached(p.ID, "phone\x1b[2J", fmt.Sprintf("tcp:a:%d", n)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := trust.Get(p.ID)
	if err != nil || strings.Join(got.Routes, " ") != "tcp:a:5 tcp:a:4 tcp:a:3 tcp:a:2" || strings.Contains(got.Name.String(), "\x1b") {
		t.Errorf("%+v, %v", got, err)
	}
	if err := trust.Reached(p.ID, "", "tcp:a:3"); err != nil {
		t.Fatal(err)
	}
	if got, _ := trust.Get(p.ID); strings.Join(got.Routes, " ") != "tcp:a:3 tcp:a:5 tcp:a:4 tcp:a:2" {
		t.Errorf("%v", got.Routes)
	}
	// A link that outlives its pairing must not bring the pairing back.
	if err := trust.Reached(ID{9}, "unpaired", "tcp:a:1"); !errors.Is(err, ErrNotPaired) {
		t.Errorf("an unpaired device: %v", err)
	}
}

func TestTrustRace(t *testing.T) {
	trust := NewTrust(&testkit.Document{})
	var group sync.WaitGroup
	for n := range 16 {
		group.Go(func() {
			p := peerNamed(n, "phone")
			if err := trust.Add(p); err != nil {
				t.Error(err)
			}
			if err := trust.Reached(p.ID, "renamed", "tcp:a:1"); err != nil {
				t.Error(err)
			}
			if _, err := trust.Peers(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if peers, err := trust.Peers(); err != nil || len(peers) != 16 {
		t.Errorf("%d peers, %v", len(peers), err)
	}
}

func FuzzTrust(f *testing.F) {
	store := &testkit.Document{}
	if err := NewTrust(store).Add(peerNamed(1, "phone")); err != nil {
		f.Fatal(err)
	}
	good, _ := store.Load()
	f.Add(good)
	f.Add([]byte(`{"version":1,"peers":[{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		store := &testkit.Document{}
		if err := store.Save(b); err != nil {
			t.Fatal(err)
		}
		trust := NewTrust(store)
		if _, err := trust.Get(ID{}); err == nil {
			t.Fatalf("%q trusts the zero ID", b)
		}
		before, err := trust.Peers()
		if err != nil || len(before) >= MaxPeers {
			return
		}
		add(t, trust, peerNamed(7, "new"))
		if after, err := trust.Peers(); err != nil || len(after) < len(before) {
			t.Errorf("%d peers became %d: %v", len(before), len(after), err)
		}
	})
}
