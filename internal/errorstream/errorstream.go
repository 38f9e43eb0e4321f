// Package errorstream is the standard error of a program that goes on running. Whoever
// tells something there does not wait for it to be taken: a terminal that was stopped by ^S,
// or a pipe that nobody reads, would hold up all that the program does.
package errorstream

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// queued is how many writes wait to be taken. What is beyond is lost, and counted.
	queued = 256
	// last is how long the end of the program waits for them.
	last = time.Second
)

// Stream writes to another writer, one after the other. Safe for concurrent use.
type Stream struct {
	to          io.Writer
	queue       chan []byte
	lost        atomic.Int64
	ending, end chan struct{}
}

// New makes a Stream that writes to to. That nobody reads there any more does not end this
// program from now on: it would by SIGPIPE, which systemd takes for an end that was meant
// (moby/moby issue 19728).
func New(to io.Writer) *Stream {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // not ignored: programs that it starts would inherit that
	s := &Stream{to: to, queue: make(chan []byte, queued), ending: make(chan struct{}), end: make(chan struct{})}
	go s.run()
	return s
}

// Write implements io.Writer. It never waits, and never fails.
func (s *Stream) Write(b []byte) (int, error) {
	select {
	case s.queue <- bytes.Clone(b):
	default:
		s.lost.Add(1)
	}
	return len(b), nil
}

// Close waits until all is written, for a second at most. What is written afterwards is lost.
func (s *Stream) Close() {
	close(s.ending)
	select {
	case <-s.end:
	case <-time.After(last):
	}
}

func (s *Stream) run() {
	defer close(s.end)
	for {
		select {
		case b := <-s.queue:
			s.put(b)
		case <-s.ending:
			for {
				select {
				case b := <-s.queue:
					s.put(b)
				default:
					return
				}
			}
		}
	}
}

func (s *Stream) put(b []byte) {
	if n := s.lost.Swap(0); n > 0 {
		_, _ = fmt.Fprintf(s.to, "%d lines are lost, since nothing took them\n", n)
	}
	_, _ = s.to.Write(b)
}
