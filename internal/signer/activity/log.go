// Package activity is the phone's log: what was asked of it and what became of that, and
// what was changed on it, in chains that tell whether somebody took out or changed a
// line. It knows nothing of who decides.
package activity

import (
	"bytes"
	"encoding/json"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer/documents"
	"vmux/internal/wire"
)

// Sizes at which a log's document becomes the older one, in bytes: a computer that
// asks without end must not fill the phone. Each log has two documents at most.
const (
	maxDecisions = 4 << 20
	maxGranted   = 2 << 20
	maxRefused   = 2 << 20
)

// Log is the activity log. Safe for concurrent use.
type Log struct {
	store documents.Store
	now   func() time.Time

	mu    sync.Mutex
	books books
}

// New returns the log that rests in the store.
func New(store documents.Store, now func() time.Time) *Log {
	return &Log{store: store, now: now, books: newBooks(store)}
}

// books are the logs of a store.
type books struct{ decisions, granted, refused book }

func newBooks(store documents.Store) books {
	return books{
		decisions: book{store: store, name: "activity", log: logDecisions, limit: maxDecisions},
		granted:   book{store: store, name: "activity-granted", log: logGranted, limit: maxGranted},
		refused:   book{store: store, name: "activity-refused", log: logRefused, limit: maxRefused},
	}
}

func (b *books) all() []*book { return []*book{&b.decisions, &b.granted, &b.refused} }

// Write writes a record to the log, and to the disk, before it returns.
func (l *Log) Write(r Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Time = l.now().UTC()
	switch {
	case r.merges():
		return l.books.refused.merge(r)
	case r.Grant:
		return l.books.granted.append(r)
	}
	return l.books.decisions.append(r)
}

// Paired records that a computer was paired with this phone.
func (l *Log) Paired(computer device.Peer) error {
	return l.Write(pairingRecord(computer, decisionPaired))
}

// Unpaired records the end of a pairing; by whom, if not by this phone's person.
func (l *Log) Unpaired(computer device.Peer, by string) error {
	r := pairingRecord(computer, decisionUnpaired)
	r.What = wire.Clean(by)
	return l.Write(r)
}

func pairingRecord(computer device.Peer, decision string) Record {
	return Record{Kind: kindPairing, Decision: decision, DeviceID: computer.ID.String(), DeviceName: computer.Name}
}

// Records returns the records of all logs, oldest first. A line that a power cut
// left unfinished is left out.
func (l *Log) Records() ([]Record, error) {
	var all []Record
	for _, b := range l.readers().all() {
		records, err := b.records()
		if err != nil {
			return nil, err
		}
		all = inOrder(all, records)
	}
	return all, nil
}

// readers are the logs as they rest: reading takes no lock.
func (l *Log) readers() *books {
	b := newBooks(l.store)
	return &b
}

// inOrder merges two lists by time, and keeps the order in each: a clock that went
// back has turned nothing around.
func inOrder(a, b []Record) []Record {
	list := make([]Record, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if b[0].Time.Before(a[0].Time) {
			list, b = append(list, b[0]), b[1:]
		} else {
			list, a = append(list, a[0]), a[1:]
		}
	}
	return append(append(list, a...), b...)
}

// Export returns the logs as they rest, one after the other, each oldest
// first: one JSON record on each line. The chains can be verified in the copy as
// well.
func (l *Log) Export() ([]byte, error) {
	var export []byte
	for _, b := range l.readers().all() {
		h, err := b.head()
		if err != nil {
			h = nil // what is open is lost with it
		}
		lines, err := b.lines()
		if err != nil {
			return nil, err
		}
		for _, r := range h.stillOpen(lines) {
			r.Log = b.log
			line, err := json.Marshal(r)
			if err != nil {
				return nil, err
			}
			lines = append(lines, line)
		}
		if len(lines) > 0 {
			export = append(append(export, bytes.Join(lines, []byte{'\n'})...), '\n')
		}
	}
	return export, nil
}
