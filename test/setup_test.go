//go:build linux

package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Set-up for an ordinary user: what is missing is named with the command that
// installs it, and sudo is not called before the person has said yes. Here the
// SSH client is missing since it is not on the PATH, and sudo is a program that
// writes down that it was called.
func TestSetupAsksBeforeSudo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		terminal bool
		answer   string
		asked    bool // whether sudo is to be called
		says     string
	}{
		"no terminal": {says: "nothing was installed, since there is no terminal to ask at"},
		"no":          {terminal: true, answer: "n\n", says: "setup: nothing was installed"},
		"only Enter":  {terminal: true, answer: "\n", says: "setup: nothing was installed"},
		"yes":         {terminal: true, answer: "y\n", asked: true, says: "setup: installing openssh-client openssh-server"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, called := runSetup(t, c.terminal, c.answer)
			for _, want := range []string{
				"these Debian packages are missing:", "  openssh-client", "  openssh-server",
				"  sudo apt-get install --no-install-recommends openssh-client openssh-server", c.says,
			} {
				if !strings.Contains(out, want) {
					t.Errorf("set-up does not say %q:\n%s", want, out)
				}
			}
			if called != c.asked {
				t.Errorf("sudo was called: %v; want %v\n%s", called, c.asked, out)
			}
		})
	}
}

// runSetup runs `setup.sh demo` as an ordinary user, and tells whether it came to sudo.
func runSetup(t *testing.T, terminal bool, answer string) (out string, called bool) {
	t.Helper()
	dir, err := os.MkdirTemp("", "vmux-setup-") // the tests' own folder is root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	bin, scripts := filepath.Join(dir, "bin"), filepath.Join(dir, "scripts")
	text, err := os.ReadFile("../scripts/setup.sh")
	if err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(dir, "sudo-was-called")
	for _, err := range []error{
		os.Mkdir(bin, 0o755), os.Mkdir(scripts, 0o755),
		os.WriteFile(filepath.Join(scripts, "setup.sh"), text, 0o755),
		os.WriteFile(filepath.Join(bin, "sudo"), []byte("#!/bin/sh\n: >"+record+"\nexit 1\n"), 0o755),
		os.WriteFile(filepath.Join(bin, "go"), []byte("#!/bin/sh\necho go1.26.0\n"), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"bash", "env", "sh", "dirname", "id", "sort", "head", "apt-get", "tee", "chmod", "rm", "cat"} {
		path, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(path, filepath.Join(bin, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(deadline(t), filepath.Join(bin, "bash"), filepath.Join(scripts, "setup.sh"), "demo")
	if terminal {
		command = exec.CommandContext(deadline(t), "script", "--quiet", "--return", "--command", strings.Join(command.Args, " "), "/dev/null")
		command.Stdin = strings.NewReader(answer)
	}
	command.Dir = dir
	command.Env = []string{"PATH=" + bin, "HOME=" + dir, "SHELL=/bin/sh"}
	if os.Getuid() == 0 {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if err := exec.Command("chown", "-R", "nobody", dir).Run(); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var both bytes.Buffer
	command.Stdout, command.Stderr = &both, &both
	if err := command.Run(); err == nil {
		t.Errorf("set-up ended as if all were there:\n%s", both.String())
	}
	_, err = os.Stat(record)
	return strings.ReplaceAll(both.String(), "\r", ""), err == nil
}

// A build that takes minutes says in lines what it is at.
func TestBuildSaysWhatIsBuilt(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("make", "--no-print-directory", "-C", "..", "-n", "build")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("make -n build: %v\n%s", err, out)
	}
	for _, part := range []string{"bin/ (", "web/phone/dist, "} {
		if !strings.Contains(string(out), `echo "building `+part) {
			t.Errorf("the build of %s is not said:\n%s", part, out)
		}
	}
}
