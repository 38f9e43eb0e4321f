package cli

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mdp/qrterminal/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/wire"
)

// pairAnswer is one of the two lines of `vmux pair --json`: what is to be handed
// to the phone, then who has used it.
type pairAnswer struct {
	Invitation string          `json:"invitation,omitempty"`
	Expires    time.Time       `json:"expires,omitzero"`
	DeviceID   string          `json:"deviceID,omitempty"` // this computer's
	Paired     *control.Device `json:"paired,omitempty"`
}

func newPairCommand(a *app) *cobra.Command {
	var addresses []string
	cmd := a.WithJSON(&cobra.Command{
		Use:   "pair",
		Short: "Invite a phone, and wait until it is paired",
		Long: `Prints an invitation: a code for the phone's camera, and the same thing as text
for ` + "`vmux phone pair`" + `. It works once, for 5 minutes. Whoever sees it first can
pair: show it to your own phone only.

While it waits, and only then, the agent listens on a TCP port. With a hub, the
code opens the hub's page, and the phone can be anywhere.`,
		Example: `  vmux pair
  vmux pair --address 192.0.2.7
  vmux pair --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.pair(cmd.Context(), control.PairOptions{Hosts: addresses})
		},
	})
	cmd.Flags().StringSliceVar(&addresses, "address", nil, "`ADDRESS` of this computer to listen at and to name in the invitation (default all it has)")
	return cmd
}

func (a *app) pair(ctx context.Context, o control.PairOptions) error {
	return command.Client().Pair(ctx, o, func(e control.PairEvent) error {
		switch {
		case e.Invitation != nil:
			answer := pairAnswer{Invitation: e.Invitation.URL, Expires: e.Invitation.Expires, DeviceID: e.Invitation.DeviceID}
			return a.Answer(answer, func() error { return a.invite(*e.Invitation) })
		case e.Paired != nil:
			return a.Answer(pairAnswer{Paired: e.Paired}, func() error {
				a.Say("paired with %s, device ID %s", wire.Show(e.Paired.Name), e.Paired.ID)
				return nil
			})
		}
		return nil
	})
}

// invite shows the code where somebody can see it, and the same as text. The code
// comes last, so that nothing pushes its top out of the window.
func (a *app) invite(i control.Invitation) error {
	code, noCode := a.codeFor(i.URL)
	switch {
	case i.Hub == "" && code == "":
		a.Say("the invitation:")
	case i.Hub == "":
		a.Say("scan the code below, or use the same as text:")
	case strings.HasPrefix(i.Hub, "http:"):
		a.Say("open this in a browser on this computer:")
	case code == "":
		a.Say("paste this into the app, whose page is %s", wire.Show(i.Hub))
	default:
		a.Say("scan the code below with the phone's camera: it opens %s", wire.Show(i.Hub))
		a.Say("on an iPhone, add that page to the Home Screen first, and scan inside the app")
		a.Say("the same as text:")
	}
	if i.HubError != "" {
		a.Say("warning: the hub cannot be reached, so the phone has to be on this network: %s", wire.Show(i.HubError))
		if i.HubHint != "" {
			a.Hint("%s", wire.Show(i.HubHint))
		}
	}
	if err := a.Line("%s", i.URL); err != nil {
		return err
	}
	// The text is full of & and #, which a shell would take for its own.
	a.Say("or, for a phone that is another machine, run there:")
	a.Aside("vmux phone pair '" + i.URL + "'\n")
	a.Say("the phone shows this computer's device ID: %s", device.InFours(wire.Show(i.DeviceID)))
	a.Say("it works once, until %s; waiting for the phone", command.LocalTime(i.Expires))
	if noCode != "" {
		a.Say("%s", noCode)
	}
	a.Aside(code)
	return nil
}

// codeFor draws the code for the terminal, if there is one, or says why it does
// not fit: half a code is read by no camera.
func (a *app) codeFor(url string) (code, why string) {
	f, ok := command.Terminal(a.Err)
	if !ok {
		return "", ""
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 || height <= 0 { // as of a serial line
		return "", "the size of this terminal is not known, so no code is drawn"
	}
	return fitting(qrCode(url), width, height)
}

// fitting returns the code if a window of that size shows it as a whole, above
// the line of the cursor.
func fitting(code string, width, height int) (fits, why string) {
	lines := strings.Split(strings.TrimSuffix(code, "\n"), "\n")
	wide, high := utf8.RuneCountInString(lines[0]), len(lines)+1
	if wide > width || high > height {
		return "", fmt.Sprintf("the code does not fit this window of %dx%d: for one to scan, make it %dx%d and run vmux pair again", width, height, wide, high)
	}
	return code, ""
}

// qrCode draws text with half blocks, light on dark, which every camera reads.
func qrCode(text string) string {
	var b strings.Builder
	qrterminal.GenerateWithConfig(text, qrterminal.Config{
		Level: qrterminal.L, Writer: &b, HalfBlocks: true, QuietZone: 2,
		BlackChar: qrterminal.BLACK_BLACK, WhiteChar: qrterminal.WHITE_WHITE,
		BlackWhiteChar: qrterminal.BLACK_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
	})
	return b.String()
}
