//go:build !darwin && !windows

package hostname

func published() (string, error) { return hostname() }

func sanitize(s string) string { return strip(s) }

// Rename is the command that gives the computer a name, which no DHCP server changes.
func Rename(name string) string { return "sudo hostnamectl set-hostname " + name }
