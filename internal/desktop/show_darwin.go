package desktop

import (
	"context"
	"fmt"
	"os/exec"
)

// Show shows a notification. Title and text are arguments of the script, not
// part of it: a phone's name must not become a program.
func Show(ctx context.Context, title, text string) error {
	cmd := exec.CommandContext(ctx, "/usr/bin/osascript",
		"-e", "on run argv", "-e", "display notification (item 2 of argv) with title (item 1 of argv)", "-e", "end run",
		"--", title, text)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}
