package signer

import (
	"context"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// Approver asks the person. Each function may be called concurrently, returns
// soon after its context ends, and denies when it is nil.
type Approver struct {
	// Sign shows a request for a signature.
	Sign func(context.Context, SignSheet) (approved bool, err error)
	// Certificate shows a request for a session certificate.
	Certificate func(context.Context, CertificateSheet) (CertificateDecision, error)
	// Passphrase asks for the secret of a key, after an approval. The caller
	// wipes what it returns.
	Passphrase func(context.Context, PassphraseRequest) ([]byte, error)
}

// Sheet is what is shown of any request. Names of devices are fit to be shown.
type Sheet struct {
	From    device.Peer
	Label   string // the identity's
	Expires time.Time
	// Shown tells the computer that the person sees the request, and may be
	// called more than once.
	Shown func()
}

// SignSheet is what is shown of a request for a signature.
type SignSheet struct {
	Sheet
	Fingerprint string
	Quality     wire.ContextQuality
	Known       sshctx.Context // what the signed bytes say; zero if unreadable
	Claimed     wire.Context   // what the computer says
}

// CertificateSheet is what is shown of a request for a session certificate.
type CertificateSheet struct {
	Sheet
	Principals []string
	Validity   time.Duration
	Automatic  bool // nobody pressed a button on the computer
}

// CertificateDecision is the person's. It can narrow what was asked, not widen.
type CertificateDecision struct {
	Approved   bool
	Validity   time.Duration // 0: as asked
	Principals []string      // nil: as asked
}

// PassphraseRequest says what a passphrase is for.
type PassphraseRequest struct {
	Label   string // the key's
	Attempt int    // from 1
}

func (a Approver) sign(ctx context.Context, sheet SignSheet) error {
	if a.Sign == nil {
		return wire.NewError(wire.CodeUserDenied)
	}
	approved, err := a.Sign(ctx, sheet)
	if err == nil && !approved {
		err = wire.NewError(wire.CodeUserDenied)
	}
	return err
}

func (a Approver) certificate(ctx context.Context, sheet CertificateSheet) (CertificateDecision, error) {
	if a.Certificate == nil {
		return CertificateDecision{}, wire.NewError(wire.CodeUserDenied)
	}
	d, err := a.Certificate(ctx, sheet)
	if err == nil && !d.Approved {
		err = wire.NewError(wire.CodeUserDenied)
	}
	return d, err
}

func (a Approver) unlock(label string) Unlock {
	return func(ctx context.Context, attempt int) ([]byte, error) {
		if a.Passphrase == nil {
			return nil, wire.NewError(wire.CodeAuthenticationFailed)
		}
		return a.Passphrase(ctx, PassphraseRequest{Label: label, Attempt: attempt})
	}
}

// Limits of waiting requests.
const (
	maxWaiting        = 64
	maxWaitingPerPeer = 16
	maxRemembered     = 8192
)

// queue counts the requests that wait for the person.
type queue struct {
	mu      sync.Mutex
	total   int
	perPeer map[device.ID]int
}

func (q *queue) enter(id device.ID) (leave func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.total >= maxWaiting || q.perPeer[id] >= maxWaitingPerPeer {
		return nil, wire.NewError(wire.CodeSignerBusy)
	}
	if q.perPeer == nil {
		q.perPeer = map[device.ID]int{}
	}
	q.total++
	q.perPeer[id]++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.total--
		if q.perPeer[id]--; q.perPeer[id] == 0 {
			delete(q.perPeer, id)
		}
	}, nil
}

// replayGuard remembers request IDs and nonces until no window can be open that
// they were made for. It does not outlive the process: what is replayed after a
// restart comes through an authenticated channel, from the computer that made
// it, and is shown to the person like a new request.
type replayGuard struct {
	mu   sync.Mutex
	seen map[string]time.Time // until when
}

func (g *replayGuard) check(from device.ID, a *wire.Asking, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seen == nil {
		g.seen = map[string]time.Time{}
	}
	for k, until := range g.seen {
		if now.After(until) {
			delete(g.seen, k)
		}
	}
	keys := []string{string(from[:]) + "i" + a.RequestID, "n" + string(a.Nonce)}
	for _, k := range keys {
		if _, ok := g.seen[k]; ok {
			return wire.NewError(wire.CodeReplayDetected)
		}
	}
	if len(g.seen) >= maxRemembered {
		return wire.NewError(wire.CodeSignerBusy)
	}
	for _, k := range keys {
		g.seen[k] = now.Add(3 * wire.MaxWindow)
	}
	return nil
}

// admit decides whether a request may be looked at, and until when it may wait.
// The caller leaves the queue.
func (s *Signer) admit(from device.Peer, a *wire.Asking) (until time.Time, leave func(), err error) {
	if a.SourceDeviceID != from.ID.String() {
		return until, nil, wire.Errorf(wire.CodePairingInvalid, "the request names another computer than the one that sent it")
	}
	now := s.cfg.Now()
	if until, err = window(a, now); err != nil {
		return until, nil, err
	}
	if err = s.replay.check(from.ID, a, now); err != nil {
		return until, nil, err
	}
	leave, err = s.queue.enter(from.ID)
	return until, leave, err
}

// window returns the end of the request's window on this phone's clock. A
// request from outside its window is refused: either it was held back, or the
// clocks differ by more than a window.
func window(a *wire.Asking, now time.Time) (time.Time, error) {
	length := min(time.Duration(a.ExpiresAtMilliseconds-a.IssuedAtMilliseconds)*time.Millisecond, wire.MaxWindow)
	issued := time.UnixMilli(a.IssuedAtMilliseconds)
	if off := now.Sub(issued); off >= length || off <= -length {
		return time.Time{}, wire.Errorf(wire.CodeRequestExpired, "Clocks differ by %d s.", int64(off.Abs().Seconds()))
	}
	left := min(issued.Add(length).Sub(now), length)
	return now.Add(left), nil
}
