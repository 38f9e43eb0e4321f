package push

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	// section 5.4): one doorbell, however often it rang.
	topic = "waiting"
	// recordSize is the size of the encrypted body in bytes: the payload, padded.
	recordSize = 256
	// maxAnswer is how much of a push service's answer is read.
	maxAnswer = 4 << 10
)

// Wake rings the device `to` on behalf of `from`, which may be the same (a person
// tries whether it works), and returns when its push
// service has taken the push. ErrNotSubscribed: it has no subscription, it does
// not allow `from`, or its push service says that the subscription is dead, which
// is then forgotten. ErrLimited: too often or too many at once.
func (s *Service) Wake(ctx context.Context, from, to device.ID) error {
	if !s.waking.take(from, s.now()) {
		return ErrLimited
	}
	sub, err := s.load(ctx, to)
	if err != nil {
		return err
	}
	if sub == nil || from != to && !slices.Contains(sub.Allow, from) {
		return ErrNotSubscribed
	}
	// Only now: a stranger must not use up what the device's own may ring.
	if !s.woken.take(to, s.now()) {
		return ErrLimited
	}
	status, err := s.send(ctx, sub)
	if err != nil {
		return err
	}
	return s.judge(ctx, to, sub, status)
}

// send posts the push and returns the HTTP status of the answer.
func (s *Service) send(ctx context.Context, sub *storedSubscription) (int, error) {
	slots := s.other
	if isKnown(sub.Endpoint) {
		slots = s.known
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	default:
		return 0, ErrLimited
	}
	ctx, cancel := context.WithTimeout(ctx, SendTimeout)
	defer cancel()
	defer context.AfterFunc(s.closed, cancel)()
	resp, err := webpush.SendNotificationWithContext(ctx, []byte(Payload), &webpush.Subscription{
		Endpoint: sub.Endpoint,
		Keys: webpush.Keys{
			Auth:   base64.RawURLEncoding.EncodeToString(sub.Auth),
			P256dh: base64.RawURLEncoding.EncodeToString(sub.P256dh),
		},
	}, &webpush.Options{
		HTTPClient: s.client, Subscriber: s.subject, TTL: ttl, Topic: topic,
		Urgency: webpush.UrgencyHigh, RecordSize: recordSize,
		VAPIDPublicKey: s.keys.public, VAPIDPrivateKey: s.keys.private,
	})
	if err != nil {
		return 0, fmt.Errorf("send push: %w", withoutURL(err))
	}
	defer resp.Body.Close()
	// What is left unread costs the connection, no more.
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	return resp.StatusCode, nil
}

// withoutURL takes the endpoint out of the error: whoever knows it and the keys
// can ring the phone.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// judge says what an answer means (RFC 8030 sections 5 and 7.3).
func (s *Service) judge(ctx context.Context, to device.ID, sub *storedSubscription, status int) error {
	switch {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusNotFound || status == http.StatusGone:
		s.log.Info("dead push subscription dropped", "device", to.Short(), "status", status)
		if err := s.drop(ctx, to, sub.Endpoint); err != nil {
			return err
		}
		return ErrNotSubscribed
	case status == http.StatusTooManyRequests:
		return fmt.Errorf("%w: the push service says so", ErrLimited)
	}
	s.log.Warn("push refused", "device", to.Short(), "status", status)
	return fmt.Errorf("the push service answered %d", status)
}
