package keys

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
)

// Documents are where the keys rest; *state.Dir implements it.
type Documents interface {
	Get(name string) ([]byte, error)
	Put(name string, b []byte) error
	SetAside(name string, now time.Time) (string, error)
}

// Store holds the keys of all phones. It may be used concurrently.
type Store struct {
	docs  Documents
	trust *device.Trust

	saving sync.Mutex // orders what Set, Remove and Save write; taken before mu

	mu       sync.Mutex
	byPhone  map[device.ID][]Info
	pairedAt map[device.ID]time.Time // of the phones with keys
}

// Key is a phone-held key and who lists it.
type Key struct {
	Info
	Public ssh.PublicKey
	Phones []device.ID
}

// Open reads the document. A damaged one is set aside and told of in warning.
func Open(docs Documents, trust *device.Trust, now time.Time) (s *Store, warning string, err error) {
	s = &Store{docs: docs, trust: trust, pairedAt: map[device.ID]time.Time{}}
	s.byPhone, warning, err = load(docs, now)
	return s, warning, err
}

// DropUnpaired forgets the keys of phones that were unpaired while the agent was not
// running. When the trust cannot be read they stay.
func (s *Store) DropUnpaired() error {
	peers, err := s.trust.Peers()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range peers {
		s.pairedAt[p.ID] = p.PairedAt
	}
	maps.DeleteFunc(s.byPhone, func(phone device.ID, _ []Info) bool {
		_, paired := s.pairedAt[phone]
		return !paired
	})
	return nil
}

// Set replaces the keys of a phone, for Save to write, and reports whether there is
// one that it did not list before. Keys that come after an unpairing are not taken. A
// key that the phone did not list meanwhile it has to prove anew.
func (s *Store) Set(phone device.ID, keys []Info) (added bool, err error) {
	s.saving.Lock()
	defer s.saving.Unlock()
	peer, err := s.trust.Get(phone)
	if err != nil {
		return false, fmt.Errorf("keys of a phone: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keys = slices.Clone(keys)
	for i := range keys {
		before := find(s.byPhone[phone], keys[i].PublicKeyBlob)
		added = added || before < 0
		keys[i].Proven = before >= 0 && s.byPhone[phone][before].Proven
	}
	s.byPhone[phone], s.pairedAt[phone] = keys, peer.PairedAt
	return added, nil
}

// Remove forgets a phone that is not paired any more, for Save to write.
func (s *Store) Remove(phone device.ID) {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byPhone, phone)
	delete(s.pairedAt, phone)
}

// Save writes the document.
func (s *Store) Save() error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	all := maps.Clone(s.byPhone)
	s.mu.Unlock()
	b, err := encode(all)
	if err != nil {
		return err
	}
	return s.docs.Put(Document, b)
}

// Count is how many keys the phone lists.
func (s *Store) Count(phone device.ID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byPhone[phone])
}

// Proven reports whether the phone has signed by the key since it lists it.
func (s *Store) Proven(phone device.ID, blob []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := find(s.byPhone[phone], blob)
	return i >= 0 && s.byPhone[phone][i].Proven
}

// Prove remembers, for Save to write, that a signature of the phone's by the key has
// verified. It reports whether that is new.
func (s *Store) Prove(phone device.ID, blob []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := find(s.byPhone[phone], blob)
	if i < 0 || s.byPhone[phone][i].Proven {
		return false
	}
	keys := slices.Clone(s.byPhone[phone]) // what is being written is not changed
	keys[i].Proven = true
	s.byPhone[phone] = keys
	return true
}

func find(keys []Info, blob []byte) int {
	return slices.IndexFunc(keys, func(k Info) bool { return bytes.Equal(k.PublicKeyBlob, blob) })
}

// All lists each key once, passkeys last: a key that several phones list stands where
// the one that speaks for it has it, with what that phone says of it.
func (s *Store) All() []*Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Key
	byBlob := map[string]*Key{}
	phones := s.phonesLocked()
	speakers := s.speakersLocked(phones)
	for i, phone := range phones {
		for _, k := range s.byPhone[phone] {
			key := byBlob[string(k.PublicKeyBlob)]
			if key == nil {
				public, err := ssh.ParsePublicKey(k.PublicKeyBlob)
				if err != nil {
					continue // checked when it came
				}
				key = &Key{Public: public}
				byBlob[string(k.PublicKeyBlob)] = key
			}
			if slices.Contains(key.Phones, phone) {
				continue // listed twice
			}
			key.Phones = append(key.Phones, phone)
			if speakers[string(k.PublicKeyBlob)] == phone {
				key.Info = believed(k, i == 0)
				list = append(list, key)
			}
		}
	}
	for _, key := range list { // no phone hides a key that another may have
		if !key.Proven && len(key.Phones) > 1 {
			key.Hosts = nil
		}
	}
	slices.SortStableFunc(list, func(a, b *Key) int {
		switch {
		case a.Passkey() == b.Passkey():
			return 0
		case a.Passkey():
			return 1
		}
		return -1
	})
	return list
}

// phonesLocked are the phones that list keys, in the order of their pairing: a
// device can choose its ID, and not when it was paired.
func (s *Store) phonesLocked() []device.ID {
	phones := slices.SortedFunc(maps.Keys(s.byPhone), func(x, y device.ID) int {
		if c := s.pairedAt[x].Compare(s.pairedAt[y]); c != 0 {
			return c
		}
		return x.Compare(y)
	})
	return slices.DeleteFunc(phones, func(phone device.ID) bool { return len(s.byPhone[phone]) == 0 })
}

// speakersLocked tells for each key, by its blob, whose word on it counts: that of the
// first phone that has proven it, else of the first that lists it.
func (s *Store) speakersLocked(phones []device.ID) map[string]device.ID {
	speakers, proven := map[string]device.ID{}, map[string]bool{}
	for _, phone := range phones {
		for _, k := range s.byPhone[phone] {
			blob := string(k.PublicKeyBlob)
			if _, ok := speakers[blob]; !ok || k.Proven && !proven[blob] {
				speakers[blob], proven[blob] = phone, k.Proven
			}
		}
	}
	return speakers
}

// believed leaves out what changes the order of all keys, unless the phone has proven
// this one. The phone that was paired first has nobody to push aside.
func believed(k Info, first bool) Info {
	if !k.Proven && !first {
		k.Default, k.Hosts = false, nil
	}
	return k
}
