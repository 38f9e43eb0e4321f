package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/cli/phonecmd"
	"vmux/internal/cli/servercmd"
	"vmux/internal/signer/policy"
)

// What a shell offers at Tab. It has to come at once, or not at all, and whatever
// goes wrong is no reason to disturb the line that is being typed.

const completionTime = time.Second

type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// offers makes a completer of the first argument, or of a flag's value.
func offers(flag bool, list func(context.Context) []string) completer {
	return func(_ *cobra.Command, got []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(got) > 0 && !flag {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), completionTime)
		defer cancel()
		return list(ctx), cobra.ShellCompDirectiveNoFileComp
	}
}

func fixed(words ...string) func(context.Context) []string {
	return func(context.Context) []string { return words }
}

// phones are the names of the phones that this computer is paired with.
func phones(ctx context.Context) (names []string) {
	devices, _ := command.Client().Devices(ctx)
	for _, d := range devices {
		names = append(names, d.Name)
	}
	return names
}

// comments are those of the keys that this computer's SSH clients see.
func comments(ctx context.Context) (names []string) {
	s, _ := command.Client().Status(ctx)
	for _, i := range s.Identities {
		if !i.Certificate {
			names = append(names, i.Comment)
		}
	}
	return names
}

// completes gives the commands below root what their arguments and flags offer, by
// the names that stand in the usage line and the flags' names.
func completes(root *cobra.Command) {
	arguments := map[string]func(context.Context) []string{
		"vmux phone identity rename": phonecmd.Labels, "vmux phone identity enable": phonecmd.Labels,
		"vmux phone identity disable": phonecmd.Labels, "vmux phone identity default": phonecmd.Labels,
		"vmux phone identity delete": phonecmd.Labels, "vmux phone identity export": phonecmd.Labels,
		"vmux phone policy": phonecmd.Labels, "vmux phone unpair": phonecmd.Computers, "vmux phone pauses end": phonecmd.Computers,
		"vmux unpair": phones, "vmux ring": phones, "vmux ca accept": phones,
		"vmux server trust": servercmd.Hosts, "vmux server check": servercmd.Hosts, "vmux server untrust": servercmd.Hosts,
	}
	flags := map[string]func(context.Context) []string{
		"algorithm": fixed(phonecmd.Algorithms...), "approve": fixed("prompt", "always"), "passkeys": fixed("last", "never", "no-certificate"),
		"unbound-certificate": fixed("first", "always", "never"), "forbid": fixed(policy.Uses...), "namespaces": fixed("git", "file"),
		"computer": phonecmd.Computers, "phone": phones, "identity": comments, "key": comments,
	}
	for _, cmd := range root.Commands() {
		if list := arguments[cmd.CommandPath()]; list != nil {
			cmd.ValidArgsFunction = offers(false, list)
		}
		for name, list := range flags {
			if cmd.Flags().Lookup(name) != nil {
				_ = cmd.RegisterFlagCompletionFunc(name, offers(true, list)) // fails only for a flag that is not there
			}
		}
		completes(cmd)
	}
}
