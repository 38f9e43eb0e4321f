// Package hub is the relay between devices that cannot reach each other: it
// proves who a device is, tells devices of each other, carries ciphertext
// between them, and wakes phones by Web Push. What it carries it cannot read,
// and no key of a user's is ever here. It is a library; cmd/vmux-hub listens.
package hub

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vmux/internal/device"
	"vmux/internal/hub/push"
	"vmux/internal/hub/store"
	"vmux/internal/link/hubwire"
	"vmux/internal/pushsubject"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// Config is what a Hub is made from.
type Config struct {
	// PublicURL is where devices find the hub: https://HOST[:PORT], or http for
	// localhost, without a path, since whatever else shares its origin could use
	// the web app's keys. Devices prove themselves to this origin only.
	PublicURL string
	// StateDir is the folder of what the hub must remember, made with mode 0700.
	// Required unless NATSURL is set; one hub at a time.
	StateDir string
	// NATSURL names servers of an existing NATS cluster with JetStream
	// (nats:// or tls://, separated by commas); empty: NATS in this process,
	// without a listener. Hubs of one cluster are one hub to their devices, and
	// trust each other.
	NATSURL string
	// NATSCredentials is the path of a credentials file for NATSURL, if it wants one.
	NATSCredentials string
	// App serves everything that is not the hub's own; nil: a sentence.
	App http.Handler
	// PushSubject is how push services reach who runs the hub, as pushsubject.Parse
	// returns it; empty: PublicURL, or a general contact where that is no name
	// of the public DNS.
	PushSubject string
	// PushLoopback lets push services be on this machine's loopback interface,
	// with certificates from this pool; see push.Config. For tests only.
	PushLoopback *x509.CertPool
	// Log is where the hub writes; nil discards. It is given short device IDs
	// and reasons, never tokens, subscriptions or payloads.
	Log *slog.Logger
	// Limits are DefaultLimits, or those changed; the zero value: DefaultLimits.
	Limits Limits
	// NoShortCut sends everything through NATS, also what stays on this hub. It
	// is for measurements and tests.
	NoShortCut bool
}

// Hub serves devices until Close.
type Hub struct {
	config Config
	limits Limits
	origin string
	log    *slog.Logger
	start  time.Time

	bus       *bus
	store     *store.Store
	keyFile   push.KeyFile // nil: the store is somebody else's
	push      *push.Service
	addresses *addresses

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup
	// tasks bounds what is done for devices outside of their reading: pushes
	// and the store.
	tasks chan struct{}

	queued atomic.Int64 // bytes that wait for all devices

	mu      sync.RWMutex
	closing bool
	// The devices of this hub, and those that other hubs told of.
	local  map[device.ID]*conn
	remote map[device.ID]remoteDevice
	clock  uint64 // the greatest epoch seen
	// The other hubs, and what they were told.
	hubs   map[hubID]*peerHub
	seq    uint64
	beaten time.Duration
}

