package agent

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

const (
	maxDenials = 1024
	// denialLife is far longer than a server waits for a login, so that the
	// session is over when the denial is forgotten.
	denialLife = 30 * time.Minute
	// retryLife is how long a program that connects anew by itself is held to
	// the denial. It is short, since the person may have changed their mind.
	retryLife = time.Minute
)

// denials remembers until when what a person has denied is not asked again. The
// keys are what sessionDenial and retryDenial make.
type denials map[[sha256.Size]byte]time.Time

// sessionDenial is the same session and key: an SSH client that offers a key
// once more.
func sessionDenial(about sshctx.Context, fingerprint string) (key [sha256.Size]byte, ok bool) {
	return digestOf("session", []byte(fingerprint), about.SessionID), len(about.SessionID) > 0
}

// retryDenial is the same key, destination and program's parent: autossh, a
// service or a loop in a script, each of whose attempts is a new process with a
// new session. A person who types the command again is asked again, and so is
// whoever comes from a host that the agent is forwarded to: this computer
// cannot tell who that is.
func retryDenial(r sshagent.SignRequest, about sshctx.Context, fingerprint string) (key [sha256.Size]byte, ok bool) {
	asker, known := processOf(r.Peer.PID)
	if !known || asker.parent == 0 {
		return key, false
	}
	parent, known := processOf(asker.parent)
	if !known || typed(asker, parent) {
		return key, false
	}
	destination := about.HostKey
	for _, b := range r.Bindings {
		if b.Forwarding {
			return key, false
		}
		destination = b.HostKey
	}
	if len(destination) == 0 {
		destination = append([]byte(asker.name+"\x00"), argumentsOf(r.Peer.PID)...)
	}
	// A process ID alone may have become another process's.
	id := binary.BigEndian.AppendUint64(nil, uint64(asker.parent))
	id = binary.BigEndian.AppendUint64(id, uint64(parent.started))
	return digestOf("retry", []byte(fingerprint), destination, id), true
}

// typed tells whether a person at a terminal started the process: a shell with
// job control gives each command line a process group of its own, and what a
// program starts by itself stays in that program's group.
func typed(asker, parent process) bool { return asker.terminal && asker.group != parent.group }

func digestOf(kind string, parts ...[]byte) [sha256.Size]byte {
	b := []byte(kind)
	for _, p := range parts {
		b = appendString(b, p)
	}
	return sha256.Sum256(b)
}

// remember notes a denial. The client still waits for its answer, so that its
// process can be looked at.
func (a *Agent) remember(r sshagent.SignRequest, about sshctx.Context, fingerprint string) {
	session, ofSession := sessionDenial(about, fingerprint)
	retry, ofRetry := retryDenial(r, about, fingerprint)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for key, until := range a.denied {
		if now.After(until) || len(a.denied) >= maxDenials {
			delete(a.denied, key)
		}
	}
	if a.denied == nil {
		a.denied = denials{}
	}
	if ofSession {
		a.denied[session] = now.Add(denialLife)
	}
	if ofRetry {
		a.denied[retry] = now.Add(retryLife)
	}
}

func (a *Agent) isDenied(r sshagent.SignRequest, about sshctx.Context, fingerprint string) bool {
	if !a.anyDenied() {
		return false // nearly always: no process is looked at
	}
	session, ofSession := sessionDenial(about, fingerprint)
	retry, ofRetry := retryDenial(r, about, fingerprint)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	return ofSession && now.Before(a.denied[session]) || ofRetry && now.Before(a.denied[retry])
}

func (a *Agent) anyDenied() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.denied) > 0
}

// notAsked tells why a request has failed without a sheet. It is no desktop
// notification: the one of the denial has just been shown.
func (a *Agent) notAsked(id *identity, about sshctx.Context) {
	a.log.Info("not asked again after a denial", "key", id.Fingerprint)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.noteLocked(kindSign, requested(id, about)+": not asked again, denied just before", wire.CodeUserDenied)
}
