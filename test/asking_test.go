package test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"vmux/internal/sshctx"
	"vmux/internal/sshdtest"
)

// server is one that lets the world's key in.
func (w *world) server(o sshdtest.OpenSSH) *sshdtest.Server {
	w.Helper()
	return o.StartServer(w, sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}})
}

// logsIn runs ssh to a server.
func (w *world) logsIn(o sshdtest.OpenSSH, s *sshdtest.Server) <-chan error {
	w.Helper()
	cmd := s.Command(deadline(w), w, o, w.computer.socket(), "true")
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	return done
}

// sheets counts those that have been on the terminal.
func (s *screen) sheets() int { return s.count("asks: ") }

// afterAWhile types once the sheet has stood long enough to take a key.
func (s *screen) afterAWhile(keys string) {
	s.t.Helper()
	began := time.Now()
	waitFor(s.t, "a moment", func() bool { return time.Since(began) > 700*time.Millisecond })
	s.types(keys)
}

// waitServers waits until the agent has heard to how many servers a key is limited.
func (w *world) waitServers(comment string, n int) {
	w.Helper()
	waitFor(w, fmt.Sprintf("%d servers for %s", n, comment), func() bool {
		type identity struct {
			Comment string
			Servers []string
		}
		var s struct{ Identities []identity }
		if err := json.Unmarshal([]byte(w.computer.run("status", "--json")), &s); err != nil {
			w.Fatal(err)
		}
		return slices.ContainsFunc(s.Identities, func(i identity) bool {
			return i.Comment == comment && len(i.Servers) == n
		})
	})
}

func TestPolicyRefusesWithoutAsking(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t)
	o := sshdtest.New(t)
	prod, other := w.server(o), w.server(o)
	refused := func(why string, s *sshdtest.Server) {
		t.Helper()
		sheets := person.sheets()
		if err := w.wait(w.logsIn(o, s)); err == nil {
			t.Errorf("%s: logged in", why)
		}
		if r := w.computer.try("status"); !strings.Contains(r.stdout+r.stderr, why) {
			t.Errorf("vmux status does not say %q:\n%s%s", why, r.stdout, r.stderr)
		}
		if person.sheets() != sheets {
			t.Errorf("%s: the person was asked", why)
		}
	}
	policy := func(args ...string) (refused int) {
		t.Helper()
		var p struct{ Refused int }
		out := w.phone.run(append([]string{"phone", "policy", "ssh-ed25519", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &p); err != nil {
			t.Fatal(err)
		}
		return p.Refused
	}
	allowed := func(s *sshdtest.Server) {
		t.Helper()
		approved := person.count("Approved.")
		done := w.logsIn(o, s)
		person.waitCount("Approved.", approved+1, "y")
		if err := w.wait(done); err != nil {
			t.Error(err)
		}
	}
	policy("--users", "deploy")
	refused("no login as "+username(t), prod)
	// A key for one server is not even offered to another, as soon as the computer
	// has heard of it, and the status says so.
	policy("--users", "", "--hosts", fingerprintOf(t, prod.HostKey))
	w.waitServers("ssh-ed25519", 1)
	refused("to "+fingerprintOf(t, other.HostKey)+": keys offered: 0, taken: none\n"+
		"vmux: not offered there, since the phone limits them to other servers: ssh-ed25519\n", other)
	allowed(prod)
	if r := w.computer.try("status"); strings.Contains(r.stderr, fingerprintOf(t, prod.HostKey)) {
		t.Errorf("after a login that worked:\n%s", r.stderr)
	}
	policy("--hosts", "", "--forbid", "forwarded,logins")
	w.waitServers("ssh-ed25519", 0)
	refused("no logins", prod)
	policy("--forbid", "", "--hours", strings.ToLower(time.Now().AddDate(0, 0, 3).Format("Mon"))+" 00:00-00:01")
	refused("policy of ssh-ed25519: only", prod)
	if n := policy("--clear"); n != 3 { // the one that was not offered was not asked for
		t.Errorf("%d requests are counted as refused, want 3", n)
	}
	allowed(other)
}

// A key that is for a server by its name, which the phone has never seen: the
// first login is by the computer's word, and takes a key of its own. Another
// server by that name is refused without a question.
func TestLimitedToAName(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t)
	o := sshdtest.New(t)
	n := named{"prod.example.com": w.server(o)}
	w.knows(n)
	const unknown = "remembers no server as prod.example.com: "
	if r := w.phone.try("phone", "policy", "ssh-ed25519", "--hosts", "prod.example.com"); r.exit != 0 || !strings.Contains(r.stderr, unknown) {
		t.Errorf("a name that nobody has gone by: exit %d, %q", r.exit, r.stderr)
	}
	logsIn := func(n named) <-chan error {
		cmd := w.runs(o, n.config(t, w.computer.socket()), "prod.example.com", "true")
		done := make(chan error, 1)
		go func() { done <- cmd.Run() }()
		return done
	}
	done := logsIn(n)
	person.waitCount("COMPARE the fingerprint with that of the server. Is it the same?  C yes, n no", 1, "")
	for _, text := range []string{
		"asks: " + username(t) + "@prod.example.com (claimed)",
		"warning   the key is limited to certain servers; that this is prod.example.com only the computer says",
		"server    " + fingerprintOf(t, n["prod.example.com"].HostKey) + "  (verified)",
	} {
		if !strings.Contains(person.text(), text) {
			t.Errorf("the sheet does not say %q", text)
		}
	}
	person.afterAWhile("y")
	person.afterAWhile("c")
	if person.count("Approved.") != 0 {
		t.Error("approved by a key that is habit")
	}
	person.waitCount("Approved.", 1, "C")
	if err := w.wait(done); err != nil {
		t.Error(err)
	}
	done = logsIn(n)
	person.waitCount("Approved.", 2, "y")
	if err := w.wait(done); err != nil {
		t.Error(err)
	}
	if r := w.phone.try("phone", "policy", "ssh-ed25519"); strings.Contains(r.stderr, unknown) {
		t.Errorf("after a login by that name: %q", r.stderr)
	}
	evil := named{"prod.example.com": w.server(o)}
	w.knows(evil)
	sheets := person.sheets()
	if err := w.wait(logsIn(evil)); err == nil || person.sheets() != sheets {
		t.Errorf("another server by that name: %v, %d sheets", err, person.sheets()-sheets)
	}
	if code, sentence := w.lastFailure(); code != "policyDenied" || !strings.Contains(sentence, "no login to "+fingerprintOf(t, evil["prod.example.com"].HostKey)) {
		t.Errorf("vmux status: %s, %q", code, sentence)
	}
}

