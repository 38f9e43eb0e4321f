package front

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
)

// The challenges that the hub can answer, by the port that the authority uses.
const (
	overTLS  = "tls-alpn-01"
	overHTTP = "http-01"
)

// order obtains a certificate by one of the ways, each with an order of its own,
// since an authorization that has failed once stays so.
func (w *acmeWay) order(ctx context.Context, name string, ways []string) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	if err := w.register(ctx); err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	var failed []error
	for _, way := range ways {
		c, err := w.orderBy(ctx, name, way)
		if err == nil {
			return c, nil
		}
		w.log.Warn("the certificate authority's answer", "name", name, "challenge", way, "answer", reason(err))
		failed = append(failed, &attempt{way, err})
		if _, limited := limit(err); limited || !refused(err) {
			break
		}
	}
	return nil, errors.Join(failed...)
}

// register has the authority know the hub, or finds that it does. It is asked before each
// order: an authority that was set up anew knows nobody (caddyserver/certmagic#269).
func (w *acmeWay) register(ctx context.Context) error {
	if w.binding != nil { // which some authorities take once only (publishlab/node-acme-client#42)
		if _, err := w.client.GetReg(ctx, ""); err == nil {
			return nil
		}
	}
	account := &acme.Account{ExternalAccountBinding: w.binding}
	if w.email != "" {
		account.Contact = []string{"mailto:" + w.email}
	}
	_, err := w.client.Register(ctx, account, acme.AcceptTOS)
	if err == nil || errors.Is(err, acme.ErrAccountAlreadyExists) {
		return nil
	}
	w.log.Warn("the certificate authority's answer", "answer", reason(err))
	return err
}

func (w *acmeWay) orderBy(ctx context.Context, name, way string) (*tls.Certificate, error) {
	o, err := w.client.AuthorizeOrder(ctx, acme.DomainIDs(name))
	if err != nil {
		return nil, err
	}
	w.log.Info("certificate ordered", "name", name, "challenge", way, "status", o.Status)
	for _, url := range o.AuthzURLs {
		if err := w.authorize(ctx, name, way, url); err != nil {
			return nil, err
		}
	}
	if o, err = w.client.WaitOrder(ctx, o.URI); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
	}, key)
	if err != nil {
		return nil, err
	}
	chain, _, err := w.client.CreateOrderCert(ctx, o.FinalizeURL, csr, true)
	if err != nil {
		return nil, err
	}
	return w.save(name, key, chain)
}

// authorize shows the authority that the hub has the name.
func (w *acmeWay) authorize(ctx context.Context, name, way, url string) error {
	z, err := w.client.GetAuthorization(ctx, url)
	if err != nil || z.Status == acme.StatusValid {
		return err
	}
	at := slices.IndexFunc(z.Challenges, func(c *acme.Challenge) bool { return c.Type == way })
	if at < 0 {
		return fmt.Errorf("the authority does not offer the challenge %s", way)
	}
	challenge := z.Challenges[at]
	done, err := w.prepare(name, challenge)
	if err != nil {
		return err
	}
	defer done()
	if _, err := w.client.Accept(ctx, challenge); err != nil {
		return err
	}
	_, err = w.client.WaitAuthorization(ctx, z.URI)
	return err
}

// prepare has the listeners give the challenge's answer until done is called.
func (w *acmeWay) prepare(name string, c *acme.Challenge) (done func(), err error) {
	if c.Type == overTLS {
		shown, err := w.client.TLSALPN01ChallengeCert(c.Token, name)
		if err != nil {
			return nil, err
		}
		w.locked(func() { w.shown[name] = &shown })
		return func() { w.locked(func() { delete(w.shown, name) }) }, nil
	}
	text, err := w.client.HTTP01ChallengeResponse(c.Token)
	if err != nil {
		return nil, err
	}
	path := w.client.HTTP01ChallengePath(c.Token)
	w.locked(func() { w.answers[path] = text })
	return func() { w.locked(func() { delete(w.answers, path) }) }, nil
}

func (w *acmeWay) locked(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// attempt is one way that has failed.
type attempt struct {
	way string
	err error
}

// Error implements error.
func (a *attempt) Error() string { return a.way + ": " + reason(a.err) }

// Unwrap returns the cause.
func (a *attempt) Unwrap() error { return a.err }

// refused reports whether it is the authority that says no, which counts there,
// and not the network, or a server of it that is out of order.
func refused(err error) bool {
	answer, said := errors.AsType[*acme.Error](err)
	_, authorization := errors.AsType[*acme.AuthorizationError](err)
	_, order := errors.AsType[*acme.OrderError](err)
	return said && answer.StatusCode < 500 || authorization || order
}

// limit returns how long the authority wants to be left alone, if it does.
func limit(err error) (time.Duration, bool) {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range several.Unwrap() {
			if wait, limited := limit(err); limited {
				return wait, true
			}
		}
		return 0, false
	}
	if answer, ok := errors.AsType[*acme.Error](err); ok {
		return acme.RateLimit(answer)
	}
	return 0, false
}

// reason is what an error says to people, on one line. What the authority found
// when it looked for the hub stands within the error of an authorization.
func reason(err error) string {
	if a, ok := err.(*acme.AuthorizationError); ok && len(a.Errors) > 0 {
		err = errors.Join(a.Errors...)
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}
