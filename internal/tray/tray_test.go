package tray

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// now is when the statuses of these tests are looked at.
var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.Local)

// show writes a menu as text, one line each: what is disabled in brackets, and behind the
// others what a click does.
func show(menu []Line) string {
	var b strings.Builder
	for _, l := range menu {
		switch {
		case l == Line{}:
			b.WriteString("---\n")
		case l.Enabled:
			b.WriteString(strings.TrimRight(fmt.Sprintf("%s -> %s %s", l.Text, l.Does, l.Of), " ") + "\n")
		default:
			b.WriteString("[" + l.Text + "]\n")
		}
	}
	return b.String()
}

const actions = `---
Refresh Keys -> refresh
Request Certificate -> certificate
Pair Phone… -> pair
Copy SSH_AUTH_SOCK -> copy export SSH_AUTH_SOCK='/run/it'\''s/agent.sock'
Open Log -> log
---
Quit -> quit
`

func connected() *control.Status {
	return &control.Status{
		ConnectionLine: "Connected to phone", Connected: true, CertificateLine: "No session certificate",
		Phones: []control.Device{{Connected: true}}, Socket: "/run/it's/agent.sock",
	}
}

func TestMenu(t *testing.T) {
	disabled := strings.NewReplacer(
		"Refresh Keys -> refresh", "[Refresh Keys]", "Request Certificate -> certificate", "[Request Certificate]",
	)
	for _, test := range []struct {
		name   string
		change func(s *control.Status)
		want   string
	}{
		{"connected", func(*control.Status) {}, "[Connected to phone]\n[No session certificate]\n" + actions},
		{"not connected", func(s *control.Status) {
			s.ConnectionLine, s.Connected, s.Phones[0].Connected = control.LineNotConnected, false, false
		}, "[Phone not connected]\n[No session certificate]\n" + disabled.Replace(actions)},
		{"a phone that can be woken", func(s *control.Status) {
			s.ConnectionLine, s.Connected, s.Phones[0] = control.LineNotConnected, false, control.Device{Wakeable: true}
		}, "[Phone not connected]\n[No session certificate]\n" +
			strings.Replace(actions, "Refresh Keys -> refresh", "[Refresh Keys]", 1)},
		{"locked", func(s *control.Status) { s.Locked = true },
			"[Connected to phone]\n[No session certificate]\n[Locked until ssh-add -X]\n" + actions},
		{"all of it", func(s *control.Status) {
			s.CertificateLine = control.LineCertificateExpired
			s.Waiting = []control.Request{
				{RequestID: "1", Kind: "sign", Identity: "deploy", Detail: "login as root", Program: "ssh", Until: now.Add(41500 * time.Millisecond)},
				{RequestID: "2", Kind: "certificate", Until: now.Add(-time.Second)},
			}
			s.Identities = []control.Identity{
				{Comment: "vmux-session-cert", Certificate: true},
				{Comment: "deploy_key", Fingerprint: "SHA256:abc", PublicKey: "ssh-ed25519 AAAA"},
			}
			s.LastFailure = &control.Failure{At: now, Sentence: "Denied on the phone.", Hint: "run the command again"}
		}, `[Connected to phone]
[Certificate expired — connect phone to renew]
---
[deploy: login as root (ssh), 42 s left]
    Withdraw -> withdraw 1
[a session certificate, 0 s left]
    Withdraw -> withdraw 2
---
deploy_key  SHA256:abc -> copy ssh-ed25519 AAAA deploy_key
---
[12:00 Denied on the phone.]
[    run the command again]
` + actions},
		{"last outcome", func(s *control.Status) {
			s.History = []control.Event{
				{Kind: "link", Text: "phone connected", At: now}, {Kind: "sign", Text: "Signed by deploy: login as root", At: now},
			}
		}, "[Connected to phone]\n[No session certificate]\n---\n[12:00 Signed by deploy: login as root]\n" + actions},
		{"what others have named", func(s *control.Status) {
			s.ConnectionLine = "Connected to a\nb\u202e"
			s.Identities = []control.Identity{{Comment: "x\r\nssh-rsa EVIL", Fingerprint: "SHA256:abc", PublicKey: "ssh-ed25519 AAAA"}}
		}, "[Connected to a\uFFFDb\uFFFD]\n[No session certificate]\n---\n" +
			"x\uFFFD\uFFFDssh-rsa EVIL  SHA256:abc -> copy ssh-ed25519 AAAA x\uFFFD\uFFFDssh-rsa EVIL\n" + actions},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := connected()
			test.change(s)
			if got := show(Menu(s, now)); got != test.want {
				t.Errorf("the menu is\n%s\nwant\n%s", got, test.want)
			}
		})
	}
	if got, want := show(Menu(nil, now)), `[The agent is not running]
[Start it: vmux agent, or its service]
---
[Refresh Keys]
[Request Certificate]
[Pair Phone…]
[Copy SSH_AUTH_SOCK]
Open Log -> log
---
Quit -> quit
`; got != want {
		t.Errorf("without an agent the menu is\n%s\nwant\n%s", got, want)
	}
}

