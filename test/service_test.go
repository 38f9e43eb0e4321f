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

// machine is where the scripts below run: $1 is the home folder, and manager starts the
// service manager of it. systemd looks at /run/systemd/system to see whether it may run at all.
const machine = `set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/0
export HOME=$1 XDG_RUNTIME_DIR=/run/user/0 LC_ALL=C SHELL=/bin/bash
unset SSH_AUTH_SOCK
PATH=$HOME/.local/bin:$PATH
tries() { n=0; until "$@" >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 300 ] || { echo "in vain: $*"; exit 1; }; sleep 0.1; done; }
manager() {
	/lib/systemd/systemd --user --log-target=console --log-level=warning &
	tries systemctl --user daemon-reload
}
`

// serviceScript is the reader of docs/login-service.md at work: as it is told
// there.
const serviceScript = `manager
answers() { vmux status; [ $? = 3 ]; } # it is there, and its phone is not
pid() { systemctl --user show -p MainPID --value vmux-agent; }
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
systemctl --user enable --now vmux-phone
tries vmux phone lock # it answers
phone() { systemctl --user show -p MainPID --value vmux-phone; }
first=$(phone)
kill -KILL $first
again() { [ "$(phone)" != 0 ] && [ "$(phone)" != $first ] && vmux phone lock; }
tries again
echo "phone, after a kill: $(systemctl --user is-active vmux-phone) $(tr '\0' ' ' </proc/$(phone)/cmdline)"
(sleep 1; printf '\003') | script -qec 'exec vmux phone attach' /dev/null # else ^C ends some shells, too
systemctl --user stop vmux-phone
echo "phone, stopped: $(systemctl --user show -p ActiveState,Result,ExecMainStatus vmux-phone | sort | tr '\n' ' ')"
systemctl --user exit
wait
`

// The units that the docs tell to write start agent and phone under a real systemd, start
// them again after a crash, and end them cleanly; by socket activation the socket is the
// same all the while, and no client fails.
func TestSystemdService(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	install(t, h)
	out := underServiceManager(t, serviceScript, h.dir)
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
		"phone, after a kill: active " + h.dir + "/.local/bin/vmux phone run \n",
		"Attached to the phone ",
		"vmux: detached: the phone goes on",
		"phone, stopped: ActiveState=inactive ExecMainStatus=0 Result=success \n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() || regexp.MustCompile("still there|another socket|it was not").MatchString(out) {
		t.Errorf("the service manager:\n%s", out)
	}
}

// underServiceManager runs a script in namespaces of its own, where it can start a
// service manager, and returns what it says.
func underServiceManager(t *testing.T, script, home string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := serviceManager(ctx, t, machine+script, home).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// serviceManager is a script in namespaces of its own, where it can start a service manager.
func serviceManager(ctx context.Context, t *testing.T, script, home string) *exec.Cmd {
	t.Helper()
	for _, p := range []string{"unshare", "systemctl", "/lib/systemd/systemd"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%v: run `make setup`", err)
		}
	}
	args := []string{"unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script, "sh", home}
	if os.Getuid() != 0 { // a control group of its own, which only the service manager can give
		args = append([]string{"systemd-run", "--user", "--scope", "--quiet", "-p", "Delegate=yes"}, args...)
		args = append(args[:7], append([]string{"--user", "--map-root-user"}, args[7:]...)...)
	}
	return exec.CommandContext(ctx, args[0], args[1:]...)
}

// putProgram puts the program where a person has it, ~/.local/bin.
func putProgram(t *testing.T, h *home) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(h.dir, ".local", "bin")
	if err := errors.Join(os.MkdirAll(bin, 0o700), os.Symlink(path, filepath.Join(bin, "vmux"))); err != nil {
		t.Fatal(err)
	}
}

