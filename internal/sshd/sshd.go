// Package sshd runs a private SSH server of OpenSSH's on a loopback port, as the
// user who runs this program and for that user alone: for the demonstration, and
// for tests. Nothing of the user's ~/.ssh is read or written.
package sshd

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"

	"vmux/internal/process"
)

// Config is how a server is run. One with neither keys nor CAs lets nobody in.
type Config struct {
	SSHD, SSHKeygen string // absolute paths of the programs, or sshd does not start
	Dir             string // a folder for the server's files and its log, sshd.log

	AuthorizedKeys    []string // lines of authorized_keys
	TrustedUserCAKeys []string // public keys of CAs, whose certificates name the user
	Extra             []string // lines of sshd_config, which win over those written here
}

// Server is a running sshd.
type Server struct {
	*process.Process
	User    string // who can log in
	Port    int    // on 127.0.0.1
	HostKey string // the public host key, one line of "type base64"

	dir       string
	knownHost string // its line of known_hosts
}

// searchPath is the PATH of sshd and of what it starts, so that nothing depends on
// what else the user has installed.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Start runs a server, and returns when it listens.
func Start(ctx context.Context, c Config) (*Server, error) {
	s := &Server{dir: c.Dir}
	if err := s.prepare(ctx, c); err != nil {
		return nil, fmt.Errorf("prepare sshd: %w", err)
	}
	for range 5 { // somebody may take the port between the choice and the start
		err := s.listen(ctx, c)
		if err == nil {
			return s, nil
		}
		if !strings.Contains(err.Error(), "Address already in use") {
			return nil, err
		}
	}
	return nil, fmt.Errorf("sshd: no port stays free")
}

// prepare makes the host key, finds out the user, and writes all files but the
// configuration.
func (s *Server) prepare(ctx context.Context, c Config) error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	s.User = me.Username
	if os.Geteuid() == 0 { // where an sshd of root's locks its unprivileged half in
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return err
		}
	}
	keygen := exec.CommandContext(ctx, c.SSHKeygen, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", s.Path("host_key"))
	if out, err := keygen.CombinedOutput(); err != nil {
		return fmt.Errorf("make a host key: %w: %s", err, bytes.TrimSpace(out))
	}
	public, err := os.ReadFile(s.Path("host_key.pub"))
	if err != nil {
		return err
	}
	s.HostKey = strings.TrimSpace(string(public))
	if err := s.Permit(c.AuthorizedKeys...); err != nil {
		return err
	}
	return s.write("trusted_user_ca_keys", c.TrustedUserCAKeys)
}

// Permit replaces the lines of authorized_keys, from the next login on.
func (s *Server) Permit(lines ...string) error { return s.write("authorized_keys", lines) }

// Path is that of one of the server's files.
func (s *Server) Path(name string) string { return filepath.Join(s.dir, name) }

