package demo

import (
	"fmt"
	"os/exec"
	"path/filepath"

	"vmux/internal/wire"
)

// tools are the programs of OpenSSH that the demonstration runs, by path.
type tools struct{ ssh, sshAdd, sshKeygen, sshd string }

func findTools() (tools, error) {
	var t tools
	for name, path := range map[string]*string{"ssh": &t.ssh, "ssh-add": &t.sshAdd, "ssh-keygen": &t.sshKeygen, "sshd": &t.sshd} {
		found, err := findProgram(name)
		if err != nil {
			return t, wire.WithHint(fmt.Errorf("the demonstration needs %s, which is not installed here", name), installHint())
		}
		*path = found
	}
	return t, nil
}

// serverFolders are where servers are, beside the PATH of an ordinary user.
var serverFolders = []string{"/usr/sbin", "/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"}

// findProgram returns an absolute path, without which sshd does not start.
func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range serverFolders {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// installHint names the command that installs OpenSSH's client and server here.
func installHint() string {
	for _, manager := range []struct{ program, command string }{
		{"apt-get", "sudo apt-get install openssh-client openssh-server"},
		{"dnf", "sudo dnf install openssh-clients openssh-server"},
		{"apk", "sudo apk add openssh"},
		{"pacman", "sudo pacman -S openssh"},
		{"zypper", "sudo zypper install openssh"},
		{"brew", "brew install openssh"},
	} {
		if _, err := exec.LookPath(manager.program); err == nil {
			return manager.command
		}
	}
	return "install OpenSSH's client and server, then run vmux demo again"
}
