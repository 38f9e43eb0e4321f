package web

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// A reader that could not be loaded is loaded for a later picture: the camera goes on.
func TestQRReaderThatWasNotLoaded(t *testing.T) {
	var there atomic.Bool
	page := NewBrowser(t).Open(startProxy(t, StartHub(t), func(r *http.Response) {
		if strings.HasSuffix(r.Request.URL.Path, "/qr/decode.js") && !there.Load() {
			r.StatusCode = http.StatusBadGateway
		}
	}) + "/")
	const blank = "await core.call('decodeQR', { imageData: new ImageData(64, 64) })"
	var f *Failure
	if err := page.Run(blank, nil); !errors.As(err, &f) || f.Code == "noCode" {
		t.Fatalf("without a reader: %v", err)
	}
	there.Store(true)
	if err := page.Run(blank, nil); !errors.As(err, &f) || f.Code != "noCode" {
		t.Errorf("once it is there: %v", err)
	}
}
