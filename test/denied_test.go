package test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"vmux/internal/sshdtest"
)

// screen is a program on a terminal and what stands there.
type screen struct {
	t    testing.TB
	keys *os.File

	mu   sync.Mutex
	seen bytes.Buffer
}

// onTerminal runs a command on a terminal of its own until the test ends. Ctrl-C counts
// there, also where it was ignored when the tests were started: in the background.
func onTerminal(t testing.TB, cmd *exec.Cmd) *screen {
	t.Helper()
	cmd.Args = append([]string{"env", "--default-signal", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/usr/bin/env"
	keys, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 200}) // no text that a test looks for is broken
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, keys: keys}
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(s, keys) })
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGHUP)
		_ = keys.Close()
		_ = cmd.Wait()
		reading.Wait()
		if t.Failed() {
			t.Logf("on the terminal of %v:\n%s", cmd.Args, tail(s.text(), 4000))
		}
	})
	return s
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.Write(b)
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

func (s *screen) types(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.keys, text); err != nil {
		s.t.Fatal(err)
	}
}

// count says how often text has been on the screen.
func (s *screen) count(text string) int { return strings.Count(s.text(), text) }

// asked tells whether a question stands on the last line.
func (s *screen) asked() bool {
	text := s.text()
	return strings.Contains(text[strings.LastIndex(text, "\n")+1:], " s left")
}

// waitCount waits until text has been on the screen n times, and types keys
// meanwhile.
func (s *screen) waitCount(text string, n int, keys string) {
	s.t.Helper()
	typed := time.Time{}
	waitFor(s.t, fmt.Sprintf("%q, %d times on the terminal", text, n), func() bool {
		// A key that comes before the sheet, or too soon, makes it wait longer.
		if s.count(text) < n && keys != "" && s.asked() && time.Since(typed) > time.Second {
			s.types(keys)
			typed = time.Now()
		}
		return s.count(text) >= n
	})
}

// askingWorld is a world whose phone asks a person, on the terminal returned.
func askingWorld(t *testing.T, agentArgs ...string) (*world, *screen) {
	w := unpairedWorld(t)
	w.createIdentity("ssh-ed25519", "ssh-ed25519")
	person := onTerminal(t, w.phone.command(t.Context(), "phone", "run", "--listen", "127.0.0.1:0",
		"--passphrase-file", w.passphraseFile))
	person.waitCount("Advertising", 1, "")
	w.startAgent(agentArgs...)
	w.pair()
	return w, person
}

// autossh starts ssh anew each time that it fails, and each is a new session.
// The person who has said no is not asked again by it.
func TestDeniedAutosshAsksOnce(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t)
	o := sshdtest.Old(t)
	server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}})
	logs := filepath.Join(w.computer.dir, "autossh.log")
	cmd := exec.CommandContext(deadline(t), "autossh", "-M", "0", "-N", "-F", server.ClientConfig(t, w.computer.socket()), sshdtest.Host)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + w.computer.dir, "AUTOSSH_GATETIME=0", "AUTOSSH_PATH=" + o.SSH, "AUTOSSH_LOGFILE=" + logs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as a service has it
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	person.waitCount("Denied.", 1, "n")
	waitFor(t, "autossh to try nine times", func() bool {
		b, _ := os.ReadFile(logs)
		return strings.Contains(string(b), "starting ssh (count 9)")
	})
	waitFor(t, "the server to see each of them fail", func() bool {
		return strings.Count(server.Log(), "Connection closed by authenticating user") >= 8
	})
	if n := w.sheets("denied"); n != 1 {
		t.Errorf("the person was asked %d times, want once", n)
	}
	if r := w.computer.try("status", "--json"); !strings.Contains(r.stdout, "not asked again") {
		t.Errorf("status does not tell that the phone was not asked: %s", r.stdout)
	}
}

