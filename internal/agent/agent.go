// Package agent is the computer's side: it lists the phone-held keys and the
// session certificate to SSH clients, asks phones for signatures, keeps the
// session certificate alive, and answers the control socket. It holds no
// phone-held private key; the only private key that it ever has for SSH is the
// session certificate's, in memory.
package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vmux/internal/agent/certificate"
	"vmux/internal/agent/client"
	"vmux/internal/agent/denials"
	"vmux/internal/agent/journal"
	"vmux/internal/agent/keys"
	"vmux/internal/agent/listing"
	"vmux/internal/agent/origin"
	"vmux/internal/agent/pairing"
	"vmux/internal/agent/upstream"
	"vmux/internal/agent/waking"
	"vmux/internal/control"
	"vmux/internal/desktop"
	"vmux/internal/device"
	"vmux/internal/hubpage"
	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/notices"
	"vmux/internal/sshagent"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// Passkeys says where passkey identities (`sk-…`) are listed.
type Passkeys string

// The choices of --passkeys.
const (
	PasskeysLast          Passkeys = "last"           // after all others; the default
	PasskeysNever         Passkeys = "never"          // not at all
	PasskeysNoCertificate Passkeys = "no-certificate" // last, and only while there is no session certificate
)

// Names of the documents in the agent's state folder.
const (
	documentDeviceKey = "device-key"
	documentTrust     = "devices"
)

// Config says how an agent is to run. StateDir and Socket are required.
type Config struct {
	// StateDir is the agent's state folder, made with mode 0700. It holds the
	// device key, the paired devices, the key cache and the control socket.
	StateDir string
	// Socket is the path of the SSH agent's socket, and Listener what listens there;
	// nil: Run makes it.
	Socket   string
	Listener net.Listener
	// Name is this computer's name; default the host name.
	Name string
	// Routes are the ways to reach phones.
	Routes []link.Route
	// Hub is the hub by which phones are reached as well, invited and woken;
	// nil: none.
	Hub *Hub
	// Page is what the hub's page should be, with which it is compared once a
	// day; nil: it is not compared.
	Page *hubpage.List
	// ApprovalTimeout is how long a person may take; default 60 s, at most
	// 100 s.
	ApprovalTimeout time.Duration
	// Passkeys defaults to PasskeysLast.
	Passkeys Passkeys
	// MaxKeys is how many phone-held keys a login is offered; default 4,
	// negative: all.
	MaxKeys int
	// ForwardCertificate lets programs on other hosts use the session
	// certificate through agent forwarding (ssh -A).
	ForwardCertificate bool
	// CertificateFile is where the session certificate is kept for ssh while there
	// is one; "": nowhere.
	CertificateFile string
	// Upstream is the socket of another agent, whose keys are listed after the
	// phone-held ones; "": none. ForwardUpstream lets programs on other hosts use them
	// through agent forwarding.
	Upstream        string
	ForwardUpstream bool
	// UnboundCertificate is for the upstream agent's keys as well. It defaults to
	// origin.UnboundFirst.
	UnboundCertificate origin.Unbound
	// NoTTYHints turns off the lines on the terminals of waiting programs.
	NoTTYHints bool
	// OpenSSHVersion finds what is told to phones, for example "OpenSSH_9.2p1".
	// It may take a moment: it is called at each hello, also concurrently, and
	// not before serving. Nil: nothing is told.
	OpenSSHVersion func() string
	// KnownHosts are the files in which host names are looked up; default those
	// that ssh reads by default.
	KnownHosts []string
	// PairHosts are the addresses that an invitation names; default all of
	// this machine's, loopback only if there is no other.
	PairHosts []string
	// ProgramVersion is shown in the status, and so are Flags: what the program was
	// started with.
	ProgramVersion string
	Flags          map[string]string
	// Notifications are the kinds that the desktop tells of; nil: none.
	Notifications []notices.Kind
	// Log is where the agent writes; nil discards.
	Log *slog.Logger
}

// ControlSocketName is the control socket's name in the state folder.
const ControlSocketName = "control.sock"

// phones is what the agent needs of a link.Node.
type phones interface {
	Ask(ctx context.Context, to device.ID, kind wire.Kind, id string, body any, received func()) (wire.Envelope, error)
	Peers() []link.PeerStatus
	Connected(id device.ID) bool
	RoundTrip(ctx context.Context, id device.ID) error
	Wake()
	Disconnect(id device.ID, reason *wire.Error)
	Offer(o *device.Offer)
	Serve(ctx context.Context, l net.Listener) error
}

// maxWaiting bounds the signatures that wait for a person.
const maxWaiting = 128

