package client

import (
	"os"
	"os/user"
	"slices"
	"strconv"

	"vmux/internal/sshagent"
	"vmux/internal/sshconfig"
	"vmux/internal/wire"
)

// Login is what an ssh that uses the agent is about to do. Its zero value says
// nothing.
type Login struct {
	sshconfig.Login
	// Copies: ssh-copy-id runs it, which puts a key on the server.
	Copies bool
}

// Login begins to read what a client that runs on this computer is about to do.
// Until that is known it may be for any key. It stays unknown of one that ends before
// all is read: without its command line, environment and folder it would pass for the
// login of somebody else.
func (f *Files) Login(peer sshagent.Peer) *Reading[Login] {
	args := Arguments(peer.PID)
	unknown := Login{Login: sshconfig.Login{Typed: sshconfig.Typed(args), Unclear: true, Unnamed: true}}
	return begin(f, unknown, func() Login {
		login := Login{sshconfig.Read(sshClient(peer, args)), copiesKey(peer.PID)}
		if len(args) == 0 || !slices.Equal(Arguments(peer.PID), args) {
			return unknown
		}
		login.Account = wire.Show(login.Account)
		return login
	})
}

// sshClient is what the system tells of a client that runs on this computer.
func sshClient(peer sshagent.Peer, args []string) sshconfig.Client {
	c := sshconfig.Client{Args: args, Dir: folderOf(peer.PID), UID: strconv.Itoa(peer.UID)}
	c.Env, _ = environmentOf(peer.PID)
	if u, err := user.LookupId(c.UID); err == nil {
		c.User, c.Home = u.Username, u.HomeDir
	} else if home, err := os.UserHomeDir(); err == nil {
		c.Home = home
	}
	return c
}
