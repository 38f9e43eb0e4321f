package signer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

const (
	activityDocument     = "activity.jsonl"
	activityOldDocument  = "activity-1.jsonl"
	activityHeadDocument = "activity-head.json"
	// maxActivity is when the log is moved to its old document: a computer that
	// asks without end must not fill the phone.
	maxActivity = 4 << 20
)

// activityHead says where the log begins and ends, beside the log itself: who
// cuts off its end, or its beginning, has to change this too. It is written
// after each record, so that a crash leaves it at most one record behind.
type activityHead struct {
	Version int    `json:"version"`
	First   uint64 `json:"first"` // Seq of the oldest record that is kept
	Last    uint64 `json:"last"`
	Hash    string `json:"hash"` // of the last line
}

// chain is the end of the log as this process knows it. Guarded by the
// signer's lock.
type chain struct {
	known bool
	size  int // of activityDocument, in bytes
	torn  bool
	head  activityHead
}

// record writes a record to the log, and to the disk, before it returns.
func (s *Signer) record(r Record) error {
	r.Time = s.cfg.Now().UTC()
	return s.locked(func() error {
		if err := s.findEnd(); err != nil {
			return err
		}
		r.Seq, r.Prev = s.chain.head.Last+1, s.chain.head.Hash
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode record: %w", err)
		}
		if err := s.appendActivity(append(line, '\n')); err != nil {
			s.chain.known = false // some of it may be there
			return err
		}
		s.chain.head.Last, s.chain.head.Hash = r.Seq, hashLine(line)
		return putJSON(s.cfg.Store, activityHeadDocument, s.chain.head)
	})
}

func hashLine(line []byte) string {
	sum := sha256.Sum256(bytes.TrimSuffix(line, []byte{'\n'}))
	return hex.EncodeToString(sum[:])
}

// findEnd reads the end of the log, unless it is known and nobody else has
// written since.
func (s *Signer) findEnd() error {
	sizer, ok := s.cfg.Store.(interface{ Size(string) (int, error) })
	if ok && s.chain.known {
		if n, err := sizer.Size(activityDocument); err == nil && n == s.chain.size {
			return nil
		}
	}
	lines, err := s.activityLines()
	if err != nil {
		return err
	}
	newest, err := s.cfg.Store.Get(activityDocument)
	if err != nil {
		return err
	}
	s.chain = chain{known: true, size: len(newest), torn: len(newest) > 0 && newest[len(newest)-1] != '\n'}
	s.chain.head = activityHead{Version: 1, First: 1}
	kept, err := s.activityHead()
	if err == nil && kept != nil { // a head that cannot be read is VerifyActivity's to tell
		s.chain.head = *kept
	}
	for _, line := range lines {
		var r Record
		if json.Unmarshal(line, &r) == nil && r.Seq >= s.chain.head.Last {
			s.chain.head.Last, s.chain.head.Hash = r.Seq, hashLine(line)
		}
	}
	return nil
}

// activityHead returns nil and no error where there is none.
func (s *Signer) activityHead() (*activityHead, error) {
	b, err := s.cfg.Store.Get(activityHeadDocument)
	if err != nil || b == nil {
		return nil, err
	}
	var h activityHead
	if json.Unmarshal(b, &h) != nil || h.Version != 1 {
		return nil, fmt.Errorf("%s is damaged", activityHeadDocument)
	}
	return &h, nil
}

// appendActivity adds a line. A store that can append spares writing the whole
// log again.
func (s *Signer) appendActivity(line []byte) error {
	store := s.cfg.Store
	if s.chain.torn { // cut off by a crash: what follows stays readable
		line = append([]byte{'\n'}, line...)
	}
	if s.chain.size > 0 && s.chain.size+len(line) > maxActivity {
		if err := s.turnOver(); err != nil {
			return err
		}
	}
	if appender, ok := store.(interface{ Append(string, []byte) error }); ok {
		if err := appender.Append(activityDocument, line); err != nil {
			return err
		}
	} else {
		old, err := store.Get(activityDocument)
		if err != nil {
			return err
		}
		if err := store.Put(activityDocument, append(old, line...)); err != nil {
			return err
		}
	}
	s.chain.size, s.chain.torn = s.chain.size+len(line), false
	return nil
}

// turnOver keeps the full log as the old one, and the old one no longer.
func (s *Signer) turnOver() error {
	b, err := s.cfg.Store.Get(activityDocument)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(b) {
		var r Record
		if json.Unmarshal(line, &r) == nil {
			s.chain.head.First = r.Seq
			break
		}
	}
	if err := putJSON(s.cfg.Store, activityHeadDocument, s.chain.head); err != nil {
		return err
	}
	if err := s.cfg.Store.Put(activityOldDocument, b); err != nil {
		return err
	}
	s.chain.size = 0
	return s.cfg.Store.Put(activityDocument, nil)
}

