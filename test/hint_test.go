package test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"vmux/internal/sshdtest"
)

// desk is a person's shell on the computer, on a terminal that knows escape
// sequences.
type desk struct {
	*screen
	login   string
	prompts int
}

func (w *world) desk(login string) *desk {
	w.Helper()
	shell := exec.CommandContext(deadline(w), "bash", "--norc", "--noprofile", "-i")
	shell.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + w.computer.dir, "TERM=xterm", "PS1=ready> ", "LOGIN=" + login}
	d := &desk{screen: onTerminal(w, shell), login: login}
	d.waitCount("ready> ", 1, "")
	d.types("bind 'set enable-bracketed-paste off'\n")
	d.prompts = 2
	d.waitCount("ready> ", d.prompts, "")
	return d
}

// after runs a line, and returns what is then written until the next prompt.
func (d *desk) after(line string, meanwhile func(before int)) string {
	d.t.Helper()
	before := len(d.text())
	d.types(line + "\n")
	meanwhile(before)
	d.prompts++
	d.waitCount("ready> ", d.prompts, "")
	return d.text()[before:]
}

const cleared = "\r\x1b[K"

// While ssh waits for the phone, its terminal says where to look; the line goes
// when the answer comes, before ssh goes on, and a refusal leaves its reason.
func TestTerminalSaysWhereToLook(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t, "--approval-timeout", "8s")
	o := sshdtest.New(t)
	d := w.desk(o.SSH + " -F " + w.server(o).ClientConfig(t, w.computer.socket()) + " " + sshdtest.Host)
	hints := func(before int) { d.waitAfter(before, " s left") }
	approved := 0
	approves := func() {
		approved++
		person.waitCount("Approved.", approved, "y")
	}

	out := d.after("$LOGIN echo welcome to '$((40+2))'", func(before int) { hints(before); approves() })
	about := "vmux: look at " + w.phoneName() + ": login as " + username(t) + ", 8 s left"
	if !strings.Contains(out, cleared+about) || !strings.Contains(out, " s left"+cleared+"welcome to 42\r\n") {
		t.Errorf("approved: %q", out)
	}
	out = d.after("$LOGIN true", func(before int) { hints(before); person.waitCount("Denied.", 1, "n") })
	if !strings.Contains(out, " s left"+cleared+"vmux: Denied on the phone.\r\nhint: ") || strings.Contains(out[strings.Index(out, "Denied"):], cleared) {
		t.Errorf("denied: %q", out)
	}
	out = d.after("$LOGIN true", hints)
	if !strings.Contains(out, "vmux: No answer within 8 s.\r\nhint: ") || strings.Count(out, " s left") < 2 {
		t.Errorf("expired: %q", out)
	}
	out = d.after("$LOGIN true", func(before int) { hints(before); d.types("\x03") })
	if i := strings.LastIndex(out, cleared); strings.Contains(out[i+len(cleared):], "vmux: N") || strings.Index(out, "^C") < i {
		t.Errorf("interrupted: %q", out)
	}

	// Two that share the terminal share the line, and leave nothing of it.
	out = d.after("$LOGIN echo one two | $LOGIN cat", func(before int) {
		hints(before)
		var typed time.Time
		waitFor(t, "both logins", func() bool {
			if person.asked() && time.Since(typed) > time.Second { // else it makes the sheet wait longer
				person.types("y")
				typed = time.Now()
			}
			return strings.Count(d.text(), "ready> ") > d.prompts
		})
	})
	approved = person.count("Approved.")
	if !strings.HasSuffix(out, "\r\none two\r\nready> ") && !strings.HasSuffix(out, cleared+"one two\r\nready> ") {
		t.Errorf("two at once: %q", out)
	}

	// Nobody looks at what asks here, or has said that nothing is wanted.
	for name, line := range map[string]string{
		"a job in the background":    "$LOGIN true & wait",
		"a process without terminal": "setsid -w $LOGIN true",
		"switched off":               "VMUX_TTY=off $LOGIN true",
		"a terminal without escapes": "TERM=dumb $LOGIN true",
		"a program that draws":       "stty -icanon; $LOGIN true; stty sane",
	} {
		out := d.after(line, func(int) {
			sheets := person.sheets()
			waitFor(t, "the sheet", func() bool { return person.sheets() > sheets })
			person.afterAWhile("")
			approves()
		})
		if strings.Contains(out, "vmux:") || strings.Contains(out, cleared) {
			t.Errorf("%s: %q", name, out)
		}
	}
	w.agent.stop()
	w.startAgent("--tty-hints=false")
	w.waitConnected()
	out = d.after("$LOGIN true", func(int) {
		person.afterAWhile("")
		approves()
	})
	if strings.Contains(out, "vmux:") {
		t.Errorf("--tty-hints=false: %q", out)
	}
}

// A phone that is away is named, and then the reason.
func TestTerminalSaysThatThePhoneIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	o := sshdtest.Old(t)
	d := w.desk(o.SSH + " -F " + w.server(o).ClientConfig(t, w.computer.socket()) + " " + sshdtest.Host)
	name := w.phoneName()
	w.phoneRun.stop()
	w.waitStatus("Phone not connected")
	out := d.after("$LOGIN true", func(int) {})
	if !strings.Contains(out, "vmux: open vmux on "+name+", which is not connected: login as "+username(t)+", 5 s left") ||
		!strings.Contains(out, cleared+"vmux: The phone is not reachable.\r\nhint: ") {
		t.Errorf("away: %q", out)
	}
}

// waitAfter waits until text stands behind what has been written before.
func (s *screen) waitAfter(before int, text string) {
	s.t.Helper()
	waitFor(s.t, text+" on the terminal", func() bool { return strings.Contains(s.text()[before:], text) })
}

// phoneName is the phone's name as the computer knows it.
func (w *world) phoneName() string {
	w.Helper()
	for line := range strings.Lines(w.computer.run("status")) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Connected to "); ok {
			return name
		}
	}
	w.Fatal("no phone is connected")
	return ""
}
