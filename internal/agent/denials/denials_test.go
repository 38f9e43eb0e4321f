package denials

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

func session(n int) sshctx.Context { return sshctx.Context{SessionID: fmt.Append(nil, n)} }

// What is remembered of denials is bounded, and forgotten when it is over.
func TestDenialsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Memory
		for n := range 2 * maxDenials {
			m.Note(sshagent.SignRequest{}, session(n), nil, wire.CodeUserDenied)
			if len(m.denied) > maxDenials {
				t.Fatalf("%d denials remembered", len(m.denied))
			}
		}
		last := session(2*maxDenials - 1)
		if m.Before(sshagent.SignRequest{}, last, nil) != wire.CodeUserDenied {
			t.Error("the last denial is not remembered")
		}
		time.Sleep(sessionLife)
		if m.Before(sshagent.SignRequest{}, last, nil) != "" {
			t.Error("a denial holds for ever")
		}
		time.Sleep(time.Second)
		m.Note(sshagent.SignRequest{}, last, nil, wire.CodeUserDenied)
		if len(m.denied) != 1 {
			t.Errorf("%d denials remembered, all but one of them over", len(m.denied))
		}
	})
}

// attacker: a phone that lists another's key and denies it. What it says holds for keys
// that it alone lists, also after it has said it twice; what the phone says that has the
// key holds for all.
func TestDenialsHoldForThoseAsked(t *testing.T) {
	var m Memory
	evil, phone := device.ID{1}, device.ID{2}
	about := session(1)
	for range 2 {
		m.Note(sshagent.SignRequest{}, about, []device.ID{evil}, wire.CodeUserDenied)
	}
	if got := m.Before(sshagent.SignRequest{}, about, []device.ID{evil}); got != wire.CodeUserDenied {
		t.Errorf("a key of its own: %q", got)
	}
	if got := m.Before(sshagent.SignRequest{}, about, []device.ID{evil, phone}); got != "" {
		t.Errorf("another's key: %q", got)
	}
	m.Note(sshagent.SignRequest{}, about, nil, wire.CodeRequestExpired)
	m.Note(sshagent.SignRequest{}, about, []device.ID{evil}, wire.CodeUserDenied)
	if got := m.Before(sshagent.SignRequest{}, about, []device.ID{evil, phone}); got != wire.CodeRequestExpired {
		t.Errorf("said by the phone that has the key: %q", got)
	}
	m.Note(sshagent.SignRequest{}, session(2), nil, wire.CodePolicyDenied)
	if got := m.Before(sshagent.SignRequest{}, session(2), nil); got != "" {
		t.Errorf("a refusal of one key: %q", got)
	}
}
