//go:build linux || darwin

package terminal

import (
	"strings"
	"testing"
	"time"

	"vmux/internal/signer"
	"vmux/internal/signer/hosts"
	"vmux/internal/wire"
)

// sequences are what terminals send that holds a letter of an answer, and is none: C
// acknowledges a changed host key, h approves a certificate, g a login and the like of it.
var sequences = map[string]string{
	"right arrow":                 "\x1b[C",
	"right arrow, application":    "\x1bOC",
	"control and right arrow":     "\x1b[1;5C",
	"Home":                        "\x1b[H",
	"F3 of the Linux console":     "\x1b[[C",
	"Home of rxvt":                "\x1b[7~",
	"click at column 89":          "\x1b[M yy\x1b[M#yC",
	"click, SGR":                  "\x1b[<0;89;9M\x1b[<0;89;9m",
	"focus":                       "\x1b[I\x1b[O",
	"what the terminal is":        "\x1b[?62;22c",
	"answer: background":          "\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\",
	"answer: background, BEL":     "\x1b]11;rgb:1e1e/1e1e/2e2e\a",
	"answer: version":             "\x1bP>|XTerm(397)y\x1b\\",
	"key of the kitty protocol":   "\x1b[121;1u",
	"frame of what is pasted":     "\x1b[200~\x1b[201~",
	"arrow after Esc":             "\x1b\x1b[C",
	"arrow in the midst of arrow": "\x1b[1;\x1b[C",
}

// What is no character is no answer, also where its bytes come one by one; the answer that
// follows is one.
func TestKeysThatAreNoCharacters(t *testing.T) {
	t.Parallel()
	for name, sequence := range sequences {
		for _, step := range []int{len(sequence), 1} {
			var k keys
			var got []byte
			for rest := sequence + "y"; rest != ""; {
				n := min(step, len(rest))
				got = append(got, k.only([]byte(rest[:n]))...)
				rest = rest[n:]
			}
			if strings.Trim(string(got), "\x1b") != "y" {
				t.Errorf("%s, %d bytes at once: %q is left of %q", name, step, got, sequence+"y")
			}
		}
	}
	for typed, want := range map[string]string{
		"\x1by": "\x1by", "\x1b[\r": "\x1b\r", "\x1b]x\ny": "\x1b\ny", "pässwörd\x15": "pässwörd\x15",
	} {
		var k keys
		if got := k.only([]byte(typed)); string(got) != want {
			t.Errorf("%q is left of %q, want %q", got, typed, want)
		}
	}
}

// Somebody who presses an arrow at a sheet acknowledges no changed host key by it.
func TestArrowsApproveNothing(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	s := sheet("laptop", 60*time.Second)
	s.Destination.Memory, s.Destination.Before = hosts.Changed, []wire.Text{wire.Clean("SHA256:before")}
	c := asks(t.Context(), terminal.Approver([]byte("x")), s)
	p.sees("The host key has CHANGED.")
	p.pauses(inert + 300*time.Millisecond)
	for _, sequence := range sequences {
		p.types(sequence)
	}
	p.pauses(300 * time.Millisecond) // until they are read
	unanswered(t, c, "answered")
	p.keepsTyping("C", func() bool { return len(c) > 0 })
	if a := get(t, c); !a.approved || a.err != nil {
		t.Errorf("acknowledged with C: %v, %v", a.approved, a.err)
	}
}

// A passphrase that is pasted, mistyped and mended is the one that was meant.
func TestPassphraseIsEdited(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"\x1b[200~correct horse\x1b[201~\n":     "correct horse",
		"correct horse battery\x17\x17staple\r": "correct staple",
		"correct\x17\n":                         "",
		"corréct\x7f\x7f\x7fect\n":              "correct",
		"\x7f\x15\x1b[D日本\x08\n":                "日",
		"wrong\x15right\x1bOD\x1b[3~\n":         "right",
		strings.Repeat("x", 3*maxTyped) + "\n":  strings.Repeat("x", maxTyped),
	} {
		terminal, p := sitDown(t)
		got := make(chan string, 1)
		go func() {
			b, err := terminal.Approver(nil).Passphrase(t.Context(), signer.PassphraseRequest{Label: wire.Clean("work"), Attempt: 1})
			if err != nil {
				b = []byte(err.Error())
			}
			got <- string(b)
		}()
		p.sees("Passphrase of work: ")
		p.types(typed)
		if got := <-got; got != want {
			t.Errorf("%q typed is %q", typed, got)
		}
	}
}
