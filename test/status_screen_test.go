package test

import (
	"context"
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/agent"

	"vmux/internal/control"
	"vmux/internal/statusview"
)

// vmux is the path of the program that is tested.
func vmux(t testing.TB) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// terminal is a window of tmux, whose screen the test reads.
type terminal struct {
	t      testing.TB
	server []string // tmux and which server of its
}

// openTerminal runs a shell command in this home in a terminal of that size.
func (h *home) openTerminal(columns, lines int, shell string) *terminal {
	h.t.Helper()
	config := h.file("tmux.conf", "set -g status off\nset -g remain-on-exit on\n")
	term := &terminal{h.t, []string{"-u", "-S", filepath.Join(h.dir, "tmux"), "-f", config}}
	start := h.commandOf(context.Background(), "tmux", append(term.server,
		"new-session", "-d", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(lines), shell)...)
	start.Env = append(start.Env, "TZ=UTC", "TERM=xterm")
	if out, err := start.CombinedOutput(); err != nil {
		h.t.Fatalf("tmux: %v: %s", err, out)
	}
	h.t.Cleanup(func() { term.tmux("kill-server") })
	return term
}

func (term *terminal) tmux(args ...string) string {
	term.t.Helper()
	out, err := exec.Command("tmux", append(term.server, args...)...).CombinedOutput()
	if err != nil {
		term.t.Errorf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

func (term *terminal) screen() string {
	term.t.Helper()
	return strings.TrimRight(term.tmux("capture-pane", "-p"), "\n")
}

// shows waits until the screen has the text.
func (term *terminal) shows(text string) {
	term.t.Helper()
	defer func() {
		if term.t.Failed() {
			term.t.Logf("the screen:\n%s", term.screen())
		}
	}()
	waitFor(term.t, "the screen to show\n"+text+"\n", func() bool { return strings.Contains(term.screen(), text) })
}

// standing is an agent whose status does not change.
type standing struct {
	control.Service
	status control.Status
}

func (s standing) Status() control.Status                         { return s.status }
func (s standing) Changed() <-chan struct{}                       { return nil }
func (s standing) Ping(context.Context) ([]control.Device, error) { return s.status.Phones, nil }

// serveStatus lets the home's commands find an agent that stands as it is told.
func (h *home) serveStatus(s control.Status) {
	h.t.Helper()
	l, err := control.Listen(filepath.Join(h.dir, "agent", "control.sock"))
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, l, standing{status: s}, slog.New(slog.DiscardHandler)) }()
	h.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
	})
}

// What `vmux status --watch` draws is on the terminal, at 80 columns and at 40, as far
// as it fits; q gives the terminal back as it was.
func TestWatchOnTerminals(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	now := time.Now()
	const fingerprint = "SHA256:9yKiFGIp6KO7tPl4ViQup7Jq/M1FNTRWcW2JcWQExSo"
	s := control.Status{
		ConnectionLine: control.LineConnected + "Alice's phone", Connected: true, CertificateLine: control.LineCertificateExpired,
		Certificate: control.Certificate{State: control.CertificateExpired},
		Identities: []control.Identity{
			{Comment: "work", Fingerprint: fingerprint, Phones: []string{"Alice's phone"}, Available: true},
			{Comment: "字 \x1b[2J", Fingerprint: fingerprint, Phones: []string{"Alice's phone"}, Available: true},
		},
		Phones: []control.Device{{Name: "Alice's phone", Connected: true, Route: "hub:https://hub.example.com",
			Since: now.Add(-50 * time.Hour), RoundTripMilliseconds: 41.7}},
		Waiting: []control.Request{{Kind: "sign", Identity: "work", Detail: "root", Program: "git", Until: now.Add(90*time.Hour + 50*time.Second), Shown: true}},
		Hub:     &control.Hub{URL: "https://hub.example.com", LastError: "connection refused", ErrorHint: "vmux-hub"},
		History: []control.Event{{At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Kind: "sign", Text: "work: signed for root, by git"}},
	}
	h.serveStatus(s)
	path := vmux(t)
	term := h.openTerminal(80, 24, "echo before; "+path+" status --watch; echo ended $?; cat")
	drawn := func(columns int) string { return statusview.Live(s, nil, columns, 24, now) }
	term.shows(drawn(80))
	term.tmux("resize-window", "-x", "40", "-y", "24")
	term.shows(drawn(40))
	term.tmux("send-keys", "q")
	term.shows("before\nended 0")

	plain := h.command(t.Context(), "status", "--watch") // in M-x shell, say
	plain.Env = append(plain.Env, "TERM=dumb")
	dumb := onTerminal(t, plain)
	dumb.waitCount("work", 1, "")
	if strings.Contains(dumb.text(), "\x1b") {
		t.Errorf("escape sequences on a terminal that knows none: %q", dumb.text())
	}
}

// The screen follows what happens: the phone goes, the agent goes, and both come back.
func TestWatchFollows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	path := vmux(t)
	term := w.computer.openTerminal(80, 24, path+" status --watch; echo ended $?; cat")
	term.shows("Connected to ")
	term.shows("ssh-ed25519  SHA256:")
	term.shows(" ms")
	w.phoneRun.stop()
	term.shows("Phone not connected\nNo session certificate\n")
	term.shows("not connected")
	w.agent.stop()
	term.shows("the agent is not running\n\nq: quit")
	w.startPhone()
	w.startAgent()
	term.shows("Connected to ")
	term.tmux("send-keys", "C-c")
	term.shows("ended 0")
}

// One line for prompts: nothing on standard error, and the exit status of
// vmux status.
func TestShortStatus(t *testing.T) {
	t.Parallel()
	w := hubless(t, "ssh-ed25519")
	says := func(text string, exit int) {
		t.Helper()
		waitFor(t, text, func() bool { r := w.computer.try("status", "--short"); return r == result{text + "\n", "", exit} })
	}
	says("no agent", 1)
	w.startPhone("--name", "phone")
	w.startAgent()
	says("no phone", 3)
	w.pair()
	says("phone", 0)
	w.requestCertificate()
	says("phone, cert 7 h", 0)
	if r := w.computer.try("status", "--short", "--json"); r.exit != 2 {
		t.Errorf("--short --json: %+v", r)
	}
	// In a terminal it is a table, and locked is said.
	path := vmux(t)
	conn, err := net.Dial("unix", w.computer.socket())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := agent.NewClient(conn).Lock([]byte("secret")); err != nil {
		t.Fatal(err)
	}
	says("locked", 0)
	term := w.computer.openTerminal(80, 24, path+" status; echo ended $?; cat")
	term.shows("Locked: no key is listed, and none signs, until `ssh-add -X`\n")
	term.shows("IDENTITY")
	term.shows("ended 0")
}
