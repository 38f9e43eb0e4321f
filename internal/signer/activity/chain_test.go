package activity

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"vmux/internal/signer/documents"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// written returns a store with a log of n records.
func written(t testing.TB, n int) *testkit.Documents {
	t.Helper()
	store := &testkit.Documents{}
	l := New(store, time.Now)
	for i := range n {
		if err := l.Write(Record{Kind: "sign", RequestID: wire.Clean(strings.Repeat("r", i+1)), What: wire.Clean("root@prod")}); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

func verify(t testing.TB, store documents.Store) Verification {
	t.Helper()
	l := New(store, time.Now)
	r, err := l.Verify()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWholeLog(t *testing.T) {
	if r := verify(t, &testkit.Documents{}); r.Records != 0 || len(r.Problems) > 0 {
		t.Errorf("an empty log: %+v", r)
	}
	r := verify(t, written(t, 5))
	if r.Records != 5 || r.First != 1 || r.Last != 5 || len(r.Hash) != 64 || len(r.Problems) > 0 {
		t.Errorf("got %+v", r)
	}
}

// The attacker has the phone's files for a while, but not its program.
func TestTamperedLog(t *testing.T) {
	change := func(f func(lines [][]byte) [][]byte) func(*testkit.Documents) {
		return func(m *testkit.Documents) {
			b, _ := m.Get("activity.jsonl")
			lines := f(slices.Collect(bytes.Lines(b)))
			_ = m.Put("activity.jsonl", bytes.Join(lines, nil))
		}
	}
	for name, tamper := range map[string]func(*testkit.Documents){
		"another word":         change(func(l [][]byte) [][]byte { l[2] = bytes.Replace(l[2], []byte("prod"), []byte("prov"), 1); return l }),
		"another word at last": change(func(l [][]byte) [][]byte { l[4] = bytes.Replace(l[4], []byte("prod"), []byte("prov"), 1); return l }),
		"one removed":          change(func(l [][]byte) [][]byte { return slices.Delete(l, 1, 2) }),
		"the first removed":    change(func(l [][]byte) [][]byte { return l[1:] }),
		"the last removed":     change(func(l [][]byte) [][]byte { return l[:4] }),
		"two swapped":          change(func(l [][]byte) [][]byte { l[1], l[2] = l[2], l[1]; return l }),
		"one twice":            change(func(l [][]byte) [][]byte { return slices.Insert(l, 2, l[2]) }),
		"one made unreadable":  change(func(l [][]byte) [][]byte { l[3] = []byte("{}x\n"); return l }),
		"the last cut":         change(func(l [][]byte) [][]byte { l[4] = l[4][:20]; return l }),
		"all removed":          func(m *testkit.Documents) { _ = m.Delete("activity.jsonl") },
		"the head removed":     func(m *testkit.Documents) { _ = m.Delete("activity-head.json") },
		"the head damaged":     func(m *testkit.Documents) { _ = m.Put("activity-head.json", []byte("{")) },
	} {
		store := written(t, 5)
		tamper(store)
		if r := verify(t, store); len(r.Problems) == 0 {
			t.Errorf("%s: not found: %+v", name, r)
		}
	}
}

// A crash cuts the log at any byte of the last record, and leaves its head as
// it was before it. That is no tampering, and the log goes on.
func TestLogSurvivesACutAnywhere(t *testing.T) {
	own := written(t, 3)
	l := New(own, time.Now)
	whole, _ := own.Get("activity.jsonl")
	head, _ := own.Get("activity-head.json")
	if err := l.Write(Record{Kind: "sign", RequestID: wire.Clean("the last")}); err != nil {
		t.Fatal(err)
	}
	full, _ := own.Get("activity.jsonl")
	for cut := len(whole); cut <= len(full); cut++ {
		store := &testkit.Documents{}
		_ = store.Put("activity.jsonl", full[:cut])
		_ = store.Put("activity-head.json", head)
		if r := verify(t, store); len(r.Problems) > 0 {
			t.Fatalf("cut at byte %d: %v", cut-len(whole), r.Problems)
		}
		l := New(store, time.Now)
		if err := l.Write(Record{Kind: "sign", RequestID: wire.Clean("next")}); err != nil {
			t.Fatal(err)
		}
		r := verify(t, store)
		records, err := l.Records()
		if len(r.Problems) > 0 || err != nil || records[len(records)-1].RequestID.String() != "next" || r.Records < 4 {
			t.Fatalf("cut at byte %d, then written on: %+v, %v", cut-len(whole), r, err)
		}
	}
}

// The processes that own a phone one after the other write one chain.
func TestOwnersOneAfterTheOther(t *testing.T) {
	store := &testkit.Documents{}
	for range 3 {
		l := New(store, time.Now)
		for range 2 {
			if err := l.Write(Record{Kind: "sign"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if r := verify(t, store); r.Records != 6 || len(r.Problems) > 0 {
		t.Errorf("got %+v", r)
	}
}

// A crash between any two steps of writing a record, also where the full log
// gives way to a new one, is no tampering and loses no record but that one.
func TestLogSurvivesACrashAtEachStep(t *testing.T) {
	const limit = 6 << 10
	long := strings.Repeat("x", limit/3)
	small := func(store documents.Store) *Log {
		l := New(store, time.Now)
		l.books.decisions.limit = limit
		return l
	}
	before := &testkit.Documents{}
	l := small(before)
	for range 6 { // the next one turns the log over, with an old one there
		if err := l.Write(Record{Kind: "sign", Decision: "approved", Serial: long}); err != nil {
			t.Fatal(err)
		}
	}
	for steps := range 11 {
		store := &testkit.Documents{}
		names, _ := before.List("")
		for _, name := range names {
			doc, _ := before.Get(name)
			_ = store.Put(name, doc)
		}
		left := steps
		dying := small(testkit.Failing{Documents: store, Left: &left})
		var died error
		for range 2 {
			if died = dying.Write(Record{Kind: "sign", Decision: "approved", Serial: long}); died != nil {
				break
			}
		}
		if (died == nil) != (steps >= 10) {
			t.Fatalf("%d steps: %v", steps, died)
		}
		if r := verify(t, store); len(r.Problems) > 0 || r.Last < 6 {
			t.Errorf("killed after %d steps: %+v", steps, r)
		}
		l := small(store)
		if err := l.Write(Record{Kind: "sign"}); err != nil {
			t.Fatal(err)
		}
		r := verify(t, store)
		dropped := r.Logs[0].Dropped
		if len(r.Problems) > 0 || r.Last < 7 || dropped == nil || dropped.Records != 3 || dropped.Kinds["sign approved"] != 3 {
			t.Errorf("killed after %d steps, then written on: %+v", steps, r)
		}
	}
}

// What is dropped when the log is full is no gap, and a copy has the chain too.
func TestChainThroughTurnOver(t *testing.T) {
	store := &testkit.Documents{}
	l := New(store, time.Now)
	long := strings.Repeat("x", 64<<10)
	for range 3 * maxDecisions / len(long) {
		if err := l.Write(Record{Kind: "sign", Serial: long}); err != nil {
			t.Fatal(err)
		}
	}
	r := verify(t, store)
	if r.First == 1 || len(r.Problems) > 0 {
		t.Errorf("first %d of %d: %v", r.First, r.Records, r.Problems)
	}
	export, err := l.Export()
	if err != nil || bytes.Count(export, []byte{'\n'}) != r.Records {
		t.Errorf("%d bytes exported, %v", len(export), err)
	}
}

// What a log has dropped stands in its chain before it goes. attacker: takes out more,
// and changes the note of the log's beginning to fit, or the numbers.
func TestDroppedIsSaid(t *testing.T) {
	full := func() *testkit.Documents {
		store := &testkit.Documents{}
		l := New(store, time.Now)
		l.books.decisions.limit = 2000
		for n := range 40 {
			r := Record{Kind: "sign", Decision: "approved", What: wire.Clean("root@prod")}
			if n%4 == 0 {
				r = Record{Kind: KindKey, Label: wire.Clean("work"), Decision: DecisionCreated}
			}
			if err := l.Write(r); err != nil {
				t.Fatal(err)
			}
		}
		return store
	}
	store := full()
	r := verify(t, store)
	chain := r.Logs[0]
	d := chain.Dropped
	if len(r.Problems) > 0 || d == nil || d.Records != chain.First-1 || chain.First < 10 {
		t.Fatalf("got %+v", chain)
	}
	kept, err := New(store, time.Now).Records()
	if err != nil {
		t.Fatal(err)
	}
	count := func(kind, decision string) (n int) {
		for _, r := range kept {
			if r.Kind == kind && r.Decision == decision {
				n++
			}
		}
		return n
	}
	if d.Kinds["sign approved"]+count("sign", "approved") != 30 || d.Kinds["key created"]+count("key", "created") != 10 || len(d.Kinds) != 2 {
		t.Errorf("dropped %+v, kept %d and %d", d, count("sign", "approved"), count("key", "created"))
	}
	if d.Until.IsZero() || d.Until.After(kept[0].Time) {
		t.Errorf("dropped until %v, and the first that is kept is of %v", d.Until, kept[0].Time)
	}
	for name, tamper := range map[string]func(*testkit.Documents){
		"the older half removed, and the head changed to fit": func(m *testkit.Documents) {
			newer, _ := m.Get("activity.jsonl")
			_ = m.Delete("activity-1.jsonl")
			b, _ := m.Get("activity-head.json")
			var h head
			_ = json.Unmarshal(b, &h)
			h.First = firstOf(newer)
			_ = documents.Save(m, "activity-head.json", h)
		},
		"other numbers": func(m *testkit.Documents) {
			b, _ := m.Get("activity-1.jsonl")
			_ = m.Put("activity-1.jsonl", bytes.Replace(b, []byte(`"dropped":{"records":`), []byte(`"dropped":{"records":1`), 1))
		},
	} {
		store := full()
		tamper(store)
		if r := verify(t, store); len(r.Problems) == 0 {
			t.Errorf("%s: not found: %+v", name, r)
		}
	}
}

// A log that never was full has dropped nothing, whatever its head is changed to.
func TestBeginningTakenOut(t *testing.T) {
	store := &testkit.Documents{}
	l := New(store, time.Now)
	for range 5 {
		if err := l.Write(Record{Kind: "sign", Decision: "approved"}); err != nil {
			t.Fatal(err)
		}
	}
	doc, _ := store.Get("activity.jsonl")
	for range 2 {
		_, doc, _ = bytes.Cut(doc, []byte{'\n'})
	}
	_ = store.Put("activity.jsonl", doc)
	b, _ := store.Get("activity-head.json")
	var h head
	_ = json.Unmarshal(b, &h)
	h.First = firstOf(doc)
	_ = documents.Save(store, "activity-head.json", h)
	if r := verify(t, store); len(r.Problems) == 0 {
		t.Errorf("two records were taken out: %+v", r)
	}
}
