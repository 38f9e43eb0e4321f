package browserphone

import (
	"context"

	"vmux/internal/browserphone/pagestate"
	"vmux/internal/browserphone/sheets"
	"vmux/internal/device"
	"vmux/internal/signer"
)

// grants returns what cannot be read as none: then nothing is granted either.
func (p *Phone) grants() pagestate.Grants {
	on, err := p.signer.GrantsEnabled()
	if err != nil {
		p.cfg.Log.Error("grants", "err", err)
		return pagestate.Grants{List: []pagestate.Grant{}}
	}
	return pagestate.Grants{Enabled: on, List: pagestate.GrantsOf(p.signer.Grants())}
}

func (p *Phone) pauses() []pagestate.Pause {
	all, err := p.signer.Pauses()
	if err != nil {
		p.cfg.Log.Error("pauses", "err", err)
	}
	list := []pagestate.Pause{}
	for _, one := range all {
		list = append(list, pagestate.PauseOf(one))
	}
	return list
}

// paused implements signer.Approver.Paused.
func (p *Phone) paused(pause signer.Pause) {
	p.cfg.Emit("paused", pagestate.PauseOf(pause))
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

// background notes that nobody sees the page any more.
func (p *Phone) background(context.Context, arguments) (any, error) {
	p.away.Left(p.cfg.Now(), p.endGrantsWhenAway)
	return nil, nil
}

// endGrantsWhenAway ends all grants if nobody has seen the page for long. It is
// asked before each request as well: browsers let pages sleep, with their timers.
func (p *Phone) endGrantsWhenAway() {
	if p.away.Over(p.cfg.Now()) {
		p.signer.EndGrant("")
		p.changed()
	}
}
