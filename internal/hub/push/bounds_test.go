package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vmux/internal/device"
)

func TestWokenDeviceIsLimited(t *testing.T) {
	w := newWorld(t)
	otherAgents := []device.ID{{4}, {5}, {6}}
	w.subscribe(phone, otherAgents...)
	woken := 0
	for range 10 {
		for _, from := range otherAgents { // each of them well within its own limit
			if err := w.Wake(t.Context(), from, phone); err == nil {
				woken++
			} else if !errors.Is(err, ErrLimited) {
				t.Fatal(err)
			}
		}
	}
	if woken != wokenBurst || len(w.received()) != wokenBurst {
		t.Errorf("woken %d times at once, %d arrived, want %d", woken, len(w.received()), wokenBurst)
	}
	w.pass(wokenEvery)
	w.wake(otherAgents[0], phone, nil)
	w.wake(otherAgents[1], phone, ErrLimited)
}

func TestWakingDeviceIsLimited(t *testing.T) {
	w := newWorld(t)
	var phones []device.ID
	for i := range wakingBurst + 2 {
		id := device.ID{9, byte(i)}
		phones = append(phones, id)
		w.subscribe(id, agent)
	}
	for _, id := range phones[:wakingBurst] {
		w.wake(agent, id, nil)
	}
	w.wake(agent, phones[wakingBurst], ErrLimited)
	w.pass(wakingEvery)
	w.wake(agent, phones[wakingBurst], nil)
	w.wake(agent, phones[wakingBurst+1], ErrLimited)
}

func TestSubscribingIsLimited(t *testing.T) {
	w := newWorld(t)
	for range subscribeBurst {
		w.subscribe(phone, agent)
	}
	w.subscribeAt("/again", phone, ErrLimited)
}

func TestLimiterIsBounded(t *testing.T) {
	now := time.Now()
	l := newLimiter(1, time.Hour)
	for i := range maxBuckets + 100 {
		l.take(device.ID{byte(i), byte(i >> 8), byte(i >> 16)}, now)
	}
	if len(l.buckets) > maxBuckets {
		t.Errorf("%d buckets", len(l.buckets))
	}
	l.take(attacker, now.Add(2*time.Hour))
	if len(l.buckets) != 1 {
		t.Errorf("%d buckets of devices that have their burst again", len(l.buckets))
	}
}

// Whoever keeps the hub waiting with push services of their own does not keep
// others from being woken by the real ones.
func TestSlowPushServicesAreBounded(t *testing.T) {
	w := newWorld(t)
	asked, hold := make(chan bool), make(chan bool)
	w.server.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- true
		<-hold
	})
	slots := cap(w.other)
	errs := make(chan error, slots)
	for i := range slots {
		id := device.ID{9, byte(i)}
		w.subscribe(id, id)
		go func() { errs <- w.Wake(t.Context(), id, id) }()
		<-asked
	}
	w.subscribe(phone, agent)
	w.wake(agent, phone, ErrLimited)
	if len(w.known) != 0 || cap(w.known) == 0 {
		t.Error("unknown push services use the slots of the known ones")
	}
	close(hold)
	for range slots {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestKnownPushServices(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"https://fcm.googleapis.com/fcm/send/abc":                   true,
		"https://web.push.apple.com/QO":                             true,
		"https://updates.push.services.mozilla.com/wpush/v2/x":      true,
		"https://wns2-par02p.notify.windows.com/w/?token=x":         true,
		"https://evilfcm.googleapis.com.attacker.example/":          false,
		"https://xpush.apple.com/":                                  false,
		"https://attacker.example/fcm.googleapis.com":               false,
		"https://attacker.example/?https://fcm.googleapis.com/send": false,
	} {
		if isKnown(endpoint) != want {
			t.Errorf("%s: %v", endpoint, !want)
		}
	}
}

func TestStoreIsBounded(t *testing.T) {
	w := newWorld(t)
	w.subscriptions.most = 3
	for i := range w.subscriptions.most {
		w.subscribe(device.ID{9, byte(i)}, agent)
	}
	w.subscribeAt("", phone, ErrFull)
	w.subscribe(device.ID{9, 1}, agent) // its own it can renew
	w.pass(StaleAfter / 2)
	w.subscribe(device.ID{9, 2}, agent)
	w.pass(StaleAfter/2 + time.Hour)
	w.subscribeAt("", phone, nil) // stale ones make room
	w.wake(agent, device.ID{9, 0}, ErrNotSubscribed)
	w.wake(agent, device.ID{9, 2}, nil)
	if w.VAPIDKey() != w.service(Config{Loopback: w.pool()}).VAPIDKey() {
		t.Error("the keys were taken for a stale subscription")
	}
}

