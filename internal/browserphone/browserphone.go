// Package browserphone is the phone in a browser but for the browser: the signer
// with passkeys and a vault, the link over the hub, and the functions that the
// page calls. What only a browser can do (storage, WebAuthn, the screen) is
// given to it, so that all of it runs and is tested natively as well.
package browserphone

import (
	"context"
	"crypto/rsa"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vmux/internal/browserphone/away"
	"vmux/internal/browserphone/newkey"
	"vmux/internal/browserphone/passphrase"
	"vmux/internal/browserphone/secondway"
	"vmux/internal/browserphone/sheets"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/relay"
	"vmux/internal/signer"
	"vmux/internal/signer/documents"
	"vmux/internal/signer/identity"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

// Config says where a phone lives. Store, Key, HubURL, Origin, Host and Emit
// are required.
type Config struct {
	Store documents.Store
	Key   *device.Key
	// HubURL is where the app comes from, Origin and Host that page's origin
	// and host name.
	HubURL, Origin, Host string
	// Secure tells that the page is a secure context: elsewhere browsers have
	// no WebAuthn.
	Secure bool
	// Version is the app's, for the page to show.
	Version string
	// Name is the phone's as long as its owner has given it none.
	Name string
	// Emit tells the page of "change", "sheet", "sheetEnd" and "paused". It must not
	// block, and may be called concurrently.
	Emit func(event string, payload any)
	// Wipe destroys everything that the browser keeps for the app.
	Wipe func() error
	// GenerateRSA makes an RSA key faster than Go does in a browser; nil: Go.
	GenerateRSA func(ctx context.Context, bits int) (*rsa.PrivateKey, error)
	// Relay is the base of the client's configuration; tests set roots.
	Relay relay.Config
	Now   func() time.Time // default time.Now
	Log   *slog.Logger     // nil discards
}

// Phone is the phone in one page. Its methods are safe for concurrent use.
type Phone struct {
	cfg      Config
	signer   *signer.Signer
	passkeys identity.Passkeys
	vault    identity.Vault
	typed    *passphrase.Vault
	trust    *device.Trust

	sheets  sheets.List
	made    newkey.Place
	opened  secondway.Place
	away    away.Page
	restart chan struct{} // of capacity 1: the phone has another name

	settingsMu sync.Mutex  // held while settings change
	pushMu     sync.Mutex  // held while notifications are turned on or off, and the hub is told
	pushKnown  atomic.Bool // whether it can be woken was looked at since the start
	oneKey     atomic.Bool // set while a key comes into the vault, or is deleted

	// mu guards what follows. It is never held while waiting, since Prepare
	// runs while the page's event loop stands still.
	mu   sync.Mutex
	hub  *relay.Client
	node *link.Node
}

// New opens the phone that rests in the store.
func New(c Config) (*Phone, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	if c.HubURL, err = wire.ParseHubURL(c.HubURL); err != nil {
		return nil, &Error{Code: "insecure", Message: "This page was not loaded over https.", Hint: "Open the hub by its https address."}
	}
	rp := webauthn.RelyingParty{ID: c.Host, Origin: c.Origin}
	p := &Phone{
		cfg:      c,
		passkeys: identity.Passkeys{Store: c.Store, RelyingParty: rp},
		vault:    identity.Vault{Sealed: identity.Sealed{Store: c.Store, Provider: identity.ProviderVault}, RelyingParty: rp},
		trust:    device.NewTrust(document{c.Store, trustDocument}),
		restart:  make(chan struct{}, 1),
	}
	p.typed = passphrase.New(c.Store, c.Now)
	p.signer, err = signer.New(signer.Config{
		Store: c.Store, Now: c.Now, Log: c.Log, OnlyNameable: true, OtherWay: p.hasOtherWay,
		Providers: map[string]identity.Provider{
			identity.ProviderPasskey: p.passkeys, identity.ProviderVault: p.vault, identity.ProviderPassphrase: p.typed,
		},
		Approver: signer.Approver{Sign: p.askSign, Certificate: p.askCertificate, Passphrase: p.secret, Paused: p.paused},
	})
	if err != nil {
		return nil, err
	}
	if _, err := p.trust.Peers(); err != nil {
		return nil, err
	}
	return p, nil
}

// Run keeps the phone at its hub until ctx ends.
func (p *Phone) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := p.runOnce(ctx); err != nil {
			return err
		}
	}
	return nil
}

