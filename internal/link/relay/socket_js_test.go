package relay

import (
	"context"
	"errors"
	"net"
	"syscall/js"
	"testing"
)

// A close that browsers refuse closes nothing: the hub would keep the connection, and
// the device at it, until it had been quiet for long.
func TestCloseReachesTheBrowser(t *testing.T) {
	before := js.Global().Get("WebSocket")
	js.Global().Set("WebSocket", js.Global().Call("eval", `(class extends EventTarget {
		constructor(url, protocols) {
			super();
			this.protocol = protocols[0];
			setTimeout(() => this.dispatchEvent(new Event('open')));
		}
		close(code) {
			if (code !== undefined && code !== 1000 && !(code >= 3000 && code < 5000)) {
				throw new DOMException('the code is ' + code, 'InvalidAccessError');
			}
			setTimeout(() => this.dispatchEvent(Object.assign(new Event('close'), { code, reason: '', wasClean: true })));
			browserClosed();
		}
	})`))
	closed := make(chan struct{}, 1)
	f := js.FuncOf(func(js.Value, []js.Value) any {
		closed <- struct{}{}
		return nil
	})
	js.Global().Set("browserClosed", f)
	t.Cleanup(func() {
		js.Global().Set("WebSocket", before)
		js.Global().Delete("browserClosed")
		f.Release()
	})
	s, err := webSocket(nil)(context.Background(), "https://hub.example/ws")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	<-closed
	if _, _, err := s.Read(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the close: %v", err)
	}
}