// A menu that does not fit the screen is no menu.
func TestMenuIsBounded(t *testing.T) {
	s := connected()
	for i := range 100 {
		s.Identities = append(s.Identities, control.Identity{Comment: fmt.Sprint(i)})
		s.Waiting = append(s.Waiting, control.Request{RequestID: fmt.Sprint(i)})
	}
	menu := Menu(s, now)
	text := show(menu)
	if len(menu) > 50 || !strings.Contains(text, "and 92 more") || !strings.Contains(text, "and 80 more") {
		t.Errorf("%d lines:\n%s", len(menu), text)
	}
}

// What a click was meant for is not replaced under the pointer.
func TestSame(t *testing.T) {
	first := Line{"Withdraw", Withdraw, "1", true}
	for _, test := range []struct {
		name  string
		other Line
		want  bool
	}{
		{"itself", first, true},
		{"another text", Line{"Withdraw it", Withdraw, "1", false}, true},
		{"another request", Line{"Withdraw", Withdraw, "2", true}, false},
		{"another action", Line{"Withdraw", Copy, "1", true}, false},
		{"a separator", Line{}, false},
	} {
		if got := first.Same(test.other); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
	if (Line{}).Same(Line{Text: "only read"}) {
		t.Error("a line takes the place of a separator")
	}
}

func TestIconFor(t *testing.T) {
	waiting := []control.Request{{}, {}}
	for _, test := range []struct {
		name    string
		status  *control.Status
		want    Icon
		tooltip string
	}{
		{"no agent", nil, Icon{}, "vmux: The agent is not running"},
		{"no phone", &control.Status{ConnectionLine: control.LineNotConnected}, Icon{}, "vmux: Phone not connected"},
		{"connected", connected(), Icon{Shape: Connected}, "vmux: Connected to phone"},
		{"locked", &control.Status{Locked: true, Connected: true}, Icon{Shape: Locked}, "vmux: Locked until ssh-add -X"},
		{"waiting", &control.Status{Locked: true, Waiting: waiting}, Icon{Waiting, 2}, "vmux: 2 waiting for approval"},
	} {
		if got := IconFor(test.status); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
		if got := Tooltip(test.status); got != test.tooltip {
			t.Errorf("%s: %q, want %q", test.name, got, test.tooltip)
		}
	}
}

// Whatever a phone calls itself, a line of the menu is one line.
func FuzzMenu(f *testing.F) {
	f.Add("phone", "deploy", "login as root", "Denied.")
	f.Add("\x00\n", "\u202e", "a\u2028b", "\xff")
	f.Fuzz(func(t *testing.T, phone, identity, detail, sentence string) {
		s := connected()
		s.ConnectionLine = control.LineConnected + phone
		s.Waiting = []control.Request{{RequestID: identity, Kind: "sign", Identity: identity, Detail: detail, Program: phone}}
		s.Identities = []control.Identity{{Comment: identity, Fingerprint: "SHA256:abc", PublicKey: "ssh-ed25519 AAAA"}}
		s.LastFailure = &control.Failure{Sentence: sentence, Hint: detail}
		menu := Menu(s, now)
		for _, l := range menu {
			if !wire.Printable(l.Text) {
				t.Errorf("%q", l.Text)
			}
		}
		if !slices.ContainsFunc(menu, func(l Line) bool { return l.Does == Withdraw && l.Of == identity }) {
			t.Error("what waits cannot be withdrawn")
		}
	})
}
