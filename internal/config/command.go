package config

import (
	"cmp"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vmux/internal/state"
	"vmux/internal/wire"
)

const (
	// flagFile names the file. It is no setting, and neither is --help.
	flagFile = "config"
	// none is --config's value for no file.
	none = "none"
	// annotationOf marks a flag as a detail of another.
	annotationOf = "vmux-detail-of"
)

// Command is a command whose flags are the settings of one table. A flag that is
// added to the command is a setting from then on.
type Command struct {
	Table string
	cmd   *cobra.Command
	check func() error
	path  string // --config

	file  *file
	lines map[string]int // of the flags that the file has set
}

// For lets the file set the flags that are not given. check tells wrong values
// before anything is done; it sees flags and file together.
func For(cmd *cobra.Command, table string, check func() error) *Command {
	c := &Command{Table: table, cmd: cmd, check: check}
	cmd.Flags().Var(pathFlag{c}, flagFile, "read `FILE` in place of the configuration file; none reads none (vmux config tells which it is)")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := c.Load(c.path); err != nil {
			return err
		}
		return c.explain(run(cmd, args))
	}
	return c
}

// pathFlag is --config. Through it the Command is found by its cobra.Command.
type pathFlag struct{ *Command }

func (p pathFlag) String() string {
	if p.Command == nil {
		return "" // of the zero value that pflag compares with
	}
	return p.path
}

func (p pathFlag) Set(path string) error {
	p.path = path
	return nil
}

func (p pathFlag) Type() string { return "string" }

// Of returns what For has made for the commands below root, by their tables.
func Of(root *cobra.Command) []*Command {
	var all []*Command
	for _, cmd := range root.Commands() {
		if f := cmd.Flags().Lookup(flagFile); f != nil {
			if p, ok := f.Value.(pathFlag); ok {
				all = append(all, p.Command)
			}
		}
		all = append(all, Of(cmd)...)
	}
	slices.SortFunc(all, func(a, b *Command) int { return cmp.Compare(a.Table, b.Table) })
	return all
}

// DetailsOf marks all flags but lead itself as details of lead: what the file says of
// them belongs to the lead of the file, and does not count beside another one that is
// given as a flag. (`--hub none` would otherwise be wrong usage beside the file's
// hub-ca.)
func DetailsOf(lead string, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != lead {
			f.Annotations = map[string][]string{annotationOf: {lead}}
		}
	})
}

// Load reads the file and sets what it says; path is as --config has it. It is
// called once.
func (c *Command) Load(path string) error {
	var err error
	if c.file, err = open(path); err != nil {
		return err
	}
	if err := c.apply(); err != nil {
		return err
	}
	return c.explain(c.check())
}

// open reads the file that --config names, or the one in its usual place.
func open(path string) (*file, error) {
	switch path {
	case none:
		return &file{}, nil
	case "":
		home, err := state.Find()
		if err != nil {
			return nil, err
		}
		if path, err = home.ConfigFile(); err != nil {
			return nil, err
		}
		return read(path, false)
	}
	return read(path, true)
}

// apply sets the flags of the table that were not given, in the file's order.
func (c *Command) apply() error {
	c.lines = map[string]int{}
	flags := c.cmd.Flags()
	set := c.file.tables[c.Table]
	given := map[string]bool{}
	flags.Visit(func(f *pflag.Flag) { given[f.Name] = true })
	inOrder := func(a, b string) int { return cmp.Compare(set[a].line, set[b].line) }
	for _, key := range slices.SortedFunc(maps.Keys(set), inOrder) {
		v, flag := set[key], flags.Lookup(key)
		if flag == nil || !isSetting(flag) {
			return c.file.errorf(v.line, c.nearest(key), "unknown setting %s in [%s]", wire.Show(key), c.Table)
		}
		is, err := valueFor(flag, v.is)
		if err != nil {
			return c.file.errorf(v.line, wire.HintOf(err), "%v", err)
		}
		if given[key] || c.besideAnother(flag, set, given) {
			continue
		}
		if err := is.into(flag); err != nil {
			return c.file.errorf(v.line, "", "%s does not accept %s: %v", key, is.text, err)
		}
		flag.Changed = true
		c.lines[key] = v.line
	}
	return nil
}

// besideAnother reports whether the flag is a detail of one that was given with
// another value than the file's.
func (c *Command) besideAnother(flag *pflag.Flag, set map[string]value, given map[string]bool) bool {
	of := flag.Annotations[annotationOf]
	return len(of) == 1 && given[of[0]] && set[of[0]].is != c.cmd.Flags().Lookup(of[0]).Value.String()
}

// nearest is a hint at a setting that is written a little differently, as max_keys is.
func (c *Command) nearest(key string) string {
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
	hint := c.cmd.CommandPath() + " --help lists the settings: they are its flags"
	c.cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if isSetting(f) && plain(f.Name) == plain(key) {
			hint = "its name is " + f.Name
		}
	})
	return hint
}

func isSetting(f *pflag.Flag) bool { return f.Name != flagFile && f.Name != "help" }

// flagNames are the flags that an error names.
var flagNames = regexp.MustCompile(`--[a-z][a-z-]*[a-z]`)

// explain names the line of the file in an error about flags that were set there. What
// was not given as a flag is called as it is in the file.
func (c *Command) explain(err error) error {
	if err == nil || errors.As(err, new(*Error)) {
		return err
	}
	text, line := err.Error(), 0
	for _, name := range flagNames.FindAllString(text, -1) {
		if at, ok := c.lines[name[2:]]; ok && line == 0 {
			line = at
		}
	}
	if line == 0 {
		return err
	}
	text = flagNames.ReplaceAllStringFunc(text, func(name string) string {
		f := c.cmd.Flags().Lookup(name[2:])
		if _, fromFile := c.lines[name[2:]]; f != nil && (fromFile || !f.Changed) {
			return name[2:]
		}
		return name
	})
	hint := cmp.Or(wire.HintOf(err), c.cmd.CommandPath()+" --help")
	return &located{&Error{File: c.file.path, Line: line, Text: text, hint: hint}, err}
}

// located is an error that has the exit status of the one it tells of.
type located struct {
	at  *Error
	err error
}

func (l *located) Error() string { return l.at.Error() }

func (l *located) Hint() string { return l.at.hint }

func (l *located) Unwrap() error { return l.err }
