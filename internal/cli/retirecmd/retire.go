// Package retirecmd is `vmux phone retire`: what to do on this side when a phone is gone. It
// says what, as commands, and does none of it: whether a key is in wrong hands only its
// owner knows.
package retirecmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/wire"
)

// New makes `vmux phone retire`.
func New(io *command.IO) *cobra.Command {
	return io.WithJSON(&cobra.Command{
		Use: "retire DEVICE", Short: "On the computer: say what to do when a phone is gone",
		Long: `Prints what to do when a phone is lost, stolen or broken, as commands for a shell on
this computer: how to take its keys off your servers, how to have servers refuse its CA,
and how to end the pairing, which comes last. It does nothing of it by itself.

DEVICE is the phone's name, its ID, or the beginning of its ID, as in "vmux devices".
The agent has to run: it knows the phone's public keys.`,
		Example: "  vmux phone retire my-phone\n  vmux phone retire my-phone > retire.sh",
		RunE: func(cmd *cobra.Command, v []string) error {
			plan, err := look(cmd.Context(), v[0])
			if err != nil {
				return err
			}
			return io.Answer(plan, func() error {
				io.Say("what to do about %s; read it first, since nothing here was done yet", wire.Show(plan.Device.Name))
				return io.Text(strings.Join(plan.lines(), "\n") + "\n")
			})
		},
	})
}

// plan is what is known of a phone that is gone.
type plan struct {
	Device control.Device `json:"device"`
	Keys   []key          `json:"keys"`
	CA     string         `json:"ca,omitempty"` // its line
	// CAAlsoOn are other phones that have the CA, restored from a backup.
	CAAlsoOn []string `json:"caAlsoOn,omitempty"`
	// Others are the phones that are left.
	Others []string `json:"others"`
}

// key is one that the phone holds.
type key struct {
	Comment   string   `json:"comment"`
	PublicKey string   `json:"publicKey"`
	AlsoOn    []string `json:"alsoOn,omitempty"` // other phones
}

func look(ctx context.Context, name string) (plan, error) {
	var p plan
	status, err := command.Client().Status(ctx)
	if err != nil {
		return p, err
	}
	if p.Device, err = find(status.Phones, name); err != nil {
		return p, err
	}
	if status.Locked {
		return p, command.WithHint(errors.New("the agent is locked, and tells of no key"), "SSH_AUTH_SOCK=%s ssh-add -X", command.ShellWord(status.Socket))
	}
	for _, d := range status.Phones {
		if d.ID != p.Device.ID {
			p.Others = append(p.Others, d.Name)
		}
	}
	for _, i := range status.Identities {
		if i.Certificate || !slices.Contains(i.PhoneIDs, p.Device.ID) {
			continue
		}
		var also []string // by ID: a restored phone may have the name of the one that is gone
		for n, id := range i.PhoneIDs {
			if id != p.Device.ID {
				also = append(also, i.Phones[n])
			}
		}
		p.Keys = append(p.Keys, key{i.Comment, i.PublicKey, also})
	}
	cas, err := command.Client().CA(ctx)
	if err != nil {
		return p, err
	}
	for _, ca := range cas {
		if ca.DeviceID == p.Device.ID {
			p.CA = ca.Line
		}
	}
	for _, ca := range cas {
		if ca.DeviceID != p.Device.ID && ca.Line == p.CA {
			p.CAAlsoOn = append(p.CAAlsoOn, ca.Phone)
		}
	}
	return p, nil
}

func find(phones []control.Device, name string) (control.Device, error) {
	var found []control.Device
	for _, d := range phones {
		if command.NamesDevice(name, d.Name, d.ID) {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return control.Device{}, command.WithHint(fmt.Errorf("no phone %q is paired", wire.Show(name)), "vmux devices; of one that is unpaired already, only its recovery sheet and your servers know the keys")
	case 1:
		return found[0], nil
	}
	return control.Device{}, command.WithHint(errors.New("several phones are called that"), "name it by its ID, as `vmux devices` and its recovery sheet have it")
}

// lines are a shell script of which each step can be left out.
func (p plan) lines() []string {
	name := wire.Show(p.Device.Name)
	list := []string{"# The phone " + name + " is gone: what to do, in this order.", ""}
	add := func(lines ...string) { list = append(list, lines...) }
	if len(p.Others) == 0 {
		add("# No other phone is paired. Pair one first, restore a backup on it, or make a key there and put", "# it on your servers while you still can: docs/backup.md", "vmux pair", "")
	}
	for n, k := range p.Keys {
		file := fmt.Sprintf("retired-%d.pub", n+1)
		add("# Key " + wire.Show(k.Comment))
		if len(k.AlsoOn) > 0 {
			add("# It is also on " + shown(k.AlsoOn) + ": take it off your servers only if " + name + " may be in wrong hands.")
		}
		add("echo "+command.ShellQuote(k.PublicKey+" "+wire.Show(k.Comment))+" > "+file,
			"vmux server untrust --key "+file+" --all   # the hosts in ~/.ssh/config; others: USER@HOST in place of --all", "")
	}
	if len(p.Keys) == 0 {
		add("# The agent knows no key of it. Look at authorized_keys on your servers.", "")
	} else {
		add("# Keys that were switched off on it are not known here: its recovery sheet has them.", "")
	}
	if p.CA != "" {
		add("# Its CA: certificates that it has issued are good until they expire, on all servers that trust it.")
		if len(p.CAAlsoOn) > 0 {
			add("# It is also on " + shown(p.CAAlsoOn) + ": take it off your servers only if " + name + " may be in wrong hands.")
		}
		add("echo "+command.ShellQuote(p.CA)+" > retired-ca.pub",
			"vmux server untrust --ca --phone "+p.Device.ID+" --all",
			"# Or have a server refuse it at once: put this list where RevokedKeys of its sshd_config says.",
			"ssh-keygen -k -f retired.krl retired-ca.pub", "")
	}
	add("# Git hosts and other services that have its keys: remove them there by hand.", "",
		"# Last, since it makes the agent forget its keys:", "vmux unpair "+p.Device.ID)
	return list
}

func shown(names []string) string { return wire.Show(strings.Join(names, ", ")) }
