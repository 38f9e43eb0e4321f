package agent

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/wire"
)

func isCanceled(err error) bool { return errors.Is(err, context.Canceled) }

// RequestCertificate implements control.Service. Who asks for the same as a
// request that waits joins it.
func (a *Agent) RequestCertificate(ctx context.Context, o control.CertificateOptions) (control.Certificate, error) {
	w, err := a.wantedOf(o)
	if err != nil {
		return control.Certificate{}, err
	}
	if err := a.refuseOfferedCA(w.phone); err != nil {
		return control.Certificate{}, err // before the phone is asked for what cannot be used
	}
	f, err := a.takeOff(w)
	if err != nil {
		return control.Certificate{}, err
	}
	select {
	case <-f.done:
		a.leave(f)
		if f.err != nil {
			return control.Certificate{}, f.err
		}
		return a.ShowCertificate(), nil
	case <-ctx.Done():
		a.leave(f)
		return control.Certificate{}, ctx.Err()
	}
}

// leave stops waiting. A request that nobody waits for any more is withdrawn,
// unless the agent itself wants it.
func (a *Agent) leave(f *flight) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.waiters--; f.waiters == 0 && !f.automatic {
		f.cancel(context.Canceled)
		if a.cert.flight == f { // nobody must join what is withdrawn
			a.cert.flight = nil
		}
	}
}

func (a *Agent) inFlight() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cert.flight != nil
}

func (a *Agent) wantedOf(o control.CertificateOptions) (wanted, error) {
	w := wanted{validity: defaultValidity, principals: o.Principals}
	if o.ValiditySeconds < 0 || o.ValiditySeconds > math.MaxInt32 || len(o.Principals) > wire.MaxPrincipals {
		return w, control.Errorf(control.CodeInvalid, "see `vmux cert request --help`", "No such validity, or too many principals.")
	}
	if o.ValiditySeconds > 0 {
		w.validity = time.Duration(o.ValiditySeconds) * time.Second
	}
	var err error
	if w.phone, err = a.issuer(o.Phone); err != nil {
		return w, err
	}
	if o.Identity != "" {
		w.identity, err = a.identityNamed(o.Identity, w.phone.ID)
	}
	return w, err
}

// identityNamed finds a phone's key by fingerprint or comment.
func (a *Agent) identityNamed(name string, phone device.ID) ([]byte, error) {
	var found []*identity
	for _, id := range a.snapshot.Load().identities {
		if slices.Contains(id.holders, phone) && (id.Fingerprint == name || id.Comment == name) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return nil, control.Errorf(wire.CodeKeyNotFound, "see `vmux status`", "That phone has no identity %s.", wire.Show(name))
	case 1:
	default:
		return nil, control.Errorf(wire.CodeKeyNotFound, "name it by its fingerprint: `vmux status`", "That phone has several identities %s.", wire.Show(name))
	}
	return found[0].PublicKeyBlob, nil
}

// issuer chooses the phone to ask: the one named; else the one that issued
// before; else the only one with a CA, or the only one there is.
func (a *Agent) issuer(name string) (device.Peer, error) {
	if name != "" {
		return a.find(name)
	}
	peers := a.node.Peers()
	if len(peers) == 0 {
		return device.Peer{}, control.Errorf(control.CodeNotPaired, "run `vmux pair`", "No phone is paired with this computer.")
	}
	a.mu.Lock()
	last := a.cert.lastPhone()
	pinned := map[device.ID]bool{}
	for id := range a.cas.accepted {
		pinned[id] = true
	}
	a.mu.Unlock()
	candidates := narrow(peers, func(p link.PeerStatus) bool { return p.ID == last },
		func(p link.PeerStatus) bool { return pinned[p.ID] || len(p.Hello.CAPublicKey) > 0 },
		func(p link.PeerStatus) bool { return p.Connected })
	if len(candidates) != 1 {
		return device.Peer{}, control.Errorf(control.CodeInvalid, "name the phone: `vmux cert request --phone NAME`", "Several phones could issue the certificate.")
	}
	return device.Peer{ID: candidates[0].ID, Name: candidates[0].Name}, nil
}

// narrow keeps what satisfies each wish, where anything does.
func narrow(peers []link.PeerStatus, wishes ...func(link.PeerStatus) bool) []link.PeerStatus {
	for _, wish := range wishes {
		var kept []link.PeerStatus
		for _, p := range peers {
			if wish(p) {
				kept = append(kept, p)
			}
		}
		if len(kept) > 0 {
			peers = kept
		}
	}
	return peers
}

// dropCertificateOfLocked destroys a certificate that a phone has issued.
func (a *Agent) dropCertificateOfLocked(phone device.ID) {
	c := &a.cert
	if c.flight != nil && c.flight.wanted.phone.ID == phone {
		c.flight.cancel(context.Canceled)
		c.flight = nil // what has come just now must not land
	}
	for _, s := range []**session{&c.session, &c.old, &c.expired} {
		if *s != nil && (*s).phone == phone {
			*s = nil
		}
	}
}
