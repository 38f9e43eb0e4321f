package test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vmux/internal/sshdtest"
)

// upstreamWorld is a world whose agent has the upstream agent at socket.
func upstreamWorld(t *testing.T, socket string, args ...string) *world {
	t.Helper()
	w := hubless(t, "ssh-ed25519")
	w.startPhone()
	w.startAgent(append([]string{"--upstream", socket}, args...)...)
	w.pair()
	return w
}

// newKeyFile makes a key, and returns its file and its public half.
func newKeyFile(t testing.TB, o sshdtest.OpenSSH, name string) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	o.Keygen(t, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file)
	b, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(b))
}

// listed are the comments of what `ssh-add -l` lists.
func listed(t testing.TB, o sshdtest.OpenSSH, socket string) string {
	t.Helper()
	cmd := exec.CommandContext(deadline(t), o.SSHAdd, "-l")
	cmd.Env = []string{"SSH_AUTH_SOCK=" + socket}
	out, _, err := finish(cmd)
	if err != nil && !strings.Contains(out, "no identities") {
		t.Fatalf("ssh-add -l: %v: %s", err, out)
	}
	var comments []string
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 3 && strings.HasPrefix(words[1], "SHA256:") {
			comments = append(comments, words[2])
		}
	}
	return strings.Join(comments, " ")
}

// wantListed waits until ssh-add lists just that: where the machine is busy, an upstream
// agent may be missing for a moment.
func wantListed(t testing.TB, o sshdtest.OpenSSH, socket, want string) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%q listed at %s", want, socket), func() bool { return listed(t, o, socket) == want })
}

// The promise of --upstream with OpenSSH's own agent: its keys are listed after the phone's
// and log in without the phone; ssh-add adds and removes there, with every constraint; what
// is locked is locked in both.
func TestUpstreamOpenSSH(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		upstream, _ := o.StartAgent(t)
		file, public := newKeyFile(t, o, "theirs")
		o.Add(t, upstream, "-q", file)
		w := upstreamWorld(t, upstream)
		socket := w.computer.socket()
		wants := func(want string) { t.Helper(); wantListed(t, o, socket, want) }
		wants("ssh-ed25519 theirs")
		w.waitStatus("upstream agent " + upstream + ": 1 keys, listed after these")

		server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{public}})
		must(t, server.Command(deadline(t), t, o, socket, "true"))
		if n := w.approvals(); n != 0 {
			t.Errorf("the phone has signed %d times", n)
		}
		if text := w.computer.run("status", "--json"); !strings.Contains(text, "passed on to the upstream agent, which has signed") {
			t.Errorf("the journal does not tell:\n%s", text)
		}
		signed := w.computer.file("signed."+o.Name, "text")
		sign := exec.CommandContext(deadline(t), o.SSHKeygen, "-q", "-Y", "sign", "-n", "file", "-f", file+".pub", signed)
		sign.Env = []string{"SSH_AUTH_SOCK=" + socket}
		if err := os.Remove(file); err != nil { // else ssh-keygen would use it
			t.Fatal(err)
		}
		must(t, sign)

		other, _ := newKeyFile(t, o, "added")
		for _, args := range [][]string{{}, {"-t", "1000"}, {"-c"}} {
			o.Add(t, socket, append(args, "-q", other)...)
			wants("ssh-ed25519 theirs added")
			wantListed(t, o, upstream, "theirs added")
			o.Add(t, socket, "-q", "-d", other)
			wants("ssh-ed25519 theirs")
		}
		phones := w.publicFile("ssh-ed25519")
		for _, args := range [][]string{{"-s", "/usr/lib/nothing.so"}, {"-d", phones}} {
			refused := exec.CommandContext(deadline(t), o.SSHAdd, args...)
			refused.Env, refused.Stdin = []string{"SSH_AUTH_SOCK=" + socket, "SSH_ASKPASS_REQUIRE=force", "SSH_ASKPASS=/bin/true"}, nil
			if out, _, err := finish(refused); err == nil {
				t.Errorf("ssh-add %v: %s", args, out)
			}
		}
		w.waitStatus("A phone holds that key: ssh-add cannot remove it. (removeRefused)")

		askpass := w.computer.file("askpass", "#!/bin/sh\necho correct horse\n")
		if err := os.Chmod(askpass, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, arg := range []string{"-x", "-X"} {
			lock := exec.CommandContext(deadline(t), o.SSHAdd, arg)
			lock.Env = []string{"SSH_AUTH_SOCK=" + socket, "SSH_ASKPASS_REQUIRE=force", "SSH_ASKPASS=" + askpass, "DISPLAY=:none"}
			must(t, lock)
			if arg == "-x" {
				wants("")
				wantListed(t, o, upstream, "")
			}
		}
		wants("ssh-ed25519 theirs")
		o.Add(t, socket, "-q", "-D")
		wants("ssh-ed25519")
	})
}

