package device

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"vmux/internal/wire"
)

const (
	// InvitationLife is how long an invitation can be used.
	InvitationLife = 5 * time.Minute
	// MaxWrongProofs ends an invitation.
	MaxWrongProofs = 5
	// ProofSize is the size of a pairing proof in bytes.
	ProofSize = sha256.Size

	secretSize        = 32
	invitationVersion = "1"
	invitationPrefix  = "vmux://pair#"
	maxInvitation     = 2048
	maxRoutes         = 8
	// exporterLabel binds proofs to one TLS channel (RFC 8446 section 7.5).
	exporterLabel = "EXPORTER-vmux-pairing"
	// rendezvousLabel keeps the token apart from proofs, which begin with a
	// side's name and a zero byte.
	rendezvousLabel = "vmux rendezvous"
)

// Errors of invitations.
var (
	ErrNotInvitation   = errors.New("not an invitation")
	ErrInvitationEnded = errors.New("invitation used up or expired")
	ErrWrongProof      = errors.New("wrong pairing proof")
)

// Invitation is what a QR code carries: who invites, where to reach it, and a
// secret that proves that the phone has seen the code. Anyone who sees it may
// pair once, so it is shown to the user alone and never logged.
type Invitation struct {
	DeviceID ID
	Name     string
	Routes   []string // "tcp:HOST:PORT" or "hub:URL", best first

	base string // what stands before the fragment
	// A function, since of that fmt can only print the address: where an
	// Invitation is an unexported field of something printed, its methods are
	// passed by, and a wrong verb follows even a pointer.
	secret func() [secretSize]byte
}

// NewInvitation makes an invitation of the device with a fresh secret. Base is
// the URL to open on the phone, without its fragment; empty means vmux://pair.
func NewInvitation(id ID, name string, routes []string, base string) Invitation {
	i := Invitation{DeviceID: id, Name: wire.Show(name), Routes: routes, base: base}
	var secret [secretSize]byte
	_, _ = rand.Read(secret[:])
	i.secret = func() [secretSize]byte { return secret }
	return i
}

// URL returns the invitation as text: a URL whose fragment (which browsers do
// not send to a server) carries v, the version; d, the device ID; n, the name;
// one r for each route; and s, the secret in unpadded base64url.
// The zero Invitation has no URL: it returns "".
func (i Invitation) URL() string {
	if i.secret == nil {
		return ""
	}
	secret := i.secret()
	v := url.Values{
		"v": {invitationVersion},
		"d": {i.DeviceID.String()},
		"n": {i.Name},
		"r": i.Routes,
		"s": {base64.RawURLEncoding.EncodeToString(secret[:])},
	}
	base := strings.TrimSuffix(invitationPrefix, "#")
	if i.base != "" {
		base = i.base
	}
	return base + "#" + v.Encode()
}

