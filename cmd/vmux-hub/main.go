// Command vmux-hub is the relay between devices that cannot reach each other,
// and the place where phones find the web app. What it does is in internal/hub;
// here are the flags, the listener, and the one place where the process ends.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"vmux/internal/errorstream"
	"vmux/internal/hub/front"
	"vmux/internal/pushsubject"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// Exit statuses, as `vmux` has them. Whoever supervises a hub need not start it
// again after exitUsage.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	errs := errorstream.New(os.Stderr)
	status := run(ctx, os.Args[1:], os.Stdin, errs)
	errs.Close()
	stop()
	os.Exit(status)
}

// errUsage marks what the flags make impossible.
var errUsage = errors.New("wrong usage")

// options are the flags.
type options struct {
	front                 front.Config
	nats, natsCreds       string
	state, pushSubject    string
	verbose, endWithInput bool
}

// run is the whole program but for its end.
func run(ctx context.Context, args []string, in io.Reader, errs io.Writer) int {
	var o options
	cmd := &cobra.Command{
		Use:   "vmux-hub",
		Short: "Relay between vmux agents and phones, and host of the phone web app",
		Long: `vmux-hub carries ciphertext between vmux agents and phones, serves the phone
web app, and wakes phones by Web Push. It cannot read what it carries.

Without one of --tls-cert, --acme-domain, --behind-proxy and --local-ca it serves
this machine only. --public-url is the address that phones and agents use; its
host name is part of every passkey that the web app makes, so it should never
change. The port is no part of it: serve nothing else under that name, since any
other page there could ask for signatures by those passkeys. On this machine,
http://vmux.localhost:8722 is a name of the hub's own.`,
		Example: `  vmux-hub --acme-domain hub.example.org
  vmux-hub --behind-proxy --public-url https://laptop.tailnet.ts.net
  vmux-hub --local-ca`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%w: unexpected argument %q", errUsage, args[0])
			}
			return nil
		},
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			o, err := o.complete()
			if err != nil {
				return err
			}
			return serve(ctx, o, in, errs)
		},
	}
	cmd.SetArgs(args)
	cmd.SetOut(errs)
	cmd.SetErr(errs)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	o.flags(cmd)
	err := cmd.Execute()
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage), errors.Is(err, front.ErrUsage):
		fmt.Fprintln(errs, "vmux-hub:", err)
		fmt.Fprintln(errs, "hint:", cmp.Or(wire.HintOf(err), "vmux-hub --help"))
		return exitUsage
	}
	fmt.Fprintln(errs, "vmux-hub:", err)
	if hint := wire.HintOf(err); hint != "" {
		fmt.Fprintln(errs, "hint:", hint)
	}
	return exitFailed
}

func (o *options) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	o.front.Flags(f)
	f.StringVar(&o.nats, "nats", "", "`URL` of an existing NATS cluster with JetStream (default: NATS inside this process, without a port)")
	f.StringVar(&o.natsCreds, "nats-creds", "", "credentials `file` for --nats")
	f.StringVar(&o.state, "state", "", "`folder` for what the hub remembers (default: hub/ in vmux's state folder)")
	f.StringVar(&o.pushSubject, "push-subject", "", "mailto: address or https `URL` for push services to reach who runs this hub (default: the public URL, or a general one where that is no name of the public DNS)")
	f.BoolVar(&o.endWithInput, "end-with-input", false, "end when standard input does: for the program that starts this one")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log each device that comes and goes, by its short ID")
}

// complete checks the flags with each other and finds the defaults.
func (o options) complete() (options, error) {
	if o.natsCreds != "" && o.nats == "" {
		return o, fmt.Errorf("%w: --nats-creds without --nats", errUsage)
	}
	var err error
	if o.state, err = state.BelowHome(o.state); err != nil {
		return o, fmt.Errorf("%w: --state: %w", errUsage, err)
	}
	if o.pushSubject != "" {
		if o.pushSubject, err = pushsubject.Parse(o.pushSubject); err != nil {
			return o, fmt.Errorf("%w: --push-subject: %w", errUsage, err)
		}
	}
	if o.state == "" && (o.nats == "" || o.front.NeedsState()) {
		home, err := state.Find()
		if err != nil {
			return o, err
		}
		dir, err := home.Hub()
		if err != nil {
			return o, err
		}
		o.state = dir.Path()
	}
	o.front.StateDir = o.state
	return o, nil
}
