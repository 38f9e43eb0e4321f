package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"rsc.io/qr"

	"vmux/test/browser"
)

// The camera's picture is read in the page by the app's own reader, which does not
// ask what the browser has: it is there for browsers that have none, or one that
// finds nothing.
func TestQRCodeIsRead(t *testing.T) {
	page := NewBrowser(t).Open(StartHub(t).URL + "/")
	text := "https://hub.example/#v=1&d=abc&n=laptop"
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		t.Fatal(err)
	}
	const scale = 4
	side := (code.Size + 8) * scale
	var black []int
	for i := range code.Size * code.Size {
		if code.Black(i%code.Size, i/code.Size) {
			black = append(black, i)
		}
	}
	for name, before := range map[string]string{"as it is": "", "with a BarcodeDetector": browser.QuirkScript(t, "barcode-blind") + ";"} {
		var got string
		err = page.Run(fmt.Sprintf(`%s
			const [size, scale, side, black] = [%d, %d, %d, new Set(%s)];
			const data = new Uint8ClampedArray(4 * side * side).fill(255);
			for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) {
				const [cx, cy] = [Math.floor(x / scale) - 4, Math.floor(y / scale) - 4];
				if (cx >= 0 && cy >= 0 && cx < size && cy < size && black.has(cy * size + cx)) data.fill(0, 4 * (y * side + x), 4 * (y * side + x) + 3);
			}
			return core.call('decodeQR', { imageData: new ImageData(data, side, side) });`,
			before, code.Size, scale, side, ints(black)), &got)
		if err != nil || got != text {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		var f *Failure
		err = page.Run(`return core.call('decodeQR', { imageData: new ImageData(64, 64) })`, nil)
		if !errors.As(err, &f) || f.Code != "noCode" {
			t.Errorf("%s, an empty picture: %v", name, err)
		}
	}
}

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

func ints(list []int) string {
	text := "["
	for _, n := range list {
		text += fmt.Sprint(n, ",")
	}
	return text + "]"
}
