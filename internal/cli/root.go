// Package cli is the command line: one file for each noun, over the packages
// that do the work. It holds no logic of the product; package command alone
// decides how anything is printed and with which status the program ends.
package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/cli/backupcmd"
	"vmux/internal/cli/command"
	"vmux/internal/cli/gitcmd"
	"vmux/internal/cli/phonecmd"
	"vmux/internal/cli/retirecmd"
	"vmux/internal/cli/servercmd"
	"vmux/internal/cli/setupcmd"
	"vmux/internal/config"
	"vmux/internal/control"
	"vmux/internal/wire"
)

// app is what every command of this package works with.
type app struct{ *command.IO }

// Run runs the command that args name and returns the process's exit status.
// When ctx ends, by a signal, the command ends what it started and returns.
func Run(ctx context.Context, args []string, io *command.IO) int {
	a := &app{io}
	defer a.Close()
	if len(args) > 0 && args[0] == "-Y" { // git runs this as gpg.ssh.program
		args = append([]string{"git-sign"}, args...)
	}
	root := rootFor(a, args)
	command.CheckArguments(root)
	root.SetArgs(args)
	root.SetIn(io.In)
	root.SetOut(io.Out) // help that was asked for is the answer
	root.SetErr(io.Err)
	var unknown error // a command whose help was asked for
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, all []string) {
		if words := cmd.Flags().Args(); len(words) > 0 && cmd.HasSubCommands() {
			unknown = command.NoCommand(cmd, words[0])
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
	return io.Fail(ctx, cmd, err)
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
func Commands() *cobra.Command { return newRoot(&app{&command.IO{}}) }

func newRoot(a *app) *cobra.Command {
	root := newBareRoot(a)
	rest := setupcmd.Rest{Commands: Commands, Upstream: upstreamSocket, Pair: func(ctx context.Context) error { return a.pair(ctx, control.PairOptions{}) }}
	root.AddCommand(
		newAgentCommand(a), newPairCommand(a), newStatusCommand(a),
		a.Group("keys", "Refresh the list of phone-held keys", newKeysRefreshCommand(a)),
		a.Group("cert", "Request and show the session certificate", newCertRequestCommand(a), newCertShowCommand(a)),
		newCACommand(a),
		newDevicesCommand(a), newUnpairCommand(a), newRingCommand(a), newDoctorCommand(a),
		a.Group("hub", "Compare the page that a hub serves with the one of this version", newHubVerifyCommand(a)),
		a.Group("git", "Sign commits and tags with a phone-held key", gitcmd.NewSetup(a.IO)),
		gitcmd.NewSign(a.IO), newDemoCommand(a), newConfigCommand(a), setupcmd.New(a.IO, rest), setupcmd.NewUninstall(a.IO, rest), servercmd.New(a.IO), newVersionCommand(a), phonecmd.New(a.IO, append(backupcmd.New(a.IO), retirecmd.New(a.IO))...),
	)
	completes(root)
	root.SetHelpCommand(newHelpCommand(a))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			a.AsGroup(cmd)
			for _, shell := range cmd.Commands() {
				shell.Args, shell.Example = nil, "  vmux completion "+shell.Name()+" > FILE"
				switch shell.Name() {
				case "bash":
					completesBy(a, shell, BashCompletion)
				case "fish":
					completesBy(a, shell, FishCompletion)
				}
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
		SilenceErrors: true,
		SilenceUsage:  true,

		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return config.ExpandHome(cmd.Flags()) },
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	version := root.Flags().Bool("version", false, "print the version, as vmux version does")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return command.Usagef("%s", err) })
	// Not cobra's own Version: its template brings text/template, with which the
	// linker keeps every exported method of every type, 2 MB of them.
	which := a.AsGroup(root).RunE
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if *version {
			return a.Line("%s", thisVersion().line())
		}
		return which(cmd, args)
	}
	return root
}

// newHelpCommand replaces cobra's own, which takes any word for a command.
func newHelpCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Explain a command, as --help does",
		Args: cobra.ArbitraryArgs, Example: "  vmux help cert request",
		RunE: func(cmd *cobra.Command, words []string) error {
			about, rest, err := cmd.Root().Find(words)
			if err != nil || len(rest) > 0 {
				return command.Usage("vmux has no command "+wire.Show(strings.Join(words, " ")), "vmux --help")
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}
