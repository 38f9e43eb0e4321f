package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
)

type handler struct {
	service Service
	log     *slog.Logger
}

func (h *handler) routes() http.Handler {
	m := http.NewServeMux()
	on, s := m.HandleFunc, h.service
	on("GET /v1/status", h.get(func() (any, error) { return s.Status(), nil }))
	on("GET /v1/watch", h.watch)
	on("POST /v1/pair", h.pair)
	on("POST /v1/keys/refresh", h.do(func(r *http.Request) (any, error) { return s.RefreshKeys(r.Context()) }))
	on("GET /v1/certificate", h.get(func() (any, error) { return s.ShowCertificate(), nil }))
	on("POST /v1/certificate", told(h, func(ctx context.Context, o CertificateOptions) (any, error) { return s.RequestCertificate(ctx, o) }))
	on("DELETE /v1/waiting/{request}", h.do(func(r *http.Request) (any, error) {
		return struct{}{}, s.Withdraw(r.PathValue("request"))
	}))
	on("GET /v1/devices", h.get(func() (any, error) { return s.Devices() }))
	on("DELETE /v1/devices/{device}", h.do(func(r *http.Request) (any, error) { return s.Unpair(r.PathValue("device")) }))
	on("POST /v1/ping", h.do(func(r *http.Request) (any, error) { return s.Ping(r.Context()) }))
	on("POST /v1/ring", told(h, func(ctx context.Context, o wake) (any, error) { return s.Wake(ctx, o.Device) }))
	on("GET /v1/ca", h.get(func() (any, error) { return s.CA() }))
	on("POST /v1/ca/accept", told(h, func(_ context.Context, a acceptCA) (any, error) { return s.AcceptCA(a.Device, a.Fingerprint) }))
	on("POST /v1/hub/verify", h.do(func(r *http.Request) (any, error) { return s.VerifyHub(r.Context()) }))
	on("POST /v1/git", told(h, func(_ context.Context, c GitClaim) (any, error) { return struct{}{}, s.ClaimGit(c) }))
	return m
}

// decode reads the one JSON object that is a request's whole body.
func decode(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, behind := d.Token(); behind != io.EOF {
			err = errors.New("bytes behind the object")
		}
	}
	if err != nil {
		return Errorf(CodeInvalid, "bring the command and the agent to the same version", "malformed request")
	}
	return nil
}

func (h *handler) get(f func() (any, error)) http.HandlerFunc {
	return h.do(func(*http.Request) (any, error) { return f() })
}

// told is do for a request that has a body.
func told[T any](h *handler, f func(context.Context, T) (any, error)) http.HandlerFunc {
	return h.do(func(r *http.Request) (any, error) {
		var body T
		if err := decode(r, &body); err != nil {
			return nil, err
		}
		return f(r.Context(), body)
	})
}

func (h *handler) do(f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, err := f(r)
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			w.WriteHeader(http.StatusUnprocessableEntity)
			answer = AsError(err)
		}
		if err := writeJSON(w, answer); err != nil {
			h.log.Debug("control answer not read", "error", err)
		}
	}
}

// watch writes a line with each status until the client goes away.
func (h *handler) watch(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/jsonl")
	if r.URL.Query().Has("notify") {
		defer h.service.Notifies()()
	}
	for {
		changed := h.service.Changed() // before the status, so that no change is missed
		if err := send(w, h.service.Status()); err != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func send(w http.ResponseWriter, v any) error {
	if err := writeJSON(w, v); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}

func (h *handler) pair(w http.ResponseWriter, r *http.Request) {
	var o PairOptions
	if err := decode(r, &o); err != nil {
		h.do(func(*http.Request) (any, error) { return nil, err })(w, r)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	w.Header().Set("Content-Type", "application/jsonl")
	d, err := h.service.Pair(ctx, o, func(i Invitation) error { return send(w, PairEvent{Invitation: &i}) })
	last := PairEvent{Paired: &d}
	if err != nil {
		last = PairEvent{Error: AsError(err)}
	}
	if err := send(w, last); err != nil {
		h.log.Debug("control answer not read", "error", err)
	}
}