// What warnings are about.
const (
	warningCache = "cache"
	warningTrust = "trust"
	warningLock  = "lock"
	warningPage  = "page"
)

// Agent is a running agent.
type Agent struct {
	cfg     Config
	log     *slog.Logger
	self    device.ID
	id      []byte // this run's, see sshagent.Config.ID
	trust   *device.Trust
	node    phones
	link    *link.Node // node, but in tests without links
	hub     hubClient  // nil: none
	started time.Time
	release func() // gives up the state folder
	ready   chan struct{}
	slots   chan struct{} // of signatures that wait for a person
	tasks   tasks

	// The rooms, each with a lock of its own.
	journal     *journal.Journal
	desktop     *desktop.Notifier
	keys        *keys.Store
	memory      *listing.Memory
	denied      denials.Memory
	cas         *certificate.CAs
	certificate *certificate.Manager
	use         certificate.Use
	upstream    *upstream.Agent // nil: none
	upstreamUse origin.Unasked
	clients     *origin.Clients
	files       client.Files
	terminals   client.Terminals
	git         client.GitClaims
	withdrawals withdrawals
	notifying   atomic.Int32 // clients that show notifications
	pairing     *pairing.Pairing
	waker       *waking.Waker

	snapshot   atomic.Pointer[snapshot]
	lockedNow  atomic.Bool
	rebuilding sync.Mutex // so that the snapshot of the latest state is stored last
}

// New opens the agent's state, for this process alone until Run has ended; it makes a
// device key at first. Errors name the file.
func New(c Config) (a *Agent, err error) {
	if err = c.fill(); err != nil {
		return nil, err
	}
	dir, err := state.OpenDir(c.StateDir)
	if err != nil {
		return nil, fmt.Errorf("open the agent's state: %w", err)
	}
	// Before anything is read: what another agent changes meanwhile would be undone.
	release, err := dir.Own("vmux agent")
	switch {
	case errors.Is(err, state.ErrNoLock):
		return nil, wire.WithHint(err, "set VMUX_HOME to a folder that can be written, on a disk of this machine")
	case err != nil:
		return nil, wire.WithHint(err, "use the agent that runs, or set VMUX_HOME to another folder for state of its own")
	}
	defer func() {
		if err != nil {
			release()
		}
	}()
	key, err := device.OwnKey(dir, documentDeviceKey)
	if err != nil {
		err = fmt.Errorf("%s: %w", filepath.Join(dir.Path(), documentDeviceKey), err)
		if errors.Is(err, device.ErrKey) {
			err = wire.WithHint(err, "put a copy of it back, or rename it and pair the phones again")
		}
		return nil, err
	}
	if a, err = newAgent(c, dir, key.ID(), device.NewTrust(dir.File(documentTrust))); err != nil {
		return nil, err
	}
	a.release = release
	routes := c.Routes
	if c.Hub != nil {
		if a.hub, err = a.newHubClient(key); err != nil {
			return nil, err
		}
		a.waker.UseHub(a.hub, c.Hub.URL)
		routes = append(slices.Clone(routes), a.hub)
	}
	a.link = link.New(link.Config{
		Key: key, Trust: a.trust, Name: c.Name, Routes: routes, Handler: handler{a}, Log: a.log,
		Hello: func() wire.Hello {
			return wire.Hello{OpenSSHVersion: c.OpenSSHVersion(), ProgramVersion: c.ProgramVersion}
		},
	})
	a.node = a.link
	a.pairing.Links = a.link
	if c.Hub != nil {
		a.pairing.Hub, a.pairing.HubURL = a.hub, c.Hub.URL
	}
	return a, nil
}

