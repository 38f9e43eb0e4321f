package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	probeFile  = "probe"
	probeBytes = 64 << 10
	// lookEvery is how often it is looked whether the store has ended, probeEvery
	// bounds how often whoever asks for the hub's health makes it write.
	lookEvery  = time.Second
	probeEvery = 2 * time.Second
	// tryTime bounds one try to store something, which NATS may not answer;
	// reopenTime how long after its start it may fail.
	tryTime    = 3 * time.Second
	reopenTime = 15 * time.Second
)

// ErrClosed is wrapped by the reason why nothing can be stored.
var ErrClosed = errors.New("the hub cannot store anything at the moment")

// disk looks after the store of a hub that has a NATS of its own. That one ends
// its store for good when a write fails, most often since the disk is full; here
// it is started anew once a write is possible. Meanwhile the hub relays, and
// refuses at once what needs the store.
type disk struct {
	server *Server
	try    func(ctx context.Context) error // stores something

	suspect chan struct{} // of capacity 1: a write has failed

	mu     sync.Mutex
	why    error           // nothing can be stored; nil: it can
	open   context.Context // ends when nothing can be stored any more
	end    context.CancelFunc
	probed time.Time
	looks  bool  // somebody probes
	found  error // by the last probe
}

// newDisk looks after a store that is open.
func newDisk(server *Server, try func(context.Context) error) *disk {
	d := &disk{server: server, try: try, suspect: make(chan struct{}, 1)}
	d.open, d.end = context.WithCancel(context.Background())
	return d
}

// failed notes that the store has failed, maybe by a request's own fault.
func (d *disk) failed() {
	select {
	case d.suspect <- struct{}{}:
	default:
	}
}

// within bounds what is done with the store by its end: NATS leaves a write that
// fails without an answer.
func (d *disk) within(ctx context.Context) (context.Context, context.CancelFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(d.open, cancel)
	return ctx, func() { stop(); cancel() }
}

// closed says why nothing can be stored, or nil.
func (d *disk) closed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.why
}

// health is closed, and finds a full disk before the store does. One of those who ask
// waits for a disk that does not answer, and nobody else: anybody may ask.
func (d *disk) health() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.why != nil {
		return d.why
	}
	found, due := d.found, time.Since(d.probed).Abs() >= probeEvery
	switch {
	case due && d.looks:
		found = errors.New("the disk does not answer")
	case due:
		d.probed, d.looks = time.Now(), true
		d.mu.Unlock()
		found = d.probe()
		d.mu.Lock()
		d.found, d.looks = found, false
	}
	if found != nil {
		return fmt.Errorf("%w: %w", ErrClosed, found)
	}
	return nil
}

// probe writes more than the store does at once, and says why that fails.
func (d *disk) probe() error {
	path := filepath.Join(d.server.dir, probeFile)
	defer os.Remove(path)
	err := os.WriteFile(path, make([]byte, probeBytes), 0o600)
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err // without the path, which is nobody's business at /healthz
	}
	return err
}

// look closes a store that has ended and starts it anew when that is possible. It
// reports whether it did. One goroutine calls it.
func (d *disk) look(ctx context.Context, suspect bool) bool {
	if d.closed() == nil {
		err := d.ended(ctx, suspect)
		if err == nil || ctx.Err() != nil {
			return false
		}
		d.server.log.Error("nothing can be stored until the disk takes it; devices are connected meanwhile", "reason", err)
		d.note(fmt.Errorf("%w: %w", ErrClosed, err))
	}
	if d.probe() != nil {
		return false
	}
	err := d.server.restart()
	for began := time.Now(); err == nil; { // the connection to NATS takes a moment to come back
		if err = d.tryFor(ctx); err == nil || time.Since(began) > reopenTime || !wait(ctx, tryTime/30) {
			break
		}
		err = nil
	}
	if err != nil {
		d.server.log.Warn("the store cannot be opened again yet", "reason", err)
		return false
	}
	d.note(nil)
	d.server.log.Info("the store is open again")
	return true
}

func (d *disk) note(why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.why, d.found = why, nil
	if d.end(); why == nil {
		d.open, d.end = context.WithCancel(context.Background())
	}
}

// wait waits, and reports false if ctx has ended meanwhile.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// ended says why nothing can be stored any more. Not every failure ends NATS's
// store in a way that it tells of: a suspect one is tried.
func (d *disk) ended(ctx context.Context, suspect bool) error {
	if d.server.storing() && !suspect {
		return nil
	}
	if err := d.probe(); err != nil {
		return err // it says more than NATS does
	}
	if !d.server.storing() {
		return errors.New("NATS has ended its store; the log says more")
	}
	return d.tryFor(ctx)
}

func (d *disk) tryFor(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	return d.try(ctx)
}

// watch looks after the disk until ctx ends.
func (d *disk) watch(ctx context.Context, again func()) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		suspect := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-d.suspect:
			suspect = true
		}
		if d.look(ctx, suspect) {
			again()
		}
	}
}