func TestGrantOnTheTerminal(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("ssh-ed25519", "ssh-ed25519")
	w.phone.run("phone", "grants", "on")
	start := func() (*exec.Cmd, *screen) {
		cmd := w.phone.command(t.Context(), "phone", "run", "--listen", "127.0.0.1:0", "--passphrase-file", w.passphraseFile)
		person := onTerminal(t, cmd)
		person.waitCount("Advertising", 1, "")
		return cmd, person
	}
	phone, person := start()
	w.startAgent()
	w.pair()
	o := sshdtest.Old(t)
	prod := w.server(o)
	asked := func(key, outcome string) {
		t.Helper()
		sheets, outcomes := person.sheets(), person.count(outcome)
		done := w.logsIn(o, prod)
		person.waitCount(outcome, outcomes+1, key)
		if err := w.wait(done); err != nil {
			t.Error(err)
		}
		if n := person.sheets() - sheets; n != 1 {
			t.Errorf("%d sheets, want one", n)
		}
	}
	const granted = "Approved, and the like of it for 15 minutes: see vmux phone grants."
	asked("g", granted)
	for range 3 {
		if err := w.wait(w.logsIn(o, prod)); err != nil {
			t.Error(err)
		}
	}
	if n := person.sheets(); n != 1 {
		t.Errorf("%d sheets for four logins, want one", n)
	}
	list := w.records()
	if len(list) != 4 || list[0].Grant || !list[1].Grant || !list[3].Grant || list[3].Decision != "approved" {
		t.Errorf("the log: %+v", list)
	}
	out := w.phone.run("phone", "grants")
	if !regexp.MustCompile(`  ` + username(t) + `@\S+ \(claimed\)  key ssh-ed25519  for 14m\d+s more\n`).MatchString(out) {
		t.Errorf("vmux phone grants:\n%s", out)
	}
	w.phone.run("phone", "grants", "end")
	if out := w.phone.run("phone", "grants"); out != "" {
		t.Errorf("vmux phone grants, after their end:\n%s", out)
	}
	asked("y", "Approved.")
	asked("g", granted)

	if err := phone.Process.Kill(); err != nil { // and what it kept in memory is gone
		t.Fatal(err)
	}
	// It holds its files until the last of its threads has ended.
	waitFor(t, "no grants of the phone that was killed", func() bool { return w.phone.run("phone", "grants") == "" })
	_, person = start()
	if out := w.phone.run("phone", "grants"); out != "" {
		t.Errorf("vmux phone grants, after a restart:\n%s", out)
	}
	w.waitConnected()
	asked("y", "Approved.")
}

