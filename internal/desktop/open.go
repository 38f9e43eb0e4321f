package desktop

import (
	"os/exec"
	"runtime"
)

// Open has the desktop open a page or a file.
func Open(what string) error {
	program := "xdg-open"
	if runtime.GOOS == "darwin" {
		program = "open"
	}
	cmd := exec.Command(program, what)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // some return at once, some with the browser
	return nil
}
