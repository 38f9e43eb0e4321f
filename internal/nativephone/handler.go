package nativephone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/nativephone/terminal"
	"vmux/internal/wire"
)

// handler is the link's handler while a phone runs.
type handler struct {
	phone *Phone
	say   func(string)
	log   *slog.Logger

	mu sync.Mutex
	up []device.Peer // connected computers, by the time they came
}

// LinkUp implements link.Handler.
func (h *handler) LinkUp(peer device.Peer, hello wire.Hello, _ string) {
	h.mu.Lock()
	h.up = append(h.up, peer)
	h.mu.Unlock()
	h.say("Connected to " + terminal.Named(peer.Name))
	if off := time.Until(hello.Clock()).Abs(); off >= wire.ClockWarning {
		h.say(fmt.Sprintf("the clock of %s differs from this one by %d s", terminal.Named(peer.Name), int(off.Seconds())))
	}
}

// LinkDown implements link.Handler.
func (h *handler) LinkDown(peer device.Peer, reason error) {
	h.mu.Lock()
	i := slices.IndexFunc(h.up, func(p device.Peer) bool { return p.ID == peer.ID })
	if i >= 0 {
		h.up = slices.Delete(h.up, i, i+1)
	}
	state := "Advertising"
	if len(h.up) > 0 {
		var names []string
		for _, p := range h.up {
			names = append(names, terminal.Named(p.Name))
		}
		state = "Connected to " + strings.Join(names, ", ")
	}
	h.mu.Unlock()
	h.say(state + ": " + terminal.Named(peer.Name) + " is gone: " + terminal.Quoted(wire.Clean(reason.Error())))
}

// Unpaired forgets a computer that has ended the pairing: it will not come back.
func (h *handler) Unpaired(peer device.Peer) {
	err := h.phone.unpair(peer.ID, "by the computer")
	if errors.Is(err, device.ErrNotPaired) {
		return
	}
	if err != nil {
		h.log.Error("forget a computer", "peer", peer.ID.Short(), "error", err)
		return
	}
	h.say(terminal.Named(peer.Name) + " has ended the pairing")
}

// Paired implements link.Handler.
func (h *handler) Paired(peer device.Peer) {
	if online := h.phone.running(); online != nil {
		online.hubs.refresh()
	}
	h.say("Paired with " + terminal.Named(peer.Name))
}

// Serve implements link.Handler. After a sleep that nobody has told of beforehand nothing
// is answered by what was given before. A command may end the pairing meanwhile: what is
// approved then does not leave the phone.
func (h *handler) Serve(ctx context.Context, r *link.Request) (wire.Kind, any) {
	if err := h.stillPaired(r.From.ID); err != nil {
		return wire.KindError, wire.AsError(err)
	}
	if h.phone.sleeps.Another() {
		h.phone.Lock()
	}
	kind, answer := h.phone.Signer.Serve(ctx, r.From, r.Envelope, r.Received)
	if err := h.stillPaired(r.From.ID); err != nil {
		h.phone.Signer.EndGrantsOf(r.From.ID) // it may have got one meanwhile
		return wire.KindError, wire.AsError(err)
	}
	return kind, answer
}

func (h *handler) stillPaired(id device.ID) error {
	_, err := h.phone.Trust.Get(id)
	switch {
	case errors.Is(err, device.ErrNotPaired):
		return wire.NewError(wire.CodePairingInvalid)
	case err != nil:
		h.log.Error("paired computers", "peer", id.Short(), "error", err)
	}
	return err
}