// Keys that ssh-add limits to a server are limited there still, since ssh's session bindings
// reach the upstream agent: also through a bastion, if other hosts may use its keys.
func TestUpstreamKeysForCertainServers(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		upstream, _ := o.StartAgent(t)
		direct, directPublic := newKeyFile(t, o, "direct")
		hop, hopPublic := newKeyFile(t, o, "hop")
		w := upstreamWorld(t, upstream, "--forward-upstream")
		accepts := sshdtest.Config{AuthorizedKeys: []string{directPublic, hopPublic, w.identity("ssh-ed25519").PublicKey}}
		n := named{"prod": o.StartServer(t, accepts), "other": o.StartServer(t, accepts), "bastion": o.StartServer(t, accepts)}
		config := n.config(t, w.computer.socket())
		known := filepath.Join(filepath.Dir(config), "known_hosts")
		o.Add(t, w.computer.socket(), "-q", "-H", known, "-h", "prod", direct)
		o.Add(t, w.computer.socket(), "-q", "-H", known, "-h", "bastion", "-h", "bastion>prod", hop)

		offered := func(args ...string) string {
			t.Helper()
			cmd := w.runs(o, config, append([]string{"-v"}, args...)...)
			_, errs, _ := finish(cmd)
			var keys []string
			for line := range strings.Lines(errs) {
				if _, key, ok := strings.Cut(line, "Will attempt key: "); ok {
					keys = append(keys, strings.Fields(key)[0])
				}
			}
			return strings.Join(keys, " ")
		}
		for host, want := range map[string]string{"prod": "ssh-ed25519 direct", "other": "ssh-ed25519", "bastion": "ssh-ed25519 hop"} {
			if got := offered(host, "true"); got != want {
				t.Errorf("offered to %s: %q, want %q", host, got, want)
			}
		}
		only := []string{"-o", "IdentitiesOnly=yes", "-i", direct + ".pub"}
		before := w.approvals()
		for _, file := range []string{direct, hop} {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
		must(t, w.runs(o, config, append(only, "prod", "true")...))
		if _, _, err := finish(w.runs(o, config, append(only, "other", "true")...)); err == nil {
			t.Error("a key for prod has logged in to another server")
		}
		if w.approvals() != before {
			t.Error("the phone was asked")
		}
		// On the bastion: its name for the target is known there, too.
		remote := w.forwarded(o, config, "bastion")
		before = w.approvals()
		there := n.config(t, remote)
		out, errs, err := finish(w.runs(o, there, "-v", "-o", "IdentitiesOnly=yes", "-i", hop+".pub", "prod", "true"))
		if err != nil || w.approvals() != before {
			t.Errorf("through the bastion: %v, %s%s", err, out, errs)
		}
		if _, errs, err := finish(w.runs(o, there, "-v", "-o", "IdentitiesOnly=yes", "-i", hop+".pub", "other", "true")); err == nil {
			t.Errorf("a key for bastion>prod has logged in elsewhere: %s", errs)
		}
	})
}

