//go:build !linux && !darwin

package agent

// processOf knows nothing here.
func processOf(int) (process, bool) { return process{}, false }

func environmentOf(int) ([]string, bool) { return nil, false }

func folderOf(int) string { return "" }

func argumentsOf(int) []byte { return nil }
