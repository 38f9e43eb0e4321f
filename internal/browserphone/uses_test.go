package browserphone

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/browserphone/away"
	"vmux/internal/browserphone/pagestate"
	"vmux/internal/browserphone/sheets"
	"vmux/internal/device"
	"vmux/internal/signer/activity"
	"vmux/internal/signer/identity"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// answeredWithout sends a request that has to be answered without a sheet, and
// returns with which code.
func (p *page) answeredWithout(id identity.Identity) wire.Code {
	p.t.Helper()
	r := p.signRequest(id)
	select {
	case body := <-p.asks(p.t.Context(), wire.KindSignRequest, r.RequestID, r):
		return wire.CodeOf(asError(body.(*wire.SignResponse).Error))
	case e := <-p.events:
		p.t.Fatalf("a person is asked: %+v", e)
		return ""
	}
}

func asError(e *wire.Error) error {
	if e == nil {
		return nil
	}
	return e
}

// sheetOf sends a request that a person is asked about.
func (p *page) sheetOf(id identity.Identity) (sheets.Sheet, <-chan any) {
	p.t.Helper()
	r := p.signRequest(id)
	answer := p.asks(p.t.Context(), wire.KindSignRequest, r.RequestID, r)
	return p.sheet(), answer
}

func (p *page) denies(id identity.Identity, mute bool) {
	p.t.Helper()
	sheet, answer := p.sheetOf(id)
	p.must("deny", map[string]any{"id": sheet.ID, "mute": mute})
	<-answer
}

func (p *page) state() pagestate.State {
	p.t.Helper()
	s, err := p.State()
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func newGranting(t *testing.T) (*page, identity.Identity) {
	t.Helper()
	p := newPage(t)
	p.must("createVault", map[string]any{"label": "vault", "algorithm": "ssh-ed25519"})
	p.must("enableGrants", map[string]any{"enabled": true})
	return p, p.identity("vault")
}

// grants approves a request and the like of it.
func (p *page) grants(id identity.Identity, seconds int) {
	p.t.Helper()
	sheet, answer := p.sheetOf(id)
	if !sheet.Grantable {
		p.t.Fatalf("not grantable: %+v", sheet)
	}
	p.must("approve", map[string]any{"id": sheet.ID, "decision": map[string]any{"grantSeconds": seconds}})
	if got := (<-answer).(*wire.SignResponse); got.Error != nil {
		p.t.Fatal(got.Error)
	}
	p.end()
}

func TestGrantEnds(t *testing.T) {
	for name, test := range map[string]struct {
		does  func(*page)
		holds bool
	}{
		"nothing":           {func(*page) {}, true},
		"a tap":             {func(p *page) { p.must("endGrant", map[string]any{"id": p.state().Grants.List[0].ID}) }, false},
		"all":               {func(p *page) { p.must("endGrant", nil) }, false},
		"switched off":      {func(p *page) { p.must("enableGrants", map[string]any{"enabled": false}) }, false},
		"its time":          {func(*page) { time.Sleep(15 * time.Minute) }, false},
		"before its time":   {func(*page) { time.Sleep(14 * time.Minute) }, true},
		"a short look away": {func(p *page) { p.must("background", nil); time.Sleep(away.Max - time.Second) }, true},
		"away":              {func(p *page) { p.must("background", nil); time.Sleep(away.Max) }, false},
		"away, and back": {func(p *page) {
			p.must("background", nil)
			time.Sleep(away.Max + time.Second)
			p.must("foreground", nil)
		}, false},
		"looking away twice": {func(p *page) {
			for range 2 {
				p.must("background", nil)
				time.Sleep(away.Max - time.Minute)
				p.must("foreground", nil)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, id := newGranting(t)
				p.grants(id, 900)
				list := p.state().Grants.List
				if len(list) != 1 || list[0].Label.String() != "vault" || list[0].Computer.String() != "laptop" || list[0].Until-list[0].Since != 900000 {
					t.Fatalf("grants %+v", list)
				}
				test.does(p)
				synctest.Wait()
				if test.holds {
					if code := p.answeredWithout(id); code != "" {
						t.Errorf("refused: %s", code)
					}
					return
				}
				if s := p.state(); len(s.Grants.List) != 0 {
					t.Errorf("still listed: %+v", s.Grants.List)
				}
				p.denies(id, false)
			})
		})
	}
}