// The upstream agent is not there at the start, is restarted, or stops answering: the phone's
// keys are listed all the same, and the status tells.
func TestUpstreamComesAndGoes(t *testing.T) {
	t.Parallel()
	o := sshdtest.New(t)
	upstream := filepath.Join(newHome(t).dir, "upstream.sock")
	w := upstreamWorld(t, upstream)
	socket := w.computer.socket()
	w.waitStatus("upstream agent " + upstream + " does not answer: there is no such socket")
	wantListed(t, o, socket, "ssh-ed25519")
	file, _ := newKeyFile(t, o, "theirs")
	refused := exec.CommandContext(deadline(t), o.SSHAdd, file)
	refused.Env = []string{"SSH_AUTH_SOCK=" + socket}
	if _, _, err := finish(refused); err == nil {
		t.Error("a key was added to nothing")
	}
	w.waitStatus("The upstream agent was not asked to add that key: there is no such socket. (upstreamFailed)")
	for range 2 {
		agent := w.computer.startProgram("upstream.log", o.SSHAgent, "-D", "-a", upstream)
		w.waitStatus(": 0 keys, listed after these")
		o.Add(t, socket, "-q", file)
		wantListed(t, o, socket, "ssh-ed25519 theirs")
		agent.cmd.Process.Signal(syscall.SIGSTOP)
		w.waitStatus(" does not answer: it has not answered within ")
		wantListed(t, o, socket, "ssh-ed25519")
		agent.cmd.Process.Signal(syscall.SIGCONT)
		w.waitStatus(": 1 keys, listed after these")
		agent.stop()
		w.waitStatus(" does not answer: ")
	}
	// A program that listens and never says anything, as `nc -lkU` (fabric's issue 2306).
	os.Remove(upstream)
	l, err := net.Listen("unix", upstream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	wantListed(t, o, socket, "ssh-ed25519")
	// One that answers what is no list (ssh-agent-mux' pull request 94).
	garbage := filepath.Join(newHome(t).dir, "garbage.sock")
	answers, err := net.Listen("unix", garbage)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answers.Close() })
	go func() {
		for {
			c, err := answers.Accept()
			if err != nil {
				return
			}
			go func() { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); c.Close() }()
		}
	}()
	w.agent.stop()
	w.startAgent("--upstream", garbage)
	w.waitStatus(garbage + " does not answer: ")
	wantListed(t, o, socket, "ssh-ed25519")
}

// A second vmux behind the first, whose phone is asked; and both behind each other.
func TestUpstreamVmux(t *testing.T) {
	t.Parallel()
	o := sshdtest.New(t)
	w := newWorld(t, "ssh-ed25519")
	first := unpairedWorld(t)
	first.startAgent("--upstream", w.computer.socket())
	wantListed(t, o, first.computer.socket(), "ssh-ed25519")
	server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}})
	must(t, server.Command(deadline(t), t, o, first.computer.socket(), "true"))
	r := w.since(0, 1)[0]
	w.expect(r, "verified", server.User+"@"+fingerprintOf(t, server.HostKey), "server", fingerprintOf(t, server.HostKey)+" (verified)")

	w.agent.stop()
	w.startAgent("--upstream", first.computer.socket())
	w.waitConnected()
	for _, socket := range []string{w.computer.socket(), first.computer.socket()} {
		wantListed(t, o, socket, "ssh-ed25519")
	}
	must(t, server.Command(deadline(t), t, o, first.computer.socket(), "true"))

	// The agent behind itself: by its own path, and by a link that leads there only later.
	w.agent.stop()
	if r := w.computer.try("agent", "--upstream", w.computer.socket()); r.exit != 2 || !strings.Contains(r.stderr, "this one's") {
		t.Errorf("its own socket: exit %d, %s", r.exit, r.stderr)
	}
	link := filepath.Join(w.computer.dir, "link")
	w.startAgent("--upstream", link)
	if err := os.Symlink(w.computer.socket(), link); err != nil {
		t.Fatal(err)
	}
	w.waitStatus(link + " does not answer: it leads back to this agent")
	wantListed(t, o, w.computer.socket(), "ssh-ed25519")
}

