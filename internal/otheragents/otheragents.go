// Package otheragents knows where the SSH agents of other programs listen.
package otheragents

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Agent is another program's SSH agent and where it listens if it runs.
type Agent struct{ Name, Socket string }

// Known lists them for a user with this home folder and, "" where there is none, this
// XDG_RUNTIME_DIR.
func Known(home, runtime string) []Agent {
	list := []Agent{
		{"1Password", filepath.Join(home, ".1password", "agent.sock")},
		{"1Password", filepath.Join(home, "Library", "Group Containers", "2BUA8C4S2C.com.1password", "t", "agent.sock")},
		{"Secretive", filepath.Join(home, "Library", "Containers", "com.maxgoedjen.Secretive.SecretAgent", "Data", "socket.ssh")},
		{"Bitwarden", filepath.Join(home, ".bitwarden-ssh-agent.sock")},
		{"Bitwarden", filepath.Join(home, "Library", "Containers", "com.bitwarden.desktop", "Data", ".bitwarden-ssh-agent.sock")},
		{"Bitwarden", filepath.Join(home, ".var", "app", "com.bitwarden.desktop", "data", ".bitwarden-ssh-agent.sock")},
		{"Bitwarden", filepath.Join(home, "snap", "bitwarden", "current", ".bitwarden-ssh-agent.sock")},
		{"gpg-agent", filepath.Join(home, ".gnupg", "S.gpg-agent.ssh")},
	}
	if runtime == "" {
		return list
	}
	return append(list,
		Agent{"GNOME's gcr-ssh-agent", filepath.Join(runtime, "gcr", "ssh")},
		Agent{"gnome-keyring", filepath.Join(runtime, "keyring", "ssh")},
		Agent{"gpg-agent", filepath.Join(runtime, "gnupg", "S.gpg-agent.ssh")},
		Agent{"ssh-agent", filepath.Join(runtime, "openssh_agent")},
		Agent{"ssh-agent", filepath.Join(runtime, "ssh-agent.socket")},
		Agent{"ssh-agent", filepath.Join(runtime, "ssh-agent")}, // NixOS and home-manager
		Agent{"Keyguard", filepath.Join(runtime, "keyguard-ssh-agent.sock")},
		Agent{"yubikey-agent", filepath.Join(runtime, "yubikey-agent", "yubikey-agent.sock")},
		Agent{"ssh-tpm-agent", filepath.Join(runtime, "ssh-tpm-agent.sock")},
	)
}

// patterns are of sockets that have another name each time. OpenSSH from 10.1 on has a folder
// for its agent's, and for those that a login has brought along.
var patterns = []struct {
	pattern string
	home    bool // below the home folder
	name    string
}{
	{"/*/tmp/com.apple.launchd.*/Listeners", false, "macOS' ssh-agent"},
	{"/.ssh/agent/s.*.agent.*", true, "ssh-agent"},
	{"/.ssh/agent/s.*.sshd.*", true, "the agent that was forwarded here"},
}

// NameOf says whose agent listens at a socket, as far as its place tells: before OpenSSH
// 10.1 that of ssh-agent tells nothing.
func NameOf(socket, home, runtime string) string {
	socket = filepath.Clean(socket)
	for _, a := range Known(home, runtime) {
		if a.Socket == socket {
			return a.Name
		}
	}
	for _, p := range patterns {
		path, ok := socket, true
		if p.home {
			path, ok = strings.CutPrefix(socket, filepath.Clean(home))
		}
		if fits, _ := filepath.Match(p.pattern, path); ok && fits {
			return p.name
		}
	}
	return "another agent"
}

// Serving are those of Known that may be connected to: gpg-agent has its socket whether it
// serves SSH clients or not, and systemd would start it, which makes ~/.gnupg.
func Serving(ctx context.Context, home, runtime string) []Agent {
	const gpg = "gpg-agent" // which is asked where it serves, and whether
	list := slices.DeleteFunc(Known(home, runtime), func(a Agent) bool { return a.Name == gpg })
	if socket := gpgSocket(ctx); socket != "" {
		list = append(list, Agent{gpg, socket})
	}
	return list
}

// gpgSocket is where gpg-agent serves SSH clients, if it does: it has the socket in any
// case, so whether it was told to is what counts.
func gpgSocket(ctx context.Context) string {
	folder := os.Getenv("GNUPGHOME")
	if home, err := os.UserHomeDir(); folder == "" && err == nil {
		folder = filepath.Join(home, ".gnupg")
	}
	if _, err := os.Stat(folder); err != nil {
		return "" // which gpgconf would make
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	options, err := exec.CommandContext(ctx, "gpgconf", "--list-options", "gpg-agent").Output()
	if err != nil || !strings.Contains(string(options), "\nenable-ssh-support:") {
		return ""
	}
	for line := range strings.Lines(string(options)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if fields[0] == "enable-ssh-support" && fields[len(fields)-1] == "" {
			return ""
		}
	}
	path, err := exec.CommandContext(ctx, "gpgconf", "--list-dirs", "agent-ssh-socket").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(path))
}
