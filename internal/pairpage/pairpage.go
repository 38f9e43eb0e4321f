// Package pairpage shows an invitation in a browser: one page on this machine's loopback,
// served for one pairing and gone with it. Every program and user of the machine can
// connect there, so that nothing but the page that was opened is told the invitation.
package pairpage

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

var (
	errTwice  = errors.New("the page was opened a second time, so that the invitation has ended")
	errClosed = errors.New("the page was closed, so that the invitation has ended")
)

// lastWords is how long the page has to ask how the pairing has ended.
const lastWords = 3 * time.Second

// Inviter is control.Client.Pair.
type Inviter func(ctx context.Context, o control.PairOptions, each func(control.PairEvent) error) error

// Show invites a phone, has open show the page with the invitation, whose URL it is
// given, and returns the phone that has paired. The end of ctx ends the invitation, and so
// does who closes the page, or opens it once more.
func Show(ctx context.Context, invite Inviter, open func(url string) error) (control.Device, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var phone control.Device
	var p *page
	err := invite(ctx, control.PairOptions{}, func(e control.PairEvent) (err error) {
		switch {
		case e.Invitation != nil:
			if p, err = serve(*e.Invitation, stop); err == nil {
				err = open(p.url())
			}
		case e.Paired != nil:
			phone = *e.Paired
		}
		return err
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if p != nil {
		p.end(phone, err)
	}
	return phone, err
}

// page is the page while it is served.
type page struct {
	invitation     control.Invitation
	address        string // what a browser names as its host
	path, waitPath string // each is told to one page
	stop           context.CancelCauseFunc
	server         *http.Server
	served         chan struct{}

	ended   chan struct{} // closed when outcome is set
	outcome string
	told    chan struct{} // the page has the outcome, or is gone
	tell    sync.Once

	mu    sync.Mutex
	shown bool
}

func serve(i control.Invitation, stop context.CancelCauseFunc) (*page, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve the page: %w", err)
	}
	p := &page{
		invitation: i, address: l.Addr().String(), path: "/" + rand.Text() + rand.Text(), waitPath: "/" + rand.Text() + rand.Text(),
		stop: stop, served: make(chan struct{}), ended: make(chan struct{}), told: make(chan struct{}),
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
	go func() {
		defer close(p.served)
		_ = p.server.Serve(l) // until it is closed
	}()
	return p, nil
}

func (p *page) url() string { return "http://" + p.address + p.path }

// end tells the page how it ended, and serves it no more.
func (p *page) end(phone control.Device, err error) {
	p.outcome = "Paired with " + wire.Show(phone.Name) + ". You can close this page."
	if err != nil {
		p.outcome = "Not paired: " + wire.Show(err.Error())
	}
	close(p.ended)
	p.mu.Lock()
	shown := p.shown
	p.mu.Unlock()
	if shown {
		select {
		case <-p.told:
		case <-time.After(lastWords):
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	if p.server.Shutdown(ctx) != nil { // once the answer has been sent
		_ = p.server.Close()
	}
	<-p.served
}

// ServeHTTP refuses pages of other names that resolve to this machine (DNS rebinding),
// and on Linux other users: the URL was an argument of the program that opened it, which
// all users can read.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Host != p.address || !ownUser(r.RemoteAddr, p.address):
		http.Error(w, "not for you", http.StatusForbidden)
	case r.Method == http.MethodGet && same(r.URL.Path, p.path):
		p.show(w)
	case r.Method == http.MethodPost && same(r.URL.Path, p.waitPath):
		p.wait(w, r)
	default:
		http.NotFound(w, r)
	}
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// show sends the page once. Who comes second may be the person whose page somebody else
// has seen: the invitation ends in any case.
func (p *page) show(w http.ResponseWriter) {
	p.mu.Lock()
	again := p.shown
	p.shown = true
	p.mu.Unlock()
	if again {
		p.stop(errTwice)
		http.Error(w, "This page is shown once, and its invitation has ended. Choose Pair Phone again.", http.StatusGone)
		return
	}
	nonce := rand.Text()
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+nonce+"'; script-src 'nonce-"+nonce+
		"'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	if err := document.Execute(w, contentOf(p.invitation, p.waitPath, nonce)); err != nil {
		p.stop(fmt.Errorf("show the page: %w", err))
	}
}

// wait answers when the pairing has ended. A page that goes away before has been closed.
func (p *page) wait(w http.ResponseWriter, r *http.Request) {
	defer p.tell.Do(func() { close(p.told) })
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_ = http.NewResponseController(w).Flush() // so that no browser gives up
	select {
	case <-p.ended:
		fmt.Fprint(w, p.outcome)
	case <-r.Context().Done():
		p.stop(errClosed)
	}
}
