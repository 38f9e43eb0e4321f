// Package demo is the demonstration: a phone, a computer's agent and a private SSH
// server on this machine, as real processes in a scratch folder. It runs the
// program's own commands as a person would type them, and shows them being run.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"vmux/internal/process"
	"vmux/internal/sshd"
)

// Config is how a demonstration is run.
type Config struct {
	Yes     bool   // approve by itself, and open no browser
	Keep    bool   // leave the scratch folder
	Web     bool   // the phone is the web app in a browser on this computer
	Handset bool   // the phone is the web app on a real one, in the same network
	Name    string // the host by which a handset finds this computer
	HubHost string // the host of the hub for a browser on this computer

	In io.Reader // somebody types here if it is a terminal

	// How the command line prints: the answer, words for people, and what goes to
	// standard error as it is. QRCode draws a code with characters.
	Text   func(string) error
	Say    func(format string, args ...any)
	Aside  func(string)
	QRCode func(text string) string

	OpenSSHVersion func(context.Context) string // what `ssh -V` says; "" is unknown
}

// demo is one run of the demonstration.
type demo struct {
	Config

	tools     tools
	program   string // this program
	dir       string // the scratch folder
	agent     *process.Process
	phone     *process.Process
	invited   *process.Process // `vmux pair`
	server    *sshd.Server
	config    string // for `ssh -F`, with the host demo
	passwords string // the file with the phone's passphrase
	began     time.Time
	number    int    // of the step
	hub       string // the URL of the page, if there is one
	install   string // the URL of what a handset needs to open it
	want      string // what sshd says of a login by the phone-held key
	summary   []string
}

// Run runs the demonstration to its end, or to that of ctx. All its processes are
// gone when it returns.
func Run(ctx context.Context, c Config) error { return (&demo{Config: c}).run(ctx) }

func (d *demo) run(ctx context.Context) (err error) {
	// A reader that goes away, as head does, is an error to tidy up after.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if err := d.prepare(); err != nil {
		return err
	}
	defer func() {
		d.invited.Stop()
		d.phone.Stop()
		d.agent.Stop()
		if d.server != nil {
			d.server.Stop()
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
	if d.tools, err = findTools(); err != nil {
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
	f, ok := d.In.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// paged reports whether the phone is the web app.
func (d *demo) paged() bool { return d.Web || d.Handset }

// clean removes the scratch folder, unless it is to be kept.
func (d *demo) clean(failed error) error {
	if d.Keep {
		d.Say("the scratch folder stays: %s", d.dir)
		return nil
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("remove the scratch folder: %w", err)
	}
	if failed != nil {
		d.Say("the scratch folder is removed; --keep leaves it to look at")
	}
	return nil
}

type step struct {
	title string
	run   func(context.Context) error
}

func (d *demo) steps() []step {
	if d.paged() {
		return d.pageSteps()
	}
	d.want = "ECDSA SHA256:"
	return []step{
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

func (d *demo) step(ctx context.Context, s step) error {
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
	if d.Yes {
		approve = "always"
	}
	line := []string{"phone", "run", "--approve", approve, "--passphrase-file", d.passwords, "--listen", "127.0.0.1:0"}
	if d.phone, err = d.background("phone", "vmux phone run", line); err != nil {
		return err
	}
	return d.phone.WaitForLog(ctx, "listening on ") // the computer is told where, when it is paired
}

func (d *demo) startAgent(ctx context.Context) (err error) {
	if d.agent, err = d.background("computer", "vmux agent", []string{"agent", "--lan=false"}); err != nil {
		return err
	}
	return d.agent.Wait(ctx, "its socket", func() bool {
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
	ca = strings.TrimSpace(ca)
	server := sshd.Config{
		SSHD: d.tools.sshd, SSHKeygen: d.tools.sshKeygen, Dir: filepath.Join(d.dir, "server"),
		AuthorizedKeys: authorizedLines(keys), TrustedUserCAKeys: []string{ca},
	}
	if strings.HasPrefix(ca, "sk-") { // which sshd accepts by itself since OpenSSH 10.3
		server.Extra = []string{"CASignatureAlgorithms +webauthn-sk-ecdsa-sha2-nistp256@openssh.com"}
	}
	if d.server, err = sshd.Start(ctx, server); err != nil {
		return err
	}
	if d.config, err = d.server.WriteClientConfig(server.Dir, "demo", d.socket()); err != nil {
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

// logins is how often the demonstration logs in by certificate.
const logins = 5

func (d *demo) loginByCertificate(ctx context.Context) error {
	before, err := d.approvals(ctx)
	if err != nil {
		return err
	}
	var total time.Duration
	for n := range logins {
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
	d.summary = append(d.summary, fmt.Sprintf("by certificate        %d logins, %s each, nobody asked", logins, seconds(total/logins)))
	return nil
}

// login runs ssh once, and sees in the server's log by what it was let in.
func (d *demo) login(ctx context.Context, want string, shown bool) (time.Duration, error) {
	offset := len(d.server.Log())
	words := []string{"-F", d.config, "demo", "echo logged in as $(id -un)"}
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
	line := d.server.Accepted(offset)
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
	return d.Text(strings.Join(lines, "\n") + "\n")
}

func seconds(t time.Duration) string { return fmt.Sprintf("%.2f s", t.Seconds()) }
