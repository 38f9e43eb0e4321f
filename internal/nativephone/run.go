package nativephone

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/nativephone/remember"
	"vmux/internal/wire"
)

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
	// Perform does what commands ask for over the control socket: see Remote.Perform.
	Perform Performer
	// Attach serves a terminal that `vmux phone attach` brings: see Remote.Attach.
	Attach http.HandlerFunc
}

// presence is the phone on the network.
type presence struct {
	phone  *Phone
	config RunConfig
	ctx    context.Context
	cancel context.CancelFunc
	node   *link.Node
	hubs   *places
	serves bool // computers that come

	mu   sync.Mutex
	told []byte // what computers know: see news

	announcing sync.Mutex // may be taken while the phone's lock is held
	renamed    func()     // ends what is announced under a name; nil before the first
}

// goOnline makes a presence that nobody can come to yet.
func (p *Phone) goOnline(ctx context.Context, c RunConfig, h link.Handler) *presence {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := &presence{phone: p, config: c, serves: h != nil}
	o.ctx, o.cancel = context.WithCancel(ctx)
	o.node = link.New(link.Config{Key: p.key, Trust: p.Trust, Name: p.name, Hello: p.hello, Handler: h, Log: c.Log})
	o.hubs = &places{presence: o, at: map[string]*place{}}
	return o
}

func (o *presence) end() {
	o.cancel()
	o.hubs.leaveAll()
	o.node.Close()
}

// visit is a presence for the time of a pairing, while the phone does not run.
func (p *Phone) visit(ctx context.Context) *presence {
	return p.goOnline(ctx, RunConfig{State: func(string, string) {}, Log: slog.New(slog.DiscardHandler)}, nil)
}

// Run serves paired computers, on the local network and at the hubs that the
// phone remembers, and this user's commands, until ctx ends.
func (p *Phone) Run(ctx context.Context, c RunConfig) (err error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	_, computers := p.Trust.Peers()
	_, keys := p.Signer.Identities.All()
	if err := cmp.Or(computers, keys); err != nil {
		return p.Explained(err) // better said now than to each computer that comes
	}
	defer p.Signer.EndGrant("")
	l, err := p.listen(ctx, c.Listen)
	if err != nil {
		return err
	}
	commands, err := control.Listen(filepath.Join(p.dir.Path(), socketName))
	if err != nil {
		return errors.Join(err, l.Close())
	}
	o := p.goOnline(ctx, c, &handler{phone: p, say: func(text string) { c.State(text, "") }, log: c.Log})
	defer o.end()
	if err := o.hubs.follow(); err != nil {
		return errors.Join(err, l.Close(), commands.Close())
	}
	o.told = p.news(nil)
	p.setOnline(o)
	defer p.setOnline(nil)
	parts := []func() error{
		func() error { return o.node.Run(o.ctx) },
		func() error { return o.node.Serve(o.ctx, l) },
		func() error { return o.advertise(l.Addr(), lan.Advertise) },
		func() error { return o.serveCommands(commands) },
		func() error {
			remember.WatchLogind(o.ctx, func() { p.Lock() }, c.Log)
			return nil
		},
		func() error { lan.Watch(o.ctx, func() { o.node.Wake(); o.hubs.wake() }); return nil },
	}
	done := make(chan error, len(parts))
	for _, part := range parts {
		go func() { done <- part() }()
	}
	for range parts {
		if e := <-done; e != nil && o.ctx.Err() == nil {
			err = errors.Join(err, e)
			o.cancel()
		}
	}
	c.State("Offline", "")
	return err
}

// Name is that by which computers know the phone.
func (p *Phone) Name() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.name
}

func (p *Phone) setOnline(o *presence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.online = o
}

// tellChanges tells the linked computers when the phone's name, the CA, its policy, what it
// has revoked or the list of keys has changed.
func (o *presence) tellChanges() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := o.phone.news(o.told); !bytes.Equal(now, o.told) {
		o.told = now
		o.node.HelloAgain()
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
		Name  string
	}{p.hello(), keys, p.Name()})
	if err != nil {
		return before
	}
	return now
}

// announcer is lan.Advertise: it announces a phone under the name until ctx ends.
type announcer func(ctx context.Context, id device.ID, name string, port int, log *slog.Logger) error

// advertise announces the phone, and anew when it is renamed: the old name may be one that
// nobody is to hear any more.
func (o *presence) advertise(at net.Addr, announce announcer) error {
	a := at.(*net.TCPAddr)
	if a.IP.IsLoopback() {
		o.config.State("Advertising to nobody: listening on "+a.String()+", for this machine alone", "")
		<-o.ctx.Done()
		return nil
	}
	o.config.State("Advertising, listening on "+a.String(), "")
	for o.ctx.Err() == nil {
		ctx, renamed := context.WithCancel(o.ctx)
		o.announcing.Lock()
		o.renamed = renamed
		o.announcing.Unlock()
		if err := announce(ctx, o.phone.ID(), o.phone.Name(), a.Port, o.config.Log); err != nil && o.ctx.Err() == nil {
			// Computers that know the address still find the phone.
			o.config.State("DNS-SD does not work here: "+wire.Show(err.Error()), "")
		}
		<-ctx.Done()
		renamed()
	}
	return nil
}

// rename tells computers the phone's new name.
func (o *presence) rename(name string) {
	o.node.Rename(name)
	o.announcing.Lock()
	defer o.announcing.Unlock()
	if o.renamed != nil {
		o.renamed()
	}
}
