package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// child is a process of the demonstration's, with its log in a file.
type child struct {
	name   string
	cmd    *exec.Cmd
	log    string // path
	exited chan struct{}
}

// startChild starts cmd. Streams that are not set go to the log.
func startChild(name string, cmd *exec.Cmd, log string) (*child, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer out.Close() // the process has it open
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = out
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c := &child{name: name, cmd: cmd, log: log, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(c.exited)
	}()
	return c, nil
}

// childPatience bounds how long a process may take to be ready, and to end.
const childPatience = time.Minute

// stop asks the process to end, then makes it, and waits until it is gone.
func (c *child) stop() {
	if c == nil {
		return
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err == nil {
		select {
		case <-c.exited:
			return
		case <-time.After(childPatience / 12):
		}
	}
	_ = c.cmd.Process.Kill() // it may have ended just now
	<-c.exited
}

// waitLog waits until the process has logged text.
func (c *child) waitLog(ctx context.Context, text string) error {
	return c.wait(ctx, fmt.Sprintf("%q in its log", text), func() bool {
		return strings.Contains(c.read(), text)
	})
}

// wait waits until ready says so, the process ends, or patience does.
func (c *child) wait(ctx context.Context, what string, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, childPatience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-c.exited:
			return fmt.Errorf("%s has ended: %s", c.name, c.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("%s: waited in vain for %s: %s", c.name, what, c.lastWords())
		}
	}
	return nil
}

// read returns what it has logged so far; a log that is not there is empty.
func (c *child) read() string {
	b, _ := os.ReadFile(c.log)
	return string(b)
}

// lastWords are the last lines of its log.
func (c *child) lastWords() string {
	lines := strings.Split(strings.TrimSpace(c.read()), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}
