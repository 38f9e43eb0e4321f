package agent

import (
	"vmux/internal/agent/journal"
	"vmux/internal/agent/waking"
	"vmux/internal/control"
	"vmux/internal/sshagent"
)

// What warnings are about.
const (
	warningCache = "cache"
	warningTrust = "trust"
	warningLock  = "lock"
	warningPage  = "page"
)

// Changed implements control.Service.
func (a *Agent) Changed() <-chan struct{} { return a.journal.Changed() }

// locked says that ssh-add -x or -X was used: a locked agent looks like one that
// has no keys.
func (a *Agent) locked(is bool) {
	text := ""
	if is {
		text = "The agent is locked: it lists no keys and signs nothing until `ssh-add -X`."
	}
	a.journal.Warn(warningLock, text)
}

// addRefused says why ssh-add KEY failed, which it cannot know. With AddKeysToAgent,
// ssh tries it at each login by a key file and does without; and a host that the agent
// is forwarded to shall not put anything on this computer's screen.
func (a *Agent) addRefused(c sshagent.Connection) {
	if !a.clients.MayManage(c) {
		a.log.Info("a key was not added", "pid", c.Peer.PID)
		return
	}
	a.journal.Fail(journal.KindAdd, "ssh-add", control.Errorf(control.CodeAddRefused,
		"on the phone: vmux phone identity create --label LABEL --import FILE",
		"This agent takes no keys: phones hold them."))
}

// woken notes that a phone was woken for the request, whose window has begun anew.
func (a *Agent) woken(request *waking.Request) {
	a.journal.Update(request.ID(), func(r *control.Request) {
		r.Woken = true
		r.Until, _ = request.Window()
	})
}

// shown notes that a phone shows the request.
func (a *Agent) shown(requestID string) {
	a.journal.Update(requestID, func(r *control.Request) { r.Shown = true })
}
