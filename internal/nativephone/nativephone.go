// Package nativephone is the native phone: the signer over files, on the network. What is
// signed and why is decided in package signer, and a person asked in package terminal.
package nativephone

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/link/relay"
	"vmux/internal/nativephone/remember"
	"vmux/internal/signer"
	"vmux/internal/signer/documents"
	"vmux/internal/signer/identity"
	"vmux/internal/state"
	"vmux/internal/wire"
)

const (
	keyDocument    = "device.key"
	trustDocument  = "trust.json"
	listenDocument = "listen"
	nameDocument   = "name"
)

// Phone is the state of a native phone, which this process owns: see Open.
type Phone struct {
	Signer *signer.Signer
	Trust  *device.Trust
	// ProgramVersion is told to computers, if it is not empty.
	ProgramVersion string
	// Forget wipes the passphrases that are remembered and returns how many there were;
	// nil: there are none. To be set before Run.
	Forget func() int

	dir     *state.Dir
	key     *device.Key
	release func()
	sleeps  remember.Sleeps
	pairing chan struct{} // of capacity 1: taken by Pair, which goes to hubs before it remembers them

	mu     sync.Mutex // guards what follows
	name   string
	online *presence // nil unless Run runs
}

// Open opens the phone in home for this process alone, making its device key at the
// first time; *state.Owned is the error where another process has it open. Doing
// tells that one's like what this one is about, such as "vmux phone run". The
// approver may be empty where nothing is signed. Close gives the state back.
func Open(home state.Home, doing string, approver signer.Approver, log *slog.Logger) (*Phone, error) {
	dir, err := home.Phone()
	if err != nil {
		return nil, err
	}
	release, err := dir.Own(doing)
	if err != nil {
		return nil, err
	}
	p, err := loadPhone(dir, approver, log)
	if err != nil {
		release()
		return nil, err
	}
	p.release = release
	return p, nil
}

func loadPhone(dir *state.Dir, approver signer.Approver, log *slog.Logger) (*Phone, error) {
	key, err := device.OwnKey(dir, keyDocument)
	if err != nil {
		return nil, explained(dir, err)
	}
	s, err := signer.New(signer.Config{
		Store: dir, Approver: approver, Log: log, Now: newClock().now,
		Providers: map[string]identity.Provider{identity.ProviderUpstream: Upstream{}},
	})
	if err != nil {
		return nil, err
	}
	name, err := keptName(dir)
	if err != nil {
		return nil, err
	}
	return &Phone{Signer: s, Trust: device.NewTrust(dir.File(trustDocument)), name: name, dir: dir, key: key, release: func() {}, pairing: make(chan struct{}, 1)}, nil
}

// Explained adds to the error of a document that cannot be read what to do about it.
func (p *Phone) Explained(err error) error { return explained(p.dir, err) }

func explained(dir *state.Dir, err error) error {
	unreadable, ok := errors.AsType[*documents.UnreadableError](err)
	name, then := trustDocument, "pair the computers again"
	switch {
	case ok && unreadable.Version != 0:
		return wire.WithHint(err, "bring vmux on this machine to the version that wrote it")
	case ok:
		name, then = unreadable.Name, "`vmux phone restore BACKUP`"
	case errors.Is(err, device.ErrKey):
		name = keyDocument
	case !errors.Is(err, device.ErrDamaged):
		return err
	}
	path := filepath.Join(dir.Path(), name)
	return wire.WithHint(err, fmt.Sprintf("put a copy of %s back, or rename it and %s", path, then))
}

// Close lets other processes open the state. Nothing may be done with the phone
// any more.
func (p *Phone) Close() { p.release() }

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

// Rename keeps the name by which computers know this phone; empty is the host name
// again. Those that are paired already learn it when tellChanges is called, or at their
// next connection, and the network at once.
func (p *Phone) Rename(name string) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch name {
	case p.name:
		return nil
	case "":
		p.name, err = hostName(), p.dir.Delete(nameDocument)
	default:
		p.name, err = name, p.dir.Put(nameDocument, []byte(name+"\n"))
	}
	if err != nil {
		return fmt.Errorf("keep the phone's name: %w", err)
	}
	if p.online != nil {
		p.online.rename(p.name)
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

// Lock ends what was given for a while: grants, and passphrases that are remembered. It
// returns how many there were.
func (p *Phone) Lock() (passphrases, grants int) {
	grants = len(p.Signer.Grants())
	p.Signer.EndGrant("")
	if p.Forget != nil {
		passphrases = p.Forget()
	}
	return passphrases, grants
}

// hello is what the phone adds to its hello.
func (p *Phone) hello() wire.Hello {
	h := p.Signer.Hello()
	h.ProgramVersion = p.ProgramVersion
	return h
}

// AddKey keeps a private key in a key file under the passphrase, for an identity or the CA.
// It wipes the key.
func (p *Phone) AddKey(label string, key crypto.PrivateKey, passphrase []byte) (identity.Identity, error) {
	return identity.Files{Store: p.dir}.Add(label, key, passphrase)
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
	p.Signer.EndGrantsOf(id)
	if online := p.running(); online != nil {
		online.node.Disconnect(id, link.ErrUnpairedHere)
		online.hubs.refresh()
	}
	return p.Signer.Activity.Unpaired(peer, by)
}

// Running reports whether Run runs.
func (p *Phone) Running() bool { return p.running() != nil }

// running is the phone's presence while Run runs, else nil.
func (p *Phone) running() *presence {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.online
}

// Pair redeems an invitation, at its addresses and at its hubs, and tells the
// computer where this phone can be reached, though it may not run yet. It remembers the
// hubs, and a phone that runs stays there. CA are the certificates, in PEM, that are
// believed of a hub; nil: those that are remembered. One pairing waits for another.
func (p *Phone) Pair(ctx context.Context, inv device.Invitation, ca []byte) (device.Peer, error) {
	select {
	case p.pairing <- struct{}{}:
		defer func() { <-p.pairing }()
	case <-ctx.Done():
		return device.Peer{}, ctx.Err()
	}
	address, err := p.reserve(ctx)
	if err != nil {
		return device.Peer{}, err
	}
	invited, err := p.invitedTo(inv, ca)
	if err != nil {
		return device.Peer{}, err
	}
	online := p.running()
	if online == nil {
		online = p.visit(ctx)
		defer online.end()
	}
	ways := []link.Route{lan.NewDialer(false, nil)}
	told := reachable(ctx, address, inv.Routes)
	for _, h := range invited {
		way, err := online.hubs.goTo(h)
		if err != nil {
			return device.Peer{}, errors.Join(fmt.Errorf("hub %s: %w", h.URL, err), online.hubs.follow())
		}
		ways, told = append(ways, way), append(told, relay.Route(h.URL))
	}
	peer, err := online.node.Pair(ctx, inv, told, ways...)
	if err == nil {
		err = p.Signer.Activity.Paired(peer)
		for _, h := range invited {
			err = errors.Join(err, p.RememberHub(h))
		}
	}
	return peer, errors.Join(err, online.hubs.follow())
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
