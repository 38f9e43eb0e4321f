package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/wire"
)

func newStatusCommand(a *app) *cobra.Command {
	var watch bool
	cmd := a.WithJSON(&cobra.Command{
		Use:   "status",
		Short: "Show the phone, the certificate, the keys, and what failed last",
		Long: `Prints a line on the connection, a line on the session certificate, and a line
for each identity that SSH clients see: its comment and fingerprint. What needs
your attention follows on standard error: the hub, if there is one, requests that
wait, the last failure with its reason, a login for which the server took none of
the keys, warnings. --json has all of it, and the recent history.

Exit status 3 while no phone is connected, 1 when no agent runs.`,
		Example: "  vmux status\n  vmux status --watch\n  vmux status --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return a.watchStatus(cmd.Context())
			}
			return a.status(cmd.Context())
		},
	})
	cmd.Flags().BoolVar(&watch, "watch", false, "go on until ^C: draw it anew on a terminal, and print it again in a pipe, after each change")
	return cmd
}

func (a *app) status(ctx context.Context) error {
	s, err := command.Client().Status(ctx)
	if err != nil {
		return err
	}
	if err := a.showStatus(s); err != nil {
		return err
	}
	if !s.Connected { // scripts ask by the exit status; the answer says it in words
		return command.Exit(wire.ExitNotReachable)
	}
	return nil
}

func (a *app) watchStatus(ctx context.Context) error {
	first := true
	_, onScreen := command.Terminal(a.Out)
	err := command.Client().Watch(ctx, func(s control.Status) error {
		switch {
		case a.JSON:
		case onScreen:
			_ = a.Text("\x1b[H\x1b[2J") // from the top, in place of the last one
		case !first:
			if err := a.Line(""); err != nil {
				return err
			}
		}
		first = false
		return a.showStatus(s)
	})
	if ctx.Err() != nil {
		return nil // which is how watching ends
	}
	return err
}

func (a *app) showStatus(s control.Status) error {
	return a.Answer(s, func() error {
		if err := a.Text(statusText(s)); err != nil {
			return err
		}
		a.attend(s)
		return nil
	})
}

// statusText is the three lines' worth that the status has been asked for.
func statusText(s control.Status) string {
	var b strings.Builder
	b.WriteString(wire.Show(s.ConnectionLine) + "\n")
	b.WriteString(wire.Show(s.CertificateLine) + "\n")
	b.WriteString(identityLines(s.Identities))
	return b.String()
}

// identityLines are the identities as people compare them with ssh-keygen -l.
func identityLines(identities []control.Identity) string {
	var b strings.Builder
	for _, i := range identities {
		b.WriteString(wire.Show(i.Comment) + " " + i.Fingerprint + "\n")
	}
	return b.String()
}

// attend says what needs the user's attention.
func (a *app) attend(s control.Status) {
	if len(s.Phones) == 0 {
		a.Say("no phone is paired")
		a.Hint("vmux pair")
	}
	if s.Hub != nil {
		a.Say("%s", hubText(*s.Hub))
		if s.Hub.ErrorHint != "" && !s.Hub.Connected {
			a.Hint("%s", wire.Show(s.Hub.ErrorHint))
		}
		if s.Hub.Renamed != "" {
			a.Say("warning: %s", wire.Show(s.Hub.Renamed))
			a.Hint("%s", wire.Show(s.Hub.Hint))
		}
	}
	if u := s.Upstream; u != nil && u.Error != "" {
		a.Say("upstream agent %s does not answer: %s", wire.Show(u.Socket), wire.Show(u.Error))
		a.Hint("%s", wire.Show(u.Hint))
	} else if u != nil {
		a.Say("upstream agent %s: %d keys, listed after these", wire.Show(u.Socket), u.Keys)
	}
	for _, p := range s.Phones {
		if p.NotReached == "" || p.Connected {
			continue
		}
		a.Say("%s is not reached: %s", wire.Show(p.Name), wire.Show(p.NotReached))
		if p.Hint != "" {
			a.Hint("%s", wire.Show(p.Hint))
		}
	}
	for _, d := range s.Phones {
		a.wakeable(d)
	}
	for _, w := range s.Warnings {
		a.Say("warning: %s", wire.Show(w))
	}
	if slices.ContainsFunc(s.Phones, func(p control.Device) bool { return p.ClockWarning && p.Connected }) {
		a.Hint("set both clocks by the network: `timedatectl set-ntp true` on this computer, automatic date and time on the phone")
	}
	for _, r := range s.Waiting {
		a.Say("%s", waitingText(r, time.Now()))
	}
	if f := s.LastFailure; f != nil {
		a.Say("last failure, %s: %s (%s)", command.LocalTime(f.At), wire.Show(f.Sentence), wire.Show(string(f.Code)))
		if f.Hint != "" {
			a.Hint("%s", wire.Show(f.Hint))
		}
	}
	if s.Unsigned != nil {
		a.unsigned(s.Unsigned)
	}
	a.fewerKeys(s.FewerKeys, time.Now())
}

