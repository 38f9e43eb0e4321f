package front

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"vmux/internal/state"
)

// Let's Encrypt allows five failed authorizations of a name in an hour, and an
// order may cost two. So the first pause is 20 minutes, each further one twice as
// long, and what was tried is kept over restarts: people restart what does not work.
const (
	// lookEvery is how often it is looked whether something is to be done.
	lookEvery = time.Minute
	firstRest = 20 * time.Minute
	mostRest  = 6 * time.Hour
	// unreachedRest is the first pause where the authority has not been reached,
	// which costs nothing there.
	unreachedRest = time.Minute
	// elsewhereRest is how long a name that does not lead here is only looked at:
	// this machine may see another DNS than the authority does.
	elsewhereRest = time.Hour
	hour          = time.Hour
	triesFile     = "tries.json"
	maxFailures   = 8
)

// try is what is remembered of the orders for a name that have failed.
type try struct {
	Failed  []time.Time `json:"failed,omitempty"`  // the last ones that the authority has refused
	Unheard int         `json:"unheard,omitempty"` // how often it was not reached since
	Next    time.Time   `json:"next"`              // no order before
	Limited bool        `json:"limited,omitempty"` // the authority has named the time
	Proven  bool        `json:"proven,omitempty"`  // the name led here all the same
	Reason  string      `json:"reason,omitempty"`
}

func loadTries(dir *state.Dir, log *slog.Logger) map[string]try {
	tries := map[string]try{}
	b, err := dir.Get(triesFile)
	if err == nil && b != nil {
		err = json.Unmarshal(b, &tries)
	}
	if err != nil {
		log.Warn("what the ACME authority refused before is not known", "reason", err)
		return map[string]try{}
	}
	return tries
}

func (w *acmeWay) saveTries() error {
	b, err := json.Marshal(w.tries)
	if err != nil {
		return err
	}
	return w.dir.Put(triesFile, b)
}

// obtain has a certificate for each name, and renews it, until ctx ends.
func (w *acmeWay) obtain(ctx context.Context) {
	defer w.transport.CloseIdleConnections()
	w.began = w.now()
	for _, name := range w.domains {
		if c := w.current(name); c != nil {
			w.log.Info("certificate", "name", name, "until", c.Leaf.NotAfter)
		}
	}
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		for _, name := range w.domains {
			w.step(ctx, name)
		}
		w.looks.Add(1)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *acmeWay) current(name string) *tls.Certificate {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.certificates[name]
}

// renewal is when a certificate is renewed: when a third of its life is left.
func renewal(c *tls.Certificate) time.Time {
	return c.Leaf.NotAfter.Add(-c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) / 3)
}

// step orders a certificate for the name if one is due.
func (w *acmeWay) step(ctx context.Context, name string) {
	now := w.now()
	if c := w.current(name); c != nil && now.Before(renewal(c)) {
		return
	}
	f := w.look(ctx, name)
	t := w.tries[name]
	if why := w.notYet(t, f, now); why != "" {
		w.say(name, why)
		return
	}
	if f.why != "" || !f.proven && len(t.Failed) > 0 { // this machine may be wrong
		for _, way := range w.open() {
			if !slices.Contains(f.ways, way) {
				f.ways = append(f.ways, way)
			}
		}
	}
	// An order counts from its start, also if the hub ends in the middle of it; and
	// where nothing can be written, a certificate would be lost with the next restart.
	before := t
	t.Next, t.Proven, t.Reason = now.Add(firstRest), f.proven, "the last order was broken off"
	w.tries[name] = t
	if err := w.saveTries(); err != nil {
		w.say(name, fmt.Sprintf("no order while its result could not be stored: %v", err))
		w.tries[name] = before
		return
	}
	c, err := w.order(ctx, name, f.ways)
	switch {
	case ctx.Err() != nil: // the hub ends; what it says itself is no answer
		w.tries[name] = before
	case err != nil:
		t = t.after(err, now)
		w.tries[name] = t
		w.say(name, fmt.Sprintf("%s; the next order is made at %s", t.Reason, t.Next.Format(time.RFC3339)))
	default:
		delete(w.tries, name)
		w.log.Info("certificate", "name", name, "until", c.Leaf.NotAfter)
	}
	if err := w.saveTries(); err != nil {
		w.log.Error("what the ACME authority said cannot be stored", "reason", err)
	}
}

// say logs why there is no certificate, once, and keeps it for handshakes.
func (w *acmeWay) say(name, why string) {
	w.mu.Lock()
	known, what := w.reasons[name] == why, "no certificate yet"
	w.reasons[name] = why
	if w.certificates[name] != nil {
		what = "the certificate is not renewed yet"
	}
	w.mu.Unlock()
	if !known {
		w.log.Warn(what, "name", name, "reason", why)
	}
}

// notYet says why no order is made now, or nothing.
func (w *acmeWay) notYet(t try, f found, now time.Time) string {
	recent := 0
	for _, at := range t.Failed {
		if age := now.Sub(at); age < hour && age >= 0 {
			recent++
		}
	}
	// A clock that was ahead has written times that are worth nothing.
	waits := now.Before(t.Next) && t.Next.Sub(now) < 8*24*hour
	repaired := f.proven && !t.Proven && !t.Limited && recent < 2
	since := w.began
	if len(t.Failed) > 0 && t.Failed[len(t.Failed)-1].After(since) {
		since = t.Failed[len(t.Failed)-1]
	}
	switch {
	case len(f.ways) == 0 && (waits || now.Sub(since) < elsewhereRest):
		return f.why
	case waits && !repaired:
		why := fmt.Sprintf("%s; the next order is made at %s", t.Reason, t.Next.Format(time.RFC3339))
		if !t.Proven && !t.Limited {
			why += ", or once the name has come to lead here"
		}
		return why
	}
	return ""
}

// after is what is remembered after a failure.
func (t try) after(err error, now time.Time) try {
	t.Reason, t.Limited = reason(err), false
	if !refused(err) {
		t.Unheard++
		t.Next = now.Add(rest(unreachedRest, t.Unheard, firstRest))
		return t
	}
	t.Unheard = 0
	t.Failed = append(slices.Clone(t.Failed), now)
	t.Failed = t.Failed[max(0, len(t.Failed)-maxFailures):]
	t.Next = now.Add(rest(firstRest, len(t.Failed), mostRest))
	if wait, limited := limit(err); limited {
		t.Limited = true
		if at := now.Add(max(wait, hour)); at.After(t.Next) {
			t.Next = at
		}
	}
	return t
}

// rest is the n-th pause: each is twice as long, and up to a tenth longer, so that
// not all hubs ask at once.
func rest(first time.Duration, n int, most time.Duration) time.Duration {
	d := min(first<<min(n-1, 20), most)
	return d + rand.N(d/10)
}
