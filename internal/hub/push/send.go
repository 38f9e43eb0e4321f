package push

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"

	webpush "github.com/SherClockHolmes/webpush-go"

	"vmux/internal/device"
)

const (
	// Payload is what every push carries, encrypted for the app's service worker.
	Payload = `{"type":"waiting"}`

	// ttl is how long a push service may keep a push for a phone that is away, in
	// seconds: longer than the request waits, the news would be stale.
	ttl = 100
	// topic lets a newer push replace one that was not delivered yet (RFC 8030
	// section 5.4): one wake-up, however often it was asked for.
	topic = "waiting"
	// recordSize is the size of the encrypted body in bytes: the payload, padded.
	recordSize = 256
)

// Wake wakes the device `to` on behalf of `from`, which may be the same (a person
// tries whether it works), and returns when its push
// service has taken the push. ErrNotSubscribed: it has no subscription, it does
// not allow `from`, or its push service says that the subscription is dead, which
// is then forgotten. ErrLimited: too often or too many at once.
func (s *Service) Wake(ctx context.Context, from, to device.ID) error {
	if !s.waking.take(from, s.now()) {
		return ErrLimited
	}
	err := s.wake(ctx, from, to)
	if errors.Is(err, errRenewed) {
		err = s.wake(ctx, from, to)
	}
	return err
}

// errRenewed is that the device had subscribed anew when its push service said that the
// last subscription is dead: apps are opened just when something waits.
var errRenewed = fmt.Errorf("%w any more, but another", ErrNotSubscribed)

func (s *Service) wake(ctx context.Context, from, to device.ID) error {
	sub, err := s.load(ctx, to)
	if err != nil {
		return err
	}
	if sub == nil || from != to && !slices.Contains(sub.Allow, from) {
		return ErrNotSubscribed
	}
	// Only now: who may not wake the device must not use up what those have who may.
	if !s.woken.take(to, s.now()) {
		return ErrLimited
	}
	if s.held(to) {
		return fmt.Errorf("%w: the push service wants no more for a while", ErrLimited)
	}
	got, err := s.send(ctx, sub)
	if err != nil {
		if !errors.Is(err, ErrLimited) && !errors.Is(err, context.Canceled) {
			s.log.Warn("push not sent", "device", to.Short(), "service", serviceOf(sub.Endpoint), "reason", err)
		}
		return err
	}
	return s.judge(ctx, to, sub, got)
}

// send posts the push.
func (s *Service) send(ctx context.Context, sub *storedSubscription) (answer, error) {
	slots, to := s.other, &s.otherWay
	if isKnown(sub.Endpoint) {
		slots, to = s.known, &s.knownWay
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	default:
		return answer{}, ErrLimited
	}
	ctx, cancel := context.WithTimeout(ctx, SendTimeout)
	defer cancel()
	defer context.AfterFunc(s.closed, cancel)()
	d := &delivery{service: s, way: to, endpoint: sub.Endpoint}
	_, err := webpush.SendNotificationWithContext(ctx, []byte(Payload), &webpush.Subscription{
		Endpoint: sub.Endpoint,
		Keys: webpush.Keys{
			Auth:   base64.RawURLEncoding.EncodeToString(sub.Auth),
			P256dh: base64.RawURLEncoding.EncodeToString(sub.P256dh),
		},
	}, &webpush.Options{
		HTTPClient: d, TTL: ttl, Topic: topic, Urgency: webpush.UrgencyHigh, RecordSize: recordSize,
		// What it makes of these is replaced by delivery.
		VAPIDPublicKey: s.keys.public, VAPIDPrivateKey: s.keys.private, Subscriber: s.subject,
	})
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrUnreachable, withoutURL(err))
	}
	return d.got, nil
}

// withoutURL takes the endpoint out of the error: whoever knows it and the keys
// can wake the phone.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// judge says what an answer means (RFC 8030 sections 5 and 7.3).
func (s *Service) judge(ctx context.Context, to device.ID, sub *storedSubscription, got answer) error {
	log := s.log.With("device", to.Short(), "service", serviceOf(sub.Endpoint), "status", got.status, "reason", got.reason)
	switch {
	case got.dropped:
		log.Warn("push taken and dropped")
	case got.status >= 200 && got.status < 300:
		s.log.Debug("push taken", "device", to.Short(), "service", serviceOf(sub.Endpoint), "status", got.status)
		return nil
	case got.dead():
		log.Info("dead push subscription dropped")
		switch renewed, err := s.drop(ctx, to, sub.Endpoint); {
		case err != nil:
			return err
		case renewed:
			return errRenewed
		}
		return ErrNotSubscribed
	case got.again():
		log.Warn("push refused for now", "retry after", got.retryAfter)
		s.hold(to, got.retryAfter)
		if got.limits() {
			return fmt.Errorf("%w: %w", ErrLimited, &RefusedError{got.status, got.reason})
		}
	case got.unauthorized():
		// Apple says BadJwtToken of a subject that it cannot look up and of an
		// expiry that is not within the next day.
		log.Warn("push refused", "subject", s.subject, "hint", "name a contact of the public DNS by --push-subject, and set this machine's clock")
	default:
		log.Warn("push refused")
	}
	return &RefusedError{got.status, got.reason}
}
