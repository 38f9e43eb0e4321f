package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"vmux/internal/agent/journal"
	"vmux/internal/agent/origin"
	"vmux/internal/agent/upstream"
	"vmux/internal/control"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// upstreamKeys are what the upstream agent lists for the connection. What a phone holds is
// that phone's, wherever else it is. Its keys sign without anybody being asked, as far as
// vmux knows, and so are for other hosts no more than the session certificate is.
func (a *Agent) upstreamKeys(ctx context.Context, c sshagent.Connection, s *snapshot) []sshagent.Identity {
	if a.upstream == nil || c.Unproven || !a.upstreamUse.Allows(c) {
		return nil
	}
	list, err := a.upstream.List(ctx, c)
	if err != nil {
		a.log.Debug("the upstream agent lists nothing", "error", err)
		return nil
	}
	return slices.DeleteFunc(list, func(id sshagent.Identity) bool { return s.byBlob[string(id.Blob)] != nil })
}

// withUpstream adds the upstream agent's keys to a list that is for no server: before the
// passkeys and the session certificate, behind which many a client that binds nothing sees
// no more, since it stops at what it cannot parse (pam_ssh_agent_auth).
func (s *snapshot) withUpstream(own *sshagent.Listing, keys []sshagent.Identity) *sshagent.Listing {
	if len(keys) == 0 {
		return own
	}
	list := own.Identities()
	last := slices.IndexFunc(list, func(id sshagent.Identity) bool {
		key := s.byBlob[string(id.Blob)]
		return key == nil || key.Passkey()
	})
	if last < 0 {
		last = len(list)
	}
	return sshagent.NewListing(slices.Concat(list[:last], keys, list[last:]))
}

// isCertificate reports whether a blob is a certificate, of whatever type.
func isCertificate(id sshagent.Identity) bool {
	return strings.HasSuffix(sshctx.KeyType(id.Blob), "-cert-v01@openssh.com")
}

// wasOwn reports whether what is to sign is this agent's and gone by now: a phone's key that
// the client was shown, or the session certificate. Of it the upstream agent knows nothing,
// and its refusal would explain nothing.
func (a *Agent) wasOwn(r sshagent.SignRequest) bool {
	if s := a.snapshot.Load().session; s != nil && string(s.Blob) == string(r.Blob) {
		return true
	}
	return r.Listed != nil && slices.ContainsFunc(r.Listed.Identities(), func(id sshagent.Identity) bool {
		return !id.Passed && string(id.Blob) == string(r.Blob)
	})
}

// signUpstream has the upstream agent sign. No phone is asked.
func (a *Agent) signUpstream(ctx context.Context, r sshagent.SignRequest) ([]byte, error) {
	about := describe(r.Data)
	text := a.nameOfUpstream(r)
	if d := detail(about); d != "" {
		text += ": " + d
	}
	if err := a.checkUpstream(r, about); err != nil {
		a.journal.Fail(journal.KindSign, text, err)
		return nil, err
	}
	a.memory.Asked(r.Connection)
	a.clients.NoteLogin(r.Connection, about)
	login := a.memory.Client(r.Connection)
	signature, err := a.upstream.Sign(ctx, r)
	switch {
	case err == nil:
		a.memory.KeySigned(r, about, r.Blob, login.Wait(), listed(a.snapshot.Load().session))
		a.log.Info("signed by the upstream agent", "key", sshctx.Fingerprint(r.Blob), "kind", about.Kind)
		a.journal.Note(journal.KindSign, text+": passed on to the upstream agent, which has signed", "")
		a.journal.ForgetFailures()
		return signature, nil
	case ctx.Err() != nil:
		a.journal.Note(journal.KindSign, text+": withdrawn, since the SSH client went away", "")
		return nil, err
	}
	err = a.upstreamError("sign", err)
	a.journal.Fail(journal.KindSign, text, err)
	return nil, err
}

// checkUpstream refuses what the upstream agent's keys are not for, also where they are not
// listed: every server that they have logged in to knows them.
func (a *Agent) checkUpstream(r sshagent.SignRequest, about sshctx.Context) error {
	if err := origin.Check(r, about); err != nil {
		return err
	}
	switch {
	case !a.upstreamUse.Allows(r.Connection):
		return control.Errorf(wire.CodePolicyDenied, "allow it with `vmux agent --forward-upstream`",
			"The upstream agent's keys are not used for requests that come through another host.")
	case len(r.Bindings) == 0 && !a.upstreamUse.AllowsUnbound(r.Connection, about):
		return control.Errorf(wire.CodePolicyDenied, "allow it with `vmux agent --unbound-certificate always`",
			"The upstream agent's keys are not used here: the program does not say which server it logs in to, and may forward the agent.")
	}
	return nil
}

// nameOfUpstream is the key's comment, if it was listed.
func (a *Agent) nameOfUpstream(r sshagent.SignRequest) string {
	if r.Listed != nil {
		for _, id := range r.Listed.Identities() {
			if string(id.Blob) == string(r.Blob) && id.Comment != "" {
				return id.Comment
			}
		}
	}
	return sshctx.Fingerprint(r.Blob)
}

// upstreamError is what to tell of a request that the upstream agent has not answered, or refused.
func (a *Agent) upstreamError(what string, err error) error {
	if errors.Is(err, upstream.ErrRefused) {
		return control.Errorf(control.CodeUpstreamFailed, "ask it directly: SSH_AUTH_SOCK="+wire.Show(a.cfg.Upstream)+" ssh-add -l",
			"The upstream agent has refused to %s.", what)
	}
	problem, hint := a.upstreamProblem(err)
	return control.Errorf(control.CodeUpstreamFailed, hint, "The upstream agent was not asked to %s: %s.", what, problem)
}

// upstreamProblem says why the upstream agent does not answer, and what to do about it.
func (a *Agent) upstreamProblem(err error) (problem, hint string) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such socket", "start that agent; or start this one without --upstream, or with another socket"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "no agent serves the socket", "start that agent; or start this one without --upstream, or with another socket"
	case errors.Is(err, upstream.ErrLoop):
		return err.Error(), "name the socket of another agent: vmux agent --upstream SOCKET"
	}
	return err.Error(), "see what it says: SSH_AUTH_SOCK=" + wire.Show(a.cfg.Upstream) + " ssh-add -l"
}

// passOn implements sshagent.Config.PassOn.
func (a *Agent) passOn(ctx context.Context, c sshagent.Connection, what string, msg []byte) ([]byte, error) {
	number := msg[0]
	answer, err := a.upstream.Pass(ctx, c, msg)
	a.log.Info("passed on to the upstream agent", "message", number, "pid", c.Peer.PID, "error", err)
	if err == nil && upstream.Refused(answer) {
		err = upstream.ErrRefused
	}
	switch {
	case what == "" || ctx.Err() != nil:
	case err != nil:
		a.journal.Fail(journal.KindAdd, "ssh-add", a.upstreamError(what, err))
	default:
		a.journal.Succeed(journal.KindAdd, fmt.Sprintf("ssh-add: asked the upstream agent to %s", what))
	}
	if errors.Is(err, upstream.ErrRefused) {
		err = nil // the client gets the answer as it is
	}
	return answer, err
}

// upstreamStatus is what is known of the upstream agent.
func (a *Agent) upstreamStatus() *control.Upstream {
	if a.upstream == nil {
		return nil
	}
	s := &control.Upstream{Socket: a.cfg.Upstream, Forwarded: a.cfg.ForwardUpstream}
	var err error
	if s.Keys, err = a.upstream.State(); err != nil {
		s.Error, s.Hint = a.upstreamProblem(err)
	}
	return s
}
