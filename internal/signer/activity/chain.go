package activity

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"vmux/internal/signer/documents"
)

// Names of the three logs, as their records have them. Each has a quota and a chain
// of its own, so that what a computer can have written without a person never pushes
// out what a person has decided.
const (
	logDecisions = ""        // what a person decided, and what became of keys, policies and pairings
	logGranted   = "granted" // signatures by a grant: their computer chooses how many
	logRefused   = "refused" // what ended without an approval or a denial, merged
)

// book is one of the logs: lines in a document, one record each, and when that is
// full in a second, older one. Its end is noted in a third.
type book struct {
	store documents.Store
	name  string
	log   string // as the records have it
	limit int    // when the newer document becomes the older one, in bytes

	end end // guarded by Log.mu
}

// end is the end of a book.
type end struct {
	known bool
	size  int // of the newer document, in bytes
	torn  bool
	head  head
}

// head says where a book begins and ends, beside the book itself: who cuts off its
// end, or its beginning, has to change this too. It is written after each line, so
// that a crash leaves it at most one writing behind.
type head struct {
	Version int    `json:"version"`
	First   uint64 `json:"first"` // Seq of the oldest record that is kept
	Last    uint64 `json:"last"`
	Hash    string `json:"hash"` // of the last line
	// Open are the merged records of the minute that the last refusal lies in: they
	// become lines with the first refusal of another minute.
	Open []Record `json:"open,omitempty"`
}

func (b *book) newer() string    { return b.name + ".jsonl" }
func (b *book) older() string    { return b.name + "-1.jsonl" }
func (b *book) headName() string { return b.name + "-head.json" }

// append writes a record, and to the disk, before it returns.
func (b *book) append(r Record) error {
	if err := b.open(); err != nil {
		return err
	}
	if err := b.makeRoom(r.Time, nil); err != nil {
		return err
	}
	return b.appendLines(nil, r)
}

// merge adds a refusal to the one of its kind in the same minute. The first of
// another minute makes lines of what was open.
func (b *book) merge(r Record) error {
	if err := b.open(); err != nil {
		return err
	}
	h, err := b.head()
	if err != nil {
		h = nil // that is verify's to tell
	}
	var lines [][]byte
	if h != nil && h.Last != b.end.head.Last {
		if lines, err = b.lines(); err != nil {
			return err
		}
	}
	open := h.stillOpen(lines)
	if len(open) > 0 && !sameMinute(open[0].Time, r.Time) {
		if err := b.makeRoom(r.Time, open); err != nil {
			return err
		}
		return b.appendLines([]Record{r}, open...)
	}
	now := b.end.head
	now.Open = mergeInto(open, r)
	return documents.Save(b.store, b.headName(), now)
}

// appendLines writes lines and then the head, with what is open after them.
func (b *book) appendLines(open []Record, records ...Record) error {
	h := b.end.head
	h.Open = open
	var lines []byte
	if b.end.torn { // cut off by a crash: what follows stays readable
		lines = append(lines, '\n')
	}
	for _, r := range records {
		r.Log, r.Seq, r.Prev = b.log, h.Last+1, h.Hash
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode record: %w", err)
		}
		h.Last, h.Hash = r.Seq, hashLine(line)
		lines = append(append(lines, line...), '\n')
	}
	b.end.known = false // until all of it is there
	if err := b.appendBytes(lines); err != nil {
		return err
	}
	if err := documents.Save(b.store, b.headName(), h); err != nil {
		return err
	}
	b.end = end{known: true, size: b.end.size + len(lines), head: h}
	return nil
}

// appendBytes adds to the newer document. A store that can append spares writing
// all of it again.
func (b *book) appendBytes(lines []byte) error {
	if appender, ok := b.store.(interface{ Append(string, []byte) error }); ok {
		return appender.Append(b.newer(), lines)
	}
	old, err := b.store.Get(b.newer())
	if err != nil {
		return err
	}
	return b.store.Put(b.newer(), append(old, lines...))
}

func hashLine(line []byte) string {
	sum := sha256.Sum256(bytes.TrimSuffix(line, []byte{'\n'}))
	return hex.EncodeToString(sum[:])
}

// open reads the end of the book, once: nobody else writes it. It does so again after
// a writing that failed, of which any part may be there.
func (b *book) open() error {
	if b.end.known {
		return nil
	}
	lines, err := b.lines()
	if err != nil {
		return err
	}
	newest, err := b.store.Get(b.newer())
	if err != nil {
		return err
	}
	found := end{known: true, size: len(newest), torn: len(newest) > 0 && newest[len(newest)-1] != '\n'}
	found.head = head{Version: 1, First: 1}
	kept, err := b.head()
	if err == nil && kept != nil { // a head that cannot be read is verify's to tell
		found.head = *kept
	}
	found.head.Open = nil
	for _, line := range lines {
		var r Record
		if json.Unmarshal(line, &r) == nil && r.Seq >= found.head.Last {
			found.head.Last, found.head.Hash = r.Seq, hashLine(line)
		}
	}
	b.end = found
	return nil
}

// head returns nil and no error where there is none.
func (b *book) head() (*head, error) {
	doc, err := b.store.Get(b.headName())
	if err != nil || doc == nil {
		return nil, err
	}
	var h head
	if json.Unmarshal(doc, &h) != nil || h.Version != 1 {
		return nil, fmt.Errorf("%s is damaged", b.headName())
	}
	return &h, nil
}

