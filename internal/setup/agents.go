package setup

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
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
	candidates := otheragents.Serving(ctx, w.Home, runtime)
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
