package push

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	// firstAttempt is how long the first attempt may take when a second one can
	// follow: services answer within a second, and what they do not answer went
	// into a connection that is dead.
	firstAttempt = 4 * time.Second
	// usualPause is before a second attempt where the service names none, and
	// maxPause what is waited for at most.
	usualPause = time.Second
	maxPause   = 5 * time.Second
	// clockApart is the difference of two clocks that can make a token invalid.
	clockApart = 5 * time.Minute
)

// way is how pushes of one kind go out. Its client is made anew where it may
// hold a connection that is dead.
type way struct {
	roots *x509.CertPool
	known bool // to the services of knownHosts alone

	mu     sync.Mutex
	client *http.Client
}

// get returns the client; not that one.
func (w *way) get(not *http.Client) *http.Client {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client == nil || w.client == not {
		w.client = newClient(w.roots, w.known)
	}
	return w.client
}

// leave ends the connections of a client that is in use no more. Those with a
// push under way are ended by who waits for it.
func (w *way) leave(c *http.Client) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client != c {
		c.CloseIdleConnections()
	}
}

func (w *way) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client != nil {
		w.client.CloseIdleConnections()
	}
}

// delivery posts one push, at most twice: on a new connection where the first
// has no answer, after a pause where the service asks for one, and with a token
// by the service's clock where this machine's is off.
type delivery struct {
	service  *Service
	way      *way
	endpoint string
	got      answer // the last
}

// Do implements webpush.HTTPClient.
func (d *delivery) Do(req *http.Request) (*http.Response, error) {
	err := d.deliver(req)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: d.got.status, Body: http.NoBody}, nil
}

func (d *delivery) deliver(push *http.Request) error {
	s := d.service
	ctx, now := push.Context(), s.now()
	client := d.way.get(nil)
	log := s.log.With("service", serviceOf(d.endpoint))
	err := d.attempt(push, client, now, s.firstAttempt)
	switch got := d.got; {
	case err != nil && (ctx.Err() != nil || errors.Is(err, errNotPublic)):
		return err
	case err != nil:
		log.Info("no answer to a push: once more on a new connection", "reason", withoutURL(err))
		client = d.way.get(client)
	case got.unauthorized() && !got.clock.IsZero() && got.clock.Sub(now).Abs() > clockApart:
		log.Warn("this machine's clock and a push service's are apart: once more by its clock",
			"by", got.clock.Sub(now).Round(time.Second), "status", got.status, "reason", got.reason)
		now = got.clock
	case got.again() && got.retryAfter <= maxPause:
		log.Info("push not taken: once more after a pause", "status", got.status, "reason", got.reason, "pause", got.retryAfter)
		pause := time.NewTimer(got.retryAfter)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	default:
		return nil
	}
	return d.attempt(push, client, now, SendTimeout)
}

// attempt posts the push with a token that is valid at now, and waits for the
// answer as long as patience allows.
func (d *delivery) attempt(push *http.Request, client *http.Client, now time.Time, patience time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(push.Context(), patience, errNoAnswer)
	defer d.way.leave(client)
	defer cancel()
	req := push.Clone(ctx)
	token, err := d.service.keys.authorization(req.URL, d.service.subject, now)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", token)
	if req.Body, err = push.GetBody(); err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		if errors.Is(context.Cause(ctx), errNoAnswer) {
			return errNoAnswer
		}
		return err
	}
	d.got = readAnswer(resp, d.endpoint, now)
	return nil
}
