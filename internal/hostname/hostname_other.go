//go:build !darwin && !windows

package hostname

import "os"

func published() (string, error) { return os.Hostname() }

func sanitize(s string) string { return strip(s) }

// Rename is the command that gives the computer a name, which no DHCP server changes.
// avahi-daemon tells the name that it was started with (openbmc 3473, LibreELEC's
// service.libreelec.settings 326).
func Rename(name string) string {
	return "sudo hostnamectl set-hostname " + name + " && sudo systemctl try-restart avahi-daemon"
}
