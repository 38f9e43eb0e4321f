package signer

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer/activity"
	"vmux/internal/signer/documents"
	"vmux/internal/signer/identity"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

const (
	grantsDocument = "grants.json"
	// MaxGrant is the longest time that a grant can hold.
	MaxGrant  = time.Hour
	maxGrants = 64
	// grantNamespace is the one purpose of signatures that can be granted.
	grantNamespace = "git"
)

// Grant lets one computer use one key for one purpose without asking, for a
// while: logins to one verified server, or git signatures. It ends by itself,
// on a tap, when the phone is locked, and when it ends; it is in memory alone, and the
// secret that it needs with it.
type Grant struct {
	ID         string    `json:"id"`
	Label      wire.Text `json:"label"`
	Key        string    `json:"key"` // fingerprint
	DeviceID   device.ID `json:"deviceID"`
	DeviceName wire.Text `json:"deviceName"`
	HostKey    []byte    `json:"hostKey,omitempty"`
	User       string    `json:"user,omitempty"` // of the logins; each its own grant
	Namespace  string    `json:"namespace,omitempty"`
	What       wire.Text `json:"what"` // SignSheet.Title of the login that was approved, or "git signatures"
	Since      time.Time `json:"since"`
	Until      time.Time `json:"until"`
}

// held is a grant and the secret that it needs.
type held struct {
	grant  Grant
	secret []byte
}

// over reports whether the time of a grant or a pause has passed, or the clock was set back
// before its beginning: one that began while it was wrong could last for years.
func over(since, until, now time.Time) bool {
	return !now.Before(until) || now.Before(since.Add(-time.Minute))
}

// grantDocument is what is kept of a person's wish.
type grantDocument struct {
	Version int  `json:"version"`
	Enabled bool `json:"enabled"`
	// Off tells that a person has switched them off: then no sheet offers one.
	Off bool `json:"off,omitempty"`
}

func (s *Signer) grantDocument() (grantDocument, error) {
	doc, err := documents.Load[grantDocument](s.cfg.Store, grantsDocument, "grants")
	if doc == nil {
		return grantDocument{}, err
	}
	return *doc, nil
}

// GrantsEnabled reports whether an approval may grant more than itself. It is
// off until it is switched on, or a grant that a sheet offers is taken.
func (s *Signer) GrantsEnabled() (bool, error) {
	doc, err := s.grantDocument()
	return doc.Enabled, err
}

// EnableGrants switches grants on or off. Off ends all of them, also where it cannot
// be stored.
func (s *Signer) EnableGrants(on bool) error {
	if !on {
		s.EndGrant("")
		defer s.EndGrant("") // what was granted meanwhile
	}
	return s.locked(func() error { return s.enableGrants(on) })
}

// enableGrants is EnableGrants for who holds the lock.
func (s *Signer) enableGrants(on bool) error {
	doc, err := s.grantDocument()
	was := err == nil && doc.Enabled // a damaged document grants nothing
	if on && !was {                  // not without a record
		if err := s.Activity.Write(activity.Record{Kind: activity.KindGrants, Decision: activity.DecisionEnabled}); err != nil {
			return err
		}
	}
	err = documents.Save(s.cfg.Store, grantsDocument, grantDocument{1, on, !on})
	if !on && was { // also without a record
		err = errors.Join(err, s.Activity.Write(activity.Record{Kind: activity.KindGrants, Decision: activity.DecisionDisabled}))
	}
	return err
}

// Grants returns those that hold now.
func (s *Signer) Grants() []Grant {
	s.endOver()
	s.grants.Lock()
	defer s.grants.Unlock()
	list := make([]Grant, 0, len(s.held))
	for _, h := range s.held {
		list = append(list, h.grant)
	}
	return list
}

// EndGrant ends a grant, by its ID. An empty ID ends all: when the phone is
// locked, and when it ends.
func (s *Signer) EndGrant(id string) {
	s.endGrants(func(g Grant) bool { return id == "" || g.ID == id })
}

