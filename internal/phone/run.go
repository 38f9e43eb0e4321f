package phone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/state"
	"vmux/internal/wire"
)

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
	// called concurrently.
	State func(string)
	Log   *slog.Logger
}

// Run serves paired computers, on the local network and at the hubs that the
// phone remembers, until ctx ends.
func (p *Phone) Run(ctx context.Context, c RunConfig) (err error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	release, err := p.dir.Claim("run")
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
		Handler: &handler{phone: p, say: c.State, log: c.Log}, Log: c.Log,
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 5)
	go func() { done <- node.Run(ctx) }()
	go func() { done <- node.Serve(ctx, l) }()
	go func() { done <- p.advertise(ctx, l, c) }()
	go func() { done <- p.atHubs(ctx, node, c) }()
	go func() { p.tellChanges(ctx, node); done <- nil }()
	for range cap(done) {
		if e := <-done; e != nil && ctx.Err() == nil {
			err = errors.Join(err, e)
			cancel()
		}
	}
	c.State("Offline")
	return err
}

// tellChanges tells the linked computers when the CA, its policy, what it has
// revoked or what they list has changed: `vmux phone ca` is another process, and may be run at any time.
func (p *Phone) tellChanges(ctx context.Context, node *link.Node) {
	look := time.NewTicker(lookForChanges)
	defer look.Stop()
	told, offered := p.hello(), p.offers()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		now, offers := p.hello(), p.offers()
		if offers.more(offered) || now.AutomaticIssuance != told.AutomaticIssuance || !bytes.Equal(now.CAPublicKey, told.CAPublicKey) ||
			!slices.Equal(now.RevokedSerials, told.RevokedSerials) {
			told, offered = now, offers
			node.HelloAgain()
		}
	}
}

// offers say of each identity, by fingerprint, what computers list it by: whether
// it is the default one, and which servers it is for.
type offers map[string]string

func (p *Phone) offers() offers {
	list, err := p.Signer.Identities()
	if err != nil {
		return nil
	}
	o := offers{}
	for _, id := range list {
		o[id.Fingerprint()] = fmt.Sprint(id.Default, id.Rules.Hosts)
	}
	return o
}

// more reports whether there is a new or changed identity. What is gone or
// switched off answers for itself when it is asked for.
func (o offers) more(before offers) bool {
	for fingerprint, how := range o {
		if old, known := before[fingerprint]; !known || old != how {
			return true
		}
	}
	return false
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
		c.State("DNS-SD does not work here: " + wire.Show(err.Error()))
	}
	<-ctx.Done()
	return nil
}
