package signer

import (
	"slices"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer/documents"
	"vmux/internal/wire"
)

const (
	pausesDocument = "pauses.json"
	// pauseDenials within pauseWithin pause a computer for pauseFor: whoever
	// floods a person with sheets hopes for one wrong tap.
	pauseDenials = 3
	pauseWithin  = time.Minute
	pauseFor     = 5 * time.Minute
	// MuteFor is how long a muted program is not asked for.
	MuteFor   = time.Hour
	maxPauses = 256
)

// Pause says that requests of a computer, or of one of its programs, are
// refused without asking, for a while.
type Pause struct {
	DeviceID   device.ID `json:"deviceID"`
	DeviceName wire.Text `json:"deviceName"`
	// Program is the chain of programs that is muted, as the computer claims it;
	// empty: the whole computer, after several denials.
	Program wire.Text `json:"program,omitzero"`
	// Since is when the first of the denials was made; see Report.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

type pauseDocument struct {
	Version int     `json:"version"`
	Pauses  []Pause `json:"pauses"`
}

// Pauses returns those that hold now.
func (s *Signer) Pauses() ([]Pause, error) {
	doc, err := documents.Load[pauseDocument](s.cfg.Store, pausesDocument, "pauses")
	if doc == nil {
		return nil, err
	}
	now := s.cfg.Now()
	return slices.DeleteFunc(doc.Pauses, func(p Pause) bool { return over(p.Since, p.Until, now) }), nil
}

// EndPauses lets a computer ask again.
func (s *Signer) EndPauses(id device.ID) error {
	return s.changePauses(func(list []Pause) []Pause {
		return slices.DeleteFunc(list, func(p Pause) bool { return p.DeviceID == id })
	})
}

func (s *Signer) changePauses(change func([]Pause) []Pause) error {
	return s.locked(func() error {
		list, err := s.Pauses()
		if err != nil {
			list = nil // a damaged document pauses nobody; what is added now counts
		}
		list = change(list)
		return documents.Save(s.cfg.Store, pausesDocument, pauseDocument{Version: 1, Pauses: list[max(0, len(list)-maxPauses):]})
	})
}

// paused refuses a request of a computer or a program that is paused.
func (s *Signer) paused(from device.ID, programs wire.Text) error {
	list, err := s.Pauses()
	if err != nil {
		s.cfg.Log.Error("pauses", "err", err)
	}
	for _, p := range list {
		left := p.Until.Sub(s.cfg.Now()).Round(time.Second)
		switch {
		case p.DeviceID != from:
		case p.Program == wire.Text{}:
			return wire.Errorf(wire.CodePaused, "%s; it ends in %s", wire.MeaningOf(wire.CodePaused).Sentence, left)
		case p.Program == programs:
			return wire.Errorf(wire.CodeMuted, "%s; it ends in %s", wire.MeaningOf(wire.CodeMuted).Sentence, left)
		}
	}
	return nil
}

// denied counts a person's denial. The third within a minute pauses the
// computer: it returns that pause.
func (s *Signer) denied(from device.Peer) *Pause {
	now := s.cfg.Now()
	s.grants.Lock()
	if s.denials == nil {
		s.denials = map[device.ID][]time.Time{}
	}
	recent := append(slices.DeleteFunc(s.denials[from.ID], func(t time.Time) bool { return now.Sub(t) > pauseWithin }), now)
	s.denials[from.ID] = recent
	tooMany := len(recent) >= pauseDenials
	if tooMany {
		delete(s.denials, from.ID)
	}
	s.grants.Unlock()
	if !tooMany {
		return nil
	}
	p := Pause{DeviceID: from.ID, DeviceName: from.Name, Since: recent[0].Round(0).UTC(), Until: now.Add(pauseFor).Round(0)}
	s.pause(p)
	return &p
}

// mute refuses the like of a request for an hour: of the same programs, or of
// the whole computer where it does not say which.
func (s *Signer) mute(sheet SignSheet) {
	s.pause(Pause{
		DeviceID: sheet.From.ID, DeviceName: sheet.From.Name,
		Program: sheet.Claimed.Programs, Since: s.cfg.Now().Round(0).UTC(), Until: s.cfg.Now().Add(MuteFor).Round(0),
	})
}

func (s *Signer) pause(p Pause) {
	if err := s.changePauses(func(list []Pause) []Pause { return append(list, p) }); err != nil {
		s.cfg.Log.Error("pause a computer", "peer", p.DeviceID.Short(), "err", err)
	}
}
