package notices

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

var start = time.Date(2026, 11, 30, 12, 0, 0, 0, time.Local)

// status is one of an agent that tells of every kind.
func status(change func(*control.Status)) control.Status {
	s := control.Status{StartedAt: start, Phones: []control.Device{{ID: "1", Name: "phone"}}}
	for _, k := range Kinds {
		s.Notifications = append(s.Notifications, string(k))
	}
	if change != nil {
		change(&s)
	}
	return s
}

func texts(list []Notice) (words []string) {
	for _, n := range list {
		words = append(words, string(n.Kind)+": "+n.Text)
	}
	return words
}

// What has changed between two statuses is told of once, under its kind.
func TestChanges(t *testing.T) {
	failed := func(code wire.Code, kind, sentence string) func(*control.Status) {
		return func(s *control.Status) {
			s.LastFailure = &control.Failure{Code: code, Kind: kind, Sentence: sentence, About: "deploy", At: start.Add(time.Second)}
		}
	}
	valid := control.Certificate{State: control.CertificateValid, Serial: "1", ValidBefore: start.Add(time.Hour)}
	for _, test := range []struct {
		name          string
		before, after func(*control.Status)
		want          string
	}{
		{"nothing", nil, nil, ""},
		{"denied", nil, failed(wire.CodeUserDenied, "sign", "Denied on the phone."), "denied: deploy: Denied on the phone."},
		{"a policy", nil, failed(wire.CodePolicyDenied, "sign", "No."), "denied: deploy: No."},
		{"expired", nil, failed(wire.CodeRequestExpired, "sign", "No answer."), "expired: deploy: No answer."},
		{"away", nil, failed(wire.CodePhoneNotReachable, "sign", "Away."), "away: deploy: Away."},
		{"another reason", nil, failed(wire.CodeKeyNotFound, "sign", "No key."), "failed: deploy: No key."},
		{"the CA", nil, failed(control.CodeCAChanged, "certificate", "Another CA."), "ca: deploy: Another CA."},
		{"withdrawn here", nil, failed(wire.CodeUserDenied, "sign", control.SentenceWithdrawn), ""},
		{"the same failure", failed(wire.CodeUserDenied, "sign", "Denied."), failed(wire.CodeUserDenied, "sign", "Denied."), ""},
		{"made good", failed(wire.CodeUserDenied, "sign", "Denied."), nil, ""},
		{"a phone more", nil, func(s *control.Status) { s.Phones = append(s.Phones, control.Device{ID: "2", Name: "tablet"}) },
			"pairing: tablet is paired with this computer now."},
		{"a phone less", nil, func(s *control.Status) { s.Phones = nil }, "pairing: phone is no longer paired with this computer."},
		{"a phone that ended it", nil, func(s *control.Status) {
			s.Phones = nil
			failed(wire.CodePairingInvalid, "pairing", "Not paired.")(s)
		}, "pairing: phone is no longer paired with this computer."},
		{"not rung", nil, func(s *control.Status) { s.Phones[0].LastWake = &control.Wake{Error: "no subscription"} },
			"ringing: phone could not be rung: no subscription"},
		{"not rung again", func(s *control.Status) { s.Phones[0].LastWake = &control.Wake{Error: "one"} },
			func(s *control.Status) { s.Phones[0].LastWake = &control.Wake{Error: "two"} }, ""},
		{"a certificate", nil, func(s *control.Status) { s.Certificate = valid }, ""},
		{"revoked", func(s *control.Status) { s.Certificate = valid }, func(s *control.Status) {
			s.Certificate.State = control.CertificateNone
			s.History = []control.Event{{Kind: "certificate", Text: "Session certificate revoked on phone"}}
		}, "certificate: Session certificate revoked on phone."},
		{"about to expire", nil, func(s *control.Status) {
			s.Certificate = valid
			s.Certificate.ValidBefore = start.Add(4 * time.Minute)
		}, "certificate: The session certificate expires within 5 minutes."},
	} {
		t.Run(test.name, func(t *testing.T) {
			var w Watcher
			w.Next(status(test.before), start)
			show, _, _ := w.Next(status(test.after), start)
			if got := fmt.Sprint(texts(show)); got != "["+test.want+"]" {
				t.Errorf("%s, want %s", got, test.want)
			}
			if again, _, _ := w.Next(status(test.after), start); len(again) > 0 {
				t.Errorf("told again: %v", texts(again))
			}
		})
	}
}

// What waits is told of after a moment, once, and withdrawn when it waits no more, also
// when the agent was started again.
func TestWaits(t *testing.T) {
	waits := func(ids ...string) control.Status {
		return status(func(s *control.Status) {
			for _, id := range ids {
				s.Waiting = append(s.Waiting, control.Request{RequestID: id, Kind: "sign", Identity: "deploy", Since: start})
			}
		})
	}
	var w Watcher
	step := func(s control.Status, after time.Duration, shown string, gone []string, again time.Duration) {
		t.Helper()
		show, withdraw, wait := w.Next(s, start.Add(after))
		if got := fmt.Sprint(texts(show)); got != "["+shown+"]" || !slices.Equal(withdraw, gone) || wait != again {
			t.Errorf("after %v: %s, withdrawn %v, again after %v", after, got, withdraw, wait)
		}
	}
	const text = "waiting: Approve on the phone: deploy"
	step(waits("quick"), 0, "", nil, patience)
	step(waits(), 200*time.Millisecond, "", nil, 0)
	step(waits("slow"), 250*time.Millisecond, "", nil, 50*time.Millisecond)
	step(waits("slow"), patience, text, nil, 0)
	step(waits("slow"), time.Second, "", nil, 0)
	step(waits("another"), time.Second, text, []string{"slow"}, 0)
	anew := waits()
	anew.StartedAt = start.Add(time.Minute)
	step(anew, time.Minute, "", []string{"another"}, 0)
}

// The end of a certificate is looked for in time.
func TestAgainBeforeTheEnd(t *testing.T) {
	var w Watcher
	s := status(func(s *control.Status) {
		s.Certificate = control.Certificate{State: control.CertificateValid, ValidBefore: start.Add(time.Hour)}
	})
	if _, _, again := w.Next(s, start); again != time.Hour-expiresSoon {
		t.Errorf("again after %v", again)
	}
}

// Kinds that are switched off are not told of.
func TestKinds(t *testing.T) {
	for _, k := range Kinds {
		if got, err := Parse([]string{string(k)}); err != nil || !slices.Equal(got, []Kind{k}) {
			t.Errorf("%s: %v, %v", k, got, err)
		}
	}
	all, err := Parse([]string{"all"})
	if none, failed := Parse([]string{"none"}); err != nil || failed != nil || len(none) != 0 || !slices.Equal(all, Kinds) {
		t.Errorf("%v, %v, %v, %v", all, none, err, failed)
	}
	for _, wrong := range []string{"", "loud", "all,none"} {
		if _, err := Parse([]string{wrong}); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
	var w Watcher
	s := status(nil)
	s.Notifications = []string{string(Denied)}
	w.Next(s, start)
	s.Phones = nil
	if show, _, _ := w.Next(s, start); len(show) != 0 {
		t.Errorf("told of %v", texts(show))
	}
}
