package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
	"vmux/internal/link/relay"
	"vmux/internal/link/relay/hubtest"
)

// client is a device at a hub with nothing above its client.
type client struct {
	*relay.Client
	id   device.ID
	stop func()
}

// newClient runs one that allows the given devices.
func newClient(t *testing.T, at place, allow ...device.ID) *client {
	t.Helper()
	key := must(device.NewKey())
	c := &client{id: key.ID()}
	c.Client = must(relay.New(relay.Config{URL: at.url, Open: at.open, Key: key, Allow: func() []device.ID { return allow }}))
	c.stop = inBackground(c.Run)
	synctest.Wait()
	return c
}

// withClient runs a test in a bubble with a hub in memory and one at it.
func withClient(t *testing.T, test func(t *testing.T, h *hubtest.Hub, c *client), allow ...device.ID) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New(hubURL)
		c := newClient(t, inMemory(h), allow...)
		defer h.Wait()
		defer c.stop()
		test(t, h, c)
	})
}

// hears sends the device a message of the hub's.
func (c *client) hears(h *hubtest.Hub, m hubwire.Message) {
	h.Send(c.id, true, must(json.Marshal(m)))
}

func (c *client) gets(h *hubtest.Hub, f hubwire.Frame) { h.Send(c.id, false, f.Append(nil)) }

// TestPresenceOfOthers: whom the device does not allow it is not told of,
// however many the hub names; nor later whom it allows no more.
func TestPresenceOfOthers(t *testing.T) {
	friend := device.ID{1}
	withClient(t, func(t *testing.T, h *hubtest.Hub, c *client) {
		for i := range 20000 {
			c.hears(h, hubwire.Message{Type: hubwire.TypePresence, Peer: &device.ID{2, byte(i), byte(i >> 8)}, Online: true})
		}
		c.hears(h, hubwire.Message{Type: hubwire.TypePresence, Peer: &friend, Online: true})
		synctest.Wait()
		var found []device.ID
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if c.Find(ctx, func(id device.ID) { found = append(found, id) }); !slices.Equal(found, []device.ID{friend}) {
			t.Errorf("found %d devices", len(found))
		}
	}, friend)
}

// TestTooManyInbound: a hub that opens streams without end has no more of them
// at once than the limit, each of the others is refused, and what ends makes room.
func TestTooManyInbound(t *testing.T) {
	withClient(t, func(t *testing.T, h *hubtest.Hub, c *client) {
		l := c.Listener()
		taken := make(chan net.Conn, 1000)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				taken <- conn
			}
		}()
		defer func() { l.Close(); <-done }()
		open := func(n int) {
			for i := range n {
				c.gets(h, hubwire.Frame{Kind: hubwire.KindOpen, Peer: device.ID{byte(i), byte(i >> 8)}, Stream: uint64(i)})
				synctest.Wait()
			}
		}
		open(300)
		if len(taken) != relay.MaxInbound {
			t.Errorf("%d streams at once", len(taken))
		}
		(<-taken).Close()
		open(300) // those that are open already are none
		if len(taken) != relay.MaxInbound {
			t.Errorf("%d streams after one of them ended", len(taken))
		}
	})
}

// TestUnreadOfAllStreams: what has come and was not read is bounded for all streams
// together, whatever each may have; who reads gives it back.
func TestUnreadOfAllStreams(t *testing.T) {
	withClient(t, func(t *testing.T, h *hubtest.Hub, c *client) {
		l := c.Listener()
		defer l.Close()
		const streams, each, all = 12, 1 << 20, 8 << 20
		fill := func(stream uint64) {
			for range each / hubwire.MaxData {
				c.gets(h, hubwire.Frame{Kind: hubwire.KindData, Peer: device.ID{1}, Stream: stream, Payload: make([]byte, hubwire.MaxData)})
				synctest.Wait()
			}
		}
		var taken []net.Conn
		for stream := range uint64(streams) {
			c.gets(h, hubwire.Frame{Kind: hubwire.KindOpen, Peer: device.ID{1}, Stream: stream})
			taken = append(taken, must(l.Accept()))
		}
		for stream := range uint64(streams) {
			fill(stream)
		}
		if n := h.Connects(); n != 1 {
			t.Errorf("%d connections", n)
		}
		refused := 0
		for _, conn := range taken[all/each:] {
			if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 1)); errors.Is(err, relay.ErrOverflow) {
				refused++
			}
		}
		if refused != streams-all/each {
			t.Errorf("%d of %d streams were ended", refused, streams)
		}
		if _, err := io.ReadFull(taken[0], make([]byte, each)); err != nil {
			t.Fatal(err)
		}
		fill(0)
		if _, err := io.ReadFull(taken[0], make([]byte, each)); err != nil {
			t.Errorf("after room was made: %v", err)
		}
	})
}

