package phonecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vmux/internal/cli/command"
	"vmux/internal/config"
	"vmux/internal/desktop"
	"vmux/internal/link/relay"
	"vmux/internal/nativephone"
	"vmux/internal/nativephone/asking"
	"vmux/internal/nativephone/remember"
	"vmux/internal/nativephone/terminal"
	"vmux/internal/signer"
	"vmux/internal/signer/activity"
	"vmux/internal/state"
	"vmux/internal/wire"
)

type runFlags struct {
	approve, passphraseFile, listen, hub, hubCA, name string
	remember                                          time.Duration
	notifications                                     []string
}

// maxRemember is the longest time that a passphrase is remembered.
const maxRemember = 24 * time.Hour

func newRunCommand(a *app) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve paired computers: show what they ask, sign what you approve",
		Long: `Listens for paired computers, announces itself on the local network by DNS-SD,
and asks on this terminal for each signature. Without a terminal, as a service, it
asks at the one of "vmux phone attach". Ends on ^C. A sheet takes no key until
half a second has passed without one. When a question is withdrawn or expires, what is
typed is thrown away until Enter, or until two seconds have passed without a key;
after a passphrase, until a minute has passed or somebody else is to be asked.

With --remember a passphrase is asked for once in that time, and each request is
still asked about. It is kept in memory, for the terminal at which it was typed, and
forgotten at the end of its time, when the machine sleeps or its screen is locked, by
the key l, by "vmux phone lock", and when the phone ends.

With a hub, computers reach it from anywhere. It goes to each hub that it has been
told of once, here or by an invitation, until --hub none makes it forget them.

Each flag can stand in the configuration file, below [phone]: vmux config.`,
		Example: `  vmux phone run
  vmux phone run --hub https://hub.example
  vmux phone run --remember 15m
  vmux phone run --listen 192.0.2.7:41234
  vmux phone run --approve always --passphrase-file FILE    for tests only`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd, f) },
	}
	cmd.Flags().StringVar(&f.approve, "approve", "prompt", "`HOW` to approve: prompt, or always (for tests and demonstrations only)")
	cmd.Flags().StringVar(&f.listen, "listen", "", "`HOST:PORT` to listen at; port 0 is that of last time (default all addresses, port 0)")
	nameFlag(cmd, &f.name)
	cmd.Flags().DurationVar(&f.remember, "remember", 0, "how long a passphrase that was typed is not asked for again at this terminal, at most 24h (default not at all)")
	cmd.Flags().StringSliceVar(&f.notifications, "notifications", []string{"all"}, "which desktop notifications you want: all, none, or waiting (a request waits)")
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
	asked, err := a.asked(ctx, f)
	if err != nil {
		return err
	}
	defer asked.close()
	// What the person needs to know stands in states and sheets, and what was
	// asked in `vmux phone log`: the terminal is kept free for them.
	warnings := &slog.HandlerOptions{Level: slog.LevelWarn}
	log := slog.New(slog.NewTextHandler(aboveWriter{a.Logs(), asked.above}, warnings))
	ctx, cancel := context.WithCancel(ctx)
	if strings.Join(f.notifications, ",") != "none" {
		desk := desktop.New(nil, log)
		var showing sync.WaitGroup
		showing.Go(func() { desk.Run(ctx) })
		defer showing.Wait()
		asked.Approver = asking.Notifying(asked.Approver, desk, asked.where)
	}
	defer cancel()
	p, running, err := nativephone.Reach(ctx, home, "vmux phone run", asked.Approver, log)
	switch {
	case err != nil:
		return inUse(err)
	case running != nil:
		return notRun(nativephone.ErrRunning)
	}
	defer p.Close()
	p.ProgramVersion = command.Version
	asked.begin(p)
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
	asked.above(func() { a.sayMissing(p) })
	err = p.Run(ctx, nativephone.RunConfig{
		Listen: f.listen,
		State: func(text, hint string) {
			asked.above(func() {
				a.Say("%s", wire.Show(text))
				if hint != "" {
					a.Hint("%s", wire.Show(hint))
				}
			})
			asked.say(wire.Show(text))
		},
		Log: log, Perform: perform, Attach: asked.attach,
	})
	return notRun(err)
}

// sayMissing says what a new phone lacks to be asked for anything.
func (a *app) sayMissing(p *nativephone.Phone) {
	if keys, err := p.Signer.Identities.All(); err == nil && len(keys) == 0 {
		a.Say("there is no key on this phone yet")
		a.Hint("vmux phone identity create --label LABEL, in another terminal")
	}
	if peers, err := p.Trust.Peers(); err == nil && len(peers) == 0 {
		a.Say("it is paired with no computer yet")
		a.Hint("vmux phone pair INVITATION, in another terminal, with what `vmux pair` prints on the computer")
	}
}

