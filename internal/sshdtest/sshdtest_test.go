package sshdtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vmux/internal/testkit"
)

func TestVersions(t *testing.T) {
	for _, test := range []struct {
		version      string
		major, minor int
		want         bool
	}{
		{"9.2p1", 10, 3, false},
		{"10.2p1", 10, 3, false},
		{"10.3p1", 10, 3, true},
		{"10.10p1", 10, 3, true},
		{"11.0p1", 10, 3, true},
		{"9.8p1", 9, 8, true},
		{"", 1, 0, false},
	} {
		if got := (OpenSSH{Version: test.version}).AtLeast(test.major, test.minor); got != test.want {
			t.Errorf("%q at least %d.%d: %v, want %v", test.version, test.major, test.minor, got, test.want)
		}
	}
	old, current := Old(t), New(t)
	t.Logf("old: %s %s; new: %s %s", old.SSH, old.Version, current.SSH, current.Version)
	if old.Version == current.Version {
		t.Errorf("both are %s: the tests are to cover two versions", old.Version)
	}
}

// credentials are a user key, a CA, and a plain ssh-agent for each way in.
type credentials struct {
	userKey, caKey             string // public key lines
	keyAgent, certificateAgent string // sockets
	certificate                string // file
}

// newCredentials makes the certificate for a principal of its own, not for the
// user's name, so that AuthorizedPrincipals is tried too.
func newCredentials(t *testing.T, o OpenSSH) credentials {
	dir := t.TempDir()
	newKey := func(name string) (file, public string) {
		file = filepath.Join(dir, name)
		o.Keygen(t, "-q", "-t", "ecdsa", "-b", "256", "-N", "", "-C", name, "-f", file)
		return file, readFile(t, file+".pub")
	}
	var c credentials
	var userFile, caFile, certified string
	userFile, c.userKey = newKey("user")
	caFile, c.caKey = newKey("ca")
	certified, _ = newKey("certified")
	o.Keygen(t, "-q", "-s", caFile, "-I", "test", "-n", "some-principal", "-V", "-5m:+1h", certified+".pub")
	c.certificate = certified + "-cert.pub"

	c.keyAgent, _ = o.StartAgent(t)
	o.Add(t, c.keyAgent, "-q", userFile)
	// The server does not know the key alone, so what logs in is the certificate.
	c.certificateAgent, _ = o.StartAgent(t)
	o.Add(t, c.certificateAgent, "-q", certified)
	return c
}

func (c credentials) config() Config {
	return Config{
		AuthorizedKeys:       []string{c.userKey},
		TrustedUserCAKeys:    []string{c.caKey},
		AuthorizedPrincipals: []string{"some-principal"},
	}
}

// Every client logs in to every server, by key and by certificate.
func TestLogin(t *testing.T) {
	for _, server := range Both(t) {
		for _, client := range Both(t) {
			t.Run(fmt.Sprintf("%s client, %s server", client.Name, server.Name), func(t *testing.T) {
				c := newCredentials(t, client)
				s := server.StartServer(t, c.config())
				t.Run("key", func(t *testing.T) {
					testClient(t, s, client, c.keyAgent)
					s.WaitForLog(t, "Accepted publickey for "+s.User)
				})
				t.Run("certificate", func(t *testing.T) {
					testClient(t, s, client, c.certificateAgent)
					s.WaitForLog(t, "ECDSA-CERT SHA256:")
				})
			})
		}
	}
}

// testClient logs in with ssh, scp and sftp.
func testClient(t *testing.T, s *Server, client OpenSSH, agentSock string) {
	ctx := t.Context()
	if got := output(t, s.Command(ctx, t, client, agentSock, "echo", "over", "$SSH_CONNECTION")); !strings.HasPrefix(got, "over 127.0.0.1 ") {
		t.Errorf("ssh printed %q", got)
	}
	// The user's own .bashrc is not read: it may print, or fail.
	if got := output(t, s.Command(ctx, t, client, agentSock, "echo", "$HOME")); got != s.Path("home")+"\n" {
		t.Errorf("a login is at home in %q", got)
	}

	dir := t.TempDir()
	local, remote := filepath.Join(dir, "local"), filepath.Join(dir, "remote")
	back, batch := filepath.Join(dir, "back"), filepath.Join(dir, "batch")
	writeFile(t, local, "some text\n")
	writeFile(t, batch, fmt.Sprintf("get %s %s\n", remote, back))
	output(t, s.SCP(ctx, t, client, agentSock, local, Host+":"+remote))
	output(t, s.SFTP(ctx, t, client, agentSock, "-b", batch, Host))
	if got := readFile(t, back); got != "some text\n" {
		t.Errorf("after scp there and sftp back: %q", got)
	}
}

