package web

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"vmux/internal/control"
	"vmux/internal/sshdtest"
	"vmux/test/browser"
)

// Two phones with the same key, paired with one computer: both show what is
// asked, and what one of them answers ends it on the other.
func TestTwoPhones(t *testing.T) {
	hub := StartHub(t)
	agent := StartAgent(t, hub.URL)
	file := filepath.Join(t.TempDir(), "id")
	if out, err := exec.Command(sshdtest.Old(t).SSHKeygen, "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	private, _ := os.ReadFile(file)
	public, _ := os.ReadFile(file + ".pub")
	var phones []*world
	for _, name := range []string{"phone", "otherphone"} {
		w := &world{hub: hub, browser: NewBrowser(t), agent: agent}
		w.page = w.browser.Open(hub.URL + "/")
		w.authenticator = w.page.Authenticator(browser.AuthenticatorOptions{})
		w.page.MustCall("rename", map[string]string{"name": name}, nil)
		agent.Pair(w.page)
		w.page.MustCall("importVault", map[string]string{"label": "shared", "file": string(private)}, nil)
		phones = append(phones, w)
	}
	waitFor(t, "the agent knows that both hold the key", func() bool {
		var s control.Status
		if err := json.Unmarshal([]byte(agent.MustVmux("status", "--json")), &s); err != nil {
			t.Fatal(err)
		}
		return len(s.Identities) == 1 && len(s.Identities[0].Phones) == 2
	})
	for i, w := range phones {
		other := phones[1-i]
		for _, answer := range []string{"Approve", "Deny"} {
			// Of its own: what was denied is not asked again soon.
			server := sshdtest.Old(t).StartServer(t, sshdtest.Config{AuthorizedKeys: []string{string(public)}})
			out, err := finish(server.Command(deadline(t), t, sshdtest.Old(t), agent.Socket, "echo", "in"), func() {
				other.page.WaitFor("document.querySelector('dialog[open] .approve')?.checkVisibility()")
				w.page.Tap(answer)
				for _, p := range phones {
					p.page.WaitFor("document.querySelector('dialog') === null")
				}
			})
			if in := err == nil && out == "in\n"; in != (answer == "Approve") {
				t.Errorf("%s: %v\n%s\n%s\n%s", answer, err, out, server.Log(), agent.Log())
			}
			if got := records(other.page, t)[0]; got.Decision != "withdrawn" {
				t.Errorf("%s on one phone stands in the other's log as %+v", answer, got)
			}
		}
	}
}
