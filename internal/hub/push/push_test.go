package push

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"vmux/internal/device"
	"vmux/internal/leakcheck"
	"vmux/internal/testkit"
)

// TestMain fails when a test has left a goroutine behind.
func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

var (
	phone    = device.ID{1, 'p'}
	agent    = device.ID{2, 'a'}
	attacker = device.ID{3, 'x'}
)

// world is a hub's waking of phones, and a push service.
type world struct {
	*Service
	t       *testing.T
	store   Store
	server  *httptest.Server
	network *network
	browser browser
	log     *bytes.Buffer

	mu     sync.Mutex
	now    time.Time
	status int
	script []reply // of the next pushes, before status
	pushes []pushed
}

// reply is one answer of the push service.
type reply struct {
	status int
	header map[string]string
	body   string
	before func() // is called first
}

// pushed is what the push service was sent.
type pushed struct {
	proto  string
	header http.Header
	path   string
	body   []byte
}

// browser is where the far end's keys are, and what knows how to use them.
type browser struct{ PrivateKey, P256dh, Auth string }

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: &memory{}, now: time.Now(), status: http.StatusCreated, log: &bytes.Buffer{}}
	w.server = httptest.NewUnstartedServer(w)
	w.server.EnableHTTP2 = true // as the real ones do
	w.network = &network{Listener: w.server.Listener}
	w.server.Listener = w.network
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	runBrowser(t, "keys", nil, &w.browser)
	w.start()
	return w
}

// start starts the hub, or starts it anew.
func (w *world) start() {
	if w.Service != nil {
		w.Close()
	}
	w.Service = w.service(Config{Loopback: w.pool()})
	w.t.Cleanup(w.Close)
}

func (w *world) service(c Config) *Service {
	w.t.Helper()
	c.Store, c.Subject = w.store, "https://hub.example.org"
	c.Log = slog.New(slog.NewTextHandler(w.log, nil))
	s, err := New(w.t.Context(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	s.now = w.clock
	s.firstAttempt = SendTimeout // a busy machine must not send twice
	return s
}

func (w *world) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(w.server.Certificate())
	return pool
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) answer(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = status
}

// ServeHTTP is the push service.
func (w *world) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pushes = append(w.pushes, pushed{proto: r.Proto, header: r.Header, path: r.URL.Path, body: body})
	if len(w.script) > 0 {
		next := w.script[0]
		w.script = w.script[1:]
		if next.before != nil {
			w.mu.Unlock()
			next.before()
			w.mu.Lock()
		}
		for name, value := range next.header {
			to.Header().Set(name, value)
		}
		to.WriteHeader(next.status)
		_, _ = io.WriteString(to, next.body)
		return
	}
	if w.status/100 == 3 {
		to.Header().Set("Location", w.server.URL+"/elsewhere")
	}
	to.WriteHeader(w.status)
}

// answers sets what the next pushes are answered.
func (w *world) answers(script ...reply) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.script = script
}

func (w *world) received() []pushed {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pushes
}

