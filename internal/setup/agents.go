package setup

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Agent is another SSH agent that answers here.
type Agent struct{ Name, Socket string }

// Agents finds the other agents that serve this user, by the sockets that each has by
// itself and by what the environment names; each once, whatever the path.
func (w Wish) Agents(ctx context.Context) []Agent {
	candidates := []Agent{
		{"1Password", filepath.Join(w.Home, ".1password", "agent.sock")},
		{"1Password", filepath.Join(w.Home, "Library/Group Containers/2BUA8C4S2C.com.1password/t/agent.sock")},
		{"Bitwarden", filepath.Join(w.Home, ".bitwarden-ssh-agent.sock")},
		{"Secretive", filepath.Join(w.Home, "Library/Containers/com.maxgoedjen.Secretive.SecretAgent/Data/socket.ssh")},
		{"gpg-agent", gpgSocket(ctx)},
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		candidates = append(candidates,
			Agent{"ssh-agent", filepath.Join(dir, "openssh_agent")}, Agent{"ssh-agent", filepath.Join(dir, "ssh-agent.socket")},
			Agent{"GNOME's agent", filepath.Join(dir, "gcr", "ssh")}, Agent{"GNOME's keyring", filepath.Join(dir, "keyring", "ssh")})
	}
	if os.Getenv("SSH_CONNECTION") == "" { // else it may be another computer's, forwarded
		candidates = append(candidates, Agent{"the agent of SSH_AUTH_SOCK", os.Getenv("SSH_AUTH_SOCK")})
	}
	var found []Agent
	for _, c := range candidates {
		same := func(other Agent) bool { return sameFile(other.Socket, c.Socket) }
		if !sameFile(c.Socket, w.Socket) && !slices.ContainsFunc(found, same) && answers(ctx, c.Socket) {
			found = append(found, c)
		}
	}
	return found
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

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	other, err2 := os.Stat(b)
	return a == b || err == nil && err2 == nil && os.SameFile(one, other)
}

// answers reports whether something accepts connections there. It asks for no list: some
// agents have a person unlock them first.
func answers(ctx context.Context, socket string) bool {
	if socket == "" {
		return false
	}
	dialer := net.Dialer{Timeout: time.Second}
	c, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	return c.Close() == nil
}
