//go:build linux

package agent

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// unattended starts a process without a terminal, as autossh's ssh is.
func unattended(t *testing.T, args ...string) (pid int) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

// What is remembered of denials is bounded, and forgotten when it is over.
func TestDenialsAreBounded(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, _ *phone, key ssh.Signer) {
		for n := range 2 * maxDenials {
			r := request(key, fmt.Sprint(n))
			w.remember(r, describe(r.Data), &identity{}, wire.CodeUserDenied)
			if len(w.denied) > maxDenials {
				t.Fatalf("%d denials remembered", len(w.denied))
			}
		}
		last := request(key, fmt.Sprint(2*maxDenials-1))
		if w.refusedBefore(last, describe(last.Data), &identity{}) != wire.CodeUserDenied {
			t.Error("the last denial is not remembered")
		}
		time.Sleep(denialLife)
		if w.refusedBefore(last, describe(last.Data), &identity{}) != "" {
			t.Error("a denial holds for ever")
		}
		time.Sleep(time.Second)
		w.remember(last, describe(last.Data), &identity{}, wire.CodeUserDenied)
		if len(w.denied) != 1 {
			t.Errorf("%d denials remembered, all but one of them over", len(w.denied))
		}
	})
}

// A program that connects anew after a denial is a new process with a new
// session: the same parent, key and destination tell that it is a retry.
func TestDeniedOncePerRetryingProgram(t *testing.T) {
	first, again := unattended(t, "sleep", "600"), unattended(t, "sleep", "600")
	elsewhere := unattended(t, "sleep", "601")
	hop := func(host string, forwarding bool) []sshctx.Binding {
		return []sshctx.Binding{{HostKey: []byte(host), Forwarding: forwarding}}
	}
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, denies)
		w.connect(p)
		synctest.Wait()
		asked := 0
		for i, step := range []struct {
			name     string
			pid      int
			bindings []sshctx.Binding
			after    time.Duration
			asks     bool
		}{
			{name: "the first attempt", pid: first, asks: true},
			{name: "its retry", pid: again},
			{name: "another command line", pid: elsewhere, asks: true},
			{name: "a bound session", pid: first, bindings: hop("host", false), asks: true},
			{name: "its retry with another command line", pid: elsewhere, bindings: hop("host", false)},
			{name: "another server", pid: again, bindings: hop("other", false), asks: true},
			{name: "a forwarded agent", pid: again, bindings: hop("host", true), asks: true},
			{name: "the forwarded agent again", pid: again, bindings: hop("host", true), asks: true},
			{name: "an unknown process", asks: true},
			{name: "the unknown process again", asks: true},
			{name: "a retry within the minute", pid: again, after: 59 * time.Second},
			{name: "a retry after it", pid: again, after: 2 * time.Second, asks: true},
		} {
			time.Sleep(step.after)
			r := request(key, "session "+time.Duration(i).String())
			r.Peer, r.Bindings = sshagent.Peer{PID: step.pid}, step.bindings
			for i := range r.Bindings {
				if !r.Bindings[i].Forwarding {
					r.Bindings[i].SessionID = describe(r.Data).SessionID
				}
			}
			if _, err := w.Sign(t.Context(), r); wire.CodeOf(err) != wire.CodeUserDenied {
				t.Errorf("%s: %v", step.name, err)
			}
			if step.asks {
				asked++
			}
			if n := len(p.requests()); n != asked {
				t.Fatalf("%s: asked %d times, want %d", step.name, n, asked)
			}
		}
		if h := w.Status().History; h[0].Code != wire.CodeUserDenied {
			t.Errorf("history %+v", h[0])
		}
	})
}

// An editor's `git fetch` is a new git each time: the program that repeats itself is
// the one that began git, also where git has a shell start ssh, or where a shell or
// a program like timeout(1) was started for git alone.
func TestStarterIsBehindGit(t *testing.T) {
	dir := t.TempDir()
	git, ssh := filepath.Join(dir, "git"), filepath.Join(dir, "ssh")
	for from, to := range map[string]string{"bash": git, "sleep": ssh} {
		path, err := exec.LookPath(from)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", path, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	script := filepath.Join(dir, "script")
	ownStarts := ssh + " 600 & echo $!; wait"
	gitStarts := git + " -c '" + ownStarts + "'; true"
	if err := os.WriteFile(script, []byte(gitStarts), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, argv := range map[string][]string{
		"git starts ssh":            {git, "-c", ownStarts},
		"git has a shell start ssh": {git, "-c", "sh -c '" + ownStarts + "'; true"},
		"a shell for git":           {"sh", "-c", gitStarts},
		"a login shell for git":     {"bash", "--noprofile", "-o", "pipefail", "-lc", gitStarts},
		"timeout for git":           {"timeout", "600", git, "-c", ownStarts},
		"flock in a shell for git":  {"sh", "-c", "flock " + script + " " + gitStarts},
		"a script":                  {"sh", script},
	} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
		var pid int
		if _, err := fmt.Fscan(out, &pid); err != nil {
			t.Fatal(err)
		}
		var asker process
		for end := time.Now().Add(time.Minute); filepath.Base(asker.name) != "ssh"; asker, _ = processOf(pid) {
			if time.Now().After(end) {
				t.Fatalf("%s: process %d never became ssh: %+v", name, pid, asker)
			}
			time.Sleep(time.Millisecond) // between fork and exec it has its parent's name
		}
		begun, _, id, ok := starterOf(asker)
		want := os.Getpid()
		if name == "a script" { // which may be the loop itself
			want = cmd.Process.Pid
		}
		if !ok || id != want || argv[0] == git && filepath.Base(begun.name) != "git" {
			t.Errorf("%s: process %d began %q, want %d", name, id, begun.name, want)
		}
	}
}

// What a person types stands in a process group of its own, on a terminal.
func TestTyped(t *testing.T) {
	shell := process{group: 10, terminal: true}
	for _, test := range []struct {
		name          string
		asker, parent process
		want          bool
	}{
		{"ssh in a shell", process{group: 11, terminal: true}, shell, true},
		{"ssh in a script", process{group: 10, terminal: true}, shell, false},
		{"ssh of a service", process{group: 11}, process{group: 10}, false},
		{"a new terminal window's ssh", process{group: 11, terminal: true}, process{group: 10}, true},
	} {
		if got := typed(test.asker, test.parent); got != test.want {
			t.Errorf("%s: typed %v", test.name, got)
		}
	}
}

// The name is whatever the program calls itself, a line of stat included.
func TestParseStat(t *testing.T) {
	const numbers = " S 7 8 9 34816 8 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2 3"
	got, ok := parseStat([]byte("12 (a) S 1 2 3 (b)" + numbers))
	want := process{name: "a) S 1 2 3 (b", parent: 7, group: 8, terminal: true, tty: 34816, front: 8, started: 4711}
	if !ok || got != want {
		t.Errorf("%+v, %v; want %+v", got, ok, want)
	}
	for _, bad := range []string{"", "12", "12 (a)", "12 )a(" + numbers, "12 (a) S x 8 9 0 8 4 1 2 3 4 5 6 7 8 20 0 1 0 4711"} {
		if _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q: accepted", bad)
		}
	}
}
