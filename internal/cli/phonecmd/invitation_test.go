package phonecmd

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/creack/pty"

	"vmux/internal/cli/command"
	"vmux/internal/device"
	"vmux/internal/testkit"
)

// An invitation that is pasted at a terminal in several lines is read as a whole: the rest
// of it, with its secret, would become the shell's next commands. Whatever is no invitation
// ends with an empty line, and ^C ends the wait.
func TestInvitationIsPastedAtATerminal(t *testing.T) {
	const whole = "vmux://pair#d=ndypznpzrldx6fzfii3657f6y54uutkpq75pdjkrhmtvoxzrc4ca&n=vm&r=tcp%3A192.0.2.2%3A39457&s=EYoMwSasJYne6YjTlzQXbih5LcGpYX2Tagp2z-GsE9g&v=1"
	for name, c := range map[string]struct {
		typed string
		taken bool
	}{
		"one line":         {whole + "\n", true},
		"after empty ones": {"\n\n" + whole + "\n", true},
		"three lines":      {whole[:60] + "\n" + whole[60:100] + "\n  " + whole[100:] + "\n", true},
		"the command":      {"vmux phone pair '" + whole + "'\n", true},
		"something else":   {"hello\n\n", false},
		"the end is gone":  {whole[:100] + "\n \n", false},
	} {
		t.Run(name, func(t *testing.T) {
			end, tty, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = end.Close(); _ = tty.Close() })
			said := &testkit.Output{}
			a := &app{&command.IO{In: tty, Out: said, Err: said}}
			if _, err := end.WriteString(c.typed); err != nil {
				t.Fatal(err)
			}
			text, err := a.readInvitation(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := device.ParseInvitation(inOneLine(text)); (err == nil) != c.taken {
				t.Errorf("%q was read: %v", text, err)
			}

			ctx, interrupt := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				_, err := a.readInvitation(ctx)
				done <- err
			}()
			testkit.WaitFor(t, "the question", func() bool { return strings.Count(said.String(), "paste the invitation") == 2 })
			interrupt()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("interrupted: %v", err)
			}
			_, _ = end.WriteString("\n") // ends the read that is left
		})
	}
}
