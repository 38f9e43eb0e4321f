package agent

import (
	"bytes"
	"os"
	"slices"
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
	c := wire.Context{ContextQuality: wire.QualityUnknown, Programs: client.Programs(r.Peer.PID), Account: accountOf(r.Peer)}
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

// accountOf names the local account of a client that is not this user's, which is
// root or nobody.
func accountOf(peer sshagent.Peer) string {
	if peer.UID == sshagent.Root && os.Geteuid() != sshagent.Root {
		return "root"
	}
	return ""
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

// checkBindings refuses what a phone could not be told the truth of. A binding
// must not be left out: a server, which chooses its host key and certificate,
// could hide by it that the agent is forwarded to it.
func checkBindings(r sshagent.SignRequest, about sshctx.Context) error {
	switch {
	case r.Unproven:
		return control.Errorf(wire.CodePolicyDenied, "connect anew, and without forwarding the agent (`ssh -J` instead of `ssh -A`)",
			"The session binding of the connection cannot be verified.")
	case slices.ContainsFunc(marshalBindings(r.Bindings), func(b []byte) bool { return len(b) > wire.MaxBindingSize }):
		return control.Errorf(wire.CodePolicyDenied, otherHostKeyHint, "The server's host key or certificate is too long for vmux.")
	case sshctx.Contradicts(r.Bindings, about):
		return errOtherServer()
	}
	return nil
}

func errOtherServer() error {
	return control.Errorf(wire.CodePolicyDenied, "run the command again; a host that asks for this again is not to be forwarded the agent",
		"The login is to another server than the one that the connection is bound to.")
}

// otherHostKeyHint is what to do about a host key that vmux cannot read.
const otherHostKeyHint = "use another of the server's host keys, if it has one: `ssh -o HostKeyAlgorithms=ssh-ed25519`"

// marshalBindings are the bindings as a phone can verify them itself. Where it
// cannot, since the key is of a type newer than vmux, a long signature is left out:
// those of some post-quantum keys are longer than all the rest of a request.
func marshalBindings(bindings []sshctx.Binding) [][]byte {
	var list [][]byte
	for _, b := range bindings {
		text := b.Marshal()
		if len(text) > wire.MaxBindingSize && !sshctx.Readable(b.HostKey) {
			b.Signature = nil
			text = b.Marshal()
		}
		list = append(list, text)
	}
	return list
}
