package agent

import (
	"time"

	"vmux/internal/control"
	"vmux/internal/sshagent"
	"vmux/internal/wire"
)

// Kinds of requests, failures and events.
const (
	kindSign        = "sign"
	kindCertificate = "certificate"
	kindKeys        = "keys"
	kindPairing     = "pairing"
	kindLink        = "link"
	kindAdd         = "add"
)

// What warnings are about.
const (
	warningCache = "cache"
	warningCAs   = "cas"
	warningTrust = "trust"
	warningDisk  = "disk"
	warningLock  = "lock"
	warningPage  = "page"
)

const maxHistory = 50

// noteLocked adds an event to the history and wakes those who watch.
func (a *Agent) noteLocked(kind, text string, code wire.Code) {
	a.history = append(a.history, control.Event{At: time.Now(), Kind: kind, Text: text, Code: code})
	if len(a.history) > maxHistory {
		a.history = append(a.history[:0:0], a.history[len(a.history)-maxHistory:]...)
	}
	a.tellLocked()
}

// tellLocked wakes those who watch the status.
func (a *Agent) tellLocked() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// Changed implements control.Service.
func (a *Agent) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

// locked says that ssh-add -x or -X was used: a locked agent looks like one that
// has no keys.
func (a *Agent) locked(is bool) {
	text := ""
	if is {
		text = "The agent is locked: it lists no keys and signs nothing until `ssh-add -X`."
	}
	a.warn(warningLock, text)
}

// addRefused says why ssh-add KEY failed, which it cannot know. With AddKeysToAgent,
// ssh tries it at each login by a key file and does without; and a host that the agent
// is forwarded to shall not put anything on this computer's screen.
func (a *Agent) addRefused(c sshagent.Connection) {
	if !a.mayManage(c) {
		a.log.Info("a key was not added", "pid", c.Peer.PID)
		return
	}
	a.fail(kindAdd, "ssh-add", control.Errorf(control.CodeAddRefused,
		"on the phone: vmux phone identity create --label LABEL --import FILE",
		"This agent takes no keys: phones hold them."))
}

// succeed notes a success, which ends the failure of its kind; what a person had
// done ends all.
func (a *Agent) succeed(kind, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.failures, kind)
	if kind == kindSign || kind == kindCertificate {
		clear(a.failures)
	}
	a.noteLocked(kind, text, "")
}

// fail keeps why something failed, and tells the user.
func (a *Agent) fail(kind, about string, err error) {
	e := control.AsError(err)
	f := &control.Failure{Code: e.Code, Sentence: e.Sentence, Hint: e.Hint, Kind: kind, At: time.Now()}
	text := e.Sentence
	if about != "" {
		text = about + ": " + text
	}
	a.mu.Lock()
	a.failures[kind] = f
	a.noteLocked(kind, text, e.Code)
	a.mu.Unlock()
	a.log.Warn("failed", "kind", kind, "about", about, "code", e.Code, "reason", e.Sentence)
	a.notify(text)
}

// warn sets or, with an empty text, takes away a warning.
func (a *Agent) warn(about, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.warnLocked(about, text)
}

func (a *Agent) warnLocked(about, text string) {
	if a.warnings[about] == text {
		return
	}
	delete(a.warnings, about)
	if text != "" {
		a.warnings[about] = text
		a.log.Warn("warning", "text", text)
	}
	a.tellLocked()
}

// waits lists a request as waiting until done is called.
func (a *Agent) waits(r *control.Request) (done func()) {
	a.mu.Lock()
	a.waiting[r.RequestID] = r
	a.tellLocked()
	a.mu.Unlock()
	return func() {
		a.mu.Lock()
		delete(a.waiting, r.RequestID)
		a.tellLocked()
		a.mu.Unlock()
	}
}

// shown notes that a phone shows the request.
func (a *Agent) shown(requestID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.waiting[requestID]; r != nil && !r.Shown {
		shown := *r
		shown.Shown = true
		a.waiting[requestID] = &shown
		a.tellLocked()
	}
}
