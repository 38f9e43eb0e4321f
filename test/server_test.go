package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"vmux/internal/sshdtest"
)

// account is one on a real server, which lets an old key in that the phone does not hold.
type account struct {
	*shim
	*sshdtest.Server
	keys string // authorized_keys
}

// account makes a server, called server in ssh's configuration. When sudo is a script, it
// is the account's sudo, and the account is not root's there.
func (w *world) account(o sshdtest.OpenSSH, sudo string) *account {
	w.Helper()
	a := &account{shim: w.shim(o.SSH)}
	old, there := filepath.Join(a.dir, "old"), w.TempDir()
	o.Keygen(w, "-q", "-t", "ed25519", "-N", "", "-C", "old", "-f", old)
	public, err := os.ReadFile(old + ".pub")
	if err != nil {
		w.Fatal(err)
	}
	path := "/usr/bin:/bin"
	if sudo != "" {
		path = there + ":" + path
		for name, text := range map[string]string{
			"id":   "#!/bin/sh\n[ \"$1\" = -u ] && echo 1000 || exec /usr/bin/id \"$@\"\n",
			"sudo": "#!/bin/sh\n" + sudo + "\nPATH=/usr/bin:/bin exec \"$@\"\n",
		} {
			if err := os.WriteFile(filepath.Join(there, name), []byte(text), 0o700); err != nil {
				w.Fatal(err)
			}
		}
	}
	a.keys = filepath.Join(there, ".ssh", "authorized_keys")
	a.Server = o.StartServer(w, sshdtest.Config{Extra: []string{
		"TrustedUserCAKeys none", "AuthorizedKeysFile " + a.keys + " " + filepath.Join(there, "old"), "SetEnv HOME=" + there + " PATH=" + path,
	}})
	if err := os.WriteFile(filepath.Join(there, "old"), public, 0o600); err != nil {
		w.Fatal(err)
	}
	known := a.file("known", fmt.Sprintf("[127.0.0.1]:%d %s\n", a.Port, a.HostKey))
	a.file("ssh_config", fmt.Sprintf("Host server gone\n  HostName 127.0.0.1\n  User %s\n  UserKnownHostsFile %s\n  IdentityFile %s\n  IdentityAgent none\nHost server\n  Port %d\nHost gone\n  Port 1\n",
		a.User, known, old, a.Port))
	return a
}

// all are the files on the server that may be changed.
func (a *account) all() (text string) {
	for _, path := range []string{a.keys, filepath.Dir(a.keys), a.Path("sshd_config"), a.Path("vmux_ca.pub")} {
		b, err := os.ReadFile(path)
		text += fmt.Sprintf("%s: %v\n%s\n", path, os.IsNotExist(err), b)
	}
	return text
}

// says runs a command that must succeed and say so.
func (a *account) says(want string, args ...string) {
	a.t.Helper()
	if r := a.try(args...); r.exit != 0 || !strings.Contains(r.stdout, want) {
		a.t.Errorf("vmux %v: %+v\nwant %q", args, r, want)
	}
}

// fails runs a command that must not succeed, and say why.
func (a *account) fails(want string, args ...string) {
	a.t.Helper()
	if r := a.try(args...); r.exit == 0 || !strings.Contains(r.stderr, want) {
		a.t.Errorf("vmux %v: %+v\nwant %q", args, r, want)
	}
}

// A server is told of the phone's key and of its CA over a login that there is, each is
// shown to work by a new login, and afterwards all is as it was.
func TestServerTrust(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w := newWorld(t, "ssh-ed25519")
		a := w.account(o, `[ "$1" != -n ] || shift`)
		before := a.all()
		key := strings.TrimSpace(w.identity("ssh-ed25519").PublicKey)
		a.says("missing  key ssh-ed25519\n         "+a.keys+": ssh-ed25519 ", "server", "check", "server")
		a.says("server: "+a.User+": ssh-ed25519 is in "+a.keys+"; a new login with it worked\n", "server", "trust", "server")
		if !strings.Contains(a.all(), key) || w.approvals() != 1 {
			t.Errorf("%d approvals:\n%s", w.approvals(), a.all())
		}
		a.says("works    key ssh-ed25519\n", "server", "check", "server")
		a.says(" already; a new login", "server", "trust", "server")
		a.fails("hint: vmux cert request", "server", "trust", "--ca", "server")
		ca := w.requestCertificate()
		a.says("missing  certificate ", "server", "check", "server")
		a.says("is in "+a.Path("vmux_ca.pub")+", which "+a.Path("sshd_config")+" names; a new login with it worked\n", "server", "trust", "--ca", "server")
		if !strings.Contains(a.all(), strings.Fields(ca)[1]) {
			t.Errorf("no CA:\n%s", a.all())
		}
		a.says("works    certificate ", "server", "check", "server")
		if n := w.approvals(); n != 2 {
			t.Errorf("%d approvals", n)
		}
		a.says("was taken out of "+a.Path("vmux_ca.pub"), "server", "untrust", "--ca", "server")
		a.says("was taken out of "+a.keys, "server", "untrust", "server")
		a.says("is not in "+a.keys, "server", "untrust", "server")
		if after := a.all(); after != before {
			t.Errorf("afterwards:\n%s\nbefore:\n%s", after, before)
		}
	})
}

