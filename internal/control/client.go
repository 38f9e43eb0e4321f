package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"vmux/internal/hubpage"
	"vmux/internal/wire"
)

// maxAnswer bounds one record that a client reads.
const maxAnswer = 8 << 20

// Client speaks to a running agent. Every method fails with ErrNotRunning when
// there is none, and with *Error when the agent refuses. Safe for concurrent
// use. It connects anew for each call, and so leaves nothing to close.
type Client struct {
	err      error // what every method fails with
	http     *http.Client
	patience time.Duration // with an agent that is asked how it stands
}

// patience is far longer than an agent takes that is alive: its status waits for nobody.
const patience = 10 * time.Second

// NewClient returns a client of the control socket at path, or, if err is not nil,
// one whose methods fail with that: what came of looking for the path. It does not
// connect yet.
func NewClient(path string, err error) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return Dial(ctx, path, "agent") }
	return &Client{err, &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, patience}
}

// Status tells how it stands. An agent that is stopped, or hangs, is not waited for.
func (c *Client) Status(ctx context.Context) (Status, error) {
	bounded, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	s, err := call[Status](bounded, c, http.MethodGet, "status", nil)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		err = wire.WithHint(errors.New("the agent does not answer"), "vmux doctor")
	}
	s.here()
	return s, err
}

// here has times where the client is: the agent may have been started in another time zone,
// by a journey or by TZ.
func (s *Status) here() {
	if s.Certificate.State == CertificateValid {
		s.CertificateLine = s.Certificate.Sentence()
	}
}

// Watch calls each with the status now and after every change, until ctx ends,
// the agent stops, or each returns an error, which Watch returns.
func (c *Client) Watch(ctx context.Context, each func(Status) error) error {
	return c.watch(ctx, "watch", each)
}

// WatchAndNotify is Watch for a client that shows notifications, in place of the agent.
func (c *Client) WatchAndNotify(ctx context.Context, each func(Status) error) error {
	return c.watch(ctx, "watch?notify=1", each)
}

func (c *Client) watch(ctx context.Context, path string, each func(Status) error) error {
	return stream(ctx, c, http.MethodGet, path, nil, func(s Status) error {
		s.here()
		return each(s)
	})
}

// Pair opens an invitation and calls each with the invitation, then with the
// paired device, and then returns nil. Its end, by ctx or by an error of each,
// ends the invitation. Expiry and wrong proofs are an *Error.
func (c *Client) Pair(ctx context.Context, o PairOptions, each func(PairEvent) error) error {
	paired := false
	err := stream(ctx, c, http.MethodPost, "pair", o, func(e PairEvent) error {
		if e.Error != nil {
			return e.Error
		}
		paired = paired || e.Paired != nil
		return each(e)
	})
	if err == nil && !paired {
		return errors.New("the agent ended the pairing")
	}
	return err
}

// RefreshKeys asks all connected phones for their keys. It fails with
// wire.CodePhoneNotReachable when none answers.
func (c *Client) RefreshKeys(ctx context.Context) (RefreshResult, error) {
	return call[RefreshResult](ctx, c, http.MethodPost, "keys/refresh", nil)
}

// RequestCertificate asks a phone for a session certificate and waits for the
// user's decision there.
func (c *Client) RequestCertificate(ctx context.Context, o CertificateOptions) (Certificate, error) {
	return call[Certificate](ctx, c, http.MethodPost, "certificate", o)
}

// ShowCertificate returns the session certificate; its State says whether there
// is one.
func (c *Client) ShowCertificate(ctx context.Context) (Certificate, error) {
	return call[Certificate](ctx, c, http.MethodGet, "certificate", nil)
}

// Withdraw ends a request that waits: its client is told that it was refused.
func (c *Client) Withdraw(ctx context.Context, requestID string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "waiting/"+url.PathEscape(requestID), nil)
	return err
}

// Devices lists the paired phones by name.
func (c *Client) Devices(ctx context.Context) ([]Device, error) {
	return call[[]Device](ctx, c, http.MethodGet, "devices", nil)
}

// Ping asks each connected phone for a sign of life, waits a few seconds at most, and
// lists the phones as Devices does, with the round trips of those that answered.
func (c *Client) Ping(ctx context.Context) ([]Device, error) {
	return call[[]Device](ctx, c, http.MethodPost, "ping", nil)
}

// Unpair ends the pairing with the device of that name, ID or beginning of an
// ID, and returns what it was.
func (c *Client) Unpair(ctx context.Context, device string) (Device, error) {
	return call[Device](ctx, c, http.MethodDelete, "devices/"+url.PathEscape(device), nil)
}

// Wake has the hub wake the phone of that name, or all that have said that they can
// be woken, and returns what came of it.
func (c *Client) Wake(ctx context.Context, device string) ([]Woken, error) {
	return call[[]Woken](ctx, c, http.MethodPost, "ring", wake{device})
}

// CA lists the CAs of the paired phones that have one.
func (c *Client) CA(ctx context.Context) ([]CA, error) {
	return call[[]CA](ctx, c, http.MethodGet, "ca", nil)
}

// AcceptCA accepts the CA that a phone uses now, after a change. Fingerprint
// must be the one that the user has compared; empty accepts whatever it is.
func (c *Client) AcceptCA(ctx context.Context, device, fingerprint string) (CA, error) {
	return call[CA](ctx, c, http.MethodPost, "ca/accept", acceptCA{device, fingerprint})
}

// ClaimGit tells what the git signature that is asked for next is for, so that
// the phone can show it beside what the signed bytes prove.
func (c *Client) ClaimGit(ctx context.Context, claim GitClaim) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, "git", claim)
	return err
}

// VerifyHub compares the page of the agent's hub with the one of its build.
func (c *Client) VerifyHub(ctx context.Context) (hubpage.Report, error) {
	return call[hubpage.Report](ctx, c, http.MethodPost, "hub/verify", nil)
}

type wake struct {
	Device string `json:"device,omitempty"`
}

type acceptCA struct {
	Device      string `json:"device"`
	Fingerprint string `json:"fingerprint,omitempty"`
}

func call[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var answer T
	r, err := c.do(ctx, method, path, body)
	if err != nil {
		return answer, err
	}
	defer r.Body.Close()
	if err := json.NewDecoder(io.LimitReader(r.Body, maxAnswer)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("read the agent's answer: %w", err)
	}
	return answer, nil
}

func stream[T any](ctx context.Context, c *Client, method, path string, body any, each func(T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	for d := json.NewDecoder(r.Body); ; {
		var record T
		if err := d.Decode(&record); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the agent's answer: %w", err)
		}
		if err := each(record); err != nil {
			return err
		}
	}
}

// do sends a request and turns refusals into errors.
func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	if c.err != nil {
		return nil, c.err
	}
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://agent"+pathPrefix+path, &b)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	answer, err := c.http.Do(r)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNotRunning
	case err != nil:
		return nil, fmt.Errorf("ask the agent: %w", err)
	case answer.StatusCode == http.StatusOK:
		return answer, nil
	}
	defer answer.Body.Close()
	var refusal Error
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&refusal); err != nil || refusal.Code == "" {
		return nil, fmt.Errorf("the agent answered %s", answer.Status)
	}
	return nil, &refusal
}
