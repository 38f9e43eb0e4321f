// Package tray decides what a menu bar or tray shows of the agent, and what each line of
// its menu does. It draws the icon, too. It reads a status and makes
// text: how a system shows that, and what a click comes to, is for cmd/vmux-tray.
package tray

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// Action is what a click on a line does.
type Action string

// The actions. Line.Of is what each is about.
const (
	Nothing            Action = ""            // the line is only read
	Withdraw           Action = "withdraw"    // the request of that ID
	Copy               Action = "copy"        // that text
	Refresh            Action = "refresh"     // the list of phone-held keys
	RequestCertificate Action = "certificate" // a session certificate
	Pair               Action = "pair"        // invites a phone
	OpenLog            Action = "log"
	Quit               Action = "quit"
)

// Line is one line of the menu; the zero value separates what stands above and below.
type Line struct {
	Text    string
	Does    Action
	Of      string
	Enabled bool
}

// Same reports whether a line may take the place of the other while the menu is open: a
// click that was meant for the one must not do what the other does.
func (l Line) Same(o Line) bool {
	return l.Does == o.Does && l.Of == o.Of && (l == Line{}) == (o == Line{})
}

const (
	// A menu that is higher than the screen cannot be used: some desktops draw none.
	maxWaiting, maxIdentities = 8, 20

	lineNotRunning = "The agent is not running"
	lineLocked     = "Locked until ssh-add -X"
	more           = "and %d more: vmux status"
)

// Menu is the menu for a status, nil while no agent answers. Each action is there at any
// time, in the same order, and enabled while it can succeed.
func Menu(s *control.Status, now time.Time) []Line {
	running := s != nil
	if !running {
		s = &control.Status{ConnectionLine: lineNotRunning, CertificateLine: "Start it: vmux agent, or its service"}
	}
	menu := []Line{read(s.ConnectionLine), read(s.CertificateLine)}
	if s.Locked {
		menu = append(menu, read(lineLocked))
	}
	menu = section(menu, waiting(s.Waiting, now))
	menu = section(menu, identities(s.Identities))
	menu = section(menu, lastOutcome(s))
	return section(menu, []Line{
		{"Refresh Keys", Refresh, "", s.Connected},
		{"Request Certificate", RequestCertificate, "", running && reachable(s)},
		{"Pair Phone…", Pair, "", running},
		{"Copy SSH_AUTH_SOCK", Copy, export(s.Socket), running},
		{"Open Log", OpenLog, "", true},
		{},
		{"Quit", Quit, "", true},
	})
}

func read(text string) Line { return Line{Text: wire.Show(text)} }

// section appends lines behind a separator, if there are any.
func section(menu, lines []Line) []Line {
	if len(lines) == 0 {
		return menu
	}
	return append(append(menu, Line{}), lines...)
}

// waiting is what waits for a person, each with the way to take it back.
func waiting(requests []control.Request, now time.Time) (lines []Line) {
	for i, r := range requests {
		if i == maxWaiting {
			return append(lines, read(fmt.Sprintf(more, len(requests)-i)))
		}
		left := fmt.Sprintf(", %.0f s left", math.Ceil(max(0, r.Until.Sub(now).Seconds())))
		lines = append(lines, Line{Text: r.About() + left}, Line{"    Withdraw", Withdraw, r.RequestID, true})
	}
	return lines
}

// identities are the phone-held keys. A click copies the line for authorized_keys.
func identities(list []control.Identity) (lines []Line) {
	for i, id := range list {
		if len(lines) == maxIdentities {
			return append(lines, read(fmt.Sprintf(more, len(list)-i)))
		}
		if !id.Certificate {
			comment := wire.Show(id.Comment)
			lines = append(lines, Line{comment + "  " + id.Fingerprint, Copy, strings.TrimSpace(id.PublicKey + " " + comment), true})
		}
	}
	return lines
}

// lastOutcome is the failure that nothing has made good, with what to do about it, or
// what has been signed last.
func lastOutcome(s *control.Status) (lines []Line) {
	if f := s.LastFailure; f != nil {
		lines = append(lines, read(f.At.Local().Format("15:04")+" "+f.Sentence))
		if f.Hint != "" {
			lines = append(lines, Line{Text: "    " + wire.Show(f.Hint)})
		}
		return lines
	}
	for _, e := range s.History {
		if e.Kind == "sign" || e.Kind == "certificate" {
			return []Line{read(e.At.Local().Format("15:04") + "  " + e.Text)}
		}
	}
	return nil
}

// reachable reports whether a phone is connected or can be woken.
func reachable(s *control.Status) bool {
	return slices.ContainsFunc(s.Phones, func(p control.Device) bool { return p.Connected || p.Wakeable })
}

// export is the line that tells a shell of the socket, for bash, zsh and fish alike.
func export(socket string) string {
	return "export SSH_AUTH_SOCK='" + strings.ReplaceAll(socket, "'", `'\''`) + "'"
}

// Tooltip says in a line what the icon says by its shape.
func Tooltip(s *control.Status) string {
	switch {
	case s == nil:
		return "vmux: " + lineNotRunning
	case len(s.Waiting) > 0:
		return fmt.Sprintf("vmux: %d waiting for approval", len(s.Waiting))
	case s.Locked:
		return "vmux: " + lineLocked
	}
	return "vmux: " + wire.Show(s.ConnectionLine)
}
