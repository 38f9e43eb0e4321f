package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"vmux/internal/desktop"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// openURL has the desktop open a page or a file.
func openURL(what string) error {
	if err := desktop.Open(what); err != nil {
		return wire.WithHint(fmt.Errorf("open it: %w", err), "install xdg-utils")
	}
	return nil
}

// clipboards are the programs that copy what they read, best first.
func clipboards() [][]string {
	switch {
	case runtime.GOOS == "darwin":
		return [][]string{{"pbcopy"}}
	case os.Getenv("WAYLAND_DISPLAY") != "":
		return [][]string{{"wl-copy"}, {"xclip", "-selection", "clipboard"}, {"xsel", "--clipboard", "--input"}}
	}
	return [][]string{{"xclip", "-selection", "clipboard"}, {"xsel", "--clipboard", "--input"}}
}

// copyText puts a text into the clipboard. On Linux the desktops have no way for it that
// all share: a program has to stay that hands it out, and the small ones for that do so by
// themselves.
func copyText(ctx context.Context, text string) error {
	for _, program := range clipboards() {
		cmd := exec.CommandContext(ctx, program[0], program[1:]...)
		cmd.Stdin = strings.NewReader(text)
		err := cmd.Run()
		if err == nil {
			return nil
		}
		if !errors.Is(err, exec.ErrNotFound) {
			return fmt.Errorf("copy by %s: %w", program[0], err)
		}
	}
	return wire.WithHint(errors.New("no program here copies to the clipboard; the text: "+text), "install wl-clipboard (Wayland) or xclip")
}

// openLog shows the agent's log: the file that launchd writes, or what the journal has of
// the service, as a file in a folder of this user's own.
func openLog(ctx context.Context) error {
	if runtime.GOOS == "darwin" {
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		return openURL(filepath.Join(home, "Library", "Logs", "vmux-agent.log"))
	}
	const unit = "vmux-agent"
	text, err := exec.CommandContext(ctx, "journalctl", "--user", "--unit", unit, "--lines", "2000", "--no-pager", "--output", "short-iso").Output()
	if err != nil || len(text) == 0 {
		return wire.WithHint(errors.New("the journal has nothing of a service "+unit), "look where the agent was started: it writes its log to standard error")
	}
	path := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "vmux-agent.log")
	if !filepath.IsAbs(path) {
		return errors.New("XDG_RUNTIME_DIR is not set, so that there is no private folder for the log")
	}
	if err := state.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	return openURL(path)
}
