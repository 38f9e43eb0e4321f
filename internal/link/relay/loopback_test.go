//go:build !js

package relay

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Names below localhost are this machine's without a name server, which would say
// that there is none, and without a proxy, which would look at itself.
func TestNamesBelowLocalhost(t *testing.T) {
	t.Setenv("http_proxy", "http://192.0.2.1:9")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }))
	defer s.Close()
	for _, name := range []string{"vmux.localhost", "A.B.LocalHost", "localhost"} {
		client := Way{}.Client()
		defer client.CloseIdleConnections()
		r, err := client.Get(strings.Replace(s.URL, "127.0.0.1", name, 1))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r.Body.Close()
	}
	if isLoopbackName("localhost.example") || isLoopbackName("notlocalhost") {
		t.Error("a name of somebody else is taken for this machine")
	}
}
