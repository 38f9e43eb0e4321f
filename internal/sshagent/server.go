package sshagent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"vmux/internal/sshctx"
)

// Peer is the process at the other end of a connection, as the system tells.
type Peer struct {
	PID int // 0 if the system does not say
	UID int
}

// Root is the user ID of who may do all.
const Root = 0

// Connection is what is known of a client's connection. It is read only.
type Connection struct {
	ID   uint64 // of no other connection of this server
	Peer Peer
	// Bindings are oldest first; most clients send none. Each is verified, but for
	// those whose host key is not sshctx.Readable: what they say is unproven.
	Bindings []sshctx.Binding
	Listed   *Listing // the last one that was answered; nil: none
	// Unproven: a binding of this connection was malformed or not signed by its
	// host key, so that the connection may come from anywhere.
	Unproven bool
	// Relayed: it comes from another host by a way that says nothing of it, as
	// `ssh -R SOCKET` is. It has no bindings: those that the other host has sent prove nothing.
	Relayed bool
	// PassedBy are the agents by which it comes, as ExtensionPassedOn tells.
	PassedBy []byte
	// Process is what Config.Taken has noted of who has connected; nil: nothing.
	Process any
}

// SignRequest is a signature that a client asks for. Its bytes are the
// backend's own.
type SignRequest struct {
	Connection
	Blob, Data []byte
	Flags      uint32 // SSH_AGENT_RSA_SHA2_256 (2) and _512 (4), RFC 9987
}

// Backend knows the identities. All its methods are called concurrently.
type Backend interface {
	// Listing returns what is listed now on this connection. It waits for nobody but
	// another agent, and not for long: ssh goes on only then.
	Listing(ctx context.Context, c Connection) *Listing
	// SignLocal signs with a key that is at hand and returns the SSH signature
	// blob (RFC 4253 section 6.6: string format, string signature). ok is false
	// when the key is not at hand and Sign has to be asked; an error is final.
	// It must not wait and keeps none of its arguments.
	SignLocal(c Connection, blob, data []byte, flags uint32) (signature []byte, ok bool, err error)
	// Sign returns the SSH signature blob. It may wait for a person; it
	// returns soon after ctx ends, which is when the client goes away.
	Sign(ctx context.Context, r SignRequest) ([]byte, error)
	// RemoveAll destroys the keys that the computer itself holds, and Remove one of
	// them; it reports whether that was one. They must not wait and keep nothing.
	RemoveAll()
	Remove(blob []byte) bool
}

// Config says how to serve.
type Config struct {
	Backend Backend
	Log     *slog.Logger // nil discards

	// MaxConnections is how many clients may be connected; default 4096, but
	// at most three quarters of the process's file descriptors, together with
	// those that are being refused, and all but 32. A further one is refused.
	MaxConnections int
	// FrameTimeout is how long a message may take from its first byte to its
	// last; default 15 s. A connection without a begun message may idle.
	FrameTimeout time.Duration
	// WriteTimeout is how long a client may take at least to read an answer;
	// default 15 s. After twice as long it is closed.
	WriteTimeout time.Duration
	// DrainTimeout is how long a connection may take to write its last answer
	// when serving ends; default 1 s.
	DrainTimeout time.Duration
	// Closed is called with what was known of a connection on which identities were
	// listed, when it has ended. It must not wait. Default: nothing.
	Closed func(Connection)
	// Taken is called once for each connection, and what it returns says as what that is to
	// be taken, at each of its messages. That is called concurrently; neither may wait or keep
	// anything. Default: as what it is.
	Taken func(Peer) func(Connection) Connection
	// ID is of no other agent: IDSize random bytes. See ExtensionPassedOn.
	ID []byte
	// PassOn has another agent answer a message: one that adds or removes keys, locks or
	// unlocks, and any that is not known here. It is called only for those who may manage
	// the agent, and of whom MayPassOn tells so. What says what is asked for, as "remove all keys"; "": that it fails is
	// of interest to nobody. It keeps nothing, and returns soon after ctx ends. Nil: there is no other.
	PassOn func(ctx context.Context, c Connection, what string, msg []byte) (answer []byte, err error)
	// MayManage tells whether who is connected may lock, unlock and empty the
	// agent. Default: all whose connection is not bound, since only SSH clients
	// bind, and what comes over one that does may come from another host.
	MayManage func(Connection) bool
	// MayPassOn tells whether the messages of who is connected reach the other agent.
	// Default: as MayManage.
	MayPassOn func(Connection) bool
	// Locked is told when the agent was locked or unlocked, AddRefused when a client
	// wanted to add a key, or a token's keys, and RemoveRefused that a key was not removed.
	// They must not wait. Default: nothing.
	Locked        func(bool)
	AddRefused    func(c Connection, token bool)
	RemoveRefused func(blob []byte)
	// CheckPeer tells the process at the other end and refuses other users.
	// Default: the system's peer credentials, and only this user and root.
	CheckPeer func(net.Conn) (Peer, error)
}

