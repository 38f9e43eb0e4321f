package hostname

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"time"
)

// askFor is how long the system may take to tell its name: `vmux status` waits for it.
const askFor = 2 * time.Second

// published asks for the name that mDNSResponder tells. What gethostname returns comes
// from whatever DHCP server the computer met last.
func published() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askFor)
	defer cancel()
	out, err := exec.CommandContext(ctx, "/usr/sbin/scutil", "--get", "LocalHostName").Output()
	if err != nil {
		return os.Hostname()
	}
	return strings.TrimSpace(string(out)), nil
}

// sanitize has nothing to do: System Settings accept host names only.
func sanitize(s string) string { return s }

// Rename is the command that gives the computer a name.
func Rename(name string) string { return "sudo scutil --set LocalHostName " + name }
