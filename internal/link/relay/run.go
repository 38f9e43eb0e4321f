package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"vmux/internal/link"
	"vmux/internal/link/hubwire"
	"vmux/internal/wire"
)

// Run keeps a connection to the hub until ctx ends. It returns nil after all of
// the client's goroutines have ended, and all streams with them.
func (c *Client) Run(ctx context.Context) error {
	backoff := link.Backoff{Min: backoffMin, Max: backoffMax}
	for ctx.Err() == nil {
		began := time.Now()
		err := c.connect(ctx)
		if time.Since(began) >= steady {
			backoff.Reset()
		}
		if refused, ok := errors.AsType[*Error](err); ok && refused.Code == hubwire.CodeReplaced {
			// Somebody else has this device's key, a copy of its state most
			// likely: two that keep replacing each other are no use to either.
			backoff.Longest()
		}
		if ctx.Err() == nil {
			level := slog.LevelInfo
			if c.beside && !c.reached.Load() {
				level = slog.LevelDebug
			}
			c.log.Log(ctx, level, "hub connection ended", "hub", c.host, "reason", err)
			backoff.Rest(ctx, c.wake)
		}
	}
	return nil
}

// connect makes one connection and returns why it ended.
func (c *Client) connect(ctx context.Context) error {
	s, welcome, err := c.dialHub(ctx)
	if err != nil {
		c.note(func() { c.status.Connected, c.status.LastError = false, err })
		return err
	}
	stop := context.AfterFunc(ctx, s.drain)
	defer stop()
	s.wg.Go(s.writeAll)
	s.wg.Go(s.keepAlive)
	c.attach(s, welcome)
	s.end(s.readAll())
	s.wg.Wait()
	c.detach(s)
	return s.reason()
}

// note changes the status and tells of it.
func (c *Client) note(change func()) {
	c.mu.Lock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	if c.notify != nil {
		c.notify()
	}
}

func (c *Client) attach(s *session, welcome hubwire.Message) {
	c.reached.Store(true)
	c.log.Info("hub connected", "hub", c.host)
	select {
	case <-c.wake: // what it asked for is done
	default:
	}
	c.note(func() {
		c.session = s
		c.status = Status{Connected: true, Since: time.Now(), VAPIDKey: welcome.VAPIDKey}
	})
	c.Refresh() // Allow may have changed since the proof
	c.openRendezvous(s)
}

func (c *Client) detach(s *session) {
	c.note(func() {
		c.session = nil
		c.status.Connected, c.status.Since, c.status.LastError = false, time.Now(), s.reason()
		clear(c.online)
	})
}

// dialHub opens the WebSocket and proves who this device is.
func (c *Client) dialHub(ctx context.Context) (*session, hubwire.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	socket, err := c.open(ctx, c.origin+hubwire.Path)
	if err != nil {
		return nil, hubwire.Message{}, fmt.Errorf("connect to the hub: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = socket.Close() })
	welcome, err := c.prove(socket)
	switch {
	case stop():
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = mute(errors.Join(ctx.Err(), err))
	default:
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		_ = socket.Close()
		return nil, hubwire.Message{}, fmt.Errorf("connect to the hub: %w", err)
	}
	return newSession(c, socket), welcome, nil
}

// prove answers the hub's challenge. A signature is made for the origin that was
// dialled only: it is worth nothing to a hub that passes on the challenge of
// another.
func (c *Client) prove(socket Socket) (hubwire.Message, error) {
	challenge, err := expect(socket, hubwire.TypeChallenge)
	switch {
	case err != nil:
		return challenge, err
	case len(challenge.Challenge) != hubwire.ChallengeSize:
		return challenge, ErrMalformed
	case challenge.Origin != c.origin:
		return challenge, wrongOrigin(challenge.Origin)
	}
	signature, err := c.key.Sign(hubwire.SignedBytes(c.origin, challenge.Challenge))
	if err != nil {
		return challenge, err
	}
	allow := c.currentAllow()
	c.mu.Lock()
	c.setAllowedLocked(allow)
	c.mu.Unlock()
	proof, err := json.Marshal(hubwire.Message{
		Type: hubwire.TypeProof, PublicKey: c.key.PublicKey(), Signature: signature, Allow: allow,
	})
	if err != nil {
		return challenge, err
	}
	if err := socket.Write(true, proof); err != nil {
		return challenge, err
	}
	return expect(socket, hubwire.TypeWelcome)
}

// wrongOrigin tells a person the name that the hub goes by.
func wrongOrigin(named string) error {
	own, err := wire.ParseHubURL(named)
	if err != nil {
		return ErrWrongOrigin
	}
	return wire.WithHint(ErrWrongOrigin, "--hub "+own+", as this hub is called; who runs it can call it otherwise by --public-url")
}

// expect reads the next text message of the beginning.
func expect(socket Socket, want hubwire.Type) (hubwire.Message, error) {
	text, b, err := socket.Read()
	if err != nil {
		return hubwire.Message{}, err
	}
	m, err := hubwire.ParseMessage(b)
	switch {
	case err != nil || !text:
		return m, ErrMalformed
	case m.Type == hubwire.TypeError:
		return m, asError(m)
	case m.Type != want:
		return m, ErrMalformed
	}
	return m, nil
}

// presence notes that a device has come or gone. Hubs tell of allowed devices;
// what else this one tells of is nothing to this device.
func (c *Client) presence(m hubwire.Message) {
	if m.Peer == nil {
		return
	}
	id := *m.Peer
	c.mu.Lock()
	var tell []*finder
	if !slices.Contains(c.allowed, id) {
		c.mu.Unlock()
		return
	}
	if m.Online {
		c.online[id] = true
		tell = slices.Collect(maps.Keys(c.finders))
	} else {
		delete(c.online, id)
	}
	s := c.session
	c.mu.Unlock()
	if !m.Online && s != nil {
		s.endStreams(id)
	}
	for _, f := range tell {
		f.found(id)
	}
}
