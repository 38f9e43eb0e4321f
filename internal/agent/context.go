package agent

import (
	"bytes"
	"os"
	"strings"

	"vmux/internal/agent/client"
	"vmux/internal/control"
	"vmux/internal/gitsign"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// contextOf is what the agent claims of a request. A client that comes over a
// forwarded connection is none of this computer's programs: what runs here is
// the ssh that forwards.
func (a *Agent) contextOf(r sshagent.SignRequest, about sshctx.Context, login *client.Reading[client.Login]) wire.Context {
	c := wire.Context{ContextQuality: wire.QualityUnknown, Programs: client.Programs(r.Peer.PID)}
	if r.Peer.UID == sshagent.Root && os.Geteuid() != sshagent.Root {
		c.Account = "root" // who is not this user is root or nobody
	}
	if key := sshctx.ServerOf(r.Bindings, about); key != nil {
		// Only a client of this computer's that is bound to the server says where it
		// goes: of one that forwards the agent the command line names another host.
		var typed client.Login
		if len(r.Bindings) == 1 && !r.Unproven && !sshctx.Forwarded(r.Bindings) && bytes.Equal(key, r.Bindings[0].HostKey) {
			typed = login.Wait()
		}
		c.HostName = a.files.Server(typed, key)
	}
	if about.Kind == sshctx.SSHSIG && about.Namespace == gitsign.Namespace {
		c.Git = a.git.Take(gitsign.Hash(about.HashAlgorithm, about.Hash))
	}
	if c.HostName != "" || len(c.Programs) > 0 || c.Account != "" || c.Git != nil {
		c.ContextQuality = wire.QualityClaimed
	}
	return c
}

const maxGitHash = 160

// ClaimGit implements control.Service.
func (a *Agent) ClaimGit(c control.GitClaim) error {
	for _, text := range []string{c.Object.Kind, c.Object.Subject, c.Object.Author, c.Object.Repository} {
		if wire.Show(text) != text {
			return control.Errorf(control.CodeInvalid, "", "The description holds what cannot be shown.")
		}
	}
	if c.Hash == "" || len(c.Hash) > maxGitHash || !strings.Contains(c.Hash, ":") {
		return control.Errorf(control.CodeInvalid, "", "That is no hash.")
	}
	a.git.Put(c.Hash, c.Object)
	return nil
}
