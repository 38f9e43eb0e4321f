package statusview

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// Notice is something that needs a person's attention: what it is, and what to do, each
// of which may be empty.
type Notice struct{ Text, Hint string }

// notices collects.
type notices []Notice

func (n *notices) say(format string, args ...any) {
	*n = append(*n, Notice{Text: fmt.Sprintf(format, args...)})
}

// hint belongs to what was said last, or, behind another hint, to all of it.
func (n *notices) hint(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if last := len(*n) - 1; last >= 0 && (*n)[last].Hint == "" {
		(*n)[last].Hint = text
		return
	}
	*n = append(*n, Notice{Hint: text})
}

// Notices are what needs the user's attention, in the order of their reading.
func Notices(s control.Status, now time.Time) []Notice {
	var n notices
	if len(s.Phones) == 0 {
		n.say("no phone is paired")
		n.hint("vmux pair")
	}
	if s.Hub != nil {
		n.hub(*s.Hub)
	}
	if u := s.Upstream; u != nil && u.Error != "" {
		n.say("upstream agent %s does not answer: %s", wire.Show(u.Socket), wire.Show(u.Error))
		n.hint("%s", wire.Show(u.Hint))
	} else if u != nil {
		n.say("upstream agent %s: %d keys, listed after these", wire.Show(u.Socket), u.Keys)
	}
	for _, p := range s.Phones {
		if p.NotReached == "" || p.Connected {
			continue
		}
		n.say("%s is not reached: %s", wire.Show(p.Name), wire.Show(p.NotReached))
		if p.Hint != "" {
			n.hint("%s", wire.Show(p.Hint))
		}
	}
	for _, d := range s.Phones {
		n.wakeable(d)
	}
	for _, w := range s.Warnings {
		n.say("warning: %s", wire.Show(w))
	}
	if slices.ContainsFunc(s.Phones, func(p control.Device) bool { return p.ClockWarning && p.Connected }) {
		n.hint("set both clocks by the network: `timedatectl set-ntp true` on this computer, automatic date and time on the phone")
	}
	for _, r := range s.Waiting {
		n.say("waiting for the phone: %s", waitingFor(r, now))
	}
	if f := s.LastFailure; f != nil {
		n.say("last failure, %s: %s (%s)", localTime(f.At), wire.Show(f.Sentence), wire.Show(string(f.Code)))
		if f.Hint != "" {
			n.hint("%s", wire.Show(f.Hint))
		}
	}
	if s.Unsigned != nil {
		n.unsigned(s.Unsigned)
	}
	n.fewerKeys(s.FewerKeys, now)
	return n
}

func (n *notices) hub(h control.Hub) {
	n.say("%s", hubText(h))
	if h.ErrorHint != "" && !h.Connected {
		n.hint("%s", wire.Show(h.ErrorHint))
	}
	if h.Renamed != "" {
		n.say("warning: %s", wire.Show(h.Renamed))
		n.hint("%s", wire.Show(h.Hint))
	}
}

const (
	// fewerKeysLife is how long after a login a server is named that is offered fewer
	// keys, and mostFewerKeys how many are.
	fewerKeysLife = 24 * time.Hour
	mostFewerKeys = 3
)

// fewerKeys names the servers that took none of the keys, and says what to do where
// they are to be offered all the same.
func (n *notices) fewerKeys(list []control.FewerKeys, now time.Time) {
	named := 0
	for _, f := range list {
		if named == mostFewerKeys || now.Sub(f.At) > fewerKeysLife {
			break
		}
		named++
		offered := fmt.Sprintf("the next login is offered %d at most", f.Most)
		if f.Most == 0 {
			offered = "none is offered there any more"
		}
		account := ""
		if f.Account != "" {
			account = " for the account " + wire.Show(f.Account)
		}
		if f.Forwarded {
			account = " in logins through another host"
		}
		n.say("%s took no key of a phone%s, so that local keys and passwords have room: %s", serverText(f.Name, f.Server), account, offered)
	}
	if named == 0 {
		return
	}
	if rest := len(list) - named; rest > 0 {
		n.say("and %d more such servers: vmux status --json", rest)
	}
	n.hint("name a key that it takes: ssh -i KEY.pub (the line of `ssh-add -L`); or offer all again everywhere: vmux keys refresh")
}

// serverText is a server by its name, if it has one, and its key's fingerprint.
func serverText(name, fingerprint string) string {
	if name == "" {
		return fingerprint
	}
	return wire.Show(name) + " (" + fingerprint + ")"
}

// unsigned explains a login for which no key was asked to sign: one that the server
// refused before any phone could be asked, or that went by other means.
func (n *notices) unsigned(u *control.UnsignedLogin) {
	n.say("last login without a signature, %s, to %s: keys offered: %d, taken: none",
		localTime(u.At), serverText(u.Name, u.Server), u.Listed)
	if len(u.Elsewhere) > 0 {
		n.say("not offered there, since the phone limits them to other servers: %s", wire.Show(strings.Join(u.Elsewhere, ", ")))
	}
	switch {
	case u.Left > 0:
		n.hint("if it was refused, name the key: ssh -i KEY.pub (the line of `ssh-add -L`); your other %d keys were not offered", u.Left)
	case len(u.Elsewhere) > 0:
		n.hint("vmux phone policy IDENTITY --hosts …, on the phone, if a key is meant for that server")
	default:
		n.hint("if it was refused, append the key's line of `ssh-add -L` to authorized_keys on the server")
	}
}

// wakeable says whether a phone can be woken, where something is known of it.
func (n *notices) wakeable(d control.Device) {
	last := ""
	if r := d.LastWake; r != nil {
		last = ", last " + localTime(r.At)
		if r.Error != "" {
			last = "; the last try, " + localTime(r.At) + ", failed: " + wire.Show(r.Error)
		}
	}
	switch {
	case d.Wakeable:
		n.say("%s can be rung%s", wire.Show(d.Name), last)
	case d.WakeProblem != "":
		n.say("%s cannot be rung: %s", wire.Show(d.Name), wire.Show(d.WakeProblem))
		n.hint("%s", wire.Show(d.WakeHint))
	}
}

func hubText(h control.Hub) string {
	switch {
	case h.Connected:
		return "hub " + wire.Show(h.URL) + " connected"
	case h.LastError != "":
		return "hub " + wire.Show(h.URL) + " not connected: " + wire.Show(h.LastError)
	}
	return "hub " + wire.Show(h.URL) + " not connected yet"
}

// waitingFor is what a request waits for, and how long it may.
func waitingFor(r control.Request, now time.Time) string {
	words := []string{"a signature by", wire.Show(r.Identity)}
	if r.Kind == "certificate" {
		words = []string{"a session certificate"}
	}
	if r.Detail != "" {
		words = append(words, "("+wire.Show(r.Detail)+")")
	}
	if r.Program != "" {
		words = append(words, "for", wire.Show(r.Program))
	}
	text := strings.Join(words, " ") + ", " + timeLeft(max(0, r.Until.Sub(now))) + " left"
	if !r.Shown {
		text += ", not shown there yet"
		if r.Woken {
			text += ", the phone was rung"
		}
	}
	return text
}

// timeLeft is a span of time to the second, where that is near.
func timeLeft(t time.Duration) string {
	if t = t.Round(time.Second); t >= time.Hour {
		return fmt.Sprintf("%d h %d min", int(t.Hours()), int(t.Minutes())%60)
	}
	return Span(t)
}

func localTime(t time.Time) string { return t.Local().Format(control.TimeLayout) }
