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

	"vmux/internal/sshdtest"
)

// accountsScript makes accounts of their own, in a copy of /etc and below a /home that
// nobody else sees, and sets vmux up in each. $1 is a scratch folder, $2 the program.
const accountsScript = `set -e
cp -a /etc $1/etc
mount --bind $1/etc /etc
mount -t tmpfs -o mode=755 tmpfs /home
mount -t tmpfs -o mode=755 tmpfs /usr/local/bin
install -m 755 $2 /usr/local/bin/vmux
install -m 755 /bin/true /usr/local/bin/vmux-tray
export LC_ALL=C
tries() { n=0; until "$@" >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 600 ] || { echo "in vain: $*"; exit 1; }; sleep 0.1; done; }
as() { name=$1; shift; su - $name -c "$*"; }
files() { (cd /home/$1; find . -path ./.local/state -prune -o -type f -exec sha256sum {} +; find . -path ./.local/state -prune -o -printf '%p %M %u %g %l\n') | sort; }
for shell in bash zsh fish; do
	for kind in fresh config readonly links agent; do
		u=$shell$kind
		useradd --no-log-init -m -k /etc/skel -s $(command -v $shell) $u
		h=/home/$u rc=.bashrc
		[ $shell = bash ] || rc=.zshrc
		mkdir -p -m 700 $h/.ssh $h/.local # as other programs make them, vmux agent too
		case $kind in
		fresh) ;;
		config)
			printf 'Host work\n    IdentityAgent /run/work' >$h/.ssh/config
			printf '[user]\n\tname = x\n' >$h/.gitconfig ;;
		readonly)
			printf 'Host *\n    User alice\n' >$h/.ssh/config
			printf 'true\n' >$h/$rc
			chmod 444 $h/.ssh/config $h/$rc ;;
		links)
			mkdir -p $h/dotfiles/ssh
			printf 'Host *\n    User alice\n' >$h/dotfiles/ssh/config
			printf 'true\n' >$h/dotfiles/rc
			rmdir $h/.ssh
			ln -s dotfiles/ssh $h/.ssh
			ln -sf dotfiles/rc $h/$rc ;;
		agent) runuser -u $u -- ssh-agent -a $h/agent.sock >/dev/null ;;
		esac
		chown -R $u: $h
		as $u "$shell -i -c true" >/dev/null 2>&1 || true # what a shell's first start makes
		files $u >$1/before 2>/dev/null
		as $u "env DISPLAY=:0 vmux setup --yes" >$1/log 2>&1 || { echo "$u: setup failed"; cat $1/log; }
		[ $kind != agent ] || as $u "env SSH_AUTH_SOCK=$h/agent.sock vmux setup --yes" 2>&1 | grep -q 'answers, too' || echo "$u: the other agent is not told of"
		runuser -u $u -- env HOME=$h vmux agent --lan=false >$1/agent.log 2>&1 &
		agent=$!
		tries [ -S $h/.ssh/vmux-agent.sock ]
		told=0
		as $u "$shell -i -c 'ssh-add -l'" 2>/dev/null | grep -q 'The agent has no identities' || told=1
		[ $kind$shell = readonlybash -o $kind$shell = readonlyzsh ] && wanted=1 || wanted=0
		[ $told = $wanted ] || echo "$u: its shell is told: $told"
		asks=$(runuser -u $u -- ssh -G example.com | grep -c "identityagent .*/vmux-agent.sock" || true)
		[ $kind = readonly ] && wanted=0 || wanted=1
		[ "$asks" = $wanted ] || echo "$u: ssh asks vmux: $asks"
		[ -e $h/.config/autostart/vmux-tray.desktop ] || echo "$u: no tray at login"
		kill $agent
		wait $agent || true
		as $u "vmux setup --undo" >$1/log 2>&1 || { echo "$u: undo failed"; cat $1/log; }
		as $u "vmux uninstall --remove agent" >/dev/null 2>&1 || echo "$u: uninstall failed"
		[ ! -e $h/.local/state/vmux ] || { echo "$u: something is left of the state"; ls -lR $h/.local/state/vmux; }
		files $u >$1/after 2>/dev/null
		diff $1/before $1/after && echo "$u: as it was"
	done
done
SUDO_USER=bashfresh HOME=/home vmux setup --yes --parts tray 2>&1 || true
HOME=/home/bashfresh vmux setup --yes 2>&1 || true
`

