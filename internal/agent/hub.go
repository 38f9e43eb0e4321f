package agent

import (
	"context"
	"crypto/x509"
	"strings"

	"vmux/internal/agent/pairing"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/relay"
	"vmux/internal/wire"
)

// Hub says which hub an agent uses.
type Hub struct {
	// URL is its public one, as wire.ParseHubURL returns it.
	URL string
	// Roots returns whom to believe that it is this hub; nil: whom the system
	// believes. It is called at each connect. Links do not rest on it.
	Roots func() (*x509.CertPool, error)
	// Address is HOST:PORT at which to connect to it; default that of the URL.
	Address string
	// Local tells that the hub was started beside the agent.
	Local bool
	// Renamed tells that this computer is no longer called what its hub is, and what
	// to do; "" if it is. Nil: it need not be.
	Renamed func() (what, hint string)
}

// way is how the hub is reached now.
func (h *Hub) way() (way relay.Way, err error) {
	way.Address = h.Address
	if h.Roots != nil {
		way.Roots, err = h.Roots()
	}
	return way, err
}

// hubClient is what the agent needs of a relay.Client.
type hubClient interface {
	link.Route
	Run(ctx context.Context) error
	Refresh()
	pairing.Hub
	WakePeer(ctx context.Context, id device.ID) error
}

// newHubClient makes the agent's connection to its hub.
func (a *Agent) newHubClient(key *device.Key) (hubClient, error) {
	hub := a.cfg.Hub
	open := func(ctx context.Context, url string) (relay.Socket, error) {
		way, err := hub.way()
		if err != nil {
			return nil, err
		}
		return relay.OpenSocket(ctx, url, way)
	}
	return relay.New(relay.Config{URL: hub.URL, Beside: hub.Local, Key: key, Allow: a.trust.IDs, Changed: a.journal.Change, Log: a.log, Open: open})
}

// refreshHub tells the hub that the paired devices have changed.
func (a *Agent) refreshHub() {
	if a.hub != nil {
		a.hub.Refresh()
	}
}

// hubStatus is how it stands with the hub; nil when there is none.
func (a *Agent) hubStatus() *control.Hub {
	if a.hub == nil {
		return nil
	}
	s := a.hub.Status()
	h := &control.Hub{URL: a.cfg.Hub.URL, Local: a.cfg.Hub.Local, Connected: s.Connected, Since: s.Since.Round(0)}
	if s.LastError != nil && !s.Connected {
		h.LastError, h.ErrorHint = wire.Show(s.LastError.Error()), wire.HintOf(s.LastError)
	}
	if renamed := a.cfg.Hub.Renamed; renamed != nil {
		h.Renamed, h.Hint = renamed()
	}
	return h
}

// orHubAway says of a phone that was not reached that the hub is not either, which
// a phone in somebody's hand does not help against.
func (a *Agent) orHubAway(err error) error {
	h := a.hubStatus()
	if h == nil || h.Connected || h.LastError == "" {
		return err
	}
	hint := h.ErrorHint
	if hint == "" {
		hint = wire.MeaningOf(wire.CodePhoneNotReachable).Hint
	}
	return control.Errorf(wire.CodePhoneNotReachable, hint, "The phone is not reachable, and the hub is not connected: %s.", strings.TrimSuffix(h.LastError, "."))
}

// Wake implements control.Service: without a name it wakes all phones that have said
// whether they can be woken.
func (a *Agent) Wake(ctx context.Context, name string) ([]control.Woken, error) {
	if a.hub == nil {
		return nil, control.Errorf(control.CodeInvalid, "vmux agent --hub URL", "The agent uses no hub, and only a hub can ring a phone.")
	}
	if name != "" {
		p, err := a.find(name)
		if err != nil {
			return nil, err
		}
		return a.waker.WakeNow(ctx, []device.Peer{p}), nil
	}
	peers, err := a.trust.Peers()
	if err != nil {
		return nil, err
	}
	if peers = a.waker.Spoken(peers); len(peers) == 0 {
		return nil, control.Errorf(wire.CodePhoneNotReachable, "open the app on the phone, and in its Settings let it notify you", "No paired phone can be rung.")
	}
	return a.waker.WakeNow(ctx, peers), nil
}
