package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"vmux/internal/control"
)

// history is all that the terminal has shown, with lines as they were written: what its
// width broke is one line.
func (term *terminal) history() string {
	term.t.Helper()
	var b strings.Builder
	for line := range strings.Lines(term.tmux("capture-pane", "-p", "-J", "-S", "-")) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// says waits until the terminal has shown a line that begins with the text.
func (term *terminal) says(text string) {
	term.t.Helper()
	defer func() {
		if term.t.Failed() {
			term.t.Logf("the terminal:\n%s", term.history())
		}
	}()
	waitFor(term.t, fmt.Sprintf("%q on the terminal", text), func() bool { return strings.Contains("\n"+term.history(), "\n"+text) })
}

// vary are what differs from one run of setup to the next.
var vary = []struct{ pattern, instead string }{
	{`vmux://pair#[^\s']+`, "INVITATION"},
	{`device ID:? [a-z2-7 ]+`, "device ID"},
	{`until .*; waiting`, "until TIME; waiting"},
	{`\d+x\d+`, "SIZE"},
	{`(the service is left out\nhint: ).*`, "${1}OTHERWISE"},
}

// vmux setup leads through all of it on a terminal of 80 columns and on one of 40. The
// first question fits into either; what is written after it has paths.
func TestSetupOnTerminals(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile(filepath.Join("testdata", "setup.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, columns := range []int{80, 40} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			t.Parallel()
			w := hubless(t, "ssh-ed25519")
			w.startPhone("--name", "Zoe's phone")
			w.startAgent("--lan=false")
			w.computer.file(".gitconfig", "[user]\n\temail = zoe@example.com\n")
			term := w.computer.openTerminal(columns, 24, "SHELL=/bin/bash "+vmux(t)+" setup; echo ended $?; cat")
			question, _, _ := strings.Cut(string(want), " 4\n")
			term.shows(question)
			if term.screen() != question {
				t.Errorf("the first screen:\n%s", term.screen())
			}
			answer := func(text, before string) {
				term.says(before)
				term.tmux("send-keys", text, "Enter")
			}
			answer("4", "A number (Enter: as it is):")
			answer("yes", "Make these changes? Type yes:")
			term.says("vmux: it works once, until ")
			invitation := regexp.MustCompile(vary[0].pattern).FindString(term.history())
			w.phone.runInput(invitation+"\n", "phone", "pair", "-")
			answer("yes", "git can sign commits and tags with the phone's key ssh-ed25519. Make these changes? Type yes:")
			answer("", "A server to log in to now, as user@host (Enter: none):")
			term.says("ended 0")
			got := strings.ReplaceAll(term.history(), w.computer.dir, "HOME")
			got = strings.ReplaceAll(got, vmux(t), "VMUX")
			got = regexp.MustCompile(`signingkey = "key::[^"]*"`).ReplaceAllString(got, `signingkey = "key::KEY"`)
			got = regexp.MustCompile(`namespaces="git" .*`).ReplaceAllString(got, `namespaces="git" KEY`)
			for _, v := range vary {
				got = regexp.MustCompile(v.pattern).ReplaceAllString(got, v.instead)
			}
			if got != string(want) {
				t.Errorf("the terminal:\n%s\nwant testdata/setup.txt", got)
			}
		})
	}
}

// The prompts that docs/status.md tells of show what vmux status --short says.
func TestPromptsOfTheDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "docs", "status.md"))
	if err != nil {
		t.Fatal(err)
	}
	// example is what the page has between two marks.
	example := func(from, to string) string {
		t.Helper()
		_, rest, found := strings.Cut(string(page)+"\n\n\n", from)
		piece, _, ends := strings.Cut(rest, to)
		if !found || !ends {
			t.Fatalf("docs/status.md has nothing between %q and %q", from, to)
		}
		return strings.ReplaceAll("\n"+strings.TrimSpace(piece), "\n    ", "\n") + "\n"
	}
	const text = "Alice's phone"
	path := "PATH=" + filepath.Dir(vmux(t)) + ":$PATH "
	for name, open := range map[string]func(h *home) string{
		"zsh": func(h *home) string {
			h.file(".zshrc", "PROMPT='> '\n"+example("**zsh**, in `~/.zshrc`:\n", "\n**bash**"))
			return "zsh -i"
		},
		"bash": func(h *home) string {
			return "bash --rcfile " + h.file("bashrc", example("**bash**, in `~/.bashrc`: `", "`\n")) + " -i"
		},
		"tmux": func(h *home) string {
			config := h.file("inner.conf", "set -g default-command cat\n"+example("**tmux**, in `~/.tmux.conf`:\n", "\n\n\n"))
			server := filepath.Join(h.dir, "inner")
			h.t.Cleanup(func() { _ = exec.Command("tmux", "-S", server, "kill-server").Run() })
			return "env -u TMUX tmux -S " + server + " -f " + config + " new-session"
		},
		"starship, which runs a command in sh": func(*home) string {
			_, command, _ := strings.Cut(example("[custom.vmux]\n", "\n    when"), `"`)
			return "sh -c '" + strings.TrimRight(command, "\"\n") + "'; cat"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			h.serveStatus(control.Status{
				ConnectionLine: control.LineConnected + "Alice's phone", Connected: true, Certificate: control.Certificate{State: control.CertificateNone},
				Phones: []control.Device{{Name: "Alice's phone", Connected: true, Since: time.Now()}},
			})
			h.openTerminal(80, 24, path+open(h)).shows(text)
		})
	}
}
