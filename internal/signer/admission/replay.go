package admission

import (
	"crypto/sha256"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

const (
	// rememberFor outlasts every window that a remembered request can have: one
	// that begins up to MaxWindow ahead of this clock ends 2 MaxWindow from now.
	// The third is for a clock that is set back meanwhile.
	rememberFor = 3 * wire.MaxWindow
	// maxRemembered bounds the memory of the guard to some 15 MB, and what one
	// computer can take of it to a quarter.
	maxRemembered        = 1 << 17
	maxRememberedPerPeer = maxRemembered / 4
)

// replayGuard remembers request IDs and nonces until no window can be open that
// they were made for.
//
// It does not outlive the process, and must not refuse what was issued before
// its start either: a phone that a request wakes up begins after that request
// was issued. What this leaves open is little. Requests come over a TLS channel
// that ends at the computer that made them, so nobody on the way can repeat one;
// that computer itself could just as well make a new one; and each is shown to
// the person like any other.
type replayGuard struct {
	mu      sync.Mutex
	seen    map[replayKey]struct{}
	perPeer map[device.ID]int
	order   []remembered // by the time of forgetting
}

// replayKey is a hash: what a computer chooses must not decide how much memory
// it takes, and 128 bits do not collide by accident. A computer that makes its
// own collide has its own request refused.
type replayKey [16]byte

type remembered struct {
	keys  [2]replayKey
	from  device.ID
	until time.Time
}

func replayKeys(from device.ID, a *wire.Asking) [2]replayKey {
	id := sha256.Sum256([]byte("id" + string(from[:]) + a.RequestID))
	nonce := sha256.Sum256([]byte("nonce" + string(from[:]) + string(a.Nonce)))
	return [2]replayKey{replayKey(id[:16]), replayKey(nonce[:16])}
}

// check remembers a request, or refuses it with CodeReplayDetected, or with
// CodeSignerBusy when there are too many to remember.
func (g *replayGuard) check(from device.ID, a *wire.Asking, now time.Time) error {
	keys := replayKeys(from, a)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget(now)
	for _, k := range keys {
		if _, ok := g.seen[k]; ok {
			return wire.NewError(wire.CodeReplayDetected)
		}
	}
	if len(g.order) >= maxRemembered || g.perPeer[from] >= maxRememberedPerPeer {
		return wire.NewError(wire.CodeSignerBusy)
	}
	if g.seen == nil {
		g.seen, g.perPeer = map[replayKey]struct{}{}, map[device.ID]int{}
	}
	for _, k := range keys {
		g.seen[k] = struct{}{}
	}
	g.perPeer[from]++
	g.order = append(g.order, remembered{keys, from, now.Add(rememberFor)})
	return nil
}

func (g *replayGuard) forget(now time.Time) {
	n := 0
	for n < len(g.order) && now.After(g.order[n].until) {
		r := g.order[n]
		for _, k := range r.keys {
			delete(g.seen, k)
		}
		if g.perPeer[r.from]--; g.perPeer[r.from] == 0 {
			delete(g.perPeer, r.from)
		}
		n++
	}
	if g.order = g.order[n:]; len(g.order) == 0 {
		g.order = nil
	}
}
