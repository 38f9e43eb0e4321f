package browserphone

import (
	"encoding/json"
	"errors"
	"fmt"

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
}

func (p *Phone) settings() (settings, error) {
	b, err := p.cfg.Store.Get(settingsDocument)
	if err != nil {
		return settings{}, fmt.Errorf("load settings: %w", err)
	}
	s := settings{Version: 1}
	if b != nil && (json.Unmarshal(b, &s) != nil || s.Version != 1) {
		return settings{Version: 1}, errors.New("load settings: the document is damaged")
	}
	return s, nil
}

// change replaces the settings; damaged ones are made anew.
func (p *Phone) change(f func(*settings)) error {
	p.settingsMu.Lock() // not mu: Put waits for the browser
	defer p.settingsMu.Unlock()
	s, _ := p.settings()
	f(&s)
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return p.cfg.Store.Put(settingsDocument, b)
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
