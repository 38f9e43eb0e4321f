// Package otheragents knows where the SSH agents of other programs listen.
package otheragents

import "path/filepath"

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
	)
}

// NameOf says whose agent listens at a socket, as far as its place tells: ssh-agent's
// has no place of its own.
func NameOf(socket, home, runtime string) string {
	for _, a := range Known(home, runtime) {
		if a.Socket == filepath.Clean(socket) {
			return a.Name
		}
	}
	if launchd, _ := filepath.Match("/*/tmp/com.apple.launchd.*/Listeners", socket); launchd {
		return "macOS' ssh-agent"
	}
	return "another agent"
}
