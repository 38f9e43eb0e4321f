package web

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"vmux/internal/hub"
	"vmux/internal/hub/webapp"
	"vmux/internal/testkit"
	"vmux/web/phone"
)

// root is the module's folder, seen from this package.
const root = "../.."

// built is made once for all tests, and removed after them.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "vmux-web-")
	if err != nil {
		return "", err
	}
	app := exec.Command("go", "run", "vmux/web/phone/build", "-plain", "-to", filepath.Join(dir, "app", "dist"))
	app.Dir = root
	if out, err := app.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build the app: %w\n%s", err, out)
	}
	if err := testkit.Build(dir, nil, "vmux/cmd/vmux"); err != nil {
		return dir, err
	}
	return dir, os.CopyFS(filepath.Join(dir, "app", "static"), os.DirFS(filepath.Join(root, "web/phone/static")))
})

// Build compiles app and agent from the sources, and returns the folder with
// them. Cleanup removes it.
func Build(t TB) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return dir
}

// BuildHub compiles vmux-hub with that app beside vmux, and returns the folder
// with both.
func BuildHub(t TB) string {
	t.Helper()
	dir := Build(t)
	if err := builtHub(); err != nil {
		t.Fatalf("%v", err)
	}
	return dir
}

// builtHub embeds the app from Build in place of what is in the source tree,
// which may be an older one or none.
var builtHub = sync.OnceValue(func() error {
	dir, err := built()
	if err != nil {
		return err
	}
	tree, err := filepath.Abs(filepath.Join(root, "web/phone/dist"))
	if err != nil {
		return err
	}
	dist, replace := filepath.Join(dir, "app", "dist"), map[string]string{}
	packed := filepath.Join(dir, "vmux.wasm.gz")
	if err := pack(filepath.Join(dist, "vmux.wasm"), packed); err != nil {
		return err
	}
	replace[filepath.Join(tree, "vmux.wasm.gz")], replace[filepath.Join(tree, "vmux.wasm.br")] = packed, ""
	replace[filepath.Join(tree, "wasm_exec.js")] = filepath.Join(dist, "wasm_exec.js")
	return testkit.Build(dir, replace, "vmux/cmd/vmux-hub")
})

// pack compresses a file, fast rather than well.
func pack(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed) // the level is a valid one
	if _, err := z.Write(b); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(to, packed.Bytes(), 0o600)
}

// Cleanup removes what Build made.
func Cleanup() {
	if dir, err := built(); err == nil {
		_ = os.RemoveAll(dir)
	}
}

// Hub is the real hub, in this process, with the app as it was built.
type Hub struct {
	URL string

	t      TB
	app    fs.FS
	state  string
	port   string
	hub    *hub.Hub
	server *http.Server
	push   *x509.CertPool // not nil: push services on the loopback interface, by these
}

// StartHub serves the hub on localhost until the test ends.
func StartHub(t TB) *Hub {
	t.Helper()
	return startHub(t, os.DirFS(filepath.Join(Build(t), "app")))
}