const (
	// fewerKeysLife is how long after a login a server is named that is offered fewer
	// keys, and mostFewerKeys how many are.
	fewerKeysLife = 24 * time.Hour
	mostFewerKeys = 3
)

// fewerKeys names the servers that took none of the keys, and says what to do where
// they are to be offered all the same.
func (a *app) fewerKeys(list []control.FewerKeys, now time.Time) {
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
		a.Say("%s took no key of a phone%s, so that local keys and passwords have room: %s", serverText(f.Name, f.Server), account, offered)
	}
	if named == 0 {
		return
	}
	if rest := len(list) - named; rest > 0 {
		a.Say("and %d more such servers: vmux status --json", rest)
	}
	a.Hint("name a key that it takes: ssh -i KEY.pub (the line of `ssh-add -L`); or offer all again everywhere: vmux keys refresh")
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
func (a *app) unsigned(u *control.UnsignedLogin) {
	a.Say("last login without a signature, %s, to %s: keys offered: %d, taken: none",
		command.LocalTime(u.At), serverText(u.Name, u.Server), u.Listed)
	if len(u.Elsewhere) > 0 {
		a.Say("not offered there, since the phone limits them to other servers: %s", wire.Show(strings.Join(u.Elsewhere, ", ")))
	}
	switch {
	case u.Left > 0:
		a.Hint("if it was refused, name the key: ssh -i KEY.pub (the line of `ssh-add -L`); your other %d keys were not offered", u.Left)
	case len(u.Elsewhere) > 0:
		a.Hint("vmux phone policy IDENTITY --hosts …, on the phone, if a key is meant for that server")
	default:
		a.Hint("if it was refused, append the key's line of `ssh-add -L` to authorized_keys on the server")
	}
}

// wakeable says whether a phone can be woken, where something is known of it.
func (a *app) wakeable(d control.Device) {
	last := ""
	if r := d.LastWake; r != nil {
		last = ", last " + command.LocalTime(r.At)
		if r.Error != "" {
			last = "; the last try, " + command.LocalTime(r.At) + ", failed: " + wire.Show(r.Error)
		}
	}
	switch {
	case d.Wakeable:
		a.Say("%s can be rung%s", wire.Show(d.Name), last)
	case d.WakeProblem != "":
		a.Say("%s cannot be rung: %s", wire.Show(d.Name), wire.Show(d.WakeProblem))
		a.Hint("%s", wire.Show(d.WakeHint))
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

func waitingText(r control.Request, now time.Time) string {
	words := []string{"waiting for the phone:"}
	if r.Kind == "certificate" {
		words = append(words, "a session certificate")
	} else {
		words = append(words, "a signature by", wire.Show(r.Identity))
	}
	if r.Detail != "" {
		words = append(words, "("+wire.Show(r.Detail)+")")
	}
	if r.Program != "" {
		words = append(words, "for", wire.Show(r.Program))
	}
	text := strings.Join(words, " ") + ", " + lastsFor(max(0, r.Until.Sub(now))) + " left"
	if !r.Shown {
		text += ", not shown there yet"
		if r.Woken {
			text += ", the phone was rung"
		}
	}
	return text
}