// Without sudo, with a phone that signs nothing, with a key that would be the last way
// in: all stays as it was.
func TestServerTrustThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	w.requestCertificate()
	a := w.account(sshdtest.Old(t), "exit 1")
	before := a.all()
	a.fails("sudo wants a password there", "server", "trust", "--ca", "server")
	a.fails("log in to gone: ", "server", "trust", "gone")
	// Only the phone's key is left, and so it is put back when it is taken out.
	a.says("is in ", "server", "trust", "server")
	keyIn := a.all()
	config := filepath.Join(a.dir, "ssh_config")
	only, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	a.file("ssh_config", strings.ReplaceAll(string(only), "IdentityAgent none", "IdentityAgent "+a.socket()))
	os.Remove(filepath.Join(filepath.Dir(filepath.Dir(a.keys)), "old"))
	a.fails("no new login to server works without it", "server", "untrust", "server")
	if a.all() != keyIn {
		t.Errorf("not put back:\n%s", a.all())
	}
	a.says("was taken out", "server", "untrust", "--force", "server")
	if a.all() != before {
		t.Errorf("afterwards:\n%s", a.all())
	}
	a.fails("log in to server: ", "server", "check", "server")
}

// A phone that does not sign leaves a server as it was.
func TestServerTrustWithoutThePhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	a := w.account(sshdtest.Old(t), "")
	before := a.all()
	w.phoneRun.stop()
	a.fails("nothing stays on server: the server takes the key, and nobody signed\nhint: vmux status", "server", "trust", "server")
	if a.all() != before {
		t.Errorf("afterwards:\n%s", a.all())
	}
}

// vmux is killed while the new login is being made: the server takes it back.
func TestServerTrustIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	w.requestCertificate()
	a := w.account(sshdtest.Old(t), `[ "$1" != -n ] || shift`)
	before := a.all()
	hanging := filepath.Join(a.dir, "hanging")
	real, err := os.ReadFile(filepath.Join(a.bin, "ssh"))
	if err != nil {
		t.Fatal(err)
	}
	a.file("bin/ssh", strings.Replace(string(real), "exec", "case \"$*\" in *ControlPath=none*) echo $$ >"+hanging+"; exec sleep 1000 ;; esac\nexec", 1))
	for _, flag := range []string{"--ca=false", "--ca"} {
		cmd := a.command(deadline(t), "server", "trust", flag, "server")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the new login", func() bool { b, err := os.ReadFile(hanging); return err == nil && strings.HasSuffix(string(b), "\n") })
		if a.all() == before {
			t.Error("nothing was changed")
		}
		cmd.Process.Kill()
		cmd.Wait()
		waitFor(t, "all is as before", func() bool { return a.all() == before })
		b, _ := os.ReadFile(hanging)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		os.Remove(hanging)
	}
	a.file("bin/ssh", string(real))
	// The daemon reads its file again a moment later, and takes no connection meanwhile.
	waitFor(t, "a login as before", func() bool {
		r := a.try("server", "check", "server")
		return r.exit == 0 && strings.Contains(r.stdout, "missing  key")
	})
}

// sudo asks for its password at the person's own terminal.
func TestServerTrustAsksForSudo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	w.requestCertificate()
	a := w.account(sshdtest.Old(t), `[ "$1" != -n ] || exit 1
printf 'password for sudo: ' >/dev/tty
read -r word </dev/tty
[ "$word" = secret ] || exit 1`)
	before := a.all()
	typed := func(password string, args ...string) string {
		t.Helper()
		vmux, err := program()
		if err != nil {
			t.Fatal(err)
		}
		cmd := a.commandOf(deadline(t), "script", "--quiet", "--return", "--command", vmux+" server "+strings.Join(args, " "), "/dev/null")
		cmd.Stdin = strings.NewReader(password + "\n")
		out, err := cmd.CombinedOutput()
		return fmt.Sprintf("%s%v", out, err)
	}
	if out := typed("wrong", "trust", "--ca", "server"); !strings.Contains(out, "sudo ended with status 1 there") || a.all() != before {
		t.Errorf("%s\n%s", out, a.all())
	}
	if out := typed("secret", "trust", "--ca", "server"); !strings.Contains(out, "a new login with it worked") || a.all() == before {
		t.Errorf("%s\n%s", out, a.all())
	}
	if out := typed("secret", "untrust", "--ca", "server"); !strings.Contains(out, "was taken out") || a.all() != before {
		t.Errorf("%s\n%s", out, a.all())
	}
}

// --all goes through the hosts of ssh's configuration, and tells what came of each.
func TestServerAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	a := w.account(sshdtest.Old(t), "")
	a.fails("names no host", "server", "check", "--all")
	if err := os.Mkdir(filepath.Join(a.dir, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	a.file(".ssh/config", "Host gone *.example.com\nHost server server\n")
	r := a.try("server", "trust", "--all", "--json")
	var results []struct{ Host, Done, File, Error, Hint string }
	if err := json.Unmarshal([]byte(r.stdout), &results); err != nil || r.exit != 1 || len(results) != 2 {
		t.Fatalf("%v: %+v", err, r)
	}
	if gone := results[0]; gone.Host != "gone" || gone.Done != "failed" || gone.Error == "" || gone.Hint != "ssh gone" {
		t.Errorf("%+v", gone)
	}
	if server := results[1]; server.Host != "server" || server.Done != "put" || server.File != a.keys {
		t.Errorf("%+v", server)
	}
	if r := a.try("server", "check", "--all"); r.exit != 1 || !strings.Contains(r.stdout, "gone: log in to gone: ") || !strings.Contains(r.stdout, "works    key ssh-ed25519") {
		t.Errorf("%+v", r)
	}
}
