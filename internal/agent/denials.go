package agent

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"vmux/internal/agent/journal"
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

func (d denial) holdsFor(id *identity, now time.Time) bool {
	return now.Before(d.until) && (d.of == nil || !slices.ContainsFunc(id.holders, func(phone device.ID) bool {
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
func (a *Agent) speaksForNone(id *identity) []device.ID {
	asked := append([]device.ID{}, a.stillPaired(id.holders)...) // not nil
	for _, phone := range asked {
		if a.hasProven(phone, id) {
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
	asker, known := processOf(r.Peer.PID)
	if !known {
		return key, false
	}
	begun, starter, id, known := starterOf(asker)
	if !known || typed(begun, starter) {
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
	who := binary.BigEndian.AppendUint64(nil, uint64(id))
	who = binary.BigEndian.AppendUint64(who, uint64(starter.started))
	return digestOf("retry", destination, who), true
}

// maxStarters bounds how far the chain of parents is followed.
const maxStarters = 16

// starterOf finds the program that began what asks: the first ancestor that is
// neither ssh nor git, nor a shell or another program that was started to run them,
// with its process ID; and the process below it, which a person would have typed.
func starterOf(asker process) (begun, starter process, id int, ok bool) {
	begun = asker
	for range maxStarters {
		id = begun.parent
		if starter, ok = processOf(id); !ok || id == 0 {
			return begun, starter, id, false
		}
		if !helps(id, starter) {
			return begun, starter, id, true
		}
		begun = starter
	}
	return begun, starter, id, false
}

// passOn are programs that run another one that they are given, and what calls git
// or ssh by itself: each attempt has its own.
var passOn = []string{
	"sftp", "scp", "rsync", "timeout", "flock", "env", "nice", "nohup", "setsid", "stdbuf", "xargs", "sshpass", "sudo", "doas",
	"hg", "svn", "jj", "gh", "glab",
}

// helps reports whether a process only stands between ssh and what began it.
func helps(id int, p process) bool {
	name := p.program()
	if isShell(name) {
		parent, ok := processOf(p.parent)
		if !ok {
			return false
		}
		// An editor runs `sh -c 'git fetch; …'`, watch(1) does each time. What the
		// system itself has started is a service, and its shell may be the loop.
		above := parent.program()
		return isSSHOrGit(above) || p.parent > 1 && above != "systemd" && runsLine(wordsOf(argumentsOf(id)))
	}
	return isSSHOrGit(name) || slices.Contains(passOn, name)
}

// runsLine reports whether a shell was given its commands on its command line.
func runsLine(words []string) bool {
	for i := 1; i < len(words); i++ {
		switch w := words[i]; {
		case w == "-o" || w == "+o" || w == "-O" || w == "+O":
			i++ // its value
		case strings.HasPrefix(w, "--"):
		case strings.HasPrefix(w, "-") && strings.Contains(w, "c"):
			return true
		case !strings.HasPrefix(w, "-"):
			return false
		}
	}
	return false
}

func isShell(name string) bool {
	switch name {
	case "sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish", "busybox":
		return true
	}
	return false
}

// isSSHOrGit knows git's own programs too: git-remote-ssh, git-lfs.
func isSSHOrGit(name string) bool {
	return name == "ssh" || name == "git" || strings.HasPrefix(name, "git-")
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

// remember notes why a login had no signature. The client still waits for its
// answer, so that its process can be looked at.
func (a *Agent) remember(r sshagent.SignRequest, about sshctx.Context, id *identity, code wire.Code) {
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
func (a *Agent) refusedBefore(r sshagent.SignRequest, about sshctx.Context, id *identity) wire.Code {
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
func (a *Agent) notAsked(id *identity, about sshctx.Context, code wire.Code) {
	a.log.Info("not asked again", "key", id.Fingerprint, "code", code)
	why := "denied just before"
	if code != wire.CodeUserDenied {
		why = "this login had no answer for another key"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.journal.Note(journal.KindSign, requested(id, about)+": not asked again, "+why, code)
}