// fill sets defaults and checks.
func (c *Config) fill() error {
	if c.OpenSSHVersion == nil {
		c.OpenSSHVersion = func() string { return "" }
	}
	if c.Name == "" {
		c.Name, _ = os.Hostname() // without one, the fallback below
	}
	if c.Name = wire.Show(c.Name); c.Name == "" {
		c.Name = "computer"
	}
	if c.ApprovalTimeout == 0 {
		c.ApprovalTimeout = wire.Window
	}
	if c.MaxKeys == 0 {
		c.MaxKeys = listing.MaxKeys
	}
	if c.KnownHosts == nil {
		c.KnownHosts = client.KnownHostsFiles()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// newAgent makes an agent without links.
func newAgent(c Config, docs keys.Documents, self device.ID, trust *device.Trust) (*Agent, error) {
	a := &Agent{
		cfg: c, log: c.Log, self: self, trust: trust, started: time.Now(),
		ready: make(chan struct{}), slots: make(chan struct{}, maxWaiting),
		desktop: desktop.New(nil, c.Log),
	}
	a.journal = journal.New(a.log)
	var warning string
	var err error
	if a.keys, warning, err = keys.Open(docs, trust, a.started); err != nil {
		return nil, err
	}
	a.clients = &origin.Clients{}
	a.pairing = pairing.New(pairing.Config{Self: self, Name: c.Name, Hosts: c.PairHosts, Log: a.log})
	a.use = certificate.Use{Unasked: origin.Unasked{Unbound: c.UnboundCertificate, Forward: c.ForwardCertificate, Clients: a.clients}}
	a.upstreamUse = origin.Unasked{Unbound: c.UnboundCertificate, Forward: c.ForwardUpstream, Clients: a.clients}
	a.id = make([]byte, sshagent.IDSize)
	_, _ = rand.Read(a.id)
	if c.Upstream != "" {
		a.upstream = upstream.New(upstream.Config{Socket: c.Upstream, ID: a.id, Go: a.tasks.run, Changed: a.journal.Change})
	}
	a.files.KnownHosts = c.KnownHosts
	a.journal.Warn(warningCache, warning)
	if a.cas, err = certificate.OpenCAs(docs, a.notPaired, a.journal, a.log); err != nil {
		return nil, err
	}
	a.certificate = certificate.New(certificate.Config{
		Ask: a.askCertificate, Phones: func() []link.PeerStatus { return a.node.Peers() }, Go: a.tasks.run, Changed: a.rebuild,
		CAs: a.cas, Journal: a.journal, Log: a.log,
	})
	if a.memory, warning, err = listing.Open(listing.Config{
		Documents: docs, Files: &a.files, MaxKeys: c.MaxKeys, Due: a.saveDestinations,
	}, a.started); err != nil {
		return nil, err
	}
	a.journal.Warn(listing.Document, warning)
	if a.waker, err = waking.New(waking.Config{
		Documents: docs, Trust: trust, Window: c.ApprovalTimeout, Changed: a.journal.Change, Log: c.Log,
	}); err != nil {
		return nil, err
	}
	if err := a.keys.DropUnpaired(); err != nil {
		a.journal.Warn(warningTrust, "The list of paired devices cannot be read: "+err.Error())
	}
	a.rebuild()
	return a, nil
}

// Ready is closed once both sockets are served.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Run serves until ctx ends, and returns after all goroutines have ended and
// the session key is forgotten. It can be called once.
func (a *Agent) Run(ctx context.Context) error {
	defer a.release()
	socket := a.cfg.Listener
	if socket == nil {
		var err error
		if socket, err = sshagent.Listen(a.cfg.Socket); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a.tasks.start(ctx)
	served := sshagent.Config{
		Backend: a, ID: a.id, Log: a.log, MayManage: a.clients.MayManage, MayPassOn: a.clients.MayPassOn, Taken: a.clients.Taken,
		Closed: a.memory.Closed, Locked: a.locked, AddRefused: a.addRefused, RemoveRefused: a.removeRefused,
	}
	if a.upstream != nil {
		served.PassOn = a.passOn
	}
	server := sshagent.New(served)
	var parts sync.WaitGroup
	part := func(name string, run func() error) {
		parts.Go(func() {
			if err := run(); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	part("SSH agent socket", func() error { return server.Serve(ctx, socket) })
	if controlSocket, err := control.Listen(filepath.Join(a.cfg.StateDir, ControlSocketName)); err != nil { // SSH clients come first
		cancel(err)
	} else {
		part("control socket", func() error { return control.Serve(ctx, controlSocket, a, a.log) })
		// Links take back what they have asked when they end, also by way of the hub.
		untilUnlinked, unlinked := context.WithCancel(context.WithoutCancel(ctx))
		part("links", func() error { defer unlinked(); return a.link.Run(ctx) })
		part("addresses", func() error { lan.Watch(ctx, a.node.Wake); return nil })
		if a.hub != nil {
			part("hub", func() error { return a.hub.Run(untilUnlinked) })
			part("the hub's page", func() error { a.watchPage(ctx, a.VerifyHub); return nil })
		}
		part("session certificate", func() error { a.certificate.Run(ctx); return nil })
		if a.cfg.CertificateFile != "" {
			part("certificate file", func() error { a.certificate.KeepFile(ctx, a.cfg.CertificateFile); return nil })
		}
		part("what to notify of", func() error { a.notify(ctx); return nil })
		part("notifications", func() error { a.desktop.Run(ctx); return nil })
		a.log.Info("agent ready", "socket", a.cfg.Socket, "device", a.self.Short())
		close(a.ready)
	}
	<-ctx.Done()
	parts.Wait()
	a.tasks.wait()
	a.certificate.Close()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}
