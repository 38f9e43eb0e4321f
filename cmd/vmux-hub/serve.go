package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"vmux/internal/hub"
)

// serve runs a hub until ctx ends, or its input if that is wanted.
func serve(ctx context.Context, o options, in io.Reader, errs io.Writer) error {
	log := newLog(errs, o.verbose)
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	if o.publicURL == "" {
		_, port, _ := net.SplitHostPort(listener.Addr().String())
		o.publicURL = "http://localhost:" + port
	}
	h, err := hub.New(hub.Config{
		PublicURL: o.publicURL, StateDir: o.state, NATSURL: o.nats, NATSCredentials: o.natsCreds,
		BehindProxy: o.behindProxy, PushSubject: o.pushSubject, Log: log,
	})
	if err != nil {
		return err
	}
	server := newServer(h, log)
	served := make(chan error, 1)
	go func() { served <- listen(server, listener, o) }()
	log.Info("hub is ready", "url", h.Origin(), "address", listener.Addr().String())

	if o.endWithInput {
		var end context.CancelFunc
		ctx, end = context.WithCancel(ctx)
		defer end()
		go func() { _, _ = io.Copy(io.Discard, in); end() }()
	}
	select {
	case err = <-served:
	case <-ctx.Done():
		log.Info("hub ends")
	}
	h.Close()
	farewell, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if server.Shutdown(farewell) != nil {
		_ = server.Close()
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// newServer bounds what strangers can hold before the hub knows of them.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

func listen(server *http.Server, listener net.Listener, o options) error {
	if o.tlsCert == "" {
		return server.Serve(listener)
	}
	certificate := &certificateFile{cert: o.tlsCert, key: o.tlsKey}
	if _, err := certificate.get(nil); err != nil {
		return err
	}
	server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate.get}
	return server.ServeTLS(listener, "", "")
}

// certificateFile is a certificate that is read again when its file changes, so
// that a renewed one needs no new start.
type certificateFile struct {
	cert, key string

	mu      sync.Mutex
	loaded  *tls.Certificate
	changed time.Time // of the file that was loaded
}

func (f *certificateFile) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.cert)
	if f.loaded != nil && (err != nil || info.ModTime().Equal(f.changed)) {
		return f.loaded, nil
	}
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil && f.loaded != nil {
		return f.loaded, nil // half written: the next handshake tries again
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.cert, err)
	}
	f.loaded, f.changed = &pair, info.ModTime()
	return f.loaded, nil
}
