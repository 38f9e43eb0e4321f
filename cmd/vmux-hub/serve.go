package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"

	"vmux/internal/hub"
	"vmux/internal/hub/front"
	"vmux/internal/hub/webapp"
	"vmux/web/phone"
)

// serve runs a hub until ctx ends, or its input if that is wanted.
func serve(ctx context.Context, o options, in io.Reader, errs io.Writer) error {
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: level}))
	o.front.Log = log
	f, err := front.Open(o.front)
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := hub.New(hub.Config{
		PublicURL: f.PublicURL(), StateDir: o.state, NATSURL: o.nats, NATSCredentials: o.natsCreds,
		App: lazyApp(log), PushSubject: o.pushSubject, Log: log,
	})
	if err != nil {
		return err
	}
	if o.endWithInput {
		var end context.CancelFunc
		ctx, end = context.WithCancel(ctx)
		defer end()
		go func() { _, _ = io.Copy(io.Discard, in); end() }()
	}
	listening, leave := context.WithCancel(context.Background())
	defer leave()
	served := make(chan error, 1)
	go func() { served <- f.Serve(listening, h) }()
	announce(log, h, f)

	select {
	case err = <-served:
		h.Close()
	case <-ctx.Done():
		log.Info("hub ends")
		h.Close() // first: it owns the WebSockets, and tells the devices
		leave()
		err = <-served
	}
	return err
}

// lazyApp serves the phone's web app, or says on its page that it was not built.
// The files are hashed when the first page is asked for: a hub that only relays
// never needs the memory.
func lazyApp(log *slog.Logger) http.Handler {
	if !phone.Built() {
		log.Warn("this hub was built without the phone app: make build")
	}
	open := sync.OnceValues(func() (http.Handler, error) {
		return webapp.New(phone.Files(), phone.ContentSecurityPolicy)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		app, err := open()
		if err != nil {
			log.Error("web app", "err", err)
			http.Error(w, "This hub's web app is damaged.", http.StatusInternalServerError)
			return
		}
		app.ServeHTTP(w, r)
	})
}

func announce(log *slog.Logger, h *hub.Hub, f *front.Front) {
	log.Info("hub is ready", "url", h.Origin(), "address", f.Addr().String())
	if u, err := url.Parse(h.Origin()); err == nil && u.Hostname() == "localhost" {
		log.Warn("passkeys belong to a host name, whatever the port: any other page at localhost can ask for signatures by those made there",
			"own name", "--public-url http://vmux.localhost:"+u.Port())
	}
	if url := f.InstallURL(); url != "" {
		log.Info("phones must trust this hub's own CA once; compare its SHA-256", "open", url, "sha256", f.Fingerprint())
	}
}