// Server serves clients.
type Server struct {
	cfg     Config
	lock    lock
	clients atomic.Uint64 // how many there have been

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup

	refused chan struct{} // holds one for each client that is being refused
}

// New returns a server.
func New(cfg Config) *Server {
	if cfg.Locked == nil {
		cfg.Locked = func(bool) {}
	}
	if cfg.AddRefused == nil {
		cfg.AddRefused = func(Connection, bool) {}
	}
	if cfg.RemoveRefused == nil {
		cfg.RemoveRefused = func([]byte) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	refused := max(1, min(maxRefused, descriptorLimit()/32))
	// The agent has some twenty open itself, and more while a signature is asked for.
	rest := max(descriptorLimit()/4, 32)
	setDefault(&cfg.MaxConnections, max(1, min(4096, descriptorLimit()-rest-refused)))
	setDefault(&cfg.FrameTimeout, 15*time.Second)
	setDefault(&cfg.WriteTimeout, 15*time.Second)
	setDefault(&cfg.DrainTimeout, time.Second)
	if cfg.CheckPeer == nil {
		cfg.CheckPeer = CheckUser
	}
	if cfg.MayManage == nil {
		cfg.MayManage = func(c Connection) bool { return len(c.Bindings) == 0 && !c.Unproven }
	}
	if cfg.MayPassOn == nil {
		cfg.MayPassOn = cfg.MayManage
	}
	if cfg.Taken == nil {
		cfg.Taken = func(Peer) func(Connection) Connection { return func(c Connection) Connection { return c } }
	}
	if cfg.Closed == nil {
		cfg.Closed = func(Connection) {}
	}
	return &Server{
		cfg:   cfg,
		conns: map[net.Conn]struct{}{},
		lock:  newLock(),

		refused: make(chan struct{}, refused),
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Serve accepts clients until ctx ends or the listener fails. It closes the
// listener, lets answers that are being written be finished, and returns when
// all connections have ended: soon after ctx, if Backend.Sign keeps its word.
// It is called once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	err := s.accept(ctx, l)
	l.Close()
	cancel()
	s.drain()
	return err
}

// accept survives a lack of file descriptors: it waits until others are
// closed, a tenth of a second at most, since those who connect meanwhile wait.
func (s *Server) accept(ctx context.Context, l net.Listener) error {
	const first, longest = 5 * time.Millisecond, 100 * time.Millisecond
	pause := first
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			if pause == first { // once, not ten times a second
				s.cfg.Log.Warn("accept failed, trying again", "err", err)
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, longest)
		default:
			pause = first
			s.start(ctx, c)
		}
	}
}

func (s *Server) start(ctx context.Context, c net.Conn) {
	peer, err := s.cfg.CheckPeer(c)
	if err != nil {
		s.cfg.Log.Warn("client refused", "err", err)
		s.refuse(ctx, c)
		return
	}
	if !s.add(c) {
		s.cfg.Log.Warn("client refused: too many connections", "limit", s.cfg.MaxConnections)
		s.refuse(ctx, c)
		return
	}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		defer s.remove(c)
		client := s.newClient(c, peer)
		client.serve(ctx)
		if client.listed != nil {
			s.cfg.Closed(client.connection())
		}
	}()
}

func (s *Server) newClient(c net.Conn, peer Peer) *client {
	return &client{server: s, conn: c, id: s.clients.Add(1), peer: peer, taken: s.cfg.Taken(peer)}
}

// maxRefused bounds the clients that are being refused at once, as does the
// number of file descriptors; a further one is closed without an answer.
const maxRefused = 64

// refuse answers all that a client sends by a failure, until it goes away or has
// had the time of one message. A socket that is closed with something unread
// instead ends many a client by SIGPIPE or ECONNRESET, and others try it again.
func (s *Server) refuse(ctx context.Context, c net.Conn) {
	select {
	case s.refused <- struct{}{}:
	default:
		c.Close()
		return
	}
	s.wg.Go(func() {
		defer func() { <-s.refused }()
		defer c.Close()
		ctx, cancel := context.WithTimeout(ctx, s.cfg.FrameTimeout)
		defer cancel()
		stop := context.AfterFunc(ctx, func() { c.Close() }) // also one that reads no answers
		defer stop()
		client := &client{server: s, conn: c, refused: true}
		client.serve(ctx)
	})
}

func (s *Server) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= s.cfg.MaxConnections {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c net.Conn) {
	c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// drain wakes connections that wait for a message, and closes those that have
// not ended in time. The context has ended, so that each ends after its answer.
func (s *Server) drain() {
	s.each(func(c net.Conn) { c.SetReadDeadline(time.Unix(1, 0)) }) // long past: ends a Read
	late := time.AfterFunc(s.cfg.DrainTimeout, func() {
		s.each(func(c net.Conn) { c.Close() })
	})
	defer late.Stop()
	s.wg.Wait()
}

func (s *Server) each(f func(net.Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		f(c)
	}
}
