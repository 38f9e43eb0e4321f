package push

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// network is where the push service listens. What it drops it drops without a
// word, as the way to a service does that has changed while a machine slept.
type network struct {
	net.Listener
	mu    sync.Mutex
	conns []*dropping
}

func (n *network) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	d := &dropping{Conn: c, dropped: make(chan struct{}), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, d)
	return d, nil
}

func (n *network) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

// drop makes all connections silent that there are.
func (n *network) drop() []*dropping {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.conns {
		d.drop.Do(func() { close(d.dropped) })
	}
	return n.conns
}

// dropping is a connection whose bytes can be dropped, in both directions.
type dropping struct {
	net.Conn
	drop, end       sync.Once
	dropped, closed chan struct{}
}

func (d *dropping) Read(b []byte) (int, error) {
	for {
		n, err := d.Conn.Read(b)
		if err != nil {
			d.end.Do(func() { close(d.closed) })
			return n, err
		}
		select {
		case <-d.dropped:
		default:
			return n, nil
		}
	}
}

func (d *dropping) Write(b []byte) (int, error) {
	select {
	case <-d.dropped:
		return len(b), nil
	default:
		return d.Conn.Write(b)
	}
}

// A laptop that has slept: its connection to the push service is dead and does
// not say so. Each of three pushes used to wait for 10 s in vain
// (golang/go#36026, #39750).
func TestSilentConnection(t *testing.T) {
	w := newWorld(t)
	w.subscribe(phone, agent)
	w.wake(agent, phone, nil)
	w.network.drop()
	w.firstAttempt = 200 * time.Millisecond
	w.wake(agent, phone, nil)
	w.firstAttempt = SendTimeout
	for range 2 {
		w.wake(agent, phone, nil)
	}
	pushes := w.received()
	if len(pushes) != 4 {
		t.Errorf("%d pushes arrived, want 4", len(pushes))
	}
	for _, p := range pushes {
		if p.proto != "HTTP/2.0" {
			t.Errorf("sent by %s", p.proto)
		}
	}
	if n := w.network.count(); n != 2 {
		t.Errorf("%d connections, want the dead one and one that serves the others", n)
	}
	if log := w.log.String(); !strings.Contains(log, "once more on a new connection") {
		t.Errorf("not told: %s", log)
	}
}

// A dead connection that nothing is sent on ends by the transport's own pings.
func TestSilentConnectionIsPinged(t *testing.T) {
	w := newWorld(t)
	h2 := w.otherWay.get(nil).Transport.(*http.Transport).HTTP2
	if h2.SendPingTimeout > 15*time.Second || h2.PingTimeout > 5*time.Second || h2.SendPingTimeout == 0 {
		t.Errorf("pings after %v, waits for %v", h2.SendPingTimeout, h2.PingTimeout)
	}
	h2.SendPingTimeout, h2.PingTimeout = 20*time.Millisecond, time.Second
	w.subscribe(phone, agent)
	w.wake(agent, phone, nil)
	for _, conn := range w.network.drop() {
		<-conn.closed
	}
}

// A service that never answers: one attempt more, and an error that says so.
func TestServiceWithoutAnswer(t *testing.T) {
	w := newWorld(t)
	w.firstAttempt = time.Second
	var asked atomic.Int32
	w.server.Config.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if asked.Add(1) > 1 {
			panic(http.ErrAbortHandler)
		}
		<-r.Context().Done()
	})
	w.subscribe(phone, agent)
	w.wake(agent, phone, ErrUnreachable)
	if n := asked.Load(); n > 2 {
		t.Errorf("asked %d times", n)
	}
	if log := w.log.String(); !strings.Contains(log, "no answer") || strings.Contains(log, "secret-token") {
		t.Errorf("told: %s", log)
	}
}