func (s *Server) write(name string, lines []string) error {
	return os.WriteFile(s.Path(name), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func (s *Server) listen(ctx context.Context, c Config) (err error) {
	if s.Port, err = FreePort(); err != nil {
		return err
	}
	s.knownHost = fmt.Sprintf("[127.0.0.1]:%d %s", s.Port, s.HostKey)
	if err := s.write("sshd_config", append(c.Extra[:len(c.Extra):len(c.Extra)], s.configuration()...)); err != nil {
		return fmt.Errorf("prepare sshd: %w", err)
	}
	cmd := exec.Command(c.SSHD, "-D", "-e", "-f", s.Path("sshd_config"))
	cmd.Env = []string{"PATH=" + searchPath}
	if s.Process, err = process.Start("sshd", cmd, s.Path("sshd.log")); err != nil {
		return err
	}
	// sshd's own word: a connection would not tell it from another on this port.
	if err := s.WaitForLog(ctx, fmt.Sprintf("Server listening on 127.0.0.1 port %d.", s.Port)); err != nil {
		s.Stop()
		return err
	}
	return nil
}

// configuration is the sshd_config. Of each keyword sshd takes the first line.
func (s *Server) configuration() []string {
	pam := "no"
	if rootIsLocked() {
		pam = "yes" // which leaves it to PAM whether that matters for a login by key
	}
	return []string{
		fmt.Sprintf("ListenAddress 127.0.0.1:%d", s.Port),
		"HostKey " + s.quoted("host_key"),
		"PidFile none",
		"LogLevel VERBOSE", // names the key or certificate of each login
		"AuthenticationMethods publickey",
		"PermitRootLogin prohibit-password",
		"UsePAM " + pam,
		"StrictModes no", // the files are in a scratch folder
		"AuthorizedKeysFile " + s.quoted("authorized_keys"),
		"TrustedUserCAKeys " + s.quoted("trusted_user_ca_keys"),
		"PermitUserRC no",
		"PrintMotd no",
		"PrintLastLog no",
	}
}

// rootIsLocked reports that sshd would not let root in on its own account.
func rootIsLocked() bool {
	shadow, err := os.ReadFile("/etc/shadow")
	if err != nil || os.Geteuid() != 0 {
		return false
	}
	return bytes.HasPrefix(shadow, []byte("root:!")) || bytes.Contains(shadow, []byte("\nroot:!"))
}

// WriteClientConfig writes an ssh_config into dir, beside its known_hosts, and
// returns its path, for whatever takes `ssh -F PATH`. Under it, host is this
// server. Keys come from the agent at the socket and nowhere else.
func (s *Server) WriteClientConfig(dir, host, socket string, extra ...string) (path string, err error) {
	knownHosts := filepath.Join(dir, "known_hosts")
	lines := append([]string{
		"Host " + host,
		"HostName 127.0.0.1",
		fmt.Sprintf("Port %d", s.Port),
		"User " + s.User,
		`UserKnownHostsFile "` + knownHosts + `"`,
		"GlobalKnownHostsFile /dev/null",
		"StrictHostKeyChecking yes",
		"PreferredAuthentications publickey",
		`IdentityAgent "` + socket + `"`,
		"IdentityFile none",
		"ControlPath none",
	}, extra...)
	path = filepath.Join(dir, "ssh_config")
	for name, text := range map[string]string{knownHosts: s.knownHost, path: strings.Join(lines, "\n")} {
		if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
			return "", fmt.Errorf("configure an ssh client: %w", err)
		}
	}
	return path, nil
}

// Accepted returns what the last login that was logged after offset bytes was let
// in by: the type and the fingerprint of key or certificate. sshd writes it before
// it lets the client run anything.
func (s *Server) Accepted(offset int) (by string) {
	for line := range strings.Lines(s.Log()[offset:]) {
		if _, after, ok := strings.Cut(line, "Accepted publickey for "); ok {
			_, by, _ = strings.Cut(after, "ssh2: ")
		}
	}
	return strings.TrimSpace(by)
}

// Stop ends the server and all its sessions. It may be called twice.
func (s *Server) Stop() {
	select {
	case <-s.Exited:
		return
	default:
	}
	// Each session is a process group of its own, and once the listener is gone
	// nothing tells whose it was: so first the list, then the end.
	sessions := descendants(s.PID())
	s.Process.Stop()
	for _, pid := range sessions {
		if session, err := os.FindProcess(pid); err == nil {
			_ = session.Kill() // it may have ended with the listener
		}
	}
}

// descendants lists the processes below one. It asks ps, which Linux and macOS
// share; without an answer the list is empty.
func descendants(root int) []int {
	table, _ := exec.Command("ps", "-A", "-o", "ppid=,pid=").Output()
	children := map[int][]int{}
	for line := range strings.Lines(string(table)) {
		var parent, pid int
		if _, err := fmt.Sscan(line, &parent, &pid); err == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	found := children[root]
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

func (s *Server) quoted(name string) string { return `"` + s.Path(name) + `"` }

// FreePort returns a port of the loopback interface that nobody listens at.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
