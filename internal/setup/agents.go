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

	"vmux/internal/otheragents"
)

// Agents finds the other agents that serve this user, by the sockets that each has by
// itself and by what the environment names; each once, whatever the path.
func (w Wish) Agents(ctx context.Context) []otheragents.Agent {
	runtime := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(runtime) {
		runtime = ""
	}
	const gpg = "gpg-agent" // which is asked where it serves, and whether
	candidates := slices.DeleteFunc(otheragents.Known(w.Home, runtime), func(a otheragents.Agent) bool { return a.Name == gpg })
	candidates = append(candidates, otheragents.Agent{Name: gpg, Socket: gpgSocket(ctx)})
	if os.Getenv("SSH_CONNECTION") == "" { // else it may be another computer's, forwarded
		candidates = append(candidates, otheragents.Agent{Name: "the agent of SSH_AUTH_SOCK", Socket: os.Getenv("SSH_AUTH_SOCK")})
	}
	var found []otheragents.Agent
	for _, c := range candidates {
		same := func(other otheragents.Agent) bool { return sameFile(other.Socket, c.Socket) }
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