// inAccounts runs a script as root in namespaces of its own.
func inAccounts(t *testing.T, script string, args ...string) string {
	t.Helper()
	for _, p := range []string{"unshare", "useradd", "zsh", "fish", "runuser"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%v: run `make setup`, and this test as root", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	args = append([]string{"--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script, "sh"}, args...)
	out, err := exec.CommandContext(ctx, "unshare", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// In fresh accounts of three shells, with files of their own, files that cannot be
// written, links to a repository, or another agent: setup tells all that it can, and after
// --undo every file is as it was.
func TestSetupInFreshAccounts(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	out := inAccounts(t, accountsScript, h.dir, vmux(t))
	for _, shell := range []string{"bash", "zsh", "fish"} {
		for _, kind := range []string{"fresh", "config", "readonly", "links", "agent"} {
			if !strings.Contains(out, shell+kind+": as it was\n") {
				t.Errorf("%s%s is not as it was", shell, kind)
			}
		}
	}
	for _, want := range []string{
		"vmux: this is for root, and not for bashfresh\nhint: vmux setup, without sudo, is for yourself\n",
		"hint: run it as that user, without sudo\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() || regexp.MustCompile("failed|in vain|is told|asks vmux|no tray|is left of").MatchString(out) {
		t.Errorf("the accounts:\n%s", out)
	}
}

// firstLoginScript is a new user with an account of their own, an agent that was started as
// setup says where there is no service manager, and a server: one command leads from there
// to the first login. $1 is a scratch folder, $2 the program, $3 the server's port, $4 its
// user, $5 the phone's home, $6 the port of a server that wants a password as well.
const firstLoginScript = `set -e
cp -a /etc $1/etc
mount --bind $1/etc /etc
mount -t tmpfs -o mode=755 tmpfs /home
mount -t tmpfs -o mode=755 tmpfs /usr/local/bin
install -m 755 $2 /usr/local/bin/vmux
export LC_ALL=C
tries() { n=0; until "$@" >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 600 ] || { echo "in vain: $*"; exit 1; }; sleep 0.1; done; }
useradd --no-log-init -m -k /etc/skel -s /bin/bash zoe
mkdir -m 700 /home/zoe/.ssh
printf 'Host web-1\n    HostName 127.0.0.1\n    Port %s\n    StrictHostKeyChecking accept-new\n    RemoteCommand tmux attach\n' $3 >/home/zoe/.ssh/config
printf 'Host web-2\n    HostName 127.0.0.1\n    Port %s\n    StrictHostKeyChecking accept-new\n' $6 >>/home/zoe/.ssh/config
printf '[user]\n\temail = zoe@example.com\n\tname = Zoe\n' >/home/zoe/.gitconfig
chown -R zoe: /home/zoe
(su - zoe -c 'vmux agent --lan=false' >/home/zoe/agent.log 2>&1 &)
tries [ -S /home/zoe/.ssh/vmux-agent.sock ]
mkfifo /home/zoe/invitation
chown zoe: /home/zoe/invitation
(head -n 1 /home/zoe/invitation | VMUX_HOME=$5 vmux phone pair - >/dev/null 2>&1; cat /home/zoe/invitation >/dev/null) &
su - zoe -c "vmux setup --yes --phone machine --pair --git --login $4@web-1 >invitation" && echo "setup ended well"
su - zoe -c "vmux setup --yes --pair --login $4@web-1"
su - zoe -c 'git init -q r && cd r && git commit -q --allow-empty -S -m signed && echo "git says $(git log --format=%G?)"'
su - zoe -c "vmux setup --yes --login $4@web-2"
su - zoe -c "vmux setup --yes --login nobody-there@web-1" || echo "no login: $?"
su - zoe -c 'vmux setup --undo' >/dev/null 2>&1
`

// One command leads a new account with an agent to the first login: it pairs, has git
// sign, and logs in by the person's own ssh. A pairing that there is stays.
func TestSetupLeadsToTheFirstLogin(t *testing.T) {
	t.Parallel()
	w := hubless(t, "ssh-ed25519")
	w.startPhone()
	keys := []string{w.identity("ssh-ed25519").PublicKey}
	server := sshdtest.Old(t).StartServer(t, sshdtest.Config{AuthorizedKeys: keys})
	twofold := sshdtest.Old(t).StartServer(t, sshdtest.Config{AuthorizedKeys: keys, Extra: []string{"PasswordAuthentication yes", "AuthenticationMethods publickey,password"}})
	out := inAccounts(t, firstLoginScript, newHome(t).dir, vmux(t), fmt.Sprint(server.Port), server.User, w.phone.dir, fmt.Sprint(twofold.Port))
	for _, want := range []string{
		"vmux: paired with ",
		"vmux: add to the beginning of /home/zoe/.gitconfig\n",
		fmt.Sprintf("vmux: logged in to %s@web-1 by the phone's key ssh-ed25519\n", server.User),
		fmt.Sprintf("vmux: %s@web-2 takes the phone's key ssh-ed25519, and wants more than a key: ", server.User),
		"setup ended well\n",
		" already\n",
		"git says G\n",
		"vmux: nobody-there@web-1 takes none of the phone's keys\nhint: ",
		"no login: 1\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Count(out, "logged in to ") != 2 || t.Failed() {
		t.Errorf("the account:\n%s", out)
	}
}

// newUserScript is a terminal of somebody with nothing of vmux but the program, who logs in
// to a server by a key file today. $1 is the home folder.
const newUserScript = `set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/0
mount --bind $1 /root
export HOME=/root XDG_RUNTIME_DIR=/run/user/0 LC_ALL=C SHELL=/bin/bash
unset SSH_AUTH_SOCK DISPLAY WAYLAND_DISPLAY
PATH=/root/.local/bin:$PATH
/lib/systemd/systemd --user --log-target=null &
n=0; until systemctl --user daemon-reload 2>/dev/null; do n=$((n+1)); [ $n -lt 300 ] || exit 1; sleep 0.1; done
vmux setup
echo "ended $?"
ssh web-1 true && echo "and again"
vmux setup --undo
systemctl --user exit
wait
`

// One command and four typed answers lead a new user from the program to a login by the phone's
// key: the agent runs as a service, the phone is paired, and the server that knows another
// key is told of this one.
func TestNewUserAtATerminal(t *testing.T) {
	t.Parallel()
	w := hubless(t, "ssh-ed25519")
	w.startPhone("--name", "phone")
	o := sshdtest.Old(t)
	there := newHome(t) // of the account on the server
	old := filepath.Join(there.dir, "old")
	o.Keygen(t, "-q", "-t", "ed25519", "-N", "", "-C", "old", "-f", old)
	server := o.StartServer(t, sshdtest.Config{Extra: []string{
		"SetEnv HOME=" + there.dir, "AuthorizedKeysFile " + filepath.Join(there.dir, ".ssh", "authorized_keys") + " " + old + ".pub",
	}})
	h := newHome(t)
	private, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(h.dir, ".local", "bin")
	if err := errors.Join(os.MkdirAll(bin, 0o700), os.Symlink(vmux(t), filepath.Join(bin, "vmux")), os.Mkdir(filepath.Join(h.dir, ".ssh"), 0o700)); err != nil {
		t.Fatal(err)
	}
	h.file(".ssh/id_ed25519", string(private))
	config := fmt.Sprintf("Host web-1\n    HostName 127.0.0.1\n    Port %d\n    User %s\n    StrictHostKeyChecking accept-new\n", server.Port, server.User)
	h.file(".ssh/config", config)
	began := time.Now()
	desk := onTerminal(t, serviceManager(t.Context(), t, newUserScript, h.dir))
	desk.waitCount("A number (Enter: as it is):", 1, "")
	desk.types("4\n")
	desk.waitCount("Make these changes? Type yes:", 1, "")
	desk.types("yes\n")
	desk.waitCount("it works once, until ", 1, "")
	invitation := regexp.MustCompile(`vmux://pair#[^\s']+`).FindString(desk.text())
	w.phone.runInput(invitation+"\n", "phone", "pair", "-")
	desk.waitCount("A server to log in to now, as user@host (Enter: none):", 1, "")
	desk.types("web-1\n")
	desk.waitCount("web-1 takes none of the phone's keys, and let in another key. Put it there, by the way that you log in today? Type yes:", 1, "")
	desk.types("yes\n")
	desk.waitCount("logged in to web-1 by the phone's key ssh-ed25519", 1, "")
	t.Logf("from the first key to the first login: %v", time.Since(began).Round(time.Second))
	desk.waitCount("ended 0", 1, "")
	desk.waitCount("and again", 1, "")
	desk.waitCount("taken out: /root/.ssh/config\r", 1, "")
	waitFor(t, "ssh's configuration to be as it was", func() bool {
		text, err := os.ReadFile(filepath.Join(h.dir, ".ssh", "config"))
		return err == nil && string(text) == config
	})
}
