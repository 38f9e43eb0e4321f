package cli

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
)

// demoTools are the programs of OpenSSH that the demonstration runs, by path.
type demoTools struct{ ssh, sshAdd, sshKeygen, sshd string }

func findDemoTools() (demoTools, error) {
	var t demoTools
	for name, path := range map[string]*string{"ssh": &t.ssh, "ssh-add": &t.sshAdd, "ssh-keygen": &t.sshKeygen, "sshd": &t.sshd} {
		found, err := findProgram(name)
		if err != nil {
			return t, withHint(fmt.Errorf("the demonstration needs %s, which is not installed here", name), "%s", installHint())
		}
		*path = found
	}
	return t, nil
}

// serverFolders are where servers are, beside the PATH of an ordinary user.
var serverFolders = []string{"/usr/sbin", "/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"}

// findProgram returns an absolute path, without which sshd does not start.
func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range serverFolders {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// installHint names the command that installs OpenSSH's client and server here.
func installHint() string {
	for _, manager := range []struct{ program, command string }{
		{"apt-get", "sudo apt-get install openssh-client openssh-server"},
		{"dnf", "sudo dnf install openssh-clients openssh-server"},
		{"apk", "sudo apk add openssh"},
		{"pacman", "sudo pacman -S openssh"},
		{"zypper", "sudo zypper install openssh"},
		{"brew", "brew install openssh"},
	} {
		if _, err := exec.LookPath(manager.program); err == nil {
			return manager.command
		}
	}
	return "install OpenSSH's client and server, then run vmux demo again"
}

// demoSSHD is a private sshd on a loopback port. It lets in the user who runs
// it, by the one public key or by a certificate of the one CA, and nobody else.
type demoSSHD struct {
	*child
	config string // for `ssh -F`, with the host `demo`
}

// start runs it below dir. Socket is the agent's, for the client's config.
func startDemoSSHD(ctx context.Context, t demoTools, dir, authorized, ca, socket string) (*demoSSHD, error) {
	me, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("find out who runs this: %w", err)
	}
	hostKey := filepath.Join(dir, "host_key")
	if out, err := exec.CommandContext(ctx, t.sshKeygen, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", hostKey).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make a host key: %w: %s", err, bytes.TrimSpace(out))
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	public, err := os.ReadFile(hostKey + ".pub")
	if err != nil {
		return nil, fmt.Errorf("read the host key: %w", err)
	}
	d := &demoSSHD{config: filepath.Join(dir, "ssh_config")}
	files := map[string]string{
		"authorized_keys": authorized + "\n",
		"ca.pub":          ca + "\n",
		"known_hosts":     fmt.Sprintf("[127.0.0.1]:%d %s", port, public),
		"ssh_config":      demoClientConfig(dir, me.Username, socket, port),
		"sshd_config":     demoServerConfig(dir, port, ca),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("prepare sshd: %w", err)
		}
	}
	if os.Geteuid() == 0 { // where an sshd of root's locks its unprivileged half in
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return nil, fmt.Errorf("prepare sshd: %w", err)
		}
	}
	cmd := exec.Command(t.sshd, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	if d.child, err = startChild("sshd", cmd, filepath.Join(dir, "sshd.log")); err != nil {
		return nil, err
	}
	// sshd's own word: a connection would not tell it from another on this port.
	if err := d.waitLog(ctx, "Server listening on 127.0.0.1 "); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

func demoServerConfig(dir string, port int, ca string) string {
	pam := "no"
	if rootIsLocked() {
		pam = "yes" // which leaves it to PAM whether that matters for a login by key
	}
	lines := []string{
		fmt.Sprintf("ListenAddress 127.0.0.1:%d", port),
		"HostKey " + quoted(dir, "host_key"),
		"PidFile none",
		"LogLevel VERBOSE", // names the key or certificate of each login
		"AuthenticationMethods publickey",
		"PermitRootLogin prohibit-password",
		"UsePAM " + pam,
		"StrictModes no", // the files are in a scratch folder
		"AuthorizedKeysFile " + quoted(dir, "authorized_keys"),
		"TrustedUserCAKeys " + quoted(dir, "ca.pub"),
		"PermitUserRC no",
		"PrintMotd no",
		"PrintLastLog no",
	}
	if strings.HasPrefix(ca, "sk-") { // which sshd accepts by itself since OpenSSH 10.3
		lines = append(lines, "CASignatureAlgorithms +webauthn-sk-ecdsa-sha2-nistp256@openssh.com")
	}
	return strings.Join(lines, "\n") + "\n"
}

// rootIsLocked reports that sshd would not let root in on its own account.
func rootIsLocked() bool {
	shadow, err := os.ReadFile("/etc/shadow")
	if err != nil || os.Geteuid() != 0 {
		return false
	}
	return bytes.HasPrefix(shadow, []byte("root:!")) || bytes.Contains(shadow, []byte("\nroot:!"))
}

func demoClientConfig(dir, username, socket string, port int) string {
	lines := []string{
		"Host demo",
		"HostName 127.0.0.1",
		fmt.Sprintf("Port %d", port),
		"User " + username,
		"IdentityAgent \"" + socket + "\"",
		"IdentityFile none", // what is in ~/.ssh has no part in this
		"UserKnownHostsFile " + quoted(dir, "known_hosts"),
		"GlobalKnownHostsFile /dev/null",
		"StrictHostKeyChecking yes",
		"PreferredAuthentications publickey",
		"ControlPath none",
	}
	return strings.Join(lines, "\n") + "\n"
}

func quoted(dir, name string) string { return `"` + filepath.Join(dir, name) + `"` }

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// accepted returns the last `Accepted publickey` line that was logged after
// offset, cut to what names key or certificate. sshd writes it before it lets
// the client run anything.
func (d *demoSSHD) accepted(offset int) (line string) {
	for l := range strings.Lines(d.read()[offset:]) {
		if _, after, ok := strings.Cut(l, "Accepted publickey for "); ok {
			_, line, _ = strings.Cut(after, "ssh2: ")
		}
	}
	return strings.TrimSpace(line)
}
