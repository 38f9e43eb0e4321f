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

// lines are those of sshd_config that only tests need. It makes the files that
// they name below dir.
func (c Config) lines(o OpenSSH, dir string) ([]string, error) {
	home, principals := filepath.Join(dir, "home"), filepath.Join(dir, "authorized_principals")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(principals, []byte(strings.Join(c.AuthorizedPrincipals, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	lines := append([]string{}, c.Extra...)
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	add("Subsystem sftp %s", o.SFTPServer)
	if len(c.AuthorizedPrincipals) > 0 {
		add("AuthorizedPrincipalsFile %s", principals)
	}
	if c.MaxAuthTries > 0 {
		add("MaxAuthTries %d", c.MaxAuthTries)
	}
	if c.DisallowAgentForwarding {
		add("AllowAgentForwarding no")
	}

	// What the user has in ~ and the machine in /etc is not under test. (A shell
	// that sshd starts reads ~/.bashrc, and some of those speak.)
	add("SetEnv HOME=%s", home)

	// Tests open many connections at once, and fail to log in on purpose.
	add("MaxStartups 1000")
	if o.AtLeast(9, 8) {
		add("PerSourcePenalties no")
	}
	if o.sshdSession != "" {
		add("SshdSessionPath %s", o.sshdSession)
		add("SshdAuthPath %s", o.sshdAuth)
	}
	return lines, nil
}
