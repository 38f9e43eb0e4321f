package relay_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
	"vmux/internal/link/relay"
	"vmux/internal/link/relay/hubtest"
)

// streams are two clients at one hub in memory, without links on top.
type streams struct {
	hub      *hubtest.Hub
	near, to *relay.Client
	nearID   device.ID
	toID     device.ID
	listener net.Listener
	stop     func()
}

func newStreams(t *testing.T) *streams {
	s := &streams{hub: hubtest.New(hubURL)}
	s.hub.Blind, s.hub.Mute = true, true
	near, to := newClient(t, inMemory(s.hub)), newClient(t, inMemory(s.hub))
	s.near, s.nearID, s.to, s.toID = near.Client, near.id, to.Client, to.id
	s.listener = s.to.Listener()
	s.stop = func() { _ = s.listener.Close(); near.stop(); to.stop(); s.hub.Wait() }
	return s
}

// pair opens one stream, without the handshake, and accepts it.
func (s *streams) pair(ctx context.Context) (near, far net.Conn) {
	for _, c := range []*relay.Client{s.near, s.to} {
		if err := c.Subscribe(ctx, nil); err != nil { // waits for the connection
			panic(err)
		}
	}
	raw := func(_ context.Context, c net.Conn) (*tls.Conn, error) { return tls.Client(c, &tls.Config{}), nil }
	tc, _, err := s.near.Dial(ctx, device.Peer{ID: s.toID}, raw)
	if err != nil {
		panic(err)
	}
	return tc.NetConn(), must(s.listener.Accept())
}

// inStreams runs a test with a stream in a bubble.
func inStreams(t *testing.T, test func(t *testing.T, s *streams, near, far net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreams(t)
		defer s.stop()
		near, far := s.pair(t.Context())
		test(t, s, near, far)
	})
}

// TestEnds: what was written before the end can be read, then comes the end.
func TestEnds(t *testing.T) {
	inStreams(t, func(t *testing.T, s *streams, near, far net.Conn) {
		want := bytes.Repeat([]byte("x"), 3*hubwire.MaxData+1)
		_ = must(near.Write(want))
		_ = near.Close()
		if got, err := io.ReadAll(far); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if _, err := far.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("writing to a stream that the other has closed: %v", err)
		}
		if far.RemoteAddr().Network() != "hub" || far.RemoteAddr().String() != "hub.example/"+s.nearID.String() {
			t.Errorf("address %v", far.RemoteAddr())
		}
	})
}

// TestLostHub: with the hub all streams end.
func TestLostHub(t *testing.T) {
	inStreams(t, func(t *testing.T, s *streams, near, _ net.Conn) {
		s.hub.Cut(s.nearID)
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, relay.ErrHubLost) {
			t.Errorf("%v", err)
		}
		if _, err := near.Write(make([]byte, 1)); !errors.Is(err, relay.ErrHubLost) {
			t.Errorf("%v", err)
		}
	})
}

