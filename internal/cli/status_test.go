package cli

import (
	"strings"
	"testing"
	"time"

	"vmux/internal/control"
)

func TestWaitingSaysWhetherThePhoneWasRung(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		shown, rung bool
		want        string
	}{
		{false, false, "30 s left, not shown there yet"},
		{false, true, "30 s left, not shown there yet, the phone was rung"},
		{true, true, "30 s left"},
	} {
		r := control.Request{Kind: "sign", Identity: "work", Until: now.Add(30 * time.Second), Shown: test.shown, Rung: test.rung}
		if got := waitingText(r, now); !strings.HasSuffix(got, test.want) {
			t.Errorf("shown %v, rung %v: %q", test.shown, test.rung, got)
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
