package test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	sshclient "golang.org/x/crypto/ssh/agent"

	"vmux/internal/sshctx"
	"vmux/internal/sshdtest"
)

// verified is what `vmux phone log verify` finds.
func (w *world) verified() (records int, problems []string) {
	w.Helper()
	r := w.phone.try("phone", "log", "verify", "--json")
	var report struct {
		Records  int
		Problems []string
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		w.Fatalf("phone log verify: %v, %+v", err, r)
	}
	if (r.exit == 0) != (len(report.Problems) == 0) {
		w.Errorf("phone log verify ends with %d: %+v", r.exit, r)
	}
	return report.Records, report.Problems
}

// signsWithoutEnd asks for signatures over files, one after the other, and notes
// the hash of each that it was given.
func (w *world) signsWithoutEnd(key ssh.PublicKey, stop <-chan struct{}, given func(hash string)) {
	conn := w.client()
	client := sshclient.NewClient(conn)
	for {
		select {
		case <-stop:
			return
		default:
		}
		message := sshctx.Context{Kind: sshctx.SSHSIG, Namespace: "file", HashAlgorithm: "sha512", Hash: make([]byte, 64)}
		if _, err := rand.Read(message.Hash); err != nil {
			w.Error(err)
			return
		}
		if _, err := client.Sign(key, message.Marshal()); err == nil {
			given("sha512:" + hex.EncodeToString(message.Hash)[:32] + "…")
		}
	}
}

// random is a time below limit.
func random(t testing.TB, limit time.Duration) time.Duration {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(int64(limit)))
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(n.Int64())
}

// The phone's process is killed again and again while it signs. No signature is
// given out that the log does not know, and the log has no gap.
func TestLogSurvivesSIGKILL(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	fileOfKey := filepath.Join(w.phone.dir, "token")
	o := sshdtest.Old(t)
	o.Keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", fileOfKey)
	token, _ := o.StartAgent(t) // signs at once: a key file's passphrase costs time
	o.Add(t, token, "-q", fileOfKey)
	w.phone.run("phone", "identity", "create", "--label", "token", "--upstream", token)
	w.startPhone()
	w.startAgent()
	w.pair()
	w.waitStatus(w.identity("token").Fingerprint)

	var mu sync.Mutex
	given := map[string]bool{}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(given) }
	stop := make(chan struct{})
	var signing sync.WaitGroup
	key := w.identity("token").key(t)
	for range 6 {
		signing.Go(func() {
			w.signsWithoutEnd(key, stop, func(hash string) { mu.Lock(); defer mu.Unlock(); given[hash] = true })
		})
	}
	for starts := range 15 {
		until := count() + 5
		waitFor(t, "signatures", func() bool { return count() >= until })
		at := time.Now().Add(random(t, 100*time.Millisecond))
		waitFor(t, "the moment", func() bool { return time.Now().After(at) })
		w.phoneRun.kill()
		if _, problems := w.verified(); len(problems) > 0 {
			t.Fatalf("after a kill: %v", problems)
		}
		w.startPhone()
		waitFor(t, "the phone", func() bool { return strings.Count(w.phoneRun.log(), "Advertising") == starts+2 })
		if err := w.wait(w.requests(key, "a new request has the computer look for the phone at once")); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	signing.Wait()
	w.phoneRun.stop() // which records what is withdrawn
	known := map[string]bool{}
	for _, r := range w.records() {
		if hash := strings.TrimSuffix(r.says("hash"), " (verified)"); r.Decision == "approved" {
			known[hash] = true
		}
	}
	for hash := range given {
		if !known[hash] {
			t.Errorf("the signature of %s is not in the log", hash)
		}
	}
	t.Logf("%d signatures given, %d in the log", len(given), len(known))
	tampering(t, w)
}

