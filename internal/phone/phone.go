// Package phone is the native phone: the signer over files, a listener on the
// local network and a person at a terminal. What is signed and why is decided
// in package signer, not here.
package phone

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/signer"
	"vmux/internal/state"
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
	defer clear(b)
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
	address, err := p.reserve(ctx)
	if err != nil {
		return device.Peer{}, err
	}
	node := link.New(link.Config{
		Key: p.key, Trust: p.Trust, Name: p.Name, Hello: p.Signer.Hello, Routes: []link.Route{lan.NewDialer(false, nil)},
	})
	defer node.Close()
	return node.Pair(ctx, inv, reachable(ctx, address, inv.Routes))
}
