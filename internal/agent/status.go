package agent

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"vmux/internal/agent/keys"
	"vmux/internal/agent/waking"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// Changed implements control.Service.
func (a *Agent) Changed() <-chan struct{} { return a.journal.Changed() }

// Status implements control.Service.
func (a *Agent) Status() control.Status {
	peers := a.node.Peers()
	s := control.Status{
		ConnectionLine: connectionLine(peers), Connected: anyConnected(peers),
		Certificate: a.ShowCertificate(), Identities: a.identities(peers), Phones: a.devices(peers),
		DeviceID: a.self.String(), DeviceName: a.cfg.Name, Socket: a.cfg.Socket,
		PID: os.Getpid(), Version: a.cfg.ProgramVersion, Flags: a.cfg.Flags, StartedAt: a.started.Round(0),
		Locked: a.lockedNow.Load(), Notifications: a.wantedNotices(), Hub: a.hubStatus(), Upstream: a.upstreamStatus(),
	}
	s.CertificateLine = s.Certificate.Sentence()
	s.Unsigned, s.FewerKeys = a.memory.Unsigned(time.Now()), a.memory.Fewer()
	a.journal.Fill(&s)
	s.Warnings = append(s.Warnings, clockWarnings(peers)...)
	return s
}

// connectionLine names all connected phones.
func connectionLine(peers []link.PeerStatus) string {
	var names []string
	for _, p := range peers {
		if p.Connected {
			names = append(names, p.Name.String())
		}
	}
	if len(names) == 0 {
		return control.LineNotConnected
	}
	return control.LineConnected + strings.Join(names, ", ")
}

func clockWarnings(peers []link.PeerStatus) []string {
	var list []string
	for _, p := range peers {
		if p.Connected && clockOff(p) {
			list = append(list, fmt.Sprintf("Clocks differ by %.0f s: this computer's and that of %s.", p.ClockDifference.Abs().Seconds(), p.Name))
		}
	}
	return list
}

func clockOff(p link.PeerStatus) bool { return p.ClockDifference.Abs() >= wire.ClockWarning }

// ShowCertificate implements control.Service.
func (a *Agent) ShowCertificate() control.Certificate { return a.certificate.Show(a.nameOf) }

func (a *Agent) nameOf(id device.ID) string {
	p, err := a.trust.Get(id)
	if err != nil {
		return id.Short()
	}
	return p.Name.String()
}

// identities are what SSH clients see, but for the upstream agent's.
func (a *Agent) identities(peers []link.PeerStatus) []control.Identity {
	byID := map[device.ID]link.PeerStatus{}
	for _, p := range peers {
		byID[p.ID] = p
	}
	list := []control.Identity{}
	s := a.snapshot.Load()
	for _, listed := range s.unbound(time.Now()).Identities() {
		if id := s.byBlob[string(listed.Blob)]; id != nil {
			list = append(list, describeIdentity(id, byID))
		} else if cert, err := sshctx.ParseCertificate(listed.Blob); err == nil { // also one by a passkey
			list = append(list, control.Identity{
				Comment: listed.Comment, Fingerprint: sshctx.Fingerprint(cert.Key.Marshal()), Algorithm: cert.Type(),
				PublicKey: sshctx.AuthorizedLine(cert), Certificate: true, Available: true,
			})
		}
	}
	return list
}

func describeIdentity(id *keys.Key, peers map[device.ID]link.PeerStatus) control.Identity {
	d := control.Identity{
		Comment: id.Comment, Fingerprint: id.Fingerprint, Algorithm: id.Algorithm, PublicKey: sshctx.AuthorizedLine(id.Public),
		DisplayName: id.DisplayName, ProviderKind: id.ProviderKind, Servers: id.Hosts, SecondWay: id.SecondWay,
	}
	for _, holder := range id.Phones {
		if p, ok := peers[holder]; ok {
			d.Phones, d.PhoneIDs = append(d.Phones, p.Name.String()), append(d.PhoneIDs, holder.String())
			d.Available = d.Available || p.Connected
		}
	}
	return d
}

// Devices implements control.Service.
func (a *Agent) Devices() ([]control.Device, error) {
	if _, err := a.trust.Peers(); err != nil {
		return nil, err
	}
	return a.devices(a.node.Peers()), nil
}

// pingTimeout is more than a link that is dead takes to end.
const pingTimeout = 5 * time.Second

// Ping implements control.Service.
func (a *Agent) Ping(ctx context.Context) ([]control.Device, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	var asked sync.WaitGroup
	var silent sync.Map // by ID
	for _, p := range a.node.Peers() {
		if p.Connected {
			asked.Go(func() {
				if err := a.node.RoundTrip(ctx, p.ID); err != nil {
					silent.Store(p.ID.String(), err)
				}
			})
		}
	}
	asked.Wait()
	a.journal.Change()
	list, err := a.Devices()
	for i, d := range list {
		if _, no := silent.Load(d.ID); no {
			list[i].RoundTripMilliseconds = 0 // is that of before
		}
	}
	return list, err
}

func (a *Agent) devices(peers []link.PeerStatus) []control.Device {
	list := make([]control.Device, 0, len(peers))
	for _, p := range peers {
		list = append(list, a.deviceOf(p))
	}
	return list
}

// device is how it stands with a paired phone.
func (a *Agent) device(peer device.Peer) control.Device {
	for _, p := range a.node.Peers() {
		if p.ID == peer.ID {
			return a.deviceOf(p)
		}
	}
	return control.Device{ID: peer.ID.String(), Name: peer.Name.String(), PairedAt: peer.PairedAt}
}

func (a *Agent) deviceOf(p link.PeerStatus) control.Device {
	d := control.Device{
		ID: p.ID.String(), Name: p.Name.String(), Connected: p.Connected, Route: p.Route, Since: p.Since,
		ClockDifferenceMilliseconds: p.ClockDifference.Milliseconds(), ClockWarning: clockOff(p),
		RoundTripMilliseconds: float64(p.RoundTrip.Microseconds()) / 1000,
		AutomaticIssuance:     p.Hello.AutomaticIssuance, ProgramVersion: p.Hello.ProgramVersion,
	}
	if p.LastError != nil && !p.Connected {
		d.LastError = cmp.Or(p.LastError.Error(), "unknown")
		d.NotReached, d.Hint = waking.NotReached(p.LastError, a.hub != nil)
	}
	if peer, err := a.trust.Get(p.ID); err == nil {
		d.PairedAt = peer.PairedAt
	}
	a.waker.Describe(&d, p.ID)
	accepted, offered := a.cas.Of(p.ID)
	if len(accepted) > 0 {
		d.CAFingerprint = sshctx.Fingerprint(accepted)
	}
	if len(offered) > 0 {
		d.CAChangedTo = sshctx.Fingerprint(offered)
	}
	d.Keys = a.keys.Count(p.ID)
	return d
}
