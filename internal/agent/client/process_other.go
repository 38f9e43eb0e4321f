//go:build !linux && !darwin

package client

// ProcessOf knows nothing here.
func ProcessOf(int) (Process, bool) { return Process{}, false }

// Arguments knows nothing here.
func Arguments(int) []string { return nil }

func environmentOf(int) ([]string, bool) { return nil, false }

func folderOf(int) string { return "" }