// TestForgottenStream: a device that has connected anew answers data of a stream
// that it knows nothing of, so that the other device does not wait.
func TestForgottenStream(t *testing.T) {
	inStreams(t, func(t *testing.T, s *streams, near, _ net.Conn) {
		s.hub.Cut(s.toID)
		synctest.Wait()
		if err := s.to.Subscribe(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		_ = must(near.Write([]byte("hello?")))
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
	})
}

// TestSlowReader: more than the buffer holds ends the stream and no other, and
// frees what it held.
func TestSlowReader(t *testing.T) {
	inStreams(t, func(t *testing.T, s *streams, near, far net.Conn) {
		other, _ := s.pair(t.Context())
		_ = near.SetWriteDeadline(time.Now().Add(time.Minute))
		n, err := near.Write(make([]byte, 64<<20))
		// How much more is written until it is known here is the scheduler's.
		if !errors.Is(err, io.ErrClosedPipe) || n < 2<<20 || n > 32<<20 {
			t.Errorf("wrote %d bytes: %v", n, err)
		}
		synctest.Wait()
		_, err = io.Copy(io.Discard, far)
		if !errors.Is(err, relay.ErrOverflow) {
			t.Errorf("read: %v", err)
		}
		if _, err := other.Write([]byte("x")); err != nil {
			t.Errorf("another stream: %v", err)
		}
	})
}

// TestBackPressure: a hub that reads nothing fills the queue, not the memory;
// who writes waits until the deadline, and gets on when the hub reads again.
func TestBackPressure(t *testing.T) {
	inStreams(t, func(t *testing.T, s *streams, near, _ net.Conn) {
		release := make(chan struct{})
		s.hub.Tamper(func(hubtest.Packet) []hubtest.Packet { <-release; return nil })
		_ = near.SetWriteDeadline(time.Now().Add(time.Second))
		began := time.Now()
		n, err := near.Write(make([]byte, 64<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n > 4<<20 || time.Since(began) != time.Second {
			t.Errorf("wrote %d bytes in %v: %v", n, time.Since(began), err)
		}
		_ = near.SetWriteDeadline(time.Time{})
		close(release)
		if _, err := near.Write(make([]byte, 1<<20)); err != nil {
			t.Error(err)
		}
	})
}

// TestStuckHub: a hub that reads nothing at all is given up.
func TestStuckHub(t *testing.T) {
	inStreams(t, func(t *testing.T, s *streams, near, _ net.Conn) {
		stuck := make(chan struct{})
		defer close(stuck)
		s.hub.Tamper(func(hubtest.Packet) []hubtest.Packet { <-stuck; return nil })
		began := time.Now()
		if _, err := near.Write(make([]byte, 64<<20)); !errors.Is(err, relay.ErrHubLost) || time.Since(began) > 15*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// TestNobodyListens: streams to a device that takes none are closed at once.
func TestNobodyListens(t *testing.T) {
	inStreams(t, func(t *testing.T, s *streams, near, far net.Conn) {
		_ = s.listener.Close()
		if _, err := s.listener.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepting: %v", err)
		}
		raw := func(_ context.Context, c net.Conn) (*tls.Conn, error) { return tls.Client(c, &tls.Config{}), nil }
		tc, _, err := s.near.Dial(t.Context(), device.Peer{ID: s.toID}, raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tc.NetConn().Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
		_ = must(near.Write([]byte("x"))) // what is open stays
		_ = must(far.Read(make([]byte, 1)))
	})
}

// TestDeadlines: those that have passed, those to come, and those that change
// while somebody waits.
func TestDeadlines(t *testing.T) {
	inStreams(t, func(t *testing.T, s *streams, near, far net.Conn) {
		one := make([]byte, 1)
		read := func(want error, after time.Duration) {
			t.Helper()
			began := time.Now()
			if _, err := near.Read(one); !errors.Is(err, want) || time.Since(began) != after {
				t.Errorf("after %v: %v, want %v after %v", time.Since(began), err, want, after)
			}
		}
		_ = near.SetDeadline(time.Now().Add(-time.Second))
		read(os.ErrDeadlineExceeded, 0)
		if _, err := near.Write(one); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("writing: %v", err)
		}
		_ = near.SetReadDeadline(time.Now().Add(3 * time.Second))
		read(os.ErrDeadlineExceeded, 3*time.Second)
		_ = near.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { _ = near.SetReadDeadline(time.Now().Add(time.Second)) })
		read(os.ErrDeadlineExceeded, 2*time.Second)
		_ = near.SetReadDeadline(time.Now().Add(time.Second))
		time.AfterFunc(time.Second/2, func() { _ = near.SetReadDeadline(time.Time{}) })
		time.AfterFunc(2*time.Second, func() { _, _ = far.Write(one) })
		read(nil, 2*time.Second)
		time.AfterFunc(time.Second, func() { _ = near.Close() })
		read(net.ErrClosed, time.Second)
	})
}

// TestConcurrentUse: several readers get every byte between them, and the pieces
// of writes stay together.
func TestConcurrentUse(t *testing.T) {
	inStreams(t, func(t *testing.T, s *streams, near, far net.Conn) {
		const writers, size = 8, 2*hubwire.MaxData + 5
		var writing, reading sync.WaitGroup
		for i := range writers {
			writing.Go(func() { _ = must(near.Write(bytes.Repeat([]byte{byte(i)}, size))) })
		}
		var mu sync.Mutex
		var all [writers]int
		for range 4 {
			reading.Go(func() {
				b := make([]byte, 1000)
				for {
					n, err := far.Read(b)
					mu.Lock()
					for _, c := range b[:n] {
						all[c]++
					}
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		writing.Wait()
		_ = near.Close()
		reading.Wait()
		for i, n := range all {
			if n != size {
				t.Errorf("%d bytes of writer %d, want %d", n, i, size)
			}
		}
	})
	inStreams(t, func(t *testing.T, s *streams, near, far net.Conn) {
		var writing sync.WaitGroup
		for i := range 4 {
			writing.Go(func() { _ = must(near.Write(bytes.Repeat([]byte{byte(i)}, 3*hubwire.MaxData))) })
		}
		writing.Wait()
		_ = near.Close()
		got := must(io.ReadAll(far))
		for len(got) > 0 {
			run := len(got) - len(bytes.TrimLeft(got, string(got[:1])))
			if run%(3*hubwire.MaxData) != 0 {
				t.Fatalf("a run of %d bytes", run)
			}
			got = got[run:]
		}
	})
}
