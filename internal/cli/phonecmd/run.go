package phonecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vmux/internal/cli/command"
	"vmux/internal/config"
	"vmux/internal/link/relay"
	"vmux/internal/nativephone"
	"vmux/internal/signer"
	"vmux/internal/signer/activity"
	"vmux/internal/state"
	"vmux/internal/wire"
)

type runFlags struct{ approve, passphraseFile, listen, hub, hubCA, name string }

func newRunCommand(a *app) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve paired computers: show what they ask, sign what you approve",
		Long: `Listens for paired computers, announces itself on the local network by DNS-SD,
and asks on this terminal for each signature. Ends on ^C. A sheet takes no key until
half a second has passed without one. When a question is withdrawn or expires, what is
typed is thrown away until Enter, or until two seconds have passed without a key.

With a hub, computers reach it from anywhere. It goes to each hub that it has been
told of once, here or by an invitation, until --hub none makes it forget them.

Each flag can stand in the configuration file, below [phone]: vmux config.`,
		Example: `  vmux phone run
  vmux phone run --hub https://hub.example
  vmux phone run --listen 192.0.2.7:41234
  vmux phone run --approve always --passphrase-file FILE    for tests only`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd, f) },
	}
	cmd.Flags().StringVar(&f.approve, "approve", "prompt", "`HOW` to approve: prompt, or always (for tests and demonstrations only)")
	cmd.Flags().StringVar(&f.listen, "listen", "", "`HOST:PORT` to listen at; port 0 is that of last time (default all addresses, port 0)")
	nameFlag(cmd, &f.name)
	hub := pflag.NewFlagSet("hub", pflag.ContinueOnError)
	hub.StringVar(&f.hub, "hub", "", "the `URL` of a hub to be at as well, from now on; none forgets all hubs")
	hub.StringVar(&f.hubCA, "hub-ca", "", "also believe the certificates in `FILE` (PEM) when connecting to that hub, from now on")
	config.DetailsOf("hub", hub)
	cmd.Flags().AddFlagSet(hub)
	passphraseFlag(cmd, &f.passphraseFile)
	config.For(cmd, config.TablePhone, func() error {
		_, err := f.check()
		return err
	})
	return cmd
}

func (a *app) run(cmd *cobra.Command, f runFlags) error {
	ctx := cmd.Context()
	if err := command.ForbidTracing(); err != nil {
		return fmt.Errorf("forbid tracing: %w", err)
	}
	hub, err := f.check()
	if err != nil {
		return err
	}
	home, err := state.Find()
	if err != nil {
		return err
	}
	if _, err := home.PhoneSocket(); err != nil { // for commands, while it runs
		return err
	}
	asking, err := a.approver(ctx, f)
	if err != nil {
		return err
	}
	defer asking.close()
	// What the person needs to know stands in states and sheets, and what was
	// asked in `vmux phone log`: the terminal is kept free for them.
	warnings := &slog.HandlerOptions{Level: slog.LevelWarn}
	log := slog.New(slog.NewTextHandler(aboveWriter{a.Logs(), asking.above}, warnings))
	p, running, err := nativephone.Reach(ctx, home, "vmux phone run", asking.Approver, log)
	switch {
	case err != nil:
		return inUse(err)
	case running != nil:
		return notRun(nativephone.ErrRunning)
	}
	defer p.Close()
	p.ProgramVersion = command.Version
	asking.help(p)
	if cmd.Flags().Changed("name") {
		if err := p.Rename(f.name); err != nil {
			return err
		}
	}
	switch {
	case f.hub == hubNone:
		err = p.ForgetHubs()
	case f.hub != "":
		err = p.RememberHub(hub)
	}
	if err != nil {
		return err
	}
	err = p.Run(ctx, nativephone.RunConfig{
		Listen: f.listen,
		State: func(text, hint string) {
			asking.above(func() {
				a.Say("%s", wire.Show(text))
				if hint != "" {
					a.Hint("%s", wire.Show(hint))
				}
			})
		},
		Log: log, Perform: perform,
	})
	return notRun(err)
}

