package web

import (
	"encoding/json"
	"fmt"
	"strings"

	"vmux/internal/browserphone/pagestate"
	"vmux/internal/browserphone/sheets"
)

// State is what core.state() returns.
type State struct {
	pagestate.State
	Support struct {
		WebAuthn              bool   `json:"webauthn"`
		PRF                   string `json:"prf"`
		PlatformAuthenticator bool   `json:"platformAuthenticator"`
		Passphrase            bool   `json:"passphrase"`
		Persisted             bool   `json:"persisted"`
		Push                  string `json:"push"`
	} `json:"support"`
}

// State reads the phone's state. A page that came past its worker loads itself once
// more (ensureAccepted in update.js), also in the middle of that; then it is read again.
func (p *Page) State(into *State) {
	p.T.Helper()
	waitFor(p.T, "the page has stayed", func() bool {
		err := p.Run("return core.state()", into)
		if err != nil && strings.Contains(err.Error(), "navigated") {
			return false
		}
		if err != nil {
			p.T.Fatalf("state: %v\n%s", err, p.Console())
		}
		return true
	})
}

// WaitState waits until the phone's state is as wanted, and returns it.
func (p *Page) WaitState(what string, is func(State) bool) (s State) {
	p.T.Helper()
	waitFor(p.T, what, func() bool {
		s = State{}
		p.State(&s)
		return is(s)
	})
	return s
}

// WaitHub waits until the phone is connected to its hub.
func (p *Page) WaitHub() State {
	p.T.Helper()
	return p.WaitState("the phone is at its hub", func(s State) bool { return s.Hub.Connected })
}

// WaitComputer waits until the phone's one computer is connected to it.
func (p *Page) WaitComputer() State {
	p.T.Helper()
	return p.WaitState("the link is up", func(s State) bool { return len(s.Computers) == 1 && s.Computers[0].Connected })
}

// Identity returns the phone's key of a label.
func (p *Page) Identity(label string) pagestate.Identity {
	p.T.Helper()
	var s State
	p.State(&s)
	for _, id := range s.Identities {
		if id.Label == label {
			return id
		}
	}
	p.T.Fatalf("no key %q on the phone", label)
	return pagestate.Identity{}
}

// Sheet waits for a request to be shown and returns it.
func (p *Page) Sheet() sheets.Sheet {
	p.T.Helper()
	return p.WaitState("a sheet is shown", func(s State) bool { return len(s.Sheets) > 0 }).Sheets[0]
}

// Approve approves a sheet by core.js, as the tap on its button does.
func (p *Page) Approve(sheet sheets.Sheet, decision map[string]any) error {
	p.T.Helper()
	s, err := json.Marshal(sheet)
	if err != nil {
		return err
	}
	d, err := json.Marshal(decision)
	if err != nil {
		return err
	}
	return p.Run(fmt.Sprintf("return core.approve(%s, %s ?? {})", s, d), nil)
}

// ApproveNext waits for the next sheet and approves it as it is.
func (p *Page) ApproveNext() {
	p.T.Helper()
	if err := p.Approve(p.Sheet(), nil); err != nil {
		p.T.Fatalf("approve: %v\n%s", err, p.Console())
	}
}