// EndGrantsOf ends the grants of a computer that is unpaired: if it is paired
// anew, it begins with none.
func (s *Signer) EndGrantsOf(id device.ID) {
	s.endGrants(func(g Grant) bool { return g.DeviceID == id })
}

// endOver wipes the secrets of grants whose time has passed. Each use of grants does
// that, and watchGrants.
func (s *Signer) endOver() {
	now := s.cfg.Now()
	s.endGrants(func(g Grant) bool { return over(g.Since, g.Until, now) })
}

func (s *Signer) endGrants(which func(Grant) bool) {
	s.grants.Lock()
	defer s.grants.Unlock()
	s.held = slices.DeleteFunc(s.held, func(h held) bool {
		ends := which(h.grant)
		if ends {
			clear(h.secret)
		}
		return ends
	})
}

// Grantable reports whether the sheet's request can be granted for a while: see
// likeness.
func (s SignSheet) Grantable() bool {
	_, ok := s.likeness()
	return ok && s.grantable
}

// OffersGrant reports whether the sheet itself offers a grant: `git push` with LFS
// asks five times, `docker -H ssh://` more often, and from the third time on a person
// approves without reading.
func (s SignSheet) OffersGrant() bool {
	return s.Again >= offerAfter && s.Grantable() && !s.MustAcknowledge()
}

const (
	offerAfter  = 2 // approvals of the like
	offerWithin = time.Minute
	maxApproved = 256
)

// likeness is what a grant is for: requests that have it in common are like each other.
type likeness struct {
	computer                      device.ID
	key, hostKey, user, namespace string
}

// likeness of a login whose signed bytes name the server, not by way of another one,
// or of a git signature; others cannot be granted. Where a session binding alone
// tells the server, its owner could vouch for a login to any other.
func (s SignSheet) likeness() (likeness, bool) {
	l := likeness{computer: s.From.ID, key: s.Fingerprint}
	switch s.Known.Kind {
	case sshctx.HostBound:
		if len(s.Known.User) > wire.MaxNameSize { // none is; and it is remembered
			return l, false
		}
		l.hostKey, l.user = string(s.Destination.HostKey), s.Known.User
		return l, s.Destination.HostKey != nil && !s.Destination.Forwarded()
	case sshctx.SSHSIG:
		l.namespace = s.Known.Namespace
		return l, l.namespace == grantNamespace && !s.Destination.Forwarded()
	}
	return l, false
}

// approved is a request that a person has approved, and when.
type approved struct {
	likeness
	at time.Time
}

// noteApproved remembers that a person has approved the request. What is denied, or
// withdrawn, does not count: a computer could bring the offer about by itself.
func (s *Signer) noteApproved(sheet SignSheet) {
	l, ok := sheet.likeness()
	if !ok {
		return
	}
	s.grants.Lock()
	defer s.grants.Unlock()
	s.approved = append(s.approved, approved{l, s.cfg.Now()})
	s.approved = s.approved[max(0, len(s.approved)-maxApproved):]
}

// again returns how many requests like this one were approved of late.
func (s *Signer) again(sheet SignSheet) (n int) {
	l, _ := sheet.likeness()
	since := s.cfg.Now().Add(-offerWithin)
	s.grants.Lock()
	defer s.grants.Unlock()
	for _, a := range s.approved {
		if a.likeness == l && a.at.After(since) {
			n++
		}
	}
	return n
}

// canGrant reports whether an approval of the sheet may grant more than itself: grants
// are on, or nobody has switched them off and the sheet offers one; and the key's
// provider can sign without a person, by a secret that was given once: it has
// Unattended() bool and says so. A passkey asks each time by its nature.
func (s *Signer) canGrant(id identity.Identity, again int) bool {
	p, ok := s.cfg.Providers[id.Provider].(interface{ Unattended() bool })
	if !ok || !p.Unattended() {
		return false
	}
	doc, err := s.grantDocument()
	return err == nil && doc.grants(again)
}

// grants reports whether an approval may grant more than itself, after so many of the
// like.
func (d grantDocument) grants(again int) bool { return d.Enabled || !d.Off && again >= offerAfter }

