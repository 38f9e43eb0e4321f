package otheragents

import "testing"

// Whose socket it is, is told by its place; of ssh-agent's own nothing is.
func TestNameOf(t *testing.T) {
	for socket, want := range map[string]string{
		"/run/user/1000/gcr/ssh":                                                              "GNOME's gcr-ssh-agent",
		"/run/user/1000/keyring/ssh":                                                          "gnome-keyring",
		"/run/user/1000//gnupg/S.gpg-agent.ssh":                                               "gpg-agent",
		"/home/alice/.gnupg/S.gpg-agent.ssh":                                                  "gpg-agent",
		"/home/alice/.1password/agent.sock":                                                   "1Password",
		"/home/alice/.bitwarden-ssh-agent.sock":                                               "Bitwarden",
		"/home/alice/.var/app/com.bitwarden.desktop/data/.bitwarden-ssh-agent.sock":           "Bitwarden",
		"/home/alice/snap/bitwarden/current/.bitwarden-ssh-agent.sock":                        "Bitwarden",
		"/run/user/1000/yubikey-agent/yubikey-agent.sock":                                     "yubikey-agent",
		"/run/user/1000/ssh-agent":                                                            "ssh-agent",
		"/run/user/1000/ssh-tpm-agent.sock":                                                   "ssh-tpm-agent",
		"/home/alice/.ssh/agent/s.ty5jXgL98F.agent.HNglVhG6Zb":                                "ssh-agent",
		"/home/alice/.ssh/agent/s.ty5jXgL98F.sshd.HNglVhG6Zb":                                 "the agent that was forwarded here",
		"/home/bob/.ssh/agent/s.ty5jXgL98F.agent.HNglVhG6Zb":                                  "another agent",
		"/private/tmp/com.apple.launchd.abc/Listeners":                                        "macOS' ssh-agent",
		"/tmp/ssh-XXXXabcd/agent.4711":                                                        "another agent",
		"/home/bob/.1password/agent.sock":                                                     "another agent",
		"/run/user/1000/gcr/ssh/../ssh":                                                       "GNOME's gcr-ssh-agent",
		"/home/alice/Library/Containers/com.maxgoedjen.Secretive.SecretAgent/Data/socket.ssh": "Secretive",
	} {
		if got := NameOf(socket, "/home/alice", "/run/user/1000"); got != want {
			t.Errorf("%s: %s, want %s", socket, got, want)
		}
	}
	if len(Known("/home/alice", "")) >= len(Known("/home/alice", "/run/user/1000")) {
		t.Error("without a runtime folder there are as many")
	}
}
