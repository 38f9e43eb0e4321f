package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vmux/internal/testkit"
)

// patience bounds every wait: a test machine may be busy, a hang must not last.
const patience = 60 * time.Second

// passphrase protects the phone's key files in these tests.
const passphrase = "correct horse battery staple"

// program is vmux as it is released, built once for all tests. The race detector
// watches the same code in the packages' own tests; here it would make the
// passphrases' key derivation take seconds.
var program = sync.OnceValues(func() (string, error) {
	return filepath.Join(scratch, "vmux"), testkit.Build(scratch, nil, "vmux/cmd/vmux")
})

// scratch is removed when all tests have ended.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "vmux-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	scratch = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// home is one machine's vmux: the computer's or the phone's, with a VMUX_HOME
// of its own.
type home struct {
	t     testing.TB
	dir   string
	netns string              // network namespace of its commands; empty: the test's own
	env   []string            // what else its commands find in their environment
	user  *syscall.Credential // who runs its commands; nil: the test's user
	// program is the vmux that it runs; empty: the one built for all tests.
	program string
	// descriptors is how many its commands may have open; 0: as many as the test.
	descriptors int
}

func newHome(t testing.TB) *home {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "h") // short: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	return &home{t: t, dir: dir}
}

// socket is the path of the agent's socket.
func (h *home) socket() string { return filepath.Join(h.dir, "agent.sock") }

// file writes a file of the test's into the home and returns its path.
func (h *home) file(name, text string) string {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// command is `vmux ARGS…` in this home.
func (h *home) command(ctx context.Context, args ...string) *exec.Cmd {
	h.t.Helper()
	path, err := program()
	if h.program != "" {
		path, err = h.program, nil
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return h.commandOf(ctx, path, args...)
}

// commandOf is another program in this home.
func (h *home) commandOf(ctx context.Context, path string, args ...string) *exec.Cmd {
	if h.netns != "" {
		path, args = "nsenter", append([]string{"--net=/run/netns/" + h.netns, path}, args...)
	}
	if h.descriptors > 0 {
		path, args = "prlimit", append([]string{fmt.Sprintf("--nofile=%d", h.descriptors), path}, args...)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + h.dir, "VMUX_HOME=" + h.dir, "LC_ALL=C",
	}
	cmd.Env = append(cmd.Env, h.env...)
	if h.user != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: h.user}
	}
	return cmd
}

// result is what a finished command left.
type result struct {
	stdout, stderr string
	exit           int
}

// try runs `vmux ARGS…` to its end, whatever that is.
func (h *home) try(args ...string) result { return h.tryInput("", args...) }

