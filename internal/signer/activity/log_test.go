package activity

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"vmux/internal/signer/documents"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// plainStore cannot append.
type plainStore struct{ m *testkit.Documents }

func (s plainStore) Get(name string) ([]byte, error)      { return s.m.Get(name) }
func (s plainStore) Put(name string, b []byte) error      { return s.m.Put(name, b) }
func (s plainStore) Delete(name string) error             { return s.m.Delete(name) }
func (s plainStore) List(prefix string) ([]string, error) { return s.m.List(prefix) }

// The log is bounded, and what is kept of it is in order, whatever the store
// can do.
func TestActivityTurnsOver(t *testing.T) {
	for name, store := range map[string]documents.Store{"appends": &testkit.Documents{}, "replaces": plainStore{&testkit.Documents{}}} {
		t.Run(name, func(t *testing.T) {
			l := New(store, time.Now)
			line := []byte(`{"what":"` + strings.Repeat("x", 4084) + "\"}\n") // 4096 bytes
			full := append(bytes.Repeat(line, maxDecisions/len(line)), `{"kind":"cut o`...)
			if err := store.Put("activity.jsonl", full); err != nil {
				t.Fatal(err)
			}
			for _, id := range []string{"first", "second"} {
				if err := l.Write(Record{Kind: "sign", RequestID: wire.Clean(id)}); err != nil {
					t.Fatal(err)
				}
			}
			now, _ := store.Get("activity.jsonl")
			old, _ := store.Get("activity-1.jsonl")
			if len(now) > 1000 || !bytes.Equal(old, full) {
				t.Errorf("%d bytes, %d old ones", len(now), len(old))
			}
			records, err := l.Records()
			if n := len(records); err != nil || n != maxDecisions/len(line)+2 || records[n-2].RequestID.String() != "first" || records[n-1].RequestID.String() != "second" {
				t.Errorf("%d records, %v", n, err)
			}
		})
	}
}

// A line that a power cut left unfinished does not swallow the next one.
func TestActivityAfterACut(t *testing.T) {
	for name, store := range map[string]documents.Store{"appends": &testkit.Documents{}, "replaces": plainStore{&testkit.Documents{}}} {
		if err := store.Put("activity.jsonl", []byte("{\"requestID\":\"a\"}\n{\"requestID\":\"b")); err != nil {
			t.Fatal(err)
		}
		l := New(store, time.Now)
		if err := l.Write(Record{RequestID: wire.Clean("c")}); err != nil {
			t.Fatal(err)
		}
		records, err := l.Records()
		if err != nil || len(records) != 2 || records[1].RequestID.String() != "c" {
			t.Errorf("%s: %+v, %v", name, records, err)
		}
	}
}

func FuzzActivity(f *testing.F) {
	f.Add([]byte("{\"kind\":\"sign\"}\n"))
	f.Add([]byte("{\"kind\":"))
	f.Fuzz(func(t *testing.T, b []byte) {
		store := &testkit.Documents{}
		_ = store.Put("activity.jsonl", b)
		l := New(store, time.Now)
		if err := l.Write(Record{RequestID: wire.Clean("new")}); err != nil {
			t.Fatal(err)
		}
		records, err := l.Records()
		if n := len(records); err != nil || n == 0 || records[n-1].RequestID.String() != "new" {
			t.Errorf("the new record is lost behind %q", b)
		}
	})
}