func TestMalformedSubscriptions(t *testing.T) {
	w := newWorld(t)
	hub := w.service(Config{}) // as it runs: without loopback
	defer hub.Close()
	good := "https://push.example/token"
	with := func(p256dh, auth string) json.RawMessage {
		return fmt.Appendf(nil, `{"endpoint":%q,"keys":{"p256dh":%q,"auth":%q}}`, good, p256dh, auth)
	}
	malformed := map[string]json.RawMessage{
		"no JSON":        json.RawMessage(`{"endpoint"`),
		"nothing":        json.RawMessage(`null`),
		"other JSON":     json.RawMessage(`["https://push.example"]`),
		"too long":       w.subscription(good + "?" + strings.Repeat("x", maxSubscription)),
		"long endpoint":  w.subscription(good + "?" + strings.Repeat("x", maxEndpoint)),
		"no point":       with(strings.Repeat("A", 87), w.browser.Auth),
		"no base64":      with("!!!", w.browser.Auth),
		"short point":    with("BAAA", w.browser.Auth),
		"short auth":     with(w.browser.P256dh, "AAAA"),
		"auth no base64": with(w.browser.P256dh, "!"),
	}
	for _, endpoint := range []string{
		"", "http://push.example/", "file:///etc/passwd", "https:push.example", "https://", "//push.example/",
		"https://user:password@push.example/", "https://push.example/#fragment", "https://push.example:8443/",
		"https://push.example:22/", "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/", "https://93.184.215.14/",
		"https://localhost/", "https://router/", "https://push.example\r\nHost: internal/", "gopher://push.example/",
	} {
		malformed["endpoint "+endpoint] = w.subscription(endpoint)
	}
	n := 0
	for name, subscription := range malformed {
		n++
		id := device.ID{7, byte(n)}
		if err := hub.Subscribe(t.Context(), id, subscription, nil); !errors.Is(err, ErrSubscription) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := hub.Subscribe(t.Context(), phone, w.subscription(good), make([]device.ID, device.MaxPeers+1)); !errors.Is(err, ErrSubscription) {
		t.Errorf("too many may wake: %v", err)
	}
	if err := hub.Subscribe(t.Context(), phone, w.subscription(good), make([]device.ID, device.MaxPeers)); err != nil {
		t.Errorf("a good one: %v", err)
	}
}

// A browser names the endpoint, so anybody can: the hub must not be the way to
// what stands beside it, whatever a name resolves to.
func TestHubIsNoWayIn(t *testing.T) {
	w := newWorld(t)
	w.subscribe(phone, agent) // stored with loopback allowed, as if its name had been public then
	hub := w.service(Config{})
	defer hub.Close()
	if err := hub.Wake(t.Context(), agent, phone); !errors.Is(err, errNotPublic) {
		t.Errorf("wake: %v, want %v", err, errNotPublic)
	}
	if n := len(w.received()); n != 0 {
		t.Errorf("%d requests reached the inside", n)
	}
}

// A proxy would resolve the endpoint's name itself, to whatever address.
func TestNoProxy(t *testing.T) {
	w := newWorld(t)
	if w.otherWay.get(nil).Transport.(*http.Transport).Proxy != nil {
		t.Error("pushes to unknown services go through the proxy of the environment, which looks at no address")
	}
}

func TestPublicAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"93.184.215.14": true, "2606:2800:21f:cb07:6820:80da:af6b:8b2c": true, "::ffff:93.184.215.14": true,
		"64:ff9b::5db8:d70e": true, // 93.184.215.14 by NAT64
		"127.0.0.1":          false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"100.64.1.1": false, "0.0.0.0": false, "0.1.2.3": false, "255.255.255.255": false, "224.0.0.1": false, "192.0.2.2": false,
		"198.18.0.1": false, "240.0.0.1": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false,
		"::1": false, "::": false, "::7f00:1": false, "fe80::1": false, "fe80::1%eth0": false, "fd00::2": false, "ff02::1": false,
		"fec0::1": false, "2001:db8::1": false, "2002:7f00:1::": false, "2001:0:7f00:1::": false,
		"64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "64:ff9b:1::1": false,
	} {
		if public(netip.MustParseAddr(text)) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}
