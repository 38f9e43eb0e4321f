package phonecmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/device"
	"vmux/internal/nativephone"
	"vmux/internal/wire"
)

// deviceAnswer is a paired computer in JSON.
type deviceAnswer struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	PairedAt time.Time `json:"pairedAt"`
}

func newPairCommand(a *app) *cobra.Command {
	var hubCA, name string
	cmd := a.WithJSON(&cobra.Command{
		Use:   "pair INVITATION",
		Short: "Pair this phone with the computer that printed the invitation",
		Long: `Takes the text that "vmux pair" prints on the computer; - reads it from standard
input. It works once, for 5 minutes. If it names a hub, the phone goes there too,
from now on.`,
		Example: `  vmux phone pair 'vmux://pair#…'
  vmux phone pair -`,
		RunE: func(cmd *cobra.Command, v []string) error { return a.pair(cmd, v[0], hubCA, name) },
	})
	nameFlag(cmd, &name)
	cmd.Flags().StringVar(&hubCA, "hub-ca", "", "also believe the certificates in `FILE` (PEM) when connecting to the invitation's hub, from now on")
	return cmd
}

func (a *app) pair(cmd *cobra.Command, text, hubCA, name string) error {
	if err := command.CheckName(name); err != nil {
		return err
	}
	if text == "-" {
		var err error
		if text, err = a.readInvitation(cmd.Context()); err != nil {
			return err
		}
	}
	again := "run `vmux pair` on the computer and use the whole line below \"the invitation\""
	text = inOneLine(text)
	inv, err := device.ParseInvitation(text)
	if err != nil {
		return command.Wrong(err, "%s", again)
	}
	ca, err := certificatesIn(hubCA)
	if err != nil {
		return err
	}
	a.Say("Connecting to %s", wire.Show(inv.Name))
	peer, err := pairPhone(cmd.Context(), pairing{text, ca, given(cmd, "name", name)})
	if err != nil {
		return err
	}
	return a.Answer(deviceAnswer{peer.ID.String(), peer.Name.String(), peer.PairedAt}, func() error {
		a.Say("paired with %s (device %s)", peer.Name, peer.ID.Short())
		if !peer.Runs {
			a.Hint("vmux phone run")
		}
		return nil
	})
}

// inOneLine mends what a narrow terminal, a mail or a chat has broken into lines: there is no
// space in an invitation. And it takes the command that `vmux pair` prints beside it.
func inOneLine(text string) string {
	text = strings.Join(strings.Fields(text), "")
	return strings.Trim(strings.TrimPrefix(text, "vmuxphonepair"), "'")
}

// readInvitation reads standard input: at a terminal, which has no end, until the invitation
// is complete, or an empty line ends it. What was left unread would go to the shell.
func (a *app) readInvitation(ctx context.Context) (text string, err error) {
	_, terminal := command.Terminal(a.In)
	if terminal {
		a.Say("paste the invitation, and press Enter")
	}
	in := bufio.NewReader(io.LimitReader(a.Input(ctx), 4096))
	for lines := 0; err == nil; {
		var line string
		line, err = in.ReadString('\n')
		if text += line; !terminal || strings.TrimSpace(text) == "" {
			continue
		}
		_, incomplete := device.ParseInvitation(inOneLine(text))
		if incomplete == nil || strings.TrimSpace(line) == "" {
			break
		}
		if lines++; lines == 1 && err == nil {
			a.Say("that is not the whole of one: go on, or end with an empty line")
		}
	}
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read the invitation: %w", err)
	}
	return text, nil
}

type pairing struct {
	Invitation string
	HubCA      []byte
	Name       *string
}

// paired is a computer, and whether the phone runs that was paired with it.
type paired struct {
	device.Peer
	Runs bool
}

