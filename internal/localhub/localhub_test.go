package localhub

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vmux/internal/leakcheck"
	"vmux/internal/testkit"
)

// The test program plays the hub, and the agent, when this says so.
const roleVariable = "VMUX_TEST_LOCALHUB"

const patience = 60 * time.Second

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "hub":
		os.Exit(hub())
	case "agent":
		os.Exit(agent())
	}
	os.Exit(leakcheck.Run(m))
}

// hub does what its arguments say.
func hub() int {
	fmt.Println("pid", os.Getpid())
	for _, arg := range os.Args[1:] {
		word, value, _ := strings.Cut(arg, "=")
		switch word {
		case "say":
			fmt.Fprint(os.Stderr, value)
		case "deaf":
			for c := make(chan os.Signal, 1); ; <-c {
				signal.Notify(c, syscall.SIGTERM)
			}
		case "exit":
			n, _ := strconv.Atoi(value)
			return n
		case "serve":
			_, _ = io.Copy(io.Discard, os.Stdin)
			return 0
		}
	}
	return 0
}

// agent runs a hub until it is killed, and tells the hub's process ID.
func agent() int {
	os.Setenv(roleVariable, "hub")
	_ = Run(context.Background(), Config{Program: os.Args[0], Args: []string{"serve"}, Lines: func(l string) { fmt.Println(l) }})
	return 0
}

// running is a hub under Run.
type running struct {
	t      *testing.T
	mu     sync.Mutex
	lines  []string
	cancel context.CancelFunc
	done   chan error
}

func start(t *testing.T, endTimeout time.Duration, args ...string) *running {
	t.Helper()
	t.Setenv(roleVariable, "hub")
	r := &running{t: t, done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() {
		r.done <- Run(ctx, Config{Program: os.Args[0], Args: args, EndTimeout: endTimeout, Lines: func(l string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.lines = append(r.lines, l)
		}})
	}()
	return r
}

func (r *running) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.lines...)
}

func (r *running) pids() (list []int) {
	for _, l := range r.seen() {
		if n, err := strconv.Atoi(strings.TrimPrefix(l, "pid ")); err == nil {
			list = append(list, n)
		}
	}
	return list
}

func (r *running) waitFor(what string, ready func() bool) { waitFor(r.t, what, ready) }

// waitFor waits for what nothing announces.
var waitFor = testkit.WaitFor

func (r *running) end() error {
	r.t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		return err
	case <-time.After(patience):
		r.t.Fatal("Run does not return")
		return nil
	}
}

func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	return err == nil && p.Signal(syscall.Signal(0)) == nil
}

func TestEndsWithTheAgent(t *testing.T) {
	r := start(t, 0, "serve")
	r.waitFor("the hub", func() bool { return len(r.pids()) == 1 })
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if pid := r.pids()[0]; alive(pid) {
		t.Errorf("process %d is left", pid)
	}
}

func TestStartsAgain(t *testing.T) {
	r := start(t, 0, "exit=1")
	r.waitFor("a third start", func() bool { return len(r.pids()) >= 3 })
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

func TestGivesUpOnWrongUsage(t *testing.T) {
	r := start(t, 0, "exit=2")
	select {
	case err := <-r.done:
		if !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("it goes on")
	}
	r.cancel()
}

// A hub that does not listen is killed.
func TestKillsTheDeaf(t *testing.T) {
	r := start(t, 100*time.Millisecond, "deaf")
	r.waitFor("the hub", func() bool { return len(r.pids()) == 1 })
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if pid := r.pids()[0]; alive(pid) {
		t.Errorf("process %d is left", pid)
	}
}

// An agent that is killed can end nobody: its hub notices.
func TestKilledAgentTakesItsHubAlong(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=agent")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, bad := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "pid ")))
	if err != nil || bad != nil {
		t.Fatalf("%q: %v, %v", line, err, bad)
	}
	if !alive(pid) {
		t.Error("the hub does not run")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	waitFor(t, "the hub's end", func() bool { return !alive(pid) })
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLine+10)
	r := start(t, 0, "say=one\r\ntwo\n\n"+long+"\nlast", "serve")
	r.waitFor("the lines", func() bool { return len(r.seen()) >= 5 })
	if err := r.end(); err != nil {
		t.Error(err)
	}
	got := strings.Join(r.seen()[1:], "|")
	if want := "one|two|" + long[:maxLine] + "|" + long[maxLine:] + "|last"; got != want {
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
}

func TestFind(t *testing.T) {
	_, err := Find() // beside the test program there is none
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), filepath.Dir(os.Args[0])) {
		t.Error(err)
	}
}
