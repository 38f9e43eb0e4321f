package upstream

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"vmux/internal/sshagent"
	"vmux/internal/testkit"
)

// A status that is asked for again and again asks for one list, however long that takes, and
// does not wait for it: a prompt has 0.2 s, and the other agent may ask a person.
func TestStateDoesNotWait(t *testing.T) {
	speak, asked := make(chan struct{}), make(chan struct{}, 100)
	key := identity{Blob: testkit.NewKey(t).PublicKey().Marshal()}
	socket := answering(t, func(msg []byte) []byte {
		if msg[0] == msgRequestIdentities {
			asked <- struct{}{}
			<-speak
		}
		return listing(1, key)(msg)
	})
	a := newAgent(t, socket)
	changed := make(chan struct{}, 100)
	a.Changed = func() { changed <- struct{}{} }
	for range 3 {
		began := time.Now()
		if keys, err := a.State(); keys != 0 || err != ErrNotYet {
			t.Fatalf("%d keys, %v", keys, err)
		}
		if took := time.Since(began); took >= listWait {
			t.Errorf("a status took %v", took)
		}
	}
	<-asked
	close(speak)
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatal("nobody is told of the list")
	}
	for range 3 {
		if keys, err := a.State(); keys != 1 || err != nil {
			t.Errorf("%d keys, %v", keys, err)
		}
	}
	if len(asked) != 0 {
		t.Errorf("%d more lists were asked for", len(asked))
	}
	a.outdated()
	_, _ = a.State()
	select {
	case <-asked:
	case <-time.After(patience):
		t.Error("what is old is not asked for anew")
	}
}

// An agent that hangs up, now before the request and now after it, is one problem: each
// change wakes those who watch the status, which asks again.
func TestProblemInOtherWordsIsNoChange(t *testing.T) {
	var before atomic.Bool
	socket, _ := serve(t, func(c net.Conn) {
		if !before.Load() {
			_, _ = receive(c)
		}
		c.Close()
	})
	a := newAgent(t, socket)
	changes := 0
	a.Changed = func() { changes++ }
	for n := range 10 {
		before.Store(n%2 == 0)
		if _, err := a.List(t.Context(), sshagent.Connection{}); err == nil {
			t.Fatal("it lists")
		}
	}
	a.note(sshagent.Connection{}, nil, fmt.Errorf("in other words: %w", net.ErrClosed))
	if changes != 1 {
		t.Errorf("%d changes, want 1", changes)
	}
	a.note(sshagent.Connection{}, nil, ErrSilent)
	if changes != 2 {
		t.Error("that it is silent is no change")
	}
}