// New starts a hub. Call Close in the end.
func New(c Config) (*Hub, error) {
	origin, err := wire.ParseHubURL(c.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("hub: public URL: %w", err)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Limits == (Limits{}) {
		c.Limits = DefaultLimits
	}
	h := &Hub{
		config: c, limits: c.Limits, origin: origin, log: c.Log, start: time.Now(),
		local: map[device.ID]*conn{}, remote: map[device.ID]remoteDevice{}, hubs: map[hubID]*peerHub{},
		tasks: make(chan struct{}, maxTasks),
	}
	h.addresses = newAddresses(h.limits)
	h.ctx, h.stop = context.WithCancel(context.Background())
	if err := h.startBus(); err != nil {
		h.stop()
		return nil, fmt.Errorf("hub: %w", err)
	}
	if err := h.startPush(); err != nil {
		h.stop()
		h.bus.close()
		return nil, fmt.Errorf("hub: %w", err)
	}
	h.wg.Go(h.watch)
	h.wg.Go(func() { h.store.Watch(h.ctx, h.storeAgain) })
	return h, nil
}

// startBus connects the hub to NATS, which it starts itself unless there is one.
func (h *Hub) startBus() error {
	dir := ""
	if h.config.NATSURL == "" {
		if h.config.StateDir == "" {
			return errors.New("no folder for its state")
		}
		d, err := state.OpenDir(h.config.StateDir)
		if err != nil {
			return err
		}
		dir = d.Path()
		h.keyFile = d.File("vapid.json")
	}
	ctx, cancel := context.WithTimeout(h.ctx, busStartTime)
	defer cancel()
	var err error
	if h.bus, err = newBus(h.config, dir); err != nil {
		return err
	}
	if h.store, err = store.Open(ctx, h.bus.nc, h.bus.server); err == nil {
		err = h.join()
	} else if errors.Is(err, store.ErrNoJetStream) {
		err = wire.WithHint(err, "the hub keeps its state in JetStream: switch it on in that NATS (nats-server -js), and for the hub's account")
	}
	if err != nil {
		h.bus.close()
	}
	return err
}

func (h *Hub) startPush() (err error) {
	subject := h.config.PushSubject
	if subject == "" {
		subject = pushsubject.For(h.origin)
	}
	log := h.log.With("contact", subject)
	if subject == pushsubject.Fallback { // Apple's service refuses the hub's own
		log = log.With("since", "the hub's name is none of the public DNS", "your own", "--push-subject")
	}
	log.Info("push services are told how to reach who runs this hub")
	ctx, cancel := context.WithTimeout(h.ctx, busStartTime)
	defer cancel()
	h.push, err = push.New(ctx, push.Config{Store: h.store, KeyFile: h.keyFile, Subject: subject, Log: h.log, Loopback: h.config.PushLoopback})
	return err
}

// Origin returns the origin of the public URL, which devices name when they
// prove themselves.
func (h *Hub) Origin() string { return h.origin }

// ServeHTTP serves the devices' WebSocket at hubwire.Path, /healthz, and the
// web app.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == hubwire.Path:
		h.serveDevice(w, r)
	case r.URL.Path == "/healthz":
		h.serveHealth(w)
	case h.config.App != nil:
		h.config.App.ServeHTTP(w, r)
	default:
		http.Error(w, "This hub of vmux has no web app.", http.StatusNotFound)
	}
}

func (h *Hub) serveHealth(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Vmux-Hub", h.origin) // for a page that was opened at another address
	if err := h.health(); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(err.Error() + "\n"))
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// health says what the hub cannot do now, or nil.
func (h *Hub) health() error {
	if err := h.store.Health(); err != nil {
		return err
	}
	if !h.bus.nc.IsConnected() {
		return errors.New("no connection to NATS")
	}
	return nil
}

// Close tells all devices that the hub ends, and ends. It may be called once.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closing = true
	conns := slices.Collect(maps.Values(h.local))
	h.mu.Unlock()
	for _, c := range conns {
		c.end(endClosing, hubwire.CodeClosing, "the hub ends")
	}
	h.stop()
	cut := time.AfterFunc(h.limits.CloseTimeout, func() {
		for _, c := range conns {
			c.cut(endClosing)
		}
	})
	defer cut.Stop()
	h.push.Close()
	h.wg.Wait()
	h.mu.Lock()
	h.post(announcement{Bye: true})
	h.mu.Unlock()
	h.bus.close()
}

// storeAgain has what devices wanted to have stored stored now.
func (h *Hub) storeAgain() {
	h.mu.RLock()
	conns := slices.Collect(maps.Values(h.local))
	h.mu.RUnlock()
	for _, c := range conns {
		c.storeAgain()
	}
}

// now is a moment of the hub's own clock, which nobody sets.
func (h *Hub) now() time.Duration { return time.Since(h.start) }
