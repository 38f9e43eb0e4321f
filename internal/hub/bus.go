package hub

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"vmux/internal/device"
	"vmux/internal/hub/store"
	"vmux/internal/wire"
)

const (
	busStartTime = 15 * time.Second
	// One subject for all hubs, and one for each; never one for a device.
	subjectAll = "vmux.hub.all"
	subjectTo  = "vmux.hub.to."

	// maxInbox bounds the messages that NATS has brought and the hub has not
	// taken yet, maxOutbox the announcements that wait to be sent.
	maxInbox  = 4096
	maxOutbox = 4096

	// minPayload is what a NATS must take in one message: a device's longest one, or what
	// a hub announces.
	minPayload = 128 << 10
)

// hubID names one run of a hub.
type hubID [16]byte

// MarshalText implements encoding.TextMarshaler.
func (id hubID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *hubID) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(id)) {
		return errors.New("not a hub's ID")
	}
	_, err := hex.Decode(id[:], b)
	return err
}

func (id hubID) subject() string { return subjectTo + hex.EncodeToString(id[:]) }

// op is what a message from one hub to another is.
type op byte

const (
	opFrame op = 1 // a frame for a device
	opRight op = 2 // a frame of kind open, as the answer to one: the token was right
)

// prefixSize is what stands before a frame between hubs: the op, the hub that
// sends, the device.
const prefixSize = 1 + len(hubID{}) + len(device.ID{})

// bus connects hubs.
type bus struct {
	id     hubID
	nc     *nats.Conn
	server *store.Server // nil: somebody else's
	inbox  chan *nats.Msg
	outbox chan announcement
	sender sync.WaitGroup
	ended  chan struct{}
}

// newBus connects to NATS. Without a URL it starts a server for itself, with its files
// in dir.
func newBus(c Config, dir string) (*bus, error) {
	b := &bus{
		inbox: make(chan *nats.Msg, maxInbox), outbox: make(chan announcement, maxOutbox),
		ended: make(chan struct{}),
	}
	_, _ = rand.Read(b.id[:]) // never fails
	said := ""                // of the handlers, which are called one after the other
	options := []nats.Option{
		nats.Name("vmux-hub"), nats.Timeout(busStartTime / 3), nats.FlusherTimeout(5 * time.Second),
		nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond),
		// A server that refuses the hub, as while its accounts are changed, ends the connection
		// for good else, at the second time (nats-io/nats.node#533).
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectBufSize(-1), // what cannot be sent now must not come later
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(nc *nats.Conn, _ *nats.Subscription, err error) {
			if text := err.Error(); text != said || nc.IsConnected() { // else at each try to connect
				c.Log.Error("NATS", "reason", err)
				said = text
			}
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			said = ""
			if err != nil {
				c.Log.Error("NATS is away", "reason", err)
			}
		}),
	}
	if c.NATSCredentials != "" {
		options = append(options, nats.UserCredentials(c.NATSCredentials))
	}
	if c.NATSURL == "" {
		var err error
		if b.server, err = store.StartServer(dir, c.Log); err != nil {
			return nil, err
		}
		options = append(options, nats.InProcessServer(b.server))
	}
	var err error
	if b.nc, err = nats.Connect(c.NATSURL, options...); err != nil {
		b.closeServer()
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	// Longer messages would be lost, those of devices and those about them.
	if most := b.nc.MaxPayload(); most < minPayload {
		b.nc.Close()
		b.closeServer()
		return nil, fmt.Errorf("NATS takes messages of %d bytes at most, and a hub needs %d: raise max_payload there, or the limit of the hub's account", most, minPayload)
	}
	return b, nil
}

// alone reports whether there are no other hubs: the server is this process's own.
func (b *bus) alone() bool { return b.server != nil }

func (b *bus) closeServer() {
	if b.server != nil {
		b.server.Close()
	}
}

// listen begins to take messages. After NATS was away it calls back.
func (b *bus) listen(back func()) error {
	b.nc.SetReconnectHandler(func(*nats.Conn) { back() })
	// Both subjects come by one channel, in the order in which a hub sent.
	for _, subject := range []string{subjectAll, b.id.subject()} {
		if _, err := b.nc.ChanSubscribe(subject, b.inbox); err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
	}
	if err := b.nc.FlushTimeout(busStartTime / 3); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := b.nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) { // it would hear of no other hub
		return wire.WithHint(fmt.Errorf("subscribe: %w", err), "the hub's user has to subscribe vmux.hub.> and _INBOX.>, and to publish vmux.hub.>, $JS.API.> and $KV.vmux-hub.>")
	}
	b.sender.Go(b.sendAnnouncements)
	return nil
}

// close ends the connection, and the server if it is our own.
func (b *bus) close() {
	close(b.ended)
	b.sender.Wait()
	_ = b.nc.FlushTimeout(time.Second)
	b.nc.Close()
	b.closeServer()
}

// sendFrame sends an encoded frame to a device at another hub. The frame stays
// the caller's.
func (b *bus) sendFrame(to hubID, id device.ID, frame []byte) error {
	return b.send(opFrame, to, id, frame)
}

func (b *bus) send(o op, to hubID, id device.ID, frame []byte) error {
	return b.nc.Publish(to.subject(), slices.Concat([]byte{byte(o)}, b.id[:], id[:], frame))
}

// sendAnnouncements publishes what is in the outbox. It is a goroutine so that
// nobody waits for NATS while holding the hub's lock.
func (b *bus) sendAnnouncements() {
	for {
		select {
		case a := <-b.outbox:
			b.publish(a)
		case <-b.ended:
			for len(b.outbox) > 0 {
				b.publish(<-b.outbox)
			}
			return
		}
	}
}

// publish sends an announcement. One that is lost leaves a gap, which the other
// hubs notice.
func (b *bus) publish(a announcement) {
	if text, err := json.Marshal(a); err == nil {
		_ = b.nc.Publish(subjectAll, text)
	}
}
