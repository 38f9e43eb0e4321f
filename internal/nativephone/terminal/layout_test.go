//go:build linux || darwin

package terminal

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"vmux/internal/signer"
	"vmux/internal/signer/hosts"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// screenOf is what a terminal of so many columns shows of the text: each line
// broken where the terminal itself breaks it.
func screenOf(text string, columns int) (lines []string) {
	for line := range strings.Lines(strings.ReplaceAll(text, "\r", "")) {
		line, used := strings.TrimRight(line, "\n"), 0
		for at, r := range line {
			if used += columnsOf(r); used > columns {
				lines, line = append(lines, line[:at]), line[at:]
				break
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// Whatever a computer claims, on 80 columns no line begins like a row but the rows
// that are there, and "verified" stands behind nothing that is not.
func TestClaimDrawsNoRow(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile(`^ {1,4}(computer|key|user|server|seen|proof|name|through|program|run by|subject|author|repository|and|warning|----)\b`)
	server := "server    " + sshctx.Fingerprint([]byte("bank")) + "  (verified)"
	for name, pad := range map[string]string{"blanks": " ", "no-break blanks": "\u00a0", "wide blanks": "\u3000", "fillers": "\u3164", "Braille": "\u2800", "letters": "x", "wide letters": "字"} {
		for n := 50; n < 70; n++ {
			falseRow := strings.Repeat(pad, n) + "  " + server
			s := sheet("laptop", time.Minute)
			s.From.Name = wire.Clean(s.From.Name.String() + falseRow)
			s.Claimed = signer.ClaimsOf(wire.Context{HostName: "db1" + falseRow, Programs: []string{"ssh", "x" + falseRow}, Account: "root" + falseRow})
			screen := screenOf(layOut(signText(s)+listText([]*member{{sheet: s}}), 80), 80)
			var rows []string
			for _, line := range screen {
				if row.MatchString(line) {
					rows = append(rows, strings.Fields(line)[0])
				}
				if strings.Contains(line, "  "+server) && !strings.Contains(line, sshctx.Fingerprint([]byte("host"))) || len([]rune(line)) > 80 {
					t.Errorf("%s, %d: a false row:\n%s", name, n, strings.Join(screen, "\n"))
				}
			}
			if got, want := strings.Join(rows, " "), "computer key user server seen name program run and"; got != want {
				t.Fatalf("%s, %d: rows %q, want %q:\n%s", name, n, got, want, strings.Join(screen, "\n"))
			}
		}
	}
}

// A claim that ends like what is verified stands in quotes.
func TestClaimIsNoMark(t *testing.T) {
	t.Parallel()
	s := sheet("laptop", time.Minute)
	s.Claimed = signer.ClaimsOf(wire.Context{HostName: "db1 (verified)", Programs: []string{`a" (verified)`, "［x］"}})
	text := signText(s)
	for _, want := range []string{
		`name      "db1 (verified)"  (so the computer says)`, `program   "a\" (verified) ← ［x］"  (so the computer says)`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// A request that is listed on another one's sheet says what its own would: that the
// server does not stand in what is signed, that it was never seen, that the user is
// new there.
func TestListedRequestKeepsItsLines(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	if err := pty.Setsize(p.end, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	first := sheet("laptop", time.Minute)
	first.Destination.Memory, first.Destination.NewUser, first.Destination.Names = hosts.Known, false, []wire.Text{wire.Clean("db1")}
	ctx, cancel := context.WithCancel(t.Context())
	a := terminal.Approver([]byte("x"))
	answers := []chan answer{asks(ctx, a, first)}
	p.sees("Sign?")
	for id, change := range map[string]func(*signer.SignSheet){
		"2": func(s *signer.SignSheet) { s.Destination.NewUser = true },
		"3": func(s *signer.SignSheet) { s.Destination.Memory = hosts.First },
		"4": func(s *signer.SignSheet) { s.Known.Kind = sshctx.UserAuth },
	} {
		other := first
		change(&other)
		other.RequestID = id
		answers = append(answers, asks(ctx, a, other))
	}
	for _, text := range []string{
		"user: root, for the first time on this server  (verified)",
		"seen: never before by this phone  (verified)",
		"proof: the server has signed the session; what is signed here does",
	} {
		p.sees(text)
	}
	cancel()
	for _, c := range answers { // the terminal is theirs until then
		get(t, c)
	}
}

// Of sudo all is the word of the host that asks, and of nobody else.
func TestSheetOfSudo(t *testing.T) {
	s := sheet("laptop", time.Minute)
	s.Destination = hosts.Destination{}
	s.Known = sshctx.Context{Kind: sshctx.Sudo, User: "ada", Challenge: &sshctx.Challenge{
		Account: "ada", Program: "sudo", Host: "web-1 (verified)", Arguments: []string{"sudo", "id"},
	}}
	text := signText(s)
	for _, want := range []string{
		`asks: sudo on "web-1 (verified)" by ada (claimed)`, "kind      a challenge of pam_ssh_agent_auth, which logs in nowhere  (verified)\n",
		"command   sudo id  (so the host says)\n", `host      "web-1 (verified)"  (so the host says)`, "program   ssh ← git  (so the computer says)\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the sheet does not say %q:\n%s", want, text)
		}
	}
}
