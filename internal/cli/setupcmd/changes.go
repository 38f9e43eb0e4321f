package setupcmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vmux/internal/cli/command"
	"vmux/internal/setup"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// setUp makes the changes, once they were shown and agreed to. It reports whether the
// agent was started.
func (a *app) setUp(ctx context.Context, record *setup.Record, w *setup.Wish, yes bool) (started bool, err error) {
	for _, s := range [][2]string{{setup.PartService, "agent"}, {setup.PartPhone, "phone run"}} {
		if slices.Contains(w.Parts, s[0]) && setup.HasServices() != nil {
			a.Say("%v: the service is left out", setup.ErrNoServices)
			a.Hint("%s", setup.Otherwise(w.Program+" "+s[1]))
			w.Parts = slices.DeleteFunc(slices.Clone(w.Parts), func(part string) bool { return part == s[0] })
		}
	}
	plan, left, err := a.plan(record, *w)
	if err != nil {
		return false, err
	}
	if len(plan) > 0 && !yes {
		switch {
		case !a.Interactive():
			return false, command.Usage("nothing is changed: there is no terminal to ask on", "vmux setup --yes makes the changes")
		case !a.Confirmed(ctx, "Make these changes?"):
			return false, errors.New("nothing is changed")
		}
	}
	after, err := a.makeAll(record, *w, plan)
	if err != nil {
		return false, err
	}
	left = append(left, after...)
	if len(plan) == 0 && len(left) == 0 {
		a.Say("all of it is there already")
	}
	a.leftAlone(left)
	started, err = a.written(ctx, plan)
	if err == nil || errors.Is(err, errStale) {
		a.whoWins(ctx, *w, left)
	}
	return started, err
}

// plan shows what is to be changed.
func (a *app) plan(record *setup.Record, w setup.Wish) ([]setup.Change, []setup.Left, error) {
	plan, left, err := record.Plan(w)
	if err != nil {
		return nil, nil, err
	}
	if err := configured(left, w); err != nil {
		return nil, nil, err
	}
	plan = slices.DeleteFunc(plan, func(c setup.Change) bool { return c.Ended && notRunning(c) != nil }) // one runs without it
	for _, c := range plan {
		a.Say("%s", wire.Show(c.What()))
		a.Aside(indented(c.Lines))
		if c.Unit != "" && !c.Again {
			if err := notRunning(c); err != nil {
				return nil, nil, err
			}
		}
	}
	return plan, left, nil
}

// configured is an error if the configuration file could not be written: without it, the rest
// would do something else than was asked for.
func configured(left []setup.Left, w setup.Wish) error {
	for _, l := range left {
		if l.Path == w.ConfigFile {
			return command.Usage(fmt.Sprintf("%s %s", wire.Show(l.Path), l.Why), "add to it yourself: "+strings.Join(w.Config, ", "))
		}
	}
	return nil
}

// makeAll makes the changes, and returns what could not be written.
func (a *app) makeAll(record *setup.Record, w setup.Wish, plan []setup.Change) ([]setup.Left, error) {
	left, err := record.Make(plan)
	if err != nil {
		return nil, command.OrHint(err, "vmux setup --undo takes out what was written so far")
	}
	return left, configured(left, w)
}

func (a *app) leftAlone(left []setup.Left) {
	for _, l := range left {
		a.Say("%s %s; it is left alone, and would get:", wire.Show(l.Path), l.Why)
		a.Aside(indented(l.Text))
	}
}

// written reads the configuration file again, and has what was written count. An agent
// that has no phone is started again; for another one, or one that runs by hand, it says how.
func (a *app) written(ctx context.Context, plan []setup.Change) (started bool, err error) {
	started = slices.ContainsFunc(plan, func(c setup.Change) bool { return c.Unit != "" && !c.OfPhone() })
	if !slices.ContainsFunc(plan, setup.Change.Restarts) {
		return started, nil
	}
	if _, err := a.agentSettings(nil); err != nil {
		return false, command.WithHint(fmt.Errorf("what was added does not fit there: %w", err), "vmux setup --undo takes it out; then write it yourself")
	}
	switch s, err := command.Client().Status(ctx); {
	case err != nil || started:
	case len(s.Phones) == 0 && setup.RestartService():
		a.Say("the agent is started again")
		return true, nil
	default:
		a.Say("for the agent that runs this counts when it is started again")
		a.Hint("%s", setup.RestartHint)
		return false, errStale
	}
	return started, nil
}

// errStale is that the agent that runs does not have what was written.
var errStale = errors.New("start the agent again first")

// notRunning refuses to start a service beside an agent, or a phone, that a person has
// started: it could not have the state folder.
func notRunning(c setup.Change) error {
	home, err := state.Find()
	if err != nil {
		return err
	}
	open, name, part := home.Agent, "agent", setup.PartService
	if c.OfPhone() {
		open, name, part = home.Phone, "phone", setup.PartPhone
	}
	dir, err := open()
	if err != nil {
		return err
	}
	release, err := dir.Own("vmux setup")
	if errors.As(err, new(*state.Owned)) {
		return command.OrHint(err, "end that %s, then vmux setup again; or vmux setup --parts without %s", name, part)
	}
	if err == nil {
		release()
	}
	return err
}

func (a *app) undoSetup(record *setup.Record) error {
	if record.Empty() {
		a.Say("setup has written nothing that is still there")
		return nil
	}
	left, err := record.Undo(func(path string) { a.Say("taken out: %s", wire.Show(path)) })
	for _, l := range left {
		a.Say("%s %s; of setup's there was:", wire.Show(l.Path), l.Why)
		a.Aside(indented(l.Text))
	}
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return command.WithHint(fmt.Errorf("%s left", command.Counted(len(left), "file")), "take these lines out by hand, then vmux setup --undo")
	}
	return nil
}

func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(strings.Trim(text, "\n"), "\t", "    ")) {
		line = strings.TrimRight(line, "\n")
		text := strings.TrimLeft(line, " ")
		b.WriteString("    " + line[:len(line)-len(text)] + wire.Show(text) + "\n")
	}
	return b.String()
}
