// Package process runs other programs as children of this one, each with its log
// in a file. It does not start again what has ended.
package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Process is a program that was started.
type Process struct {
	Exited <-chan struct{} // closed when it has ended

	name string
	cmd  *exec.Cmd
	log  string // path
}

// Start starts cmd. Streams that are not set go to the log, the path of a file
// that is made if it is not there.
func Start(name string, cmd *exec.Cmd, log string) (*Process, error) {
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
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(exited)
	}()
	return &Process{Exited: exited, name: name, cmd: cmd, log: log}, nil
}

// What a process may take on a busy machine, to be ready and to end.
const (
	startTimeout = time.Minute
	stopTimeout  = 5 * time.Second
)

// PID is its process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop asks the process to end, then makes it, and waits until it is gone. It may
// be called twice, and on nil.
func (p *Process) Stop() {
	if p == nil {
		return
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err == nil {
		select {
		case <-p.Exited:
			return
		case <-time.After(stopTimeout):
		}
	}
	_ = p.cmd.Process.Kill() // it may have ended just now
	<-p.Exited
}

// WaitForLog waits until the process has logged text.
func (p *Process) WaitForLog(ctx context.Context, text string) error {
	return p.Wait(ctx, fmt.Sprintf("%q in its log", text), func() bool {
		return strings.Contains(p.Log(), text)
	})
}

// Wait waits until ready says so, for a minute at most. It fails when the process
// ends.
func (p *Process) Wait(ctx context.Context, what string, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-p.Exited:
			if ready() {
				return nil
			}
			return p.Ended()
		case <-ctx.Done():
			return fmt.Errorf("%s: waited for %s, which did not come: %s", p.name, what, p.tail())
		}
	}
	return nil
}

// Ended is the error that it has ended, with the end of its log.
func (p *Process) Ended() error { return fmt.Errorf("%s has ended: %s", p.name, p.tail()) }

// Log returns what it has logged so far; a log that is not there is empty.
func (p *Process) Log() string {
	b, _ := os.ReadFile(p.log)
	return string(b)
}

// tail is the last five lines of its log.
func (p *Process) tail() string {
	lines := strings.Split(strings.TrimSpace(p.Log()), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}
