// Package upstream passes requests on to another SSH agent of this computer, whose keys
// are listed after the phone-held ones. It knows nothing of phones and allows nothing:
// who may use that agent has been decided before it is asked.
//
// Each request has a connection of its own, on which the client's session bindings are
// told first. So the other agent judges by them as if the client had connected to it
// (`ssh-add -h`; OpenSSH's PROTOCOL.agent section 1), and may be restarted at any time.
package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshagent"
)

const (
	// listWait bounds how long a list waits for the upstream agent. ssh is told nothing
	// before, not even of the phone-held keys.
	listWait = 2 * time.Second
	// probeWait is how long one that was silent is given, while no list waits for it.
	probeWait = time.Minute
	// maxLists and maxRequests bound the connections at once. An agent that asks this one
	// in turn and does not say so (another multiplexer) ends there.
	maxLists    = 16
	maxRequests = 64
)

// Errors beside those of the network.
var (
	ErrNotYet  = errors.New("it has not answered yet")
	ErrSilent  = fmt.Errorf("it has not answered within %v", listWait)
	ErrLoop    = errors.New("it leads back to this agent")
	ErrRefused = errors.New("it has refused")
	ErrBusy    = errors.New("too many requests wait for it")
	ErrGarbage = errors.New("its answer is none of the SSH agent protocol")
)

// Config is what an Agent needs.
type Config struct {
	Socket string // its path
	ID     []byte // see sshagent.Config.ID
	// Go runs a function until it returns or its context ends; it reports whether it does.
	Go func(func(context.Context)) bool
	// Changed is called when the upstream agent answers again, or does not any more. It must not wait.
	Changed func()
}

// Agent is the upstream agent. It may be used concurrently.
type Agent struct {
	Config
	lists, requests chan struct{} // hold one for each request

	mu         sync.Mutex
	silent     bool          // no list waits for it
	problem    error         // of the last list
	keys       int           // listed on the last connection without bindings
	known      time.Time     // when that was
	refreshing chan struct{} // closed when a list for the status has ended; nil: none is asked for
}

// New returns an agent that is reached when it is asked.
func New(c Config) *Agent {
	return &Agent{Config: c, lists: make(chan struct{}, maxLists), requests: make(chan struct{}, maxRequests), problem: ErrNotYet}
}

// List returns what the upstream agent lists on a connection like the client's. It waits
// for listWait at most. Of an agent that was silent it returns ErrSilent at once, until that
// one has answered again: it must not make each login slow.
func (a *Agent) List(ctx context.Context, c sshagent.Connection) ([]sshagent.Identity, error) {
	a.mu.Lock()
	silent := a.silent
	a.mu.Unlock()
	if silent {
		return nil, ErrSilent
	}
	list, err := a.list(ctx, listWait, c)
	if ctx.Err() != nil {
		return nil, err // a caller with less patience has learned nothing
	}
	if errors.Is(err, ErrSilent) {
		a.probe()
	}
	a.note(c, list, err)
	return list, err
}

func (a *Agent) list(ctx context.Context, wait time.Duration, c sshagent.Connection) ([]sshagent.Identity, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, ErrSilent)
	defer cancel()
	select {
	case a.lists <- struct{}{}:
		defer func() { <-a.lists }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	answer, err := a.ask(ctx, c, []byte{msgRequestIdentities})
	if err != nil {
		return nil, err
	}
	return parseList(answer)
}

// probe asks a silent agent until it answers or is gone.
func (a *Agent) probe() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.silent {
		return
	}
	a.silent = a.Go(func(ctx context.Context) {
		list, err := []sshagent.Identity(nil), ErrSilent
		for errors.Is(err, ErrSilent) && ctx.Err() == nil {
			list, err = a.list(ctx, probeWait, sshagent.Connection{})
		}
		a.mu.Lock()
		a.silent = false
		a.mu.Unlock()
		a.note(sshagent.Connection{}, list, err)
	})
}

// Sign returns the signature blob that the upstream agent makes, which is not verified: it
// may be of a type newer than this program. It waits as long as ctx allows, since that
// agent may ask a person, or for a touch.
func (a *Agent) Sign(ctx context.Context, r sshagent.SignRequest) ([]byte, error) {
	answer, err := a.request(ctx, r.Connection, ssh.Marshal(signRequest{r.Blob, r.Data, r.Flags}))
	if err != nil {
		return nil, err
	}
	return parseSignature(answer)
}

// Pass sends a message and returns its answer, each with its number and without its
// length. An answer may be a refusal.
func (a *Agent) Pass(ctx context.Context, c sshagent.Connection, msg []byte) ([]byte, error) {
	defer a.outdated() // it may have added or removed keys
	return a.request(ctx, c, msg)
}

func (a *Agent) request(ctx context.Context, c sshagent.Connection, msg []byte) ([]byte, error) {
	select {
	case a.requests <- struct{}{}:
		defer func() { <-a.requests }()
	default:
		return nil, ErrBusy
	}
	return a.ask(ctx, c, msg)
}

// ask connects as the client does, and asks.
func (a *Agent) ask(ctx context.Context, c sshagent.Connection, msg []byte) (answer []byte, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", a.Socket)
	if err != nil {
		return nil, cause(ctx, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	// Another user may have made a socket of that name. He would be sent what ssh-add sends.
	if _, err := sshagent.CheckUser(conn); err != nil {
		return nil, err
	}
	hops := extension{sshagent.ExtensionPassedOn, slices.Concat(c.PassedBy, a.ID)}
	if answer, err = roundTrip(conn, ssh.Marshal(hops)); err == nil && answer[0] == msgExtensionResponse {
		return nil, ErrLoop
	}
	for n := 0; n < len(c.Bindings) && err == nil; n++ {
		// One that is refused is the upstream agent's to judge by, as it is with ssh itself.
		_, err = roundTrip(conn, ssh.Marshal(extension{sshagent.ExtensionSessionBind, c.Bindings[n].Marshal()}))
	}
	if err == nil {
		answer, err = roundTrip(conn, msg)
	}
	return answer, cause(ctx, err)
}

// cause is why a request has failed: its end makes any error of its connection.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// roundTrip sends a message and reads its answer, which has a number at least.
func roundTrip(conn net.Conn, msg []byte) ([]byte, error) {
	frame := append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(msg)), uint32(len(msg))), msg...)
	_, err := conn.Write(frame)
	clear(frame) // which may hold a private key
	if err != nil {
		return nil, err
	}
	var header [4]byte
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return nil, fmt.Errorf("it has ended the connection: %w", err)
	}
	length := binary.BigEndian.Uint32(header[:])
	if length == 0 || length > sshagent.MaxFrame {
		return nil, ErrGarbage
	}
	answer := make([]byte, length)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, fmt.Errorf("it has ended the connection: %w", err)
	}
	return answer, nil
}
