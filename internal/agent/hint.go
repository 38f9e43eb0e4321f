package agent

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"vmux/internal/agent/waking"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/sshagent"
	"vmux/internal/wire"
)

const (
	// hintAfter is how long a request waits before its program's terminal says so.
	hintAfter = 300 * time.Millisecond
	// hintEvery is how often the time left is drawn anew. It is seldom, since the
	// program may write meanwhile.
	hintEvery = 5 * time.Second
	// clearLine moves to the beginning of the line and erases it (ECMA-48, EL).
	clearLine = "\r\x1b[K"
)

// hint is the line about one request on the terminal of the program that asks:
// it says where to look, and in the end what came of it. It is written only
// while that program has its terminal's foreground, and never waits for the
// terminal.
//
// The program goes on as soon as it is answered, and what it writes must not be
// erased: so end returns after the last write.
type hint struct {
	a   *Agent
	pid int // 0: there is nobody to tell

	outcome chan string // one value: what to leave on the terminal
	done    chan struct{}
}

// hintFor returns the hint of a request. What comes from another host is no
// program's of this computer, and the terminal shows what that host writes.
func (a *Agent) hintFor(c sshagent.Connection) *hint {
	h := &hint{a: a}
	if !a.cfg.NoTTYHints && !c.Unproven && !forwarded(c.Bindings) {
		h.pid = c.Peer.PID
	}
	return h
}

// waits begins to tell that the request waits; text says for what. It is called
// once at most.
func (h *hint) waits(text func(now time.Time) string) {
	if h.pid == 0 {
		return
	}
	h.outcome, h.done = make(chan string, 1), make(chan struct{})
	go h.draw(text)
}

func (h *hint) draw(text func(now time.Time) string) {
	defer close(h.done)
	timer := time.NewTimer(hintAfter)
	defer timer.Stop()
	var line drawnLine
	for {
		select {
		case <-timer.C:
			line.draw(h, text(time.Now()))
			timer.Reset(hintEvery)
		case outcome := <-h.outcome:
			line.end(h, outcome)
			return
		}
	}
}

// end leaves the reason of a failure on the terminal, and nothing after a
// signature or when the program has gone.
func (h *hint) end(ctx context.Context, err error) {
	if h.pid == 0 {
		return
	}
	text := ""
	if err != nil && ctx.Err() == nil {
		e := control.AsError(err)
		text = "vmux: " + wire.Show(e.Sentence) + "\n"
		if e.Hint != "" {
			text += "hint: " + wire.Show(e.Hint) + "\n"
		}
	}
	if h.outcome == nil { // refused at once
		var line drawnLine
		line.end(h, text)
		return
	}
	h.outcome <- text
	<-h.done
}

// drawnLine is a hint's own line. Programs that share a terminal (ansible -f 30)
// share the line: the first of them has it.
type drawnLine struct {
	on    uint64 // the terminal whose line this hint has; 0: none
	drawn bool
}

func (l *drawnLine) draw(h *hint, text string) {
	t, ok := openTerminal(h.pid)
	if !ok {
		return
	}
	defer t.close()
	if !h.a.lines.take(t.device, h) {
		return
	}
	l.on, l.drawn = t.device, true
	t.write(clearLine + fit(text, t.width()))
}

func (l *drawnLine) end(h *hint, outcome string) {
	if l.on != 0 {
		defer h.a.lines.leave(l.on, h)
	}
	if !l.drawn && outcome == "" {
		return
	}
	if t, ok := openTerminal(h.pid); ok {
		defer t.close()
		t.write(clearLine + outcome)
	}
}

// hintLines tells which hint has the line of each terminal.
type hintLines struct {
	mu    sync.Mutex
	owner map[uint64]*hint
}

func (l *hintLines) take(terminal uint64, h *hint) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owner == nil {
		l.owner = map[uint64]*hint{}
	}
	if o := l.owner[terminal]; o != nil && o != h {
		return false
	}
	l.owner[terminal] = h
	return true
}

func (l *hintLines) leave(terminal uint64, h *hint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owner[terminal] == h {
		delete(l.owner, terminal)
	}
}

// hintText says on which phone to look and how long is left.
func (a *Agent) hintText(request control.Request, holders []device.ID, now time.Time) string {
	latest, waits := a.journal.Waiting(request.RequestID)
	if !waits {
		latest = request
	}
	until := latest.Until
	if !latest.Shown && !latest.Rung && len(a.waker.Wakeable(holders)) == 0 {
		if reach := request.Since.Add(a.patience(holders, waking.NewRequest("", now, 0))); reach.Before(until) {
			until = reach
		}
	}
	where := "open vmux on " + a.namesOf(holders) + ", which is not connected"
	if near := a.connected(holders); len(near) > 0 {
		var list []device.ID
		for _, id := range holders {
			if near[id] {
				list = append(list, id)
			}
		}
		where = "look at " + a.namesOf(list)
	}
	about := request.Detail
	if about == "" {
		about = "signature by " + request.Identity
	}
	left := math.Ceil(max(0, until.Sub(now.Round(0)).Seconds()))
	return wire.Show(fmt.Sprintf("vmux: %s: %s, %.0f s left", where, about, left))
}

// namesOf are the phones' names, for people.
func (a *Agent) namesOf(phones []device.ID) string {
	var names []string
	for _, id := range phones {
		names = append(names, wire.Show(a.nameOf(id)))
	}
	return strings.Join(names, " or ")
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