// What says "later" is asked once more after what it says, by seconds or by a
// date of its own clock, and is not waited for for long.
func TestServiceThatSaysLater(t *testing.T) {
	clock := time.Now().Add(-72 * time.Hour).UTC()
	date := func(d time.Duration) string { return clock.Add(d).Format(http.TimeFormat) }
	for _, test := range []struct {
		reply
		asked int
		least time.Duration
		want  error
	}{
		{reply{status: 503}, 2, usualPause, nil},
		{reply{status: 500, header: map[string]string{"Retry-After": "0"}}, 2, 0, nil},
		{reply{status: 502, header: map[string]string{"Retry-After": "0"}}, 2, 0, nil},
		{reply{status: 429, header: map[string]string{"Retry-After": "1"}}, 2, time.Second, nil},
		{reply{status: 429, header: map[string]string{"Retry-After": date(time.Second), "Date": date(0)}}, 2, time.Second, nil},
		{reply{status: 429, header: map[string]string{"Retry-After": date(-time.Hour), "Date": date(0)}}, 2, 0, nil},
		{reply{status: 406, header: map[string]string{"Retry-After": "1"}}, 2, time.Second, nil},
		{reply{status: 429, header: map[string]string{"Retry-After": "nonsense"}}, 2, usualPause, nil},
		{reply{status: 406, header: map[string]string{"Retry-After": "900", "X-WNS-Status": "appthrottled"}}, 1, 0, ErrLimited},
		{reply{status: 429, header: map[string]string{"Retry-After": date(time.Hour), "Date": date(0)}}, 1, 0, ErrLimited},
		{reply{status: 429, header: map[string]string{"Retry-After": "99999999999999999999"}}, 2, usualPause, nil},
	} {
		t.Run(fmt.Sprint(test.status, test.header), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.subscribe(phone, agent)
			w.answers(test.reply)
			began := time.Now()
			w.wake(agent, phone, test.want)
			if took := time.Since(began); took < test.least {
				t.Errorf("after %v, want %v", took, test.least)
			}
			if n := len(w.received()); n != test.asked {
				t.Errorf("asked %d times, want %d", n, test.asked)
			}
			if test.asked == 2 {
				return
			}
			w.wake(agent, phone, ErrLimited) // it is not asked again so soon
			if n := len(w.received()); n != 1 {
				t.Errorf("asked %d times while it wants no more", n)
			}
			w.pass(maxHold)
			w.wake(agent, phone, nil)
			if log := w.log.String(); test.status == 406 && !strings.Contains(log, "appthrottled") {
				t.Errorf("the reason is not told: %s", log)
			}
		})
	}
}

// It says "later" twice: that is the answer.
func TestServiceThatSaysLaterTwice(t *testing.T) {
	w := newWorld(t)
	w.subscribe(phone, agent)
	later := reply{status: 429, header: map[string]string{"Retry-After": "0"}, body: "slow down"}
	w.answers(later, later, reply{status: 201})
	err := w.Wake(t.Context(), agent, phone)
	if !errors.Is(err, ErrLimited) || !strings.Contains(err.Error(), "429: slow down") || len(w.received()) != 2 {
		t.Errorf("%v, asked %d times", err, len(w.received()))
	}
}

// apple answers as Apple's push service does to a token that it does not take.
func (w *world) apple(to http.ResponseWriter, r *http.Request, clock time.Time) {
	to.Header().Set("Date", clock.UTC().Format(http.TimeFormat))
	token, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "vapid t="), ",")
	b, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	var claims struct {
		Sub, Aud string
		Exp      int64
	}
	left := time.Duration(0)
	if err := json.Unmarshal(b, &claims); err == nil {
		left = time.Unix(claims.Exp, 0).Sub(clock)
	}
	switch {
	case strings.Contains(claims.Sub, "localhost") || claims.Aud != w.server.URL || left > 24*time.Hour:
		to.WriteHeader(http.StatusForbidden)
		fmt.Fprint(to, `{"reason":"BadJwtToken"}`)
	case left <= 0:
		to.WriteHeader(http.StatusForbidden)
		fmt.Fprint(to, `{"reason":"ExpiredJwtToken"}`)
	default:
		w.ServeHTTP(to, r)
	}
}

// A machine whose clock is days off (a Raspberry Pi after a power cut) makes
// tokens that are over, or not to be for days (web-push-php#61, webpush#87). The
// service says what time it is.
func TestClockApart(t *testing.T) {
	for _, off := range []time.Duration{0, 3 * time.Hour, -3 * time.Hour, 13 * time.Hour, -13 * time.Hour, 400 * 24 * time.Hour, -4000 * 24 * time.Hour} {
		w := newWorld(t)
		w.server.Config.Handler = http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) { w.apple(to, r, w.clock().Add(off)) })
		w.subscribe(phone, agent)
		w.wake(agent, phone, nil)
		if told := strings.Contains(w.log.String(), "clock"); told != (off.Abs() > tokenLife) {
			t.Errorf("%v off, the log says %s", off, w.log)
		}
	}
}

