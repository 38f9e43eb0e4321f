package push

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A browser gives out a subscription that its push service has ended for as long as
// nobody unsubscribes, and the app brings it again at each start. So the hub keeps in
// mind which were dead. An address is never given out a second time; it is forgotten
// after a week so that the store does not grow, which costs one useless push.

const (
	// DeadFor is how long an address is remembered whose push service has said that
	// there is no such subscription, and MaxDead how many are: over it they are
	// forgotten at once, and found dead again.
	DeadFor = 7 * 24 * time.Hour
	MaxDead = 10_000

	deadPrefix = "dead."
)

// deadName is under which name an address is remembered. The address itself is not:
// whoever knows it and the keys could wake it.
func deadName(endpoint string) string {
	hash := sha256.Sum256([]byte(endpoint))
	return deadPrefix + hex.EncodeToString(hash[:16])
}

// isDead reports whether the push service of this address has said that it is dead.
func (s *Service) isDead(ctx context.Context, endpoint string) (bool, error) {
	b, err := s.store.Get(ctx, deadName(endpoint))
	if err != nil {
		return false, fmt.Errorf("read dead push subscriptions: %w", err)
	}
	return b != nil && s.remembered(b), nil
}

// remembered reports whether what is kept of a dead address still counts.
func (s *Service) remembered(b []byte) bool {
	seconds, err := strconv.ParseInt(string(b), 10, 64)
	return err == nil && s.now().Sub(time.Unix(seconds, 0)).Abs() < DeadFor
}

// under reports whether the host is one of these names or below.
func under(host string, names ...string) bool {
	host = "." + strings.TrimSuffix(strings.ToLower(host), ".")
	return slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(host, "."+name) })
}

// madeUp reports whether the address is one that a browser makes up: Chromium gives
// out https://permanently-removed.invalid/… between the end of a subscription and the
// next (RFC 2606 section 2: .invalid is no name).
func madeUp(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && under(u.Hostname(), "invalid")
}

// bury remembers that the address is dead, if there is room.
func (s *Service) bury(ctx context.Context, endpoint string) error {
	room, err := s.makeRoom(ctx, &s.dead)
	if err != nil || !room {
		return err
	}
	if err := s.store.Put(ctx, deadName(endpoint), strconv.AppendInt(nil, s.now().Unix(), 10)); err != nil {
		return fmt.Errorf("store dead push subscription: %w", err)
	}
	return nil
}
