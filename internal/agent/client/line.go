package client

import (
	"sync"
	"time"
)

const (
	// lineAfter is how long a request waits before its program's terminal says so.
	lineAfter = 300 * time.Millisecond
	// lineEvery is how often the line is drawn anew. It is seldom, since the
	// program may write meanwhile.
	lineEvery = 5 * time.Second
	// clearLine moves to the beginning of the line and erases it (ECMA-48, EL).
	clearLine = "\r\x1b[K"
)

// Terminals tells which request has the line of each terminal. Programs that share
// a terminal (ansible -f 30) share the line: the first of them has it.
type Terminals struct {
	mu    sync.Mutex
	owner map[uint64]*Line // by the terminal's device
}

// Line is the line about one request on the terminal of the program that asks. It
// is written only while that program has its terminal's foreground, and never waits
// for the terminal.
//
// The program goes on as soon as it is answered, and what it writes must not be
// erased: so End returns after the last write.
type Line struct {
	of  *Terminals
	pid int // 0: there is nobody to tell

	outcome chan string // one value: what to leave on the terminal
	done    chan struct{}

	// Of the goroutine that draws.
	on    uint64 // the terminal whose line this is; 0: none
	drawn bool
}

// Line returns that of a process; of none, 0, nothing is written.
func (t *Terminals) Line(pid int) *Line { return &Line{of: t, pid: pid} }

// Draw begins to tell that the request waits; text says for what. It is called
// once at most.
func (l *Line) Draw(text func(now time.Time) string) {
	if l.pid == 0 {
		return
	}
	l.outcome, l.done = make(chan string, 1), make(chan struct{})
	go func() {
		defer close(l.done)
		timer := time.NewTimer(lineAfter)
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
				l.draw(text(time.Now()))
				timer.Reset(lineEvery)
			case outcome := <-l.outcome:
				l.leave(outcome)
				return
			}
		}
	}()
}

// End takes the line away and leaves the outcome on the terminal, whole lines or
// nothing.
func (l *Line) End(outcome string) {
	switch {
	case l.pid == 0:
	case l.outcome == nil: // answered at once
		l.leave(outcome)
	default:
		l.outcome <- outcome
		<-l.done
	}
}

func (l *Line) draw(text string) {
	t, ok := openTerminal(l.pid)
	if !ok {
		return
	}
	defer t.close()
	if !l.of.take(t.device, l) {
		return
	}
	l.on, l.drawn = t.device, true
	t.write(clearLine + fit(text, t.width()))
}

func (l *Line) leave(outcome string) {
	if l.on != 0 {
		defer l.of.leave(l.on, l)
	}
	if !l.drawn && outcome == "" {
		return
	}
	if t, ok := openTerminal(l.pid); ok {
		defer t.close()
		t.write(clearLine + outcome)
	}
}

func (t *Terminals) take(device uint64, l *Line) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.owner == nil {
		t.owner = map[uint64]*Line{}
	}
	if o := t.owner[device]; o != nil && o != l {
		return false
	}
	t.owner[device] = l
	return true
}

func (t *Terminals) leave(device uint64, l *Line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.owner[device] == l {
		delete(t.owner, device)
	}
}

// fit cuts the text to less than the columns of a terminal, since a line that
// wraps cannot be taken back. What is not ASCII counts as two.
func fit(text string, columns int) string {
	used := 0
	for i, r := range text {
		if used++; r > 126 {
			used++
		}
		if used >= columns {
			return text[:i]
		}
	}
	return text
}
