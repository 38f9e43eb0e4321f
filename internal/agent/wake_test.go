package agent

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/ssh"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/link/hubwire"
	"vmux/internal/link/relay"
	"vmux/internal/wire"
)

var errNoSubscription = &relay.Error{Code: hubwire.CodeNotSubscribed, Message: "the device has no push subscription"}

// A hub that knows no subscription of the phone: the computer no longer believes that
// it can wake it, also after a restart, until the phone says so again.
func TestDeadSubscriptionIsNotUsedAgain(t *testing.T) {
	withHub(t, func(t *testing.T, w *world, p *phone, b *pushHub, key ssh.Signer) {
		b.fails = errNoSubscription
		for n := range 2 {
			_, err := w.Sign(t.Context(), request(key, string(rune('a'+n))))
			if wire.CodeOf(err) != wire.CodePhoneNotReachable || len(b.woken()) != 1 {
				t.Errorf("%v, asked %d times", err, len(b.woken()))
			}
		}
		if d := w.Status().Phones[0]; d.Wakeable || !strings.Contains(d.WakeProblem, "no push subscription") || d.WakeHint == "" || d.LastWake == nil || d.LastWake.Error == "" {
			t.Errorf("the status says %+v", d)
		}
		again := newWorldIn(t, w.docs, w.trust)
		again.useHub(b, testHub)
		again.net.phones[p.peer.ID] = p
		if d := again.Status().Phones[0]; d.Wakeable || d.WakeProblem == "" {
			t.Errorf("after a restart: %+v", d)
		}
		again.stop()
		w.tells(p, testHub, true)
		if d := w.Status().Phones[0]; !d.Wakeable || d.WakeProblem != "" {
			t.Errorf("after the phone has made another: %+v", d)
		}
	})
}

// What a phone says of why it cannot be woken stands in the status, with what to do.
func TestPhoneSaysWhyItCannotBeWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.addPhone(1, "phone")
		w.addPhone(2, "native phone")
		w.useHub(&pushHub{}, testHub)
		for why, want := range map[string]string{
			"": "notifications are off", wire.WakeOff: "notifications are off", wire.WakeDenied: "does not let the app notify",
			wire.WakeFailed: "do not work there", "ofALaterVersion": "do not work there",
		} {
			w.tells(p, testHub, true)
			w.tellsWhy(p, testHub, false, why)
			for _, d := range w.Status().Phones {
				if d.Wakeable || (d.Name == "phone") != strings.Contains(d.WakeProblem, want) || (d.WakeProblem == "") != (d.WakeHint == "") {
					t.Errorf("%q: %+v", why, d)
				}
			}
		}
		w.tells(p, "https://other.example", true)
		if d := w.Status().Phones[0]; d.Wakeable || !strings.Contains(d.WakeProblem, "other.example") {
			t.Errorf("at another hub: %+v", d)
		}
		w.stop()
	})
}

// `vmux ring` wakes those that have said whether they can be, or the one it names, and
// believes the hub.
func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := &pushHub{}
		p := w.addPhone(1, "phone")
		if _, err := w.Wake(t.Context(), ""); wire.CodeOf(err) != control.CodeInvalid {
			t.Errorf("without a hub: %v", err)
		}
		w.useHub(b, testHub)
		if _, err := w.Wake(t.Context(), ""); wire.CodeOf(err) != wire.CodePhoneNotReachable {
			t.Errorf("nothing is known of any phone: %v", err)
		}
		if _, err := w.Wake(t.Context(), "unknown"); wire.CodeOf(err) != control.CodeNoSuchDevice {
			t.Errorf("an unknown phone: %v", err)
		}
		w.tellsWhy(p, testHub, false, wire.WakeDenied)
		b.fails = errNoSubscription
		for _, name := range []string{"", "phone", p.peer.ID.String()} {
			list, err := w.Wake(t.Context(), name)
			if err != nil || len(list) != 1 || list[0].Error == nil || !strings.Contains(list[0].Error.Sentence, "does not let the app notify") {
				t.Errorf("%q: %+v, %v", name, list, err)
			}
		}
		b.fails = errors.New("the push service answered 403")
		w.tells(p, testHub, true)
		if list, err := w.Wake(t.Context(), ""); err != nil || list[0].Error == nil || !strings.Contains(list[0].Error.Sentence, "403") {
			t.Errorf("%+v, %v", list, err)
		}
		if d := w.Status().Phones[0]; !d.Wakeable || d.LastWake == nil || !strings.Contains(d.LastWake.Error, "403") {
			t.Errorf("%+v", d)
		}
		b.fails = nil
		if list, err := w.Wake(t.Context(), ""); err != nil || list[0].Error != nil {
			t.Errorf("%+v, %v", list, err)
		}
		if d := w.Status().Phones[0]; d.LastWake == nil || d.LastWake.Error != "" {
			t.Errorf("%+v", d)
		}
		if err := w.forget(p.peer.ID); err != nil {
			t.Fatal(err)
		}
		var kept control.Device
		if w.waker.Describe(&kept, p.peer.ID); kept != (control.Device{}) || len(w.waker.Spoken([]device.Peer{p.peer})) > 0 {
			t.Errorf("kept of a phone that is unpaired: %+v", kept)
		}
		w.stop()
	})
}

// `vmux ring` of a phone that has never said anything, as one that is no web app, or that
// belongs to another hub: the answer says so, and what the phone has said of its hub is not
// forgotten.
func TestRingOfOneThatThisHubDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.addPhone(1, "native phone")
		p := w.addPhone(2, "phone of another hub")
		w.useHub(&pushHub{fails: errNoSubscription}, testHub)
		w.tells(p, "https://other.example", true)
		for name, want := range map[string]string{"native phone": "no push subscription", "phone of another hub": "other.example"} {
			list, err := w.Wake(t.Context(), name)
			if err != nil || len(list) != 1 || list[0].Error == nil || !strings.Contains(list[0].Error.Sentence, want) || list[0].Error.Hint == "" {
				t.Errorf("%s: %+v, %v", name, list, err)
			}
		}
		for _, d := range w.Status().Phones {
			if d.Name != "native phone" && !strings.Contains(d.WakeProblem, "other.example") {
				t.Errorf("afterwards: %+v", d)
			}
		}
		w.stop()
	})
}
