package link

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"vmux/internal/device"
)

// Serve accepts connections from l until ctx ends or the node closes, and
// closes l. Whoever comes may finish the handshake; without pairing or open
// offer it is told wire.CodePairingInvalid. Links that came up outlive Serve.
func (n *Node) Serve(ctx context.Context, l net.Listener) error {
	if !n.begin() {
		_ = l.Close()
		return ErrNodeClosed
	}
	defer n.wg.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(n.ctx, cancel)()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	waiting := unauthenticated{hosts: map[string]int{}}
	defer waiting.wg.Wait()
	defer cancel()
	backoff := Backoff{Min: BackoffMin, Max: time.Second}
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of descriptors, perhaps: others may be freed
			n.log.Warn("accepting", "error", err)
			backoff.Rest(ctx, nil)
		case !waiting.enter(hostOf(c)):
			n.log.Warn("too many unauthenticated connections", "from", routeOf(c))
			_ = c.Close()
		default:
			backoff.Reset()
			go func() {
				defer waiting.leave(hostOf(c))
				n.receive(ctx, c)
			}()
		}
	}
}

// receive takes one accepted connection to a link or to its end.
func (n *Node) receive(ctx context.Context, c net.Conn) {
	config := baseTLS(n.key, func(device.ID) error { return nil })
	tc, err := n.handshake(ctx, tls.Server(c, config))
	if err == nil {
		err = n.authenticate(ctx, tc)
	}
	if err != nil {
		n.log.Debug("connection refused", "from", routeOf(c), "error", err)
	}
}

// unauthenticated counts the connections that are not authenticated yet.
type unauthenticated struct {
	mu    sync.Mutex
	hosts map[string]int
	count int
	wg    sync.WaitGroup
}

func (s *unauthenticated) enter(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count >= MaxUnauthenticated || s.hosts[host] >= MaxUnauthenticatedPerHost {
		return false
	}
	s.count++
	s.hosts[host]++
	s.wg.Add(1)
	return true
}

func (s *unauthenticated) leave(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
	if s.hosts[host]--; s.hosts[host] == 0 {
		delete(s.hosts, host)
	}
	s.wg.Done()
}

func hostOf(c net.Conn) string {
	a := c.RemoteAddr()
	if a == nil {
		return ""
	}
	if t, ok := a.(*net.TCPAddr); ok {
		return t.IP.String()
	}
	return a.String()
}
