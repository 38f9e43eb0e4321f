package push

import (
	"context"
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"vmux/internal/device"
)

const (
	// maxSubscription bounds a subscription's JSON, maxEndpoint its URL, in bytes.
	maxSubscription = 4 << 10
	maxEndpoint     = 2 << 10
	authSize        = 16 // RFC 8291 section 3.2

	subscriptionPrefix = "subscription."
	// A count of all subscriptions is read anew after recount; what is stale is
	// looked for when there is no room, as often.
	recount = 10 * time.Minute
)

// browserSubscription is PushSubscription.toJSON() of the Push API.
type browserSubscription struct {
	Endpoint string `json:"endpoint"`
	Keys     struct {
		P256dh string `json:"p256dh"`
		Auth   string `json:"auth"`
	} `json:"keys"`
}

// storedSubscription is how a subscription rests in the store.
type storedSubscription struct {
	Endpoint string      `json:"endpoint"`
	P256dh   []byte      `json:"p256dh"`
	Auth     []byte      `json:"auth"`
	Allow    []device.ID `json:"allow"`   // who may wake the device
	Renewed  int64       `json:"renewed"` // Unix seconds
}

// Subscribe replaces the device's subscription: where it is to be woken, and by
// whom. The subscription is PushSubscription.toJSON() of the Push API, at most
// 4 KiB; ErrSubscription says what is wrong with it. ErrDead: its push service has
// ended it, so that the device has to unsubscribe and to subscribe anew; the last
// one of the device is forgotten.
func (s *Service) Subscribe(ctx context.Context, id device.ID, subscription json.RawMessage, allow []device.ID) error {
	if !s.subscribing.take(id, s.now()) {
		return ErrLimited
	}
	sub, err := s.parse(subscription)
	if errors.Is(err, ErrDead) {
		return errors.Join(err, s.Unsubscribe(ctx, id))
	}
	if err != nil {
		return err
	}
	if len(allow) > device.MaxPeers {
		return fmt.Errorf("%w: over %d devices may wake it", ErrSubscription, device.MaxPeers)
	}
	sub.Allow, sub.Renewed = slices.Clone(allow), s.now().Unix()
	unlock, err := s.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	dead, err := s.isDead(ctx, sub.Endpoint)
	if err != nil {
		return err
	}
	if dead {
		return errors.Join(ErrDead, s.store.Delete(ctx, name(id)))
	}
	old, err := s.load(ctx, id)
	if err != nil {
		return err
	}
	if old == nil {
		switch room, err := s.makeRoom(ctx, &s.subscriptions); {
		case err != nil:
			return err
		case !room:
			return ErrFull
		}
	}
	if old != nil && old.Endpoint != sub.Endpoint {
		s.release(id)
	}
	return s.save(ctx, id, sub)
}

// Allow changes who may wake the device, and nothing else. A device without a
// subscription is no error.
func (s *Service) Allow(ctx context.Context, id device.ID, allow []device.ID) error {
	if len(allow) > device.MaxPeers {
		return fmt.Errorf("%w: over %d devices may wake it", ErrSubscription, device.MaxPeers)
	}
	unlock, err := s.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	sub, err := s.load(ctx, id)
	if err != nil || sub == nil || slices.Equal(sub.Allow, allow) {
		return err
	}
	sub.Allow = slices.Clone(allow)
	return s.save(ctx, id, sub)
}

// Unsubscribe forgets the device's subscription; that there is none is no error.
func (s *Service) Unsubscribe(ctx context.Context, id device.ID) error {
	unlock, err := s.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.store.Delete(ctx, name(id)); err != nil {
		return fmt.Errorf("delete push subscription: %w", err)
	}
	return nil
}

// drop forgets a subscription that its push service says is dead, unless the
// device has renewed it meanwhile, which it reports, and remembers its address.
func (s *Service) drop(ctx context.Context, id device.ID, endpoint string) (renewed bool, err error) {
	if err := s.bury(ctx, endpoint); err != nil {
		return false, err
	}
	unlock, err := s.lock(ctx, id)
	if err != nil {
		return false, err
	}
	defer unlock()
	sub, err := s.load(ctx, id)
	if err != nil || sub == nil {
		return false, err
	}
	if sub.Endpoint != endpoint {
		return true, nil
	}
	return false, s.store.Delete(ctx, name(id))
}

func name(id device.ID) string { return subscriptionPrefix + id.String() }

// load returns the device's subscription, or nil if it has none. A damaged one
// is none: the app renews it.
func (s *Service) load(ctx context.Context, id device.ID) (*storedSubscription, error) {
	b, err := s.store.Get(ctx, name(id))
	if err != nil {
		return nil, fmt.Errorf("read push subscription: %w", err)
	}
	if b == nil {
		return nil, nil
	}
	sub := &storedSubscription{}
	if json.Unmarshal(b, sub) != nil || sub.Endpoint == "" {
		s.log.Warn("damaged push subscription", "device", id.Short())
		return nil, nil
	}
	return sub, nil
}