// TestRendezvousRenewals: each device whose stream ends may have used the token
// up, and it is opened again; but a hub, or whoever has the token, gets it renewed
// a few times only.
func TestRendezvousRenewals(t *testing.T) {
	withClient(t, func(t *testing.T, h *hubtest.Hub, c *client) {
		end, err := c.Rendezvous(t.Context(), [hubwire.TokenSize]byte{1}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint64(50) {
			unpaired := device.ID{byte(i)}
			c.gets(h, hubwire.Frame{Kind: hubwire.KindOpen, Peer: unpaired, Stream: i})
			c.gets(h, hubwire.Frame{Kind: hubwire.KindClose, Peer: unpaired, Stream: i, Payload: []byte{1}})
		}
		synctest.Wait()
		if n := h.Told(c.id, hubwire.TypeRendezvous); n != 1+device.MaxWrongProofs {
			t.Errorf("the token was opened %d times", n)
		}
		end()
	})
}

// deaf is the socket of a hub that does not read for a while.
type deaf struct {
	relay.Socket
	full chan struct{} // closed: the hub reads again
	gone chan struct{}
	once sync.Once
}

func (d *deaf) Write(text bool, b []byte) error {
	select {
	case <-d.full:
		return d.Socket.Write(text, b)
	case <-d.gone:
		return net.ErrClosed
	}
}

func (d *deaf) Close() error {
	d.once.Do(func() { close(d.gone) })
	return d.Socket.Close()
}

// atDeafHub is a place whose sockets, once proven, take nothing until full is closed.
func atDeafHub(h *hubtest.Hub, full chan struct{}) place {
	at := inMemory(h)
	open := at.open
	at.open = func(ctx context.Context, url string) (relay.Socket, error) {
		s, err := open(ctx, url)
		if err != nil {
			return nil, err
		}
		return &afterProof{Socket: s, then: &deaf{Socket: s, full: full, gone: make(chan struct{})}}, nil
	}
	return at
}

// afterProof lets the first message pass.
type afterProof struct {
	relay.Socket
	then  *deaf
	wrote bool // of the one who writes
}

func (a *afterProof) Write(text bool, b []byte) error {
	if !a.wrote {
		a.wrote = true
		return a.Socket.Write(text, b)
	}
	return a.then.Write(text, b)
}

func (a *afterProof) Close() error { return a.then.Close() }

// TestDeafHub: a hub that speaks and does not read is left for another try, as
// one that is silent.
func TestDeafHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New(hubURL)
		c := newClient(t, atDeafHub(h, make(chan struct{})))
		defer h.Wait()
		defer c.stop()
		go c.Subscribe(t.Context(), nil)
		for range 40 {
			c.hears(h, hubwire.Message{Type: "chatter"})
			time.Sleep(time.Second)
		}
		if n := h.Connects(); n < 2 {
			t.Errorf("%d connections", n)
		}
	})
}

// TestAnswersToDeafHub: what a hub makes the device say by itself, and does not
// read, is bounded.
func TestAnswersToDeafHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New(hubURL)
		full := make(chan struct{})
		c := newClient(t, atDeafHub(h, full))
		defer h.Wait()
		defer c.stop()
		const sent = 20000
		for i := range uint64(sent) {
			c.gets(h, hubwire.Frame{Kind: hubwire.KindData, Peer: device.ID{1}, Stream: i, Payload: []byte("x")})
		}
		synctest.Wait()
		close(full)
		time.Sleep(time.Second)
		const most = 256<<10/(hubwire.HeaderSize+1) + 2
		if n := h.Closed(c.id); n > most || n < most/2 {
			t.Errorf("%d answers to %d frames had been kept", n, sent)
		}
	})
}