// attacker: whoever has the phone's files for a while.
func tampering(t *testing.T, w *world) {
	file := filepath.Join(w.phone.dir, "phone", "activity.jsonl")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	middle := len(lines) / 2
	for name, changed := range map[string][]byte{
		"a changed word":     bytes.Replace(whole, []byte(`"approved"`), []byte(`"withdrawn"`), 1),
		"a removed record":   bytes.Join(append(append([][]byte{}, lines[:middle]...), lines[middle+1:]...), nil),
		"a cut-off end":      bytes.Join(lines[:middle], nil),
		"a cut-off last one": bytes.Join(lines[:len(lines)-2], nil),
		"a forged record":    append(bytes.Clone(whole), bytes.Replace(lines[middle], []byte("file"), []byte("work"), 1)...),
	} {
		if err := os.WriteFile(file, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, problems := w.verified(); len(problems) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	records, problems := w.verified()
	if export := w.phone.run("phone", "log", "export"); len(problems) > 0 || strings.Count(export, "\n") != records {
		t.Errorf("the whole log: %v; %d lines exported, %d records", problems, strings.Count(export, "\n"), records)
	}
}

// beside is a second computer, paired with the same phone.
func (w *world) beside() *world {
	w.Helper()
	other := &world{TB: w.TB, computer: newHome(w), phone: w.phone, phoneRun: w.phoneRun, passphraseFile: w.passphraseFile}
	other.startAgent()
	other.pair()
	return other
}

// issued are the serials by the device that the certificates were issued to.
func (w *world) issued() map[string]string {
	w.Helper()
	serials := map[string]string{}
	for line := range strings.Lines(w.phone.run("phone", "ca", "certificates", "--json")) {
		var c struct{ Serial, DeviceID string }
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			w.Fatalf("%v: %s", err, line)
		}
		serials[c.DeviceID] = c.Serial
	}
	return serials
}

// certificate writes the session certificate for ssh-keygen; "" if there is none.
func (w *world) certificate(o sshdtest.OpenSSH) string {
	w.Helper()
	line := w.certificateLine(o)
	if line == "" {
		return ""
	}
	return w.computer.file("session-cert.pub", line+"\n")
}

// certificateLine is how the session certificate is listed; "" if there is none.
func (w *world) certificateLine(o sshdtest.OpenSSH) string {
	w.Helper()
	lines := strings.Split(strings.TrimSpace(o.Add(w, w.computer.socket(), "-L")), "\n")
	line := lines[len(lines)-1]
	if !strings.HasSuffix(line, "vmux-session-cert") {
		return ""
	}
	return line
}

// A computer is lost. What it holds is refused by servers that have the list of
// revoked certificates, and is gone from it as soon as it hears of it; another
// computer's certificate is as good as before.
func TestRevokedCertificate(t *testing.T) {
	t.Parallel()
	lost := newWorld(t, "ssh-ed25519")
	kept := lost.beside()
	ca := lost.requestCertificate()
	kept.requestCertificate()
	krl := filepath.Join(lost.phone.dir, "vmux.krl")
	lost.phone.run("phone", "ca", "krl", krl)
	servers := map[string]*sshdtest.Server{}
	for _, o := range sshdtest.Both(t) {
		servers[o.Name] = o.StartServer(t, sshdtest.Config{TrustedUserCAKeys: []string{ca}, Extra: []string{"RevokedKeys " + krl}})
		for _, w := range []*world{lost, kept} {
			must(t, servers[o.Name].Command(deadline(t), t, o, w.computer.socket(), "true"))
		}
	}
	serials := lost.issued()
	serial := serials[lost.deviceID()]
	if len(serials) != 2 || serial == "" {
		t.Fatalf("issued: %v", serials)
	}
	lost.phoneRun.stop() // so that the lost computer does not hear of it
	lost.phone.run("phone", "ca", "revoke", serial)
	lost.phone.run("phone", "ca", "krl", krl)
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		lost, kept := *lost, *kept
		lost.TB, kept.TB = t, t
		check := func(w world) string {
			out, _, _ := finish(w.computer.commandOf(deadline(t), o.SSHKeygen, "-Q", "-f", krl, w.certificate(o)))
			return out
		}
		if out := check(lost); !strings.Contains(out, "REVOKED") {
			t.Errorf("ssh-keygen -Q of the revoked certificate: %q", out)
		}
		if out := check(kept); !strings.Contains(out, ": ok") {
			t.Errorf("ssh-keygen -Q of the other one: %q", out)
		}
		server := servers[o.Name]
		if out, _, err := finish(server.Command(deadline(t), t, o, lost.computer.socket(), "true")); err == nil {
			t.Errorf("the revoked certificate logs in: %s", out)
		}
		server.WaitForLog(t, "revoked by file")
		must(t, server.Command(deadline(t), t, o, kept.computer.socket(), "true"))
	})
	if piped := lost.phone.run("phone", "ca", "krl", "-"); !strings.HasPrefix(piped, "SSHKRL\n\x00") {
		t.Errorf("vmux phone ca krl - begins with %q", piped[:min(len(piped), 12)])
	}
	lost.startPhone()
	waitFor(t, "the lost computer to hear of it", func() bool { return lost.certificate(sshdtest.Old(t)) == "" })
	lost.waitStatus("No session certificate")
	if kept.certificate(sshdtest.Old(t)) == "" {
		t.Error("the other computer's certificate is gone, too")
	}
	// While both are there, it takes no reconnecting.
	kept.waitConnected()
	lost.phone.run("phone", "ca", "revoke", "--all")
	began := time.Now()
	waitFor(t, "the other computer to hear of it", func() bool { return kept.certificate(sshdtest.Old(t)) == "" })
	t.Logf("dropped %v after vmux phone ca revoke", time.Since(began))
	if log := lost.phone.run("phone", "log"); strings.Count(log, "revoked") < 2 {
		t.Errorf("the log does not tell of the revocations:\n%s", log)
	}
}

// deviceID is the computer's, as its certificate names it.
func (w *world) deviceID() string {
	w.Helper()
	var s struct {
		Device string `json:"deviceID"`
	}
	out := w.computer.run("status", "--json")
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.Device == "" {
		w.Fatalf("status: %v, no device: %s", err, out)
	}
	return s.Device
}
