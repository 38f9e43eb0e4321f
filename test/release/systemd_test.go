//go:build linux

package release

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// booted runs a script of testdata in a clean Debian that systemd has started, with the
// packages of a release and those of the one before it.
func booted(t *testing.T, script string) string {
	t.Helper()
	packages := packagesOf(t, madeRelease(t))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--net", "--uts", "--ipc", "--cgroup", "--pid", "--fork", "--mount-proc", "--kill-child",
		"sh", "testdata/boot.sh", cleanDebian(t), t.TempDir(), packages, filepath.Join("testdata", script))
	b, err := cmd.CombinedOutput()
	out := strings.ReplaceAll(string(b), "\r", "")
	if err != nil || regexp.MustCompile("WRONG|in vain").MatchString(out) {
		t.Fatalf("%v (make setup installs what is missing; only root can boot a system)\n%s", err, out)
	}
	return out
}

// firstLines are the commands of the README's first screen.
func firstLines(t *testing.T) []string {
	t.Helper()
	_, text, _ := strings.Cut(read(t, "../../README.md"), "To the first login:\n\n")
	block, _, _ := strings.Cut(text, "\n\n")
	var lines []string
	for line := range strings.Lines(block) {
		line, _, _ = strings.Cut(line, " #")
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// Somebody with the package and the README, and another account for the phone, types what
// is said there and nothing else, and is logged in: three commands and four answers at the
// computer, three commands at the phone.
func TestNewUserWithThePackage(t *testing.T) {
	out := booted(t, "newuser.sh")
	typed := func(pattern string) (all []string) {
		for _, m := range regexp.MustCompile("(?m)^"+pattern+": (.*)$").FindAllStringSubmatch(out, -1) {
			all = append(all, m[1])
		}
		return all
	}
	want := firstLines(t)
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "you@server", "deploy@localhost")
	}
	if got := typed("command at desk"); !slices.Equal(got, want) {
		t.Errorf("typed at the computer: %q; the README says %q", got, want)
	}
	page := read(t, "../../docs/getting-started.md")
	at := typed("command at phone2?")
	for _, line := range at {
		if !strings.Contains(page, "\n    "+line) {
			t.Errorf("docs/getting-started.md has no %q", line)
		}
	}
	if answers := typed("answer at desk"); len(at) != 3 || len(answers) != 4 {
		t.Errorf("%d commands at the phone, and the answers %q", len(at), answers)
	}
	for _, want := range []string{"today\n", "logged in\n", "the phone is a service\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// The hub's package under the system's own systemd: at the ports that need a privilege, as
// its own user, with all that the unit forbids; started again by an upgrade, and not where
// the administrator has stopped it or Debian's policy-rc.d forbids it.
func TestHubOfThePackage(t *testing.T) {
	out := booted(t, "hub.sh")
	for _, want := range []string{
		"new: disabled inactive\n", "runs as: vmux\n", "state: vmux 700\n", "upgraded: it was started again\n",
		"forbidden: it was left alone\n", "stopped before: inactive\n", "removed: inactive\n", "the account stays\n", "failed units: 0\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}
