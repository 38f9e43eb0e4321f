package web

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
)

// fakePush takes the place of the browser's push service, which is on the
// internet. What the page does with its subscription is the app's own.
const fakePush = `
	Object.defineProperty(Notification, 'permission', { get: () => 'granted' });
	Notification.requestPermission = async () => 'granted';
	let current = null;
	PushManager.prototype.getSubscription = async () => current;
	PushManager.prototype.subscribe = async (options) => current = {
		options, toJSON: () => ({ endpoint: 'https://push.example.com/x', keys: %s }), unsubscribe: async () => { current = null; return true; },
	};`

// The subscription goes to the hub, and the computers learn that the phone can
// be rung.
func TestPushSubscription(t *testing.T) {
	w := &world{hub: StartHub(t), browser: StartBrowser(t)}
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := json.Marshal(map[string]string{
		"p256dh": base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()), "auth": base64.RawURLEncoding.EncodeToString(make([]byte, 16)),
	})
	w.page = w.browser.Tab()
	w.page.BeforeLoad(fmt.Sprintf(fakePush, keys))
	w.page.Go(w.hub.URL + "/")
	w.agent = StartAgent(t, w.hub.URL)
	w.agent.Pair(w.page)
	wakeable := func() bool {
		var status struct {
			Phones []struct{ Wakeable bool }
		}
		if err := json.Unmarshal([]byte(w.agent.MustVmux("status", "--json")), &status); err != nil {
			t.Fatal(err)
		}
		return len(status.Phones) == 1 && status.Phones[0].Wakeable
	}
	if wakeable() {
		t.Error("rung without a subscription")
	}
	w.page.MustCall("subscribePush", nil, nil)
	waitFor(t, "the computer knows that it can ring", wakeable)
	var s State
	if w.page.State(&s); s.Support.Push != "on" {
		t.Errorf("push is %s", s.Support.Push)
	}
	w.page.MustCall("unsubscribePush", nil, nil)
	waitFor(t, "the computer knows that it cannot ring any more", func() bool { return !wakeable() })
	if w.page.State(&s); s.Support.Push != "off" {
		t.Errorf("push is %s", s.Support.Push)
	}
}