func (s *Service) save(ctx context.Context, id device.ID, sub *storedSubscription) error {
	b, err := json.Marshal(sub)
	if err != nil {
		return err
	}
	if err := s.store.Put(ctx, name(id), b); err != nil {
		return fmt.Errorf("store push subscription: %w", err)
	}
	return nil
}

// records are those of one kind in the store.
type records struct {
	prefix  string
	keep    func(record []byte) bool // whether one still counts
	most    int                      // the constant but in tests
	count   int                      // what there was at counted, and what was added since
	counted time.Time
}

// makeRoom counts one record more, or says that there is no room. If all is taken, what
// counts no more is deleted. The count is of the whole store but not exact: other hubs
// may write to it.
func (s *Service) makeRoom(ctx context.Context, r *records) (bool, error) {
	s.mu.Lock()
	due := r.counted.IsZero() || s.now().Sub(r.counted).Abs() >= recount
	if due { // for this caller alone
		r.counted = s.now()
	}
	s.mu.Unlock()
	if due {
		names, err := s.names(ctx, r.prefix)
		if err != nil {
			return false, err
		}
		count := len(names)
		if count >= r.most {
			count -= s.removeOld(ctx, r, names)
		}
		s.mu.Lock()
		r.count = count
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.count >= r.most {
		return false, nil
	}
	r.count++
	return true, nil
}

func (s *Service) names(ctx context.Context, prefix string) ([]string, error) {
	keys, err := s.store.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list push subscriptions: %w", err)
	}
	return slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix) }), nil
}

// removeOld deletes the records that count no more, and returns how many.
func (s *Service) removeOld(ctx context.Context, r *records, names []string) (removed int) {
	for _, key := range names {
		b, err := s.store.Get(ctx, key)
		if err == nil && b != nil && !r.keep(b) && s.store.Delete(ctx, key) == nil {
			removed++
		}
	}
	if r == &s.subscriptions {
		s.log.Info("stale push subscriptions removed", "number", removed)
	}
	return removed
}

// fresh reports whether somebody has renewed the subscription within StaleAfter.
func (s *Service) fresh(b []byte) bool {
	var sub storedSubscription
	return json.Unmarshal(b, &sub) == nil && sub.Renewed >= s.now().Add(-StaleAfter).Unix()
}

// parse checks what a device sent. The endpoint is an address that this hub is
// going to send requests to, chosen by somebody unknown: the name is looked at here,
// the address behind it at each connection (guard.go).
func (s *Service) parse(b json.RawMessage) (*storedSubscription, error) {
	bad := func(why string) (*storedSubscription, error) {
		return nil, fmt.Errorf("%w: %s", ErrSubscription, why)
	}
	var from browserSubscription
	if len(b) > maxSubscription {
		return bad("over 4 KiB")
	}
	if json.Unmarshal(b, &from) != nil {
		return bad("not the JSON of a PushSubscription")
	}
	if madeUp(from.Endpoint) {
		return nil, ErrDead
	}
	if why := s.checkEndpoint(from.Endpoint); why != "" {
		return bad(why)
	}
	sub := &storedSubscription{Endpoint: from.Endpoint}
	var err error
	if sub.P256dh, err = decode(from.Keys.P256dh); err != nil {
		return bad("p256dh is not base64url")
	}
	if _, err := ecdh.P256().NewPublicKey(sub.P256dh); err != nil {
		return bad("p256dh is not a point of P-256")
	}
	if sub.Auth, err = decode(from.Keys.Auth); err != nil || len(sub.Auth) != authSize {
		return bad("auth is not 16 bytes of base64url")
	}
	return sub, nil
}

func decode(s string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
}

// localNames are those that no public DNS knows (RFC 6761, 6762, 7686, 8375).
var localNames = []string{"local", "localhost", "onion", "internal", "home.arpa"}

// checkEndpoint says what is wrong with the URL, or nothing.
func (s *Service) checkEndpoint(endpoint string) string {
	u, err := url.Parse(endpoint)
	switch {
	case len(endpoint) > maxEndpoint:
		return "the endpoint's URL is too long"
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return "the endpoint is not an https URL"
	case u.User != nil || u.Fragment != "":
		return "the endpoint's URL has a user or a fragment"
	case s.loopback:
		return ""
	case u.Port() != "" && u.Port() != "443":
		return "the endpoint's port is not 443"
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil || !strings.Contains(u.Hostname(), ".") || under(u.Hostname(), localNames...) {
		return "the endpoint's host is not a public name"
	}
	return ""
}