// gpg-agent with --enable-ssh-support, which knows neither session bindings nor locks.
func TestUpstreamGPGAgent(t *testing.T) {
	t.Parallel()
	o := sshdtest.Old(t)
	h := newHome(t)
	h.env = []string{"GNUPGHOME=" + h.dir}
	gpg := func(args ...string) string {
		t.Helper()
		return must(t, h.commandOf(deadline(t), "gpg", append([]string{"--batch", "--passphrase", ""}, args...)...))
	}
	h.file("gpg-agent.conf", "enable-ssh-support\n")
	gpg("--quick-generate-key", "someone <someone@example.com>", "ed25519", "auth", "never")
	t.Cleanup(func() { h.commandOf(deadline(t), "gpgconf", "--kill", "gpg-agent").Run() })
	says := map[string]string{} // by the kind of line
	for line := range strings.Lines(gpg("--with-colons", "--with-keygrip", "-K")) {
		if fields := strings.Split(line, ":"); len(fields) > 9 {
			says[fields[0]] = fields[9]
		}
	}
	h.file("sshcontrol", says["grp"]+"\n")
	public := strings.TrimSpace(gpg("--export-ssh-key", says["fpr"]+"!"))
	upstream := strings.TrimSpace(must(t, h.commandOf(deadline(t), "gpgconf", "--list-dirs", "agent-ssh-socket")))
	w := upstreamWorld(t, upstream)
	socket := w.computer.socket()
	w.waitStatus("upstream agent " + upstream + ": 1 keys")
	wantListed(t, o, socket, "ssh-ed25519 (none)")
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{public}})
		must(t, server.Command(deadline(t), t, o, socket, "true"))
	})
	askpass := w.computer.file("askpass", "#!/bin/sh\necho correct horse\n")
	if err := os.Chmod(askpass, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, arg := range []string{"-x", "-X"} {
		lock := exec.CommandContext(deadline(t), o.SSHAdd, arg)
		lock.Env = []string{"SSH_AUTH_SOCK=" + socket, "SSH_ASKPASS_REQUIRE=force", "SSH_ASKPASS=" + askpass, "DISPLAY=:none"}
		must(t, lock)
		if got := listed(t, o, socket); (got == "") != (arg == "-x") {
			t.Errorf("listed after ssh-add %s: %q", arg, got)
		}
	}
	// It asks for a passphrase first, and there is no pinentry here. That is its word.
	file, _ := newKeyFile(t, o, "added")
	adds := exec.CommandContext(deadline(t), o.SSHAdd, "-q", file)
	adds.Env = []string{"SSH_AUTH_SOCK=" + socket}
	if out, _, err := finish(adds); err == nil {
		t.Errorf("gpg-agent took a key without its passphrase: %s", out)
	}
	w.waitStatus("The upstream agent has refused to add that key. (upstreamFailed)")
}

