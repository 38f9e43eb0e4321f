// Package phone is the native phone: the signer over files, a listener on the
// local network and a person at a terminal. What is signed and why is decided
// in package signer, not here.
package phone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/link/relay"
	"vmux/internal/signer"
	"vmux/internal/state"
	"vmux/internal/wire"
)

const (
	keyDocument    = "device.key"
	trustDocument  = "trust.json"
	listenDocument = "listen"
	nameDocument   = "name"
)

// Phone is the state of a native phone. Several processes may have it open.
type Phone struct {
	Signer *signer.Signer
	Trust  *device.Trust
	Name   string // set it by Rename
	// ProgramVersion is told to computers; empty tells what the build knows.
	ProgramVersion string

	dir *state.Dir
	key *device.Key
}

// Open opens the phone in home, making its device key at the first time. The
// approver may be empty where nothing is signed.
func Open(home state.Home, approver signer.Approver, log *slog.Logger) (*Phone, error) {
	dir, err := home.Phone()
	if err != nil {
		return nil, err
	}
	key, err := device.OwnKey(dir, keyDocument)
	if err != nil {
		return nil, err
	}
	s, err := signer.New(signer.Config{
		Store: dir, Approver: approver, Log: log,
		Providers: map[string]signer.Provider{signer.ProviderUpstream: Upstream{}},
	})
	if err != nil {
		return nil, err
	}
	name, err := keptName(dir)
	if err != nil {
		return nil, err
	}
	return &Phone{Signer: s, Trust: device.NewTrust(dir.File(trustDocument)), Name: name, dir: dir, key: key}, nil
}

// keptName returns the name that Rename has kept, or else the host name's first
// word. What is damaged is no name.
func keptName(dir *state.Dir) (string, error) {
	b, err := dir.Get(nameDocument)
	if err != nil {
		return "", fmt.Errorf("load the phone's name: %w", err)
	}
	name := strings.TrimSpace(string(b))
	if name == "" || len(name) > wire.MaxNameSize || !wire.Printable(name) {
		return hostName(), nil
	}
	return name, nil
}

// Rename keeps the name by which computers know this phone, for every later
// process; empty is the host name again. A process that runs the phone takes it
// when it is started anew.
func (p *Phone) Rename(name string) (err error) {
	if name == "" {
		p.Name, err = hostName(), p.dir.Delete(nameDocument)
	} else {
		p.Name, err = name, p.dir.Put(nameDocument, []byte(name+"\n"))
	}
	if err != nil {
		return fmt.Errorf("keep the phone's name: %w", err)
	}
	return nil
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "phone"
	}
	short, _, _ := strings.Cut(name, ".")
	return short
}

// hello is what the phone adds to its hello.
func (p *Phone) hello() wire.Hello {
	h := p.Signer.Hello()
	h.ProgramVersion = p.ProgramVersion
	return h
}

// Grants returns those that hold now: none unless a process runs the phone, since
// what they need is in its memory. What one that was killed has left on the disk
// is no grant.
func (p *Phone) Grants() ([]signer.Grant, error) {
	running, err := p.dir.Claimed(runClaim)
	if err != nil || !running {
		return nil, err
	}
	return p.Signer.Grants()
}

// ID returns the phone's device ID.
func (p *Phone) ID() device.ID { return p.key.ID() }

// Unpair ends the pairing with a computer, and its grants. It returns
// device.ErrNotPaired if there was none.
func (p *Phone) Unpair(id device.ID) error { return p.unpair(id, "") }

// unpair is Unpair, with who has ended the pairing for the log. It is ended also
// where the log cannot be written.
func (p *Phone) unpair(id device.ID, by string) error {
	peer, err := p.Trust.Get(id)
	if err != nil {
		return err
	}
	if err := p.Trust.Remove(id); err != nil {
		return err
	}
	return errors.Join(p.Signer.EndGrantsOf(id), p.Signer.Unpaired(peer, by))
}

// Pair redeems an invitation, at its addresses and at its hubs, and tells the
// computer where this phone can be reached, though another process may be the
// one that is there. It remembers the hubs, so that that process goes there. CA
// are the certificates, in PEM, that are believed of a hub; nil: those that are
// remembered.
func (p *Phone) Pair(ctx context.Context, inv device.Invitation, ca []byte) (device.Peer, error) {
	address, err := p.reserve(ctx)
	if err != nil {
		return device.Peer{}, err
	}
	hubs, err := p.invitedTo(inv, ca)
	if err != nil {
		return device.Peer{}, err
	}
	routes := []link.Route{lan.NewDialer(false, nil)}
	told := reachable(ctx, address, inv.Routes)
	var visit visitor
	defer visit.end()
	for _, h := range hubs {
		route, err := visit.hub(ctx, h)
		if err != nil {
			return device.Peer{}, fmt.Errorf("hub %s: %w", h.URL, err)
		}
		routes, told = append(routes, route), append(told, relay.Route(h.URL))
	}
	node := link.New(link.Config{Key: p.key, Trust: p.Trust, Name: p.Name, Hello: p.hello, Routes: routes})
	defer node.Close()
	peer, err := node.Pair(ctx, inv, told)
	if err != nil {
		return peer, err
	}
	err = p.Signer.Paired(peer)
	for _, h := range hubs {
		err = errors.Join(err, p.RememberHub(h))
	}
	return peer, err
}

// invitedTo returns the hubs that an invitation names.
func (p *Phone) invitedTo(inv device.Invitation, ca []byte) ([]Hub, error) {
	known, err := p.Hubs()
	if err != nil {
		return nil, err
	}
	var list []Hub
	for _, u := range hubsOf(inv.Routes) {
		h := Hub{URL: u, CA: string(ca)}
		if i := slices.IndexFunc(known, func(k Hub) bool { return k.URL == u }); i >= 0 && ca == nil {
			h = known[i]
		}
		list = append(list, h)
	}
	return list, nil
}

// visitor is at hubs for the time of a pairing.
type visitor struct {
	cancel []context.CancelFunc
	parts  sync.WaitGroup
}

// hub returns the route through a hub. It goes there under a
// key of the moment: under the phone's own, the hub would take it for the
// process that runs the phone, and end that one's connection. Whom the two
// devices trust, the link's own handshake decides.
func (v *visitor) hub(ctx context.Context, h Hub) (link.Route, error) {
	key, err := device.NewKey()
	if err != nil {
		return nil, err
	}
	client, err := h.client(key, func() []device.ID { return nil }, RunConfig{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	v.cancel = append(v.cancel, cancel)
	v.parts.Go(func() { _ = client.Run(ctx) })
	return client, nil
}

func (v *visitor) end() {
	for _, cancel := range v.cancel {
		cancel()
	}
	v.parts.Wait()
}
