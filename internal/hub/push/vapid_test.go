package push

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"vmux/internal/testkit"
)

// keyFile is a file in memory.
type keyFile struct {
	b      []byte
	unread error
	fail   error // of writing
}

func (f *keyFile) Load() ([]byte, error) {
	if f.unread != nil {
		return nil, f.unread
	}
	return f.b, nil
}

func (f *keyFile) Save(b []byte) error {
	if f.fail == nil {
		f.b = bytes.Clone(b)
	}
	return f.fail
}

// Lost keys cost every subscription, and nobody was told: a store that had lost
// them got new ones without a word (public reports of the same: grappa-irc 1323,
// hapi 1316, web-push-php 58). They are in a file as well; where that is lost too,
// what was subscribed to the old ones is forgotten, and it is said.
func TestKeysOutliveTheStore(t *testing.T) {
	file, log := &keyFile{}, &testkit.Output{}
	start := func(store Store) *Service {
		t.Helper()
		s, err := New(t.Context(), Config{Store: store, KeyFile: file, Subject: "mailto:root@hub.example.org", Log: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	first := start(&memory{}).VAPIDKey()
	if !bytes.Contains(file.b, []byte("private")) {
		t.Fatalf("in the file: %s", file.b)
	}
	for what, stored := range map[string]string{"an empty store": "", "damaged ones in it": `{"private":"AAAA"}`, "nonsense in it": "x"} {
		log = &testkit.Output{}
		store := &memory{}
		if stored != "" {
			store.put(vapidName, []byte(stored))
		}
		if got := start(store).VAPIDKey(); got != first || !strings.Contains(log.String(), "had lost the VAPID keys") {
			t.Errorf("%s: %s, at first %s; %s", what, got, first, log)
		}
		if b, err := store.Get(t.Context(), vapidName); err != nil || !bytes.Equal(b, file.b) {
			t.Errorf("%s: not put back: %s, %v", what, b, err)
		}
	}

	log = &testkit.Output{}
	file.b = nil
	store := &memory{}
	store.put(subscriptionPrefix+"phone", []byte("{}"))
	if got := start(store).VAPIDKey(); got == first || !strings.Contains(log.String(), "the hub has new VAPID keys") {
		t.Errorf("both lost: %s; %s", got, log)
	}
	if keys, err := store.Keys(t.Context()); err != nil || len(keys) != 1 {
		t.Errorf("of what cannot be woken any more there is %q, %v", keys, err)
	}

	log = &testkit.Output{}
	file.b, file.fail = nil, errors.New("no space left on device")
	start(store) // the store has them
	if !strings.Contains(log.String(), "in the store only") {
		t.Errorf("the file cannot be written: %s", log)
	}
}

// A file that was brought back from a backup, by root, to a hub that is another user and
// has lost its store: new keys would be written over it.
func TestKeysThatCannotBeReadAreNotReplaced(t *testing.T) {
	kept := []byte(`{"private":"AAAA"}`)
	file := &keyFile{b: kept, unread: errors.New("permission denied")}
	config := Config{Store: &memory{}, KeyFile: file, Subject: "mailto:root@hub.example.org"}
	if s, err := New(t.Context(), config); err == nil || !strings.Contains(err.Error(), "permission denied") || !bytes.Equal(file.b, kept) {
		t.Errorf("%v; the file has %s", err, file.b)
		if s != nil {
			s.Close()
		}
	}
	config.KeyFile = nil
	s, err := New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	config.KeyFile = file // the store has the keys now
	again, err := New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
