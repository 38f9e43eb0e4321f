// Package control is the agent's control socket: HTTP with JSON records over a
// Unix socket of the user's own, the handlers over a Service, and the typed
// client that commands, tray and tests share. The native phone has such a socket
// too, with handlers of its own. It decides nothing itself and knows neither keys
// nor links.
package control

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"time"

	"vmux/internal/hubpage"
	"vmux/internal/sshagent"
	"vmux/internal/wire"
)

const (
	pathPrefix = "/v1/"
	// maxRequest bounds what a client sends.
	maxRequest = 64 << 10
)

// Service does what the commands ask for. Its methods are called concurrently
// and end soon after ctx, which ends when the client goes away. Errors are told
// by AsError.
type Service interface {
	Status() Status
	// Changed returns a channel that is closed at the next change of Status.
	Changed() <-chan struct{}
	// Notifies tells that a client shows notifications until done is called, so that
	// the agent shows none.
	Notifies() (done func())
	// Pair tells the invitation and waits until it is redeemed or ends.
	Pair(ctx context.Context, o PairOptions, invited func(Invitation) error) (Device, error)
	RefreshKeys(ctx context.Context) (RefreshResult, error)
	RequestCertificate(ctx context.Context, o CertificateOptions) (Certificate, error)
	ShowCertificate() Certificate
	// Withdraw ends a request that waits, as if a person had denied it.
	Withdraw(requestID string) error
	Devices() ([]Device, error)
	// Ping measures the round trips to the connected phones, and returns all phones.
	Ping(ctx context.Context) ([]Device, error)
	Unpair(device string) (Device, error)
	// Wake has the hub wake the phone of that name, or all that can be.
	Wake(ctx context.Context, device string) ([]Woken, error)
	CA() ([]CA, error)
	AcceptCA(device, fingerprint string) (CA, error)
	// ClaimGit notes what a git signature is for; it must not wait.
	ClaimGit(GitClaim) error
	// VerifyHub compares the page of the agent's hub with the one of its build.
	VerifyHub(ctx context.Context) (hubpage.Report, error)
}

// Listen makes the control socket: mode 0600, in a folder of mode 0700, with
// the rules of sshagent.Listen for what stands there already. It is the state
// folder, not --socket, that says where it is.
func Listen(path string) (net.Listener, error) {
	l, err := sshagent.Listen(path)
	return l, wire.WithHint(err, "set VMUX_HOME to another folder for state of its own")
}

// Serve answers the agent's clients until ctx ends: see Server.Serve.
func Serve(ctx context.Context, l net.Listener, s Service, log *slog.Logger) error {
	h := &handler{service: s, log: log}
	return Server{Owner: "agent", Handler: h.routes(), MaxRequest: maxRequest, Patience: 2 * time.Second, Log: log}.Serve(ctx, l)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
