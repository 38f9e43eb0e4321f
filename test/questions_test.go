package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ^C at each question of vmux setup ends it as an interruption, and nothing is changed; a URL
// that is none is asked for again.
func TestSetupInterruptedAtEachQuestion(t *testing.T) {
	t.Parallel()
	const place, changes, url = "A number (Enter: as it is):", "Make these changes? Type yes:", "The hub's URL:"
	const tailnet = "The URL of this computer in your tailnet (https://….ts.net):"
	if _, err := hubProgram(); err != nil { // beside vmux
		t.Fatal(err)
	}
	for i, test := range [][]string{ // question, answer, …
		{place, "\x03"},
		{place, "7\n", place, "\x03"},
		{place, "4\n", changes, "\x03"},
		{place, "phone\n", "vmux: it is 1 to 4, or home, tailscale, server, machine", "", place, "machine\n", changes, "\x03"},
		{place, "3\n", url, "\x03"},
		{place, "3\n", url, "nonsense\n", url, "\x03"},
		{place, "3\n", url, "http://hub.example.com\n", url, "https://hub.example.com\n", changes, "\x03"},
		{place, "2\n", tailnet, "\x03"},
		{place, "2\n", tailnet, "laptop\n", tailnet, "\x03"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			cmd := h.command(t.Context(), "setup")
			cmd.Env = append(cmd.Env, "HOME="+h.dir, "SHELL=/bin/bash", "PATH=/usr/bin:/bin")
			s := onTerminal(t, cmd)
			asked := map[string]int{}
			for ; len(test) > 0; test = test[2:] {
				asked[test[0]]++
				s.waitCount(test[0], asked[test[0]], "")
				s.types(test[1])
			}
			s.waitCount("vmux: vmux setup: interrupted", 1, "")
			for _, name := range []string{".bashrc", ".ssh/config", "config.toml", ".config"} {
				if _, err := os.Lstat(filepath.Join(h.dir, name)); !os.IsNotExist(err) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// At a terminal vmux uninstall asks for each thing that there is, removes what it was told to
// with a whole yes, and nothing that it was not.
func TestUninstallAsksForEach(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	w.computer.file(".bashrc", "x\n")
	environment := []string{"HOME=" + w.computer.dir}
	setup := w.computer.command(t.Context(), "setup", "--yes", "--parts", "ssh,shell", "--shells", "bash")
	setup.Env = append(setup.Env, environment...)
	if out, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const phones, taken, agent = "End the pairing with ", "Take back what vmux setup has written? Type yes:", "Remove what the agent keeps of phones and servers? Type yes:"
	ask := func(says string, answers ...string) *screen {
		t.Helper()
		cmd := w.computer.command(t.Context(), "uninstall")
		cmd.Env = append(cmd.Env, environment...)
		s := onTerminal(t, cmd)
		for ; len(answers) > 0; answers = answers[2:] {
			s.waitCount(answers[0], 1, "")
			s.types(answers[1])
		}
		s.waitCount(says, 1, "")
		return s
	}
	there := func(name string) bool {
		_, err := os.Lstat(filepath.Join(w.computer.dir, name))
		return err == nil
	}
	bashrc := func() string {
		b, err := os.ReadFile(filepath.Join(w.computer.dir, ".bashrc"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	ask("vmux: vmux uninstall: interrupted", phones, "\x03")
	ask("vmux: vmux uninstall: interrupted", phones, "n\n", taken, "\x03")
	s := ask("vmux: servers keep the keys", phones, "y\n", taken, "\n", agent, "no\n")
	if text := s.text(); !strings.Contains(text, "servers  ssh-ed25519 ") || !strings.Contains(text, "\nprogram  ") {
		t.Errorf("what is left elsewhere is not told of:\n%s", text)
	}
	if !strings.Contains(w.computer.try("status").stdout, "Connected to ") || bashrc() == "x\n" || !there("agent") {
		t.Errorf("something was removed without a yes: %q", bashrc())
	}
	ask("hint: end it, then vmux uninstall again", phones, "yes\n", taken, "yes\n", agent, "yes\n")
	if r := w.computer.try("devices"); strings.TrimSpace(r.stdout) != "" || bashrc() != "x\n" || !there("agent") {
		t.Errorf("after three times yes: %+v; %q", r, bashrc())
	}
	w.agent.stop()
	ask("vmux: removed: ", agent, "yes\n")
	waitFor(t, "the state to be gone", func() bool { return !there("agent") && !there("setup") })
}
