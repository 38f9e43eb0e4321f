package testkit

import (
	"bufio"
	"os/exec"
	"strings"
	"testing"
)

// Bus starts a real dbus-daemon that listens at the path, and returns its address.
func Bus(t *testing.T, path string) (address string) {
	t.Helper()
	cmd := exec.Command("dbus-daemon", "--session", "--nofork", "--nopidfile", "--address=unix:path="+path, "--print-address=1")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("%v: run `make setup`", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("dbus-daemon says no address: %v", err)
	}
	return strings.TrimSpace(line)
}