// The versions are those of the programs that talk, not of something that the
// programs run by a path compiled into them.
func TestVersionsOnTheWire(t *testing.T) {
	for _, server := range Both(t) {
		for _, client := range Both(t) {
			c := newCredentials(t, client)
			s := server.StartServer(t, c.config())
			got := output(t, s.Command(t.Context(), t, client, c.keyAgent, "-v", "true"))
			for _, want := range []string{
				"OpenSSH_" + client.Version, // its first line
				"remote software version OpenSSH_" + server.Version,
			} {
				if !strings.Contains(got, want) {
					t.Errorf("%s client, %s server: ssh -v does not say %q:\n%s", client.Name, server.Name, want, got)
				}
			}
		}
	}
}

func TestUnknownKeyIsRefused(t *testing.T) {
	for _, o := range Both(t) {
		known, unknown := newCredentials(t, o), newCredentials(t, o)
		s := o.StartServer(t, known.config())
		for _, socket := range []string{unknown.keyAgent, unknown.certificateAgent, ""} {
			out, err := s.Command(t.Context(), t, o, socket, "true").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "Permission denied (publickey)") {
				t.Errorf("%s: login with agent %q: %v, %s", o.Name, socket, err, out)
			}
		}
	}
}

func TestConfig(t *testing.T) {
	o := Old(t)
	c := newCredentials(t, o)
	config := c.config()
	config.MaxAuthTries = 1
	config.DisallowAgentForwarding = true
	config.Extra = []string{"ForceCommand echo forced"}
	s := o.StartServer(t, config)

	if got := output(t, s.Command(t.Context(), t, o, c.keyAgent, "-A", "true")); got != "forced\n" {
		t.Errorf("with ForceCommand, ssh printed %q", got)
	}
	other := filepath.Join(t.TempDir(), "other")
	o.Keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", other)
	socket, _ := o.StartAgent(t)
	o.Add(t, socket, "-q", other)
	o.Add(t, socket, "-q", strings.TrimSuffix(c.certificate, "-cert.pub"))
	out, err := s.Command(t.Context(), t, o, socket, "true").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Too many authentication failures") {
		t.Errorf("second key with MaxAuthTries 1: %v, %s", err, out)
	}
}

// Agent forwarding is what a second hop needs.
func TestAgentForwarding(t *testing.T) {
	for _, o := range Both(t) {
		c := newCredentials(t, o)
		s := o.StartServer(t, c.config())
		got := output(t, s.Command(t.Context(), t, o, c.keyAgent, "-o", "ForwardAgent yes", o.SSHAdd, "-L"))
		if strings.TrimSpace(got) != strings.TrimSpace(c.userKey) {
			t.Errorf("%s: the forwarded agent lists %q, want %q", o.Name, got, c.userKey)
		}
	}
}

// Stop leaves no session behind, though each is a process group of its own.
func TestStopEndsSessions(t *testing.T) {
	for _, o := range Both(t) {
		c := newCredentials(t, o)
		s := o.StartServer(t, c.config())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		session := s.Command(ctx, t, o, c.keyAgent, "echo $$; exec sleep 1000")
		stdout, err := session.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := session.Start(); err != nil {
			t.Fatal(err)
		}
		var pid int
		if _, err := fmt.Fscan(stdout, &pid); err != nil {
			t.Fatal(err)
		}
		s.Stop()
		if err := session.Wait(); err == nil || ctx.Err() != nil {
			t.Errorf("%s: the client ended with %v, %v", o.Name, err, ctx.Err())
		}
		waitFor(t, "the session's process to be gone", func() bool {
			state := processState(t, pid)
			return state == "" || state == "Z"
		})
		s.Stop()
	}
}

// processState is a process's state letter, or "" when it does not exist.
func processState(t *testing.T, pid int) string {
	if err := syscall.Kill(pid, 0); err == syscall.ESRCH {
		return ""
	}
	out, _ := exec.Command("ps", "-o", "state=", "-p", fmt.Sprint(pid)).Output()
	return strings.TrimSpace(string(out))
}

// A server that cannot start says why.
func TestStartFailure(t *testing.T) {
	fake := &recorder{T: t}
	func() {
		defer func() { recover() }()
		Old(t).StartServer(fake, Config{Extra: []string{"NoSuchKeyword yes"}})
	}()
	if !strings.Contains(fake.fatal, "Bad configuration option: NoSuchKeyword") {
		t.Errorf("StartServer failed with %q", fake.fatal)
	}
}

// recorder keeps a Fatalf for itself.
type recorder struct {
	*testing.T
	fatal string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.fatal = fmt.Sprintf(format, args...)
	panic(r.fatal)
}

// The fetched programs load nothing of the machine's: a newer libc with an
// older library would fail in places that no login reaches.
func TestNewLoadsItsOwnLibraries(t *testing.T) {
	o := New(t)
	for _, program := range []string{o.SSH, o.SSHD, o.sshdSession, o.sshdAuth, o.SFTPServer, o.SSHKeygen, o.SSHAgent, o.SSHAdd} {
		out, err := exec.Command("ldd", program).Output()
		if err != nil {
			t.Fatalf("ldd %s: %v", program, err)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "/") && !strings.Contains(line, newDir) {
				t.Errorf("%s loads %s", program, strings.TrimSpace(line))
			}
		}
	}
}

// waitFor waits for what nothing announces.
var waitFor = testkit.WaitFor

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
