package agent

import (
	"cmp"
	"fmt"
	"time"

	"vmux/internal/agent/certificate"
	"vmux/internal/agent/journal"
	"vmux/internal/agent/origin"
	"vmux/internal/control"
	"vmux/internal/sshagent"
	"vmux/internal/wire"
)

// SignLocal implements sshagent.Backend: it signs with the session key when the
// client names the certificate. The flags choose RSA hashes and mean nothing
// here.
func (a *Agent) SignLocal(c sshagent.Connection, blob, data []byte, _ uint32) (signature []byte, ok bool, err error) {
	s := a.certificate.Find(blob, time.Now())
	if s == nil {
		return nil, false, nil
	}
	about := describe(data)
	if err := a.use.Check(c, blob, about); err != nil {
		a.journal.Fail(journal.KindSign, certificate.Comment, err)
		return nil, true, err
	}
	a.memory.CertificateSigned(c, about)
	signature, err = s.Sign(data)
	if err == nil {
		a.journal.ForgetFailures() // of earlier logins: this one succeeds
	}
	return signature, true, err
}

// RemoveAll implements sshagent.Backend: it destroys the session certificate.
func (a *Agent) RemoveAll() { a.certificate.Remove() }

// Remove implements sshagent.Backend, for ssh-add -d.
func (a *Agent) Remove(blob []byte) bool {
	is := a.certificate.Find(blob, time.Now()) != nil
	if is {
		a.certificate.Remove()
	}
	return is
}

// removeRefused says why a phone's key stays.
func (a *Agent) removeRefused(blob []byte) {
	if id := a.snapshot.Load().byBlob[string(blob)]; id != nil {
		a.journal.Fail(journal.KindAdd, "ssh-add", control.Errorf(control.CodeRemoveRefused,
			"on the phone: vmux phone identity disable "+id.Fingerprint,
			"A phone holds that key: ssh-add cannot remove it."))
	}
}

// locked says that ssh-add -x or -X was used: a locked agent looks like one that
// has no keys.
func (a *Agent) locked(is bool) {
	text := ""
	if is {
		text = "The agent is locked: it lists no keys and signs nothing until `ssh-add -X`."
	}
	a.lockedNow.Store(is) // before the warning, which wakes those who watch
	a.journal.Warn(warningLock, text)
}

// addRefused says why a program could not add a key, which it cannot know. With AddKeysToAgent,
// ssh tries it at each login by a key file and does without; and a host that the agent
// is forwarded to shall not put anything on this computer's screen.
func (a *Agent) addRefused(c sshagent.Connection, token bool) {
	if !a.clients.MayManage(c) {
		a.log.Info("a key was not added", "pid", c.Peer.PID)
		return
	}
	program := cmp.Or(wire.Show(origin.Program(c)), "ssh-add")
	sentence, hint := "This agent takes no keys: phones hold them.", ""
	switch {
	case a.upstream != nil: // which takes them
		sentence = "Only ssh-add and programs like it reach the upstream agent through vmux."
		hint = fmt.Sprintf("have it use that agent itself: SSH_AUTH_SOCK=%s %s", wire.Show(a.cfg.Upstream), program)
	case !origin.ManagesKeys(program): // tsh and step: those keys are in no file of the person's
		hint = fmt.Sprintf("have it use another agent, whose keys `vmux agent --upstream SOCKET` lists: SSH_AUTH_SOCK=SOCKET %s", program)
	case token: // PKCS #11, whose keys cannot be imported
		hint = "on a phone whose own SSH agent has the token: vmux phone identity create --label LABEL --upstream SOCKET"
	default:
		hint = "on the phone: vmux phone identity create --label LABEL --import FILE"
	}
	a.journal.Fail(journal.KindAdd, program, control.Errorf(control.CodeAddRefused, hint, "%s", sentence))
}
