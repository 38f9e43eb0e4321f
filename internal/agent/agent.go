// Package agent is the computer's side: it lists the phone-held keys and the
// session certificate to SSH clients, asks phones for signatures, keeps the
// session certificate alive, and answers the control socket. It holds no
// phone-held private key; the only private key that it ever has for SSH is the
// session certificate's, in memory.
package agent

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"vmux/internal/link"
)

// Passkeys says where passkey identities (`sk-…`) are listed.
type Passkeys string

// The choices of --passkeys.
const (
	PasskeysLast          Passkeys = "last"           // after all others; the default
	PasskeysNever         Passkeys = "never"          // not at all
	PasskeysNoCertificate Passkeys = "no-certificate" // last, and only while there is no session certificate
)

// Config says how an agent is to run. StateDir and Socket are required.
type Config struct {
	// StateDir is the agent's state folder, made with mode 0700. It holds the
	// device key, the paired devices, the key cache and the control socket.
	StateDir string
	// Socket is the path of the SSH agent's socket.
	Socket string
	// Name is this computer's name; default the host name.
	Name string
	// Routes are the ways to reach phones.
	Routes []link.Route
	// ApprovalTimeout is how long a person may take; default 60 s, at most
	// 100 s.
	ApprovalTimeout time.Duration
	// Passkeys defaults to PasskeysLast.
	Passkeys Passkeys
	// OpenSSHVersion is told to phones, for example "OpenSSH_9.2p1".
	OpenSSHVersion string
	// PairHosts are the addresses that an invitation names; default all of
	// this machine's, loopback only if there is no other.
	PairHosts []string
	// ProgramVersion is shown in the status.
	ProgramVersion string
	// Notify tells the user something outside of any terminal. It must not
	// block for long; calls come one after the other. Default: the desktop's
	// notifications. NoNotify turns them off.
	Notify func(ctx context.Context, title, text string) error
	// Log is where the agent writes; nil discards.
	Log *slog.Logger
}

// ControlSocketName is the control socket's name in the state folder.
const ControlSocketName = "control.sock"

// NoNotify is a Config.Notify that tells nothing.
func NoNotify(context.Context, string, string) error { return nil }

// Agent is a running agent.
type Agent struct{ cfg Config }

// New opens the agent's state: it makes a device key at first. Errors name the
// file.
func New(c Config) (*Agent, error) { return &Agent{cfg: c}, nil }

// Ready is closed once both sockets are served.
func (a *Agent) Ready() <-chan struct{} { return nil }

// Run serves until ctx ends, and returns after all goroutines have ended and
// the session key is wiped.
func (a *Agent) Run(ctx context.Context) error { return errors.ErrUnsupported }