var pairPhone = Operation("pair", func(ctx context.Context, p *nativephone.Phone, in pairing) (paired, error) {
	inv, err := device.ParseInvitation(in.Invitation)
	if err != nil {
		return paired{}, err
	}
	if in.Name != nil {
		if err := p.Rename(*in.Name); err != nil {
			return paired{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	peer, err := p.Pair(ctx, inv, in.HubCA)
	if err != nil {
		return paired{}, notPaired(err, p.Trust, inv)
	}
	return paired{peer, p.Running()}, nil
})

// notPaired adds to a failed pairing what is known of its cause: the phone may
// have used the invitation itself; a computer that refuses the connection has ended
// it, by whatever; and one that does not answer tells nothing of it.
func notPaired(err error, trust *device.Trust, inv device.Invitation) error {
	_, known := trust.Get(inv.DeviceID)
	again := "run `vmux pair` on the computer and use what it prints then"
	switch {
	case known == nil:
		return command.WithHint(err, "this phone is paired with that computer, see `vmux phone devices`: an invitation works once. To pair them anew, %s", again)
	case errors.Is(err, device.ErrWrongProof):
		return command.WithHint(err, "the computer has another invitation open: use what `vmux pair` shows there now")
	case errors.Is(err, device.ErrInvitationEnded), errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, context.DeadlineExceeded):
		return command.WithHint(err, "the computer no longer waits for a phone: the invitation was used, or is older than 5 minutes, or `vmux pair` was ended; %s", again)
	}
	if hint := wire.HintOf(err); hint != "" {
		return command.WithHint(err, "%s", hint)
	}
	return command.WithHint(err, "the computer does not answer: see that `vmux pair` still waits there, that no firewall there drops what comes in, and that this machine is on its network or reaches its hub")
}

var pairedComputers = Operation("devices", func(_ context.Context, p *nativephone.Phone, _ nothing) ([]device.Peer, error) {
	return p.Trust.Peers()
})

// findComputer is the paired computer that a person named.
func findComputer(p *nativephone.Phone, name string) (device.Peer, error) {
	peer, err := p.Trust.Find(name)
	if err != nil {
		err = command.WithHint(fmt.Errorf("computer %q: %w", wire.Show(name), err), "vmux phone devices")
	}
	return peer, err
}

var unpairComputer = Operation("unpair", func(_ context.Context, p *nativephone.Phone, name string) (device.Peer, error) {
	peer, err := findComputer(p, name)
	if err == nil {
		err = p.Unpair(peer.ID)
	}
	return peer, err
})

func newDevicesCommand(a *app) *cobra.Command {
	return a.WithJSON(&cobra.Command{
		Use: "devices", Short: "List the computers that this phone is paired with",
		Example: "  vmux phone devices --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			peers, err := pairedComputers(cmd.Context(), nothing{})
			if err != nil {
				return err
			}
			answers := []deviceAnswer{}
			for _, peer := range peers {
				answers = append(answers, deviceAnswer{peer.ID.String(), peer.Name.String(), peer.PairedAt})
			}
			return a.Answer(answers, func() error {
				if len(answers) == 0 {
					a.Say("paired with no computer")
					a.Hint("vmux phone pair INVITATION")
				}
				for _, d := range answers {
					if err := a.Line("%s  %s  paired %s", wire.Show(d.Name), d.ID, command.LocalTime(d.PairedAt)); err != nil {
						return err
					}
				}
				return nil
			})
		},
	})
}

func newUnpairCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "unpair DEVICE", Short: "End the pairing with a computer: it gets no further signature",
		Long:    "Ends the pairing with a computer. DEVICE is its name, its ID, or the ID's first\nsix characters or more.",
		Example: "  vmux phone unpair laptop",
		RunE: func(cmd *cobra.Command, v []string) error {
			peer, err := unpairComputer(cmd.Context(), v[0])
			if err != nil {
				return err
			}
			a.Say("unpaired %s (device %s)", peer.Name, peer.ID.Short())
			return nil
		},
	}
}