// install puts the program, the units and the session's environment where
// docs/login-service.md has them.
func install(t *testing.T, h *home) {
	t.Helper()
	putProgram(t, h)
	page, err := os.ReadFile("../docs/login-service.md")
	if err != nil {
		t.Fatal(err)
	}
	var errs []error
	for _, name := range []string{"systemd/user/vmux-agent.service", "systemd/user/vmux-agent.socket", "systemd/user/vmux-agent.socket.d/environment.conf", "systemd/user/vmux-phone.service", "environment.d/vmux.conf"} {
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

// setupScript is a person with an account of their own files and nothing of vmux but the
// program, at a shell.
const setupScript = `manager
answers() { vmux status; [ $? = 3 ]; } # it is there, and its phone is not
files() { cd $HOME; find . -path ./.local -prune -o -name '*.lock' -o -type f -exec sha256sum {} + -o -printf '%p %M %l\n' | sort; }
pid() { systemctl --user show -p MainPID --value vmux-agent; }
before=$(files)
vmux setup --yes
tries answers
echo "enabled: $(systemctl --user is-enabled vmux-agent.socket vmux-agent.service | tr '\n' ' ')"
echo "by the shell's line: $(bash -c '. ~/.bashrc; ssh-add -l')"
echo "by ssh: $(ssh -F ~/.ssh/config -G example.com | grep identityagent)"
systemctl --user stop vmux-agent.service
echo "the first client starts it: $(SSH_AUTH_SOCK=$HOME/.ssh/vmux-agent.sock ssh-add -l)"
rm $HOME/.ssh/vmux-agent.sock
tries answers
echo "the socket is gone: $(vmux status 2>&1 | grep -c "its socket $HOME/.ssh/vmux-agent.sock is gone")"
vmux doctor | grep -A1 ' is gone' | sed -n 's/^ *hint: //p' >/run/hint
. /run/hint
tries answers
echo "the socket is anew: $(SSH_AUTH_SOCK=$HOME/.ssh/vmux-agent.sock ssh-add -l)"
during=$(files)
vmux setup --yes
[ "$(files)" = "$during" ] || echo "a second time changed something"
first=$(pid)
kill -QUIT $first # it ends with status 2, as at a crash of its own
anew() { [ "$(pid)" != 0 ] && [ "$(pid)" != $first ] && answers; }
tries anew
echo "started again after a crash"
ln -s "$(readlink -f $HOME/.local/bin/vmux)" $HOME/.local/vmux # the program is elsewhere now
PATH=$HOME/.local:/usr/bin:/bin:/usr/sbin:/sbin vmux setup --yes --hub none
echo "moved: $(systemctl --user show -p ExecStart vmux-agent.service | grep -o 'path=[^ ]*')"
[ "$(systemctl --user show -p NeedDaemonReload --value vmux-agent.service)" = no ] || echo "something is to be reloaded"
sed -i "/^\[agent\]/a socket = \"$HOME/moved.sock\"" $HOME/.config/vmux/config.toml
vmux setup --yes
echo "at another socket: $(SSH_AUTH_SOCK=$HOME/moved.sock ssh-add -l)"
[ ! -e $HOME/.ssh/vmux-agent.sock ] || echo "something is left of the old socket"
sed -i "/^socket = /d" $HOME/.config/vmux/config.toml
vmux setup --undo
[ ! -e $HOME/moved.sock ] || echo "something is left of the new socket"
[ "$(systemctl --user is-active vmux-agent.socket vmux-agent.service | sort -u)" = inactive ] || echo "something still runs"
echo "$before" >/run/before
files >/run/after
diff /run/before /run/after && echo "as it was"
XDG_CONFIG_HOME=$HOME/elsewhere vmux setup --yes --parts service,environment
echo "by another XDG_CONFIG_HOME: $(SSH_AUTH_SOCK=$HOME/.ssh/vmux-agent.sock ssh-add -l)"
[ ! -e $HOME/elsewhere ] || echo "something is where systemd does not look"
XDG_CONFIG_HOME=$HOME/elsewhere vmux setup --undo
files | diff /run/before - && echo "as it was by another XDG_CONFIG_HOME"
vmux setup --yes --parts ssh,service
systemctl --user disable --now vmux-agent.socket vmux-agent.service
rm $HOME/.config/systemd/user/vmux-agent.*
systemctl --user daemon-reload
vmux setup --undo || echo "something keeps --undo from it"
files | diff /run/before - && echo "as it was, though the units were gone"
vmux agent --lan=false 2>/run/log &
tries answers
vmux setup --yes 2>&1 || echo "beside an agent: $?"
kill $!
wait $! || true
vmux setup --undo
files | diff /run/before - && echo "as it was again"
systemctl --user exit
wait
`

// vmux setup starts the agent under a real systemd, by its socket too, and --undo leaves
// every file of the account as it was.
func TestSetupUnderSystemd(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	putProgram(t, h)
	err := errors.Join(os.MkdirAll(filepath.Join(h.dir, ".ssh"), 0o700),
		os.WriteFile(filepath.Join(h.dir, ".ssh", "config"), []byte("Host work\n    User alice"), 0o600),
		os.WriteFile(filepath.Join(h.dir, ".bashrc"), []byte("alias ll='ls -l'\n"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	out := underServiceManager(t, setupScript, h.dir)
	for _, want := range []string{
		"enabled: enabled enabled \n",
		"by the shell's line: The agent has no identities.\n",
		"by ssh: identityagent " + h.dir + "/.ssh/vmux-agent.sock\n",
		"the first client starts it: The agent has no identities.\n",
		"the socket is gone: 1\n",
		"the socket is anew: The agent has no identities.\n",
		"vmux: all of it is there already\n",
		"vmux: the agent is started again\n",
		"started again after a crash\n",
		"moved: path=" + h.dir + "/.local/vmux\n",
		"as it was\n",
		"at another socket: The agent has no identities.\n",
		"by another XDG_CONFIG_HOME: The agent has no identities.\n",
		"as it was by another XDG_CONFIG_HOME\n",
		"as it was, though the units were gone\n",
		"vmux agent, has the state folder " + h.dir + "/.local/state/vmux/agent open\nhint: end that agent, then vmux setup again",
		"beside an agent: 1\n",
		"as it was again\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() || regexp.MustCompile("something|in vain").MatchString(out) {
		t.Errorf("vmux setup:\n%s", out)
	}
}

// desktopScript is two logins of a person whose distribution starts an agent of its own by a
// socket, as Debian 13 does; between them vmux setup.
const desktopScript = `mkdir -p /run/systemd/user/sockets.target.wants
cat >/run/systemd/user/ssh-agent.socket <<'.'
[Socket]
ListenStream=%t/openssh_agent
ExecStartPost=systemctl --user set-environment SSH_AUTH_SOCK=%t/openssh_agent
.
ln -s ../ssh-agent.socket /run/systemd/user/sockets.target.wants
login() {
	manager
	tries systemctl --user is-active sockets.target
	echo "$*: $(systemctl --user show-environment | grep SSH_AUTH_SOCK)"
}
login before
vmux setup --yes --parts service,environment
systemctl --user exit
wait
login after
vmux setup --undo
systemctl --user exit
wait
find $HOME/.config
`

// The desktop's programs find vmux, though the socket of another agent names itself to systemd at
// each login, which wins over environment.d.
func TestSetupWinsOverOtherSockets(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	putProgram(t, h)
	if err := os.Mkdir(filepath.Join(h.dir, ".config"), 0o700); err != nil {
		t.Fatal(err)
	}
	out := underServiceManager(t, desktopScript, h.dir)
	for _, want := range []string{
		"before: SSH_AUTH_SOCK=/run/user/0/openssh_agent\n",
		"after: SSH_AUTH_SOCK=" + h.dir + "/.ssh/vmux-agent.sock\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if !strings.HasSuffix(out, "\n"+h.dir+"/.config\n") {
		t.Error("something is left")
	}
	if t.Failed() {
		t.Errorf("vmux setup:\n%s", out)
	}
}

// failedScript has systemd give the agent up, and with it the agent's socket, since its
// configuration file is wrong.
const failedScript = `mkdir -p $HOME/.config/systemd/user/vmux-agent.service.d $HOME/.config/vmux
printf '[Service]\nRestartSec=100ms\n' >$HOME/.config/systemd/user/vmux-agent.service.d/soon.conf
manager
answers() { vmux status; [ $? = 3 ]; } # it is there, and its phone is not
state() { systemctl --user show -p ActiveState --value vmux-agent.socket vmux-agent.service | tr -s '\n' ' '; }
given_up() { [ "$(state)" = "failed failed " ]; }
fails() {
	echo 'nonsense = 1' >$HOME/.config/vmux/config.toml
	systemctl --user restart vmux-agent.service
	tries given_up
	rm $HOME/.config/vmux/config.toml
}
vmux setup --yes
tries answers
record=$(sha256sum $HOME/.local/state/vmux/setup/*)
fails
vmux setup --yes
tries answers
echo "by setup: $(state)"
[ "$(sha256sum $HOME/.local/state/vmux/setup/*)" = "$record" ] || echo "something else is recorded"
fails
vmux doctor | sed -n 's/^ *hint: .* tells why; once that is mended: //p' >/run/hint
. /run/hint
tries answers
echo "by doctor: $(state)"
fails
vmux agent --lan=false 2>/run/log &
tries answers
echo "beside an agent: $(vmux setup --yes 2>&1 | head -n 1)"
kill $!
wait $! || true
systemctl --user exit
wait
`

// A service that systemd has given up is started again by vmux setup, and by what doctor says.
func TestFailedServiceIsStartedAgain(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	putProgram(t, h)
	out := underServiceManager(t, failedScript, h.dir)
	for _, want := range []string{
		"vmux: start vmux-agent.socket vmux-agent.service again, which has failed\n",
		"by setup: active active \n",
		"by doctor: active active \n",
		"beside an agent: vmux: all of it is there already\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() || strings.Contains(out, "something") {
		t.Errorf("vmux setup:\n%s", out)
	}
}

// At a terminal the changes are shown before a person is asked, and nothing but a yes makes
// them.
func TestSetupAsksBeforeItChangesAnything(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	account := filepath.Join(h.dir, "account")
	if err := os.Mkdir(account, 0o700); err != nil {
		t.Fatal(err)
	}
	files := func() string {
		out, err := exec.Command("find", account).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	before := files()
	for _, test := range []struct{ answer, says string }{
		{"y\n", "vmux: nothing is changed"},
		{"\x04", "vmux: nothing is changed"},
		{"\x03", "vmux: vmux setup: interrupted"},
		{"yes\n", "SSH_AUTH_SOCK in this terminal"},
	} {
		cmd := h.command(t.Context(), "setup", "--parts", "ssh,shell", "--shells", "bash")
		cmd.Env = append(cmd.Env, "HOME="+account)
		s := onTerminal(t, cmd)
		s.waitCount("Make these changes?", 1, "")
		if s.count("add to the end of "+account+"/.bashrc") != 1 || files() != before {
			t.Errorf("asked before it is shown, or after it is done:\n%s\n%s", s.text(), files())
		}
		s.types(test.answer)
		s.waitCount(test.says, 1, "")
	}
	if !strings.Contains(files(), "/.ssh/config.d/.vmux.conf\n") || !strings.Contains(files(), "/.bashrc\n") {
		t.Errorf("after a yes:\n%s", files())
	}
}
