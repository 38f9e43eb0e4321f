package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"vmux/internal/signer"
)

// What a shell offers at Tab. It has to come at once, or not at all, and whatever
// goes wrong is no reason to disturb the line that is being typed.

const completionTime = time.Second

// algorithms are those of a new key, as `--algorithm` takes them.
var algorithms = []string{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoED25519, ssh.KeyAlgoRSA, "ecdsa", "ed25519", "rsa"}

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

// phoneLabels are the labels of this phone's identities.
func phoneLabels(ctx context.Context) (names []string) {
	list, _ := identities(ctx, nothing{})
	for _, i := range list {
		names = append(names, i.Label)
	}
	return names
}

// computers are the names of those that this phone is paired with.
func computers(ctx context.Context) (names []string) {
	peers, _ := pairedComputers(ctx, nothing{})
	for _, peer := range peers {
		names = append(names, peer.Name.String())
	}
	return names
}

// phones are the names of the phones that this computer is paired with.
func phones(ctx context.Context) (names []string) {
	devices, _ := client().Devices(ctx)
	for _, d := range devices {
		names = append(names, d.Name)
	}
	return names
}

// comments are those of the keys that this computer's SSH clients see.
func comments(ctx context.Context) (names []string) {
	s, _ := client().Status(ctx)
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
		"vmux phone identity rename": phoneLabels, "vmux phone identity enable": phoneLabels,
		"vmux phone identity disable": phoneLabels, "vmux phone identity default": phoneLabels,
		"vmux phone identity delete": phoneLabels, "vmux phone identity export": phoneLabels,
		"vmux phone policy": phoneLabels, "vmux phone unpair": computers, "vmux phone pauses end": computers,
		"vmux unpair": phones, "vmux ring": phones, "vmux ca accept": phones,
	}
	flags := map[string]func(context.Context) []string{
		"algorithm": fixed(algorithms...), "approve": fixed("prompt", "always"), "passkeys": fixed("last", "never", "no-certificate"),
		"unbound-certificate": fixed("first", "always", "never"), "forbid": fixed(signer.Uses...), "namespaces": fixed("git", "file"),
		"computer": computers, "phone": phones, "identity": comments,
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
