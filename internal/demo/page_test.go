package demo

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A hub that does not tell its certificate is told of by its answer.
func TestHubWithoutItsCertificate(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	d := &demo{install: s.URL + installPage}
	if _, err := d.rootFingerprint(t.Context()); err == nil || err.Error() != "ask the hub for its certificate: 404 Not Found" {
		t.Errorf("%v", err)
	}
}
