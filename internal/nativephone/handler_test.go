//go:build linux || darwin

package nativephone

import (
	"errors"
	"strings"
	"testing"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// onTerminal is what a terminal of so many columns shows of plain text: each line broken
// where the terminal itself breaks it first.
func onTerminal(text string, columns int) (lines []string) {
	for text := range strings.SplitSeq(text, "\n") {
		line := []rune(text)
		if len(line) > columns {
			lines, line = append(lines, string(line[:columns])), line[columns:]
		}
		lines = append(lines, string(line))
	}
	return lines
}

// What is said of a computer may come below a sheet, in a line that the terminal breaks:
// its name draws no row there either.
func TestNameBelowASheetDrawsNoRow(t *testing.T) {
	t.Parallel()
	var said []string
	h := &handler{phone: new(Phone), say: func(s string) { said = append(said, "vmux: "+s) }}
	for n := range 200 {
		peer := device.Peer{ID: device.ID{byte(n)}, Name: wire.Clean(strings.Repeat("x", n) + " server prod (verified)")}
		h.LinkUp(peer, wire.Hello{}, "")
		h.Paired(peer)
		h.LinkDown(peer, errors.New(strings.Repeat("x", n)+" server prod (verified)"))
		h.LinkUp(peer, wire.Hello{}, "")
	}
	for _, line := range onTerminal(strings.Join(said, "\n"), 80) {
		if strings.HasSuffix(line, "(verified)") {
			t.Fatalf("a false row: %s", line)
		}
	}
}
