package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newDemoCommand(a *app) *cobra.Command {
	d := &demo{app: a}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show all of it on this machine, in a scratch folder",
		Long: `Runs a phone, a computer's agent and a private SSH server on this machine, as
real processes in a scratch folder, and logs in with the real ssh: first by a
key that only the phone holds, then by a session certificate. You are the
phone's owner and approve on this terminal; --yes approves by itself.

With --web, the phone is the web app in a browser on this computer; with --phone,
it is the web app on a phone of yours in the same network. You press the buttons
there, and the demonstration says which.

Nothing of yours is touched: not ~/.ssh, not a running agent, not the system's
SSH server. It all listens on the loopback interface only (with --phone, the hub
is for your network), and is gone at the end, also after ^C.`,
		Example: `  vmux demo --yes
  vmux demo --web
  vmux demo --phone`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.web && d.handset {
				return usagef("--web and --phone exclude each other")
			}
			if d.name != "" && !d.handset {
				return usagef("--name is for --phone")
			}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&d.yes, "yes", false, "approve by itself; no terminal is needed (with --web and --phone: open no browser and wait for no key, but for the phone)")
	cmd.Flags().BoolVar(&d.web, "web", false, "the phone is the web app in a browser on this computer")
	cmd.Flags().BoolVar(&d.handset, "phone", false, "the phone is the web app on a real one, in the same network")
	cmd.Flags().StringVar(&d.name, "name", "", "with --phone: the host `NAME` by which it finds this computer (default this computer's with .local)")
	cmd.Flags().BoolVar(&d.keep, "keep", false, "leave the scratch folder, to look at")
	return cmd
}

// demo is one run of the demonstration.
type demo struct {
	*app
	yes, keep    bool
	web, handset bool
	name         string // of this computer, for the handset

	tools     demoTools
	program   string // this program
	dir       string // the scratch folder
	agent     *child
	phone     *child
	invited   *child // `vmux pair`, with --web and --phone
	server    *demoSSHD
	passwords string // the file with the phone's passphrase
	began     time.Time
	number    int    // of the step
	hub       string // the URL of the page, if there is one
	install   string // the URL of what a handset needs to open it
	want      string // what sshd says of a login by the phone-held key
	summary   []string
}

func (d *demo) run(ctx context.Context) (err error) {
	// A reader that goes away, as head does, is an error to tidy up after.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if err := d.prepare(); err != nil {
		return err
	}
	defer func() {
		d.invited.stop()
		d.phone.stop()
		d.agent.stop()
		if d.server != nil {
			d.server.stop()
		}
		if cleaned := d.clean(err); err == nil {
			err = cleaned
		}
	}()
	if err := d.line("One machine plays all parts, in the scratch folder %s ($D below).", d.dir); err != nil {
		return err
	}
	for _, s := range d.steps() {
		if err := d.step(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.title, err)
		}
	}
	return d.conclude()
}

// prepare finds what is needed before anything is started.
func (d *demo) prepare() (err error) {
	if !d.yes && !d.paged() && !d.attended() {
		return &usageError{"there is no terminal to ask for approval on", "vmux demo --yes"}
	}
	if d.tools, err = findDemoTools(); err != nil {
		return err
	}
	if d.program, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	base := ""
	if len(os.TempDir()) > 40 {
		base = "/tmp" // a socket's path may have 103 bytes at most
	}
	if d.dir, err = os.MkdirTemp(base, "vmux-demo-"); err != nil {
		return fmt.Errorf("make a scratch folder: %w", err)
	}
	for _, sub := range []string{"computer", "phone", "server"} {
		if err := os.Mkdir(filepath.Join(d.dir, sub), 0o700); err != nil {
			return fmt.Errorf("make a scratch folder: %w", err)
		}
	}
	d.passwords = filepath.Join(d.dir, "phone", "passphrase")
	if err := os.WriteFile(d.passwords, []byte(rand.Text()+"\n"), 0o600); err != nil {
		return fmt.Errorf("choose a passphrase: %w", err)
	}
	d.began = time.Now()
	return nil
}

