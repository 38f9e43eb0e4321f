package sshdtest

import (
	"context"

	"vmux/internal/sshd"
)

// Server is a running sshd on a loopback port. It logs in the user that runs
// the tests, by public key only.
type Server struct {
	OpenSSH OpenSSH
	*sshd.Server
}

// StartServer runs a private `sshd -D -e` until the test ends. It returns when
// the server listens.
func (o OpenSSH) StartServer(t TB, config Config) *Server {
	t.Helper()
	dir := t.TempDir()
	extra, err := config.lines(o, dir)
	if err != nil {
		t.Fatalf("prepare sshd: %v", err)
	}
	server, err := sshd.Start(context.Background(), sshd.Config{
		SSHD: o.SSHD, SSHKeygen: o.SSHKeygen, Dir: dir,
		AuthorizedKeys: config.AuthorizedKeys, TrustedUserCAKeys: config.TrustedUserCAKeys, Extra: extra,
	})
	if err != nil {
		t.Fatalf("start sshd %s: %v", o.Version, err)
	}
	t.Cleanup(server.Stop)
	return &Server{o, server}
}

// WaitForLog waits until the log has a text. Since sshd logs in its own time,
// a test that looks into Log at once may look too early.
func (s *Server) WaitForLog(t TB, text string) {
	t.Helper()
	if err := s.Server.WaitForLog(context.Background(), text); err != nil {
		t.Fatalf("%v", err)
	}
}

// Permit replaces the lines of authorized_keys, from the next login on.
func (s *Server) Permit(t TB, authorizedKeys ...string) {
	t.Helper()
	if err := s.Server.Permit(authorizedKeys...); err != nil {
		t.Fatalf("permit other keys: %v", err)
	}
}

// HostKeyFile is the private host key, for an attacker who is root there.
func (s *Server) HostKeyFile() string { return s.Path("host_key") }
