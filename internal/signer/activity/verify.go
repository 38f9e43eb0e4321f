package activity

import (
	"encoding/json"
	"fmt"
)

// Verification is what Verify has found.
type Verification struct {
	// Records are those of all logs. First, Last and Hash are of the log of decisions;
	// Logs has all three.
	Records int    `json:"records"`
	First   uint64 `json:"first"` // Seq of the oldest record
	Last    uint64 `json:"last"`
	Hash    string `json:"hash"` // of the last line: whoever wrote it down can compare later
	// Unfinished counts lines that a crash left incomplete. They are no records.
	Unfinished int `json:"unfinished,omitempty"`
	// Problems say what was changed or is missing; none if the log is whole.
	Problems []string `json:"problems"`
	Logs     []Chain  `json:"logs"`
}

// Chain is what was found in the chain of one of the logs.
type Chain struct {
	Log     string `json:"log"` // "" (decisions and changes), "granted" or "refused"
	Records int    `json:"records"`
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Hash    string `json:"hash"`
	// Open are merged records of the last minute, which are no part of the chain yet.
	Open int `json:"open,omitempty"`
	// Dropped says what gave way to newer records; nil: nothing.
	Dropped *Dropped `json:"dropped,omitempty"`

	unfinished int
	problems   []string
}

// Verify follows the chain through each log: each record holds the hash
// of the line before. It finds lines that were changed, removed, inserted or
// reordered, and a log that was cut off. Records that gave way to newer ones are
// counted in the chain before they go: what else is missing at the beginning was
// taken out. It cannot find a log that was written anew as a whole, together with its
// head, by whoever can write the phone's store: for that, compare the last hash with
// one noted elsewhere.
func (l *Log) Verify() (Verification, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := Verification{Problems: []string{}, Logs: []Chain{}}
	for _, b := range l.readers().all() {
		c, err := b.verify()
		if err != nil {
			return found, err
		}
		found.add(c)
	}
	return found, nil
}

func (v *Verification) add(r Chain) {
	v.Records += r.Records
	v.Unfinished += r.unfinished
	v.Logs = append(v.Logs, r)
	for _, p := range r.problems {
		if r.Log != logDecisions {
			p = r.Log + " requests: " + p
		}
		v.Problems = append(v.Problems, p)
	}
	if r.Log == logDecisions {
		v.First, v.Last, v.Hash = r.First, r.Last, r.Hash
	}
}

func (b *book) verify() (Chain, error) {
	r := Chain{Log: b.log}
	lines, err := b.lines()
	if err != nil {
		return r, err
	}
	r.follow(lines)
	h, err := b.head()
	switch {
	case err != nil:
		r.problem("the log's end is not known: %v", err)
	case h == nil && r.Records > 0:
		r.problem("the note of the log's end is missing")
	case h != nil:
		r.compare(*h, lines)
	}
	r.Open = len(h.stillOpen(lines))
	r.Records += r.Open
	return r, nil
}

func (r *Chain) problem(format string, args ...any) {
	const limit = 100
	if len(r.problems) < limit {
		r.problems = append(r.problems, fmt.Sprintf(format, args...))
	}
}

func (r *Chain) follow(lines [][]byte) {
	var told Dropped
	for n, line := range lines {
		var rec Record
		if json.Unmarshal(line, &rec) != nil {
			r.unfinished++
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
		if rec.Kind == kindLog && rec.Dropped != nil {
			told = *rec.Dropped
		}
	}
	r.dropped(told)
}

// dropped holds what is missing at the beginning against what the chain tells of it.
// Less may be missing: a crash came before it was dropped.
func (r *Chain) dropped(told Dropped) {
	switch {
	case r.First <= 1:
	case r.First-1 > told.Records:
		r.problem("the first %d records that are not dropped are missing", r.First-1-told.Records)
	default:
		r.Dropped = &told
	}
}

// compare holds the log against its head, which may be one writing behind.
func (r *Chain) compare(h head, lines [][]byte) {
	behind := uint64(max(1, len(h.Open)))
	switch {
	case r.Records == 0 && h.Last > 0:
		r.problem("all %d records are missing", h.Last)
		return
	case r.Last < h.Last:
		r.problem("the last %d records are missing", h.Last-r.Last)
		return
	case r.Last > h.Last+behind:
		r.problem("%d records were added behind the log's end", r.Last-h.Last)
		return
	case r.First > h.First && r.Records > 0:
		r.problem("the first %d records are missing", r.First-h.First)
	}
	for _, line := range lines {
		var rec Record
		if json.Unmarshal(line, &rec) == nil && rec.Seq == h.Last && hashLine(line) != h.Hash {
			r.problem("record %d is not the one that was written", rec.Seq)
		}
	}
}
