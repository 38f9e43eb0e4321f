package test

import (
	"fmt"
	"strings"
	"testing"

	"vmux/internal/sshdtest"
)

// The sheet names the server however ssh finds its key: with names hashed, as on
// Debian, behind an alias, a port, HostKeyAlias, a file or a command of one's own.
func TestServerHasANameHoweverSSHFindsItsKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		accepts := sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}}
		for _, c := range []struct{ name, known, config, want string }{
			{"an alias and a port", "[127.0.0.1]:PORT", "UserKnownHostsFile KNOWN", "[127.0.0.1]:PORT"},
			{"HostKeyAlias", "real.example", "UserKnownHostsFile KNOWN\nHostKeyAlias real.example", "real.example"},
			{"GlobalKnownHostsFile", "[127.0.0.1]:PORT", "GlobalKnownHostsFile KNOWN", "[127.0.0.1]:PORT"},
			{"a token", "[127.0.0.1]:PORT", "UserKnownHostsFile KNOWNPLACE%n", "[127.0.0.1]:PORT"},
			{"Match exec", "real.example", "UserKnownHostsFile KNOWN\nMatch exec true\nHostKeyAlias real.example", "real.example"},
			{"KnownHostsCommand", "unused.example", "KnownHostsCommand /bin/echo %H %t %K", "alias"},
			{"no known_hosts", "unused.example", "UserKnownHostsFile /dev/null\nStrictHostKeyChecking no", "alias"},
		} {
			t.Run(c.name, func(t *testing.T) {
				w := &world{TB: t, computer: w.computer, phone: w.phone}
				server := o.StartServer(t, accepts)
				port := fmt.Sprint(server.Port)
				known := w.computer.file("alias", strings.ReplaceAll(c.known, "PORT", port)+" "+server.HostKey+"\n")
				o.Keygen(t, "-q", "-H", "-f", known)
				text := strings.NewReplacer("KNOWNPLACE", strings.TrimSuffix(known, "alias"), "KNOWN", known).Replace(c.config)
				config := w.computer.file("ssh_config", "Include "+w.computer.file("more", "Host alias\n"+text+"\n")+
					"\nHost alias\nHostName 127.0.0.1\nPort "+port+"\nUser "+server.User+`
UserKnownHostsFile none
GlobalKnownHostsFile none
StrictHostKeyChecking yes
UpdateHostKeys no
BatchMode yes
IdentityFile none
IdentityAgent `+w.computer.socket()+"\n")
				before := len(w.records())
				must(t, w.runs(o, config, "alias", "true"))
				want := strings.ReplaceAll(c.want, "PORT", port) + " (claimed)"
				if got := w.since(before, 1)[0].says("name"); got != want {
					t.Errorf("name %q, want %q", got, want)
				}
			})
		}
	})
}
