package signer

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

func TestWindow(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	ms := now.UnixMilli()
	for _, c := range []struct {
		name            string
		issued, expires int64
		left            time.Duration
		want            wire.Code
	}{
		{"fresh", ms, ms + 60_000, 60 * time.Second, ""},
		{"half over", ms - 30_000, ms + 30_000, 30 * time.Second, ""},
		{"last moment", ms - 59_999, ms + 1, time.Millisecond, ""},
		{"over", ms - 60_000, ms, 0, wire.CodeRequestExpired},
		{"this clock is behind", ms + 40_000, ms + 100_000, 60 * time.Second, ""},
		{"this clock is far behind", ms + 60_000, ms + 120_000, 0, wire.CodeRequestExpired},
		{"an hour long", ms, ms + 3_600_000, wire.MaxWindow, ""},
		{"an hour long and half over", ms - 1_800_000, ms + 1_800_000, 0, wire.CodeRequestExpired},
		{"ends before it begins", ms, ms - 1, 0, wire.CodeMalformedRequest},
		{"since ever, for ever", math.MinInt64, math.MaxInt64, 0, wire.CodeMalformedRequest},
		{"since ever", math.MinInt64, math.MinInt64 + 1, 0, wire.CodeRequestExpired},
		{"for ever", ms, math.MaxInt64, wire.MaxWindow, ""},
		{"at the end of time", math.MaxInt64 - 1, math.MaxInt64, 0, wire.CodeRequestExpired},
	} {
		until, err := window(&wire.Asking{IssuedAtMilliseconds: c.issued, ExpiresAtMilliseconds: c.expires}, now)
		if wire.CodeOf(err) != c.want || err == nil && until.Sub(now) != c.left {
			t.Errorf("%s: %s, %v, want %s, %q", c.name, until.Sub(now), err, c.left, c.want)
		}
	}
	_, err := window(&wire.Asking{IssuedAtMilliseconds: ms - 90_000, ExpiresAtMilliseconds: ms - 30_000}, now)
	if err == nil || err.Error() != "Clocks differ by 90 s." {
		t.Errorf("the person reads %v", err)
	}
}

func TestReplayGuardForgets(t *testing.T) {
	var g replayGuard
	now := time.UnixMilli(1_800_000_000_000)
	asking := func(now time.Time) *wire.Asking {
		a := wire.NewAsking("x", "x", now, wire.Window)
		return &a
	}
	first := asking(now)
	if err := g.check(device.ID{1}, first, now); err != nil {
		t.Fatal(err)
	}
	if err := g.check(device.ID{2}, first, now); err != nil {
		t.Errorf("another computer's request of the same ID: %v", err)
	}
	if err := g.check(device.ID{1}, first, now.Add(rememberFor)); wire.CodeOf(err) != wire.CodeReplayDetected {
		t.Errorf("forgotten too early: %v", err)
	}
	later := now.Add(rememberFor + time.Second)
	if err := g.check(device.ID{1}, asking(later), later); err != nil {
		t.Fatal(err)
	}
	if len(g.seen) != 2 || len(g.order) != 1 || len(g.perPeer) != 1 {
		t.Errorf("still remembers %d keys of %d requests by %d computers", len(g.seen), len(g.order), len(g.perPeer))
	}
}

// One computer cannot fill the guard's memory, nor shut others out.
func TestReplayGuardIsBounded(t *testing.T) {
	var g replayGuard
	now := time.UnixMilli(1_800_000_000_000)
	a := wire.NewAsking("x", "x", now, wire.Window)
	for n := range maxRememberedPerPeer {
		a.RequestID, a.Nonce = string(rune(n)), []byte{byte(n), byte(n >> 8), byte(n >> 16)}
		if err := g.check(device.ID{1}, &a, now); err != nil && n < 0xd800 {
			t.Fatalf("request %d: %v", n, err)
		}
	}
	a.RequestID, a.Nonce = "one more", []byte("one more")
	if err := g.check(device.ID{1}, &a, now); wire.CodeOf(err) != wire.CodeSignerBusy {
		t.Errorf("one request more: %v", err)
	}
	if err := g.check(device.ID{2}, &a, now); err != nil {
		t.Errorf("another computer: %v", err)
	}
}

// A computer whose clock runs out a moment before this one withdraws what has
// expired: both are to call it that.
func TestWithdrawnInTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPhone(t)
		p.approver.Sign = nobody
		id := p.create("a", "ssh-ed25519")
		for before, decision := range map[time.Duration]string{lastMoment / 2: "expired", 2 * lastMoment: "withdrawn"} {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(wire.Window-before, cancel)
			p.ask(ctx, p.request(id))
			records, err := p.Activity.Records()
			if err != nil || records[len(records)-1].Decision != decision {
				t.Errorf("withdrawn %v before the end: %+v, %v", before, records, err)
			}
		}
	})
}

// nobody answers a sheet.
func nobody(ctx context.Context, _ SignSheet) (SignDecision, error) {
	<-ctx.Done()
	return SignDecision{}, ctx.Err()
}

// A request that is withdrawn, or whose window ends, ends then.
func TestAnswerThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPhone(t)
		p.approver.Sign = nobody
		id := p.create("a", "ssh-ed25519")
		p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeRequestExpired)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			time.Sleep(time.Second / 2)
			cancel()
		}()
		start := time.Now()
		p.ask(ctx, p.request(id))
		if time.Since(start) > time.Second {
			t.Errorf("returned after %s", time.Since(start))
		}
		records := p.requests()
		if len(records) != 2 || records[0].Decision != "expired" || records[1].Decision != "withdrawn" {
			t.Errorf("%+v", records)
		}
	})
}

func TestTooManyWaitingRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPhone(t)
		id := p.create("a", "ecdsa-sha2-nistp256")
		p.approver.Sign = nobody
		ctx, cancel := context.WithCancel(t.Context())
		for computer := range byte(maxWaiting / maxWaitingPerPeer) {
			p.computer.ID = device.ID{computer}
			for range maxWaitingPerPeer {
				r := p.request(id)
				e, err := wiretest.Envelope(r.RequestID, wire.KindSignRequest, r)
				if err != nil {
					t.Fatal(err)
				}
				go p.Serve(ctx, p.computer, e, nil)
			}
			synctest.Wait()
			p.wantCode(p.ask(ctx, p.request(id)), wire.CodeSignerBusy)
		}
		p.computer.ID = device.ID{99}
		p.wantCode(p.ask(ctx, p.request(id)), wire.CodeSignerBusy) // the phone is full
		cancel()
		synctest.Wait()
		records, err := p.Activity.Records()
		withdrawn := 0
		for _, r := range records {
			if r.Decision == "withdrawn" {
				withdrawn += r.Times()
			}
		}
		if err != nil || withdrawn != maxWaiting {
			t.Errorf("%d withdrawn of %d records, %v", withdrawn, len(records), err)
		}
		if p.queue.total != 0 || len(p.queue.perPeer) != 0 {
			t.Errorf("%d requests are still in the queue", p.queue.total)
		}
	})
}
