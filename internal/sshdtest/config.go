package sshdtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// searchPath is the PATH of every program started here, so that nothing
// depends on what else the user has installed. (A python of the user's own,
// for instance, has no paramiko.)
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Config is what a server accepts. The zero value lets nobody in.
type Config struct {
	// AuthorizedKeys are lines of authorized_keys, options and all.
	AuthorizedKeys []string

	// TrustedUserCAKeys are public key lines of the CAs whose certificates
	// the server accepts.
	TrustedUserCAKeys []string

	// AuthorizedPrincipals are the principals that let a certificate in. When
	// empty, the certificate must name the user.
	AuthorizedPrincipals []string

	// MaxAuthTries is how many keys a client may offer; 0 means 6, as in sshd.
	MaxAuthTries int

	// DisallowAgentForwarding forbids `ssh -A`, which is allowed otherwise.
	// (An sshd of 10.1 or newer puts the forwarded socket into ~/.ssh/agent of
	// the user; nothing else of ~/.ssh is touched.)
	DisallowAgentForwarding bool

	// Extra are lines of sshd_config. They win over those written here.
	Extra []string
}

func (c Config) writeFiles(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "home"), 0o700); err != nil {
		return err
	}
	for name, lines := range map[string][]string{
		"authorized_keys":       c.AuthorizedKeys,
		"trusted_user_ca_keys":  c.TrustedUserCAKeys,
		"authorized_principals": c.AuthorizedPrincipals,
	} {
		text := strings.Join(lines, "\n") + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// text is the sshd_config. Of each keyword sshd takes the first line.
func (c Config) text(s *Server) string {
	lines := append([]string{}, c.Extra...)
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }

	add("ListenAddress 127.0.0.1:%d", s.Port)
	add("HostKey %s", s.path("host_key"))
	add("PidFile none")
	add("LogLevel VERBOSE") // names the key or certificate of each login
	add("Subsystem sftp %s", s.OpenSSH.SFTPServer)

	add("AuthenticationMethods publickey")
	add("PermitRootLogin prohibit-password")
	add("UsePAM no")
	add("StrictModes no") // the files lie in a test's scratch folder
	add("AuthorizedKeysFile %s", s.path("authorized_keys"))
	if len(c.TrustedUserCAKeys) > 0 {
		add("TrustedUserCAKeys %s", s.path("trusted_user_ca_keys"))
	}
	if len(c.AuthorizedPrincipals) > 0 {
		add("AuthorizedPrincipalsFile %s", s.path("authorized_principals"))
	}
	if c.MaxAuthTries > 0 {
		add("MaxAuthTries %d", c.MaxAuthTries)
	}
	if c.DisallowAgentForwarding {
		add("AllowAgentForwarding no")
	}

	// What the user has in ~ and the machine in /etc is not under test. (A shell
	// that sshd starts reads ~/.bashrc, and some of those speak.)
	add("SetEnv HOME=%s", s.path("home"))
	add("PermitUserRC no")
	add("PrintMotd no")
	add("PrintLastLog no")

	// Tests open many connections at once, and fail to log in on purpose.
	add("MaxStartups 1000")
	if s.OpenSSH.AtLeast(9, 8) {
		add("PerSourcePenalties no")
	}
	if s.OpenSSH.sshdSession != "" {
		add("SshdSessionPath %s", s.OpenSSH.sshdSession)
		add("SshdAuthPath %s", s.OpenSSH.sshdAuth)
	}
	return strings.Join(lines, "\n") + "\n"
}
