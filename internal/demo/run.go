package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"vmux/internal/control"
	"vmux/internal/process"
	"vmux/internal/wire"
)

// How the demonstration runs programs, and shows them being run.

// socket is the path of the agent's socket, which follows from VMUX_HOME.
func (d *demo) socket() string { return filepath.Join(d.dir, "computer", "agent.sock") }

// command is `vmux ARGS…` as the actor's own: "computer" or "phone".
func (d *demo) command(actor string, args ...string) *exec.Cmd {
	cmd := exec.Command(d.program, args...)
	cmd.Args[0] = "vmux"
	cmd.Env = append(d.environment(), "VMUX_HOME="+filepath.Join(d.dir, actor))
	return cmd
}

// background shows and starts `vmux ARGS… &`, which errors name so, with its log in the
// scratch folder.
func (d *demo) background(actor, name string, args []string) (*process.Process, error) {
	if err := d.prompt(actor, "vmux", append(slices.Clone(args), "&")); err != nil {
		return nil, err
	}
	cmd := d.command(actor, args...)
	if args[0] == "phone" && !d.Yes { // it asks on this terminal
		cmd.Stdin = d.In.(*os.File)
	}
	return process.Start(name, cmd, filepath.Join(d.dir, args[0]+".log"))
}

// environment is this process's without what leads to the user's own agent,
// state and desktop.
func (d *demo) environment() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return strings.HasPrefix(name, "VMUX_") || slices.Contains([]string{
			"SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR",
		}, name)
	})
}

// vmux shows and runs `vmux ARGS…`, shows its answer and returns it.
func (d *demo) vmux(ctx context.Context, actor, stdin string, args ...string) (string, error) {
	if err := d.prompt(actor, "vmux", args); err != nil {
		return "", err
	}
	out, err := d.capture(ctx, d.command(actor, args...), stdin)
	return out, errors.Join(d.show(out), err)
}

// openssh shows and runs one of OpenSSH's programs on the computer.
func (d *demo) openssh(ctx context.Context, path string, args ...string) (string, error) {
	if err := d.prompt("computer", filepath.Base(path), args); err != nil {
		return "", err
	}
	out, err := d.capture(ctx, d.client(path, args...), "")
	return out, errors.Join(d.show(out), err)
}

// client is an SSH client's program on the computer.
func (d *demo) client(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Env = append(d.environment(), "SSH_AUTH_SOCK="+d.socket())
	return cmd
}

// line writes one line of the answer.
func (d *demo) line(format string, args ...any) error {
	return d.Text(fmt.Sprintf(format, args...) + "\n")
}

// prompt shows a command line as it would be typed.
func (d *demo) prompt(actor, program string, args []string) error {
	words := []string{program}
	for _, a := range args {
		a = strings.ReplaceAll(a, d.dir, "$D")
		if strings.ContainsAny(a, " ()") {
			a = "'" + a + "'"
		}
		words = append(words, a)
	}
	return d.line("   %s$ %s", actor, strings.Join(words, " "))
}

// show shows what a program has printed, the longest words cut.
func (d *demo) show(out string) error {
	for line := range strings.Lines(out) {
		if err := d.line("   %s", wire.Show(shorten(strings.TrimRight(line, "\n")))); err != nil {
			return err
		}
	}
	return nil
}

// Compiled when a demo needs them, not at the start of every command.
var (
	keyBlob  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[A-Za-z0-9+/]{80,}=*`) })
	deviceID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\b[a-z2-7]{52}\b`) })
)

// shorten cuts public keys and device IDs, which fill a screen and tell nobody
// anything beyond their first and last characters.
func shorten(line string) string {
	line = keyBlob().ReplaceAllStringFunc(line, func(s string) string { return s[:16] + "…" + s[len(s)-16:] })
	return deviceID().ReplaceAllStringFunc(line, func(s string) string { return s[:12] + "…" })
}

