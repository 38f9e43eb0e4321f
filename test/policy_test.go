package test

import (
	"encoding/json"
	"strings"
	"testing"
)

// A policy that is changed while the phone runs and the link is up reaches the
// computer on that link: it asks for a certificate by itself as soon as it may.
func TestChangedPolicyReachesTheComputer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	automatic := func() bool {
		var s struct {
			Phones []struct {
				AutomaticIssuance bool
				ProgramVersion    string
			}
		}
		if err := json.Unmarshal([]byte(w.computer.run("status", "--json")), &s); err != nil || len(s.Phones) != 1 {
			t.Fatalf("status: %v, %+v", err, s)
		}
		if v := strings.TrimSpace(w.computer.run("version")); !strings.HasPrefix(v, "vmux "+s.Phones[0].ProgramVersion+" ") {
			t.Errorf("the phone is of version %q, this program says %q", s.Phones[0].ProgramVersion, v)
		}
		return s.Phones[0].AutomaticIssuance
	}
	if automatic() {
		t.Fatal("automatic issuance is on at first")
	}
	w.phone.run("phone", "ca", "policy", "--auto-issue=true")
	w.waitStatus("Certificate valid until ")
	if !automatic() {
		t.Error("the computer has a certificate and does not know why")
	}
	w.phone.run("phone", "ca", "policy", "--auto-issue=false")
	waitFor(t, "the policy to be withdrawn", func() bool { return !automatic() })
	if strings.Contains(w.agent.log(), "phone disconnected") {
		t.Error("the link was lost")
	}
}
