// Package setup tells SSH clients, shells and the desktop of vmux, by files of the
// person who runs it, and takes exactly that back. It keeps a record of what it
// wrote. It asks nobody and prints nothing: each change can be shown before it is made.
package setup

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vmux/internal/state"
)

// Parts of setup; any of them can be left out.
const (
	PartConfig      = "config"      // the configuration file, if there is something for it
	PartSSH         = "ssh"         // ~/.ssh/config
	PartService     = "service"     // systemd's user units, launchd's agents
	PartEnvironment = "environment" // of programs that the desktop starts
	PartShell       = "shell"       // of terminals
	PartTray        = "tray"        // vmux-tray, started with the desktop
	PartGit         = "git"         // git's signatures, if they are wished for
	PartPhone       = "phone"       // vmux phone as a service, on a machine that is one
)

// AllParts are Parts, and the one that a person has to name.
var AllParts = slices.Concat(Parts, []string{PartPhone})

// Wish is what a person wants, and where it goes.
type Wish struct {
	Parts   []string
	Socket  string   // of the SSH agent
	Program string   // the vmux that the service starts
	Shells  []string // bash, zsh, fish
	Home    string   // the person's folder
	// Upstream is the agent behind vmux, if there is one.
	Upstream string
	// Config are settings of the agent as lines of the configuration file, which is
	// ConfigFile.
	ConfigFile string
	Config     []string
	// Managed is where the service manager looks for its files, if that is elsewhere:
	// see ManagersFolder.
	Managed string
	// Packaged is the folder of systemd's units that packages have installed.
	Packaged string
	// Tray is the vmux-tray that the desktop starts; empty: none.
	Tray string
	// Git is how git signs; nil: as it does.
	Git *Git
	// Environment is what the service has to have to find the same files, as
	// "NAME=value".
	Environment []string
}

// Change is one change to one file, before it is made.
type Change struct {
	Path  string
	Lines string // what is put there
	Own   bool   // as a file of its own; else at the end of the file
	Top   bool   // at the file's beginning
	Below string // a line of the file, if it is there, below which they stand in place of its end
	Unit  string // of the service manager, to be enabled, in place of a file
	Again bool   // it is enabled, and is started again
	Ended bool   // it is enabled, and the service manager has given it up

	part  string
	mode  fs.FileMode // of a file that is made
	older *entry      // what an earlier setup put there, which goes
}

// What says in words what is done.
func (c Change) What() string {
	switch {
	case c.Again:
		return "start " + c.Unit + " again, with the new socket"
	case c.Ended:
		return "start " + c.Unit + " again, which has failed"
	case c.Unit != "":
		return "enable and start " + c.Unit
	case c.older != nil:
		return "replace what setup wrote into " + c.Path
	case c.Top:
		return "add to the beginning of " + c.Path
	case c.Own:
		return "write " + c.Path
	case c.Below != "":
		return "add below " + c.Below + " in " + c.Path
	}
	return "add to the end of " + c.Path
}

// wanted are all changes that the wish needs on a fresh account.
func (w Wish) wanted() (all []Change) {
	made := map[string]func() []Change{
		PartConfig: w.config, PartSSH: w.ssh, PartService: w.service, PartEnvironment: w.environment,
		PartShell: w.shell, PartTray: w.tray, PartGit: w.git, PartPhone: w.phone,
	}
	for _, part := range slices.Concat([]string{PartConfig}, AllParts, []string{PartGit}) {
		if slices.Contains(AllParts, part) && !slices.Contains(w.Parts, part) {
			continue
		}
		for _, c := range made[part]() {
			c.part = cmp.Or(c.part, part)
			all = append(all, c)
		}
	}
	return all
}

// Plan returns the changes that are still to be made for the wish, and what stands in
// the way of others. What an earlier setup wrote and is not wished for any more stays.
func (r *Record) Plan(w Wish) ([]Change, []Left, error) {
	var plan []Change
	var left []Left
	for _, c := range w.wanted() {
		if c.Unit != "" && ownUnits(left, c) {
			continue
		}
		c.Again = c.Unit != "" && c.part == PartService && slices.ContainsFunc(plan, Change.MovesSocket)
		todo, why, err := r.missing(&c)
		switch {
		case err != nil:
			return nil, nil, err
		case why != "":
			left = append(left, Left{c.Path, why, c.Lines})
		case todo:
			plan = append(plan, c)
		}
	}
	return plan, left, nil
}

// missing reports whether a change is still to be made, or why it cannot be.
func (r *Record) missing(c *Change) (todo bool, why string, err error) {
	e, written := r.of(c.part, c.Path)
	if c.Unit != "" {
		there := enabled(c.Unit)
		c.Ended = there && !c.Again && failed(c.Unit)
		return c.Again || c.Ended || !there, "", nil
	}
	f, err := look(c.Path)
	if err == nil {
		err = f.changeable()
	}
	var kept *unchangeable
	switch {
	case errors.As(err, &kept):
		return false, kept.why, nil
	case err != nil: // one of its folders, as a rule
		return false, "cannot be read: " + cause(err), nil
	case written && strings.Count(f.text, e.Text) == 1:
		if c.body(e.Text) == c.body(c.Lines) {
			return false, "", nil
		}
		c.older = &e
	case c.Own && f.there && f.text == c.Lines:
		return false, "", nil // put there by hand, as the documentation has it
	case c.Own && f.there:
		return false, "is there already, and setup has not written it", nil
	case strings.Contains(f.text, c.body(c.Lines)):
		return false, "", nil
	case strings.HasPrefix(c.part, PartConfig) && otherForm(f.text) > 0:
		return false, fmt.Sprintf("has settings of the agent in another form, in line %d", otherForm(f.text)), nil
	}
	return true, "", nil
}

