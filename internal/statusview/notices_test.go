package statusview

import (
	"strings"
	"testing"
	"time"

	"vmux/internal/control"
)

func TestWaitingSaysWhetherThePhoneWasRung(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		shown, woken bool
		want         string
	}{
		{false, false, "30 s left, not shown there yet"},
		{false, true, "30 s left, not shown there yet, the phone was rung"},
		{true, true, "30 s left"},
	} {
		r := control.Request{Kind: "sign", Identity: "work", Until: now.Add(30 * time.Second), Shown: test.shown, Woken: test.woken}
		if got := waitingFor(r, now); !strings.HasSuffix(got, test.want) {
			t.Errorf("shown %v, woken %v: %q", test.shown, test.woken, got)
		}
	}
}

// What a hub answers is shown, not obeyed.
func TestHubText(t *testing.T) {
	for _, test := range []struct {
		hub  control.Hub
		want string
	}{
		{control.Hub{URL: "https://hub.example", Connected: true, LastError: "old"}, "hub https://hub.example connected"},
		{control.Hub{URL: "https://hub.example"}, "hub https://hub.example not connected yet"},
		{control.Hub{URL: "https://hub.example", LastError: "refused\x1b[2J"}, "hub https://hub.example not connected: refused\ufffd[2J"},
	} {
		if got := hubText(test.hub); got != test.want {
			t.Errorf("%+v: %q, want %q", test.hub, got, test.want)
		}
	}
}

// Servers that are offered fewer keys are named for a day after a login there, three at
// most, and what to do.
func TestFewerKeysAreSaid(t *testing.T) {
	now := time.Now()
	at := func(ago time.Duration, name string, most int) control.FewerKeys {
		return control.FewerKeys{At: now.Add(-ago), Server: "SHA256:" + name, Name: name, Most: most}
	}
	for _, test := range []struct {
		name  string
		list  []control.FewerKeys
		says  []string
		lines int
	}{
		{"none", nil, nil, 0},
		{"long ago", []control.FewerKeys{at(25*time.Hour, "old", 0)}, nil, 0},
		{"two", []control.FewerKeys{at(0, "a\x1b[2J", 2), at(time.Hour, "", 0)}, []string{
			"a\ufffd[2J (SHA256:a", "offered 2 at most", "room: none is offered", "hint: name a key"}, 3},
		{"an account", []control.FewerKeys{{At: now, Server: "SHA256:a", Account: "root", Most: 2}}, []string{
			"SHA256:a took no key of a phone for the account root, so that"}, 2},
		{"forwarded", []control.FewerKeys{{At: now, Server: "SHA256:a", Forwarded: true}}, []string{
			"SHA256:a took no key of a phone in logins through another host, so that"}, 2},
		{"five", []control.FewerKeys{at(0, "a", 0), at(1, "b", 0), at(2, "c", 0), at(3, "d", 0), at(48*time.Hour, "e", 0)},
			[]string{"c (SHA256:c)", "and 2 more such servers: vmux status --json"}, 5},
	} {
		var n notices
		n.fewerKeys(test.list, now)
		said := ""
		for _, notice := range n {
			said += notice.Text + "\n"
			if notice.Hint != "" {
				said += "hint: " + notice.Hint + "\n"
			}
		}
		if lines := strings.Count(said, "\n"); lines != test.lines {
			t.Errorf("%s: %d lines, want %d:\n%s", test.name, lines, test.lines, said)
		}
		for _, text := range test.says {
			if !strings.Contains(said, text) {
				t.Errorf("%s lacks %q:\n%s", test.name, text, said)
			}
		}
	}
}