// ssh-add -s: a token's keys, by its PKCS #11 library and PIN.
func TestUpstreamToken(t *testing.T) {
	t.Parallel()
	o := sshdtest.Old(t)
	const library = "/usr/lib/softhsm/libsofthsm2.so"
	h := newHome(t)
	h.env = []string{"SOFTHSM2_CONF=" + h.file("softhsm2.conf", "directories.tokendir = "+h.dir+"\n")}
	token := func(args ...string) {
		must(t, h.commandOf(deadline(t), "softhsm2-util", append(args, "--pin", "1234")...))
	}
	token("--init-token", "--free", "--label", "token", "--so-pin", "1234")
	file := filepath.Join(h.dir, "rsa")
	o.Keygen(t, "-q", "-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "", "-f", file)
	token("--import", file, "--token", "token", "--label", "on-token", "--id", "01")
	upstream := filepath.Join(h.dir, "s")
	h.startProgram("agent.log", o.SSHAgent, "-D", "-a", upstream)
	w := upstreamWorld(t, upstream)
	w.waitStatus(": 0 keys, listed after these")
	askpass := w.computer.file("askpass", "#!/bin/sh\necho 1234\n")
	if err := os.Chmod(askpass, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, arg := range []string{"-s", "-e"} {
		add := exec.CommandContext(deadline(t), o.SSHAdd, arg, library)
		add.Env = []string{"SSH_AUTH_SOCK=" + w.computer.socket(), "SSH_ASKPASS_REQUIRE=force", "SSH_ASKPASS=" + askpass, "DISPLAY=:none"}
		must(t, add)
		if arg == "-e" {
			break
		}
		wantListed(t, o, w.computer.socket(), "ssh-ed25519 on-token")
		public, err := os.ReadFile(file + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{string(public)}})
		must(t, server.Command(deadline(t), t, o, w.computer.socket(), "true"))
	}
	wantListed(t, o, w.computer.socket(), "ssh-ed25519")
}

// ssh-copy-id installs the upstream agent's keys as well, and no certificate; git's
// defaultKeyCommand takes the first line.
func TestUpstreamKeysAreInstalledWithoutCertificates(t *testing.T) {
	t.Parallel()
	o := sshdtest.Old(t)
	upstream, _ := o.StartAgent(t)
	file, public := newKeyFile(t, o, "theirs")
	ca, _ := newKeyFile(t, o, "ca")
	o.Keygen(t, "-q", "-s", ca, "-I", "x", "-n", "x", file+".pub")
	o.Add(t, upstream, "-q", file)
	w := upstreamWorld(t, upstream)
	wantListed(t, o, w.computer.socket(), "ssh-ed25519 theirs theirs")
	server := o.StartServer(t, sshdtest.Config{})
	if err := os.MkdirAll(filepath.Join(w.computer.dir, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	copies := w.computer.commandOf(deadline(t), "ssh-copy-id", "-n", "-f", "-F", server.ClientConfig(t, w.computer.socket()), sshdtest.Host)
	copies.Env = append(copies.Env, "SSH_AUTH_SOCK="+w.computer.socket())
	out := must(t, copies)
	for _, key := range []string{public, w.identity("ssh-ed25519").PublicKey} {
		if !strings.Contains(out, strings.Fields(key)[1]) {
			t.Errorf("ssh-copy-id leaves out %s:\n%s", key, out)
		}
	}
	if strings.Contains(out, "-cert-v01@") {
		t.Errorf("ssh-copy-id installs a certificate:\n%s", out)
	}
}

// With more keys than a server takes tries, ssh gets in by the upstream agent's second key,
// and the next time by its first try (Secretive's issue 559).
func TestUpstreamAndMaxAuthTries(t *testing.T) {
	t.Parallel()
	o := sshdtest.New(t)
	upstream, _ := o.StartAgent(t)
	var publics []string
	for n := range 3 {
		file, public := newKeyFile(t, o, fmt.Sprint("theirs", n))
		o.Add(t, upstream, "-q", file)
		publics = append(publics, public)
	}
	w := hubless(t, "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
	w.startPhone()
	w.startAgent("--upstream", upstream)
	w.pair()
	w.requestCertificate()
	host := o.StartServer(t, sshdtest.Config{AuthorizedKeys: publics[2:], MaxAuthTries: 6})
	must(t, host.Command(deadline(t), t, o, w.computer.socket(), "true"))
	out, errs, err := finish(host.Command(deadline(t), t, o, w.computer.socket(), "-v", "true"))
	if n := strings.Count(errs, "Offering public key"); err != nil || n != 1 {
		t.Errorf("the second login: %v, %d keys offered\n%s%s", err, n, out, errs)
	}
	if n := w.approvals(); n != 0 {
		t.Errorf("the phone has signed %d times", n)
	}
}
