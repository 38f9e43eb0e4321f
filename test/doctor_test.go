package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh/agent"

	"vmux/internal/doctor"
	"vmux/internal/sshdtest"
)

// shim is a computer whose ssh reads a configuration of the test's own, since OpenSSH
// takes the home folder from the user database, and whose systemctl says what it is told.
type shim struct {
	*home
	bin string
}

func (w *world) shim(ssh string) *shim {
	w.Helper()
	s := &shim{w.computer, filepath.Join(w.computer.dir, "bin")}
	if err := os.Mkdir(s.bin, 0o700); err != nil {
		w.Fatal(err)
	}
	s.file("ssh_config", "")
	s.file("bin/ssh", fmt.Sprintf("#!/bin/sh\nexec %s -F %s/ssh_config \"$@\"\n", ssh, s.dir))
	s.systemctl("", "UnitFileState=enabled")
	for _, name := range []string{"ssh", "systemctl"} {
		if err := os.Chmod(filepath.Join(s.bin, name), 0o700); err != nil {
			w.Fatal(err)
		}
	}
	s.in(s.socket())
	return s
}

// in is a shell with that SSH_AUTH_SOCK.
func (s *shim) in(socket string) {
	s.env = []string{"PATH=" + s.bin + ":/usr/bin:/bin", "SSH_AUTH_SOCK=" + socket}
}

func (s *shim) systemctl(environment, service string) {
	s.file("bin/systemctl", fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *show-environment*) echo '%s' ;; *) echo '%s' ;; esac\n", environment, service))
}

// finds is what `vmux doctor` names, but for how fast this machine is and that one phone
// is one way in.
func (s *shim) finds(args ...string) string {
	s.t.Helper()
	r := s.try(append([]string{"doctor", "--json"}, args...)...)
	var findings []doctor.Finding
	if err := json.Unmarshal([]byte(r.stdout), &findings); err != nil {
		s.t.Fatalf("%v: %+v", err, r)
	}
	var bad []string
	for _, f := range findings {
		if f.Level != doctor.OK && f.Check != "latency" && f.Check != "ways in" {
			bad = append(bad, string(f.Level)+" "+f.Check+" "+f.Code)
		}
	}
	text := strings.Join(bad, "; ")
	if failed := strings.Contains(text, string(doctor.Failure)); failed != (r.exit == 1) || r.exit > 1 {
		s.t.Errorf("exit status %d with %q: %s", r.exit, text, r.stderr)
	}
	return text
}

