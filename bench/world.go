package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh/agent"
)

// world is a computer with `vmux agent` and a phone that approves everything.
// The phone's one key is in another agent, the plain Go one: a key file would
// mostly measure how slow its passphrase is to try.
type world struct {
	*scope
	program         string
	computer, phone string // VMUX_HOME of each
	agent, phoneRun *exec.Cmd
	passphrase      string // path
}

func newWorld(s *scope, program, upstream string) *world {
	program, err := filepath.Abs(program)
	s.must(err)
	w := &world{scope: s, program: program, computer: s.TempDir(), phone: s.TempDir()}
	w.passphrase = filepath.Join(w.phone, "passphrase")
	s.must(os.WriteFile(w.passphrase, []byte("correct horse battery staple\n"), 0o600))
	me, err := user.Current()
	s.must(err)

	w.run(w.phone, "", "phone", "identity", "create", "--label", "bench", "--upstream", upstream)
	w.run(w.phone, "", "phone", "ca", "create", "--passphrase-file", w.passphrase)
	w.run(w.phone, "", "phone", "ca", "policy", "--principals", me.Username, "--auto-issue=false")
	w.phoneRun, _ = w.startPhone(w.phone)
	w.agent = w.start(w.computer, "agent")
	s.must(waitFor("the agent's control socket", func() bool { return w.try("devices") == nil }))
	w.pair()
	w.run(w.computer, "", "cert", "request")
	w.waitForKeys("the session certificate", 2)
	return w
}

// startPhone runs a phone that approves everything, and waits until it listens: where,
// the computer is told when it is paired.
func (w *world) startPhone(home string) (phone *exec.Cmd, log string) {
	phone = w.start(home, "phone", "run", "--approve", "always", "--passphrase-file", w.passphrase, "--listen", "127.0.0.1:0")
	w.must(waitFor("the phone to listen", func() bool {
		b, err := os.ReadFile(filepath.Join(home, "phone.log"))
		log = string(b)
		return err == nil && strings.Contains(log, "listening on ")
	}))
	return phone, log
}

// waitForKeys waits until n identities are listed, and shows the logs if they
// never are.
func (w *world) waitForKeys(what string, n int) {
	err := waitFor(what, func() bool {
		keys, err := listKeys(w.socket())
		return err == nil && len(keys) == n
	})
	if err != nil {
		computer, _ := os.ReadFile(filepath.Join(w.computer, "agent.log"))
		phone, _ := os.ReadFile(filepath.Join(w.phone, "phone.log"))
		w.Fatalf("%v\n%s\n%s", err, computer, phone)
	}
}

func (w *world) socket() string { return filepath.Join(w.computer, "agent.sock") }

func (w *world) variant() variant {
	v := variant{name: "vmux", socket: w.socket(), pid: w.agent.Process.Pid}
	keys, err := listKeys(v.socket)
	w.must(err)
	last := keys[len(keys)-1] // where a connection is not bound
	if !strings.Contains(last.Format, "cert") {
		w.Fatalf("the last identity is no certificate but %s", last.Format)
	}
	v.blob, v.line = last.Blob, strings.TrimSpace(last.String())
	return v
}

// held is the blob of the key on the phone.
func (w *world) held() []byte {
	keys, err := listKeys(w.socket())
	w.must(err)
	return keys[0].Blob
}

func (w *world) command(home string, args ...string) *exec.Cmd {
	cmd := exec.Command(w.program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "VMUX_HOME=" + home, "LC_ALL=C"}
	return cmd
}

func (w *world) agentCommand() *exec.Cmd { return w.command(w.computer, "agent") }

// start runs a command until the end of the bench.
func (w *world) start(home string, args ...string) *exec.Cmd {
	cmd := w.command(home, args...)
	log, err := os.Create(filepath.Join(home, args[0]+".log"))
	w.must(err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	w.must(cmd.Start())
	w.Cleanup(func() { stop(cmd) })
	return cmd
}

// stop kills a process, unless it was stopped before.
func stop(cmd *exec.Cmd) {
	cmd.Process.Kill()
	cmd.Wait()
}

// run runs a command to its end and returns its standard output.
func (w *world) run(home, stdin string, args ...string) string {
	cmd := w.command(home, args...)
	var stdout, stderr strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		w.Fatalf("vmux %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String()
}

func (w *world) try(args ...string) error { return w.command(w.computer, args...).Run() }

// pair hands the invitation of `vmux pair` to the phone.
func (w *world) pair() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	pair := w.command(w.computer, "pair", "--json", "--address", "127.0.0.1")
	stdout, err := pair.StdoutPipe()
	w.must(err)
	w.must(pair.Start())
	over := context.AfterFunc(ctx, func() { pair.Process.Kill() })
	defer over()
	var line struct{ Invitation string }
	if err := json.NewDecoder(stdout).Decode(&line); err != nil {
		stop(pair)
		w.Fatalf("vmux pair: no invitation: %v", err)
	}
	w.run(w.phone, line.Invitation+"\n", "phone", "pair", "-")
	if err := pair.Wait(); err != nil {
		w.Fatalf("vmux pair: %v", err)
	}
	w.waitForKeys("the phone's keys", 1)
}

func listKeys(socket string) ([]*agent.Key, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	keys, err := agent.NewClient(c).List()
	if err != nil {
		return nil, fmt.Errorf("list the keys of %s: %w", socket, err)
	}
	return keys, nil
}
