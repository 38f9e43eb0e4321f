package browserphone

import (
	"context"
	"errors"
	"time"

	"vmux/internal/device"
	"vmux/internal/link/relay"
	"vmux/internal/signer/identity"
	"vmux/internal/wire"
)

// pairTimeout bounds a pairing, so that a hub that is away is said to be.
const pairTimeout = 30 * time.Second

// invitationInfo is what an invitation says.
type invitationInfo struct {
	Name   wire.Text `json:"name"`
	ID     string    `json:"id"`
	HubURL string    `json:"hubURL,omitempty"`
}

func (p *Phone) previewInvitation(_ context.Context, a arguments) (any, error) {
	_, info, err := p.invitation(a.Invitation)
	if err != nil {
		return nil, err
	}
	return info, nil
}

// invitation reads an invitation, and refuses one of another hub: this page may
// talk to its own only.
func (p *Phone) invitation(text string) (device.Invitation, invitationInfo, error) {
	inv, err := device.ParseInvitation(text)
	if err != nil {
		return inv, invitationInfo{}, err
	}
	if inv.DeviceID == p.cfg.Key.ID() {
		return inv, invitationInfo{}, &Error{Code: "notInvitation", Message: "That is this phone's own code."}
	}
	info := invitationInfo{Name: wire.Clean(inv.Name), ID: inv.DeviceID.String()}
	here := p.cfg.HubURL
	for _, route := range inv.Routes {
		if u, ok := relay.URL(route); ok && (info.HubURL == "" || u == here) {
			info.HubURL = u
		}
	}
	switch info.HubURL {
	case here:
		return inv, info, nil
	case "":
		return inv, info, &Error{
			Code: "noHub", Message: "The computer that made this invitation is at no hub.",
			Hint: "Start its agent with `vmux agent --hub " + here + "`, then run `vmux pair` again.",
		}
	}
	return inv, info, &Error{
		Code: "otherHub", Message: "This invitation is for the hub " + info.HubURL + ", and this app belongs to " + here + ".",
		Hint: "Open " + info.HubURL + " on this phone and scan the code there.",
	}
}

func (p *Phone) pair(ctx context.Context, a arguments) (any, error) {
	inv, _, err := p.invitation(a.Invitation)
	if err != nil {
		return nil, err
	}
	hub, node := p.running()
	if node == nil {
		return nil, relay.ErrNotConnected
	}
	ctx, cancel := context.WithTimeout(ctx, pairTimeout)
	defer cancel()
	peer, err := node.Pair(ctx, inv, []string{relay.Route(p.cfg.HubURL)}, hub)
	if err != nil {
		return nil, err
	}
	if err := p.signer.Activity.Paired(peer); err != nil { // the computer has paired by now
		p.cfg.Log.Error("write activity log", "peer", peer.ID.Short(), "err", err)
	}
	return invitationInfo{Name: peer.Name, ID: peer.ID.String()}, nil
}

func (p *Phone) unpair(_ context.Context, a arguments) (any, error) {
	id, err := device.ParseID(a.ID)
	if err != nil {
		return nil, device.ErrNotPaired
	}
	peer, err := p.trust.Get(id)
	if err != nil {
		return nil, err
	}
	if err := p.trust.Remove(id); err != nil {
		return nil, err
	}
	p.ended(peer, "")
	if _, node := p.running(); node != nil {
		node.Disconnect(id, wire.Errorf(wire.CodePairingInvalid, "unpaired on the phone"))
		awaitDown(node, id)
	}
	p.refresh()
	p.changed()
	return nil, nil
}

// ended is what follows from a pairing's end, by whoever ended it. The pairing has
// ended also where that cannot be stored.
func (p *Phone) ended(peer device.Peer, by string) {
	p.signer.EndGrantsOf(peer.ID)
	if err := p.signer.Activity.Unpaired(peer, by); err != nil {
		p.cfg.Log.Error("write activity log", "peer", peer.ID.Short(), "err", err)
	}
}

func (p *Phone) rename(_ context.Context, a arguments) (any, error) {
	if err := identity.CheckLabel(a.Name); err != nil {
		return nil, &Error{Code: "invalid", Message: "A name is 1 to 255 bytes of printable text."}
	}
	if err := p.change(func(s *settings) { s.Name = a.Name }); err != nil {
		return nil, err
	}
	select {
	case p.restart <- struct{}{}:
	default:
	}
	p.changed()
	return nil, nil
}

// foreground looks at once for what has come while the page was asleep.
func (p *Phone) foreground(context.Context, arguments) (any, error) {
	p.endGrantsWhenAway()
	p.away.Returned()
	hub, node := p.running()
	if hub != nil {
		hub.Wake()
		node.Wake()
	}
	return nil, nil
}

// wipe ends all pairings and destroys everything. The page is of no use after it.
func (p *Phone) wipe(ctx context.Context, _ arguments) (any, error) {
	peers, err := p.trust.Peers()
	for _, peer := range peers {
		_, unpairErr := p.unpair(ctx, arguments{ID: peer.ID.String()})
		err = errors.Join(err, unpairErr)
	}
	if err != nil {
		p.cfg.Log.Warn("unpair before wiping", "err", err)
	}
	if p.cfg.Wipe == nil {
		return nil, nil
	}
	return nil, p.cfg.Wipe()
}