// Broken worlds, made of real programs: vmux doctor names what is broken, and nothing
// else; and when it is whole again, nothing.
func TestDoctorInBrokenWorlds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	o := sshdtest.Old(t)
	s := w.shim(o.SSH)
	public := w.publicFile("ssh-ed25519")
	config := func(lines string) func() {
		return func() { s.file("ssh_config", lines+"\n") }
	}
	keys := agent.NewKeyring()
	other := filepath.Join(s.dir, "other.sock")
	l, err := net.Listen("unix", other)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(keys, conn)
		}
	}()
	whole := func() {
		s.in(s.socket())
		s.file("ssh_config", "")
		s.systemctl("", "UnitFileState=enabled")
		if err := os.Chmod(filepath.Join(s.dir, "agent"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	manage := func(do func(agent.ExtendedAgent) error) func() {
		return func() {
			conn, err := net.Dial("unix", s.socket())
			if err == nil {
				err = do(agent.NewClient(conn))
				conn.Close()
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	for _, broken := range []struct {
		name  string
		make  func()
		want  string
		after func()
	}{
		{"nothing", func() {}, "", nil},
		{"no agent named", func() { s.in("") }, "failure shell no-agent", nil},
		{"another agent", func() { s.in(other) }, "failure shell other-agent", nil},
		{"a ~ that no shell has expanded", func() { s.in("~/agent.sock") }, "failure shell other-agent", nil},
		{"an agent that has gone", func() { s.in("/nonexistent") }, "failure shell other-agent", nil},
		{"IdentityAgent none", config("IdentityAgent none"), "failure shell none", nil},
		{"IdentityAgent of another", config("IdentityAgent " + other), "failure shell identity-agent", nil},
		{"IdentityAgent by the environment", config("IdentityAgent $SSH_AUTH_SOCK"), "", nil},
		{"IdentityAgent below the home folder", func() { s.in(""); config("IdentityAgent ${HOME}/agent.sock")() }, "", nil},
		{"no key of that kind", config("PubkeyAcceptedAlgorithms ecdsa-sha2-nistp256"), "failure ssh's configuration algorithms", nil},
		{"IdentityAgent alone", func() { s.in(""); config("IdentityAgent " + s.socket())() }, "", nil},
		{"named keys only", config("IdentitiesOnly yes"), "failure ssh's configuration identities-only", nil},
		{"named keys, and the phone's", config("IdentitiesOnly yes\nIdentityFile " + public), "", nil},
		{"named keys, by what ssh expands", func() {
			config("IdentitiesOnly yes\nIdentityFile ${KEYS}/%n\nCertificateFile ${KEYS}/%n.pub")()
			s.env = append(s.env, "KEYS="+s.dir)
			key, err := os.ReadFile(public)
			if err != nil {
				t.Error(err)
			}
			s.file("vmux-doctor.invalid.pub", string(key))
		}, "", nil},
		{"no keys", config("PubkeyAuthentication no"), "failure ssh's configuration keys-off", nil},
		{"a password first", config("PreferredAuthentications password"), "failure ssh's configuration keys-off", nil},
		{"a wrong word", config("IdentityAgents x"), "failure ssh's configuration refused", nil},
		{"no certificate file", config("CertificateFile ~/.ssh/nonexistent.pub"), "warning ssh's configuration no-certificate-file", nil},
		{"a configuration that hangs", config("Match exec \"sleep 100\"\n    User x"), "warning looking late", nil},
		{"an open state folder", func() {
			if err := os.Chmod(filepath.Join(s.dir, "agent"), 0o777); err != nil {
				t.Error(err)
			}
		}, "failure permissions writable", nil},
		{"a desktop without", func() { s.systemctl("DISPLAY=:0", "UnitFileState=enabled") }, "warning desktop no-agent", nil},
		{"a desktop with another", func() { s.systemctl("DISPLAY=:0\nSSH_AUTH_SOCK="+other, "UnitFileState=enabled") }, "warning desktop other-agent", nil},
		{"not started at login", func() { s.systemctl("", "UnitFileState=disabled") }, "warning service not-enabled", nil},
		{"a socket for everybody", func() {
			if err := os.Chmod(s.socket(), 0o666); err != nil {
				t.Error(err)
			}
		}, "warning socket mode", func() {
			if err := os.Chmod(s.socket(), 0o600); err != nil {
				t.Error(err)
			}
		}},
		{"an open ~/.ssh", func() {
			if err := errors.Join(os.MkdirAll(filepath.Join(s.dir, ".ssh"), 0o700), os.Chmod(filepath.Join(s.dir, ".ssh"), 0o772)); err != nil {
				t.Error(err)
			}
		}, "failure permissions writable", func() {
			if err := os.Chmod(filepath.Join(s.dir, ".ssh"), 0o700); err != nil {
				t.Error(err)
			}
		}},
		{"locked", manage(func(a agent.ExtendedAgent) error { return a.Lock([]byte("x")) }), "failure lock locked",
			manage(func(a agent.ExtendedAgent) error { return a.Unlock([]byte("x")) })},
		{"no ssh", func() {
			if err := os.Rename(filepath.Join(s.bin, "ssh"), filepath.Join(s.bin, "hidden")); err != nil {
				t.Error(err)
			}
			s.env[0] = "PATH=" + s.bin
		}, "failure ssh missing", func() {
			if err := os.Rename(filepath.Join(s.bin, "hidden"), filepath.Join(s.bin, "ssh")); err != nil {
				t.Error(err)
			}
		}},
		{"the socket's file is gone", func() {
			if err := os.Rename(s.socket(), s.socket()+"-"); err != nil {
				t.Error(err)
			}
		}, "failure socket missing", func() {
			if err := os.Rename(s.socket()+"-", s.socket()); err != nil {
				t.Error(err)
			}
		}},
		{"no phone", func() { w.phoneRun.stop(); w.waitStatus("Phone not connected") }, "failure phone", func() { w.startPhone(); w.waitConnected() }},
		{"no agent", func() { w.agent.stop() }, "failure agent not-running", func() { w.startAgent(); w.waitConnected() }},
		{"a service that fails", func() { w.agent.stop(); s.systemctl("", "ActiveState=failed\nUnitFileState=enabled") }, "failure agent service-failed",
			func() { w.startAgent(); w.waitConnected() }},
		{"a hub that is away", func() { w.agent.stop(); w.startAgent("--hub", "http://localhost:1"); w.waitConnected() }, "warning hub not-connected",
			func() { w.agent.stop(); w.startAgent(); w.waitConnected() }},
		{"no agent behind", func() { w.agent.stop(); w.startAgent("--upstream", other+"-"); w.waitConnected() }, "warning other agents upstream",
			func() { w.agent.stop(); w.startAgent(); w.waitConnected() }},
	} {
		broken.make()
		got := s.finds()
		if got != broken.want && !(broken.name == "no phone" && strings.HasPrefix(got, "failure phone ") && !strings.Contains(got, ";")) {
			t.Errorf("%s: %q, want %q\n%s", broken.name, got, broken.want, s.try("doctor").stdout)
		}
		if broken.after != nil {
			broken.after()
		}
		whole()
	}
	report := s.try("doctor", "--report").stdout
	for _, private := range []string{s.dir, w.identity("ssh-ed25519").Fingerprint, "Connected to", filepath.Base(s.socket())} {
		if strings.Contains(report, private) {
			t.Errorf("%q in the report:\n%s", private, report)
		}
	}
	if !strings.HasPrefix(report, "vmux ") || !strings.Contains(report, "ok       phone: connected\n") {
		t.Errorf("the report:\n%s", report)
	}
}

// A desktop that reads no environment.d has started the terminal without an agent, whatever
// systemd says.
func TestDoctorAtADesktop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	s := w.shim(sshdtest.Old(t).SSH)
	s.systemctl("DISPLAY=:0\nSSH_AUTH_SOCK="+s.socket(), "UnitFileState=enabled")
	window := s.commandOf(deadline(t), "/bin/sh", "-c", `SSH_AUTH_SOCK=$1 $2 doctor; true`, "sh", s.socket(), vmux(t))
	window.Env = append(window.Env, "PATH="+s.bin+":/usr/bin:/bin", "DISPLAY=:0", "SSH_AUTH_SOCK=", "TMUX=", "STY=")
	out, err := window.Output()
	if err != nil || !strings.Contains(string(out), "warning  desktop: systemd was told of vmux, and the desktop that has started this terminal was not\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

// With --host it says of a server why it lets nobody in, and what it does not know.
func TestDoctorLogsIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	o := sshdtest.Old(t)
	s := w.shim(o.SSH)
	server := o.StartServer(t, sshdtest.Config{})
	known := filepath.Join(s.dir, "known")
	at := func(server *sshdtest.Server, lines string) string {
		s.file("known", fmt.Sprintf("[127.0.0.1]:%d %s\n", server.Port, server.HostKey))
		host := fmt.Sprintf("Host server\n  HostName 127.0.0.1\n  Port %d\n  User %s\n  UserKnownHostsFile %s\n", server.Port, server.User, known)
		s.file("ssh_config", host+lines)
		return host
	}
	at(server, "")
	finds := func(want string, host string) {
		t.Helper()
		if got := s.finds("--host", host); got != want {
			t.Errorf("%q, want %q\n%s", got, want, s.try("doctor", "--host", host).stdout)
		}
	}
	finds("failure server no-key", "server")
	server.Permit(t, w.identity("ssh-ed25519").PublicKey)
	finds("", "server")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at(server, fmt.Sprintf("  RemoteCommand tmux attach\n  SessionType none\n  StdinNull yes\n  ForkAfterAuthentication yes\n  LocalForward %d 127.0.0.1:1\n  ExitOnForwardFailure yes\n", taken.Addr().(*net.TCPAddr).Port))
	finds("", "server")
	permitted := []string{w.identity("ssh-ed25519").PublicKey}
	at(o.StartServer(t, sshdtest.Config{AuthorizedKeys: permitted, Extra: []string{"ForceCommand echo no shell here; exit 1"}}), "")
	finds("", "server") // a git host
	at(o.StartServer(t, sshdtest.Config{AuthorizedKeys: permitted, Extra: []string{"PasswordAuthentication yes", "AuthenticationMethods publickey,password"}}), "")
	finds("", "server")
	for passphrase, want := range map[string]string{"": "warning server other-key", "not asked for": "failure server no-key"} {
		key := filepath.Join(t.TempDir(), "key")
		o.Keygen(t, "-q", "-t", "ed25519", "-N", passphrase, "-f", key)
		public, err := os.ReadFile(key + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		at(o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{string(public)}}), "  IdentityFile "+key+"\n")
		finds(want, "server")
	}
	host := at(server, "")
	far := o.StartServer(t, sshdtest.Config{})
	s.file("far", fmt.Sprintf("[127.0.0.1]:%d %s\n", far.Port, far.HostKey))
	s.file("ssh_config", host+fmt.Sprintf("Host far\n  HostName 127.0.0.1\n  Port %d\n  User %s\n  UserKnownHostsFile %s\n  ProxyJump server\n",
		far.Port, far.User, filepath.Join(s.dir, "far")))
	finds("failure server no-key", "far") // though the one before it takes the key
	s.file("ssh_config", host)
	w.requestCertificate()
	finds("warning server no-ca", "server")
	s.file("ssh_config", host+"Host gone\n  HostName 127.0.0.1\n  Port 1\n")
	finds("failure server not-reached", "gone")
	if out := s.try("doctor", "--host", "gone").stdout; !strings.Contains(out, "gone is not reached: ssh: connect to host 127.0.0.1 port 1: ") {
		t.Errorf("why a server is not reached:\n%s", out)
	}
	s.file("ssh_config", strings.ReplaceAll(host, known, "/dev/null"))
	finds("failure server host-key", "server")
	if r := s.try("doctor", "--host", "-oProxyCommand=x"); r.exit != 2 {
		t.Errorf("an option for a host: %+v", r)
	}
}
