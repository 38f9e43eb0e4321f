package hostname

import (
	"os/exec"
	"strings"
)

// published asks for the name that mDNSResponder tells. What gethostname returns comes
// from whatever DHCP server the computer met last.
func published() (string, error) {
	out, err := exec.Command("/usr/sbin/scutil", "--get", "LocalHostName").Output()
	if err != nil {
		return hostname()
	}
	return strings.TrimSpace(string(out)), nil
}

// sanitize has nothing to do: System Settings accept host names only.
func sanitize(s string) string { return s }

// Rename is the command that gives the computer a name.
func Rename(name string) string { return "sudo scutil --set LocalHostName " + name }