func (w *world) subscription(endpoint string) json.RawMessage {
	b, err := json.Marshal(map[string]any{
		"endpoint": endpoint, "expirationTime": nil,
		"keys": map[string]string{"p256dh": w.browser.P256dh, "auth": w.browser.Auth},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) subscribe(id device.ID, allow ...device.ID) {
	w.t.Helper()
	w.subscribeAt("/push/secret-token", id, nil, allow...)
}

// subscribeAt wants the error that errors.Is finds.
func (w *world) subscribeAt(path string, id device.ID, want error, allow ...device.ID) {
	w.t.Helper()
	if err := w.Subscribe(w.t.Context(), id, w.subscription(w.server.URL+path), allow); !errors.Is(err, want) {
		w.t.Fatalf("subscribe at %s: %v, want %v", path, err, want)
	}
}

// wake wants the error that errors.Is finds.
func (w *world) wake(from, to device.ID, want error) {
	w.t.Helper()
	if err := w.Wake(w.t.Context(), from, to); !errors.Is(err, want) {
		w.t.Fatalf("wake: %v, want %v", err, want)
	}
}

// runBrowser runs testdata/browser.js under node.
func runBrowser(t *testing.T, what string, in, out any) {
	t.Helper()
	testkit.Node(t, "../../..", "testdata/browser.js", what, in, out)
}

// A browser opens what the hub sends, and it tells nobody anything.
func TestBrowserOpensPush(t *testing.T) {
	w := newWorld(t)
	w.subscribe(phone, agent)
	w.wake(agent, phone, nil)
	got := w.received()
	if len(got) != 1 || got[0].path != "/push/secret-token" {
		t.Fatalf("pushes: %+v", got)
	}
	p := got[0]
	var opened struct {
		Payload, Key string
		Claims       struct {
			Aud, Sub string
			Exp      int64
		}
	}
	runBrowser(t, "open", map[string]string{
		"privateKey": w.browser.PrivateKey, "auth": w.browser.Auth,
		"body": base64.StdEncoding.EncodeToString(p.body), "authorization": p.header.Get("Authorization"),
	}, &opened)
	if opened.Payload != `{"type":"waiting"}` {
		t.Errorf("payload: %s", opened.Payload)
	}
	if opened.Key != w.VAPIDKey() || opened.Claims.Aud != w.server.URL || opened.Claims.Sub != "https://hub.example.org" {
		t.Errorf("sender: %+v, want key %s", opened, w.VAPIDKey())
	}
	if left := time.Until(time.Unix(opened.Claims.Exp, 0)); left <= 0 || left > 24*time.Hour {
		t.Errorf("the token is valid for %s; RFC 8292 allows 24 h", left)
	}
	for name, want := range map[string]string{"Ttl": "100", "Urgency": "high", "Topic": "waiting", "Content-Encoding": "aes128gcm"} {
		if p.header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, p.header.Get(name), want)
		}
	}
	if len(p.body) != recordSize {
		t.Errorf("body of %d bytes, want %d", len(p.body), recordSize)
	}
	for _, id := range []device.ID{agent, phone} {
		if strings.Contains(fmt.Sprint(p.header), id.String()) {
			t.Error("a header names a device")
		}
	}
}

func TestSubscriptionSurvivesRestart(t *testing.T) {
	w := newWorld(t)
	key := w.VAPIDKey()
	w.subscribe(phone, agent)
	w.start()
	if w.VAPIDKey() != key {
		t.Error("another VAPID key after a restart: every subscription is lost")
	}
	w.wake(agent, phone, nil)
	if n := len(w.received()); n != 1 {
		t.Errorf("%d pushes", n)
	}
}

// Hubs that share a store and start together must agree on one key.
func TestHubsAgreeOnKeys(t *testing.T) {
	store := &memory{}
	keys := make(chan string)
	for range 8 {
		go func() {
			k, _, err := loadKeys(t.Context(), store, nil, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Error(err)
			}
			keys <- k.public
		}()
	}
	first := <-keys
	for range 7 {
		if k := <-keys; k != first {
			t.Errorf("keys differ: %s, %s", first, k)
		}
	}
}

