// Package remember keeps secrets in memory for a time that a person chose, and forgets them
// when it is over, when it is told to, and when the machine has slept. It does not know
// what they open.
package remember

import (
	"bytes"
	"sync"
	"time"
)

const (
	// look is how often the clocks are looked at while something is kept: a timer for its
	// end stands still while the machine sleeps.
	look = 10 * time.Second
	// jitter is by how much the clocks of slept may disagree that were read one after the
	// other, on a busy machine.
	jitter = 2 * time.Second
)

// Memory keeps secrets by their names. A nil Memory keeps none. Safe for concurrent use.
type Memory struct {
	lasts time.Duration
	now   func() time.Time
	slept func() time.Duration

	mu    sync.Mutex
	kept  map[string]kept
	timer *time.Timer // of the next look; nil while nothing is kept
}

type kept struct {
	secret       []byte
	since, until time.Time     // of the wall clock
	slept        time.Duration // how long the machine had slept by then
}

// New makes a memory that keeps each secret for so long.
func New(lasts time.Duration) *Memory {
	return &Memory{lasts: lasts, now: time.Now, slept: slept, kept: map[string]kept{}}
}

// Keep keeps a copy of a secret that a person has just typed.
func (m *Memory) Keep(name string, secret []byte) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(name)
	now := m.now().Round(0)
	m.kept[name] = kept{bytes.Clone(secret), now, now.Add(m.lasts), m.slept()}
	m.wait()
}

// Secret returns a copy of the secret, to be wiped, and until when it is kept; nil if it
// is not.
func (m *Memory) Secret(name string) ([]byte, time.Time) {
	if m == nil {
		return nil, time.Time{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endOver()
	k := m.kept[name]
	return bytes.Clone(k.secret), k.until
}

// Until returns until when the secret is kept; zero if it is not.
func (m *Memory) Until(name string) time.Time {
	secret, until := m.Secret(name)
	clear(secret)
	return until
}

// Last returns until when something is kept; zero if nothing is.
func (m *Memory) Last() (last time.Time) {
	if m == nil {
		return last
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endOver()
	for _, k := range m.kept {
		if k.until.After(last) {
			last = k.until
		}
	}
	return last
}

// Forget wipes a secret.
func (m *Memory) Forget(name string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(name)
}

// Clear wipes all secrets, and returns how many there were.
func (m *Memory) Clear() int {
	if m == nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endOver()
	n := len(m.kept)
	for name := range m.kept {
		m.forget(name)
	}
	return n
}

// forget wipes a secret, for who holds the lock.
func (m *Memory) forget(name string) {
	clear(m.kept[name].secret)
	delete(m.kept, name)
	if len(m.kept) == 0 && m.timer != nil {
		m.timer.Stop()
		m.timer = nil
	}
}

// endOver wipes what is over. Each use does that, so that nothing is given out after a
// sleep that nobody has told of.
func (m *Memory) endOver() {
	now, slept := m.now(), m.slept()
	for name, k := range m.kept {
		if !now.Before(k.until) || now.Before(k.since.Add(-time.Minute)) || slept-k.slept > jitter {
			m.forget(name)
		}
	}
}

// wait has the clocks looked at again while something is kept, for a phone that nobody
// asks anything.
func (m *Memory) wait() {
	if m.timer != nil {
		m.timer.Stop()
	}
	next := look
	for _, k := range m.kept {
		next = min(next, k.until.Sub(m.now())+time.Millisecond)
	}
	m.timer = time.AfterFunc(next, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.endOver(); len(m.kept) > 0 {
			m.wait()
		}
	})
}