// ParseInvitation reads what URL writes. Space around it is allowed: it is
// pasted by people. The error never repeats the input.
func ParseInvitation(s string) (Invitation, error) {
	s = strings.TrimSpace(s)
	base, fragment, found := strings.Cut(s, "#")
	if !found || len(s) > maxInvitation {
		return Invitation{}, ErrNotInvitation
	}
	v, err := url.ParseQuery(fragment)
	// Of two values, one reader might show the first and another use the second.
	notOnce := func(field string) bool { return len(v[field]) != 1 }
	if err != nil || slices.ContainsFunc([]string{"v", "d", "n", "s"}, notOnce) {
		return Invitation{}, ErrNotInvitation
	}
	if v.Get("v") != invitationVersion {
		return Invitation{}, fmt.Errorf("%w of version %s", ErrNotInvitation, invitationVersion)
	}
	i := Invitation{Name: v.Get("n"), Routes: v["r"], base: base}
	if i.DeviceID, err = ParseID(v.Get("d")); err != nil {
		return Invitation{}, ErrNotInvitation
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(v.Get("s"))
	if err != nil || len(secret) != secretSize || strings.ContainsAny(v.Get("s"), "\r\n") {
		return Invitation{}, ErrNotInvitation
	}
	i.secret = func() [secretSize]byte { return [secretSize]byte(secret) }
	if !i.showable() {
		return Invitation{}, ErrNotInvitation
	}
	return i, nil
}

func (i Invitation) showable() bool {
	hostile := func(s string) bool { return !wire.Printable(s) }
	return len(i.Routes) <= maxRoutes && len(i.Name) <= wire.MaxNameSize &&
		!hostile(i.Name) && !hostile(i.base) && !slices.ContainsFunc(i.Routes, hostile)
}

// PhoneProof returns the proof that the phone sends first.
func (i Invitation) PhoneProof(cs *tls.ConnectionState) ([]byte, error) {
	return i.proof(cs, "phone")
}

// CheckAgentProof verifies the agent's answer. It returns ErrWrongProof when
// whoever ends this TLS channel does not know the secret.
func (i Invitation) CheckAgentProof(cs *tls.ConnectionState, proof []byte) error {
	return i.check(cs, "agent", proof)
}

// RendezvousToken is what lets one stream of a device that is not paired pass a hub to the
// inviting device: HMAC-SHA256 under the secret over "vmux rendezvous". The hub
// learns it, and from it nothing of the secret, without which nobody pairs. The
// zero Invitation has none: it returns zeros, which no hub is ever told.
func (i Invitation) RendezvousToken() [sha256.Size]byte {
	if i.secret == nil {
		return [sha256.Size]byte{}
	}
	secret := i.secret()
	mac := hmac.New(sha256.New, secret[:])
	mac.Write([]byte(rendezvousLabel))
	return [sha256.Size]byte(mac.Sum(nil))
}

// proof is HMAC-SHA256 under the secret over the side's name, a zero byte and
// 32 bytes of this channel's TLS exporter: a proof cannot be carried to another
// channel, nor reflected to the side that made it.
func (i Invitation) proof(cs *tls.ConnectionState, side string) ([]byte, error) {
	if i.secret == nil { // the zero Invitation, which proves nothing
		return nil, ErrNotInvitation
	}
	channel, err := cs.ExportKeyingMaterial(exporterLabel, nil, 32)
	if err != nil {
		return nil, fmt.Errorf("bind pairing to channel: %w", err)
	}
	secret := i.secret()
	mac := hmac.New(sha256.New, secret[:])
	mac.Write([]byte(side + "\x00"))
	mac.Write(channel)
	return mac.Sum(nil), nil
}

func (i Invitation) check(cs *tls.ConnectionState, side string, proof []byte) error {
	want, err := i.proof(cs, side)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(want, proof) != 1 {
		return ErrWrongProof
	}
	return nil
}

// LogValue keeps the secret out of logs.
func (i Invitation) LogValue() slog.Value { return slog.StringValue(i.String()) }

// String keeps the secret out of formatted text; URL writes it.
func (i Invitation) String() string { return "invitation of " + i.DeviceID.Short() }

// Format keeps the secret out of every verb, also those that pass String by.
func (i Invitation) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, i.String()) }

// Offer is an invitation on the inviting side: it can be redeemed once, within
// InvitationLife, and ends after MaxWrongProofs. Safe for concurrent use.
type Offer struct {
	inv     Invitation
	expires time.Time

	done chan struct{} // closed once it has ended before its time

	mu    sync.Mutex
	wrong int // proofs
	ended bool
}

// NewOffer opens the invitation at now.
func NewOffer(inv Invitation, now time.Time) *Offer {
	return &Offer{inv: inv, expires: now.Add(InvitationLife).Round(0), done: make(chan struct{})}
}

// Format keeps the secret out of formatted text.
func (o *Offer) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "offer of "+o.inv.DeviceID.Short())
}

// Invitation returns what to show.
func (o *Offer) Invitation() Invitation { return o.inv }

// Expires returns when the offer ends by itself.
func (o *Offer) Expires() time.Time { return o.expires }

// Ended reports whether the offer was used, ended or has expired.
func (o *Offer) Ended(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.endedLocked(now)
}

// Done is closed once the offer was redeemed or ended, or has seen too many wrong
// proofs; not when it expires.
func (o *Offer) Done() <-chan struct{} { return o.done }

// End closes the offer. Ending twice is harmless.
func (o *Offer) End() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.endLocked()
}

func (o *Offer) endLocked() {
	if !o.ended {
		o.ended = true
		close(o.done)
	}
}

// Redeem checks the phone's proof against this channel, uses the offer up, and
// returns the agent's proof. Errors: ErrInvitationEnded, ErrWrongProof. Two
// phones that come at once cannot both redeem it.
func (o *Offer) Redeem(cs *tls.ConnectionState, proof []byte, now time.Time) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.endedLocked(now) {
		return nil, ErrInvitationEnded
	}
	if err := o.inv.check(cs, "phone", proof); err != nil {
		if o.wrong++; o.wrong >= MaxWrongProofs {
			o.endLocked()
		}
		return nil, err
	}
	answer, err := o.inv.proof(cs, "agent")
	if err != nil {
		return nil, err
	}
	o.endLocked()
	return answer, nil
}

func (o *Offer) endedLocked(now time.Time) bool {
	return o.ended || !now.Round(0).Before(o.expires)
}
