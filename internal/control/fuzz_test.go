package control

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"vmux/internal/wire"
)

// noting is a Service that keeps what reaches it.
type noting struct {
	refusing
	reached []any
}

func (n *noting) note(v any) { n.reached = append(n.reached, v) }

func (n *noting) RequestCertificate(_ context.Context, o CertificateOptions) (Certificate, error) {
	n.note(o)
	return Certificate{State: CertificateNone}, nil
}
func (n *noting) Pair(_ context.Context, o PairOptions, _ func(Invitation) error) (Device, error) {
	n.note(o)
	return Device{}, nil
}
func (n *noting) AcceptCA(device, fingerprint string) (CA, error) {
	n.note(acceptCA{device, fingerprint})
	return CA{}, nil
}

// Whatever is sent to the control socket is answered by JSON. What reaches the
// agent is all that was sent: sent again in the agent's own words, it is the same.
func FuzzRequests(f *testing.F) {
	paths := []string{"certificate", "pair", "ca/accept"}
	for _, seed := range []struct {
		path int
		body any
	}{
		{0, CertificateOptions{Phone: "phone", ValiditySeconds: 3600, Identity: "SHA256:abc", Principals: []string{"root", "deploy"}}},
		{1, PairOptions{Hosts: []string{"127.0.0.1:0", "::1"}}},
		{2, acceptCA{"phone", "SHA256:abc"}},
	} {
		b, err := json.Marshal(seed.body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed.path, b)
	}
	for _, seed := range []string{"", "null", "[]", "{", "{}{}", `{"validitySeconds":1e999}`, `{"hosts":null,"hosts":[""]}`, "\xff"} {
		f.Add(0, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, path int, body []byte) {
		if path < 0 || path >= len(paths) {
			return
		}
		reached, status := posted(t, paths[path], body)
		switch {
		case status == http.StatusOK && len(reached) == 1:
			again := words(t, reached)
			if same, _ := posted(t, paths[path], again); !bytes.Equal(words(t, same), again) {
				t.Errorf("%q reached the agent as %s, and that as %+v", body, again, same)
			}
			if !json.Valid(body) {
				t.Errorf("%q reached the agent as %+v", body, reached)
			}
		case len(reached) != 0:
			t.Errorf("%q was refused (%d) and reached the agent as %+v", body, status, reached)
		}
	})
}

// words are what a client would have sent.
func words(t *testing.T, reached []any) []byte {
	t.Helper()
	if len(reached) != 1 {
		t.Fatalf("%d requests reached the agent, want one", len(reached))
	}
	b, err := json.Marshal(reached[0])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// posted returns what a request made the agent do, and checks the answer.
func posted(t *testing.T, path string, body []byte) (reached []any, status int) {
	t.Helper()
	service := &noting{}
	h := &handler{service: service, log: slog.New(slog.DiscardHandler)}
	w := httptest.NewRecorder()
	h.routes().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://agent"+pathPrefix+path, bytes.NewReader(body)))
	var refusal Error
	answer := w.Body.Bytes()
	if !json.Valid(answer) {
		t.Errorf("%q is answered by %q", body, answer)
	}
	if w.Code != http.StatusOK && (json.Unmarshal(answer, &refusal) != nil || refusal.Code != CodeInvalid) {
		t.Errorf("%q is refused by %q, want code %s", body, answer, wire.Code(CodeInvalid))
	}
	return service.reached, w.Code
}