// Make makes the changes of the plan, each recorded before. What cannot be written is left
// alone and returned, as in Plan, and keeps no other change from being made, but for the
// configuration file.
func (r *Record) Make(plan []Change) (left []Left, err error) {
	for _, c := range plan {
		switch {
		case c.Unit == "":
			err = r.put(c)
		case ownUnits(left, c):
			continue
		case c.Ended: // who enabled it does not change
			err = start(c.Path, c.Unit)
		default:
			err = r.enable(c)
		}
		if u := new(unchangeable); errors.As(err, &u) {
			left = append(left, Left{c.Path, u.why, c.Lines})
			if strings.HasPrefix(c.part, PartConfig) {
				return left, nil // what follows would be for other settings
			}
		} else if err != nil {
			return left, fmt.Errorf("%s: %w", c.What(), err)
		}
	}
	return left, nil
}

// ownUnits reports whether the files of the units are not what setup would have written.
func ownUnits(left []Left, c Change) bool {
	return slices.ContainsFunc(left, func(l Left) bool {
		return filepath.Dir(l.Path) == c.Path && slices.Contains(strings.Fields(c.Unit), strings.TrimSuffix(filepath.Base(l.Path), ".plist"))
	})
}

// put makes one change to a file.
func (r *Record) put(c Change) error {
	if c.MovesSocket() {
		letGo(c.Path)
	}
	if c.older != nil {
		if why, err := r.takeBack(*c.older); err != nil || why != "" {
			return errors.Join(err, errors.New(c.Path+": "+why))
		}
	}
	f, err := look(c.Path)
	if err != nil {
		return err
	}
	if !f.there {
		f.mode = c.mode
	}
	after, piece := c.into(f.text)
	e := entry{Part: c.part, Path: c.Path, Text: piece, Made: !f.there}
	if old, written := r.of(c.part, c.Path); written { // its lines were taken out by hand
		if err := r.drop(old); err != nil {
			return err
		}
	}
	if err := r.add(e, c.Path); err != nil {
		return err
	}
	err = os.MkdirAll(filepath.Dir(f.path), 0o700)
	if err == nil {
		err = f.write(after)
	}
	if err != nil { // a folder of another user, a file that is mounted by itself, a full disk
		return errors.Join(&unchangeable{c.Path, "cannot be written to: " + cause(err)}, r.drop(e))
	}
	if c.part == PartService || c.part == PartPhone {
		reload()
	}
	return nil
}

// Restarts reports whether an agent that runs has to be started again for the change to
// count.
func (c Change) Restarts() bool {
	return strings.HasPrefix(c.part, PartConfig) || c.part == PartService && c.older != nil
}

// OfPhone reports whether the change is about vmux phone, and not about the agent.
func (c Change) OfPhone() bool { return c.part == PartPhone }

// MovesSocket reports whether systemd has to let go of the socket for the change to count.
func (c Change) MovesSocket() bool {
	return c.part == PartService && c.older != nil && filepath.Base(c.Path) == units[0]
}

// body is a piece without what it needs in some places only.
func (c Change) body(piece string) string {
	return strings.TrimPrefix(strings.TrimLeft(piece, "\n"), c.Below+"\n")
}

// into puts the lines into a text, and returns what exactly was put there.
func (c Change) into(text string) (after, piece string) {
	if c.Top {
		rest := strings.TrimPrefix(text, byteOrderMark)
		return text[:len(text)-len(rest)] + c.Lines + rest, c.Lines
	}
	if head, rest, ok := cutBelow(text, c.Below); ok {
		piece = appended(head, c.body(c.Lines))
		return head + piece + rest, piece
	}
	piece = appended(text, c.Lines)
	return text + piece, piece
}

// byteOrderMark is what some editors begin a file with; nothing may stand before it.
const byteOrderMark = "\ufeff"

// cutBelow cuts a text behind a line.
func cutBelow(text, line string) (head, rest string, found bool) {
	if line == "" {
		return "", "", false
	}
	for l := range strings.Lines(text) {
		head += l
		before, _, _ := strings.Cut(strings.TrimPrefix(l, byteOrderMark), "#")
		if unquoted.Replace(strings.Join(strings.Fields(before), "")) == line {
			return head, text[len(head):], true
		}
	}
	return "", "", false
}

// unquoted takes the quotes off, since ["agent"] is [agent] to TOML.
var unquoted = strings.NewReplacer(`"`, "", "'", "")

// CheckOwner refuses to write into another user's home folder, as root would by sudo:
// the files there would be root's from then on.
func CheckOwner(home string) error {
	info, err := os.Stat(home)
	if err != nil {
		return fmt.Errorf("look at the home folder: %w", err)
	}
	return state.CheckOwner(home, info)
}
