package nativephone

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A phone remembers the hubs it was told of, the newest first and few of them,
// and the CA of each until it is told of another.
func TestHubsAreRemembered(t *testing.T) {
	p, _ := newPhone(t)
	if hubs, err := p.Hubs(); err != nil || len(hubs) > 0 {
		t.Errorf("at first: %v, %v", hubs, err)
	}
	for _, h := range []Hub{{"https://one.example", "CA 1"}, {"https://two.example", ""}, {"https://one.example", ""}} {
		if err := p.RememberHub(h); err != nil {
			t.Fatal(err)
		}
	}
	want := []Hub{{"https://one.example", "CA 1"}, {"https://two.example", ""}}
	slices.Reverse(want)
	if hubs, err := p.Hubs(); err != nil || !slices.Equal(hubs, want) {
		t.Errorf("%v, %v; want %v", hubs, err, want)
	}
	if err := p.RememberHub(Hub{"https://one.example", "CA 2"}); err != nil {
		t.Fatal(err)
	}
	if hubs, _ := p.Hubs(); hubs[0] != (Hub{"https://one.example", "CA 2"}) {
		t.Errorf("after another CA: %v", hubs)
	}
	for n := range 2 * maxHubs {
		if err := p.RememberHub(Hub{URL: fmt.Sprintf("https://h%d.example", n)}); err != nil {
			t.Fatal(err)
		}
	}
	if hubs, err := p.Hubs(); err != nil || len(hubs) != maxHubs {
		t.Errorf("%d hubs, %v", len(hubs), err)
	}
	if err := p.ForgetHubs(); err != nil {
		t.Fatal(err)
	}
	if hubs, err := p.Hubs(); err != nil || len(hubs) > 0 {
		t.Errorf("after forgetting: %v, %v", hubs, err)
	}
}

// What is damaged is no hub: the phone says so rather than go anywhere.
func TestDamagedHubs(t *testing.T) {
	for _, text := range []string{
		"", "{", `{"version":2,"hubs":[]}`, `{"version":1,"hubs":[{"url":"http://hub.example"}]}`,
		`{"version":1,"hubs":[{"url":"https://HUB.example/"}]}`,
	} {
		p, _ := newPhone(t)
		if err := os.WriteFile(filepath.Join(p.dir.Path(), hubsDocument), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if hubs, err := p.Hubs(); err == nil {
			t.Errorf("%q: %v", text, hubs)
		}
		if err := p.ForgetHubs(); err != nil {
			t.Error(err)
		}
		if _, err := p.Hubs(); err != nil {
			t.Errorf("%q: after forgetting: %v", text, err)
		}
	}
}

// Of an invitation's routes those count that can be a hub's.
func TestHubsOfAnInvitation(t *testing.T) {
	got := hubsOf([]string{"tcp:192.0.2.1:1", "hub:https://Hub.example/", "hub:https://hub.example", "hub:http://hub.example", "hub:", "hub:javascript:1"})
	if !slices.Equal(got, []string{"https://hub.example"}) {
		t.Errorf("%q", got)
	}
}

// Two pairings at once would leave each other's hubs: one waits for the other, for as
// long as whoever wants it does.
func TestOnePairingAtATime(t *testing.T) {
	p, _ := newPhone(t)
	c := newComputer(t, "laptop")
	p.pairing <- struct{}{} // another one
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if _, err := p.Pair(ctx, c.inv, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("beside another: %v", err)
	}
	<-p.pairing
	if _, err := p.Pair(t.Context(), c.inv, nil); err != nil {
		t.Errorf("after it: %v", err)
	}
}
