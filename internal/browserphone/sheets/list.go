package sheets

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer"
	"vmux/internal/signer/identity"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

// Errors of answers.
var (
	// ErrEnded: the request has ended, or was answered before.
	ErrEnded = errors.New("this request has ended")
	// ErrNotTogether: the requests are not like each other.
	ErrNotTogether = errors.New("these requests cannot be answered together")
)

// Key names a request: its ID is the computer's choice.
type Key struct {
	From device.ID
	ID   string
}

// Request is one that waits for the person, or for the signature.
type Request struct {
	Key     Key
	Signing identity.Identity // the key that signs
	Data    []byte            // of a signature
	Shown   func()            // tells the computer
	// Prepare makes a certificate; nil for a signature.
	Prepare func(signer.CertificateDecision) (*signer.Draft, error)

	answer chan Answer   // of capacity 1
	closed chan struct{} // when end is set

	// Guarded by List.mu.
	sheet     Sheet
	draft     *signer.Draft
	challenge []byte // of the WebAuthn call that approves
	answered  bool
	secret    []byte // for the provider
	end       End
}

// Answer is the person's.
type Answer struct {
	Approved bool
	Draft    *signer.Draft
	Grant    time.Duration
	Mute     bool
	Joined   bool // it was another request's sheet that was answered
}

// New returns a request that is not shown yet.
func New(r Request, sheet Sheet) *Request {
	r.answer, r.closed = make(chan Answer, 1), make(chan struct{})
	r.sheet = sheet
	r.sheet.ID = wire.NewID()
	r.challenge = r.newChallenge()
	return &r
}

// newChallenge returns the WebAuthn challenge that approves: a passkey's answer
// is the signature itself, and a vault's opens the vault.
func (r *Request) newChallenge() []byte {
	switch {
	case r.Signing.Provider == identity.ProviderPasskey && r.draft != nil:
		return r.draft.Data()
	case r.Signing.Provider == identity.ProviderPasskey:
		return r.Data
	}
	return webauthn.NewChallenge()
}

// Answer waits until the person has answered or ctx ends.
func (r *Request) Answer(ctx context.Context) (Answer, error) {
	select {
	case a := <-r.answer:
		return a, nil
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

// End waits until the request or ctx has ended.
func (r *Request) End(ctx context.Context) (End, error) {
	select {
	case <-r.closed:
		return r.end, nil
	case <-ctx.Done():
		return End{}, ctx.Err()
	}
}

// List are the requests that are shown. Safe for concurrent use; no method waits.
type List struct {
	mu    sync.Mutex
	byID  map[string]*Request
	byKey map[Key]*Request
	order []*Request
}

// Show adds a request, and returns its sheet.
func (l *List) Show(r *Request) Sheet {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID == nil {
		l.byID, l.byKey = map[string]*Request{}, map[Key]*Request{}
	}
	l.byID[r.sheet.ID], l.byKey[r.Key] = r, r
	l.order = append(l.order, r)
	return r.sheet
}

// Get returns the request of a sheet that was not answered yet.
func (l *List) Get(id string) (*Request, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.byID[id]
	if r == nil || r.answered {
		return nil, ErrEnded
	}
	return r, nil
}

// Sheets returns those that were not answered yet, the oldest first.
func (l *List) Sheets() []Sheet {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := []Sheet{}
	for _, r := range l.order {
		if !r.answered {
			list = append(list, r.sheet)
		}
	}
	return list
}

// Of returns the requests of one computer.
func (l *List) Of(id device.ID) (list []*Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.order {
		if r.Key.From == id {
			list = append(list, r)
		}
	}
	return list
}

// Now returns a request's sheet as it is, and what approves it: the challenge, and of a
// certificate the draft that the challenge is for.
func (l *List) Now(r *Request) (sheet Sheet, challenge []byte, draft *signer.Draft) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return r.sheet, r.challenge, r.draft
}

// SetDraft puts a certificate on the sheet, so that its bytes are known when the person
// taps.
func (l *List) SetDraft(r *Request, draft *signer.Draft) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.draft = draft
	r.challenge = r.newChallenge()
	r.sheet.ValiditySeconds, r.sheet.Principals = int64(draft.Validity()/time.Second), draft.Principals()
}

// Take notes the person's answer; only the first one counts. Of others it wipes the
// secret.
func (l *List) Take(r *Request, a Answer, secret []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.answered || l.byID[r.sheet.ID] != r {
		clear(secret)
		return ErrEnded
	}
	r.answered, r.secret = true, secret
	r.answer <- a
	return nil
}

// Secret returns what the tap has brought that approved, once; nil if there is none.
func (l *List) Secret(key Key) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.byKey[key]
	if r == nil {
		return nil
	}
	secret := r.secret
	r.secret = nil
	return secret
}

// Close ends a request, and reports whether it was shown.
func (l *List) Close(key Key, end End) (End, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.byKey[key]
	if r == nil {
		return end, false
	}
	end.ID = r.sheet.ID
	r.end, r.answered = end, true
	clear(r.secret)
	r.secret = nil
	delete(l.byKey, key)
	delete(l.byID, end.ID)
	l.order = slices.DeleteFunc(l.order, func(other *Request) bool { return other == r })
	close(r.closed)
	return end, true
}

// Joined returns the requests that a sheet has listed, but for those that have
// ended since. Only what is like it can be answered with it: signatures by one
// key of a vault, for one computer, without a warning. A passkey is asked for each
// signature by its nature.
func (l *List) Joined(r *Request, ids []string) ([]*Request, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []*Request
	for _, id := range ids {
		other := l.byID[id]
		if other == nil || other.answered {
			continue
		}
		if other == r || slices.Contains(list, other) || !r.joins() || !other.joins() ||
			other.Key.From != r.Key.From || other.sheet.Fingerprint != r.sheet.Fingerprint {
			return nil, ErrNotTogether
		}
		list = append(list, other)
	}
	return list, nil
}

// joins reports whether others can be answered together with the request.
func (r *Request) joins() bool {
	return r.Prepare == nil && r.Signing.Provider != identity.ProviderPasskey && !r.sheet.MustAcknowledge
}
