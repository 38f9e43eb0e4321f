// Package control is the agent's control socket: HTTP with JSON records over a
// Unix socket of the user's own, the handlers over a Service, and the typed
// client that commands, tray and tests share. It decides nothing itself and
// knows neither keys nor links.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"vmux/internal/hubpage"
	"vmux/internal/sshagent"
	"vmux/internal/wire"
)

const (
	pathPrefix = "/v1/"
	// maxRequest bounds what a client sends.
	maxRequest = 64 << 10
	// maxConnections bounds the clients at once, and maxRefused those that are
	// being told that they are refused; a further one of these is closed.
	maxConnections = 64
	maxRefused     = 8
)

// Service does what the commands ask for. Its methods are called concurrently
// and end soon after ctx, which ends when the client goes away. Errors are told
// by AsError.
type Service interface {
	Status() Status
	// Changed returns a channel that is closed at the next change of Status.
	Changed() <-chan struct{}
	// Pair tells the invitation and waits until it is redeemed or ends.
	Pair(ctx context.Context, o PairOptions, invited func(Invitation) error) (Device, error)
	RefreshKeys(ctx context.Context) (RefreshResult, error)
	RequestCertificate(ctx context.Context, o CertificateOptions) (Certificate, error)
	ShowCertificate() Certificate
	Devices() ([]Device, error)
	Unpair(device string) (Device, error)
	// Ring has the hub ring the phone of that name, or all that can be.
	Ring(ctx context.Context, device string) ([]Woken, error)
	CA() ([]CA, error)
	AcceptCA(device, fingerprint string) (CA, error)
	// ClaimGit notes what a git signature is for; it must not wait.
	ClaimGit(GitClaim) error
	// VerifyHub compares the page of the agent's hub with the one of its build.
	VerifyHub(ctx context.Context) (hubpage.Report, error)
}

// Listen makes the control socket: mode 0600, in a folder of mode 0700, with
// the rules of sshagent.Listen for what stands there already.
func Listen(path string) (net.Listener, error) {
	place, err := Hold(path)
	if err != nil {
		return nil, err
	}
	return place.Listen()
}

// Place is the control socket's path, held by this process.
type Place struct{ *sshagent.Place }

// Hold is the first half of Listen: see sshagent.Hold.
func Hold(path string) (Place, error) {
	place, err := sshagent.Hold(path)
	return Place{place}, hinted(err)
}

// Listen makes the socket. It is called once.
func (p Place) Listen() (net.Listener, error) {
	l, err := p.Place.Listen()
	return l, hinted(err)
}

// hinted gives an error of sshagent's the hint that fits here: it is the state
// folder, not --socket, that says where the control socket is.
func hinted(err error) error {
	if wire.HintOf(err) == "" {
		return err
	}
	return wire.WithHint(err, "set VMUX_HOME to another folder for an agent with state of its own")
}

// Serve answers clients of this user until ctx ends, closes l, and returns when
// all handlers have ended.
func Serve(ctx context.Context, l net.Listener, s Service, log *slog.Logger) error {
	h := &handler{service: s, log: log}
	server := &http.Server{
		Handler:     h.routes(),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if s, ok := c.(*slotConn); ok && s.refused != nil {
				return context.WithValue(ctx, refusedKey{}, s.refused)
			}
			return ctx
		},
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		patience, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if server.Shutdown(patience) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(&ownOnly{
		Listener: l, log: log,
		slots: make(chan struct{}, maxConnections), refused: make(chan struct{}, maxRefused),
	})
	if !stop() {
		<-stopped
	}
	h.wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// ownOnly serves this user's processes only, maxConnections at once. Others are
// told so, since a socket that is closed with something unread ends many a client
// by SIGPIPE. Root is one of them, other than at the SSH agent's socket: what is
// told and changed here is the pairing, which no program of root's does for this
// user, and `sudo vmux` is a slip.
type ownOnly struct {
	net.Listener
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
			why = Errorf(CodeOtherUser, "run vmux as the user whose agent it is", "The agent belongs to another user.")
		} else {
			select {
			case l.slots <- struct{}{}:
				return &slotConn{Conn: c, free: l.slots}, nil
			default:
				l.log.Warn("control connection refused", "error", "too many")
				why = Errorf(CodeBusy, "end some of them", "Too many commands are connected to the agent.")
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

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
