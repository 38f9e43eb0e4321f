// Package localhub runs the hub's program beside the agent: it starts it, starts
// it again when it ends, passes on what it logs, and ends it. It knows nothing
// of what a hub does, so that the agent does not link it.
package localhub

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"vmux/internal/link"
)

// ProgramName is the hub's program, which stands beside that of the agent.
const ProgramName = "vmux-hub"

// exitUsage is the exit status of a hub that would refuse its flags again.
const exitUsage = 2

// maxLine bounds one line of the hub's log; what is longer is cut into several.
const maxLine = 16 << 10

// Errors.
var (
	ErrNotFound = errors.New("the hub's program is not there")
	ErrRefused  = errors.New("the hub refuses to run")
)

// Config says what to run.
type Config struct {
	// Program is the hub's path; see Find.
	Program string
	// Args are the program's. It must end when its standard input does, which
	// is how it learns that the agent was killed.
	Args []string
	// Lines is given each line that the hub writes, without its end. Calls come
	// one after the other.
	Lines func(string)
	// Ended is called after each end of the hub; nil: nothing is.
	Ended func()
	// Log is told of starts and ends; nil discards.
	Log *slog.Logger
	// EndTimeout is how long the hub may take to end by itself; 0: 5 s.
	EndTimeout time.Duration
}

// A hub that has crashed is back within a moment.
const (
	backoffMin = 200 * time.Millisecond // before the first new start
	backoffMax = 15 * time.Second
	steady     = 10 * time.Second // age of a hub that resets the back-off
)

// Find returns the path of the hub's program beside this one. Its error wraps
// ErrNotFound.
func Find() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	path := filepath.Join(filepath.Dir(self), ProgramName+filepath.Ext(self))
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%w: %s", ErrNotFound, path)
	}
	return path, nil
}

// Run keeps the hub running until ctx ends, and returns when it is gone. It
// gives up, with ErrRefused, on one that says it was started wrongly.
func Run(ctx context.Context, c Config) error {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	backoff := link.Backoff{Min: backoffMin, Max: backoffMax}
	for ctx.Err() == nil {
		began := time.Now()
		err := c.once(ctx)
		if c.Ended != nil {
			c.Ended()
		}
		if ctx.Err() != nil {
			return nil
		}
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == exitUsage {
			return ErrRefused
		}
		if time.Since(began) >= steady {
			backoff.Reset()
		}
		backoff.Rest(ctx, nil)
		if ctx.Err() == nil { // ^C at a terminal ends both at once
			c.Log.Warn("the hub has ended and is started again", "reason", reason(err))
		}
	}
	return nil
}

func reason(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// once runs the hub until it ends, or ends it with ctx.
func (c Config) once(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, c.Program, c.Args...)
	// The pipe is held open as long as this process lives, and no longer.
	life, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start the hub: %w", err)
	}
	lines := &lineWriter{to: c.Lines}
	cmd.Stdout, cmd.Stderr = lines, lines // one writer: exec copies with one goroutine
	cmd.Cancel = func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM) // where there is no such signal, the pipe's end says it
		return life.Close()
	}
	cmd.WaitDelay = cmp.Or(c.EndTimeout, 5*time.Second) // then it is killed
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the hub: %w", err)
	}
	c.Log.Info("hub started", "pid", cmd.Process.Pid)
	err = cmd.Wait()
	lines.flush()
	return err
}

// lineWriter passes on whole lines.
type lineWriter struct {
	to   func(string)
	part []byte
}

// Write implements io.Writer.
func (w *lineWriter) Write(b []byte) (int, error) {
	w.part = append(w.part, b...)
	for {
		n := bytes.IndexByte(w.part, '\n') + 1
		if n == 0 || n > maxLine+1 {
			if len(w.part) < maxLine {
				return len(b), nil
			}
			n = maxLine
		}
		w.pass(string(w.part[:n]))
		w.part = w.part[n:]
	}
}

func (w *lineWriter) flush() {
	if len(w.part) > 0 {
		w.pass(string(w.part))
		w.part = nil
	}
}

func (w *lineWriter) pass(line string) {
	if line = strings.TrimSpace(line); line != "" && w.to != nil {
		w.to(line)
	}
}
