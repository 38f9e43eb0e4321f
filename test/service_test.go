//go:build linux

package test

import (
	"context"
	"errors"
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
echo "desktop: $(systemctl --user show-environment | grep SSH_AUTH_SOCK)"
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
export SSH_AUTH_SOCK=$HOME/.ssh/vmux-agent.sock
systemctl --user enable --now vmux-agent.socket
echo "before the first client: $(systemctl --user is-active vmux-agent) $(stat -c %a $SSH_AUTH_SOCK)"
echo "activated: $(ssh-add -l)"
file=$(stat -c %i $SSH_AUTH_SOCK)
first=$(pid)
kill -KILL $first
echo "after a kill of it: $(ssh-add -l)"
[ "$(pid)" != $first ] || echo "it was not killed"
systemctl --user restart vmux-agent
tries answers
echo "started anew: $(ssh-add -l)"
[ "$(stat -c %i $SSH_AUTH_SOCK)" = $file ] || echo "another socket"
systemctl --user stop vmux-agent.socket vmux-agent
systemctl --user exit
wait
`

// The units that the docs tell to write start the agent under a real systemd, start
// it again after a crash, and end it cleanly; by socket activation the socket is the
// same all the while, and no client fails.
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
		"desktop: SSH_AUTH_SOCK=" + h.dir + "/.ssh/vmux-agent.sock\n",
		"core: Max core file size 0 0 bytes",
		"after a kill: active\n",
		"stopped: ActiveState=inactive ExecMainStatus=0 Result=success \n",
		"before the first client: inactive 600\n",
		"activated: The agent has no identities.\n",
		"after a kill of it: The agent has no identities.\n",
		"started anew: The agent has no identities.\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() || regexp.MustCompile("still there|another socket|it was not").Match(out) {
		t.Errorf("the service manager:\n%s", out)
	}
}

// install puts the program, the units and the session's environment where
// docs/login-service.md has them.
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
	errs := []error{os.MkdirAll(bin, 0o700), os.Symlink(path, filepath.Join(bin, "vmux"))}
	for _, name := range []string{"systemd/user/vmux-agent.service", "systemd/user/vmux-agent.socket", "environment.d/vmux.conf"} {
		_, text, found := strings.Cut(string(page), "`~/.config/"+name+"`:\n\n")
		if !found {
			t.Fatalf("docs/login-service.md has no %s", name)
		}
		text = regexp.MustCompile("(?s)\n\n\\S.*").ReplaceAllString(text, "\n") // up to what is not indented
		text = regexp.MustCompile("(?m)^    ").ReplaceAllString(text, "")
		file := filepath.Join(h.dir, ".config", name)
		errs = append(errs, os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600))
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(fmt.Errorf("install: %w", err))
	}
}
