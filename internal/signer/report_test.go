package signer

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer/activity"
	"vmux/internal/wire"
)

// Who is told of a pause can read who asked for what, how often and by which
// program: what was denied, and what was refused since.
func TestReportOfAPausedComputer(t *testing.T) {
	prod, other := newServer(t), newServer(t)
	synctest.Test(t, func(t *testing.T) {
		p := newPhone(t)
		id := p.create("work", "ssh-ed25519")
		p.createCA("root")
		no := false
		p.approver.Sign = func(context.Context, SignSheet) (SignDecision, error) { return SignDecision{Approved: !no}, nil }
		p.approver.Certificate = func(context.Context, CertificateSheet) (CertificateDecision, error) {
			return CertificateDecision{}, nil
		}
		var pause Pause
		told := activity.Report{}
		p.cfg.Approver.Paused = func(now Pause) {
			var err error
			pause = now
			if told, err = p.Activity.Report(now.DeviceID, now.Since); err != nil {
				t.Error(err)
			}
		}
		if err := p.askLogin(id, login(id, sessionID(0), "root", &prod), "prod"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		no = true
		_ = p.askLogin(id, login(id, sessionID(1), "root", &prod), "prod")
		home := p.computer
		p.computer = device.Peer{ID: device.ID{2}, Name: wire.Clean("another")}
		_ = p.askLogin(id, login(id, sessionID(2), "admin", &other), "other")
		p.computer = home
		p.askCertificate(certificateRequest(t, p))
		_ = p.askLogin(id, login(id, sessionID(3), "root", &prod), "prod")
		want := []activity.Asked{{What: wire.Clean("root@prod"), Server: wire.Clean(prod.fingerprint()), Times: 2}, {What: wire.Clean("session certificate for root"), Times: 1}}
		if pause.DeviceID != home.ID || told.Decisions["denied"] != 3 || len(told.Records) != 3 || !slices.Equal(told.Asked, want) {
			t.Errorf("told of %+v\n%+v", pause, told)
		}
		for range 4 {
			_ = p.askLogin(id, login(id, sessionID(4), "root", &other), "other")
		}
		later, err := p.Activity.Report(pause.DeviceID, pause.Since)
		want = slices.Insert(want, 0, activity.Asked{What: wire.Clean("root@other (claimed)"), Server: wire.Clean(other.fingerprint()), Times: 4})
		if err != nil || later.Decisions["refused"] != 4 || !slices.Equal(later.Asked, want) {
			t.Errorf("later %+v, %v", later, err)
		}
	})
}

// A computer that floods the person has no use of what was granted before.
func TestPauseHoldsForGrantsToo(t *testing.T) {
	prod, other := newServer(t), newServer(t)
	synctest.Test(t, func(t *testing.T) {
		p, id := granting(t, 15*time.Minute)
		to := func(s *server, want wire.Code) {
			t.Helper()
			if got := wire.CodeOf(p.askLogin(id, login(id, sessionID(0), "root", s), "")); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		to(&prod, "")
		p.approver.Sign = func(context.Context, SignSheet) (SignDecision, error) { return SignDecision{}, nil }
		to(&prod, "") // granted
		for range 3 {
			to(&other, wire.CodeUserDenied)
		}
		to(&prod, wire.CodePaused)
		time.Sleep(5 * time.Minute)
		to(&prod, "")
	})
}
