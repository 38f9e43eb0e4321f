package control

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"vmux/internal/sshagent"
)

const (
	// maxConnections bounds the clients at once, and maxRefused those that are
	// being told that they are refused; a further one of these is closed.
	maxConnections = 64
	maxRefused     = 8
)

// Server answers this user's processes over a control socket.
type Server struct {
	Owner      string // whose socket it is, in refusals: "agent", "phone"
	Handler    http.Handler
	MaxRequest int64 // of a request's body, in bytes
	// Patience is how long what was begun, whose context ends with that of Serve, may
	// take until it has answered; then its connection ends.
	Patience time.Duration
	Log      *slog.Logger
}

// Serve answers clients of this user until ctx ends, closes l, and returns when
// all handlers have ended.
func (s Server) Serve(ctx context.Context, l net.Listener) error {
	var running sync.WaitGroup
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			running.Add(1)
			defer running.Done()
			s.serve(w, r)
		}),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if s, ok := c.(*slotConn); ok && s.refused != nil {
				return context.WithValue(ctx, refusedKey{}, s.refused)
			}
			return ctx
		},
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		patience, cancel := context.WithTimeout(context.Background(), s.Patience)
		defer cancel()
		if server.Shutdown(patience) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(&ownOnly{
		Listener: l, owner: s.Owner, log: s.Log,
		slots: make(chan struct{}, maxConnections), refused: make(chan struct{}, maxRefused),
	})
	if !stop() {
		<-stopped
	}
	running.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s Server) serve(w http.ResponseWriter, r *http.Request) {
	if why, ok := r.Context().Value(refusedKey{}).(*Error); ok {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusForbidden)
		if err := writeJSON(w, why); err != nil {
			s.Log.Debug("control answer not read", "error", err)
		}
		return
	}
	// A page in a browser cannot reach a Unix socket; a proxy that it
	// reached could, and would bring an Origin.
	if r.Header.Get("Origin") != "" {
		http.Error(w, "not for browsers", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, s.MaxRequest)
	s.Handler.ServeHTTP(w, r)
}

// ownOnly serves this user's processes only, maxConnections at once. Others are
// told so, since a socket that is closed with something unread ends many a client
// by SIGPIPE. Root is one of them, other than at the SSH agent's socket: what is
// told and changed here is the pairing, which no program of root's does for this
// user, and `sudo vmux` is a slip.
type ownOnly struct {
	net.Listener
	owner          string
	log            *slog.Logger
	slots, refused chan struct{}
}

// refusedKey is the context's key of why a connection is refused.
type refusedKey struct{}

func (l *ownOnly) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		var why *Error
		if _, err := sshagent.CheckPeer(c); err != nil {
			l.log.Warn("control connection refused", "error", err)
			why = Errorf(CodeOtherUser, "run vmux as the user whose "+l.owner+" it is", "The %s belongs to another user.", l.owner)
		} else {
			select {
			case l.slots <- struct{}{}:
				return &slotConn{Conn: c, free: l.slots}, nil
			default:
				l.log.Warn("control connection refused", "error", "too many")
				why = Errorf(CodeBusy, "end some of them", "Too many commands are connected to the %s.", l.owner)
			}
		}
		select {
		case l.refused <- struct{}{}:
			return &slotConn{Conn: c, free: l.refused, refused: why}, nil
		default:
			_ = c.Close()
		}
	}
}

// slotConn gives its slot back when it is closed.
type slotConn struct {
	net.Conn
	once    sync.Once
	free    chan struct{}
	refused *Error // nil: it is served
}

func (c *slotConn) Close() error {
	c.once.Do(func() { <-c.free })
	return c.Conn.Close()
}

// Dial connects to the control socket at path. It refuses one that somebody else
// serves: that one would be told whom to unpair, and could hand out an invitation of
// its own.
func Dial(ctx context.Context, path, owner string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if _, err := sshagent.CheckPeer(c); err != nil {
		c.Close()
		return nil, Errorf(CodeOtherUser, "run vmux as the user whose "+owner+" it is", "The %s is another user's: %v.", owner, err)
	}
	return c, nil
}