// covers reports whether the grant lets a request pass.
func (g Grant) covers(s SignSheet, now time.Time) bool {
	if !s.Grantable() || s.MustAcknowledge() || g.Key != s.Fingerprint || g.DeviceID != s.From.ID || !now.Before(g.Until) {
		return false
	}
	if s.Known.Kind == sshctx.SSHSIG {
		return g.Namespace == s.Known.Namespace
	}
	return g.HostKey != nil && bytes.Equal(g.HostKey, s.Destination.HostKey) && g.User == s.Known.User
}

// granted returns a way to unlock the key without a person, if a grant covers
// the request.
func (s *Signer) granted(sheet SignSheet) (identity.Unlock, bool) {
	s.endOver()
	now := s.cfg.Now()
	s.grants.Lock()
	defer s.grants.Unlock()
	n := slices.IndexFunc(s.held, func(h held) bool { return h.grant.covers(sheet, now) })
	if n < 0 {
		return nil, false
	}
	secret := bytes.Clone(s.held[n].secret)
	return func(_ context.Context, attempt int) ([]byte, error) {
		if attempt > 1 {
			return nil, wire.NewError(wire.CodeAuthenticationFailed)
		}
		return secret, nil
	}, true
}

// capture keeps a copy of what unlock returns, for a grant.
type capture struct {
	grant  time.Duration // 0: none is given
	secret []byte
}

func (c *capture) of(unlock identity.Unlock) identity.Unlock {
	return func(ctx context.Context, attempt int) ([]byte, error) {
		secret, err := unlock(ctx, attempt)
		clear(c.secret)
		c.secret = bytes.Clone(secret)
		return secret, err
	}
}

// grant holds to a decision to let the like of this request pass for a while.
func (s *Signer) grant(sheet SignSheet, wanted time.Duration, secret []byte) error {
	now := s.cfg.Now().Round(0)
	g := Grant{
		ID: wire.NewID(), Label: sheet.Label, Key: sheet.Fingerprint, DeviceID: sheet.From.ID, DeviceName: sheet.From.Name,
		What: sheet.Title(), Since: now, Until: now.Add(min(wanted, MaxGrant)),
	}
	if sheet.Known.Kind == sshctx.SSHSIG {
		// Of whatever kind: that it is a commit only the computer says.
		g.Namespace, g.What = sheet.Known.Namespace, wire.Say("%s signatures", wire.Clean(sheet.Known.Namespace))
	} else {
		g.HostKey, g.User = sheet.Destination.HostKey, sheet.Known.User
	}
	kept := false
	err := s.locked(func() error { // nobody switches them off meanwhile
		doc, err := s.grantDocument()
		if err == nil && !doc.Enabled && doc.grants(sheet.Again) { // the offer is taken
			err = s.enableGrants(true)
			doc.Enabled = true
		}
		s.grants.Lock()
		defer s.grants.Unlock()
		if kept = err == nil && doc.Enabled && len(s.held) < maxGrants; kept {
			s.held = append(s.held, held{g, secret})
		}
		return err
	})
	if !kept {
		clear(secret)
		return err
	}
	s.watchGrants()
	return nil
}

// grantLook is how often the wall clock is looked at while grants are held: a timer
// for a grant's end stands still while the machine sleeps.
const grantLook = 10 * time.Second

// watchGrants wipes the secrets of grants at their end, for a phone that nobody asks
// anything, until there is no grant left.
func (s *Signer) watchGrants() {
	s.endOver()
	now := s.cfg.Now()
	s.grants.Lock()
	defer s.grants.Unlock()
	if s.grantTimer != nil {
		s.grantTimer.Stop()
		s.grantTimer = nil
	}
	if len(s.held) == 0 {
		return
	}
	next := grantLook
	for _, h := range s.held {
		next = min(next, h.grant.Until.Sub(now)+time.Millisecond) // not a hair before it is over
	}
	s.grantTimer = time.AfterFunc(next, s.watchGrants)
}
