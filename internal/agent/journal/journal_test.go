package journal

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// A success ends the failure of its kind; one that a person had a part in ends all.
func TestSuccessEndsFailures(t *testing.T) {
	j := New(slog.New(slog.DiscardHandler))
	failure := func() string {
		var s control.Status
		if j.Fill(&s); s.LastFailure == nil {
			return ""
		}
		return s.LastFailure.Kind
	}
	both := func() {
		j.Fail(KindSign, "mine", wire.NewError(wire.CodeUserDenied))
		j.Fail(KindKeys, "", wire.NewError(wire.CodePhoneNotReachable))
	}
	both()
	if j.Succeed(KindKeys, "3 keys"); failure() != KindSign {
		t.Errorf("after the keys have come: %q", failure())
	}
	both()
	if j.Succeed(KindCertificate, "issued"); failure() != "" {
		t.Errorf("after a certificate: %q", failure())
	}
	both()
	if j.ForgetFailures(); failure() != "" {
		t.Errorf("after a login: %q", failure())
	}
}

// Requests stand in the order of their age, the newest event comes first, and of
// events there are no more than the limit. Each change wakes who watches.
func TestFill(t *testing.T) {
	j := New(slog.New(slog.DiscardHandler))
	now := time.Now()
	late := j.Wait(control.Request{RequestID: "late", Since: now})
	j.Wait(control.Request{RequestID: "early", Since: now.Add(-time.Second)})
	changed := j.Changed()
	j.Update("early", func(r *control.Request) { r.Shown = true })
	select {
	case <-changed:
	default:
		t.Error("nobody is woken")
	}
	changed = j.Changed()
	j.Update("early", func(r *control.Request) { r.Shown = true })
	j.Update("gone", func(r *control.Request) { r.Shown = true })
	select {
	case <-changed:
		t.Error("woken, though nothing is new")
	default:
	}
	for i := range maxHistory + 1 {
		j.Note(KindLink, fmt.Sprint(i), "")
	}
	j.Warn("b", "second")
	j.Warn("a", "first")
	j.Warn("c", "third")
	j.Warn("c", "")
	var s control.Status
	j.Fill(&s)
	if len(s.Waiting) != 2 || s.Waiting[0].RequestID != "early" || !s.Waiting[0].Shown {
		t.Errorf("waiting %+v", s.Waiting)
	}
	if len(s.History) != maxHistory || s.History[0].Text != fmt.Sprint(maxHistory) {
		t.Errorf("%d events, the newest %+v", len(s.History), s.History[0])
	}
	if fmt.Sprint(s.Warnings) != "[first second]" {
		t.Errorf("warnings %q", s.Warnings)
	}
	late()
	if _, waits := j.Waiting("late"); waits {
		t.Error("a request waits that is done")
	}
}
