// Package denials remembers which logins had no signature, and why, so that a person is
// not asked the same again: for the login's other keys, or by a program that connects
// anew by itself.
package denials

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"vmux/internal/agent/client"
	"vmux/internal/device"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

const (
	maxDenials = 1024
	// sessionLife is far longer than a server waits for a login, so that the
	// session is over when the denial is forgotten.
	sessionLife = 30 * time.Minute
	// retryLife is how long a program that connects anew by itself is held to
	// the denial. It is short, since the person may have changed their mind.
	retryLife = time.Minute
)

// Memory is empty at first. It may be used concurrently.
type Memory struct {
	mu     sync.Mutex
	denied map[[sha256.Size]byte]denial // by what sessionOf and retryOf make
}

// denial is why a login had no signature: a person said no, or nobody answered.
type denial struct {
	until time.Time
	code  wire.Code
	// asked are the phones that were asked, if none of them had proven the key: for a
	// key that another phone lists they do not speak. Nil: it holds for all keys.
	asked []device.ID
}

func (d denial) holds(phones []device.ID, now time.Time) bool {
	return now.Before(d.until) && (d.asked == nil || !slices.ContainsFunc(phones, func(phone device.ID) bool {
		return !slices.Contains(d.asked, phone)
	}))
}

// endsLogin reports whether an outcome holds for every key of the login: the
// person was asked about the login, not about a key, and a phone that did not
// answer for one key does not for the next. Else ssh, which tries one key after
// the other, would wait for each.
func endsLogin(code wire.Code) bool {
	return code == wire.CodeUserDenied || code == wire.CodeRequestExpired || code == wire.CodePhoneNotReachable
}

// Note remembers why a login had no signature, if that holds for its other keys as well.
// asked are the phones that were asked, nil if one of them has proven the key. The client
// still waits for its answer, so that its process can be looked at.
func (m *Memory) Note(r sshagent.SignRequest, about sshctx.Context, asked []device.ID, code wire.Code) {
	if !endsLogin(code) {
		return
	}
	session, ofSession := sessionOf(about)
	retry, ofRetry := retryOf(r, about)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.denied == nil {
		m.denied = map[[sha256.Size]byte]denial{}
	}
	maps.DeleteFunc(m.denied, func(_ [sha256.Size]byte, d denial) bool {
		return now.After(d.until) || len(m.denied) >= maxDenials
	})
	if ofSession {
		m.addLocked(session, denial{now.Add(sessionLife), code, asked}, now)
	}
	// A phone that is away may be back for the next attempt.
	if ofRetry && code == wire.CodeUserDenied {
		m.addLocked(retry, denial{now.Add(retryLife), code, asked}, now)
	}
}

func (m *Memory) addLocked(key [sha256.Size]byte, d denial, now time.Time) {
	if before, ok := m.denied[key]; ok && now.Before(before.until) && d.asked != nil {
		if before.asked == nil {
			return // it holds for more
		}
		d.asked = append(slices.Clone(before.asked), d.asked...)
	}
	m.denied[key] = d
}

// Before returns why a key that the phones list is not asked for, "" if it is.
func (m *Memory) Before(r sshagent.SignRequest, about sshctx.Context, phones []device.ID) wire.Code {
	m.mu.Lock()
	none := len(m.denied) == 0
	m.mu.Unlock()
	if none {
		return "" // nearly always: no process is looked at
	}
	session, ofSession := sessionOf(about)
	retry, ofRetry := retryOf(r, about)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if d := m.denied[session]; ofSession && d.holds(phones, now) {
		return d.code
	}
	if d := m.denied[retry]; ofRetry && d.holds(phones, now) {
		return d.code
	}
	return ""
}

// sessionOf is the same session, whatever the key.
func sessionOf(about sshctx.Context) (key [sha256.Size]byte, ok bool) {
	return digestOf("session", about.SessionID), len(about.SessionID) > 0
}

// retryOf is the same destination and program: autossh, a service, a loop in
// a script or an editor's `git fetch`, each of whose attempts is a new process with
// a new session. A person who types the command again is asked again, and so is
// whoever comes from a host that the agent is forwarded to: this computer
// cannot tell who that is.
func retryOf(r sshagent.SignRequest, about sshctx.Context) (key [sha256.Size]byte, ok bool) {
	asker, known := client.ProcessOf(r.Peer.PID)
	if !known || r.Relayed {
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
