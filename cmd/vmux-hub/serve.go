package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"

	"vmux/internal/hub"
	"vmux/internal/hub/front"
	"vmux/internal/hub/webapp"
	"vmux/web/phone"
)

// serve runs a hub until ctx ends, or its input if that is wanted.
func serve(ctx context.Context, o options, in io.Reader, errs io.Writer) error {
	log := newLog(errs, o.verbose)
	o.front.Log = log
	f, err := front.Open(o.front)
	if err != nil {
		return err
	}
	defer f.Close()
	app, err := openApp(log)
	if err != nil {
		return err
	}
	h, err := hub.New(hub.Config{
		PublicURL: f.PublicURL(), StateDir: o.state, NATSURL: o.nats, NATSCredentials: o.natsCreds,
		App: app, PushSubject: o.pushSubject, Log: log,
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
	debug.FreeOSMemory() // what starting has left: a hub mostly waits

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

// openApp serves the phone's web app, or says on its page that it was not built.
func openApp(log *slog.Logger) (http.Handler, error) {
	if !phone.Built() {
		log.Warn("this hub was built without the phone app: make build")
	}
	return webapp.New(webapp.Config{Files: phone.Files(), Policy: phone.ContentSecurityPolicy})
}

func announce(log *slog.Logger, h *hub.Hub, f *front.Front) {
	log.Info("hub is ready", "url", h.Origin(), "address", f.Addr().String())
	if url := f.InstallURL(); url != "" {
		log.Info("phones must trust this hub's own CA once; compare its SHA-256", "open", url, "sha256", f.Fingerprint())
	}
}