func TestDamagedKeysAreNoReasonForNewOnes(t *testing.T) {
	store := &memory{}
	if err := store.Put(t.Context(), vapidName, []byte(`{"private":"AAAA"}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), Config{Store: store, Subject: "mailto:root@hub.example.org"}); err == nil {
		t.Error("damaged keys were taken or replaced")
	}
}

// Who is not allowed can neither wake nor learn who has a subscription, nor use up what
// the phone's own computer may wake.
func TestOnlyAllowedWake(t *testing.T) {
	w := newWorld(t)
	w.subscribe(phone, agent)
	for range wokenBurst + 1 {
		w.wake(attacker, phone, ErrNotSubscribed)
	}
	w.wake(attacker, agent, ErrNotSubscribed) // has none
	if n := len(w.received()); n != 0 {
		t.Errorf("an unpaired device woke %d times", n)
	}
	w.wake(agent, phone, nil)

	if err := w.Allow(t.Context(), phone, []device.ID{attacker}); err != nil {
		t.Fatal(err)
	}
	w.wake(agent, phone, ErrNotSubscribed) // unpaired meanwhile
	if err := w.Allow(t.Context(), agent, []device.ID{attacker}); err != nil {
		t.Errorf("a device without a subscription: %v", err)
	}
	w.wake(phone, agent, ErrNotSubscribed)
}

func TestUnsubscribe(t *testing.T) {
	w := newWorld(t)
	w.subscribe(phone, agent)
	for range 2 { // the second finds none
		if err := w.Unsubscribe(t.Context(), phone); err != nil {
			t.Fatal(err)
		}
	}
	w.wake(agent, phone, ErrNotSubscribed)
}

func TestDeadSubscriptionIsDropped(t *testing.T) {
	for _, status := range []int{http.StatusGone, http.StatusNotFound} {
		w := newWorld(t)
		w.subscribe(phone, agent)
		w.answer(status)
		w.wake(agent, phone, ErrNotSubscribed)
		w.answer(http.StatusCreated)
		w.wake(agent, phone, ErrNotSubscribed)
		if n := len(w.received()); n != 1 {
			t.Errorf("status %d: the dead subscription was woken %d times", status, n)
		}
	}
}

// A subscription that was made with other keys than the hub's (a hub that was moved or
// restored, a browser that hands out what it had) is never taken: it is dropped, so that
// the app makes another, and nobody is sent to look at clocks and subjects
// (web-push-libs/web-push#941, okTurtles/group-income#2681, vjt/grappa-irc#1323).
func TestSubscriptionOfOtherKeysIsDropped(t *testing.T) {
	for _, answer := range []reply{
		{status: 400, body: `{"reason":"VapidPkHashMismatch"}`},
		{status: 403, body: "the VAPID credentials in the authorization header do not correspond to the credentials used to create the subscriptions.\n"},
		{status: 403, body: "the key in the authorization header does not correspond to the sender ID used to subscribe this user."},
		{status: 401, body: `{"code":401,"errno":109,"error":"Unauthorized","message":"VAPID public key mismatch","more_info":"http://autopush.readthedocs.io/"}`},
	} {
		w := newWorld(t)
		w.subscribe(phone, agent)
		w.answers(answer)
		w.wake(agent, phone, ErrNotSubscribed)
		if log := w.log.String(); strings.Contains(log, "--push-subject") || !strings.Contains(log, fmt.Sprintf("status=%d", answer.status)) {
			t.Errorf("%s\nthe log says %s", answer.body, log)
		}
		w.subscribeAt("/push/secret-token", phone, ErrDead, agent) // the app brings it again
	}
}

// An app brings the dead one again, as browsers keep it: also after a new start of the
// hub, and under another device ID. A new one is taken.
func TestDeadSubscriptionIsRefused(t *testing.T) {
	w := newWorld(t)
	w.subscribe(phone, agent)
	w.answer(http.StatusGone)
	w.wake(agent, phone, ErrNotSubscribed)
	w.answer(http.StatusCreated)
	w.start()
	for _, id := range []device.ID{phone, {7}} {
		w.subscribeAt("/push/secret-token", id, ErrDead, agent)
		w.wake(agent, id, ErrNotSubscribed)
	}
	if n := len(w.received()); n != 1 {
		t.Errorf("woken %d times", n)
	}
	w.subscribeAt("/push/another", phone, nil, agent)
	w.wake(agent, phone, nil)
	// Whoever brings the dead one has no other.
	w.subscribeAt("/push/secret-token", phone, ErrDead, agent)
	w.wake(agent, phone, ErrNotSubscribed)
	w.pass(DeadFor + time.Hour)
	w.subscribe(phone, agent)
}

// Chromium gives these out while it has none. They are refused with whatever keys.
func TestMadeUpSubscriptionIsRefused(t *testing.T) {
	w := newWorld(t)
	public := w.service(Config{})
	for _, s := range []*Service{w.Service, public} {
		for _, endpoint := range []string{
			"https://permanently-removed.invalid/fcm/send/cYp:APA91", "https://permanently-removed.invalid", "https://PERMANENTLY-REMOVED.Invalid./x", "https://permanently-removed.invalid:8443/",
		} {
			w.subscribe(phone, agent)
			bare := json.RawMessage(`{"endpoint":"` + endpoint + `","keys":{}}`)
			for _, sub := range []json.RawMessage{w.subscription(endpoint), bare} {
				w.pass(subscribeEvery)
				if err := s.Subscribe(t.Context(), phone, sub, []device.ID{agent}); !errors.Is(err, ErrDead) {
					t.Errorf("%s: %v", sub, err)
				}
			}
			w.wake(agent, phone, ErrNotSubscribed)
			w.pass(time.Minute)
		}
	}
	for _, endpoint := range []string{"https://autopush.local/1", "https://push.home.arpa/1", "https://up.internal./1"} {
		w.pass(time.Minute)
		if err := public.Subscribe(t.Context(), phone, w.subscription(endpoint), nil); !errors.Is(err, ErrSubscription) {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

// What is remembered of dead ones does not grow without end: what is old makes room.
func TestDeadSubscriptionsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.dead.most = 3
	w.answer(http.StatusGone)
	dies := func(path string) {
		t.Helper()
		w.pass(time.Minute)
		w.subscribeAt(path, phone, nil, agent)
		w.wake(agent, phone, ErrNotSubscribed)
	}
	remembered := func(want int) {
		t.Helper()
		if names, err := w.names(t.Context(), deadPrefix); err != nil || len(names) != want {
			t.Errorf("%d are remembered, want %d: %v", len(names), want, err)
		}
	}
	for i := range 5 {
		dies(fmt.Sprint("/", i))
	}
	remembered(3)
	dies("/4") // there was no room for it
	w.pass(DeadFor)
	dies("/6")
	remembered(1)
}

// The phone's own person tries whether it works.
func TestDeviceWakesItself(t *testing.T) {
	w := newWorld(t)
	w.wake(phone, phone, ErrNotSubscribed)
	w.subscribe(phone, agent)
	w.wake(phone, phone, nil)
}

// The answer about an old subscription comes when the app has made a new one, which is
// woken: the computer must not learn that there is none.
func TestRenewedSubscriptionOutlivesOldAnswer(t *testing.T) {
	w := newWorld(t)
	w.subscribe(phone, agent)
	w.answers(reply{status: http.StatusGone, before: func() {
		if err := w.Subscribe(t.Context(), phone, w.subscription(w.server.URL+"/push/newer"), []device.ID{agent}); err != nil {
			t.Error(err)
		}
	}})
	w.wake(agent, phone, nil)
	if got := w.received(); len(got) != 2 || got[1].path != "/push/newer" {
		t.Errorf("%d pushes: %+v", len(got), got)
	}
}

func TestOtherAnswersKeepSubscription(t *testing.T) {
	w := newWorld(t)
	w.subscribe(phone, agent)
	for _, status := range []int{http.StatusInternalServerError, http.StatusForbidden, http.StatusTooManyRequests, http.StatusTemporaryRedirect} {
		w.answer(status)
		err := w.Wake(t.Context(), agent, phone)
		if err == nil || errors.Is(err, ErrLimited) != (status == http.StatusTooManyRequests) {
			t.Errorf("status %d: %v", status, err)
		}
		w.pass(time.Minute)
	}
	w.answer(http.StatusCreated)
	w.wake(agent, phone, nil)
	for _, p := range w.received() {
		if p.path == "/elsewhere" {
			t.Error("a redirect was followed")
		}
	}
}

// An endpoint is a secret: whoever has it and the keys wakes the phone.
func TestEndpointIsNotTold(t *testing.T) {
	w := newWorld(t)
	w.subscribe(phone, agent)
	w.server.Close()
	err := w.Wake(t.Context(), agent, phone)
	if err == nil {
		t.Fatal("no error from a push service that is gone")
	}
	endpoint, _ := url.Parse(w.server.URL)
	if text := err.Error() + w.log.String(); strings.Contains(text, "secret-token") || strings.Contains(text, endpoint.Scheme+"://") {
		t.Errorf("told: %s", text)
	}
	if text := fmt.Sprint(slog.AnyValue(w.keys).Resolve()); text != "redacted" {
		t.Errorf("logged keys: %s", text)
	}
}

func TestWakingEndsWithContextAndClose(t *testing.T) {
	for name, end := range map[string]func(*world, context.CancelFunc){
		"context": func(_ *world, cancel context.CancelFunc) { cancel() },
		"close":   func(w *world, _ context.CancelFunc) { w.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.subscribe(phone, agent)
			asked, hold := make(chan bool), make(chan bool)
			w.server.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				close(asked)
				<-hold
			})
			defer close(hold)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			woken := make(chan error)
			go func() { woken <- w.Wake(ctx, agent, phone) }()
			<-asked
			end(w, cancel)
			if err := <-woken; !errors.Is(err, context.Canceled) {
				t.Errorf("wake: %v", err)
			}
		})
	}
}
