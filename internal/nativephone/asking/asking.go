// Package asking is where a running phone asks its person: at its own terminal, if it has
// one, at the one that `vmux phone attach` brings, and by a notification on the desktop. How
// a terminal asks is package terminal's.
package asking

import (
	"context"
	"errors"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/nativephone/terminal"
	"vmux/internal/signer"
)

// askAgain is how long a terminal that could not be asked is left alone.
const askAgain = time.Second

// Terminals are those at which a phone asks, one at a time: the one that was attached
// last, else the phone's own. Without any, requests wait for one until they expire. A
// question that stands moves with that, and what was typed for it before counts for
// nothing. Safe for concurrent use.
type Terminals struct {
	config Config

	mu       sync.Mutex
	own      *seat
	lost     bool // the own one could not be asked when it was tried last
	attached *seat
	turn     *turn // nil: there is no terminal
	changed  chan struct{}
	approved map[request]*seat // where a passphrase is asked for, until the request ends
	state    string            // told last
}

// Config says how terminals ask.
type Config struct {
	// Make sets up a terminal and returns what asks there.
	Make func(*terminal.Terminal) signer.Approver
	// Name is that of the phone.
	Name func() string
}

// request names one: its ID is chosen by the computer.
type request struct {
	from device.ID
	id   string
}

// seat is one terminal.
type seat struct {
	terminal *terminal.Terminal
	approver signer.Approver
	end      func()         // ends it; nil of the phone's own
	using    sync.WaitGroup // added to only while left is false
	left     bool           // guarded by Terminals.mu
}

// turn is the time for which the phone asks at one seat.
type turn struct {
	seat *seat
	ctx  context.Context
	end  context.CancelCauseFunc
}

// New makes a phone's terminals.
func New(c Config) *Terminals {
	return &Terminals{config: c, changed: make(chan struct{}), approved: map[request]*seat{}}
}

// Own takes the phone's own terminal. Before it is closed, nothing may be asked any more.
func (s *Terminals) Own(t *terminal.Terminal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own = s.sit(t)
	s.choose()
}

func (s *Terminals) sit(t *terminal.Terminal) *seat {
	return &seat{terminal: t, approver: s.config.Make(t)}
}

// attach has the phone ask at a terminal that was attached, in place of another one, which
// is returned.
func (s *Terminals) attach(t *terminal.Terminal, end func()) (now, before *seat) {
	s.mu.Lock()
	before, s.attached = s.attached, s.sit(t)
	s.attached.end = end
	s.choose()
	now, own := s.attached, s.own
	s.mu.Unlock()
	if own != nil && before == nil { // whose doing it may not be
		own.terminal.Say("Another terminal was attached, and is asked now.\n")
	}
	return now, before
}

// detach returns when nothing is asked at the seat any more.
func (s *Terminals) detach(seat *seat) {
	s.mu.Lock()
	seat.left = true
	if s.attached == seat {
		s.attached = nil
		s.choose()
		if s.own != nil {
			defer s.own.terminal.Say("The other terminal was detached: this one is asked again.\n")
		}
	}
	s.mu.Unlock()
	seat.using.Wait()
}