// attended reports whether somebody sits at a terminal.
func (d *demo) attended() bool {
	f, ok := d.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// paged reports whether the phone is the web app.
func (d *demo) paged() bool { return d.web || d.handset }

// clean removes the scratch folder, unless it is to be kept.
func (d *demo) clean(failed error) error {
	if d.keep {
		d.say("the scratch folder stays: %s", d.dir)
		return nil
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("remove the scratch folder: %w", err)
	}
	if failed != nil {
		d.say("the scratch folder is removed; --keep leaves it to look at")
	}
	return nil
}

type demoStep struct {
	title string
	run   func(context.Context) error
}

func (d *demo) steps() []demoStep {
	if d.paged() {
		return d.pageSteps()
	}
	d.want = "ECDSA SHA256:"
	return []demoStep{
		{"The phone makes an SSH key and a certificate authority of its own", d.makePhone},
		{"The computer starts an agent, which holds no key", d.startAgent},
		{"The two are paired, by an invitation that the phone scans", d.pair},
		{"SSH clients see the phone's key through the agent", d.list},
		{"A server is told of the key and of the CA", d.startServer},
		{"Log in by the phone-held key: the phone is asked", d.loginByKey},
		{"Get a session certificate: the phone is asked once more", d.requestCertificate},
		{"Log in by the certificate, as often as you like: nobody is asked", d.loginByCertificate},
	}
}

func (d *demo) step(ctx context.Context, s demoStep) error {
	d.number++
	if err := d.line("\n%d. %s", d.number, s.title); err != nil {
		return err
	}
	began := time.Now()
	if err := s.run(ctx); err != nil {
		return err
	}
	return d.line("   -- %s", seconds(time.Since(began)))
}

func (d *demo) makePhone(ctx context.Context) error {
	me, err := user.Current()
	if err != nil {
		return fmt.Errorf("find out who runs this: %w", err)
	}
	for _, line := range [][]string{
		{"phone", "identity", "create", "--label", "demo-key", "--passphrase-file", d.passwords},
		{"phone", "ca", "create", "--passphrase-file", d.passwords},
		{"phone", "ca", "policy", "--principals", me.Username, "--max-validity", "8h", "--auto-issue=false"},
	} {
		if _, err := d.vmux(ctx, "phone", "", line...); err != nil {
			return err
		}
	}
	approve := "prompt"
	if d.yes {
		approve = "always"
	}
	line := []string{"phone", "run", "--approve", approve, "--passphrase-file", d.passwords, "--listen", "127.0.0.1:0"}
	if err := d.prompt("phone", "vmux", append(line, "&")); err != nil {
		return err
	}
	cmd := d.command("phone", line...)
	if !d.yes { // it asks on this terminal
		cmd.Stdin = d.in.(*os.File)
	}
	d.phone, err = startChild("vmux phone run", cmd, filepath.Join(d.dir, "phone.log"))
	if err != nil {
		return err
	}
	return d.phone.waitLog(ctx, "listening on ") // the computer is told where, when it is paired
}

func (d *demo) startAgent(ctx context.Context) (err error) {
	line := []string{"agent", "--lan=false"}
	if err := d.prompt("computer", "vmux", append(slices.Clone(line), "&")); err != nil {
		return err
	}
	d.agent, err = startChild("vmux agent", d.command("computer", line...), filepath.Join(d.dir, "agent.log"))
	if err != nil {
		return err
	}
	return d.agent.wait(ctx, "its socket", func() bool {
		_, err := d.capture(ctx, d.command("computer", "devices", "--json"), "")
		return err == nil
	})
}

func (d *demo) list(ctx context.Context) error {
	_, err := d.openssh(ctx, d.tools.sshAdd, "-l")
	return err
}

func (d *demo) startServer(ctx context.Context) error {
	keys, err := d.openssh(ctx, d.tools.sshAdd, "-L")
	if err != nil {
		return err
	}
	ca, err := d.vmux(ctx, "computer", "", "ca")
	if err != nil {
		return err
	}
	d.server, err = startDemoSSHD(ctx, d.tools, filepath.Join(d.dir, "server"),
		authorizedLines(keys), strings.TrimSpace(ca), d.socket())
	if err != nil {
		return err
	}
	return d.line("   sshd listens, with the first line in authorized_keys, the second in TrustedUserCAKeys")
}

func (d *demo) loginByKey(ctx context.Context) error {
	if err := d.dropCertificate(ctx); err != nil {
		return err
	}
	took, err := d.login(ctx, d.want, true)
	if err != nil {
		return err
	}
	n, err := d.approvals(ctx)
	if err != nil {
		return err
	}
	if n != 1 && !d.paged() { // on a page, somebody may have denied it first
		return fmt.Errorf("the phone signed %d times, want once", n)
	}
	d.summary = append(d.summary, fmt.Sprintf("by phone-held key     1 login,  %s, approved on the phone", seconds(took)))
	return nil
}

func (d *demo) requestCertificate(ctx context.Context) error {
	if _, err := d.vmux(ctx, "computer", "", "cert", "request"); err != nil {
		return err
	}
	if err := d.list(ctx); err != nil {
		return err
	}
	_, err := d.vmux(ctx, "computer", "", "status")
	return err
}

// demoLogins is how often the demonstration logs in by certificate.
const demoLogins = 5

func (d *demo) loginByCertificate(ctx context.Context) error {
	before, err := d.approvals(ctx)
	if err != nil {
		return err
	}
	var total time.Duration
	for n := range demoLogins {
		took, err := d.login(ctx, "ECDSA-CERT SHA256:", n == 0)
		if err != nil {
			return err
		}
		total += took
		if n > 0 {
			if err := d.line("   and again: %s", seconds(took)); err != nil {
				return err
			}
		}
	}
	after, err := d.approvals(ctx)
	if err != nil {
		return err
	}
	if after != before {
		return fmt.Errorf("the phone signed %d times for logins by certificate", after-before)
	}
	d.summary = append(d.summary, fmt.Sprintf("by certificate        %d logins, %s each, nobody asked", demoLogins, seconds(total/demoLogins)))
	return nil
}

// login runs ssh once, and sees in the server's log by what it was let in.
func (d *demo) login(ctx context.Context, want string, shown bool) (time.Duration, error) {
	offset := len(d.server.read())
	words := []string{"-F", d.server.config, "demo", "echo logged in as $(id -un)"}
	if shown {
		if err := d.prompt("computer", "ssh", words); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	out, err := d.capture(ctx, d.client(d.tools.ssh, words...), "")
	took := time.Since(began)
	if err != nil {
		return 0, d.reason(ctx, err)
	}
	line := d.server.accepted(offset)
	if !strings.Contains(line, want) {
		return 0, fmt.Errorf("the server says it let in %q, want %s", line, want)
	}
	if !shown {
		return took, nil
	}
	return took, errors.Join(d.show(out), d.show("the server's log: accepted "+strings.Replace(line, " ID ", "\n  ID ", 1)))
}

func (d *demo) conclude() error {
	lines := append([]string{"", fmt.Sprintf("Done in %s. Logged in to a real sshd:", seconds(time.Since(d.began)))}, d.summary...)
	next := "Next: `vmux agent` on your computer, `vmux phone run` where the keys shall be; see README.md."
	if d.paged() {
		next = "Next: `vmux agent --hub local` or `--hub URL` on your computer; see README.md."
	}
	lines = append(lines, "The computer never held the phone's key, and its certificate's key was in memory only.", next)
	lines = append(lines, d.leftOnPhone()...)
	return d.text(strings.Join(lines, "\n") + "\n")
}

func seconds(t time.Duration) string { return fmt.Sprintf("%.2f s", t.Seconds()) }
