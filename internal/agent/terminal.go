package agent

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"vmux/internal/agent/client"
	"vmux/internal/agent/waking"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// lineOf returns the line of a request on the terminal of the program that asks.
// What comes from another host is no program's of this computer, and the terminal
// shows what that host writes.
func (a *Agent) lineOf(c sshagent.Connection) *client.Line {
	pid := c.Peer.PID
	if a.cfg.NoTTYHints || c.Unproven || c.Relayed || sshctx.Forwarded(c.Bindings) {
		pid = 0
	}
	return a.terminals.Line(pid)
}

// outcome is what stays on the terminal: the reason of a failure, and nothing after
// a signature or when the program has gone.
func outcome(ctx context.Context, err error) string {
	if err == nil || ctx.Err() != nil {
		return ""
	}
	e := control.AsError(err)
	text := "vmux: " + wire.Show(e.Sentence) + "\n"
	if e.Hint != "" {
		text += "hint: " + wire.Show(e.Hint) + "\n"
	}
	return text
}

// hintText says on which phone to look and how long is left.
func (a *Agent) hintText(request control.Request, holders []device.ID, now time.Time) string {
	latest, waits := a.journal.Waiting(request.RequestID)
	if !waits {
		latest = request
	}
	until := latest.Until
	if !latest.Shown && !latest.Woken && len(a.waker.Wakeable(holders)) == 0 {
		if reach := request.Since.Add(a.showTimeout(holders, waking.NewRequest("", now, 0))); reach.Before(until) {
			until = reach
		}
	}
	where := "open vmux on " + a.namesOf(holders) + ", which is not connected"
	if connected := a.connected(holders); len(connected) > 0 {
		var list []device.ID
		for _, id := range holders {
			if connected[id] {
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
