package asking

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"vmux/internal/nativephone/terminal"
)

// How an attached terminal and the phone talk, over the phone's control socket: after an
// upgrade of the HTTP connection the phone sends what is to be written, as it is. Its other
// direction carries keys and the terminal's width, each a byte that says what it is and two
// bytes: a length and so many keys, or the columns. The width comes again each second, which
// tells that the program runs: it may have been stopped by ^Z. The program that attaches reads nothing
// of what it carries: what a key means is the phone's to say.

// Protocol is what the connection is upgraded to.
const Protocol = "vmux-terminal-2"

const (
	frameKeys    = 'k'
	frameColumns = 'c'
	// maxKeys is how many keys one frame has, and maxTyped how many wait until the phone
	// reads them.
	maxKeys, maxTyped = 64, 4096
	// tellTime is how often the width is sent, and silentTime how long a terminal may send
	// nothing.
	tellTime, silentTime = time.Second, 10 * time.Second
)

// attachedDevice is an attached terminal, as the phone has it.
type attachedDevice struct {
	connection io.ReadWriteCloser
	deadline   func(time.Time) error // of writing

	mu      sync.Mutex
	typed   []byte
	columns int
	gone    bool
	came    chan struct{} // of capacity 1: something was typed, or it is gone
}

var errGone = errors.New("it was detached")

// Keystrokes implements terminal.Device: the other end is in that mode all the while.
func (d *attachedDevice) Keystrokes() (restore func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.typed)
	d.typed = d.typed[:0]
	if d.gone {
		return nil, fmt.Errorf("%w: %w", terminal.ErrHungUp, errGone)
	}
	return func() {}, nil
}

// ReadKeys implements terminal.Device.
func (d *attachedDevice) ReadKeys(b []byte) (int, error) {
	for waited := false; ; waited = true {
		d.mu.Lock()
		n, gone := copy(b, d.typed), d.gone
		rest := copy(d.typed, d.typed[n:])
		clear(d.typed[rest:])
		d.typed = d.typed[:rest]
		d.mu.Unlock()
		switch {
		case gone:
			return 0, errGone
		case n > 0 || waited:
			return n, nil
		}
		select {
		case <-d.came:
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Columns implements terminal.Device.
func (d *attachedDevice) Columns() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.columns
}

// Write implements terminal.Device.
func (d *attachedDevice) Write(b []byte) (int, error) {
	err := d.deadline(time.Now().Add(terminal.WriteTime))
	n := 0
	if err == nil {
		n, err = d.connection.Write(b)
	}
	if err != nil {
		d.leave()
	}
	return n, err
}

// leave ends it: nothing is read of it, or written to it, any more.
func (d *attachedDevice) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.gone {
		d.gone = true
		clear(d.typed)
		_ = d.connection.Close()
		close(d.came)
	}
}

// read takes one frame. It fails where that ends, or is not of this protocol.
func (d *attachedDevice) read(from io.Reader) error {
	var frame [3 + maxKeys]byte
	defer clear(frame[:])
	if _, err := io.ReadFull(from, frame[:3]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(frame[1:3]))
	switch {
	case frame[0] == frameColumns:
		d.mu.Lock()
		d.columns = n
		d.mu.Unlock()
	case frame[0] != frameKeys || n > maxKeys:
		return errors.New("not of this protocol")
	default:
		if _, err := io.ReadFull(from, frame[3:3+n]); err != nil {
			return err
		}
		d.take(frame[3 : 3+n])
	}
	return nil
}

// take keeps keys until they are read. Its buffer does not grow, so that no copies of a
// passphrase stay behind.
func (d *attachedDevice) take(keys []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return
	}
	if d.typed == nil {
		d.typed = make([]byte, 0, maxTyped)
	}
	d.typed = append(d.typed, keys[:min(len(keys), maxTyped-len(d.typed))]...)
	select {
	case d.came <- struct{}{}:
	default:
	}
}

// Serve has the phone ask at the terminal that a request over the control socket brings,
// until that goes, another one comes, or the request's context ends.
func (s *Terminals) Serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != Protocol {
		http.Error(w, "upgrade to "+Protocol, http.StatusUpgradeRequired)
		return
	}
	connection, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "no connection of its own", http.StatusInternalServerError)
		return
	}
	d := &attachedDevice{connection: connection, deadline: connection.SetWriteDeadline, came: make(chan struct{}, 1)}
	_ = connection.SetDeadline(time.Now().Add(silentTime)) // not that of the request's head
	defer d.leave()
	if _, err := io.WriteString(d, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+Protocol+"\r\n\r\n"); err != nil {
		return
	}
	stop := context.AfterFunc(r.Context(), func() {
		_, _ = io.WriteString(d, "\nThe phone has ended.\n")
		d.leave()
	})
	defer stop()
	if d.read(buffered) != nil { // its width: what is asked is laid out by it
		return
	}
	t := terminal.New(d)
	seat, before := s.attach(t, d.leave)
	if before != nil {
		before.terminal.Say("Another terminal was attached: this one is detached.\n")
		before.end()
	}
	s.greet(t)
	for d.read(buffered) == nil {
		_ = connection.SetReadDeadline(time.Now().Add(silentTime))
	}
	d.leave()
	s.detach(seat)
	t.Close()
	t.Memory.Clear()
}
