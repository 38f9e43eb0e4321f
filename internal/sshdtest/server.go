package sshdtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startTimeout bounds how long an sshd may take to listen. It is generous:
// test machines are busy.
const startTimeout = 30 * time.Second

// Server is a running sshd on a loopback port. It logs in the user that runs
// the tests, by public key only.
type Server struct {
	OpenSSH OpenSSH
	User    string // who can log in
	Port    int    // on 127.0.0.1
	HostKey string // the public host key, one line of "type base64"

	dir      string
	log      *log
	process  *exec.Cmd
	exited   chan struct{}
	stopOnce sync.Once
	hostLine string // for known_hosts
}

// StartServer runs a private `sshd -D -e` until the test ends. It returns when
// the server listens.
func (o OpenSSH) StartServer(t TB, config Config) *Server {
	t.Helper()
	s := &Server{OpenSSH: o, dir: t.TempDir()}
	if err := s.prepare(config); err != nil {
		t.Fatalf("prepare sshd: %v", err)
	}
	if err := s.startOnFreePort(config); err != nil {
		t.Fatalf("start sshd %s: %v", o.Version, err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Log returns what the server has logged so far.
func (s *Server) Log() string { return s.log.String() }

// WaitForLog waits until the log has a text. Since sshd logs in its own time,
// a test that looks into Log at once may look too early.
func (s *Server) WaitForLog(t TB, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	found := func(log string) bool { return strings.Contains(log, text) }
	if err := s.log.wait(ctx, found); err != nil {
		t.Fatalf("waiting for %q in sshd's log: %v\n%s", text, err, s.Log())
	}
}

// Permit replaces the lines of authorized_keys, from the next login on.
func (s *Server) Permit(t TB, authorizedKeys ...string) {
	t.Helper()
	text := strings.Join(authorizedKeys, "\n") + "\n"
	if err := os.WriteFile(s.path("authorized_keys"), []byte(text), 0o600); err != nil {
		t.Fatalf("permit other keys: %v", err)
	}
}

// Stop ends the server and all its sessions. It may be called twice.
func (s *Server) Stop() {
	s.stopOnce.Do(s.kill)
}

func (s *Server) kill() {
	// Each session is a process group of its own, and once the listener
	// is gone nothing tells whose it was: so first the list, then the end.
	sessions := descendants(s.process.Process.Pid)
	s.process.Process.Kill()
	<-s.exited
	for _, pid := range sessions {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	s.log.close()
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

// prepare makes the host key, finds out the user, and writes all files but
// the configuration.
func (s *Server) prepare(config Config) error {
	current, err := user.Current()
	if err != nil {
		return err
	}
	s.User = current.Username
	if os.Geteuid() == 0 {
		if err := prepareRoot(); err != nil {
			return err
		}
	}
	hostKey := s.path("host_key")
	out, err := exec.Command(s.OpenSSH.SSHKeygen, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", hostKey).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make a host key: %w: %s", err, out)
	}
	public, err := os.ReadFile(hostKey + ".pub")
	if err != nil {
		return err
	}
	s.HostKey = strings.TrimSpace(string(public))
	return config.writeFiles(s.dir)
}

// prepareRoot makes what an sshd of root's needs: the folder it locks its
// unprivileged half into, and an account that is not locked.
func prepareRoot() error {
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		return err
	}
	shadow, err := os.ReadFile("/etc/shadow")
	if err != nil {
		return nil // no such file here: nothing can be locked in it
	}
	for line := range strings.Lines(string(shadow)) {
		if strings.HasPrefix(line, "root:!") {
			return errors.New("root's account is locked, so no sshd lets it in: run the tests as an ordinary user")
		}
	}
	return nil
}

// startOnFreePort tries again when somebody takes the port between the choice
// and the start.
func (s *Server) startOnFreePort(config Config) error {
	var err error
	for range 5 {
		if s.Port, err = freePort(); err != nil {
			return err
		}
		if err = s.start(config); err == nil {
			s.hostLine = fmt.Sprintf("[127.0.0.1]:%d %s\n", s.Port, s.HostKey)
			return nil
		}
		if !strings.Contains(err.Error(), "Address already in use") {
			return err
		}
	}
	return err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) start(config Config) error {
	path := s.path("sshd_config")
	if err := os.WriteFile(path, []byte(config.text(s)), 0o600); err != nil {
		return err
	}
	log, stderr, err := newLog()
	if err != nil {
		return err
	}
	defer stderr.Close()
	s.log = log
	s.process = exec.Command(s.OpenSSH.SSHD, "-D", "-e", "-f", path)
	s.process.Stderr = stderr
	s.process.Env = []string{"PATH=" + searchPath}
	if err := s.process.Start(); err != nil {
		log.close()
		return err
	}
	s.exited = make(chan struct{})
	go func() {
		s.process.Wait()
		close(s.exited)
	}()
	stderr.Close() // or the log would never see that sshd is gone
	return s.waitUntilListening()
}

// waitUntilListening waits for sshd's own word: a successful connection would
// not tell this sshd from another on the same port.
func (s *Server) waitUntilListening() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	listening := func(log string) bool { return strings.Contains(log, "Server listening on 127.0.0.1 ") }
	if err := s.log.wait(ctx, listening); err != nil {
		s.kill()
		return fmt.Errorf("%w; it logged:\n%s", err, s.Log())
	}
	return nil
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// HostKeyFile is the private host key, for an attacker who is root there.
func (s *Server) HostKeyFile() string { return s.path("host_key") }
