//go:build linux

package client

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// An editor's `git fetch` is a new git each time: the program that repeats itself is
// the one that began git, also where git has a shell start ssh, or where a shell or
// a program like timeout(1) was started for git alone.
func TestStarterIsBehindGit(t *testing.T) {
	dir := t.TempDir()
	git, ssh := filepath.Join(dir, "git"), filepath.Join(dir, "ssh")
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{git, ssh} {
		if out, err := exec.Command("cp", bash, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	script, login := filepath.Join(dir, "script"), filepath.Join(dir, "login")
	if err := os.WriteFile(login, []byte("echo $$; sleep 600; true"), 0o600); err != nil {
		t.Fatal(err)
	}
	ownStarts := ssh + " " + login + " & wait"
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
		asker, ok := ProcessOf(pid)
		if !ok || asker.Program() != "ssh" {
			t.Fatalf("%s: process %d is %+v", name, pid, asker)
		}
		begun, starter, ok := Starter(asker)
		want := os.Getpid()
		if name == "a script" { // which may be the loop itself
			want = cmd.Process.Pid
		}
		if !ok || starter.PID != want || argv[0] == git && begun.Program() != "git" {
			t.Errorf("%s: process %d began %q, want %d", name, starter.PID, begun.Name, want)
		}
	}
}

// What a person types stands in a process group of its own, on a terminal.
func TestTyped(t *testing.T) {
	shell := Process{Group: 10, Terminal: true}
	for _, test := range []struct {
		name      string
		p, parent Process
		want      bool
	}{
		{"ssh in a shell", Process{Group: 11, Terminal: true}, shell, true},
		{"ssh in a script", Process{Group: 10, Terminal: true}, shell, false},
		{"ssh of a service", Process{Group: 11}, Process{Group: 10}, false},
		{"a new terminal window's ssh", Process{Group: 11, Terminal: true}, Process{Group: 10}, true},
	} {
		if got := Typed(test.p, test.parent); got != test.want {
			t.Errorf("%s: typed %v", test.name, got)
		}
	}
}
