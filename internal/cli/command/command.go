// Package command is what every command of vmux is made of: groups and arguments,
// the wrong usage of them, and the output with its rules. It knows no command.
package command

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/wire"
)

// Version is this program's version, as CHANGELOG.md names it.
const Version = "0.1.0"

// Group makes a command that only has commands below it.
func (o *IO) Group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short}
	cmd.AddCommand(commands...)
	return o.AsGroup(cmd)
}

// AsGroup lets a command that only has commands below it answer by itself:
// cobra's own answer to an unknown one cannot be told from other errors.
func (o *IO) AsGroup(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			o.Aside(cmd.UsageString())
			return Usagef("which command?")
		}
		return NoCommand(cmd, args[0])
	}
	return cmd
}

// NoCommand tells that cmd has no such command below it. What is suggested begins
// with the same letter: people mistype the end of a word, and of short words any
// two are alike.
func NoCommand(cmd *cobra.Command, name string) error {
	e := &usageError{text: fmt.Sprintf("%s has no command %s", cmd.CommandPath(), wire.Show(name))}
	for _, near := range cmd.SuggestionsFor(name) {
		if e.hint == "" && near[0] == name[0] {
			e.hint = cmd.CommandPath() + " " + near
		}
	}
	return e
}

// CheckArguments has cmd, and each command below it that says nothing else, take the
// arguments that its usage line names: those in brackets may be left out.
func CheckArguments(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		CheckArguments(sub)
	}
	if cmd.Args == nil {
		cmd.Args = arguments
	}
}

func arguments(cmd *cobra.Command, got []string) error {
	var names []string
	needed := 0
	for _, name := range strings.Fields(cmd.Use)[1:] {
		if strings.HasPrefix(name, "-") {
			break // a flag that has to be there
		}
		names = append(names, name)
		if name[0] != '[' {
			needed++
		}
	}
	switch {
	case len(got) > len(names):
		return Usagef("%s: unexpected argument %s", cmd.CommandPath(), wire.Show(got[len(names)]))
	case len(got) < needed:
		return Usagef("%s: %s is missing", cmd.CommandPath(), strings.Join(names[len(got):], " and "))
	}
	return nil
}

// WithJSON gives a command the --json flag.
func (o *IO) WithJSON(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&o.JSON, "json", false, "answer in JSON, one value on one line")
	return cmd
}

// NamesDevice reports whether a word names a device: its name, or the beginning of its ID.
func NamesDevice(word, name, id string) bool {
	const shortest = 6
	return name == word || len(word) >= shortest && strings.HasPrefix(id, strings.ToLower(word))
}
