package sshdtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
)

// log collects what a process writes and lets tests wait for a text in it.
//
// The process writes into a pipe of the operating system's, not into an
// io.Writer of exec.Cmd's: the sessions of an sshd inherit it, and exec.Cmd
// would wait for the last of them.
type log struct {
	read *os.File
	done chan struct{} // closed when the last writer is gone

	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{} // closed and replaced when text grows
}

// newLog returns a log and the end of the pipe that the process is to write
// to. The caller closes that end once the process is started.
func newLog() (*log, *os.File, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	l := &log{read: read, done: make(chan struct{}), grown: make(chan struct{})}
	go l.collect()
	return l, write, nil
}

func (l *log) collect() {
	defer close(l.done)
	io.Copy(l, l.read) // ends when the last writer or close ends it
}

// Write implements io.Writer.
func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	close(l.grown)
	l.grown = make(chan struct{})
	return len(p), nil
}

// String returns all that was written so far.
func (l *log) String() string {
	text, _ := l.snapshot()
	return text
}

func (l *log) snapshot() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String(), l.grown
}

// wait waits until found is true of the text, ctx ends, or nobody is left who
// could write.
func (l *log) wait(ctx context.Context, found func(text string) bool) error {
	for {
		text, grown := l.snapshot()
		if found(text) {
			return nil
		}
		select {
		case <-grown:
		case <-l.done:
			if found(l.String()) {
				return nil
			}
			return fmt.Errorf("the process has ended")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// close ends the collecting, though sessions may still hold the other end.
func (l *log) close() {
	l.read.Close()
	<-l.done
}