// notRun adds to a failed run what to do about it.
func notRun(err error) error {
	var unknown *net.DNSError
	switch {
	case errors.Is(err, nativephone.ErrRunning):
		return command.WithHint(err, "end the other `vmux phone run`, or set VMUX_HOME for a phone of its own")
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.As(err, &unknown):
		return command.Wrong(err, "--listen HOST:PORT with an address of this machine, or without it for all that it has")
	case errors.Is(err, state.ErrReadOnly):
		return command.WithHint(err, "a phone keeps what it was asked: make the folder writable, or set VMUX_HOME to one that is")
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
	if f.remember < 0 || f.remember > maxRemember {
		return none, command.Usagef("--remember accepts a time up to 24h, such as 15m")
	}
	switch strings.Join(f.notifications, ",") {
	case "all", "none", "waiting":
	default:
		return none, command.Usagef("--notifications accepts all, none, or waiting")
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

// aboveWriter writes whole lines above what is asked.
type aboveWriter struct {
	to    io.Writer
	above func(func())
}

func (w aboveWriter) Write(b []byte) (n int, err error) {
	w.above(func() { n, err = w.to.Write(b) })
	return n, err
}

// asked is how a running phone asks: on terminals, or nobody.
type asked struct {
	signer.Approver
	above  func(func())     // writes without tearing what is asked
	say    func(string)     // tells an attached terminal
	where  func() string    // how a person is asked that is not there yet, behind a notification
	attach http.HandlerFunc // serves a terminal that is attached
	begin  func(*nativephone.Phone)
	close  func()
}

func (a *app) asked(ctx context.Context, f runFlags) (asked, error) {
	var secret []byte
	var err error
	if f.passphraseFile != "" {
		if secret, err = a.Passphrase(ctx, f.passphraseFile, "", false); err != nil {
			return asked{}, err
		}
	}
	direct := func(write func()) { write() }
	if f.approve == "always" {
		a.GoOn()
		a.Say("EVERYTHING IS APPROVED WITHOUT ASKING (--approve always): for tests and demonstrations only")
		return asked{
			Approver: terminal.Always(secret, func(s string) { a.Say("%s", s) }),
			above:    direct, say: func(string) {}, where: func() string { return "" },
			attach: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "nothing is asked", http.StatusConflict) },
			begin:  func(*nativephone.Phone) {}, close: func() {},
		}, nil
	}
	var phone *nativephone.Phone // set before anything is asked
	terminals := asking.New(asking.Config{
		Make: func(t *terminal.Terminal) signer.Approver {
			t.Remedies = terminal.Remedies{
				Report: func(pause signer.Pause) (activity.Report, error) {
					return phone.Signer.Activity.Report(pause.DeviceID, pause.Since)
				},
				Unpair: phone.Unpair,
			}
			t.Lock = func() { phone.Lock() }
			if f.remember > 0 && secret == nil {
				t.Memory = remember.New(f.remember)
			}
			return t.Approver(secret)
		},
		Name: func() string { return phone.Name() },
	})
	all := asked{
		Approver: terminals.Approver(), above: direct, say: terminals.Say, attach: terminals.Serve, close: func() {},
		where: func() string {
			if terminals.Asked() {
				return ""
			}
			return "\nvmux phone attach"
		},
	}
	tty, there := a.terminal()
	var own *terminal.Terminal
	_, same := command.Terminal(a.Err)
	if there && same {
		a.Err = tty // which nobody waits for
	} else {
		a.GoOn()
	}
	if there {
		own = terminal.New(tty)
		all.above, all.close = own.Above, func() { own.Close(); own.Memory.Clear() }
	}
	all.begin = func(p *nativephone.Phone) {
		phone, p.Forget = p, terminals.Forget
		if there {
			terminals.Own(own)
		} else {
			a.Say("no terminal to ask on: requests wait for one")
			a.Hint("vmux phone attach")
		}
	}
	return all, nil
}

// terminal returns the terminal to ask on, if there is one: the one that controls this
// process, or standard input.
func (a *app) terminal() (*terminal.File, bool) {
	if tty, err := terminal.OpenFile(); err == nil {
		return tty, true
	}
	in, ok := command.Terminal(a.In)
	return terminal.NewFile(in), ok
}
