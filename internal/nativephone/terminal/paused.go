package terminal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer"
	"vmux/internal/signer/activity"
	"vmux/internal/wire"
)

// Remedies are what can be done about a computer that is paused after several
// denials. Without a function its part is not offered.
type Remedies struct {
	Report func(signer.Pause) (activity.Report, error)
	Unpair func(device.ID) error
}

// paused tells what a computer has asked for until it was paused, and offers to
// end its pairing.
func (t *Terminal) paused(p signer.Pause) {
	ctx, cancel := context.WithDeadline(t.life, p.Until)
	t.drawing.Lock()
	if before := t.offered[p.DeviceID]; before != nil {
		before() // one offer for a computer, that of its last pause
	}
	if t.offered == nil {
		t.offered = map[device.ID]context.CancelFunc{}
	}
	t.offered[p.DeviceID] = cancel
	t.drawing.Unlock()
	t.rest.Go(func() {
		defer cancel()
		t.print(t.pausedText(p))
		t.printWhole(remedies(p))
		if t.Remedies.Unpair == nil {
			return
		}
		for again := true; again; {
			again = t.offerUnpair(ctx, p)
		}
	})
}

func (t *Terminal) pausedText(p signer.Pause) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n---- %s is paused for %s: several of its requests were denied within a minute\n",
		Quoted(p.DeviceName), time.Until(p.Until).Round(time.Second))
	row(&b, "computer", Quoted(p.DeviceName)+"  (device "+p.DeviceID.Short()+")")
	if t.Remedies.Report != nil {
		report, err := t.Remedies.Report(p)
		if err != nil {
			row(&b, "asked", "the log cannot be read: "+wire.Show(err.Error()))
		}
		b.WriteString(reportText(report))
	}
	return b.String()
}

// remedies are what the person can type. The device ID and not the name, which the
// computer has chosen: this is to be copied to a shell.
func remedies(p signer.Pause) string {
	var b strings.Builder
	row(&b, "all of it", LogCommand(p))
	row(&b, "go on now", EndCommand(p))
	row(&b, "not you?", "vmux phone unpair "+p.DeviceID.Short())
	return b.String()
}

// reportText says in rows what was asked for, and how often.
func reportText(r activity.Report) string {
	var b strings.Builder
	var counts []string
	for _, decision := range slices.SortedFunc(maps.Keys(r.Decisions), func(x, y string) int {
		return cmp.Or(cmp.Compare(r.Decisions[y], r.Decisions[x]), cmp.Compare(x, y))
	}) {
		counts = append(counts, fmt.Sprint(r.Decisions[decision], " ", decision))
	}
	row(&b, "requests", wire.Show(strings.Join(counts, ", ")))
	for _, a := range r.Asked {
		row(&b, "asked for", a.String())
	}
	return b.String()
}

// LogCommand prints what a computer has asked for since the denials that paused
// it, to be kept or passed on.
func LogCommand(p signer.Pause) string {
	return fmt.Sprintf("vmux phone log --json --computer %s --since %s", p.DeviceID.Short(), p.Since.UTC().Format(time.RFC3339Nano))
}

// EndCommand lets the computer ask again at once.
func EndCommand(p signer.Pause) string { return "vmux phone pauses end " + p.DeviceID.Short() }

// offerUnpair asks whether to end the pairing, until ctx ends. It reports that it
// has given way to a request of somebody's, and is to be called again.
func (t *Terminal) offerUnpair(ctx context.Context, p signer.Pause) (again bool) {
	if t.take(ctx, last) != nil {
		return false
	}
	defer t.screen.give()
	name := Named(p.DeviceName)
	for began := time.Now(); ; {
		t.draw(fmt.Sprintf("End the pairing with %s?  u unpair it now, k keep it   %d s left ", name, secondsLeft(p.Until)))
		typed, err := t.read(ctx)
		switch {
		case err != nil:
			t.end("Not unpaired: " + name + ".")
			return false
		case t.screen.others() > 0:
			t.end("Not unpaired yet: " + name + ".")
			return true
		case time.Since(began) < t.inert:
			if len(typed) > 0 {
				began = time.Now()
			}
		case strings.ContainsAny(string(typed), "uU"):
			t.end(outcomeOf(t.Remedies.Unpair(p.DeviceID), name))
			return false
		case strings.ContainsAny(string(typed), "kK"):
			t.end("Kept: " + name + ".")
			return false
		}
	}
}

func outcomeOf(err error, name string) string {
	switch {
	case errors.Is(err, device.ErrNotPaired):
		return "Not paired any more: " + name + "."
	case err != nil:
		return "Not unpaired: " + wire.Show(err.Error()) + "."
	}
	return "Unpaired: " + name + ". Session certificates that it has: vmux phone ca revoke --all"
}
