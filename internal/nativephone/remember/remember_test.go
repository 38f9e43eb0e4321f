package remember

import (
	"testing"
	"testing/synctest"
	"time"
)

func remembers(t *testing.T, m *Memory, name, want string) {
	t.Helper()
	if got, _ := m.Secret(name); string(got) != want {
		t.Errorf("%s: %q is kept, want %q", name, got, want)
	}
}

func TestSecretIsKeptForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(15 * time.Minute)
		typed := []byte("secret")
		m.Keep("work", typed)
		clear(typed)
		inMemory := m.kept["work"].secret
		time.Sleep(14 * time.Minute)
		remembers(t, m, "work", "secret")
		remembers(t, m, "home", "")
		if left := time.Until(m.Until("work")); left != time.Minute {
			t.Errorf("use has made it %s", left)
		}
		time.Sleep(time.Minute + time.Second)
		if string(inMemory) != "\x00\x00\x00\x00\x00\x00" {
			t.Errorf("%q is in memory after its time, though nobody has asked", inMemory)
		}
		remembers(t, m, "work", "")
		if !m.Last().IsZero() || m.timer != nil {
			t.Error("something is kept")
		}
	})
}

// KeePassXC issue 2014: who sleeps for a night finds everything open in the morning, since
// timers stand still meanwhile. A clock that is set back keeps nothing longer either.
func TestSleepAndSetClocksEndIt(t *testing.T) {
	t.Parallel()
	for name, happens := range map[string]func(now *time.Time, slept *time.Duration){
		"a night's sleep":  func(now *time.Time, slept *time.Duration) { *now, *slept = now.Add(8*time.Hour), 8*time.Hour },
		"a short sleep":    func(now *time.Time, slept *time.Duration) { *now, *slept = now.Add(5*time.Second), 5*time.Second },
		"a clock set back": func(now *time.Time, _ *time.Duration) { *now = now.Add(-time.Hour) },
	} {
		now, slept := time.Now(), time.Duration(0)
		m := New(time.Hour)
		m.now, m.slept = func() time.Time { return now }, func() time.Duration { return slept }
		m.Keep("work", []byte("secret"))
		now, slept = now.Add(time.Minute), jitter // read on a busy machine
		remembers(t, m, "work", "secret")
		happens(&now, &slept)
		remembers(t, m, "work", "")
		if m.Clear() != 0 {
			t.Errorf("%s: it is still there", name)
		}
	}
}

func TestForgetAndClear(t *testing.T) {
	t.Parallel()
	m := New(time.Hour)
	m.Keep("work", []byte("one"))
	m.Keep("work", []byte("two"))
	m.Keep("home", []byte("three"))
	remembers(t, m, "work", "two")
	m.Forget("work")
	remembers(t, m, "work", "")
	remembers(t, m, "home", "three")
	if n := m.Clear(); n != 1 || m.timer != nil {
		t.Errorf("%d were kept", n)
	}
	remembers(t, m, "home", "")
	var none *Memory
	none.Keep("work", []byte("one"))
	none.Forget("work")
	remembers(t, none, "work", "")
	if none.Clear() != 0 || !none.Last().IsZero() || !none.Until("work").IsZero() {
		t.Error("no memory keeps something")
	}
}

// The clocks of this machine: it does not sleep during a test.
func TestSlept(t *testing.T) {
	t.Parallel()
	before := slept()
	if d := (slept() - before).Abs(); before < -jitter || d > jitter {
		t.Errorf("slept %s, and %s more", before, d)
	}
}