// runOnce runs until ctx ends or the phone is renamed.
func (p *Phone) runOnce(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	config := p.cfg.Relay
	config.URL, config.Key, config.Allow, config.Log = p.cfg.HubURL, p.cfg.Key, p.trust.IDs, p.cfg.Log
	config.Changed = p.changed
	hub, err := relay.New(config)
	if err != nil {
		return err
	}
	node := link.New(link.Config{
		Key: p.cfg.Key, Trust: p.trust, Name: p.name(), Hello: p.signer.Hello,
		Handler: handler{p}, Log: p.cfg.Log,
	})
	p.mu.Lock()
	p.hub, p.node = hub, node
	p.mu.Unlock()
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	done := make(chan error, 3)
	group.Go(func() { done <- hub.Run(ctx) })
	group.Go(func() { done <- node.Run(ctx) })
	group.Go(func() { done <- node.Serve(ctx, hub.Listener()) })
	select {
	case <-p.restart:
		return nil
	case <-ctx.Done():
		return nil
	case err := <-done:
		if ctx.Err() == nil && err == nil {
			err = errors.New("the connection to the hub ended")
		}
		return err
	}
}

// running returns hub and node, which are nil before Run.
func (p *Phone) running() (*relay.Client, *link.Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hub, p.node
}

func (p *Phone) changed() { p.cfg.Emit("change", nil) }

// passkeyProblem says why this page cannot have passkeys; "" if it can.
func (p *Phone) passkeyProblem() string {
	if !p.cfg.Secure {
		return "This page was not loaded over https, so the browser offers no passkeys here."
	}
	if _, err := netip.ParseAddr(strings.Trim(p.cfg.Host, "[]")); err == nil {
		return "This page was opened by an IP address. Passkeys belong to a host name: open the hub by its name."
	}
	return ""
}

// unpairedWait is how long a computer that is unpaired has to read so.
const unpairedWait = 2 * time.Second

const (
	trustDocument    = "trust.json"
	settingsDocument = "settings.json"
)

// document is one document of a store, as package device wants it.
type document struct {
	store documents.Store
	name  string
}

// Load implements device.Store.
func (d document) Load() ([]byte, error) { return d.store.Get(d.name) }

// Save implements device.Store.
func (d document) Save(b []byte) error { return d.store.Put(d.name, b) }

// handler is the link's.
type handler struct{ *Phone }

// LinkUp implements link.Handler.
func (h handler) LinkUp(peer device.Peer, _ wire.Hello, _ string) {
	h.tellWakeable(peer.ID)
	h.changed()
}

// LinkDown implements link.Handler. It comes after LinkUp, and before the next.
func (h handler) LinkDown(device.Peer, error) {
	h.refresh()
	h.changed()
}

// awaitDown waits a little for a link that has been ended: the computer has to
// read why, before the hub is told to let it through no more.
// A link counts from when the node has it: LinkUp may come later.
func awaitDown(node *link.Node, id device.ID) {
	const pause = 10 * time.Millisecond
	for until := time.Now().Add(unpairedWait); node.Connected(id) && time.Now().Before(until); {
		time.Sleep(pause)
	}
}

// Unpaired forgets a computer that has ended the pairing: it will not come back.
func (h handler) Unpaired(peer device.Peer) {
	switch err := h.trust.Remove(peer.ID); {
	case err == nil:
		h.ended(peer, "by the computer")
	case !errors.Is(err, device.ErrNotPaired):
		h.cfg.Log.Error("forget a computer", "peer", peer.ID.Short(), "err", err)
		h.signer.EndGrantsOf(peer.ID)
	}
	h.refresh()
	h.changed()
}

// Paired implements link.Handler.
func (h handler) Paired(device.Peer) {
	h.refresh()
	h.changed()
}

// Serve implements link.Handler.
func (h handler) Serve(ctx context.Context, r *link.Request) (wire.Kind, any) {
	kind, body := h.serve(ctx, r.From, r.Envelope, r.Received)
	if _, err := h.trust.Get(r.From.ID); errors.Is(err, device.ErrNotPaired) {
		h.signer.EndGrantsOf(r.From.ID) // it may have got one while it was unpaired
		return wire.KindError, wire.NewError(wire.CodePairingInvalid)
	}
	return kind, body
}

// serve answers a request and closes its sheet.
func (p *Phone) serve(ctx context.Context, from device.Peer, e wire.Envelope, received func()) (wire.Kind, any) {
	p.endGrantsWhenAway() // this page may have slept since
	kind, body := p.signer.Serve(ctx, from, e, received)
	var told *wire.Error
	switch r := body.(type) {
	case *wire.SignResponse:
		told = r.Error
	case *wire.CertificateResponse:
		told = r.Error
	default:
		return kind, body
	}
	if end, shown := p.sheets.Close(sheets.Key{From: from.ID, ID: e.ID}, sheets.EndOf(ctx, told)); shown {
		p.cfg.Emit("sheetEnd", end)
	}
	p.changed()
	return kind, body
}

// refresh tells the hub whom this phone allows.
func (p *Phone) refresh() {
	if hub, _ := p.running(); hub != nil {
		hub.Refresh()
	}
}

// hubError is what keeps the phone from its hub, in words.
func hubError(s relay.Status) string {
	if s.Connected || s.LastError == nil {
		return ""
	}
	return wire.Show(s.LastError.Error())
}
