package phone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/relay"
	"vmux/internal/wire"
)

const (
	hubsDocument = "hubs.json"
	hubsVersion  = 1
	// maxHubs bounds how many hubs a phone is at.
	maxHubs = 8
	// hubPoll is how often a running phone looks for what another process has
	// changed: a pairing, a hub.
	hubPoll = time.Second
)

// Hub is a hub at which computers find this phone.
type Hub struct {
	URL string `json:"url"` // as wire.ParseHubURL returns it
	// CA are the certificates, in PEM, that are believed beside the system's.
	CA string `json:"ca,omitempty"`
}

type hubsFile struct {
	Version int   `json:"version"`
	Hubs    []Hub `json:"hubs"`
}

// Hubs returns the hubs that the phone remembers, the newest first.
func (p *Phone) Hubs() ([]Hub, error) {
	b, err := p.dir.Get(hubsDocument)
	if err != nil {
		return nil, fmt.Errorf("load hubs: %w", err)
	}
	if b == nil {
		return nil, nil
	}
	var doc hubsFile
	if err := json.Unmarshal(b, &doc); err != nil || doc.Version != hubsVersion || len(doc.Hubs) > maxHubs {
		return nil, errors.New("hubs: the file is damaged; `vmux phone run --hub none` makes a new one")
	}
	for _, h := range doc.Hubs {
		if u, err := wire.ParseHubURL(h.URL); err != nil || u != h.URL {
			return nil, errors.New("hubs: the file is damaged; `vmux phone run --hub none` makes a new one")
		}
	}
	return doc.Hubs, nil
}

// RememberHub keeps a hub for this and every later run. Without a CA it keeps
// the one that it has of that hub.
func (p *Phone) RememberHub(h Hub) error {
	unlock, err := p.dir.Lock()
	if err != nil {
		return fmt.Errorf("lock the phone's state: %w", err)
	}
	defer unlock()
	hubs, err := p.Hubs()
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(hubs, func(k Hub) bool { return k.URL == h.URL }); i >= 0 {
		if h.CA == "" {
			h.CA = hubs[i].CA
		}
		if hubs[i] == h {
			return nil
		}
		hubs = slices.Delete(hubs, i, i+1)
	}
	hubs = slices.Insert(hubs, 0, h)
	return p.saveHubs(hubs[:min(len(hubs), maxHubs)])
}

// ForgetHubs makes the phone forget all hubs.
func (p *Phone) ForgetHubs() error { return p.saveHubs([]Hub{}) }

func (p *Phone) saveHubs(hubs []Hub) error {
	b, err := json.MarshalIndent(hubsFile{hubsVersion, hubs}, "", "  ")
	if err == nil {
		err = p.dir.Put(hubsDocument, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep hubs: %w", err)
	}
	return nil
}

// hubsOf returns the hubs among routes.
func hubsOf(routes []string) []string {
	var list []string
	for _, r := range routes {
		text, ok := relay.URL(r)
		if !ok {
			continue
		}
		if u, err := wire.ParseHubURL(text); err == nil && !slices.Contains(list, u) {
			list = append(list, u)
		}
	}
	return list
}

// client makes the phone's connection to a hub, under a key.
func (h Hub) client(key *device.Key, allow func() []device.ID, c RunConfig) (*relay.Client, error) {
	roots, err := relay.Roots([]byte(h.CA))
	if err != nil {
		return nil, err
	}
	return relay.New(relay.Config{URL: h.URL, Key: key, RootCAs: roots, Allow: allow, Log: c.Log})
}

// paired are the computers that may reach this phone through a hub.
func (p *Phone) paired() []device.ID {
	peers, err := p.Trust.Peers()
	if err != nil {
		return nil // the node, which reads them too, says so
	}
	list := make([]device.ID, 0, len(peers))
	for _, peer := range peers {
		list = append(list, peer.ID)
	}
	return list
}

// atHubs keeps the phone at each hub that it remembers, until ctx ends. Another
// process may pair it meanwhile, or bring it to another hub.
func (p *Phone) atHubs(ctx context.Context, node *link.Node, c RunConfig, moved <-chan struct{}) error {
	at := map[Hub]*hubPlace{}
	defer func() {
		for _, place := range at {
			place.leave()
		}
	}()
	poll := time.NewTicker(hubPoll)
	defer poll.Stop()
	var paired []device.ID
	for {
		hubs, err := p.Hubs()
		if err != nil {
			return err
		}
		for _, h := range hubs {
			if at[h] == nil {
				if at[h], err = p.goTo(ctx, h, node, c); err != nil {
					return fmt.Errorf("hub %s: %w", h.URL, err)
				}
			}
		}
		changed := !slices.Equal(paired, p.paired())
		paired = p.paired()
		for h, place := range at {
			switch {
			case !slices.Contains(hubs, h):
				place.leave()
				delete(at, h)
				c.State("Left the hub "+h.URL, "")
			case changed:
				place.client.Refresh()
			}
			place.tell(c.State)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-moved:
			for _, place := range at {
				place.client.Wake()
			}
		case <-poll.C:
		}
	}
}

// hubPlace is a running phone's place at one hub.
type hubPlace struct {
	hub    Hub
	client *relay.Client
	cancel context.CancelFunc
	parts  sync.WaitGroup
	told   string
}

func (p *Phone) goTo(ctx context.Context, h Hub, node *link.Node, c RunConfig) (*hubPlace, error) {
	client, err := h.client(p.key, p.paired, c)
	if err != nil {
		return nil, err
	}
	place := &hubPlace{hub: h, client: client}
	ctx, place.cancel = context.WithCancel(ctx)
	listener := client.Listener()
	place.parts.Go(func() { _ = client.Run(ctx) })
	place.parts.Go(func() {
		if err := node.Serve(ctx, listener); err != nil && ctx.Err() == nil {
			c.Log.Warn("serving at the hub", "hub", h.URL, "error", err)
		}
	})
	return place, nil
}

func (h *hubPlace) leave() {
	h.cancel()
	h.parts.Wait()
}

// tell says how it stands with the hub, when that has changed.
func (h *hubPlace) tell(say func(text, hint string)) {
	s := h.client.Status()
	text := ""
	switch {
	case s.Connected:
		text = "At the hub " + h.hub.URL
	case s.LastError != nil:
		text = "The hub " + h.hub.URL + " is not reachable: " + wire.Show(s.LastError.Error())
	}
	if text != "" && text != h.told {
		say(text, wire.HintOf(s.LastError))
		h.told = text
	}
}
