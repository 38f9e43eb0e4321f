//go:build linux || darwin

package terminal

import (
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// On a terminal that becomes narrower the sheet is shown again, with its rows laid out for
// that, and takes no key for a moment. What was broken by the terminal itself could begin
// like a row.
func TestSheetIsLaidOutAnew(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	terminal.inert = 2 * time.Second
	resize := func(columns uint16) {
		t.Helper()
		if err := pty.Setsize(p.end, &pty.Winsize{Rows: 24, Cols: columns}); err != nil {
			t.Fatal(err)
		}
	}
	resize(80)
	c := asks(t.Context(), terminal.Approver([]byte("x")), sheet("laptop", 60*time.Second))
	p.sees(" s left")
	p.pauses(terminal.inert + 300*time.Millisecond)
	resize(100)
	p.pauses(terminal.inert + 300*time.Millisecond)
	if n := strings.Count(p.screen(), "asks: "); n != 1 {
		t.Errorf("%d sheets on a terminal that has become wider", n)
	}
	resize(40)
	p.pauses(300 * time.Millisecond) // until that is seen
	p.types("y")
	waitFor(t, "the sheet again", func() bool { return strings.Count(p.screen(), "asks: ") == 2 })
	p.types("y")
	p.pauses(300 * time.Millisecond)
	if len(c) > 0 {
		t.Fatalf("answered by what was typed while the sheet changed: %+v", <-c)
	}
	again := p.screen()[strings.LastIndex(p.screen(), "----"):]
	for line := range strings.Lines(again) {
		if line = strings.Trim(line, "\r\n"); !strings.HasPrefix(line, "Answer") && columnsIn(line) >= 40 {
			t.Errorf("wider than 40 columns: %q", line)
		}
	}
	waitFor(t, "an answer", func() bool {
		p.pauses(terminal.inert + 300*time.Millisecond)
		p.types("n")
		p.pauses(300 * time.Millisecond)
		return len(c) > 0
	})
	if a := get(t, c); a.approved || a.err != nil {
		t.Errorf("denied with n: %+v", a)
	}
}

// Nothing is left of a line of wide characters.
func TestWideLineIsOverwritten(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	const label = "Passphrase of 日本語の鍵: "
	terminal.draw(label)
	terminal.draw("Denied.")
	p.sees("\r" + strings.Repeat(" ", columnsIn(label)) + "\rDenied.")
}
