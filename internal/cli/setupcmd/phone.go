package setupcmd

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/wire"
)

// patience bounds the waits for what comes by itself: an agent that was just started, its
// hub, the keys of a phone that was just paired.
const patience = 15 * time.Second

// agentAnswers returns the agent's status. One that was just started is waited for, and
// so is its hub: who is invited before that is told that it cannot be reached.
func (a *app) agentAnswers(ctx context.Context, started bool) (control.Status, error) {
	until := time.Now().Add(patience)
	for {
		s, err := command.Client().Status(ctx)
		ready := err == nil && (s.Hub == nil || s.Hub.Connected)
		if ready || !started || ctx.Err() != nil || time.Now().After(until) {
			return s, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// paired invites a phone if none is paired, and waits for its first key.
func (a *app) paired(ctx context.Context, s control.Status, invite, asks bool) (control.Status, error) {
	if len(s.Phones) > 0 {
		var names []string
		for _, p := range s.Phones {
			names = append(names, wire.Show(p.Name))
		}
		a.Say("paired with %s already", strings.Join(names, ", "))
		return s, nil
	}
	if !invite {
		return s, command.WithHint(errors.New("no phone is paired"), "vmux setup --pair, or vmux pair")
	}
	if err := a.rest.Pair(ctx); err != nil {
		return s, command.OrHint(err, "vmux pair, when the phone is at hand: the rest is done")
	}
	s, err := firstKey(ctx, patience)
	if err == nil && !hasKey(s) && asks {
		a.Say("the phone has no key yet: make one there. This waits for it; ^C ends it, and the rest is done")
		s, err = firstKey(ctx, 0)
	}
	return s, err
}

// errEnough ends the watching of the status.
var errEnough = errors.New("enough")

// firstKey waits for a phone-held key; 0 is without limit.
func firstKey(ctx context.Context, limit time.Duration) (s control.Status, err error) {
	bounded, cancel := ctx, func() {}
	if limit > 0 {
		bounded, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	err = command.Client().Watch(bounded, func(now control.Status) error {
		if s = now; hasKey(s) {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || bounded.Err() != nil && ctx.Err() == nil {
		err = nil
	}
	return s, err
}

func hasKey(s control.Status) bool {
	return slices.ContainsFunc(s.Identities, func(id control.Identity) bool { return !id.Certificate })
}