// choose begins another turn. The caller holds the lock.
func (s *Terminals) choose() {
	if s.turn != nil {
		s.turn.end(terminal.ErrElsewhere)
		s.turn = nil
	}
	seat := s.attached
	if seat == nil {
		seat = s.own
	}
	if seat != nil {
		s.turn = &turn{seat: seat}
		s.turn.ctx, s.turn.end = context.WithCancelCause(context.Background())
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// take waits for a terminal, to be released after use.
func (s *Terminals) take(ctx context.Context) (*turn, error) {
	for {
		s.mu.Lock()
		t, changed := s.turn, s.changed
		if t != nil {
			t.seat.using.Add(1)
		}
		s.mu.Unlock()
		if t != nil {
			return t, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Asked reports whether there is a terminal to ask at.
func (s *Terminals) Asked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turn != nil && (s.turn.seat != s.own || !s.lost)
}

// Approver returns the functions that ask.
func (s *Terminals) Approver() signer.Approver {
	return signer.Approver{
		Sign: func(ctx context.Context, sheet signer.SignSheet) (signer.SignDecision, error) {
			return ask(ctx, s, sheet.Sheet, func(ctx context.Context, a signer.Approver) (signer.SignDecision, error) { return a.Sign(ctx, sheet) })
		},
		Certificate: func(ctx context.Context, sheet signer.CertificateSheet) (signer.CertificateDecision, error) {
			return ask(ctx, s, sheet.Sheet, func(ctx context.Context, a signer.Approver) (signer.CertificateDecision, error) {
				return a.Certificate(ctx, sheet)
			})
		},
		Passphrase: s.passphrase,
		Unlocked:   s.unlocked,
		Failed:     s.failed,
		Paused:     s.paused,
	}
}

// ask asks at one terminal after the other until a person has answered, or ctx, which is
// the request's, ends.
func ask[D any](ctx context.Context, s *Terminals, sheet signer.Sheet, at func(context.Context, signer.Approver) (D, error)) (D, error) {
	var none D
	sheet.Shown() // whoever comes to attach a terminal has all of the request's time
	for {
		t, err := s.take(ctx)
		if err != nil {
			return none, err
		}
		// It lasts as long as the request where that was answered: a passphrase may follow.
		here, end := context.WithCancelCause(ctx)
		context.AfterFunc(ctx, func() { end(nil) })
		stop := context.AfterFunc(t.ctx, func() { end(context.Cause(t.ctx)) })
		d, err := at(here, t.seat.approver)
		if stop(); err == nil {
			s.note(ctx, request{sheet.From.ID, sheet.RequestID}, t.seat)
		}
		t.seat.using.Done()
		hungUp := errors.Is(err, terminal.ErrHungUp)
		s.lose(t, hungUp, err)
		if ctx.Err() != nil || !hungUp && !errors.Is(err, terminal.ErrElsewhere) && t.ctx.Err() == nil || err == nil {
			return d, err
		}
		end(nil)
		select {
		case <-t.ctx.Done(): // soon, where an attached one has hung up
		case <-time.After(askAgain): // the own terminal can be back
		case <-ctx.Done():
		}
	}
}

// lose notes whether the phone's own terminal could be asked, and says there if not: it may
// still be seen.
func (s *Terminals) lose(t *turn, hungUp bool, why error) {
	s.mu.Lock()
	own := t.seat == s.own
	says := own && hungUp && !s.lost
	if own {
		s.lost = hungUp
	}
	s.mu.Unlock()
	if says {
		t.seat.terminal.Say("A request waits, and cannot be asked here: " + why.Error() + ". Elsewhere: vmux phone attach\n")
	}
}

// note remembers at which seat a request was answered.
func (s *Terminals) note(ctx context.Context, r request, at *seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.approved[r] = at
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.approved, r)
	})
}

// of returns the seat at which a request was answered, to be released after use.
func (s *Terminals) of(r signer.PassphraseRequest) (*seat, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.approved[request{r.From, r.RequestID}]
	if at == nil || at.left {
		return nil, terminal.ErrHungUp
	}
	at.using.Add(1)
	return at, nil
}

// passphrase asks where the request was approved, and nowhere else: at another terminal it
// would stand below no sheet, and what is remembered is remembered there.
func (s *Terminals) passphrase(ctx context.Context, r signer.PassphraseRequest) ([]byte, error) {
	at, err := s.of(r)
	if err != nil {
		return nil, err
	}
	defer at.using.Done()
	return at.approver.Passphrase(ctx, r)
}

func (s *Terminals) unlocked(r signer.PassphraseRequest, secret []byte) {
	at, err := s.of(r)
	if err != nil {
		return
	}
	defer at.using.Done()
	if at.approver.Unlocked != nil {
		at.approver.Unlocked(r, secret)
	}
}

func (s *Terminals) failed(r signer.PassphraseRequest) {
	at, err := s.of(r)
	if err != nil {
		return
	}
	defer at.using.Done()
	if at.approver.Failed != nil {
		at.approver.Failed(r)
	}
}

func (s *Terminals) paused(p signer.Pause) {
	s.mu.Lock()
	t := s.turn
	if t != nil {
		t.seat.using.Add(1)
	}
	s.mu.Unlock()
	if t == nil {
		return // `vmux phone pauses` tells
	}
	defer t.seat.using.Done()
	t.seat.approver.Paused(p)
}

// Say tells an attached terminal what the phone says at its own.
func (s *Terminals) Say(text string) {
	s.mu.Lock()
	s.state = text
	at := s.attached
	if at != nil {
		at.using.Add(1)
	}
	s.mu.Unlock()
	if at != nil {
		defer at.using.Done()
		at.terminal.Say(text + "\n")
	}
}

// greet says at a terminal that was attached where it is, and how it stands.
func (s *Terminals) greet(t *terminal.Terminal) {
	s.mu.Lock()
	state := s.state
	s.mu.Unlock()
	if state != "" {
		state += "\n"
	}
	t.Say("Attached to the phone " + s.config.Name() + ". ^C detaches: the phone goes on.\n" + state)
}

// Forget wipes all passphrases that are remembered, and returns how many there were.
func (s *Terminals) Forget() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range []*seat{s.own, s.attached} {
		if at != nil {
			n += at.terminal.Memory.Clear()
		}
	}
	return n
}
