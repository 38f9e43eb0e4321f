// Package phone is the native phone: the signer over files, a listener on the
// local network and a person at a terminal. What is signed and why is decided
// in package signer, not here.
package phone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/signer"
	"vmux/internal/state"
	"vmux/internal/wire"
)

const (
	keyDocument    = "device.key"
	trustDocument  = "trust.json"
	listenDocument = "listen"
)

// Phone is the state of a native phone. Several processes may have it open.
type Phone struct {
	Signer *signer.Signer
	Trust  *device.Trust
	Name   string

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
	key, err := deviceKey(dir)
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
	return &Phone{Signer: s, Trust: device.NewTrust(dir.File(trustDocument)), Name: hostName(), dir: dir, key: key}, nil
}

func deviceKey(dir *state.Dir) (*device.Key, error) {
	unlock, err := dir.Lock()
	if err != nil {
		return nil, fmt.Errorf("lock the phone's state: %w", err)
	}
	defer unlock()
	b, err := dir.Get(keyDocument)
	if err != nil {
		return nil, fmt.Errorf("load device key: %w", err)
	}
	if b != nil {
		return device.ParseKey(b)
	}
	key, err := device.NewKey()
	if err != nil {
		return nil, err
	}
	if b, err = key.Marshal(); err != nil {
		return nil, err
	}
	return key, dir.Put(keyDocument, b)
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "phone"
	}
	short, _, _ := strings.Cut(name, ".")
	return short
}

// ID returns the phone's device ID.
func (p *Phone) ID() device.ID { return p.key.ID() }

// Pair redeems an invitation and tells the computer where this phone listens,
// though another process may be the one that does.
func (p *Phone) Pair(ctx context.Context, inv device.Invitation) (device.Peer, error) {
	address, err := p.address("")
	if err != nil {
		return device.Peer{}, err
	}
	routes, err := routesOf(address)
	if err != nil {
		return device.Peer{}, err
	}
	node := link.New(link.Config{
		Key: p.key, Trust: p.Trust, Name: p.Name, Routes: []link.Route{lan.NewDialer(false, nil)},
	})
	defer node.Close()
	return node.Pair(ctx, inv, routes)
}

// address returns where the phone listens: what is asked for, else what it used
// last, else a port that is free now. Port 0 stands for the last one. The port
// is kept so that computers find the phone where they last saw it.
func (p *Phone) address(asked string) (string, error) {
	b, err := p.dir.Get(listenDocument)
	if err != nil {
		return "", fmt.Errorf("load the listening address: %w", err)
	}
	last := strings.TrimSpace(string(b))
	_, lastPort, err := net.SplitHostPort(last)
	if err != nil {
		last, lastPort = "", ""
	}
	if asked == "" {
		if last != "" {
			return last, nil
		}
		return p.choose(":0")
	}
	host, port, err := net.SplitHostPort(asked)
	if err != nil {
		return "", fmt.Errorf("listen on %q: want HOST:PORT", asked)
	}
	if port == "0" && lastPort != "" {
		return net.JoinHostPort(host, lastPort), nil
	}
	return asked, nil
}

func (p *Phone) choose(address string) (string, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "", fmt.Errorf("choose a port: %w", err)
	}
	defer l.Close()
	return p.keep(l)
}

func (p *Phone) keep(l net.Listener) (string, error) {
	address := l.Addr().String()
	return address, p.dir.Put(listenDocument, []byte(address+"\n"))
}

// listen takes the address, or another port of it when that one is taken.
func (p *Phone) listen(asked string) (net.Listener, error) {
	address, err := p.address(asked)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		host, port, _ := net.SplitHostPort(address)
		if _, askedPort, _ := net.SplitHostPort(asked); askedPort == port && port != "0" {
			return nil, fmt.Errorf("listen: %w", err)
		}
		if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	if _, err := p.keep(l); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// routesOf returns where others can reach a listener: its own address, or, if it
// listens everywhere, every address of this machine.
func routesOf(address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listening address: %w", err)
	}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return []string{lan.Route(address)}, nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var outward, loopback []string
	for _, a := range addrs {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.IsLinkLocalUnicast() { // useless without a zone
			continue
		}
		route := lan.Route(net.JoinHostPort(ip.IP.String(), port))
		if ip.IP.IsLoopback() {
			loopback = append(loopback, route)
		} else {
			outward = append(outward, route)
		}
	}
	const most = 8
	all := append(outward, loopback...)
	return all[:min(len(all), most)], nil
}

// RunConfig says how a phone runs.
type RunConfig struct {
	// Listen is HOST:PORT; empty means where it listened last.
	Listen string
	// State is told `Advertising`, `Connecting to …`, `Connected to …` and
	// `Offline`, and what happens to pairings.
	State func(string)
	Log   *slog.Logger
}

// Run serves paired computers until ctx ends.
func (p *Phone) Run(ctx context.Context, c RunConfig) error {
	release, err := p.alone()
	if err != nil {
		return err
	}
	defer release()
	l, err := p.listen(c.Listen)
	if err != nil {
		return err
	}
	node := link.New(link.Config{
		Key: p.key, Trust: p.Trust, Name: p.Name, Hello: p.Signer.Hello,
		Handler: &handler{phone: p, say: c.State}, Log: c.Log,
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 3)
	go func() { done <- node.Run(ctx) }()
	go func() { done <- node.Serve(ctx, l) }()
	go func() { done <- p.advertise(ctx, l, c) }()
	for range cap(done) {
		if e := <-done; e != nil && ctx.Err() == nil {
			err = errors.Join(err, e)
			cancel()
		}
	}
	c.State("Offline")
	return err
}

func (p *Phone) advertise(ctx context.Context, l net.Listener, c RunConfig) error {
	a := l.Addr().(*net.TCPAddr)
	if a.IP.IsLoopback() {
		c.State("Advertising to nobody: listening on " + a.String() + ", for this machine alone")
		<-ctx.Done()
		return nil
	}
	c.State("Advertising, listening on " + a.String())
	if err := lan.Advertise(ctx, p.ID(), p.Name, a.Port, c.Log); err != nil && ctx.Err() == nil {
		// Computers that know the address still find the phone.
		c.State("DNS-SD does not work here: " + err.Error())
	}
	<-ctx.Done()
	return nil
}

// alone refuses a second run over the same state: both would ask.
func (p *Phone) alone() (func(), error) {
	return tryLock(p.dir.Path())
}

type handler struct {
	phone *Phone
	say   func(string)
}

func (h *handler) LinkUp(peer device.Peer, hello wire.Hello, _ string) {
	h.say("Connected to " + peer.Name)
}

func (h *handler) LinkDown(peer device.Peer, reason error) {
	h.say("Advertising: " + peer.Name + " is gone: " + wire.Show(reason.Error()))
}

// Unpaired forgets a computer that has ended the pairing: it will not come back.
func (h *handler) Unpaired(peer device.Peer) {
	h.say(peer.Name + " is no longer paired: it ended the pairing")
	_ = h.phone.Trust.Remove(peer.ID)
}

func (h *handler) Paired(peer device.Peer) { h.say("Paired with " + peer.Name) }

func (h *handler) Serve(ctx context.Context, r *link.Request) (wire.Kind, any) {
	return h.phone.Signer.Serve(ctx, r.From, r.Envelope, r.Received)
}
