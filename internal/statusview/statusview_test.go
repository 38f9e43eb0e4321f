package statusview

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"vmux/internal/control"
	"vmux/internal/leakcheck"
	"vmux/internal/wire"
)

var write = flag.Bool("write", false, "write what is drawn into testdata, in place of comparing it")

// TestMain fails when a test has left a goroutine behind.
func TestMain(m *testing.M) {
	time.Local = time.UTC // what is compared does not depend on where the tests run
	os.Exit(leakcheck.Run(m))
}

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

const fingerprint = "SHA256:9yKiFGIp6KO7tPl4ViQup7Jq/M1FNTRWcW2JcWQExSo"

// everything is a status in which there is something of each kind.
func everything() control.Status {
	return control.Status{
		ConnectionLine: control.LineConnected + "Alice's phone", Connected: true,
		CertificateLine: control.LineCertificateValid + "2026-11-29 19:40:00",
		Certificate:     control.Certificate{State: control.CertificateValid, ValidBefore: now.Add(7*time.Hour + 40*time.Minute)},
		Identities: []control.Identity{
			{Comment: "work", Fingerprint: fingerprint, Phones: []string{"Alice's phone"}, Available: true},
			{Comment: "spare\x1b[2J", Fingerprint: fingerprint, Phones: []string{"old"}},
			{Comment: "vmux-session-cert", Fingerprint: fingerprint, Certificate: true, Available: true},
		},
		Phones: []control.Device{
			{Name: "Alice's phone", Connected: true, Route: "hub:https://hub.example.com", Since: now.Add(-3 * time.Minute), RoundTripMilliseconds: 41.7},
			{Name: "字", Connected: true, Route: "tcp:192.0.2.7:4711", Since: now.Add(-3 * time.Hour), RoundTripMilliseconds: 0.3, ClockDifferenceMilliseconds: -41000, ClockWarning: true},
			{Name: "old", Since: now.Add(-72 * time.Hour)},
		},
		Waiting: []control.Request{
			{Kind: "sign", Identity: "work", Detail: "root", Program: "git", Until: now.Add(52 * time.Second), Shown: true},
			{Kind: "certificate", Until: now.Add(30 * time.Second), Woken: true},
		},
		LastFailure: &control.Failure{Code: wire.CodeUserDenied, Sentence: "Denied on the phone.", Hint: "run the command again", Kind: "sign", At: now.Add(-time.Hour)},
		Warnings:    []string{"Clocks differ by 41 s: this computer's and that of 字."},
		Hub:         &control.Hub{URL: "https://hub.example.com", Connected: true},
		History: []control.Event{
			{At: now.Add(-time.Minute), Kind: "sign", Text: "work: signed for root, by git"},
			{At: now.Add(-26 * time.Hour), Kind: "link", Text: "old has gone"},
		},
	}
}

// What a terminal of 80 columns shows, and one of 40, word for word. No line is wider
// than the terminal, and nothing that another device chose moves the cursor.
func TestScreens(t *testing.T) {
	away := control.Status{ConnectionLine: control.LineNotConnected, CertificateLine: control.LineCertificateExpired, Locked: true,
		Certificate: control.Certificate{State: control.CertificateExpired}}
	one := everything()
	one.Phones = one.Phones[:1]
	for name, draw := range map[string]func(columns int) string{
		"table":      func(columns int) string { return Table(everything(), columns, now) },
		"table-one":  func(columns int) string { return Table(one, columns, now) },
		"table-away": func(columns int) string { return Table(away, columns, now) },
		"live":       func(columns int) string { return Live(everything(), nil, columns, 24, now) },
		"live-all":   func(columns int) string { return Live(everything(), nil, columns, 100, now) },
		"live-none":  func(columns int) string { return Live(everything(), control.ErrNotRunning, columns, 24, now) },
	} {
		for size, columns := range map[string]int{"80": 80, "40": 40} {
			got := draw(columns)
			for line := range strings.Lines(got) {
				if ansi.StringWidth(strings.TrimSuffix(line, "\n")) > columns || strings.Contains(line, "\x1b") {
					t.Errorf("%s at %s columns: %q", name, size, line)
				}
			}
			file := filepath.Join("testdata", name+"-"+size+".txt")
			if *write {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(file); err != nil || string(want) != got {
				t.Errorf("%s (%v) is not what is drawn:\n%s", file, err, got)
			}
		}
	}
	if lines := strings.Count(Live(everything(), nil, 40, 24, now), "\n") + 1; lines > 24 {
		t.Errorf("%d lines on a terminal of 24", lines)
	}
}

// A prompt has room for what keeps a login from working, and for nothing that a phone's
// name could do to it.
func TestShort(t *testing.T) {
	valid := control.Certificate{State: control.CertificateValid, ValidBefore: now.Add(90 * time.Minute)}
	phone := func(name string) control.Device { return control.Device{Name: name, Connected: true} }
	for _, test := range []struct {
		status control.Status
		want   string
	}{
		{control.Status{}, "no phone"},
		{control.Status{Phones: []control.Device{{Name: "away"}}}, "no phone"},
		{control.Status{Phones: []control.Device{{Name: "away"}}, Certificate: valid}, "no phone, cert 1 h"},
		{control.Status{Phones: []control.Device{phone("Alice's phone")}, Certificate: valid}, "Alice's phone, cert 1 h"},
		{control.Status{Phones: []control.Device{phone("x")}, Certificate: control.Certificate{State: control.CertificateExpired}}, "x, cert expired"},
		{control.Status{Phones: []control.Device{phone("x"), phone("y")}, Waiting: make([]control.Request, 3)}, "3 waiting, 2 phones"},
		{control.Status{Phones: []control.Device{phone("x")}, Certificate: valid, Locked: true}, "locked"},
		{control.Status{Phones: []control.Device{phone("%F{red}$(reboot)#(reboot)`")}}, "_F_red___reboot___r…"},
		{control.Status{Phones: []control.Device{phone("a\nb\x1b[2J")}}, "a_b__2J"},
	} {
		if got := Short(test.status, now); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

// source is an agent that ends once, and whose status the test sends.
type source struct{ statuses chan control.Status }

func (s source) Watch(ctx context.Context, each func(control.Status) error) error {
	for {
		select {
		case status, more := <-s.statuses:
			if !more {
				<-ctx.Done()
				return ctx.Err()
			}
			if status.ConnectionLine == "" {
				return nil
			}
			_ = each(status)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (source) Ping(context.Context) ([]control.Device, error) {
	return nil, control.ErrNotRunning
}

// An agent that ends is looked for again, and what it says then is shown.
func TestFollowsTheAgentOverItsEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := source{make(chan control.Status)}
	sent := make(chan tea.Msg)
	done := make(chan struct{})
	go func() {
		defer close(done)
		follow(ctx, s, func(m tea.Msg) {
			select {
			case sent <- m:
			case <-ctx.Done():
			}
		})
	}()
	for _, line := range []string{"one", "", "two"} {
		s.statuses <- control.Status{ConnectionLine: line}
		switch m := (<-sent).(type) {
		case control.Status:
			if m.ConnectionLine != line {
				t.Errorf("%q, want %q", m.ConnectionLine, line)
			}
		case failure:
			if line != "" || !errors.Is(m.error, errEnded) {
				t.Errorf("after %q: %v", line, m)
			}
		}
	}
	cancel()
	<-done
}
