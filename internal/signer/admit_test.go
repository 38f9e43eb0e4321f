package signer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

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
		for computer := range byte(96 / 48) {
			p.computer.ID = device.ID{computer}
			for range 48 {
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
		if err != nil || withdrawn != 96 {
			t.Errorf("%d withdrawn of %d records, %v", withdrawn, len(records), err)
		}
		if n := p.gate.Others() + 1; n != 0 {
			t.Errorf("%d requests are still in the queue", n)
		}
	})
}