// Thirty logins at once, as of ansible -f 30: one sheet lists them, and the
// passphrase is typed once.
func TestManyAtOnceAreOneSheet(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("ssh-ed25519", "ssh-ed25519")
	person := onTerminal(t, w.phone.command(t.Context(), "phone", "run", "--listen", "127.0.0.1:0"))
	person.waitCount("Advertising", 1, "")
	w.startAgent("--approval-timeout", "100s") // thirty logins, on a busy machine
	w.pair()
	servers := []*sshdtest.Server{w.server(sshdtest.Old(t)), w.server(sshdtest.New(t)), w.server(sshdtest.Old(t))}
	var done []<-chan error
	const logins = 30
	for i := range logins {
		done = append(done, w.logsIn(sshdtest.Both(t)[i%2], servers[i%3]))
	}
	person.waitCount("  and       ", logins-1, "")
	for _, s := range servers {
		if !strings.Contains(person.text(), fingerprintOf(t, s.HostKey)+"  (verified)") {
			t.Errorf("the sheet does not name the server %s", fingerprintOf(t, s.HostKey))
		}
	}
	person.afterAWhile("y")
	person.waitCount("Passphrase of ssh-ed25519: ", 1, "")
	person.types(passphrase + "\n")
	for i, d := range done {
		if err := w.wait(d); err != nil {
			t.Errorf("login %d: %v", i, err)
		}
	}
	if sheets, asked := person.sheets(), person.count("Passphrase of"); sheets != 1 || asked != 1 {
		t.Errorf("%d sheets and %d passphrases, want one of each", sheets, asked)
	}
	if n := w.approvals(); n != logins {
		t.Errorf("the log has %d approvals, want %d", n, logins)
	}
	if strings.Contains(person.text(), passphrase) {
		t.Error("the passphrase is on the screen")
	}
}

// A second hop asks when the first one is through. Of several ssh -J at once the
// first hops are one sheet, and the second ones another.
func TestBothHopsOfManyAtOnce(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t)
	client := sshdtest.Both(t)
	n := named{"bastion": w.server(client[0]), "prod": w.server(client[1])}
	w.knows(n)
	config := n.config(t, w.computer.socket())
	through := func(logins int) {
		t.Helper()
		sheets, approved := person.sheets(), person.count("Approved.")
		hops := []string{fingerprintOf(t, n["bastion"].HostKey) + "  (verified)", fingerprintOf(t, n["prod"].HostKey) + "  (verified)"}
		before := []int{person.count(hops[0]), person.count(hops[1])}
		var done []<-chan error
		for i := range logins {
			cmd := w.runs(client[i%2], config, "-J", "bastion", "prod", "true")
			ended := make(chan error, 1)
			go func() { ended <- cmd.Run() }()
			done = append(done, ended)
		}
		for hop, server := range hops {
			person.waitCount(server, before[hop]+logins, "")
			person.afterAWhile("y")
			person.waitCount("Approved.", approved+hop+1, "")
		}
		for _, d := range done {
			if err := w.wait(d); err != nil {
				t.Error(err)
			}
		}
		if got := person.sheets() - sheets; got != 2 || strings.Contains(person.text(), "  through") {
			t.Errorf("%d sheets for %d logins by ssh -J, want two; or one is said to come through another server", got, logins)
		}
	}
	through(1)
	through(6)
}

func TestDenialsPauseAndMute(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t)
	key := w.identity("ssh-ed25519").key(t)
	w.waitStatus(w.identity("ssh-ed25519").Fingerprint)
	// Each to a server of its own: the agent itself refuses what repeats.
	session := byte(0)
	var servers []string // by the fingerprints of their host keys
	asks := func() <-chan error {
		to := newServerKey(t)
		servers = append(servers, sshctx.Fingerprint(to.PublicKey().Marshal()))
		session++
		return w.requests(key, string(login(key, sessionID(session), "root", &to)))
	}
	answered := func(outcome, keys string) error {
		t.Helper()
		before := person.count(outcome)
		done := asks()
		person.waitCount(outcome, before+1, keys)
		began := time.Now()
		err := w.wait(done)
		if took := time.Since(began); took > 30*time.Second { // and not when the request's window ends
			t.Errorf("%s: the SSH client was answered %v later", outcome, took)
		}
		return err
	}
	refused := func(done <-chan error, why string) {
		t.Helper()
		sheets := person.sheets()
		if err := w.wait(done); err == nil {
			t.Error("signed")
		}
		if code, sentence := w.lastFailure(); !strings.HasPrefix(why, code+": ") || !strings.Contains(sentence, why) || person.sheets() != sheets {
			t.Errorf("vmux status: %s, %q; %d sheets", code, sentence, person.sheets()-sheets)
		}
	}
	if err := answered("Approved.", "y"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := answered("Denied.", "n"); err == nil {
			t.Fatal("signed after a denial")
		}
	}
	refused(asks(), "paused: several requests were denied; it ends in ")
	var pause struct {
		DeviceName, Program string
		Decisions           map[string]int
		Asked               []struct{ What, Server, Program string }
	}
	if err := json.Unmarshal([]byte(w.phone.run("phone", "pauses", "--json")), &pause); err != nil || pause.Program != "" ||
		len(pause.Asked) != 4 || pause.Decisions["denied"] != 3 || pause.Decisions["refused"] != 1 {
		t.Fatalf("vmux phone pauses: %+v, %v", pause, err)
	}
	reported(t, w, person, servers[1:])
	w.phone.run("phone", "pauses", "end", pause.DeviceName)
	if err := answered("Approved.", "y"); err != nil {
		t.Errorf("after the pause's end: %v", err)
	}
	if err := answered("This program is not asked for within the next hour.", "m"); err == nil {
		t.Error("signed after a denial")
	}
	refused(asks(), "muted: this program is not asked for; it ends in")
	if out := w.phone.run("phone", "pauses"); !regexp.MustCompile(`  test\.test.*  for (59m\d+s|1h0m0s) more\n`).MatchString(out) {
		t.Errorf("vmux phone pauses:\n%s", out)
	}
	o := sshdtest.Old(t)
	done := w.logsIn(o, w.server(o)) // another program
	person.waitCount("Approved.", 3, "y")
	if err := w.wait(done); err != nil {
		t.Error(err)
	}
	unpairedAtOnce(t, w, person, func() error { return answered("Denied.", "n") })
}