// stillOpen are the merged records that are no lines yet. Where the lines are ahead
// of the head, a crash came when they had just become lines, in their order.
func (h *head) stillOpen(lines [][]byte) []Record {
	if h == nil || len(h.Open) == 0 {
		return nil
	}
	ahead := 0
	for _, line := range lines {
		var r Record
		if json.Unmarshal(line, &r) == nil && r.Seq > h.Last && r.Kind != kindLog {
			ahead++
		}
	}
	return h.Open[min(ahead, len(h.Open)):]
}

// makeRoom keeps a full document as the older one, and the older one no longer.
// What is dropped by that is said before, in a record of the chain.
func (b *book) makeRoom(now time.Time, open []Record) error {
	if b.end.size < b.limit {
		return nil
	}
	lines, err := b.lines()
	if err != nil {
		return err
	}
	newest, err := b.store.Get(b.newer())
	if err != nil {
		return err
	}
	d := lastDrop(lines)
	told := Record{Time: now, Kind: kindLog, Decision: decisionDropped, Dropped: &d}
	if first := firstOf(newest); first > 0 {
		b.end.head.First = first
		if d.add(lines, first-1) {
			if err := b.appendLines(open, told); err != nil {
				return err
			}
			if newest, err = b.store.Get(b.newer()); err != nil {
				return err
			}
		}
	}
	b.end.known = false
	if err := b.store.Put(b.older(), newest); err != nil {
		return err
	}
	if err := b.store.Put(b.newer(), nil); err != nil {
		return err
	}
	b.end.known, b.end.size, b.end.torn = true, 0, false
	if d.Records == 0 {
		return nil
	}
	return b.appendLines(open, told) // once more: whoever takes the older document away takes the first
}

// firstOf is the number of a document's first record, 0 if there is none.
func firstOf(doc []byte) uint64 {
	for line := range bytes.Lines(doc) {
		var r Record
		if json.Unmarshal(line, &r) == nil {
			return r.Seq
		}
	}
	return 0
}

// lines returns the lines of the book, oldest first, without line ends.
func (b *book) lines() ([][]byte, error) {
	old, err := b.store.Get(b.older())
	if err != nil {
		return nil, fmt.Errorf("load activity: %w", err)
	}
	newest, err := b.store.Get(b.newer())
	if err != nil {
		return nil, fmt.Errorf("load activity: %w", err)
	}
	if bytes.HasPrefix(newest, old) { // a crash came between two steps of makeRoom
		old = nil
	}
	var lines [][]byte
	for _, doc := range [][]byte{old, newest} {
		for line := range bytes.Lines(doc) {
			if line = bytes.TrimSuffix(line, []byte{'\n'}); len(line) > 0 {
				lines = append(lines, line)
			}
		}
	}
	return lines, nil
}

// records returns what the book holds, oldest first, with what is open. A line that
// a power cut left unfinished is left out, and so is what the book says of itself.
func (b *book) records() ([]Record, error) {
	h, err := b.head() // before the lines: what is open becomes one, never the reverse
	if err != nil {
		h = nil
	}
	lines, err := b.lines()
	if err != nil {
		return nil, err
	}
	var list []Record
	for _, line := range lines {
		var r Record
		if json.Unmarshal(line, &r) == nil && r.Kind != kindLog {
			list = append(list, r)
		}
	}
	return append(list, h.stillOpen(lines)...), nil
}

// maxDroppedKinds bounds Dropped.Kinds, whatever a damaged log says.
const maxDroppedKinds = 64

// Dropped says what a log no longer holds because newer records needed its place.
// It stands in the chain, so that what is missing beyond it was taken out.
type Dropped struct {
	Records uint64    `json:"records"` // all of them since the log's beginning
	Until   time.Time `json:"until,omitzero"`
	// Kinds counts requests and changes by kind and decision: "sign approved". A
	// merged record counts as often as it says.
	Kinds map[string]int `json:"kinds,omitempty"`
}

// lastDrop is what is dropped by the book's own word.
func lastDrop(lines [][]byte) Dropped {
	for _, line := range slices.Backward(lines) {
		var r Record
		if json.Unmarshal(line, &r) == nil && r.Kind == kindLog && r.Dropped != nil {
			return *r.Dropped
		}
	}
	return Dropped{}
}

// add counts the lines up to a number that are not counted yet. It reports whether
// there was anything to drop.
func (d *Dropped) add(lines [][]byte, upTo uint64) bool {
	if upTo <= d.Records {
		return false
	}
	kinds := map[string]int{}
	for kind, n := range d.Kinds {
		kinds[kind] = n
	}
	for _, line := range lines {
		var r Record
		if json.Unmarshal(line, &r) != nil || r.Seq <= d.Records || r.Seq > upTo {
			continue
		}
		if r.Last().After(d.Until) {
			d.Until = r.Last()
		}
		kind := r.Kind + " " + r.Decision
		if _, known := kinds[kind]; r.Kind != kindLog && (known || len(kinds) < maxDroppedKinds) {
			kinds[kind] += r.Times()
		}
	}
	d.Records, d.Kinds = upTo, kinds
	return true
}
