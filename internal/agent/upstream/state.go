package upstream

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"time"

	"vmux/internal/sshagent"
)

const (
	// freshFor is how long what is known counts as it is. Prompts and trays ask for the
	// status all the time, and a list may be a question to a person.
	freshFor = 2 * time.Second
	// stateWait bounds how long a status waits for a list. `vmux status --short` gives up
	// after 200 ms.
	stateWait = 50 * time.Millisecond
)

// State returns how many keys the upstream agent has listed last, and why it has not. What is
// old is asked for anew without being waited for long: Changed tells of what comes later.
func (a *Agent) State() (keys int, err error) {
	if refreshed := a.refresh(); refreshed != nil {
		select {
		case <-refreshed:
		case <-time.After(stateWait):
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.problem != nil {
		return 0, a.problem
	}
	return a.keys, nil
}

// refresh returns what is closed when the list that is asked for has ended; nil if none is.
func (a *Agent) refresh() chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refreshing != nil || time.Since(a.known) < freshFor {
		return a.refreshing
	}
	done := make(chan struct{})
	if a.Go(func(ctx context.Context) {
		_, _ = a.List(ctx, sshagent.Connection{}) // which notes it
		a.mu.Lock()
		a.refreshing = nil
		a.mu.Unlock()
		close(done)
	}) {
		a.refreshing = done
	}
	return a.refreshing
}

// outdated has the next status ask.
func (a *Agent) outdated() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known = time.Time{}
}

// note keeps what a list has told. How many keys there are, only one without bindings tells:
// keys may be for certain servers.
func (a *Agent) note(c sshagent.Connection, list []sshagent.Identity, err error) {
	a.mu.Lock()
	changed := kindOf(a.problem) != kindOf(err)
	a.problem = err
	if len(c.Bindings) == 0 {
		a.known = time.Now()
		if err == nil {
			changed = changed || a.keys != len(list)
			a.keys = len(list)
		}
	}
	a.mu.Unlock()
	if changed {
		a.Changed()
	}
}

var errOther = errors.New("another error")

// kindOf is what a problem is, in whatever words: an agent that hangs up is a broken pipe one
// time and the end of a file the next, which is no change.
func kindOf(err error) error {
	if err == nil {
		return nil
	}
	for _, kind := range []error{fs.ErrNotExist, syscall.ECONNREFUSED, ErrNotYet, ErrSilent, ErrLoop, ErrRefused, ErrGarbage} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return errOther
}
