package agent

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"vmux/internal/agent/journal"
	"vmux/internal/agent/keys"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/wire"
)

// refreshTimeout bounds one keyListRequest: no person is asked.
const refreshTimeout = 15 * time.Second

// handler is what the link tells the agent.
type handler struct{ a *Agent }

// LinkUp implements link.Handler.
func (h handler) LinkUp(p device.Peer, hello wire.Hello, route string) {
	h.a.log.Info("phone connected", "phone", p.ID.Short(), "route", route)
	h.a.journal.Note(journal.KindLink, "Connected to "+p.Name.String(), "")
	h.a.waker.Seen(p.ID)
	h.a.pairing.Linked()
	h.a.certificate.Revoke(p, hello.RevokedSerials)
	h.a.tasks.run(func(ctx context.Context) { h.a.afterHandshake(ctx, p, hello) })
}

// afterHandshake does what every new link brings: the CA is compared, the keys are
// listed, a missing certificate is asked for.
func (a *Agent) afterHandshake(ctx context.Context, p device.Peer, hello wire.Hello) {
	a.checkCA(p, hello)
	a.certificate.Revoke(p, hello.RevokedSerials) // once more: of a phone just paired the CA was not known yet
	if _, err := a.refresh(ctx, p); err != nil && ctx.Err() == nil {
		a.log.Warn("key list", "phone", p.ID.Short(), "error", err)
		a.journal.Fail(journal.KindKeys, p.Name.String(), err)
	}
	a.certificate.PhoneConnected(time.Now())
}

// HelloChanged implements link.HelloListener: the phone's keys, its CA or its
// policy are others now. What was denied stays denied.
func (h handler) HelloChanged(p device.Peer, hello wire.Hello) {
	h.a.log.Info("phone's keys, CA or policy changed", "phone", p.ID.Short(), "automatic", hello.AutomaticIssuance)
	// Before anything that waits, for the disk or for a page that sleeps.
	h.a.certificate.Revoke(p, hello.RevokedSerials)
	h.a.tasks.run(func(ctx context.Context) {
		h.a.checkCA(p, hello)
		if _, err := h.a.refresh(ctx, p); err != nil && ctx.Err() == nil {
			h.a.log.Warn("key list", "phone", p.ID.Short(), "error", err)
		}
		h.a.certificate.RenewIfDue()
		h.a.journal.Change()
	})
}

// checkCA compares the CA that a phone tells of with the one known.
func (a *Agent) checkCA(p device.Peer, hello wire.Hello) {
	if err := a.cas.Check(p, hello.CAPublicKey); err != nil {
		a.journal.Fail(journal.KindCertificate, p.Name.String(), err)
	}
}

// LinkDown implements link.Handler.
func (h handler) LinkDown(p device.Peer, reason error) {
	h.a.log.Info("phone disconnected", "phone", p.ID.Short(), "reason", reason)
	h.a.journal.Note(journal.KindLink, "Disconnected from "+p.Name.String(), "")
	h.a.waker.Lost()
}

// Unpaired implements link.Handler: the phone has ended the pairing, and so
// does this side.
func (h handler) Unpaired(p device.Peer) {
	h.a.log.Warn("the phone has ended the pairing", "phone", p.ID.Short())
	h.a.tasks.run(func(context.Context) {
		if now, err := h.a.trust.Get(p.ID); err == nil && !now.PairedAt.Equal(p.PairedAt) {
			return // paired anew meanwhile
		}
		if err := h.a.forget(p.ID); err != nil {
			h.a.log.Error("forget a phone", "phone", p.ID.Short(), "error", err)
		}
		h.a.node.Disconnect(p.ID, link.ErrUnpairedHere) // ends dialling
		h.a.journal.Fail(journal.KindPairing, p.Name.String(), wire.NewError(wire.CodePairingInvalid))
	})
}

// Paired implements link.Handler.
func (h handler) Paired(p device.Peer) {
	h.a.log.Info("paired", "phone", p.ID.Short())
	if err := h.a.cas.Expect(p.ID); err != nil {
		h.a.log.Error("paired phone", "phone", p.ID.Short(), "error", err)
	}
	h.a.refreshHub()
	h.a.journal.Succeed(journal.KindPairing, "Paired with "+p.Name.String())
	h.a.pairing.Paired(p)
}