// capture runs a command to its end and returns its standard output. When ctx
// ends, so does the command. What it said is part of its error.
func (d *demo) capture(ctx context.Context, cmd *exec.Cmd, stdin string) (string, error) {
	var out, words bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &words
	cmd.WaitDelay = time.Second // a grandchild may hold the pipes
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start %s: %w", cmd.Args[0], err)
	}
	over := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer over()
	if err := cmd.Wait(); err != nil {
		name := strings.Join(cmd.Args[:min(3, len(cmd.Args))], " ")
		return out.String(), fmt.Errorf("%s: %w: %s", filepath.Base(name), err, bytes.TrimSpace(words.Bytes()))
	}
	return out.String(), nil
}

// invitation is one of the two lines of `vmux pair --json`.
type invitation struct {
	Invitation, DeviceID string
	Paired               *control.Device
}

// invite runs `vmux pair`, which goes on until the phone is paired, and returns its
// invitation. The pairing's own port is not for the network: a page comes by the hub.
func (d *demo) invite(ctx context.Context) (i invitation, err error) {
	line := []string{"pair", "--json", "--address", "127.0.0.1"}
	if err := d.prompt("computer", "vmux", line); err != nil {
		return i, err
	}
	if d.invited, err = process.Start("vmux pair", d.command("computer", line...), filepath.Join(d.dir, "pair.log")); err != nil {
		return i, err
	}
	return d.pairAnswer(ctx, 0)
}

// pairAnswer is a line of JSON that `vmux pair` has printed, beside words for people.
func (d *demo) pairAnswer(ctx context.Context, n int) (answer invitation, err error) {
	err = d.invited.Wait(ctx, "its answer", func() bool {
		lines := slices.DeleteFunc(strings.SplitAfter(d.invited.Log(), "\n"), func(l string) bool {
			return !strings.HasPrefix(l, "{") || !strings.HasSuffix(l, "\n")
		})
		return len(lines) > n && json.Unmarshal([]byte(lines[n]), &answer) == nil
	})
	return answer, err
}

// pair hands the invitation to the phone, as scanning the code would.
func (d *demo) pair(ctx context.Context) error {
	answer, err := d.invite(ctx)
	if err != nil {
		return err
	}
	if _, err := d.vmux(ctx, "phone", answer.Invitation+"\n", "phone", "pair", "-"); err != nil {
		return err
	}
	if answer, err = d.pairAnswer(ctx, 1); err != nil {
		return err
	}
	if answer.Paired == nil {
		return errors.New("not paired")
	}
	if err := d.line("   paired: %s, device ID %s", wire.Show(answer.Paired.Name), shorten(wire.Show(answer.Paired.ID))); err != nil {
		return err
	}
	return d.agent.Wait(ctx, "the link to the phone", func() bool {
		out, err := d.capture(ctx, d.command("computer", "status"), "")
		return err == nil && strings.Contains(out, "Connected to ") && strings.Contains(out, "SHA256:")
	})
}

// reason looks up why the agent failed, which ssh cannot know: that is err then.
func (d *demo) reason(ctx context.Context, err error) error {
	s, failed := d.status(ctx)
	if failed != nil || s.LastFailure == nil {
		return err
	}
	return wire.WithHint(wire.Errorf(s.LastFailure.Code, "%s", s.LastFailure.Sentence), "vmux demo")
}

// approvals counts the signatures that the phone was asked for and gave.
func (d *demo) approvals(ctx context.Context) (n int, err error) {
	if d.paged() {
		return d.signed(ctx)
	}
	out, err := d.capture(ctx, d.command("phone", "phone", "log", "--json"), "")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(out) {
		var record struct{ Kind, Decision string }
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			return 0, fmt.Errorf("read the phone's log: %w", err)
		}
		if record.Kind == "sign" && record.Decision == "approved" {
			n++
		}
	}
	return n, nil
}