// activityLines returns the lines of the log, oldest first, without line ends.
func (s *Signer) activityLines() ([][]byte, error) {
	old, err := s.cfg.Store.Get(activityOldDocument)
	if err != nil {
		return nil, fmt.Errorf("load activity: %w", err)
	}
	newest, err := s.cfg.Store.Get(activityDocument)
	if err != nil {
		return nil, fmt.Errorf("load activity: %w", err)
	}
	if bytes.HasPrefix(newest, old) { // a crash came between two steps of turnOver
		old = nil
	}
	var lines [][]byte
	for _, b := range [][]byte{old, newest} {
		for line := range bytes.Lines(b) {
			if line = bytes.TrimSuffix(line, []byte{'\n'}); len(line) > 0 {
				lines = append(lines, line)
			}
		}
	}
	return lines, nil
}

// Activity returns the records, oldest first. A line that a power cut left
// unfinished is left out.
func (s *Signer) Activity() ([]Record, error) {
	lines, err := s.activityLines()
	if err != nil {
		return nil, err
	}
	var list []Record
	for _, line := range lines {
		var r Record
		if json.Unmarshal(line, &r) == nil {
			list = append(list, r)
		}
	}
	return list, nil
}

// ExportActivity returns the log as it rests, oldest first: one JSON record on
// each line. The chain can be verified in the copy as well.
func (s *Signer) ExportActivity() ([]byte, error) {
	lines, err := s.activityLines()
	if err != nil || len(lines) == 0 {
		return nil, err
	}
	return append(bytes.Join(lines, []byte{'\n'}), '\n'), nil
}

// ActivityReport is what VerifyActivity has found.
type ActivityReport struct {
	Records int    `json:"records"`
	First   uint64 `json:"first"` // Seq of the oldest record
	Last    uint64 `json:"last"`
	Hash    string `json:"hash"` // of the last line: whoever wrote it down can compare later
	// Unfinished counts lines that a crash left incomplete. They are no records.
	Unfinished int `json:"unfinished,omitempty"`
	// Problems say what was changed or is missing; none if the log is whole.
	Problems []string `json:"problems"`
}

// VerifyActivity follows the chain through the log: each record holds the hash
// of the line before. It finds lines that were changed, removed, inserted or
// reordered, and a log that was cut off. It cannot find a log that was written
// anew as a whole, together with its head, by whoever can write the phone's
// store: for that, compare the last hash with one noted elsewhere.
func (s *Signer) VerifyActivity() (ActivityReport, error) {
	report := ActivityReport{Problems: []string{}}
	err := s.locked(func() error {
		lines, err := s.activityLines()
		if err != nil {
			return err
		}
		report.follow(lines)
		head, err := s.activityHead()
		switch {
		case err != nil:
			report.problem("the log's end is not known: %v", err)
		case head == nil && report.Records > 0:
			report.problem("the note of the log's end is missing")
		case head != nil:
			report.compare(*head, lines)
		}
		return nil
	})
	return report, err
}

func (r *ActivityReport) problem(format string, args ...any) {
	const limit = 100
	if len(r.Problems) < limit {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

func (r *ActivityReport) follow(lines [][]byte) {
	for n, line := range lines {
		var rec Record
		if json.Unmarshal(line, &rec) != nil {
			r.Unfinished++
			continue
		}
		switch {
		case r.Records == 0:
			r.First = rec.Seq
			if rec.Seq == 1 && rec.Prev != "" {
				r.problem("line %d: the first record claims one before it", n+1)
			}
		case rec.Seq != r.Last+1:
			r.problem("line %d: record %d follows record %d", n+1, rec.Seq, r.Last)
		case rec.Prev != r.Hash:
			r.problem("line %d: record %d or the one before it was changed", n+1, rec.Seq)
		}
		r.Records, r.Last, r.Hash = r.Records+1, rec.Seq, hashLine(line)
	}
}

// compare holds the log against its head, which may be one record behind.
func (r *ActivityReport) compare(head activityHead, lines [][]byte) {
	switch {
	case r.Records == 0 && head.Last > 0:
		r.problem("all %d records are missing", head.Last)
		return
	case r.Last < head.Last:
		r.problem("the last %d records are missing", head.Last-r.Last)
		return
	case r.Last > head.Last+1:
		r.problem("%d records were added behind the log's end", r.Last-head.Last)
		return
	case r.First > head.First:
		r.problem("the first %d records are missing", r.First-head.First)
	}
	for _, line := range lines {
		var rec Record
		if json.Unmarshal(line, &rec) == nil && rec.Seq == head.Last && hashLine(line) != head.Hash {
			r.problem("record %d is not the one that was written", rec.Seq)
		}
	}
}
