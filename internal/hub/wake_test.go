package hub

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"vmux/internal/device"
	"vmux/internal/hub/push"
	"vmux/internal/link/hubwire"
	"vmux/internal/pushsubject"
	"vmux/internal/testkit"
)

// pushService is what a browser's maker runs, and the browser behind it, whose
// keys and decryption are those of Node.js and http_ece.
type pushService struct {
	*httptest.Server
	t       *testing.T
	keys    struct{ PrivateKey, P256dh, Auth string }
	arrived chan map[string]string
	status  chan int // of the next answers; 201 without
}

func newPushService(t *testing.T) *pushService {
	s := &pushService{t: t, arrived: make(chan map[string]string, 100), status: make(chan int, 10)}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.arrived <- map[string]string{
			"body": base64.StdEncoding.EncodeToString(body), "authorization": r.Header.Get("Authorization"),
			"privateKey": s.keys.PrivateKey, "auth": s.keys.Auth,
		}
		select {
		case status := <-s.status:
			w.WriteHeader(status)
		default:
			w.WriteHeader(http.StatusCreated)
		}
	}))
	t.Cleanup(s.Close)
	s.browser("keys", nil, &s.keys)
	return s
}

func (s *pushService) browser(what string, in, out any) {
	s.t.Helper()
	testkit.Node(s.t, "../..", "push/testdata/browser.js", what, in, out)
}

// opens what has arrived, and returns the payload and the sender's key.
func (s *pushService) opens() (payload, key string) {
	s.t.Helper()
	var opened struct{ Payload, Key string }
	s.browser("open", <-s.arrived, &opened)
	return opened.Payload, opened.Key
}

