// Package pairing lets one phone at a time pair with this computer: it opens an
// invitation on this machine's addresses and at the hub, and waits until a phone has
// redeemed it. Whether a phone knows the invitation is for the link to check.
package pairing

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link/relay"
	"vmux/internal/wire"
)

const (
	// wallClockEvery is how often the wall clock is compared with an invitation's end:
	// timers stop while a laptop sleeps.
	wallClockEvery = 30 * time.Second
	// redeemTimeout is how long a redeemed pairing may take to be reported.
	redeemTimeout = 10 * time.Second
	// linkTimeout is how long the connection that paired has to become a link.
	linkTimeout = time.Second
	// hubTimeout is how long a pairing waits for a hub that is not there.
	hubTimeout = 5 * time.Second
)

// Links is what pairing needs of a link.Node.
type Links interface {
	Connected(id device.ID) bool
	Offer(o *device.Offer)
	Serve(ctx context.Context, l net.Listener) error
}

// Hub is what pairing needs of a relay.Client.
type Hub interface {
	Listener() net.Listener
	Rendezvous(ctx context.Context, token [32]byte, life time.Duration) (end func(), err error)
	Status() relay.Status
}

// Config says who pairs, and where.
type Config struct {
	Self device.ID
	Name string
	// Hosts are the addresses that an invitation names; nil: all of this machine's,
	// loopback only if there is no other.
	Hosts []string
	// HubURL is the public one of Hub.
	HubURL string
	Hub    Hub // nil: none
	Links  Links
	Log    *slog.Logger
}

// Pairing is safe for concurrent use.
type Pairing struct {
	Config

	mu   sync.Mutex
	open *invitation // nil: none
}

// New returns a pairing without an open invitation.
func New(c Config) *Pairing { return &Pairing{Config: c} }

// invitation is the open one.
type invitation struct {
	paired chan device.Peer // of capacity 1
	linked chan struct{}    // of capacity 1: a link came up
}

// Invite opens an invitation, of which it tells, and returns the phone that redeems
// it. It listens on TCP, and for unauthenticated devices at the hub, for as long as
// the invitation is open, and no longer. Hosts are named in it in place of those of
// the configuration.
func (p *Pairing) Invite(ctx context.Context, hosts []string, tell func(control.Invitation) error) (device.Peer, error) {
	open := &invitation{paired: make(chan device.Peer, 1), linked: make(chan struct{}, 1)}
	if !p.begin(open) {
		return device.Peer{}, control.Errorf(control.CodeBusy, "use that invitation, or end it with Ctrl-C", "Another invitation is open.")
	}
	defer p.end()
	listeners, routes, err := p.listen(ctx, hosts)
	if err != nil {
		return device.Peer{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving sync.WaitGroup
	defer serving.Wait()
	defer cancel() // before waiting
	for _, l := range listeners {
		serving.Go(func() {
			if err := p.Links.Serve(ctx, l); err != nil {
				p.Log.Warn("listener of the invitation", "error", err)
			}
		})
	}
	page := "" // what the invitation opens on a phone
	if p.HubURL != "" {
		page = p.HubURL + "/"
	}
	offer := device.NewOffer(device.NewInvitation(p.Self, p.Name, routes, page), time.Now())
	defer offer.End()
	p.Links.Offer(offer)
	defer p.Links.Offer(nil)
	told := control.Invitation{URL: offer.Invitation().URL(), Expires: offer.Expires(), Routes: routes, DeviceID: p.Self.String(), Hub: p.HubURL}
	endAtHub, err := p.openAtHub(ctx, offer)
	defer endAtHub()
	if err != nil {
		told.HubError, told.HubHint = wire.Show(err.Error()), wire.HintOf(err)
	}
	p.Log.Info("invitation open", "routes", routes)
	if err := tell(told); err != nil {
		return device.Peer{}, fmt.Errorf("tell the invitation: %w", err)
	}
	peer, err := open.await(ctx, offer)
	if err == nil {
		p.awaitLink(ctx, open, peer.ID)
	}
	return peer, err
}

func (p *Pairing) begin(open *invitation) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open != nil {
		return false
	}
	p.open = open
	return true
}

func (p *Pairing) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = nil
}

// Paired tells that a phone has redeemed the invitation.
func (p *Pairing) Paired(peer device.Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open != nil {
		select {
		case p.open.paired <- peer:
		default: // one has redeemed it already
		}
	}
}

// Linked tells that a phone's link came up.
func (p *Pairing) Linked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open != nil {
		select {
		case p.open.linked <- struct{}{}:
		default:
		}
	}
}

// await returns the device that has redeemed the invitation, or why none did.
func (i *invitation) await(ctx context.Context, offer *device.Offer) (device.Peer, error) {
	clock := time.NewTicker(wallClockEvery)
	defer clock.Stop()
	expires := time.NewTimer(time.Until(offer.Expires()))
	defer expires.Stop()
	for {
		select {
		case peer := <-i.paired:
			return peer, nil
		case <-ctx.Done():
			return device.Peer{}, ctx.Err()
		case <-offer.Done(): // redeemed, and soon reported, or ended by wrong proofs
			select {
			case peer := <-i.paired:
				return peer, nil
			case <-ctx.Done():
				return device.Peer{}, ctx.Err()
			case <-time.After(redeemTimeout):
				return device.Peer{}, control.Errorf(wire.CodePairingInvalid, "run `vmux pair` again", "The invitation was ended by wrong proofs.")
			}
		case <-clock.C:
		case <-expires.C:
		}
		if !time.Now().Round(0).Before(offer.Expires()) {
			return device.Peer{}, control.Errorf(wire.CodeRequestExpired, "run `vmux pair` again", "The invitation has expired.")
		}
	}
}

// awaitLink waits for the phone's link: the end of listening cuts the connection
// that has just paired, unless it is a link by then, and the phone would take
// that for a failure. A phone that does not stay has closed it by itself.
func (p *Pairing) awaitLink(ctx context.Context, open *invitation, id device.ID) {
	ctx, cancel := context.WithTimeout(ctx, linkTimeout)
	defer cancel()
	for !p.Links.Connected(id) {
		select {
		case <-ctx.Done():
			return
		case <-open.linked:
		}
	}
}

// openAtHub lets the phone that knows the invitation reach this device through
// the hub until ctx ends or end is called. Without a hub it does nothing. An
// error says why nobody can come that way yet: it goes on trying.
func (p *Pairing) openAtHub(ctx context.Context, offer *device.Offer) (end func(), err error) {
	if p.Hub == nil {
		return func() {}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	opened := make(chan error, 1)
	stop := func() {}
	var opening sync.WaitGroup
	opening.Go(func() {
		end, err := p.Hub.Rendezvous(ctx, offer.Invitation().RendezvousToken(), time.Until(offer.Expires()))
		if err == nil {
			stop = end
		}
		opened <- err
	})
	end = func() { cancel(); opening.Wait(); stop() }
	timeout := time.NewTimer(hubTimeout)
	defer timeout.Stop()
	select {
	case err = <-opened:
	case <-timeout.C:
		err = cmp.Or(p.Hub.Status().LastError, relay.ErrNotConnected)
	}
	if err != nil {
		p.Log.Warn("invitation not open at the hub", "hub", p.HubURL, "error", err)
	}
	return end, err
}
