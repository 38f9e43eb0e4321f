package browserphone

import (
	"context"
	"time"

	"vmux/internal/browserphone/sheets"
	"vmux/internal/device"
	"vmux/internal/signer"
	"vmux/internal/wire"
)

// GrantState is what may be used without asking.
type GrantState struct {
	Enabled bool    `json:"enabled"`
	List    []Grant `json:"list"`
}

// Grant is a signer.Grant as the page shows it.
type Grant struct {
	ID       string    `json:"id"`
	Label    wire.Text `json:"label"`
	Computer wire.Text `json:"computer"`
	What     wire.Text `json:"what"`
	Since    int64     `json:"since"` // Unix milliseconds
	Until    int64     `json:"until"`
}

// Pause is a signer.Pause as the page shows it.
type Pause struct {
	ComputerID string    `json:"computerID"`
	Computer   wire.Text `json:"computer"`
	Program    wire.Text `json:"program,omitzero"` // empty: the whole computer
	Until      int64     `json:"until"`            // Unix milliseconds
}

// grants returns what cannot be read as none: then nothing is granted either.
func (p *Phone) grants() GrantState {
	s := GrantState{List: []Grant{}}
	on, err := p.signer.GrantsEnabled()
	if err != nil {
		p.cfg.Log.Error("grants", "err", err)
		return s
	}
	s.Enabled = on
	for _, g := range p.signer.Grants() {
		s.List = append(s.List, Grant{
			ID: g.ID, Label: g.Label, Computer: g.DeviceName, What: g.What,
			Since: milliseconds(g.Since), Until: milliseconds(g.Until),
		})
	}
	return s
}

func (p *Phone) pauses() []Pause {
	all, err := p.signer.Pauses()
	if err != nil {
		p.cfg.Log.Error("pauses", "err", err)
	}
	list := []Pause{}
	for _, one := range all {
		list = append(list, pauseOf(one))
	}
	return list
}

func pauseOf(p signer.Pause) Pause {
	return Pause{ComputerID: p.DeviceID.String(), Computer: p.DeviceName, Program: p.Program, Until: milliseconds(p.Until)}
}

// paused implements signer.Approver.Paused.
func (p *Phone) paused(pause signer.Pause) {
	p.cfg.Emit("paused", pauseOf(pause))
	for _, o := range p.sheets.Of(pause.DeviceID) { // to be denied one after the other would be no pause
		_ = p.sheets.Take(o, sheets.Answer{Joined: true}, nil)
	}
	p.changed()
}

// endPauses lets a computer, and its muted programs, ask again.
func (p *Phone) endPauses(_ context.Context, a arguments) (any, error) {
	id, err := device.ParseID(a.ID)
	if err != nil {
		return nil, device.ErrNotPaired
	}
	defer p.changed()
	return nil, p.signer.EndPauses(id)
}

func (p *Phone) enableGrants(_ context.Context, a arguments) (any, error) {
	defer p.changed()
	return nil, p.signer.EnableGrants(a.Enabled)
}

// endGrant ends a grant, or all of them without an ID.
func (p *Phone) endGrant(_ context.Context, a arguments) (any, error) {
	p.signer.EndGrant(a.ID)
	p.changed()
	return nil, nil
}

// endGrantLater shows that a grant is over when its time is.
func (p *Phone) endGrantLater(after time.Duration) { time.AfterFunc(after+time.Second, p.changed) }

// background notes that nobody sees the page any more.
func (p *Phone) background(context.Context, arguments) (any, error) {
	p.away.Left(p.cfg.Now(), p.endGrantsWhenAway)
	return nil, nil
}

// returned notes that the page is seen.
func (p *Phone) returned() {
	p.endGrantsWhenAway()
	p.away.Returned()
}

// endGrantsWhenAway ends all grants if nobody has seen the page for long. It is
// asked before each request as well: browsers let pages sleep, with their timers.
func (p *Phone) endGrantsWhenAway() {
	if p.away.Over(p.cfg.Now()) {
		p.signer.EndGrant("")
		p.changed()
	}
}
