package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"vmux/internal/agent/journal"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link/lan"
	"vmux/internal/link/relay"
	"vmux/internal/link/tcp"
	"vmux/internal/wire"
)

const (
	// maxPairHosts is how many addresses fit into an invitation.
	maxPairHosts       = 8
	maxPairHostsAndHub = 3
	// offerPoll is how often the end of an invitation is looked for: it ends
	// by time or by wrong proofs.
	offerPoll = 200 * time.Millisecond
	// redeemPatience is how long a redeemed pairing may take to be reported.
	redeemPatience = 10 * time.Second
	// settleTime is how long the connection that paired is left to become a link,
	// looked for every settlePoll.
	settleTime = time.Second
	settlePoll = 20 * time.Millisecond
)

// pairing is the one open invitation.
type pairing struct {
	once sync.Once
	done chan device.Peer // of capacity 1
}

func (p *pairing) redeemed(peer device.Peer) { p.once.Do(func() { p.done <- peer }) }

// Pair implements control.Service. It listens on TCP, and for strangers at the
// hub, for as long as the invitation is open, and no longer.
func (a *Agent) Pair(ctx context.Context, o control.PairOptions, invited func(control.Invitation) error) (control.Device, error) {
	p := &pairing{done: make(chan device.Peer, 1)}
	if !a.beginPairing(p) {
		return control.Device{}, control.Errorf(control.CodeBusy, "use that invitation, or end it with Ctrl-C", "Another invitation is open.")
	}
	defer a.endPairing()
	listeners, routes, err := a.listenForPairing(ctx, o.Hosts)
	if err != nil {
		return control.Device{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving sync.WaitGroup
	defer serving.Wait()
	defer cancel() // before waiting
	for _, l := range listeners {
		serving.Go(func() {
			if err := a.node.Serve(ctx, l); err != nil {
				a.log.Warn("listener of the invitation", "error", err)
			}
		})
	}
	offer := device.NewOffer(device.NewInvitation(a.self, a.cfg.Name, routes, a.pairingPage()), time.Now())
	defer offer.End()
	a.node.Offer(offer)
	defer a.node.Offer(nil)
	told := control.Invitation{URL: offer.Invitation().URL(), Expires: offer.Expires(), Routes: routes, DeviceID: a.self.String()}
	endAtHub, err := a.openAtHub(ctx, offer)
	defer endAtHub()
	if a.hub != nil {
		told.Hub = a.cfg.Hub.URL
	}
	if err != nil {
		told.HubError, told.HubHint = wire.Show(err.Error()), wire.HintOf(err)
	}
	a.log.Info("invitation open", "routes", routes)
	if err := invited(told); err != nil {
		return control.Device{}, fmt.Errorf("tell the invitation: %w", err)
	}
	peer, err := p.await(ctx, offer)
	if err != nil {
		return control.Device{}, err
	}
	a.settle(ctx, peer.ID)
	return a.device(peer), nil
}

// settle waits for the phone's link: the end of listening cuts the connection
// that has just paired, unless it is a link by then, and the phone would take
// that for a failure. A phone that does not stay has closed it by itself.
func (a *Agent) settle(ctx context.Context, id device.ID) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	poll := time.NewTicker(settlePoll)
	defer poll.Stop()
	for !a.node.Connected(id) {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

func (a *Agent) beginPairing(p *pairing) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pairing != nil {
		return false
	}
	a.pairing = p
	return true
}

func (a *Agent) endPairing() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pairing = nil
}

// await returns the device that has redeemed the invitation, or why none did.
func (p *pairing) await(ctx context.Context, offer *device.Offer) (device.Peer, error) {
	poll := time.NewTicker(offerPoll)
	defer poll.Stop()
	var patience <-chan time.Time
	for {
		select {
		case peer := <-p.done:
			return peer, nil
		case <-ctx.Done():
			return device.Peer{}, ctx.Err()
		case now := <-poll.C:
			if !offer.Ended(now) || patience != nil {
				continue
			}
			if !now.Before(offer.Expires()) {
				return device.Peer{}, control.Errorf(wire.CodeRequestExpired, "run `vmux pair` again", "The invitation has expired.")
			}
			// Redeemed, and soon reported, or ended by wrong proofs.
			timer := time.NewTimer(redeemPatience)
			defer timer.Stop()
			patience = timer.C
		case <-patience:
			return device.Peer{}, control.Errorf(wire.CodePairingInvalid, "run `vmux pair` again", "The invitation was ended by wrong proofs.")
		}
	}
}

// pairingPage is what the invitation opens on a phone: the hub's page.
func (a *Agent) pairingPage() string {
	if a.cfg.Hub == nil {
		return ""
	}
	return a.cfg.Hub.URL + "/"
}

// listenForPairing listens at the hub, and at the hosts. With a hub, no address
// of this machine is needed, and few of them keep the QR code legible.
func (a *Agent) listenForPairing(ctx context.Context, hosts []string) ([]net.Listener, []string, error) {
	if len(hosts) == 0 {
		hosts = a.cfg.PairHosts
	}
	if len(hosts) == 0 {
		hosts = lan.OwnAddresses()
	}
	if a.hub == nil {
		return listenAtHosts(ctx, hosts[:min(len(hosts), maxPairHosts)])
	}
	listeners, routes, err := listenAtHosts(ctx, hosts[:min(len(hosts), maxPairHostsAndHub)])
	if err != nil {
		a.log.Warn("the invitation is for the hub alone", "error", err)
	}
	return append(listeners, a.hub.Listener()), append([]string{relay.Route(a.cfg.Hub.URL)}, routes...), nil
}

// listenAtHosts listens at each host, on one port for all where that is free,
// and returns the routes to name.
func listenAtHosts(ctx context.Context, hosts []string) ([]net.Listener, []string, error) {
	var listeners []net.Listener
	var routes []string
	var errs []error
	port := "0"
	for _, host := range hosts {
		l, err := listenAt(ctx, host, port)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		listeners = append(listeners, l)
		address := l.Addr().(*net.TCPAddr)
		port = strconv.Itoa(address.Port)
		routes = append(routes, lan.Route(address.String()))
	}
	if len(listeners) == 0 {
		return nil, nil, control.Errorf(control.CodeInvalid, "run `vmux pair` without --address, or with an address of this computer",
			"The agent cannot listen for the phone: %s.", strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; "))
	}
	return listeners, routes, nil
}

// listenAt listens at HOST or HOST:PORT; another port serves as well when the
// wanted one is taken.
func listenAt(ctx context.Context, host, port string) (net.Listener, error) {
	if h, p, err := net.SplitHostPort(host); err == nil {
		return tcp.Listen(ctx, net.JoinHostPort(h, p), tcp.LinkSegment)
	}
	l, err := tcp.Listen(ctx, net.JoinHostPort(host, port), tcp.LinkSegment)
	if err != nil && port != "0" {
		l, err = tcp.Listen(ctx, net.JoinHostPort(host, "0"), tcp.LinkSegment)
	}
	return l, err
}

// Unpair implements control.Service: the phone is told, if it is connected, and
// learns of it at its next connection otherwise.
func (a *Agent) Unpair(name string) (control.Device, error) {
	p, err := a.find(name)
	if err != nil {
		return control.Device{}, err
	}
	d := a.device(p)
	err = a.forget(p.ID)
	a.node.Disconnect(p.ID, wire.Errorf(wire.CodePairingInvalid, "unpaired by the computer"))
	if err != nil {
		return d, fmt.Errorf("unpair: %w", err)
	}
	a.log.Info("unpaired", "phone", p.ID.Short())
	a.journal.Note(journal.KindPairing, "Unpaired from "+p.Name.String(), "")
	d.Connected = false
	return d, nil
}
