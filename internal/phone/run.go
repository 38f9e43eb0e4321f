package phone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// runClaim is what the process that runs the phone holds.
const runClaim = "run"

// lookForChanges is how often a running phone reads what it tells in its hello.
const lookForChanges = time.Second

// ErrRunning is returned when another process runs this phone: both would ask.
var ErrRunning = errors.New("this phone is running already")

// RunConfig says how a phone runs.
type RunConfig struct {
	// Listen is HOST:PORT; empty means all addresses, and port 0 the port of
	// last time.
	Listen string
	// State is told, in words for people and fit to be shown: `Advertising`,
	// `Connected to …` and `Offline`, and what happens to pairings and hubs. It is
	// called concurrently. The hint says what to do about it, "" if nothing.
	State func(text, hint string)
	Log   *slog.Logger
}

// Run serves paired computers, on the local network and at the hubs that the
// phone remembers, until ctx ends.
func (p *Phone) Run(ctx context.Context, c RunConfig) (err error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	release, err := p.dir.Claim(runClaim)
	if errors.Is(err, state.ErrClaimed) {
		return ErrRunning
	}
	if err != nil {
		return fmt.Errorf("claim the phone: %w", err)
	}
	defer release()
	if _, err := p.Trust.Peers(); err != nil {
		return err // better said now than to each computer that comes
	}
	if err := p.Signer.EndGrant(""); err != nil { // their secrets ended with the process before
		return err
	}
	defer func() { err = errors.Join(err, p.Signer.EndGrant("")) }()
	l, err := p.listen(ctx, c.Listen)
	if err != nil {
		return err
	}
	node := link.New(link.Config{
		Key: p.key, Trust: p.Trust, Name: p.Name, Hello: p.hello,
		Handler: &handler{phone: p, say: func(text string) { c.State(text, "") }, log: c.Log}, Log: c.Log,
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	moved := make(chan struct{}, 1) // this machine has other addresses
	done := make(chan error, 6)
	go func() { done <- node.Run(ctx) }()
	go func() { done <- node.Serve(ctx, l) }()
	go func() { done <- p.advertise(ctx, l, c) }()
	go func() { done <- p.atHubs(ctx, node, c, moved) }()
	go func() {
		lan.Watch(ctx, func() {
			node.Wake()
			select {
			case moved <- struct{}{}:
			default:
			}
		})
		done <- nil
	}()
	go func() { p.tellChanges(ctx, node); done <- nil }()
	for range cap(done) {
		if e := <-done; e != nil && ctx.Err() == nil {
			err = errors.Join(err, e)
			cancel()
		}
	}
	c.State("Offline", "")
	return err
}

// tellChanges wipes what grants needed that have ended, also by another process,
// and tells the linked computers when the CA, its policy, what it has
// revoked or the list of keys has changed: `vmux phone ca` and `vmux phone
// identity` are other processes, and may be run at any time.
func (p *Phone) tellChanges(ctx context.Context, node *link.Node) {
	look := time.NewTicker(lookForChanges)
	defer look.Stop()
	told := p.news(nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		p.Signer.DropGrants()
		if now := p.news(told); !bytes.Equal(now, told) {
			told = now
			node.HelloAgain()
		}
	}
}

// news are the hello and the list of keys as computers get them, to be compared:
// any difference is told, also that a key is gone or is for more servers now.
// Where the list cannot be read, it is before.
func (p *Phone) news(before []byte) []byte {
	keys, err := p.Signer.KeyList()
	if err != nil {
		return before
	}
	now, err := json.Marshal(struct {
		Hello wire.Hello
		Keys  *wire.KeyListResponse
	}{p.hello(), keys})
	if err != nil {
		return before
	}
	return now
}

func (p *Phone) advertise(ctx context.Context, l net.Listener, c RunConfig) error {
	a := l.Addr().(*net.TCPAddr)
	if a.IP.IsLoopback() {
		c.State("Advertising to nobody: listening on "+a.String()+", for this machine alone", "")
		<-ctx.Done()
		return nil
	}
	c.State("Advertising, listening on "+a.String(), "")
	if err := lan.Advertise(ctx, p.ID(), p.Name, a.Port, c.Log); err != nil && ctx.Err() == nil {
		// Computers that know the address still find the phone.
		c.State("DNS-SD does not work here: "+wire.Show(err.Error()), "")
	}
	<-ctx.Done()
	return nil
}
