// Package cli is the command line: one file for each noun, over the packages
// that do the work. It holds no logic of the product; output.go alone decides
// how anything is printed and with which status the program ends.
package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/wire"
)

// Streams are the process's three standard streams. In, Out and Err that are
// *os.File can be terminals; anything else is none.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is what every command works with: the streams, and the output over two of
// them.
type app struct {
	*output
	in io.Reader
}

// Run runs the command that args name and returns the process's exit status.
// When ctx ends, by a signal, the command ends what it started and returns.
func Run(ctx context.Context, args []string, s Streams) int {
	a := &app{output: &output{out: s.Out, err: s.Err}, in: s.In}
	if len(args) > 0 && args[0] == "-Y" { // git runs this as gpg.ssh.program
		args = append([]string{"git-sign"}, args...)
	}
	root := rootFor(a, args)
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out) // help that was asked for is the answer
	root.SetErr(s.Err)
	var unknown error // a command whose help was asked for
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, all []string) {
		if words := cmd.Flags().Args(); len(words) > 0 && cmd.HasSubCommands() {
			unknown = noCommand(cmd, words[0])
			return
		}
		help(cmd, all)
	})
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = unknown
	}
	if err == nil {
		return wire.ExitDone
	}
	a.fail(explain(ctx, cmd, err))
	return exitOf(err)
}

// explain adds what only the outermost caller knows: which command was used
// wrongly, and that a signal came.
func explain(ctx context.Context, cmd *cobra.Command, err error) error {
	if u, ok := err.(*usageError); ok && u.hint == "" {
		return &usageError{u.text, fmt.Sprintf("%s --help", cmd.CommandPath())}
	}
	if ctx.Err() != nil && exitOf(err) == wire.ExitFailed {
		return fmt.Errorf("%s: interrupted", cmd.CommandPath())
	}
	return err
}

// rootFor spares the agent, which is to answer soon after it is started, all
// other commands. Everything else gets the whole tree.
func rootFor(a *app, args []string) *cobra.Command {
	if len(args) == 0 || args[0] != "agent" {
		return newRoot(a)
	}
	root := newBareRoot(a)
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newAgentCommand(a))
	return root
}

// Commands is the whole tree of commands, for what describes them.
func Commands() *cobra.Command { return newRoot(&app{output: &output{}}) }

func newRoot(a *app) *cobra.Command {
	root := newBareRoot(a)
	root.AddCommand(
		newAgentCommand(a), newPairCommand(a), newStatusCommand(a),
		a.group("keys", "Refresh the list of phone-held keys", newKeysRefreshCommand(a)),
		a.group("cert", "Request and show the session certificate", newCertRequestCommand(a), newCertShowCommand(a)),
		newCACommand(a),
		newDevicesCommand(a), newUnpairCommand(a), newRingCommand(a),
		a.group("hub", "Compare the page that a hub serves with the one of this version", newHubVerifyCommand(a)),
		a.group("git", "Sign commits and tags with a phone-held key", newGitSetupCommand(a)),
		newGitSignCommand(a), newDemoCommand(a), newVersionCommand(a), newPhoneCommand(a),
	)
	completes(root)
	root.SetHelpCommand(newHelpCommand(a))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			asGroup(a, cmd)
			for _, shell := range cmd.Commands() {
				shell.Args, shell.Example = args(), "  vmux completion "+shell.Name()+" > FILE"
			}
		}
	}
	return root
}

func newBareRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "vmux",
		Short: "SSH keys on your phone, an SSH agent on your computer",
		Long: `Your SSH keys live on your phone. On your computer runs an SSH agent that
holds none of them: it asks the phone for each signature, you approve there,
the phone signs. For many logins at once, the phone's own certificate
authority issues the computer a short-lived session certificate.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 phone not reachable, 4 denied
on the phone, 5 expired.`,
		Example: `  vmux demo                    see all of it on this machine
  vmux agent                   on the computer: serve SSH clients
  vmux phone run               on the machine that holds the keys
  vmux pair                    on the computer: pair the two
  vmux status                  on the computer: is the phone there?`,
		Version:       Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.Flags().Bool("version", false, "print the version, as vmux version does")
	root.SetVersionTemplate(thisVersion().line() + "\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%s", err) })
	return asGroup(a, root)
}

// newHelpCommand replaces cobra's own, which takes any word for a command.
func newHelpCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Explain a command, as --help does",
		Example: "  vmux help cert request",
		RunE: func(cmd *cobra.Command, words []string) error {
			about, rest, err := cmd.Root().Find(words)
			if err != nil || len(rest) > 0 {
				return &usageError{"vmux has no command " + wire.Show(strings.Join(words, " ")), "vmux --help"}
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// group makes a command that only has commands below it.
func (a *app) group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short}
	cmd.AddCommand(commands...)
	return asGroup(a, cmd)
}

// asGroup lets a command that only has commands below it answer by itself:
// cobra's own answer to an unknown one cannot be told from other errors.
func asGroup(a *app, cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			a.aside(cmd.UsageString())
			return usagef("which command?")
		}
		return noCommand(cmd, args[0])
	}
	return cmd
}

// noCommand tells that cmd has no such command below it. What is suggested begins
// with the same letter: people mistype the end of a word, and of short words any
// two are alike.
func noCommand(cmd *cobra.Command, name string) error {
	e := &usageError{text: fmt.Sprintf("%s has no command %s", cmd.CommandPath(), wire.Show(name))}
	for _, near := range cmd.SuggestionsFor(name) {
		if e.hint == "" && near[0] == name[0] {
			e.hint = cmd.CommandPath() + " " + near
		}
	}
	return e
}

// args makes a check of the positional arguments: exactly these, by the names
// that stand in the usage line.
func args(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, got []string) error {
		switch {
		case len(got) > len(names):
			return usagef("%s: unexpected argument %s", cmd.CommandPath(), wire.Show(got[len(names)]))
		case len(got) < len(names):
			return usagef("%s: %s is missing", cmd.CommandPath(), strings.Join(names[len(got):], " and "))
		}
		return nil
	}
}

// withJSON gives a command the --json flag.
func (a *app) withJSON(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&a.json, "json", false, "answer in JSON, one value on one line")
	return cmd
}
