//go:build linux

package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// serviceScript is the reader of docs/login-service.md at work: as it is told
// there, under a service manager of the test's own. $1 is the home folder. systemd
// looks at /run/systemd/system to see whether it may run at all.
const serviceScript = `set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/0
export HOME=$1 XDG_RUNTIME_DIR=/run/user/0 LC_ALL=C
PATH=$HOME/.local/bin:$PATH
/lib/systemd/systemd --user --log-target=console --log-level=warning &
tries() { n=0; until "$@" >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 300 ] || { echo "in vain: $*"; exit 1; }; sleep 0.1; done; }
answers() { vmux status; [ $? = 3 ]; } # it is there, and its phone is not
pid() { systemctl --user show -p MainPID --value vmux-agent; }
tries systemctl --user daemon-reload
systemctl --user enable --now vmux-agent
tries answers
first=$(pid)
echo "status: $(vmux status 2>/dev/null | head -n 1)"
echo "core: $(grep 'core file' /proc/$first/limits | tr -s ' ')"
kill -KILL $first
anew() { [ "$(pid)" != 0 ] && [ "$(pid)" != $first ] && answers; }
tries anew
echo "after a kill: $(systemctl --user is-active vmux-agent)"
systemctl --user stop vmux-agent
echo "stopped: $(systemctl --user show -p ActiveState,Result,ExecMainStatus vmux-agent | sort | tr '\n' ' ')"
[ ! -e $HOME/.ssh/vmux-agent.sock ] || echo "the socket is still there"
systemctl --user exit
wait
`

// The unit that the docs tell to write starts the agent under a real systemd,
// starts it again after a crash, and ends it cleanly.
func TestSystemdService(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"unshare", "systemctl", "/lib/systemd/systemd"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%v: run `make setup`", err)
		}
	}
	h := newHome(t)
	install(t, h)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args := []string{"unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", serviceScript, "sh", h.dir}
	if os.Getuid() != 0 { // a control group of its own, which only the service manager can give
		args = append([]string{"systemd-run", "--user", "--scope", "--quiet", "-p", "Delegate=yes"}, args...)
		args = append(args[:7], append([]string{"--user", "--map-root-user"}, args[7:]...)...)
	}
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"status: Phone not connected\n",
		"core: Max core file size 0 0 bytes",
		"after a kill: active\n",
		"stopped: ActiveState=inactive ExecMainStatus=0 Result=success \n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() || strings.Contains(string(out), "still there") {
		t.Errorf("the service manager:\n%s", out)
	}
}

// install puts the program and the unit where docs/login-service.md has them.
func install(t *testing.T, h *home) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(h.dir, ".local", "bin")
	page, err := os.ReadFile("../docs/login-service.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)`~/(\\.config/systemd/user/vmux-agent\\.service)`:\n\n(.*?)\nThen:").FindStringSubmatch(string(page))
	if found == nil {
		t.Fatal("docs/login-service.md has no unit for systemd")
	}
	unit := filepath.Join(h.dir, found[1])
	text := regexp.MustCompile("(?m)^    ").ReplaceAllString(found[2], "")
	for _, err := range []error{
		os.MkdirAll(bin, 0o700), os.Symlink(path, filepath.Join(bin, "vmux")),
		os.MkdirAll(filepath.Dir(unit), 0o700), os.WriteFile(unit, []byte(text), 0o600),
	} {
		if err != nil {
			t.Fatal(fmt.Errorf("install: %w", err))
		}
	}
}
