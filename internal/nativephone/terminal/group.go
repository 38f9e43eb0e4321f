package terminal

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"

	"vmux/internal/device"
	"vmux/internal/signer"
)

// groups puts requests of one computer for one key that wait at the same time
// onto one sheet, each listed: rsync, ansible -f 30 and both hops of ssh -J ask
// at once. What is decided holds for those that the sheet has listed, and for no
// other. A request that carries a warning stands alone.
type groups struct {
	mu      sync.Mutex
	waiting []*member
	secrets map[requestKey]*groupSecret
}

// requestKey names a request. The computer chooses its ID: alone it would give
// one computer's passphrase to another that takes the same.
type requestKey struct {
	from device.ID
	id   string
}

// member is a request that waits.
type member struct {
	sheet   signer.SignSheet
	request context.Context // ends with the request, and not before it is signed
	// ctx ends with the request, and when another sheet has decided it: what is
	// set then.
	ctx  context.Context
	end  context.CancelFunc
	what *signer.SignDecision // guarded by groups.mu
}

// groupSecret is the passphrase that is asked for once for a group. Its last
// user wipes it.
type groupSecret struct {
	asking chan struct{} // holds a token while a person types

	// Guarded by groups.mu.
	attempt int
	secret  []byte // nil: not typed yet, or wiped
	users   int
	failed  bool // it was said that none was right
}

func (g *groups) join(ctx context.Context, s signer.SignSheet) *member {
	m := &member{sheet: s, request: ctx}
	m.ctx, m.end = context.WithCancel(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, m)
	return m
}

// leave returns what another sheet has decided, if one has.
func (g *groups) leave(m *member) *signer.SignDecision {
	g.mu.Lock()
	defer g.mu.Unlock()
	m.end()
	g.waiting = slices.DeleteFunc(g.waiting, func(other *member) bool { return other == m })
	return m.what
}

// like returns the requests that can be decided together with m and are not
// listed with it yet.
func (g *groups) like(m *member, listed []*member) []*member {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []*member
	for _, other := range g.waiting {
		if !slices.Contains(listed, other) && !other.sheet.MustAcknowledge() && !m.sheet.MustAcknowledge() &&
			other.sheet.From.ID == m.sheet.From.ID && other.sheet.Fingerprint == m.sheet.Fingerprint &&
			other.sheet.Known.Kind != "" && m.sheet.Known.Kind != "" {
			list = append(list, other)
		}
	}
	return list
}

// decide applies a decision to all but the first, whose own it is.
func (g *groups) decide(list []*member, d signer.SignDecision) {
	g.mu.Lock()
	defer g.mu.Unlock()
	shared := &groupSecret{asking: make(chan struct{}, 1)}
	for n, m := range list {
		if n > 0 {
			if !slices.Contains(g.waiting, m) {
				continue // withdrawn, or its window has closed
			}
			m.what = &signer.SignDecision{Approved: d.Approved, Joined: true} // one grant, one muting
			g.waiting = slices.DeleteFunc(g.waiting, func(other *member) bool { return other == m })
			m.end()
		}
		if d.Approved && len(list) > 1 {
			if g.secrets == nil {
				g.secrets = map[requestKey]*groupSecret{}
			}
			key := requestKey{m.sheet.From.ID, m.sheet.RequestID}
			g.secrets[key] = shared
			shared.users++
			// Also of one that never asks for the passphrase: it has expired, or
			// its key needs none.
			context.AfterFunc(m.request, func() { g.end(key) })
		}
	}
}

// passphrase asks once for all requests of a group; a wrong one is asked for
// again once, too.
func (g *groups) passphrase(ctx context.Context, r signer.PassphraseRequest, ask func(context.Context, signer.PassphraseRequest) ([]byte, error)) ([]byte, error) {
	g.mu.Lock()
	shared := g.secrets[requestKey{r.From, r.RequestID}]
	g.mu.Unlock()
	if shared == nil {
		return ask(ctx, r)
	}
	select {
	case shared.asking <- struct{}{}:
		defer func() { <-shared.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if secret := g.typed(shared, r.Attempt); secret != nil {
		return secret, nil
	}
	secret, err := ask(ctx, r)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if clear(shared.secret); shared.users > 0 {
		shared.secret, shared.attempt = bytes.Clone(secret), r.Attempt
	}
	return secret, nil
}

// typed returns a copy of what was typed for this attempt, or nil.
func (g *groups) typed(shared *groupSecret, attempt int) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if shared.attempt < attempt {
		return nil
	}
	return bytes.Clone(shared.secret)
}

// failedToUnlock says that nothing was signed, once for the requests of one sheet.
func (t *Terminal) failedToUnlock(r signer.PassphraseRequest) {
	if t.groups.saysFailed(r) {
		t.Say("Wrong: nothing was signed with " + r.Label.String() + ".\n")
	}
}

// saysFailed reports whether it is to be said that no passphrase was right.
func (g *groups) saysFailed(r signer.PassphraseRequest) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	shared := g.secrets[requestKey{r.From, r.RequestID}]
	if shared == nil {
		return true
	}
	was := shared.failed
	shared.failed = true
	return !was
}

// end forgets a request; the last one of a group wipes its passphrase.
func (g *groups) end(key requestKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	shared := g.secrets[key]
	delete(g.secrets, key)
	if shared == nil {
		return
	}
	if shared.users--; shared.users == 0 {
		clear(shared.secret)
		shared.secret = nil
	}
}

// listText is what a sheet says of the further requests that it lists: of each as
// much as nobody could decide without.
func listText(list []*member) string {
	var b strings.Builder
	for _, m := range list {
		row(&b, "and", m.sheet.Title().String())
		for _, l := range m.sheet.Listed() {
			text := marked(l)
			if l.Name != "server" { // a fingerprint says what it is, and its line has no room
				text = l.Name + ": " + text
			}
			row(&b, "", text)
		}
	}
	return b.String()
}
