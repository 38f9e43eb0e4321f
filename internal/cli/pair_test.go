package cli

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/creack/pty"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/device"
)

// A window that shows a part of the code is told, since no camera reads that:
// 80x24, which terminals open with, is too small for an invitation.
func TestCodeFitsTheWindow(t *testing.T) {
	routes := []string{"tcp:192.168.1.7:40123", "tcp:10.0.0.7:40123"}
	code := qrCode(device.NewInvitation(device.ID{1}, "laptop", routes, "").URL())
	lines := strings.Split(strings.TrimSuffix(code, "\n"), "\n")
	high, wide := len(lines)+1, len([]rune(lines[0]))
	for i, line := range lines {
		if n := len([]rune(line)); n != wide || strings.Contains(line, "\x1b") {
			t.Fatalf("line %d of the code is %d wide, the first one %d", i, n, wide)
		}
	}
	for _, size := range []struct {
		width, height int
		drawn         bool
	}{{80, 24, false}, {wide, high, true}, {wide - 1, high, false}, {wide, high - 1, false}, {200, 100, true}} {
		drawn, why := fitting(code, size.width, size.height)
		if (drawn == code) != size.drawn || (why == "") != size.drawn {
			t.Errorf("%dx%d: drawn %v, %q", size.width, size.height, drawn != "", why)
		}
	}
}

// A serial line tells no size: no window is said to be too small.
func TestNoCodeWhereTheSizeIsNotKnown(t *testing.T) {
	end, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	defer tty.Close()
	a := &app{&command.IO{Err: tty}}
	if code, why := a.codeFor("https://hub.example.com/"); code != "" || !strings.Contains(why, "is not known") {
		t.Errorf("%q, %q", code, why)
	}
}

// The command that is shown can be pasted into a shell as it is: unquoted, it would
// end at the first & and go on in the background.
func TestShownPairCommandCanBePasted(t *testing.T) {
	for _, hub := range []string{"", "http://localhost:8722", "https://hub.example.com"} {
		page := ""
		if hub != "" {
			page = hub + "/"
		}
		url := device.NewInvitation(device.ID{1}, "o'brien's \"laptop\" $HOME", []string{"tcp:192.168.1.7:40123"}, page).URL()
		var out, words bytes.Buffer
		a := &app{&command.IO{Out: &out, Err: &words}}
		if err := a.invite(control.Invitation{URL: url, Hub: hub, DeviceID: device.ID{1}.String()}); err != nil {
			t.Fatal(err)
		}
		if out.String() != url+"\n" {
			t.Errorf("standard output is %q", out.String())
		}
		var shown string
		for line := range strings.Lines(words.String()) {
			if strings.HasPrefix(line, "vmux phone pair ") {
				shown = line
			}
		}
		pasted, err := exec.Command("sh", "-c", "vmux() { printf '%s|' \"$@\"; }\n"+shown).CombinedOutput()
		if err != nil || string(pasted) != "phone|pair|"+url+"|" {
			t.Errorf("hub %q: the shell takes %q for %q, %v", hub, shown, pasted, err)
		}
	}
}
