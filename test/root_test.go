//go:build linux

package test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vmux/internal/sshdtest"
)

// Users beside root, where the tests run as root or as root of a namespace.
const ordinary, third = 1, 2

// as makes the home another user's, and that user run its commands.
func (h *home) as(user uint32) {
	h.t.Helper()
	if err := os.Chown(h.dir, int(user), int(user)); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chmod(scratch, 0o711); err != nil { // where vmux is
		h.t.Fatal(err)
	}
	h.user = &syscall.Credential{Uid: user, Gid: user}
}

const rootScript = `
set -e
mount -t tmpfs tmpfs /run
# Without root /etc/shadow cannot be read, and root counts as locked.
echo 'root:*:19000:0:99999:7:::' >/run/shadow
mount --bind /run/shadow /etc/shadow
exec "$0" -test.run='^TestRoot$' -test.v -test.timeout=540s
`

// TestRoot: an ordinary user's agent serves root, and tells everybody else that it
// does not.
func TestRoot(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		rootsAgent(t)
		upstreamOfAnotherUser(t)
		rootInAnotherHome(t)
		return
	}
	if _, err := exec.LookPath("newuidmap"); err != nil {
		t.Fatalf("%v: run `make setup`", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "unshare", "--user", "--map-root-user", "--map-auto", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child",
		"sh", "-c", rootScript, os.Args[0])
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func rootsAgent(t *testing.T) {
	w := unpairedWorld(t)
	w.createIdentity("ssh-ed25519", "ssh-ed25519")
	w.startPhone()
	w.computer.as(ordinary)
	w.startAgent("--lan=false")
	w.pair()
	w.waitStatus(w.identity("ssh-ed25519").Fingerprint)
	key := w.publicFile("ssh-ed25519")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	message := w.computer.file("message", "hello\n")
	if err := os.Chmod(message, 0o644); err != nil {
		t.Fatal(err)
	}
	old := sshdtest.Old(t)
	command := func(user uint32, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(deadline(t), args[0], args[1:]...)
		cmd.Env = []string{"SSH_AUTH_SOCK=" + w.computer.socket(), "PATH=" + os.Getenv("PATH")}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		return cmd
	}
	// `sudo ssh-add -l`, `sudo ssh`: root is served, and the sheet says so.
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w := &world{TB: t, computer: w.computer, phone: w.phone}
		if out := must(t, command(0, o.SSHAdd, "-l")); !strings.Contains(out, w.identity("ssh-ed25519").Fingerprint) {
			t.Errorf("ssh-add -l of root's: %q", out)
		}
		server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}})
		before := len(w.records())
		must(t, server.Command(deadline(t), t, o, w.computer.socket(), "true"))
		if r := w.since(before, 1)[0]; r.says("run by") != "root (claimed)" || !strings.HasPrefix(r.says("program"), "ssh ") {
			t.Errorf("root's login is shown with: run by %q, program %q", r.says("run by"), r.says("program"))
		}
	})
	before := len(w.records())
	must(t, command(ordinary, old.SSHKeygen, "-q", "-Y", "sign", "-n", "file", "-f", key, message))
	if r := w.since(before, 1)[0]; r.says("run by") != "" || r.says("program") == "" {
		t.Errorf("the user's own request is shown with: run by %q, program %q", r.says("run by"), r.says("program"))
	}

	// attacker: another user, to whom the folders happen to be open.
	control := filepath.Join(w.computer.dir, "agent", "control.sock")
	for path, mode := range map[string]os.FileMode{w.computer.dir: 0o711, w.computer.socket(): 0o666, filepath.Dir(control): 0o711, control: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"-l"}, {"-L"}, {"-D"}, {"-d", key}, {"-T", key}} {
		for range 10 { // whether what is sent was read before the end is a matter of chance
			_, stderr, err := finish(command(third, append([]string{old.SSHAdd}, args...)...))
			if code := exitOf(err); code != 1 || strings.Contains(stderr, "communication with agent failed") || stderr == "" {
				t.Fatalf("ssh-add %s of another user's: exit status %d, %q", args[0], code, stderr)
			}
		}
	}
	w.agent.waitLog("belongs to user 2")
	before = len(w.records())
	_, stderr, err := finish(command(third, old.SSHKeygen, "-q", "-Y", "sign", "-n", "file", "-f", key, "-"))
	if exitOf(err) <= 0 || len(w.records()) != before {
		t.Errorf("ssh-keygen of another user's: %v, %q; the phone was asked %d times", err, stderr, len(w.records())-before)
	}

	// A control socket is its user's alone, and says so: the agent's, and that of a phone,
	// which root runs here.
	phone := filepath.Join(w.phone.dir, "phone", "control.sock")
	for path, mode := range map[string]os.FileMode{w.phone.dir: 0o711, filepath.Dir(phone): 0o711, phone: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		socket, path string
		user         uint32
	}{{control, "pair", 0}, {control, "pair", third}, {phone, "perform/grants%20on", ordinary}, {phone, "perform/identity%20list", third}} {
		out := must(t, command(c.user, "curl", "-sS", "--unix-socket", c.socket, "--data", "{}", "http://localhost/v1/"+c.path))
		var refusal struct{ Code, Sentence, Hint string }
		if err := json.Unmarshal([]byte(out), &refusal); err != nil || refusal.Code != "otherUser" || refusal.Hint == "" {
			t.Errorf("%s answers user %d with %q, %v", c.socket, c.user, out, err)
		}
	}

	// Nor does a command talk to a socket that another user serves, who could hand out an
	// invitation of their own.
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	slip := command(0, path, "pair")
	slip.Env = append(slip.Env, "VMUX_HOME="+w.computer.dir)
	if out, stderr, err := finish(slip); exitOf(err) != 1 || out != "" || !strings.Contains(stderr, "The agent is another user's") {
		t.Errorf("root's command at the user's socket: %v, %q, %q", err, out, stderr)
	}
}

// attacker: another user, who serves a socket where an upstream agent used to be. He would be
// given the keys and passphrases of ssh-add.
func upstreamOfAnotherUser(t *testing.T) {
	h, w := newHome(t), unpairedWorld(t)
	h.as(third)
	w.computer.as(ordinary)
	upstream := filepath.Join(h.dir, "upstream.sock")
	o := sshdtest.Old(t)
	h.startProgram("upstream.log", o.SSHAgent, "-d", "-a", upstream).waitLog("SSH_AUTH_SOCK=")
	for path, mode := range map[string]os.FileMode{h.dir: 0o711, upstream: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	w.startAgent("--upstream", upstream)
	w.waitStatus("belongs to user 2")
}

// rootInAnotherHome: sudo that keeps HOME makes no folder in it which its user could not use
// any more, and says how it is done.
func rootInAnotherHome(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	h := newHome(t)
	h.as(ordinary)
	for _, args := range [][]string{
		{"agent"}, {"devices", "--json"}, {"phone", "run"}, {"phone", "identity", "list"}, {"phone", "lock"}, {"setup", "--undo"}, {"doctor"},
	} {
		cmd := exec.CommandContext(deadline(t), path, args...)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + h.dir, "LC_ALL=C"}
		_, stderr, _ := finish(cmd)
		if args[0] != "doctor" && args[0] != "devices" && !strings.Contains(stderr, "without sudo") {
			t.Errorf("%v: %s", args, stderr)
		}
		err := filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && path != h.dir {
				t.Errorf("%v has made %s", args, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// exitOf is a finished command's exit status, -1 if it was ended by a signal.
func exitOf(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}
