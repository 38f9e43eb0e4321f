package browserphone

import (
	"vmux/internal/signer/documents"
	"vmux/internal/wire"
)

// settings are what the phone's owner chose.
type settings struct {
	Version int    `json:"version"`
	Name    string `json:"name,omitempty"`
	// Push is whether its person wants this phone to be woken, and PushProblem the
	// page's code of why it cannot be: "" once the hub has a subscription.
	Push        bool   `json:"push,omitempty"`
	PushProblem string `json:"pushProblem,omitempty"`
	// OtherWay: its person has another way into the servers.
	OtherWay bool `json:"otherWay,omitempty"`
}

func (p *Phone) settings() (settings, error) {
	s, err := documents.Load[settings](p.cfg.Store, settingsDocument, "settings")
	if s == nil {
		return settings{Version: 1}, err
	}
	return *s, nil
}

// change replaces the settings; damaged ones are made anew.
func (p *Phone) change(f func(*settings)) error {
	p.settingsMu.Lock() // not mu: Put waits for the browser
	defer p.settingsMu.Unlock()
	s, _ := p.settings()
	f(&s)
	return documents.Save(p.cfg.Store, settingsDocument, s)
}

// name is the phone's, as computers show it.
func (p *Phone) name() string {
	if s, err := p.settings(); err == nil && s.Name != "" {
		return s.Name
	}
	if p.cfg.Name != "" {
		return wire.Show(p.cfg.Name)
	}
	return "phone"
}
