package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// listed is what the computer has heard of the phone's keys, sorted: each
// comment, with the servers that it is for, and whether it is the default.
func (w *world) listed() []string {
	w.Helper()
	b, err := os.ReadFile(filepath.Join(w.computer.dir, "agent", "cached-keys.json"))
	if err != nil {
		return nil
	}
	var cache struct {
		Phones []struct {
			Keys []struct {
				Comment string
				Default bool
				Hosts   []string
			}
		} `json:"cachedKeys"`
	}
	if err := json.Unmarshal(b, &cache); err != nil || len(cache.Phones) != 1 {
		w.Fatalf("cached keys: %v\n%s", err, b)
	}
	var list []string
	for _, k := range cache.Phones[0].Keys {
		text := k.Comment + fmt.Sprint(k.Hosts)
		if k.Default {
			text += " default"
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

// Whatever is changed about keys while the phone runs reaches the computer on
// the link that is up, without anybody reading the list again.
func TestChangedKeysReachTheComputer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	host := "SHA256:" + strings.Repeat("A", 43)
	change := func(args ...string) []string { return append([]string{"phone"}, args...) }
	for _, step := range []struct {
		args []string
		want []string
	}{
		{change("identity", "create", "--label", "work", "--algorithm", "ssh-ed25519", "--passphrase-file", w.passphraseFile), []string{"ssh-ed25519[] default", "work[]"}},
		{change("identity", "rename", "work", "office"), []string{"office[]", "ssh-ed25519[] default"}},
		{change("identity", "default", "office"), []string{"office[] default", "ssh-ed25519[]"}},
		{change("policy", "office", "--hosts", host), []string{"office[" + host + "] default", "ssh-ed25519[]"}},
		{change("policy", "office", "--hosts", ""), []string{"office[] default", "ssh-ed25519[]"}},
		{change("policy", "office", "--hosts", host), []string{"office[" + host + "] default", "ssh-ed25519[]"}},
		{change("policy", "office", "--hosts", host+",prod.example.com"), []string{"office[] default", "ssh-ed25519[]"}}, // the phone alone knows names
		{change("policy", "office", "--hosts", host), []string{"office[" + host + "] default", "ssh-ed25519[]"}},
		{change("policy", "office", "--clear"), []string{"office[] default", "ssh-ed25519[]"}},
		{change("identity", "disable", "ssh-ed25519"), []string{"office[] default"}},
		{change("identity", "enable", "ssh-ed25519"), []string{"office[] default", "ssh-ed25519[]"}},
		{change("identity", "delete", "ssh-ed25519", "--yes"), []string{"office[] default"}},
	} {
		w.phone.run(step.args...)
		waitFor(t, fmt.Sprintf("%v after %v; there is %v", step.want, step.args, w.listed()), func() bool { return slices.Equal(w.listed(), step.want) })
	}
	w.waitStatus("office " + w.identity("office").Fingerprint)
	if r := w.computer.try("status"); strings.Contains(r.stdout, "ssh-ed25519 SHA256:") {
		t.Errorf("a deleted key is listed:\n%s", r.stdout)
	}
	if strings.Contains(w.agent.log(), "phone disconnected") {
		t.Error("the link was lost")
	}
}
