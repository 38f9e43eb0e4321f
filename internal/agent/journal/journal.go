// Package journal keeps what an agent's status tells of: the requests that wait,
// what has happened of late, what has failed and not succeeded since, and what is
// wrong. It knows nothing of phones, and calls nobody while it is locked: it may be
// told of anything from anywhere.
package journal

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// Kinds of requests, failures and events.
const (
	KindSign        = "sign"
	KindCertificate = "certificate"
	KindKeys        = "keys"
	KindPairing     = "pairing"
	KindLink        = "link"
	KindAdd         = "add"
)

// WarningDisk is the warning that the agent's state cannot be written, whatever of it.
const WarningDisk = "disk"

const maxHistory = 50

// Journal is safe for concurrent use.
type Journal struct {
	log *slog.Logger

	mu       sync.Mutex
	waiting  map[string]control.Request // by their IDs
	failures map[string]control.Failure // by kind
	history  []control.Event            // newest last
	warnings map[string]string          // by what they are about
	changed  chan struct{}
}

// New returns an empty journal.
func New(log *slog.Logger) *Journal {
	return &Journal{
		log: log, changed: make(chan struct{}),
		waiting: map[string]control.Request{}, failures: map[string]control.Failure{}, warnings: map[string]string{},
	}
}

// Changed is closed at the next change of anything that a status shows.
func (j *Journal) Changed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.changed
}

// Change wakes those who watch the status: something that is kept elsewhere has
// changed.
func (j *Journal) Change() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.changeLocked()
}

func (j *Journal) changeLocked() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// Note adds an event to the history; code is "" where nothing has failed.
func (j *Journal) Note(kind, text string, code wire.Code) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.noteLocked(kind, text, code)
}

func (j *Journal) noteLocked(kind, text string, code wire.Code) {
	j.history = append(j.history, control.Event{At: time.Now(), Kind: kind, Text: text, Code: code})
	if len(j.history) > maxHistory {
		j.history = append(j.history[:0:0], j.history[len(j.history)-maxHistory:]...)
	}
	j.changeLocked()
}

// Succeed notes a success, which ends the failure of its kind; what a person had
// done ends all.
func (j *Journal) Succeed(kind, text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.failures, kind)
	if kind == KindSign || kind == KindCertificate {
		clear(j.failures)
	}
	j.noteLocked(kind, text, "")
}

// Fail keeps why something failed.
func (j *Journal) Fail(kind, about string, err error) {
	e := control.AsError(err)
	text := e.Sentence
	if about != "" {
		text = about + ": " + text
	}
	j.mu.Lock()
	j.failures[kind] = control.Failure{Code: e.Code, Sentence: e.Sentence, Hint: e.Hint, About: about, Kind: kind, At: time.Now()}
	j.noteLocked(kind, text, e.Code)
	j.mu.Unlock()
	j.log.Warn("failed", "kind", kind, "about", about, "code", e.Code, "reason", e.Sentence)
}

// ForgetFailures ends all failures, as a login does that succeeds without a person.
func (j *Journal) ForgetFailures() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.failures) > 0 {
		clear(j.failures)
		j.changeLocked()
	}
}

// Warn sets or, with an empty text, takes away the warning about something.
func (j *Journal) Warn(about, text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.warnings[about] == text {
		return
	}
	delete(j.warnings, about)
	if text != "" {
		j.warnings[about] = text
		j.log.Warn("warning", "text", text)
	}
	j.changeLocked()
}

// Wait lists a request as waiting until done is called.
func (j *Journal) Wait(r control.Request) (done func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.waiting[r.RequestID] = r
	j.changeLocked()
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.waiting, r.RequestID)
		j.changeLocked()
	}
}

// Waiting returns a request that waits, false if it does not any more.
func (j *Journal) Waiting(requestID string) (control.Request, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r, waits := j.waiting[requestID]
	return r, waits
}

// Update changes a request that waits; of another it does nothing. edit must not
// call the journal.
func (j *Journal) Update(requestID string, edit func(*control.Request)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r, waits := j.waiting[requestID]
	before := r
	if edit(&r); waits && r != before {
		j.waiting[requestID] = r
		j.changeLocked()
	}
}

// Fill puts into a status what the journal keeps: the longest waiting request, the
// newest event, and the warnings by what they are about, come first.
func (j *Journal) Fill(s *control.Status) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s.Waiting = []control.Request{}
	since := func(a, b string) int { return j.waiting[a].Since.Compare(j.waiting[b].Since) }
	for _, id := range slices.SortedFunc(maps.Keys(j.waiting), since) {
		s.Waiting = append(s.Waiting, j.waiting[id])
	}
	s.LastFailure = nil
	for _, f := range j.failures {
		if s.LastFailure == nil || f.At.After(s.LastFailure.At) {
			s.LastFailure = &f
		}
	}
	s.History = append([]control.Event{}, j.history...)
	slices.Reverse(s.History)
	s.Warnings = []string{}
	for _, about := range slices.Sorted(maps.Keys(j.warnings)) {
		s.Warnings = append(s.Warnings, j.warnings[about])
	}
}
