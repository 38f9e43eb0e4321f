package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/hubpage"
	"vmux/internal/link/mdns"
	"vmux/internal/link/relay"
	"vmux/internal/wire"
)

// errOtherPage ends `vmux hub verify` with a failure once the differences are told.
var errOtherPage = errors.New("the hub serves another page than this version of vmux was built with")

func newHubVerifyCommand(a *app) *cobra.Command {
	var ca string
	cmd := a.WithJSON(&cobra.Command{
		Use:   "verify [URL]",
		Short: "Compare every file of a hub's page with those of this build",
		Long: `Fetches every file of the phone's page from the hub, as an iPhone and as an Android
phone would, and compares each with the one that was built together with this
vmux: contents, type, and the headers that keep foreign code out. Redirections,
headers that lead elsewhere, and files by which a hub would give its passkeys to
other pages and apps count as differences. Without URL it is the agent's hub,
which the agent looks at once a day by itself; vmux status warns.

A page cannot do this for itself: a malicious hub serves the page that compares,
too. Nor does it prove anything about the phone: a hub can answer this computer
otherwise than your phone, and can change the page after the check.

Exit status: 0 the same, 1 another page, or it could not be compared.`,
		Example: "  vmux hub verify\n  vmux hub verify https://hub.example.com",
		RunE: func(cmd *cobra.Command, words []string) error {
			r, err := verifyHub(cmd.Context(), words, ca)
			if err != nil {
				return err
			}
			return a.verified(r)
		},
	})
	cmd.Flags().StringVar(&ca, "hub-ca", "", "with URL: also believe the certificates in `FILE` (PEM)")
	return cmd
}

// verifyHub has the agent compare its hub's page, since it knows the way there,
// or compares the page at a URL itself.
func verifyHub(ctx context.Context, words []string, ca string) (hubpage.Report, error) {
	if len(words) == 0 {
		if ca != "" {
			return hubpage.Report{}, command.Usagef("--hub-ca is for a URL; the agent has its own")
		}
		return command.Client().VerifyHub(ctx)
	}
	origin, err := wire.ParseHubURL(words[0])
	if err != nil {
		return hubpage.Report{}, command.Usagef("%v", err)
	}
	var way relay.Way
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err == nil {
			way.Roots, err = relay.Roots(pem)
		}
		if err != nil {
			return hubpage.Report{}, command.Wrong(fmt.Errorf("read the hub's CA: %w", err), "--hub-ca FILE, with certificates in PEM")
		}
	}
	list, err := hubpage.Built()
	if err != nil {
		return hubpage.Report{}, err
	}
	if list == nil {
		return hubpage.Report{}, command.WithHint(errors.New("this build of vmux has no list of the page's files"), "%s", hubpage.HowToBuild)
	}
	fetch := way.Client()
	defer fetch.CloseIdleConnections()
	r, err := hubpage.Verify(ctx, fetch, origin, list)
	if hint := mdns.Hint(err); hint != "" {
		return r, command.WithHint(err, "%s", hint)
	}
	return r, command.OrHint(err, "curl -v %s/healthz", origin)
}

// verified tells what was found. Differences are the answer: they can be kept and
// compared with the next time's.
func (a *app) verified(r hubpage.Report) error {
	err := a.Answer(r, func() error {
		for _, d := range r.Differences {
			if err := a.Line("%s %s", wire.Show(d.Path), wire.Show(d.What)); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case r.Serves != "":
		a.Say("the hub's page calls itself version %s; this vmux was built with %s", r.Serves, r.Version)
	}
	if len(r.Differences) > 0 {
		return command.WithHint(errOtherPage, "open and unlock nothing on that page until you know why; vmux and vmux-hub of one build serve the same")
	}
	a.Say("%s serves the page of this build: %d files, version %s", wire.Show(r.URL), r.Files, r.Version)
	a.Say("what this does not show: %s", hubpage.Limits)
	return nil
}
