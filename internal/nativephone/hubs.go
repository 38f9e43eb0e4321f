package nativephone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"vmux/internal/link/relay"
	"vmux/internal/wire"
)

const (
	hubsDocument = "hubs.json"
	hubsVersion  = 1
	// maxHubs bounds how many hubs a phone is at.
	maxHubs = 8
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
		if u, ok := relay.URL(r); ok && !slices.Contains(list, u) {
			list = append(list, u)
		}
	}
	return list
}

// places are the hubs at which a phone is: all that it remembers, and while it is
// being paired those of the invitation.
type places struct {
	presence *presence

	mu sync.Mutex
	at map[string]*place // by the hub's URL
}

// place is a phone's place at one hub.
type place struct {
	hub    Hub
	client *relay.Client
	cancel context.CancelFunc
	parts  sync.WaitGroup
}

// goTo goes to a hub, unless the phone is there already, and returns the way
// through it.
func (s *places) goTo(h Hub) (*relay.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.at[h.URL]; before != nil {
		if before.hub == h {
			return before.client, nil
		}
		s.leaveLocked(before) // two connections under one key would end each other
	}
	roots, err := relay.Roots([]byte(h.CA))
	if err != nil {
		return nil, err
	}
	on, changed := s.presence, make(chan struct{}, 1)
	client, err := relay.New(relay.Config{
		URL: h.URL, Key: on.phone.key, RootCAs: roots, Allow: on.phone.Trust.IDs, Log: on.config.Log,
		Changed: func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		return nil, err
	}
	p := &place{hub: h, client: client}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(on.ctx)
	if on.serves {
		listener := client.Listener()
		p.parts.Go(func() {
			if err := on.node.Serve(ctx, listener); err != nil && ctx.Err() == nil {
				on.config.Log.Warn("serving at the hub", "hub", h.URL, "error", err)
			}
		})
	}
	p.parts.Go(func() { _ = client.Run(ctx) })
	p.parts.Go(func() { p.tell(ctx, changed, on.config.State) })
	s.at[h.URL] = p
	return client, nil
}

// follow goes to the hubs that the phone remembers, and leaves all others.
func (s *places) follow() error {
	hubs, err := s.presence.phone.Hubs()
	if err != nil {
		return err
	}
	s.mu.Lock()
	for _, p := range s.at {
		if !slices.Contains(hubs, p.hub) {
			s.leaveLocked(p)
		}
	}
	s.mu.Unlock()
	for _, h := range hubs {
		if _, err := s.goTo(h); err != nil {
			return fmt.Errorf("hub %s: %w", h.URL, err)
		}
	}
	return nil
}

func (s *places) leaveLocked(p *place) {
	p.cancel()
	p.parts.Wait()
	delete(s.at, p.hub.URL)
}

func (s *places) leaveAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.at {
		s.leaveLocked(p)
	}
}

// refresh tells each hub whom the phone is paired with now.
func (s *places) refresh() { s.each((*relay.Client).Refresh) }

// wake looks after each connection to a hub at once.
func (s *places) wake() { s.each((*relay.Client).Wake) }

func (s *places) each(do func(*relay.Client)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.at {
		do(p.client)
	}
}

// tell says how it stands with the hub, whenever that has changed.
func (p *place) tell(ctx context.Context, changed <-chan struct{}, say func(text, hint string)) {
	for told := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		s, text := p.client.Status(), ""
		switch {
		case s.Connected:
			text = "At the hub " + p.hub.URL
		case s.LastError != nil:
			text = "The hub " + p.hub.URL + " is not reachable: " + wire.Show(s.LastError.Error())
		}
		if text != "" && text != told {
			say(text, wire.HintOf(s.LastError))
			told = text
		}
	}
}
