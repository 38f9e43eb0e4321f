package agent

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"vmux/internal/agent/client"
	"vmux/internal/agent/journal"
	"vmux/internal/agent/keys"
	"vmux/internal/device"
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

// denials remembers what is not asked again, and until when. The keys are what
// sessionDenial and retryDenial make.
type denials map[[sha256.Size]byte]denial

// denial is why a login had no signature: a person said no, or nobody answered.
type denial struct {
	until time.Time
	code  wire.Code
	// of are the phones that were asked, if none of them had proven the key: for a
	// key that another phone lists they do not speak. Nil: it holds for all keys.
	of []device.ID
}

func (d denial) holdsFor(id *keys.Key, now time.Time) bool {
	return now.Before(d.until) && (d.of == nil || !slices.ContainsFunc(id.Phones, func(phone device.ID) bool {
		return !slices.Contains(d.of, phone)
	}))
}

// denyLocked adds a denial to what is known.
func (a *Agent) denyLocked(key [sha256.Size]byte, d denial, now time.Time) {
	if before, ok := a.denied[key]; ok && now.Before(before.until) && d.of != nil {
		if before.of == nil {
			return // it holds for more
		}
		d.of = append(slices.Clone(before.of), d.of...)
	}
	a.denied[key] = d
}

// speaksForNone are the phones that were asked for the key, nil if one of them has
// proven it.
func (a *Agent) speaksForNone(id *keys.Key) []device.ID {
	asked := append([]device.ID{}, a.stillPaired(id.Phones)...) // not nil
	for _, phone := range asked {
		if a.keys.Proven(phone, id.PublicKeyBlob) {
			return nil
		}
	}
	return asked
}

// endsLogin reports whether an outcome holds for every key of the login: the
// person was asked about the login, not about a key, and a phone that did not
// answer for one key does not for the next. Else ssh, which tries one key after
// the other, would wait for each.
func endsLogin(code wire.Code) bool {
	switch code {
	case wire.CodeUserDenied, wire.CodeRequestExpired, wire.CodePhoneNotReachable:
		return true
	}
	return false
}

// sessionDenial is the same session, whatever the key.
func sessionDenial(about sshctx.Context) (key [sha256.Size]byte, ok bool) {
	return digestOf("session", about.SessionID), len(about.SessionID) > 0
}

// retryDenial is the same destination and program: autossh, a service, a loop in
// a script or an editor's `git fetch`, each of whose attempts is a new process with
// a new session. A person who types the command again is asked again, and so is
// whoever comes from a host that the agent is forwarded to: this computer
// cannot tell who that is.
func retryDenial(r sshagent.SignRequest, about sshctx.Context) (key [sha256.Size]byte, ok bool) {
	asker, known := client.ProcessOf(r.Peer.PID)
	if !known {
		return key, false
	}
	begun, starter, known := client.Starter(asker)
	if !known || client.Typed(begun, starter) {
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
		destination = []byte(asker.Name + "\x00" + strings.Join(client.Arguments(asker.PID), "\x00"))
	}
	who := binary.BigEndian.AppendUint64(nil, uint64(starter.PID))
	who = binary.BigEndian.AppendUint64(who, uint64(starter.Started))
	return digestOf("retry", destination, who), true
}

func digestOf(kind string, parts ...[]byte) [sha256.Size]byte {
	b := []byte(kind)
	for _, p := range parts {
		b = sshctx.AppendString(b, p)
	}
	return sha256.Sum256(b)
}

// remember notes why a login had no signature. The client still waits for its
// answer, so that its process can be looked at.
func (a *Agent) remember(r sshagent.SignRequest, about sshctx.Context, id *keys.Key, code wire.Code) {
	session, ofSession := sessionDenial(about)
	retry, ofRetry := retryDenial(r, about)
	of := a.speaksForNone(id)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for key, d := range a.denied {
		if now.After(d.until) || len(a.denied) >= maxDenials {
			delete(a.denied, key)
		}
	}
	if a.denied == nil {
		a.denied = denials{}
	}
	if ofSession {
		a.denyLocked(session, denial{now.Add(denialLife), code, of}, now)
	}
	// A phone that is away may be back for the next attempt.
	if ofRetry && code == wire.CodeUserDenied {
		a.denyLocked(retry, denial{now.Add(retryLife), code, of}, now)
	}
}

// refusedBefore returns why this is not asked, or "" if it is.
func (a *Agent) refusedBefore(r sshagent.SignRequest, about sshctx.Context, id *keys.Key) wire.Code {
	if !a.anyDenied() {
		return "" // nearly always: no process is looked at
	}
	session, ofSession := sessionDenial(about)
	retry, ofRetry := retryDenial(r, about)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if d := a.denied[session]; ofSession && d.holdsFor(id, now) {
		return d.code
	}
	if d := a.denied[retry]; ofRetry && d.holdsFor(id, now) {
		return d.code
	}
	return ""
}

func (a *Agent) anyDenied() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.denied) > 0
}

// notAsked tells why a request has failed without a sheet. It is no desktop
// notification: the one of the first failure has just been shown.
func (a *Agent) notAsked(id *keys.Key, about sshctx.Context, code wire.Code) {
	a.log.Info("not asked again", "key", id.Fingerprint, "code", code)
	why := "denied just before"
	if code != wire.CodeUserDenied {
		why = "this login had no answer for another key"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.journal.Note(journal.KindSign, requested(id, about)+": not asked again, "+why, code)
}