// A person who types the command again means it: the phone asks again.
func TestDeniedPersonIsAskedAgain(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t)
	o := sshdtest.Old(t)
	server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}})
	shell := exec.CommandContext(deadline(t), "bash", "--norc", "--noprofile", "-i")
	shell.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + w.computer.dir, "TERM=dumb", "PS1=ready> "}
	desk := onTerminal(t, shell)
	login := o.SSH + " -F " + server.ClientConfig(t, w.computer.socket()) + " " + sshdtest.Host + " echo welcome to $((40+2))\n"
	for i := range 2 {
		desk.waitCount("ready> ", i+1, "")
		desk.types(login)
		person.waitCount("Denied.", i+1, "n")
	}
	desk.waitCount("ready> ", 3, "")
	desk.types(login)
	person.waitCount("Approved.", 1, "y")
	desk.waitCount("welcome to 42", 1, "")
	if n := w.sheets("denied"); n != 2 {
		t.Errorf("%d sheets were denied, want two", n)
	}
}

// editor is one that fetches without end, as VS Code and IntelliJ do in the background:
// each `git fetch` is a new process with a new ssh, and none has a terminal.
const editor = `
import os, subprocess, sys
counter, stop, *command = sys.argv[1:]
attempts = 0
while not os.path.exists(stop):
    subprocess.run(command, stdin=subprocess.DEVNULL)
    attempts += 1
    with open(counter + ".new", "w") as f:
        f.write(str(attempts))
    os.rename(counter + ".new", counter)
`

// An editor's `git fetch` loop asks once, whatever ssh and git run in between, and
// the person's own ssh in a terminal asks all the same. Where the person has denied
// so often that the computer is paused, the terminal says how to end that, in a
// command that can be pasted.
func TestDeniedEditor(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t)
	o := sshdtest.Old(t)
	server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}})
	config := server.ClientConfig(t, w.computer.socket())
	remote, clone := filepath.Join(t.TempDir(), "remote.git"), filepath.Join(t.TempDir(), "clone")
	for _, args := range [][]string{
		{"init", "-q", "--bare", remote}, {"init", "-q", clone},
		{"-C", clone, "remote", "add", "origin", sshdtest.Host + ":" + remote},
		{"-C", clone, "config", "core.sshCommand", o.SSH + " -F " + config},
	} {
		must(t, w.computer.commandOf(deadline(t), "git", args...))
	}
	counter, stop := filepath.Join(w.computer.dir, "attempts"), filepath.Join(w.computer.dir, "stop")
	loop := w.computer.commandOf(deadline(t), "python3", "-c", editor, counter, stop, "git", "-C", clone, "fetch", "-q")
	loop.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := loop.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := sync.OnceFunc(func() { _ = os.WriteFile(stop, nil, 0o600); _ = loop.Wait() })
	t.Cleanup(stopped)
	person.waitCount("Denied.", 1, "n")
	waitFor(t, "six attempts of the editor's", func() bool {
		b, _ := os.ReadFile(counter)
		n := 0
		_, _ = fmt.Sscan(string(b), &n)
		return n >= 6
	})
	if n := person.sheets(); n != 1 {
		t.Errorf("the person was asked %d times by the editor, want once", n)
	}
	stopped() // a minute after the denial it would ask again

	shell := w.computer.commandOf(deadline(t), "bash", "--norc", "--noprofile", "-i")
	shell.Env = append(shell.Env, "TERM=vt100", "PS1=ready> ")
	desk := onTerminal(t, shell)
	login := o.SSH + " -F " + config + " " + sshdtest.Host + " echo welcome to $((40+2))\n"
	fetch := "git -C " + clone + " fetch && echo fetched $((40+2))\n"
	desk.waitCount("ready> ", 1, "")
	desk.types(fetch)
	person.waitCount("Approved.", 1, "y")
	desk.waitCount("fetched 42", 1, "")
	desk.waitCount("ready> ", 2, "")
	for i := 1; !strings.Contains(w.phone.run("phone", "pauses"), "  all programs  "); i++ { // three within a minute
		desk.types(login)
		person.waitCount("Denied.", i+1, "n")
		desk.waitCount("ready> ", i+2, "")
	}
	desk.types(login)
	desk.waitCount("paused: several requests were denied; it ends in ", 1, "")
	desk.waitCount("hint: if you want to go on now, end it on the phone", 1, "")
	var end []string
	waitFor(t, "the command that ends it", func() bool {
		end = regexp.MustCompile("`vmux (phone pauses end [a-z2-7]+)`").FindStringSubmatch(desk.text())
		return end != nil
	})
	w.phone.run(strings.Fields(end[1])...)
	desk.types(login)
	person.waitCount("Approved.", 2, "y")
	desk.waitCount("welcome to 42", 1, "")
}
