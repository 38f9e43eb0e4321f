package desktop

import (
	"context"
	"fmt"
	"os/exec"
)

// Show shows a notification, which cannot be closed. Title and text are arguments of the
// script, not part of it: a phone's name must not become a program.
func (*Own) Show(ctx context.Context, title, text string) (uint32, error) {
	cmd := exec.CommandContext(ctx, "/usr/bin/osascript",
		"-e", "on run argv", "-e", "display notification (item 2 of argv) with title (item 1 of argv)", "-e", "end run",
		"--", title, text)
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("notify: %w", err)
	}
	return 0, nil
}

// Close is not called, since nothing has an ID.
func (*Own) Close(context.Context, uint32) error { return nil }
