package hostname

func published() (string, error) { return hostname() }

// sanitize leaves the name, since Windows tells it as it is.
func sanitize(s string) string { return s }

// Rename is the command that gives the computer a name.
func Rename(name string) string { return "Rename-Computer " + name }
