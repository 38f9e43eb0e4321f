package hubtest

import (
	"io"
	"slices"
	"sync"
)

// Pipe is a WebSocket in memory.
type Pipe struct {
	in, out chan message
	done    chan struct{} // of both ends
	once    *sync.Once
}

type message struct {
	text bool
	b    []byte
}

func newPipe() (near, far *Pipe) {
	a, b, done, once := make(chan message, 64), make(chan message, 64), make(chan struct{}), new(sync.Once)
	return &Pipe{a, b, done, once}, &Pipe{b, a, done, once}
}

// Read returns the next message. What was written before the end is read.
func (p *Pipe) Read() (text bool, b []byte, err error) {
	select {
	case m := <-p.in:
		return m.text, m.b, nil
	default:
	}
	select {
	case m := <-p.in:
		return m.text, m.b, nil
	case <-p.done:
		return false, nil, io.EOF
	}
}

// Write sends a message, waiting while 64 wait to be read.
func (p *Pipe) Write(text bool, b []byte) error {
	select {
	case p.out <- message{text, slices.Clone(b)}:
		return nil
	case <-p.done:
		return io.ErrClosedPipe
	}
}

// Close ends the pipe in both directions.
func (p *Pipe) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}