// What the service says of why is in the log and in the error, whatever its form,
// and the subscription's secret is in neither.
func TestReasonIsTold(t *testing.T) {
	const endpoint = "https://push.example/wpush/v2/gAAAAABsecret-token_of-the%3Aphone?token=BQYAAAD%2bsecret%3d"
	for _, test := range []struct {
		body, want string
		header     map[string]string
	}{
		{body: `{"reason":"BadJwtToken"}`, want: "BadJwtToken"},
		{body: `{"code":401,"errno":109,"error":"Unauthorized","message":"Request did not validate Invalid bearer token: Auth expired","more_info":"http://autopush.readthedocs.io/"}`, want: "Request did not validate Invalid bearer token: Auth expired"},
		{body: "the key in the authorization header does not correspond\nto the sender ID", want: "the key in the authorization header does not correspond to the sender ID"},
		{header: map[string]string{"X-WNS-Status": "dropped", "X-WNS-Error-Description": "Channel throttled"}, want: "dropped Channel throttled"},
		{body: "no such push: " + endpoint, want: "no such push: …"},
		{body: "no such path /wpush/v2/gAAAAABsecret-token_of-the:phone", want: "no such path /wpush/v2/…"},
		{body: "channel BQYAAAD+secret= of " + strings.Repeat("Ab1", 20), want: "channel … of …"},
		{body: "\x1b[2Jred\x00\xff" + "\u202e", want: "[2Jred"},
		{body: strings.Repeat("ü ", 300), want: strings.TrimSpace(strings.Repeat("ü ", 67)) + "…"},
		{body: "", want: ""},
	} {
		header := http.Header{}
		for name, value := range test.header {
			header.Set(name, value)
		}
		if got := reasonOf([]byte(test.body), header, endpoint); got != test.want {
			t.Errorf("%q: %q, want %q", test.body, got, test.want)
		}
	}

	w := newWorld(t)
	w.subscribe(phone, agent)
	w.answers(reply{status: 403, body: `{"reason":"BadJwtToken","endpoint":"` + w.server.URL + `/push/secret-token"}`})
	err := w.Wake(t.Context(), agent, phone)
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok || refused.Status != 403 || refused.Reason != "BadJwtToken" {
		t.Errorf("error: %v", err)
	}
	if log := w.log.String(); !strings.Contains(log, "status=403 reason=BadJwtToken") || !strings.Contains(log, "--push-subject") || strings.Contains(log, "secret-token") {
		t.Errorf("log: %s", log)
	}
	w.answers(reply{status: 400, body: "bad request for /push/secret-token"})
	err = w.Wake(t.Context(), agent, phone)
	if text := fmt.Sprint(err, w.log); strings.Contains(text, "secret-token") || !strings.Contains(text, "400: bad request for …") {
		t.Errorf("told: %s", text)
	}
}

// Microsoft's service takes pushes that it throws away, and says so in a header alone
// (microsoft/WindowsAppSDK 3677): such a phone is not woken.
func TestTakenAndDropped(t *testing.T) {
	w := newWorld(t)
	w.subscribe(phone, agent)
	for status, header := range map[string]string{"dropped": "X-WNS-Status", "channelThrottled": "X-WNS-NotificationStatus"} {
		w.answers(reply{status: http.StatusCreated, header: map[string]string{header: status}})
		refused, ok := errors.AsType[*RefusedError](w.Wake(t.Context(), agent, phone))
		if !ok || refused.Reason != status {
			t.Errorf("%s: %v", status, refused)
		}
	}
	w.answers(reply{status: http.StatusCreated, header: map[string]string{"X-WNS-Status": "received"}})
	w.wake(agent, phone, nil)
}

// What a push service wants is for its own subscription: a new one is woken at once.
func TestRestEndsWithTheSubscription(t *testing.T) {
	w := newWorld(t)
	w.subscribe(phone, agent)
	w.answers(reply{status: http.StatusTooManyRequests, header: map[string]string{"Retry-After": "100"}})
	w.wake(agent, phone, ErrLimited)
	w.subscribe(phone, agent)
	w.wake(agent, phone, ErrLimited)
	w.subscribeAt("/push/another", phone, nil, agent)
	w.wake(agent, phone, nil)
}
