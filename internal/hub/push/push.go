// Package push wakes a phone that has no live link by
// Web Push (RFC 8030, 8291, 8292). What it sends says "look", the same words to
// everybody: it names no host, no user, no key and no device. It decides nothing
// about who a device is; the hub has checked that before it asks.
package push

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/pushsubject"
)

const (
	// SendTimeout bounds one push, from the look-up of its host to the answer.
	// It has room for a first attempt that nobody answers, a pause that the
	// push service wants, and a second one.
	SendTimeout = 12 * time.Second
	// MaxSubscriptions bounds what one store holds; over it, only devices that
	// have a subscription can change theirs.
	MaxSubscriptions = 50_000
	// StaleAfter is how long a subscription is kept that its device does not
	// renew. Apps renew theirs at each start.
	StaleAfter = 60 * 24 * time.Hour
)

// Errors of Subscribe and Wake, beside RefusedError. Everything else is a failure
// of the store.
var (
	// ErrNotSubscribed: the device has no subscription, or does not allow the
	// one that wants to wake it. The two look the same to anybody else.
	ErrNotSubscribed = errors.New("the device has no push subscription")
	// ErrLimited: too often, or too much at once. Later it may work.
	ErrLimited = errors.New("too many pushes")
	// ErrSubscription: not a usable subscription; the text says why.
	ErrSubscription = errors.New("unusable push subscription")
	// ErrDead: the push service has ended this subscription. The app has to make
	// another.
	ErrDead = errors.New("the push service has ended this subscription: make a new one")
	// ErrUnreachable: the push service was not reached, or has not answered.
	ErrUnreachable = errors.New("the push service does not answer")
	// ErrFull: the hub keeps MaxSubscriptions already.
	ErrFull = errors.New("the hub keeps no more push subscriptions")
)

// RefusedError is a push that its service refused.
type RefusedError struct {
	Status int    // of HTTP
	Reason string // as the service gives it, shortened, without what names the subscription; may be empty
}

// Error implements error.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("the push service answered %d", e.Status)
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// Config is what a Service is made from.
type Config struct {
	// Store keeps the VAPID keys and the subscriptions. Required.
	Store Store
	// KeyFile keeps the VAPID keys as well; nil: only Store does.
	KeyFile KeyFile
	// Subject is how a push service reaches who runs the hub (RFC 8292 section
	// 2.1): what pushsubject.Parse or pushsubject.For returns. Required.
	Subject string
	// Log is where refused pushes and dropped subscriptions are told; nil: nowhere.
	Log *slog.Logger
	// Loopback, if not nil, lets endpoints be on the loopback interface, on any
	// port, with certificates from this pool. For tests: it makes the hub a way
	// into the machine it runs on.
	Loopback *x509.CertPool
}

// Service sends pushes. It may be used concurrently.
type Service struct {
	store    Store
	subject  string
	log      *slog.Logger
	now      func() time.Time // time.Now but in tests
	loopback bool
	keys     vapidKeys
	// How pushes go out: to the push services that browsers come with, and to all
	// others, whose failures must not cost the first their connections.
	knownWay, otherWay way
	firstAttempt       time.Duration // the constant but in tests

	closed context.Context // ends with Close, and the sends with it
	close  context.CancelFunc

	// Slots bound the sends that are under way: one set for the push services
	// that browsers come with, one for all others, so that whoever subscribes
	// with a slow endpoint of their own stops only their kind.
	known, other chan struct{}
	// Each subscription is read and written by one at a time.
	locks [64]chan struct{}

	waking, woken, subscribing *limiter

	mu            sync.Mutex
	subscriptions records
	dead          records
	holds         map[device.ID]time.Time // until when a push service wants no more for it
}

// New reads the VAPID keys from the store, or makes them there at the first
// start. Call Close in the end.
func New(ctx context.Context, c Config) (*Service, error) {
	subject, err := pushsubject.Parse(c.Subject)
	if err != nil {
		return nil, fmt.Errorf("push: subject: %w", err)
	}
	s := &Service{
		store: c.Store, subject: subject, log: c.Log, now: time.Now,
		loopback: c.Loopback != nil, firstAttempt: firstAttempt,
		knownWay: way{roots: c.Loopback, known: true}, otherWay: way{roots: c.Loopback}, holds: map[device.ID]time.Time{},
		known: make(chan struct{}, 64), other: make(chan struct{}, 16),
		waking:      newLimiter(wakingBurst, wakingEvery),
		woken:       newLimiter(wokenBurst, wokenEvery),
		subscribing: newLimiter(subscribeBurst, subscribeEvery),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.subscriptions = records{prefix: subscriptionPrefix, keep: s.fresh, most: MaxSubscriptions}
	s.dead = records{prefix: deadPrefix, keep: s.remembered, most: MaxDead}
	for i := range s.locks {
		s.locks[i] = make(chan struct{}, 1)
	}
	keys, fresh, err := loadKeys(ctx, c.Store, c.KeyFile, s.log)
	if err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	s.keys = keys
	if fresh {
		if err := s.forgetSubscriptions(ctx); err != nil {
			return nil, fmt.Errorf("push: %w", err)
		}
	}
	s.closed, s.close = context.WithCancel(context.Background())
	return s, nil
}

// VAPIDKey returns the public key by which push services know this hub: an
// uncompressed P-256 point in unpadded base64url, as the Push API's
// applicationServerKey takes it.
func (s *Service) VAPIDKey() string { return s.keys.public }

// Close ends the sends that are under way.
func (s *Service) Close() {
	s.close()
	s.knownWay.close()
	s.otherWay.close()
}

// lock waits for the device's turn.
func (s *Service) lock(ctx context.Context, id device.ID) (unlock func(), err error) {
	turn := s.locks[int(id[0])%len(s.locks)]
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
