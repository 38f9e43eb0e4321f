// Package away is since when nobody sees the page, and whether that is too long: the phone
// may be locked, or in another hand. What ends then is for others.
package away

import (
	"sync"
	"time"
)

// Max is how long the page may be out of sight.
const Max = 5 * time.Minute

// Page is what is known of a page. Safe for concurrent use.
type Page struct {
	mu    sync.Mutex
	since time.Time // zero: it is seen
	ended bool      // Over has told
	timer *time.Timer
}

// Left notes that nobody sees the page any more. Over is called when that is so for too
// long, if the page does not sleep.
func (p *Page) Left(now time.Time, over func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() {
		p.since = now.Round(0) // the wall clock: a page that sleeps has no other
		p.timer = time.AfterFunc(Max, over)
	}
}

// Returned notes that the page is seen.
func (p *Page) Returned() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	p.since, p.ended, p.timer = time.Time{}, false, nil
}

// Over reports, once, that nobody has seen the page for too long.
func (p *Page) Over(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = now.Round(0)
	over := !p.since.IsZero() && !p.ended && (now.Sub(p.since) >= Max || now.Before(p.since))
	p.ended = p.ended || over
	return over
}
