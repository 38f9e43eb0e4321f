package signer

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// Everything that is asked stands in the log, refused or not.
func TestActivity(t *testing.T) {
	p := newPhone(t)
	p.createCA("root")
	id := p.create("work", "ssh-ed25519")
	r := p.request(id)
	p.ask(t.Context(), r)
	p.ask(t.Context(), r)
	malformed := p.request(id)
	malformed.Nonce = nil
	p.ask(t.Context(), malformed)
	p.approver.Sign = func(context.Context, SignSheet) (SignDecision, error) { return SignDecision{}, nil }
	p.ask(t.Context(), p.request(id))
	cert := p.wantCertificate(certificateRequest(t, p))

	records := p.requests()
	if len(records) != 5 {
		t.Fatalf("%d records", len(records))
	}
	for n, want := range []struct {
		decision string
		code     wire.Code
	}{
		{"approved", ""}, {"refused", wire.CodeReplayDetected}, {"refused", wire.CodeMalformedRequest},
		{"denied", wire.CodeUserDenied}, {"approved", ""},
	} {
		got := records[n]
		if got.Decision != want.decision || got.Code != want.code || got.DeviceID != p.computer.ID.String() ||
			got.DeviceName.String() != "laptop" || time.Since(got.Time) > time.Minute {
			t.Errorf("record %d: %+v", n, got)
		}
	}
	first, last := records[0], records[4]
	if first.RequestID.String() != r.RequestID || first.Label.String() != "work" || first.Key != id.Fingerprint() ||
		first.Quality != wire.QualityVerified || !strings.HasPrefix(first.What.String(), "root@SHA256:") {
		t.Errorf("signature: %+v", first)
	}
	if last.Kind != "certificate" || !strings.HasSuffix(cert.KeyId, ":"+last.Serial) || last.Principals[0] != "root" ||
		last.Key != sshctx.Fingerprint(cert.Key.Marshal()) || last.ValidBefore == "" {
		t.Errorf("certificate: %+v", last)
	}
}

// brokenLog is a store whose log cannot be written.
type brokenLog struct{ *testkit.Documents }

func (brokenLog) Append(string, []byte) error { return errors.New("disk full") }

// A signature that would not be in the log is not given out.
func TestNoSignatureWithoutRecord(t *testing.T) {
	p := newPhone(t)
	id := p.create("a", "ssh-ed25519")
	p.writeTo(brokenLog{p.cfg.Store.(*testkit.Documents)})
	p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeInternalError)
}

// plainStore cannot append.
type plainStore struct{ m *testkit.Documents }

func (s plainStore) Get(name string) ([]byte, error)      { return s.m.Get(name) }
func (s plainStore) Put(name string, b []byte) error      { return s.m.Put(name, b) }
func (s plainStore) Delete(name string) error             { return s.m.Delete(name) }
func (s plainStore) List(prefix string) ([]string, error) { return s.m.List(prefix) }

// The log is bounded, and what is kept of it is in order, whatever the store
// can do.
func TestActivityTurnsOver(t *testing.T) {
	for name, store := range map[string]Store{"appends": &testkit.Documents{}, "replaces": plainStore{&testkit.Documents{}}} {
		t.Run(name, func(t *testing.T) {
			s, err := New(Config{Store: store})
			if err != nil {
				t.Fatal(err)
			}
			line := []byte(`{"what":"` + strings.Repeat("x", 4084) + "\"}\n") // 4096 bytes
			full := append(bytes.Repeat(line, maxDecisions/len(line)), `{"kind":"cut o`...)
			if err := store.Put("activity.jsonl", full); err != nil {
				t.Fatal(err)
			}
			for _, id := range []string{"first", "second"} {
				if err := s.record(Record{Kind: "sign", RequestID: wire.Clean(id)}); err != nil {
					t.Fatal(err)
				}
			}
			now, _ := store.Get("activity.jsonl")
			old, _ := store.Get("activity-1.jsonl")
			if len(now) > 1000 || !bytes.Equal(old, full) {
				t.Errorf("%d bytes, %d old ones", len(now), len(old))
			}
			records, err := s.Activity()
			if n := len(records); err != nil || n != maxDecisions/len(line)+2 || records[n-2].RequestID.String() != "first" || records[n-1].RequestID.String() != "second" {
				t.Errorf("%d records, %v", n, err)
			}
		})
	}
}

// A line that a power cut left unfinished does not swallow the next one.
func TestActivityAfterACut(t *testing.T) {
	for name, store := range map[string]Store{"appends": &testkit.Documents{}, "replaces": plainStore{&testkit.Documents{}}} {
		if err := store.Put("activity.jsonl", []byte("{\"requestID\":\"a\"}\n{\"requestID\":\"b")); err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.record(Record{RequestID: wire.Clean("c")}); err != nil {
			t.Fatal(err)
		}
		records, err := s.Activity()
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
		s, err := New(Config{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.record(Record{RequestID: wire.Clean("new")}); err != nil {
			t.Fatal(err)
		}
		records, err := s.Activity()
		if n := len(records); err != nil || n == 0 || records[n-1].RequestID.String() != "new" {
			t.Errorf("the new record is lost behind %q", b)
		}
	})
}