// Start starts the hub again after Stop, at its old address and with its state.
func (h *Hub) Start() {
	h.t.Helper()
	var l net.Listener
	var err error
	waitFor(h.t, "the hub's port is free", func() bool {
		l, err = net.Listen("tcp", "127.0.0.1:"+h.port)
		return err == nil
	})
	_, h.port, _ = net.SplitHostPort(l.Addr().String())
	h.URL = "http://vmux.localhost:" + h.port
	files, err := webapp.New(h.app, phone.ContentSecurityPolicy)
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	h.hub, err = hub.New(hub.Config{
		PublicURL: h.URL, StateDir: h.state, App: files, PushSubject: "mailto:hub@example.org", PushLoopback: h.push, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	h.server = &http.Server{Handler: h.hub, ReadHeaderTimeout: patience}
	go h.server.Serve(l)
}

// Stop ends the hub and all its connections.
func (h *Hub) Stop() {
	if h.hub != nil {
		h.hub.Close()
		_ = h.server.Close()
		h.hub = nil
	}
}

// Agent is the computer: vmux with a home of its own.
type Agent struct {
	Home, Socket string

	t       TB
	program string
	args    []string
	process *exec.Cmd
	log     *os.File
}

// StartAgent runs `vmux agent`, as Build makes it, at a hub until the test ends.
func StartAgent(t TB, hubURL string, args ...string) *Agent {
	t.Helper()
	return RunAgent(t, filepath.Join(Build(t), "vmux"), hubURL, args...)
}

// RunAgent is StartAgent with the program at a path.
func RunAgent(t TB, program, hubURL string, args ...string) *Agent {
	t.Helper()
	home, err := os.MkdirTemp("", "vw") // short: a socket's path is limited
	if err != nil {
		t.Fatalf("%v", err)
	}
	a := &Agent{
		t: t, Home: home, Socket: filepath.Join(home, "agent.sock"), program: program,
		args: append([]string{"agent", "--lan=false", "--hub", hubURL}, args...),
	}
	a.Start()
	t.Cleanup(func() {
		a.Kill()
		_ = os.RemoveAll(home)
	})
	return a
}

// Start starts the agent again after Kill.
func (a *Agent) Start() {
	a.t.Helper()
	a.process = exec.Command(a.program, a.args...)
	a.process.Env = a.env()
	log, err := os.CreateTemp(a.Home, "log")
	if err != nil {
		a.t.Fatalf("%v", err)
	}
	a.log = log
	a.process.Stderr, a.process.Stdout = log, log
	if err := a.process.Start(); err != nil {
		a.t.Fatalf("%v", err)
	}
	waitFor(a.t, "the agent serves", func() bool {
		c, err := net.Dial("unix", a.Socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil && strings.Contains(a.Log(), "agent ready") // its own commands are served, too
	})
}

// Kill ends the agent as a crash does.
func (a *Agent) Kill() {
	if a.process != nil {
		_ = a.process.Process.Signal(syscall.SIGKILL)
		_ = a.process.Wait()
		a.process = nil
	}
}

// Process returns the agent's process ID, while it runs.
func (a *Agent) Process() int { return a.process.Process.Pid }

// Log returns what the agent has written.
func (a *Agent) Log() string {
	b, _ := os.ReadFile(a.log.Name())
	return string(b)
}

func (a *Agent) env() []string {
	return []string{"VMUX_HOME=" + a.Home, "HOME=" + a.Home, "PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
}

// Vmux is a command of vmux on the computer.
func (a *Agent) Vmux(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, a.program, args...)
	cmd.Env = a.env()
	return cmd
}

// MustVmux runs a command that must succeed and returns its output.
func (a *Agent) MustVmux(args ...string) string {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := a.Vmux(ctx, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	away := args[0] == "status" && cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 3 // no phone is connected
	if err != nil && !away {
		a.t.Fatalf("vmux %s: %v\n%s%s\n%s", strings.Join(args, " "), err, out, errs.String(), a.Log())
	}
	return string(out)
}

// AcceptCA waits until the phone's CA is known, and accepts it: one that was made
// after pairing waits for that. It returns the fingerprint, which the phone shows.
func (a *Agent) AcceptCA() (fingerprint string) {
	a.t.Helper()
	waitFor(a.t, "the CA to be known", func() bool {
		_, after, found := strings.Cut(a.MustVmux("ca", "--json"), `"fingerprint":"`)
		fingerprint, _, _ = strings.Cut(after, `"`)
		return found
	})
	a.MustVmux("ca", "accept", "--fingerprint", fingerprint)
	return fingerprint
}

// Invite runs `vmux pair` and returns its invitation, and what waits for the
// pairing.
func (a *Agent) Invite() (invitation string, paired func()) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	cmd := a.Vmux(ctx, "pair", "--json")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		a.t.Fatalf("%v", err)
	}
	if err := cmd.Start(); err != nil {
		a.t.Fatalf("%v", err)
	}
	a.t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	var line struct {
		Invitation string `json:"invitation"`
	}
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &line) != nil || line.Invitation == "" {
		_ = cmd.Wait() // it has written why
		a.t.Fatalf("no invitation: %s\n%s\n%s", lines.Text(), errs.String(), a.Log())
	}
	return line.Invitation, func() {
		a.t.Helper()
		if !lines.Scan() || !strings.Contains(lines.Text(), "paired") {
			a.t.Fatalf("not paired: %s\n%s", lines.Text(), a.Log())
		}
	}
}

// Pair pairs the phone in the page with the agent.
func (a *Agent) Pair(p *Page) {
	a.t.Helper()
	invitation, paired := a.Invite()
	p.MustCall("pair", map[string]string{"invitation": invitation}, nil)
	paired()
	p.WaitComputer()
}