func (s *pushService) subscription() json.RawMessage {
	b, err := json.Marshal(map[string]any{
		"endpoint": s.URL + "/token", "keys": map[string]string{"p256dh": s.keys.P256dh, "auth": s.keys.Auth},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// hub is a hub that may push to the service, in the state folder.
func (s *pushService) hub(dir string) *testHub {
	s.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return newHub(s.t, func(c *Config) {
		c.StateDir, c.PushSubject, c.PushLoopback = dir, "mailto:root@hub.example.org", pool
	})
}

func wake(peer *actor) hubwire.Message {
	return hubwire.Message{Type: hubwire.TypeWake, Peer: &peer.id}
}

// wantsAnswer checks the answer to a request: done, or an error of this code.
func (a *actor) wantsAnswer(m hubwire.Message, code hubwire.Code) {
	a.t.Helper()
	got := a.asks(m)
	if got.Code != code || (got.Type == hubwire.TypeDone) != (code == "") {
		a.t.Fatalf("%s: %s %q %s, want %q", m.Type, got.Type, got.Code, got.Message, code)
	}
}

// A phone subscribes and goes. Its computer wakes it, also through a hub that
// was started anew; an unpaired device does not.
func TestWake(t *testing.T) {
	service, dir := newPushService(t), t.TempDir()
	h := service.hub(dir)
	phone, computer, attacker := newActor(t), newActor(t), newActor(t)
	phone.connect(h, computer.id)
	phone.wantsAnswer(hubwire.Message{Type: hubwire.TypeSubscribe, Subscription: service.subscription()}, "")
	phone.leaves()
	key := h.push.VAPIDKey()
	h.end()

	h = service.hub(dir)
	computer.connect(h, phone.id)
	computer.wantsAnswer(wake(phone), "")
	if payload, sender := service.opens(); payload != push.Payload || sender != key || h.push.VAPIDKey() != key {
		t.Errorf("the browser reads %q from %s; the hub was %s before its new start", payload, sender, key)
	}
	attacker.connect(h, phone.id)
	attacker.wantsAnswer(wake(phone), hubwire.CodeNotSubscribed)
	attacker.wantsAnswer(wake(computer), hubwire.CodeNotSubscribed)
	if len(service.arrived) != 0 {
		t.Error("an unpaired device woke it")
	}

	// Another start of the app, in which its user has ended the pairing.
	phone = phone.again().connect(h, attacker.id)
	waitFor(t, "the end of the permission", func() bool {
		b, err := h.store.Get(t.Context(), "subscription."+phone.id.String())
		return err == nil && !bytes.Contains(b, []byte(computer.id.String()))
	})
	computer.wantsAnswer(wake(phone), hubwire.CodeNotSubscribed)
}

// Whoever is unpaired while the phone is at the hub wakes it no more, and wakes it
// again when the two are paired anew.
func TestWakeFollowsAllow(t *testing.T) {
	service := newPushService(t)
	h := service.hub(t.TempDir())
	phone, computer := newActor(t), newActor(t)
	phone.connect(h, computer.id)
	phone.wantsAnswer(hubwire.Message{Type: hubwire.TypeSubscribe, Subscription: service.subscription()}, "")
	computer.connect(h, phone.id).wantsAnswer(wake(phone), "")
	phone.allows()
	computer.wantsAnswer(wake(phone), hubwire.CodeNotSubscribed)
	phone.allows(computer.id)
	computer.wantsAnswer(wake(phone), "")
	if n := len(service.arrived); n != 2 {
		t.Errorf("woken %d times", n)
	}
}

func TestWakeIsDeadOrTooOften(t *testing.T) {
	service := newPushService(t)
	h := service.hub(t.TempDir())
	phone, computer := newActor(t), newActor(t)
	subscribe := hubwire.Message{Type: hubwire.TypeSubscribe, Subscription: service.subscription()}
	phone.connect(h, computer.id).wantsAnswer(subscribe, "")
	computer.connect(h, phone.id)

	service.status <- http.StatusGone
	computer.wantsAnswer(wake(phone), hubwire.CodeNotSubscribed)
	computer.wantsAnswer(wake(phone), hubwire.CodeNotSubscribed)
	if n := len(service.arrived); n != 1 {
		t.Errorf("a dead subscription was woken %d times", n)
	}
	phone.wantsAnswer(subscribe, hubwire.CodeSubscriptionDead)
	again := bytes.Replace(service.subscription(), []byte("/token"), []byte("/another"), 1)
	phone.wantsAnswer(hubwire.Message{Type: hubwire.TypeSubscribe, Subscription: again}, "")
	for computer.asks(wake(phone)).Type == hubwire.TypeDone {
	}
	computer.wantsAnswer(wake(phone), hubwire.CodeBusy)
	if n := len(service.arrived); n > 6 {
		t.Errorf("woken %d times at once", n)
	}
	phone.wantsAnswer(hubwire.Message{Type: hubwire.TypeSubscribe}, "") // none: it ends
	keys, err := h.store.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if key == "subscription."+phone.id.String() {
			t.Error("the subscription is kept after its end")
		}
	}
}

// A hub at home wakes a phone whose push service looks the sender's contact up,
// and who woke it learns why a push was refused.
func TestWakeOfHomeHub(t *testing.T) {
	service := newPushService(t)
	pool := x509.NewCertPool()
	pool.AddCert(service.Certificate())
	h := newHub(t, func(c *Config) { c.PushLoopback = pool })
	phone, computer := newActor(t), newActor(t)
	phone.connect(h, computer.id)
	phone.wantsAnswer(hubwire.Message{Type: hubwire.TypeSubscribe, Subscription: service.subscription()}, "")
	computer.connect(h, phone.id)
	computer.wantsAnswer(wake(phone), "")
	var opened struct {
		Claims struct{ Sub string }
	}
	service.browser("open", <-service.arrived, &opened)
	if opened.Claims.Sub != pushsubject.Fallback {
		t.Errorf("a hub at %s is to be reached by %s", h.url, opened.Claims.Sub)
	}
	if log := h.log.String(); !strings.Contains(log, "contact="+pushsubject.Fallback) || !strings.Contains(log, "--push-subject") {
		t.Errorf("the log does not say so: %s", log)
	}
	service.status <- http.StatusForbidden
	if m := computer.asks(wake(phone)); m.Code != hubwire.CodeInternal || m.Message != "the push service answered 403" {
		t.Errorf("refused with %s %q", m.Code, m.Message)
	}
}

func TestWakeOfNonsense(t *testing.T) {
	h := newPushService(t).hub(t.TempDir())
	phone := newActor(t).connect(h)
	for _, nonsense := range []string{`1`, `{}`, `{"endpoint":"http://localhost/"}`, `{"endpoint":"https://localhost/","keys":{"p256dh":"AA","auth":"AA"}}`} {
		phone.wantsAnswer(hubwire.Message{Type: hubwire.TypeSubscribe, Subscription: json.RawMessage(nonsense)}, hubwire.CodeMalformed)
	}
	phone.wantsAnswer(hubwire.Message{Type: hubwire.TypeWake}, hubwire.CodeMalformed)
	phone.wantsAnswer(wake(&actor{id: device.ID{1}}), hubwire.CodeNotSubscribed)
	phone.settles()
}