// reported makes sure that the person can read who asked for what, and keep it:
// the command on the screen prints the records of the denials and what followed.
func reported(t *testing.T, w *world, person *screen, denied []string) {
	person.waitCount(" is paused for 5m0s: several of its requests were denied within a minute", 1, "")
	person.waitCount("End the pairing with ", 1, "")
	text := person.text()
	text = text[strings.LastIndex(text, " is paused for "):]
	if !strings.Contains(text, "  requests  3 denied\r\n") {
		t.Error("the note does not say how many requests were denied")
	}
	for _, server := range denied[:3] {
		if !regexp.MustCompile(`  asked for root@` + regexp.QuoteMeta(server) + `  by test\.test ← `).MatchString(text) {
			t.Errorf("the note does not say that %s was asked for, and by which program", server)
		}
	}
	command := regexp.MustCompile(`  all of it vmux (phone log --json --computer \S+ --since \S+)\r\n`).FindStringSubmatch(text)
	if command == nil {
		t.Fatal("the note does not say how to keep what was asked")
	}
	kept := w.phone.run(strings.Fields(command[1])...)
	for _, server := range denied {
		if !strings.Contains(kept, server) {
			t.Errorf("what is kept lacks %s", server)
		}
	}
	if n := strings.Count(kept, "\n"); n != len(denied) {
		t.Errorf("what is kept has %d records, want %d", n, len(denied))
	}
	for _, args := range [][]string{{"--computer", "nobody"}, {"--since", "0s"}} {
		if out := w.phone.run(append([]string{"phone", "log"}, args...)...); out != "" {
			t.Errorf("vmux phone log %v: %s", args, out)
		}
	}
}

// unpairedAtOnce pauses the computer once more, and ends the pairing by one key.
func unpairedAtOnce(t *testing.T, w *world, person *screen, denied func() error) {
	w.phone.run("phone", "pauses", "end", deviceOf(t, w.phone.run("phone", "devices", "--json")))
	for !strings.Contains(w.phone.run("phone", "pauses"), "  all programs  ") {
		if err := denied(); err == nil {
			t.Fatal("signed after a denial")
		}
	}
	person.waitCount("Unpaired: ", 1, "u")
	if out := w.phone.run("phone", "devices", "--json"); out != "[]\n" {
		t.Errorf("vmux phone devices: %s", out)
	}
	waitFor(t, "the computer to learn of it", func() bool { return strings.Contains(w.computer.try("status").stderr, "no longer paired") })
}

// git push with LFS logs in five times. The third sheet offers the grant by itself,
// though grants were never switched on, and the others need none.
func TestThirdLoginOffersAGrant(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t)
	o := sshdtest.New(t)
	s := w.server(o)
	offer := "You have approved 2 like it within a minute."
	for n := range 5 {
		done := w.logsIn(o, s)
		switch {
		case n < 2:
			person.waitCount("Approved.", 1+n, "y")
		case n == 2:
			person.waitCount(offer, 1, "")
			person.waitCount("Approved, and the like of it for 15 minutes", 1, "g")
		}
		if err := w.wait(done); err != nil {
			t.Fatal(err)
		}
	}
	if sheets, offers := person.sheets(), person.count(offer); sheets != 3 || offers != 1 {
		t.Errorf("%d sheets, %d offers for five logins, want 3 and one", sheets, offers)
	}
}