// A browser may let a page sleep, with its timers; the clock on the wall goes on.
func TestGrantEndsThoughNoTimerRan(t *testing.T) {
	asleep := time.Duration(0)
	p := newPage(t, func(c *Config) { c.Now = func() time.Time { return time.Now().Add(asleep) } })
	p.must("createVault", map[string]any{"label": "vault", "algorithm": "ssh-ed25519"})
	p.must("enableGrants", map[string]any{"enabled": true})
	id := p.identity("vault")
	p.grants(id, 3600)
	p.must("background", nil)
	asleep = away.Max
	p.endGrantsWhenAway() // as each request does
	if list := p.state().Grants.List; len(list) != 0 {
		t.Errorf("still listed: %+v", list)
	}
	p.must("foreground", nil)
}

// What a page has granted ends with it.
func TestGrantsEndAtStart(t *testing.T) {
	p, id := newGranting(t)
	p.grants(id, 900)
	again, err := New(p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s := again.grants(); !s.Enabled || len(s.List) != 0 {
		t.Errorf("after a reload: %+v", s)
	}
}

func TestNotGrantable(t *testing.T) {
	p := newPage(t)
	p.must("createVault", map[string]any{"label": "vault", "algorithm": "ssh-ed25519"})
	p.must("createPasskey", map[string]any{"label": "face"})
	for _, label := range []string{"vault", "face"} { // switched off; and a passkey
		sheet, answer := p.sheetOf(p.identity(label))
		if sheet.Grantable {
			t.Errorf("%s: %+v", label, sheet)
		}
		p.wantFailure("notGrantable", "approve", map[string]any{"id": sheet.ID, "decision": map[string]any{"grantSeconds": 60}})
		p.must("approve", map[string]any{"id": sheet.ID})
		<-answer
		p.end()
		p.must("enableGrants", map[string]any{"enabled": true})
	}
	vault, answer := p.sheetOf(p.identity("vault"))
	p.wantFailure("notGrantable", "approve", map[string]any{"id": vault.ID, "decision": map[string]any{"grantSeconds": -60}})
	p.must("deny", map[string]any{"id": vault.ID})
	<-answer
}

// Three denials pause a computer, and the person is told at once.
func TestPauses(t *testing.T) {
	p := newPage(t)
	p.must("createPasskey", map[string]any{"label": "face"})
	id := p.identity("face")
	for range 2 {
		p.denies(id, false)
		p.end()
	}
	p.denies(id, false)
	pause, ok := (<-p.events).payload.(pagestate.Pause)
	if !ok || pause.Computer.String() != "laptop" || pause.ComputerID != p.computer.ID.String() || pause.Program.String() != "" {
		t.Errorf("told of %+v", pause)
	}
	p.end()
	if code := p.answeredWithout(id); code != wire.CodePaused {
		t.Errorf("while paused: %q", code)
	}
	if list := p.state().Pauses; len(list) != 1 || list[0] != pause {
		t.Errorf("pauses %+v", list)
	}
	value := p.must("pauseReport", map[string]any{"id": pause.ComputerID})
	report, ok := value.(pauseReport)
	if !ok || report.Decisions["denied"] != 3 || report.Decisions["refused"] != 1 || strings.Count(report.Lines, "\n") != 4 ||
		len(report.Asked) == 0 || strings.Count(report.Lines, `"decision":"denied"`) != 3 {
		t.Errorf("report %+v", value)
	}
	p.must("endPauses", map[string]any{"id": pause.ComputerID})
	p.wantFailure("notFound", "pauseReport", map[string]any{"id": pause.ComputerID})
	p.denies(id, true)
	p.end()
	if list := p.state().Pauses; len(list) != 1 || time.UnixMilli(list[0].Until).Before(time.Now().Add(59*time.Minute)) {
		t.Errorf("muted: %+v", list)
	}
	if code := p.answeredWithout(id); code != wire.CodePaused {
		t.Errorf("while muted: %q", code)
	}
	p.wantFailure("notFound", "endPauses", map[string]any{"id": "none"})
}

// A computer that floods the phone is paused by three denials, and not by one for
// each of its sheets. Those of another computer stay.
func TestPauseEndsWhatWaits(t *testing.T) {
	p := newPage(t)
	p.must("createPasskey", map[string]any{"label": "face"})
	id := p.identity("face")
	hostile := p.computer
	p.computer.ID[0] ^= 1
	other, _ := p.sheetOf(id)
	p.computer = hostile
	var flood []<-chan any
	var sheets []sheets.Sheet
	for range 20 {
		sheet, answer := p.sheetOf(id)
		sheets, flood = append(sheets, sheet), append(flood, answer)
	}
	for _, sheet := range sheets[:3] {
		p.must("deny", map[string]any{"id": sheet.ID})
	}
	for _, answer := range flood {
		if r := (<-answer).(*wire.SignResponse); r.Error == nil || r.Error.Code != wire.CodeUserDenied {
			t.Errorf("ended with %v", r.Error)
		}
	}
	if s := p.state(); len(s.Sheets) != 1 || s.Sheets[0].ID != other.ID || len(s.Pauses) != 1 {
		t.Errorf("left: %+v, pauses %+v", s.Sheets, s.Pauses)
	}
	p.must("deny", map[string]any{"id": other.ID})
}

// A computer that calls itself as another one does is told from it, wherever it is shown.
func TestComputersOfOneName(t *testing.T) {
	p := newPage(t)
	p.must("createPasskey", map[string]any{"label": "face"})
	pair := func(name string, first byte) device.Peer {
		peer := device.Peer{ID: p.computer.ID, Name: wire.Clean(name)}
		peer.ID[0] ^= first
		if err := p.trust.Add(peer); err != nil {
			t.Fatal(err)
		}
		return peer
	}
	honest, tower := pair("laptop", 0), pair("tower", 4)
	if got := p.nameOf(honest).String(); got != "laptop" {
		t.Errorf("alone it is %q", got)
	}
	hostile, lookalike, hidden := pair("Laptop ", 8), pair("lарtор", 16), pair("lap\u3164top", 32) // the second in Cyrillic
	impostor := pair("tower ("+tower.ID.Short()+")", 64)
	for _, peer := range []device.Peer{honest, hostile, lookalike, hidden, impostor} {
		want := peer.Name.String() + " (" + peer.ID.Short() + ")"
		if peer.ID == hidden.ID {
			want = "lap\uFFFDtop" // what was drawn as nothing is seen
		}
		p.computer = peer
		sheet, _ := p.sheetOf(p.identity("face"))
		if sheet.Computer.String() != want {
			t.Errorf("the sheet names %q, want %q", sheet.Computer, want)
		}
		p.must("deny", map[string]any{"id": sheet.ID})
		p.end()
		if !slices.ContainsFunc(p.state().Computers, func(c pagestate.Computer) bool { return c.Name.String() == want }) {
			t.Errorf("%+v lack %q", p.state().Computers, want)
		}
	}
}

func TestRules(t *testing.T) {
	p := newPage(t)
	p.must("createPasskey", map[string]any{"label": "face"})
	id := p.identity("face")
	set := func(rules map[string]any) map[string]any {
		return map[string]any{"fingerprint": id.Fingerprint(), "rules": rules}
	}
	if r := p.state().Identities[0].Rules; r != nil {
		t.Errorf("rules from the start: %+v", r)
	}
	for _, bad := range []map[string]any{{"hours": "9 to 5"}, {"hosts": []string{"a b"}}, {"forbid": []string{"everything"}}, {"users": []string{"a\u202eb"}}} {
		p.wantFailure("invalid", "setRules", set(bad))
	}
	p.wantFailure("malformed", "setRules", set(nil))
	p.must("setRules", set(map[string]any{"users": []string{"deploy"}, "forbid": []string{"forwarded"}}))
	if r := p.state().Identities[0].Rules; r == nil || r.Users[0] != "deploy" || r.Forbid[0] != "forwarded" {
		t.Errorf("rules %+v", r)
	}
	if code := p.answeredWithout(id); code != wire.CodePolicyDenied {
		t.Errorf("a login as root: %q", code)
	}
	got := p.must("refusals", map[string]any{"fingerprint": id.Fingerprint()}).(refused)
	if got.Count != 1 || time.Since(time.UnixMilli(got.Last)) > time.Minute {
		t.Errorf("refused %+v", got)
	}
	p.must("setRules", set(map[string]any{}))
	p.denies(id, false)
	if got := p.must("refusals", map[string]any{"fingerprint": id.Fingerprint()}).(refused); got.Count != 1 {
		t.Errorf("a denial counts as refused by rules: %+v", got)
	}
}

func TestHosts(t *testing.T) {
	p := newPage(t)
	p.must("createPasskey", map[string]any{"label": "face"})
	sheet, answer := p.sheetOf(p.identity("face"))
	p.must("approve", map[string]any{"id": sheet.ID})
	<-answer
	list := p.must("hosts", nil).([]pagestate.Host)
	if len(list) != 1 || !strings.HasPrefix(list[0].Fingerprint, "SHA256:") || list[0].Users[0].String() != "root" || list[0].Names == nil || list[0].LastSeen == 0 {
		t.Fatalf("hosts %+v", list)
	}
	p.must("forgetHost", map[string]any{"fingerprint": list[0].Fingerprint})
	p.wantFailure("notFound", "forgetHost", map[string]any{"fingerprint": list[0].Fingerprint})
	if list := p.must("hosts", nil).([]pagestate.Host); len(list) != 0 {
		t.Errorf("remembered: %+v", list)
	}
}

func TestRevocation(t *testing.T) {
	p := newPage(t)
	p.must("createVault", map[string]any{"label": "vault", "algorithm": "ssh-ed25519"})
	p.must("createCA", map[string]any{"kind": "vault", "principals": []string{"root"}})
	r := p.certificateRequest()
	answer := p.asks(t.Context(), wire.KindCertificateRequest, r.RequestID, r)
	p.must("approve", map[string]any{"id": p.sheet().ID})
	<-answer
	empty := p.must("revocationList", nil).([]byte)
	serial := p.state().Certificates[0].Serial
	p.must("revoke", map[string]any{"serial": serial})
	if c := p.state().Certificates[0]; c.Serial != serial || c.RevokedAt == 0 {
		t.Errorf("revoked: %+v", c)
	}
	if told := p.signer.Hello().RevokedSerials; len(told) != 1 || told[0] != serial {
		t.Errorf("computers are told of %v", told)
	}
	list := p.must("revocationList", nil).([]byte)
	if !bytes.HasPrefix(list, []byte("SSHKRL\n\x00")) || len(list) <= len(empty) {
		t.Errorf("the list has %d bytes, the empty one %d", len(list), len(empty))
	}
	p.wantFailure("notFound", "revoke", map[string]any{"serial": serial})
}

func TestLogIsChecked(t *testing.T) {
	store := &testkit.Documents{}
	p := newPage(t, func(c *Config) { c.Store = store })
	p.must("createPasskey", map[string]any{"label": "face"})
	for range 2 {
		p.denies(p.identity("face"), false)
		p.end()
	}
	if r := p.must("verifyActivity", nil).(activity.Verification); r.Records != 3 || len(r.Problems) != 0 {
		t.Errorf("a whole log: %+v", r)
	}
	text := p.must("exportActivity", nil).(string)
	if strings.Count(text, "\n") != 3 || !strings.Contains(text, `"decision":"denied"`) {
		t.Errorf("exported %q", text)
	}
	if err := store.Put("activity.jsonl", []byte(strings.Replace(text, "denied", "expired", 1))); err != nil {
		t.Fatal(err)
	}
	if r := p.must("verifyActivity", nil).(activity.Verification); len(r.Problems) == 0 {
		t.Errorf("a changed log: %+v", r)
	}
}

// Requests of one computer for one key of the vault are answered with one tap;
// what else waits is not.
func TestAnsweredTogether(t *testing.T) {
	p := newPage(t)
	p.must("createVault", map[string]any{"label": "vault", "algorithm": "ssh-ed25519"})
	p.must("createVault", map[string]any{"label": "other", "algorithm": "ssh-ed25519"})
	p.must("createPasskey", map[string]any{"label": "face"})
	vault := p.identity("vault")
	for _, approve := range []bool{true, false} {
		first, one := p.sheetOf(vault)
		second, two := p.sheetOf(vault)
		another, more := p.sheetOf(vault)
		third, three := p.sheetOf(vault) // came after the tap: not listed
		for _, label := range []string{"other", "face"} {
			other, answer := p.sheetOf(p.identity(label))
			for _, joined := range [][]string{{other.ID}, {first.ID}, {second.ID, second.ID}} {
				p.wantFailure("malformed", "approve", map[string]any{"id": first.ID, "joined": joined})
				p.wantFailure("malformed", "deny", map[string]any{"id": first.ID, "joined": joined})
			}
			p.must("approve", map[string]any{"id": other.ID})
			<-answer
			p.end()
		}
		name, want := "deny", wire.CodeUserDenied
		if approve {
			name, want = "approve", ""
		}
		taps := p.taps
		p.must(name, map[string]any{"id": first.ID, "joined": []string{second.ID, "ended", another.ID}})
		for _, answer := range []<-chan any{one, two, more} {
			if code := wire.CodeOf(asError((<-answer).(*wire.SignResponse).Error)); code != want {
				t.Errorf("%s: %q", name, code)
			}
		}
		if approve && p.taps != taps+1 {
			t.Errorf("%d taps for three requests", p.taps-taps)
		}
		for range 3 {
			p.end()
		}
		if list := p.sheets.Sheets(); len(list) != 1 || list[0].ID != third.ID {
			t.Errorf("%s: open are %+v", name, list)
		}
		p.must("approve", map[string]any{"id": third.ID})
		<-three
		p.end()
	}
	// Three denials with one tap are one: nobody is paused.
	if list := p.state().Pauses; len(list) != 0 {
		t.Errorf("paused: %+v", list)
	}
}

// What is done to keys, policies, pairings and grants in the app stands in its log.
func TestChangesAreRecorded(t *testing.T) {
	p := newPage(t)
	p.must("createVault", map[string]any{"label": "vault", "algorithm": "ssh-ed25519"})
	p.must("createPasskey", map[string]any{"label": "face"})
	file, err := ssh.MarshalPrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), "")
	if err != nil {
		t.Fatal(err)
	}
	p.must("importVault", map[string]any{"label": "old", "file": string(pem.EncodeToMemory(file))})
	of := func(label string, more map[string]any) map[string]any {
		args := map[string]any{"fingerprint": p.identity(label).Fingerprint()}
		maps.Copy(args, more)
		return args
	}
	p.must("setDefault", of("old", nil))
	p.must("renameIdentity", of("old", map[string]any{"label": "older"}))
	p.must("enableIdentity", of("older", map[string]any{"enabled": false}))
	p.must("enableIdentity", of("older", map[string]any{"enabled": true}))
	p.must("setRules", of("face", map[string]any{"rules": map[string]any{"users": []string{"deploy"}}}))
	p.must("setPrincipals", of("face", map[string]any{"principals": []string{"deploy"}}))
	p.must("createCA", map[string]any{"kind": "vault", "principals": []string{"root"}})
	policy := p.state().CA.Policy
	policy.AutomaticIssuance = true
	p.must("setPolicy", map[string]any{"policy": policy})
	p.must("deleteCA", nil)
	p.must("enableGrants", map[string]any{"enabled": true})
	p.must("enableGrants", map[string]any{"enabled": false})
	p.must("deleteIdentity", of("older", nil))
	for range 2 {
		if err := p.trust.Add(p.computer); err != nil {
			t.Fatal(err)
		}
		if err := p.signer.Activity.Paired(p.computer); err != nil { // as pair does, which wants a hub
			t.Fatal(err)
		}
		handler{p.Phone}.Unpaired(p.computer)
		handler{p.Phone}.Unpaired(p.computer) // it was told twice
	}
	if err := p.trust.Add(p.computer); err != nil {
		t.Fatal(err)
	}
	p.must("unpair", map[string]any{"id": p.computer.ID.String()})
	var got []string
	for _, r := range slices.Backward(p.must("activity", nil).([]Record)) {
		got = append(got, strings.TrimSpace(strings.Join([]string{r.Kind, r.Decision, r.Label.String() + r.DeviceName.String(), r.What.String()}, " ")))
	}
	want := []string{
		"key created vault ssh-ed25519, vault", "key created face sk-ecdsa-sha2-nistp256@openssh.com, passkey", "key imported old ssh-ed25519, vault",
		"key default old", "key renamed old now older", "key disabled older", "key enabled older",
		"key changed face policy: users deploy", "key changed face principals deploy",
		"ca created vmux-ca ecdsa-sha2-nistp256, vault", "ca changed vmux-ca policy: issued unasked yes", "ca deleted vmux-ca",
		"grants enabled", "grants disabled", "key deleted older the default is now vault",
		"pairing paired laptop", "pairing unpaired laptop by the computer", "pairing paired laptop", "pairing unpaired laptop by the computer", "pairing unpaired laptop",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