func (h *home) tryInput(stdin string, args ...string) result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := h.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		h.t.Fatalf("vmux %s: %v", strings.Join(args, " "), err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// run runs a command that must succeed and returns its standard output.
func (h *home) run(args ...string) string { return h.runInput("", args...) }

func (h *home) runInput(stdin string, args ...string) string {
	h.t.Helper()
	r := h.tryInput(stdin, args...)
	away := args[0] == "status" && r.exit == 3 // no phone is connected
	if r.exit != 0 && !away {
		h.t.Fatalf("vmux %s: exit %d\n%s%s", strings.Join(args, " "), r.exit, r.stdout, r.stderr)
	}
	return r.stdout
}

// daemon is a running `vmux agent` or `vmux phone run`.
type daemon struct {
	t      testing.TB
	cmd    *exec.Cmd
	logs   string // path of what it writes to both outputs
	exited chan struct{}
}

// start runs `vmux ARGS…` until the test ends or stop is called.
func (h *home) start(logName string, args ...string) *daemon {
	h.t.Helper()
	path, err := program()
	if h.program != "" {
		path, err = h.program, nil
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return h.startProgram(logName, path, args...)
}

// startProgram is start for another program.
func (h *home) startProgram(logName, path string, args ...string) *daemon {
	h.t.Helper()
	logs := filepath.Join(h.dir, logName)
	out, err := os.OpenFile(logs, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer out.Close()
	cmd := h.commandOf(context.Background(), path, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	d := &daemon{t: h.t, cmd: cmd, logs: logs, exited: make(chan struct{})}
	go func() { cmd.Wait(); close(d.exited) }()
	h.t.Cleanup(func() {
		d.stop()
		text := d.log()
		if strings.Contains(text, "panic:") {
			h.t.Errorf("%s:\n%s", logName, text)
		}
		if h.t.Failed() {
			h.t.Logf("%s:\n%s", logName, tail(text, 6000))
		}
	})
	return d
}

// stop ends the daemon as a service manager would, and waits for it.
func (d *daemon) stop() {
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
	case <-time.After(patience):
		d.t.Errorf("%v does not end on SIGTERM", d.cmd.Args)
		d.kill()
	}
}

// kill ends the daemon as a power cut would.
func (d *daemon) kill() {
	d.cmd.Process.Kill()
	<-d.exited
}

func (d *daemon) log() string {
	b, err := os.ReadFile(d.logs)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

// waitLog waits until the daemon has written text.
func (d *daemon) waitLog(text string) {
	d.t.Helper()
	waitFor(d.t, fmt.Sprintf("%q in the log of %v", text, d.cmd.Args[1:]), func() bool {
		return strings.Contains(d.log(), text)
	})
}

// world is a computer with an agent and a phone, each in a home of its own.
type world struct {
	testing.TB
	computer, phone *home
	agent, phoneRun *daemon
	passphraseFile  string
}

// newWorld makes a phone with a CA (principals root and the test's user) and
// the identities named, starts both programs, and pairs them.
func newWorld(t testing.TB, identities ...string) *world {
	t.Helper()
	w := hubless(t, identities...)
	w.startPhone()
	w.startAgent()
	w.pair()
	return w
}

func unpairedWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, computer: newHome(t), phone: newHome(t)}
	w.passphraseFile = w.phone.file("passphrase", passphrase+"\n")
	return w
}

func (w *world) createIdentity(label, algorithm string) {
	w.Helper()
	w.phone.run("phone", "identity", "create", "--label", label, "--algorithm", algorithm,
		"--passphrase-file", w.passphraseFile)
}

func (w *world) startPhone(args ...string) {
	w.Helper()
	w.phoneRun = w.phone.start("phone.log", append([]string{"phone", "run", "--approve", "always",
		"--passphrase-file", w.passphraseFile, "--listen", "127.0.0.1:0"}, args...)...)
	w.phoneRun.waitLog("Advertising")
}

func (w *world) startAgent(args ...string) {
	w.Helper()
	w.agent = w.computer.start("agent.log", append([]string{"agent"}, args...)...)
	waitFor(w, "the agent's socket", func() bool {
		return w.computer.try("devices").exit == 0
	})
}

// pair pairs the two programs, and returns when the agent has the phone's keys: they
// come a moment after the link.
func (w *world) pair() {
	w.Helper()
	w.invite(func(invitation string) { w.phone.runInput(invitation+"\n", "phone", "pair", "-") })
	for _, i := range w.identities() {
		w.waitStatus(i.Fingerprint)
	}
}

// invite hands the invitation that `vmux pair ARGS…` prints to whoever redeems it.
func (w *world) invite(redeem func(invitation string), args ...string) {
	w.Helper()
	w.inviteAlone(redeem, args...)
	w.waitConnected()
}

// inviteAlone is invite where no link may come of it.
func (w *world) inviteAlone(redeem func(invitation string), args ...string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := w.computer.command(ctx, append([]string{"pair", "--json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		w.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	lines := json.NewDecoder(stdout)
	var line struct {
		Invitation string          `json:"invitation"`
		Paired     json.RawMessage `json:"paired"`
	}
	if err := lines.Decode(&line); err != nil || line.Invitation == "" {
		cmd.Process.Kill()
		cmd.Wait()
		w.Fatalf("vmux pair: %v, no invitation: %s", err, stderr.String())
	}
	redeem(line.Invitation)
	if err := lines.Decode(&line); err != nil || len(line.Paired) == 0 {
		w.Errorf("vmux pair: %v, not paired", err)
	}
	io.Copy(io.Discard, stdout)
	if err := cmd.Wait(); err != nil {
		w.Fatalf("vmux pair: %v: %s", err, stderr.String())
	}
}

func (w *world) waitConnected() {
	w.Helper()
	w.waitStatus("Connected to ")
}

// waitStatus waits until `vmux status` says text.
func (w *world) waitStatus(text string) {
	w.Helper()
	waitFor(w, fmt.Sprintf("%q in vmux status", text), func() bool {
		r := w.computer.try("status")
		return strings.Contains(r.stdout+r.stderr, text)
	})
}

// identity is one of the phone's keys as `vmux phone identity list` tells it.
type identity struct {
	Label       string `json:"label"`
	Algorithm   string `json:"algorithm"`
	Fingerprint string `json:"fingerprint"`
	PublicKey   string `json:"publicKey"` // an authorized_keys line
}

func (w *world) identities() []identity {
	w.Helper()
	var list []identity
	out := w.phone.run("phone", "identity", "list", "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		w.Fatalf("identity list: %v\n%s", err, out)
	}
	return list
}

func (w *world) identity(label string) identity {
	w.Helper()
	list := w.identities()
	for _, i := range list {
		if i.Label == label {
			return i
		}
	}
	w.Fatalf("no identity %q in %+v", label, list)
	return identity{}
}

// publicFile writes the identity's public half for `ssh -i` and ssh-keygen.
func (w *world) publicFile(label string) string {
	w.Helper()
	return w.computer.file(label+".pub", strings.TrimSpace(w.identity(label).PublicKey)+"\n")
}

// requestCertificate asks for a session certificate and returns the line of
// the CA that signed it.
func (w *world) requestCertificate() (caLine string) {
	w.Helper()
	w.computer.run("cert", "request")
	w.waitStatus("Certificate valid until ")
	return strings.TrimSpace(w.computer.run("ca"))
}

// approvals counts the signatures that the phone has been asked for and gave.
func (w *world) approvals() int {
	w.Helper()
	return w.sheets("approved")
}

// sheets counts the signatures that the phone has been asked for and that ended
// so: approved, denied, expired, withdrawn or refused.
func (w *world) sheets(decision string) int {
	w.Helper()
	n := 0
	for line := range strings.Lines(w.phone.run("phone", "log", "--json")) {
		var entry struct {
			Kind, Decision string
			Count          int // of a merged record
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			w.Fatalf("phone log: %v\n%s", err, line)
		}
		if entry.Kind == "sign" && entry.Decision == decision {
			n += max(entry.Count, 1)
		}
	}
	return n
}

// waitFor waits for what nothing announces.
var waitFor = testkit.WaitFor

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// deviceOf returns the ID of the one device in a `devices --json` listing.
func deviceOf(t testing.TB, listing string) string {
	t.Helper()
	var list []struct{ ID string }
	if err := json.Unmarshal([]byte(listing), &list); err != nil || len(list) != 1 {
		t.Fatalf("devices: %v, want one:\n%s", err, listing)
	}
	return list[0].ID
}
