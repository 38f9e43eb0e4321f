package hostname

import "os"

func published() (string, error) { return os.Hostname() }

// sanitize leaves the name, since Windows tells it as it is.
func sanitize(s string) string { return s }

// Rename is the command that gives the computer a name.
func Rename(name string) string { return "Rename-Computer " + name }
