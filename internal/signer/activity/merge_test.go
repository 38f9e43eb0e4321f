package activity

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// A crash between any two steps of writing refusals loses none that was written, and
// counts none twice: neither while they are merged, nor where they become lines, nor
// where the log turns over.
func TestRefusalsSurviveACrashAtEachStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := func(l *Log, computer int) error {
			return l.Write(Record{Kind: "sign", DeviceID: fmt.Sprint(computer), Decision: "refused", Code: wire.CodeKeyNotFound})
		}
		for steps := range 12 {
			store := &testkit.Documents{}
			l := New(store, time.Now)
			l.books.refused.limit = 600 // two records of a minute each
			wrote := 0
			for range 5 {
				for computer := range 2 {
					for range 3 {
						if err := refused(l, computer); err != nil {
							t.Fatal(err)
						}
						wrote++
					}
				}
				time.Sleep(time.Minute)
			}
			left := steps
			dying := New(testkit.Failing{Documents: store, Left: &left}, time.Now)
			dying.books.refused.limit = 600
			for n := range 4 {
				if refused(dying, n%2) != nil {
					break
				}
				wrote++
				time.Sleep(30 * time.Second)
			}
			l = New(store, time.Now)
			l.books.refused.limit = 600
			check := func(when string, want int) {
				t.Helper()
				report := verify(t, store)
				counted := 0
				if d := report.Logs[2].Dropped; d != nil {
					counted = d.Kinds["sign refused"]
				}
				records, err := l.Records()
				if err != nil {
					t.Fatal(err)
				}
				first := report.Logs[2].First
				for _, r := range records {
					if d := report.Logs[2].Dropped; d == nil || r.Seq == 0 || r.Seq > d.Records {
						counted += r.Times()
					}
				}
				if len(report.Problems) > 0 || counted < want || counted > want+1 { // the last may be there
					t.Errorf("killed after %d steps, %s: %d counted, want %d; first %d; %+v", steps, when, counted, want, first, report)
				}
			}
			check("at once", wrote)
			if err := refused(l, 0); err != nil {
				t.Fatal(err)
			}
			check("then written on", wrote+1)
		}
	})
}

// Whatever a grant has signed pushes out nothing that a person has decided.
func TestGrantedHasALogOfItsOwn(t *testing.T) {
	l := New(&testkit.Documents{}, time.Now)
	l.books.granted.limit = 16 << 10 // so that it is full at once
	if err := l.Write(Record{Kind: "sign", Decision: "approved"}); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if err := l.Write(Record{Kind: "sign", Decision: "approved", Grant: true, What: wire.Clean("root@prod.example.com")}); err != nil {
			t.Fatal(err)
		}
	}
	records, err := l.Records()
	found := verify(t, l.store)
	dropped := found.Logs[1].Dropped
	if err != nil || len(found.Problems) > 0 || dropped == nil || dropped.Kinds["sign approved"]+len(records)-1 != 500 || found.Logs[0].Dropped != nil || records[0].Grant {
		t.Errorf("%d records, %+v, %v", len(records), found, err)
	}
}
