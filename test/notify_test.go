//go:build linux

package test

import (
	"bufio"
	"context"
	"encoding/json"
	"html"
	"os/exec"
	"strings"
	"testing"

	sshclient "golang.org/x/crypto/ssh/agent"

	"vmux/internal/sshctx"
)

// desktop is a session of a desktop: its bus, a screen that nobody sees, and
// dunst, which shows notifications. It returns what programs of the session find in their
// environment.
func desktop(t *testing.T, h *home) []string {
	t.Helper()
	first := func(name string, args ...string) (line string) {
		t.Helper()
		cmd := h.commandOf(context.Background(), name, args...)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatalf("%v: run `make setup`", err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		if line, err = bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatalf("%s says nothing: %v", name, err)
		}
		return strings.TrimSpace(line)
	}
	env := []string{
		"DBUS_SESSION_BUS_ADDRESS=" + first("dbus-daemon", "--session", "--nofork", "--print-address"),
		"DISPLAY=:" + first("Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "640x480x24"),
	}
	h.env = env
	h.startProgram("dunst.log", "dunst")
	return env
}

// shown are the bodies of the notifications that dunst has shown or shows.
func (h *home) shown() []string {
	h.t.Helper()
	cmd := h.commandOf(context.Background(), "dunstctl", "history")
	out, err := cmd.Output()
	var history struct {
		Data [][]map[string]struct{ Data any }
	}
	if err == nil {
		err = json.Unmarshal(out, &history)
	}
	if err != nil {
		return nil // it is about to start
	}
	var bodies []string
	for _, list := range history.Data {
		for _, n := range list {
			if n["appname"].Data == "vmux" {
				bodies = append(bodies, n["body"].Data.(string))
			}
		}
	}
	return bodies
}

// A failure comes up on the desktop, with its reason. What the asking program
// has named it by is text there, whatever it looks like.
func TestDesktopNotification(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"dbus-daemon", "Xvfb", "dunst", "dunstctl"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%v: run `make setup`", err)
		}
	}
	w := unpairedWorld(t)
	w.computer.env = desktop(t, w.computer)
	w.createIdentity("ssh-ed25519", "ssh-ed25519")
	w.phone.run("phone", "policy", "ssh-ed25519", "--namespaces", "git")
	w.startPhone()
	w.startAgent()
	w.pair()
	w.waitStatus(w.identity("ssh-ed25519").Fingerprint)
	const evil = `<a href="https://evil.example">&click</a>`
	message := sshctx.Context{Kind: sshctx.SSHSIG, Namespace: evil, HashAlgorithm: "sha512", Hash: make([]byte, 64)}
	if _, err := sshclient.NewClient(w.client()).Sign(w.identity("ssh-ed25519").key(t), message.Marshal()); err == nil {
		t.Fatal("signed for a purpose that the policy does not name")
	}
	body := ""
	waitFor(t, "the notification", func() bool {
		w.computer.commandOf(context.Background(), "dunstctl", "close-all").Run() // into the history
		for _, body = range w.computer.shown() {
			if strings.Contains(body, "policy") {
				return true
			}
		}
		return false
	})
	if !strings.Contains(body, html.EscapeString(evil)) || strings.Contains(body, "<a") {
		t.Errorf("the desktop shows %q", body)
	}
}