// Serve implements link.Handler: a phone has little to ask of an agent.
func (h handler) Serve(_ context.Context, r *link.Request) (wire.Kind, any) {
	if r.Envelope.Kind == wire.KindDeviceTokenUpdate {
		var update wire.DeviceTokenUpdate
		if err := wire.DecodeBody(r.Envelope, &update); err != nil {
			return wire.KindError, wire.AsError(err)
		}
		if err := h.a.waker.Update(r.From.ID, update); err != nil {
			h.a.log.Warn("keep that a phone can be woken", "phone", r.From.ID.Short(), "error", err)
		}
		return "", nil
	}
	return wire.KindError, wire.Errorf(wire.CodeVersionUnsupported, "a computer does not serve %s", r.Envelope.Kind)
}

// refresh replaces what is known of one phone's keys and returns how many it
// has.
func (a *Agent) refresh(ctx context.Context, p device.Peer) (int, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, refreshTimeout, wire.NewError(wire.CodePhoneNotReachable))
	defer cancel()
	e, err := a.node.Ask(ctx, p.ID, wire.KindKeyListRequest, wire.NewID(), wire.KeyListRequest{}, nil)
	if err != nil {
		return 0, err
	}
	var answer wire.KeyListResponse
	if err := wire.DecodeBody(e, &answer); err != nil {
		return 0, err
	}
	var list []keys.Info
	for _, k := range answer.Keys {
		info, err := keys.NewInfo(k)
		if err != nil {
			a.log.Warn("key of a phone left out", "phone", p.ID.Short(), "reason", err)
			continue
		}
		list = append(list, info)
	}
	if err := a.setKeys(p.ID, list); err != nil {
		return 0, err
	}
	a.journal.Succeed(journal.KindKeys, fmt.Sprintf("keys on %s: %d", p.Name, len(list)))
	return len(list), nil
}

// setKeys uses a phone's keys at once and writes them to the cache. That the
// disk fails is a warning: the keys work nevertheless.
func (a *Agent) setKeys(phone device.ID, list []keys.Info) error {
	added, err := a.keys.Set(phone, list)
	if err != nil {
		return err
	}
	a.rebuild()
	a.saveKeys()
	if added {
		a.memory.OfferAll() // where none was taken the new one may be
	}
	return nil
}

func (a *Agent) saveKeys() {
	text := ""
	if err := a.keys.Save(); err != nil {
		text = "The agent cannot write its state: " + err.Error()
	}
	a.journal.Warn(journal.WarningDisk, text)
}

// RefreshKeys implements control.Service.
func (a *Agent) RefreshKeys(ctx context.Context) (control.RefreshResult, error) {
	peers := a.node.Peers()
	if len(peers) == 0 {
		return control.RefreshResult{}, control.Errorf(control.CodeNotPaired, "run `vmux pair`", "No phone is paired with this computer.")
	}
	a.memory.OfferAll()
	if !anyConnected(peers) {
		a.node.Wake()
	}
	results := make([]control.RefreshedPhone, len(peers))
	var asked sync.WaitGroup
	for i, p := range peers {
		results[i] = control.RefreshedPhone{ID: p.ID.String(), Name: p.Name.String()}
		if !p.Connected && anyConnected(peers) {
			results[i].Error = control.AsError(wire.NewError(wire.CodePhoneNotReachable))
			continue
		}
		asked.Go(func() {
			n, err := a.refresh(ctx, device.Peer{ID: p.ID, Name: p.Name})
			results[i].Keys = n
			if err != nil {
				results[i].Error = control.AsError(err)
			}
		})
	}
	asked.Wait()
	for _, r := range results {
		if r.Error == nil {
			return control.RefreshResult{Phones: results, Identities: a.identities(a.node.Peers())}, nil
		}
	}
	return control.RefreshResult{}, results[0].Error
}

func anyConnected(peers []link.PeerStatus) bool {
	return slices.ContainsFunc(peers, func(p link.PeerStatus) bool { return p.Connected })
}
