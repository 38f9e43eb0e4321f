package sshdtest

import (
	"context"
	"os"
	"os/exec"
)

// Host is the server's name in the clients' configuration: `scp file host:`.
const Host = "testhost"

// ClientConfig writes an ssh_config under which Host is this server, and
// returns its path, for whatever takes `ssh -F PATH`: rsync, git, further
// hops. Keys come from the agent at agentSock and nowhere else; when it is
// empty, there are none. Nothing of the user's ~/.ssh is read or written.
func (s *Server) ClientConfig(t TB, agentSock string) string {
	t.Helper()
	if agentSock == "" {
		agentSock = "none"
	}
	config, err := s.WriteClientConfig(t.TempDir(), Host, agentSock, "UpdateHostKeys no", "BatchMode yes", "ConnectTimeout 30")
	if err != nil {
		t.Fatalf("%v", err)
	}
	return config
}

// Command is `ssh testhost ARGS…` with the keys of agentSock. ARGS may begin
// with options of ssh's.
func (s *Server) Command(ctx context.Context, t TB, client OpenSSH, agentSock string, args ...string) *exec.Cmd {
	t.Helper()
	args = append([]string{"-F", s.ClientConfig(t, agentSock), Host}, args...)
	return command(ctx, client.SSH, args...)
}

// SCP is `scp ARGS…`, in which files on the server are written `testhost:PATH`.
func (s *Server) SCP(ctx context.Context, t TB, client OpenSSH, agentSock string, args ...string) *exec.Cmd {
	t.Helper()
	// scp and sftp run /usr/bin/ssh unless told otherwise.
	args = append([]string{"-S", client.SSH, "-F", s.ClientConfig(t, agentSock)}, args...)
	return command(ctx, client.SCP, args...)
}

// SFTP is `sftp ARGS…`; its commands can be given with `-b FILE`.
func (s *Server) SFTP(ctx context.Context, t TB, client OpenSSH, agentSock string, args ...string) *exec.Cmd {
	t.Helper()
	args = append([]string{"-S", client.SSH, "-F", s.ClientConfig(t, agentSock)}, args...)
	return command(ctx, client.SFTP, args...)
}

// command gives a program an environment with no agent, no display and no
// language but C.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{"PATH=" + searchPath, "HOME=" + os.Getenv("HOME"), "LC_ALL=C"}
	return cmd
}