// notRun adds to a failed run what to do about it.
func notRun(err error) error {
	var unknown *net.DNSError
	switch {
	case errors.Is(err, nativephone.ErrRunning):
		return command.WithHint(err, "end the other `vmux phone run`, or set VMUX_HOME for a phone of its own")
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.As(err, &unknown):
		return command.Wrong(err, "--listen HOST:PORT with an address of this machine, or without it for all that it has")
	case errors.Is(err, syscall.EADDRINUSE):
		return command.WithHint(err, "--listen with another port; ss -ltnp or lsof -i tells who has this one")
	}
	return command.OrHint(err, "vmux phone run --help")
}

// check tells wrong usage, and returns the hub that --hub and --hub-ca name.
func (f *runFlags) check() (nativephone.Hub, error) {
	var none nativephone.Hub
	switch {
	case f.approve != "prompt" && f.approve != "always":
		return none, command.Usagef("--approve is prompt or always, not %s", wire.Show(f.approve))
	case f.approve == "always" && f.passphraseFile == "":
		return none, command.Usagef("--approve always needs --passphrase-file: there is nobody to ask")
	}
	if err := command.CheckName(f.name); err != nil {
		return none, err
	}
	if f.listen != "" {
		if err := command.CheckListen("--listen", f.listen); err != nil {
			return none, err
		}
	}
	if f.hub == "" || f.hub == hubNone {
		if f.hubCA != "" {
			return none, command.Usagef("--hub-ca is for --hub URL")
		}
		return none, nil
	}
	u, err := wire.ParseHubURL(f.hub)
	if err != nil {
		return none, command.Usagef("--hub accepts none or a URL: %v", err)
	}
	ca, err := certificatesIn(f.hubCA)
	return nativephone.Hub{URL: u, CA: string(ca)}, err
}

// certificatesIn reads a file of --hub-ca; no file is none.
func certificatesIn(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err == nil {
		_, err = relay.Roots(pem)
	}
	if err != nil {
		return nil, command.Wrong(fmt.Errorf("read --hub-ca: %w", err), "--hub-ca FILE, with certificates in PEM")
	}
	return pem, nil
}

// asking is how a running phone asks: on a terminal, or nobody.
type asking struct {
	signer.Approver
	above func(func()) // writes without tearing what is asked
	close func()
	help  func(*nativephone.Phone) // tells what can be done about denials
}

// aboveWriter writes whole lines above what is asked.
type aboveWriter struct {
	to    io.Writer
	above func(func())
}

func (w aboveWriter) Write(b []byte) (n int, err error) {
	w.above(func() { n, err = w.to.Write(b) })
	return n, err
}

func (a *app) approver(ctx context.Context, f runFlags) (asking, error) {
	var secret []byte
	var err error
	if f.passphraseFile != "" {
		if secret, err = a.passphrase(ctx, f.passphraseFile, "", false); err != nil {
			return asking{}, err
		}
	}
	switch {
	case f.approve == "always":
		a.Say("EVERYTHING IS APPROVED WITHOUT ASKING (--approve always): for tests and demonstrations only")
		approver := nativephone.Always(secret, func(s string) { a.Say("%s", s) })
		return asking{approver, func(write func()) { write() }, func() {}, func(*nativephone.Phone) {}}, nil
	}
	tty, err := a.terminal()
	if err != nil {
		return asking{}, err
	}
	t := nativephone.NewTerminal(tty)
	help := func(p *nativephone.Phone) {
		t.Remedies = nativephone.Remedies{
			Report: func(pause signer.Pause) (activity.Report, error) {
				return p.Signer.Activity.Report(pause.DeviceID, pause.Since)
			},
			Unpair: p.Unpair,
		}
	}
	return asking{t.Approver(secret), t.Above, t.Close, help}, nil
}

// terminal returns the terminal to ask on: the one that controls this process,
// or standard input if that is one.
func (a *app) terminal() (*os.File, error) {
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		return tty, nil
	}
	if in, ok := command.Terminal(a.In); ok {
		return in, nil
	}
	return nil, command.Usage("there is no terminal to ask on", "run it in a terminal; --approve always is for tests")
}
