package origin

import (
	"slices"

	"vmux/internal/control"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// HintOtherHostKey is what to do about a host key that vmux cannot read.
const HintOtherHostKey = "use another of the server's host keys, if it has one: `ssh -o HostKeyAlgorithms=ssh-ed25519`"

// Check refuses what a phone could not be told the truth of. A binding must not be
// left out: a server, which chooses its host key and certificate, could hide by it
// that the agent is forwarded to it.
func Check(r sshagent.SignRequest, about sshctx.Context) error {
	switch {
	case r.Unproven:
		return control.Errorf(wire.CodePolicyDenied, "connect anew, and without forwarding the agent (`ssh -J` instead of `ssh -A`)",
			"The session binding of the connection cannot be verified.")
	case slices.ContainsFunc(Marshal(r.Bindings), func(b []byte) bool { return len(b) > wire.MaxBindingSize }):
		return control.Errorf(wire.CodePolicyDenied, HintOtherHostKey, "The server's host key or certificate is too long for vmux.")
	case sshctx.Contradicts(r.Bindings, about):
		return ErrOtherServer()
	}
	return nil
}

// ErrOtherServer refuses a login that sshctx.Contradicts its connection.
func ErrOtherServer() error {
	return control.Errorf(wire.CodePolicyDenied, "run the command again; a host that asks for this again is not to be forwarded the agent",
		"The login is to another server than the one that the connection is bound to.")
}

// Marshal are the bindings as a phone can verify them itself. Where it cannot, since
// the key is of a type newer than vmux, a long signature is left out: those of some
// post-quantum keys are longer than all the rest of a request.
func Marshal(bindings []sshctx.Binding) [][]byte {
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
