package agent

import (
	"context"
	"errors"
	"fmt"

	"vmux/internal/agent/journal"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/wire"
)

// Pair implements control.Service.
func (a *Agent) Pair(ctx context.Context, o control.PairOptions, invited func(control.Invitation) error) (control.Device, error) {
	peer, err := a.pairing.Invite(ctx, o.Hosts, invited)
	if err != nil {
		return control.Device{}, err
	}
	return a.device(peer), nil
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

// forget removes a phone, its keys, its CA and the certificate it issued.
func (a *Agent) forget(phone device.ID) error {
	err := a.trust.Remove(phone)
	a.refreshHub()
	if serr := a.waker.Forget(phone); err == nil {
		err = serr
	}
	a.keys.Remove(phone)
	a.rebuild()
	a.saveKeys()
	if serr := a.cas.Forget(phone); err == nil {
		err = serr
	}
	a.certificate.Forget(phone)
	return err
}

// find returns the paired device that the user names.
func (a *Agent) find(name string) (device.Peer, error) {
	p, err := a.trust.Find(name)
	switch {
	case errors.Is(err, device.ErrNotPaired):
		return p, control.Errorf(control.CodeNoSuchDevice, "see `vmux devices`", "No paired device %s.", wire.Show(name))
	case errors.Is(err, device.ErrAmbiguous):
		return p, control.Errorf(control.CodeNoSuchDevice, "see `vmux devices`", "%s names more than one device.", wire.Show(name))
	}
	return p, err
}

// notPaired returns why a phone is not paired, nil if it is.
func (a *Agent) notPaired(phone device.ID) error {
	_, err := a.trust.Get(phone)
	return err
}
