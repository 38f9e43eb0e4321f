package test

import (
	"encoding/binary"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshdtest"
)

// fifteen are identities as somebody has them who never tidied up.
func fifteen() []string {
	var labels []string
	for i := range 15 {
		labels = append(labels, fmt.Sprintf("key-%02d", i+1))
	}
	return labels
}

// fifteenWorld has fifteen identities, of which key-08 is the default one.
func fifteenWorld(t *testing.T) *world {
	t.Helper()
	return labelledWorld(t, "key-08", fifteen()...)
}

// labelledWorld has identities of these labels, one of which is the default one.
func labelledWorld(t *testing.T, standard string, labels ...string) *world {
	t.Helper()
	w := unpairedWorld(t)
	for _, label := range labels {
		w.createIdentity(label, "ssh-ed25519")
	}
	w.phone.run("phone", "identity", "default", standard)
	w.phone.run("phone", "ca", "create", "--passphrase-file", w.passphraseFile)
	w.phone.run("phone", "ca", "policy", "--principals", "root,"+username(t), "--auto-issue=false")
	w.startPhone()
	w.startAgent()
	w.pair()
	return w
}

var offering = regexp.MustCompile(`Offering public key: (\S+)`)

// offers runs `ssh -v` and returns what it offered to the server, in order.
func (w *world) offers(cmd *exec.Cmd) ([]string, error) {
	w.Helper()
	cmd.Args = slices.Insert(slices.Clone(cmd.Args), 1, "-v")
	_, stderr, err := finish(cmd)
	var list []string
	for _, m := range offering.FindAllStringSubmatch(stderr, -1) {
		list = append(list, m[1])
	}
	return list, err
}

// A server ends the connection after MaxAuthTries keys. With fifteen keys ssh gets in
// all the same, by the default key or by one that the user names.
func TestFifteenIdentitiesAndThreeTries(t *testing.T) {
	t.Parallel()
	w := fifteenWorld(t)
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w := &world{TB: t, computer: w.computer, phone: w.phone, agent: w.agent}
		sock := w.computer.socket()
		lets := func(label string, tries int) *sshdtest.Server {
			return o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity(label).PublicKey}, MaxAuthTries: tries})
		}
		logIn := func(s *sshdtest.Server, options ...string) ([]string, error) {
			return w.offers(s.Command(deadline(t), t, o, sock, append(options, "true")...))
		}
		if all := strings.Count(o.Add(t, sock, "-L"), "\n"); all != 15 {
			t.Errorf("ssh-add -L lists %d keys", all)
		}
		if offered, err := logIn(lets("key-08", 3)); err != nil || !slices.Equal(offered, []string{"key-08"}) {
			t.Errorf("the default key: offered %q, %v", offered, err)
		}

		// Another key, which its user names.
		s := lets("key-12", 3)
		for range 2 {
			if offered, err := logIn(s, "-i", w.publicFile("key-12")); err != nil || len(offered) != 1 {
				t.Fatalf("-i: offered %q, %v", offered, err)
			}
		}
		config := w.computer.file("named_"+o.Name, "Host "+sshdtest.Host+"\n IdentityFile "+w.publicFile("key-14")+"\n")
		s = lets("key-14", 3)
		included := read(t, s.ClientConfig(t, sock))
		included = strings.Replace(included, "IdentityFile none\n", "", 1) + "Include " + config + "\n"
		cmd := w.computer.commandOf(deadline(t), o.SSH, "-F", w.computer.file("config_"+o.Name, included), sshdtest.Host, "true")
		if offered, err := w.offers(cmd); err != nil || len(offered) != 1 {
			t.Errorf("IdentityFile: offered %q, %v", offered, err)
		}

		// Who names no key sees the next ones offered once, and what was found stays.
		s = lets("key-05", 6)
		if offered, err := logIn(s); err == nil || !slices.Equal(offered, []string{"key-08", "key-01", "key-02", "key-03"}) {
			t.Errorf("an unknown server was offered %q, %v", offered, err)
		}
		w.waitFewer(fingerprintOf(t, s.HostKey), 2)
		if offered, err := logIn(s); err != nil || !slices.Equal(offered, []string{"key-04", "key-05"}) {
			t.Errorf("the second time: offered %q, %v", offered, err)
		}
		if offered, err := logIn(s); err != nil || !slices.Equal(offered, []string{"key-05"}) {
			t.Errorf("the third time: offered %q, %v", offered, err)
		}
	})
}

// What is learned outlives the agent, what the phone limits is not offered
// elsewhere, and the certificate gives way where it was refused.
func TestListingLearns(t *testing.T) {
	t.Parallel()
	w := fifteenWorld(t)
	o := sshdtest.New(t)
	s := o.StartServer(t, sshdtest.Config{
		AuthorizedKeys: []string{w.identity("key-03").PublicKey, w.identity("key-08").PublicKey}, MaxAuthTries: 3,
	})
	logIn := func(want ...string) {
		t.Helper()
		offered, err := w.offers(s.Command(deadline(t), t, o, w.computer.socket(), "true"))
		if err != nil || !slices.Equal(offered, want) {
			t.Errorf("offered %q, %v; want %q", offered, err, want)
		}
	}
	w.phone.run("phone", "identity", "default", "key-03")
	w.computer.run("keys", "refresh")
	logIn("key-03")
	w.phone.run("phone", "identity", "default", "key-08")
	w.computer.run("keys", "refresh")
	logIn("key-03")
	w.waitDocument("known-destinations.json", w.identity("key-03").Fingerprint)
	w.agent.stop()
	w.startAgent()
	w.waitConnected()
	logIn("key-03")
	w.phone.run("phone", "policy", "key-03", "--hosts", ssh.FingerprintSHA256(newServerKey(t).PublicKey()))
	w.computer.run("keys", "refresh")
	logIn("key-08")
	w.phone.run("phone", "policy", "key-03", "--hosts", fingerprintOf(t, s.HostKey))
	w.waitDocument("cached-keys.json", fingerprintOf(t, s.HostKey)) // the phone says so by itself
	logIn("key-08")
	w.requestCertificate()
	logIn("vmux-session-cert", "key-08")
	logIn("key-08")
	w.agent.stop()
	w.startAgent("--max-keys", "0")
	w.waitConnected()
	other := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("key-15").PublicKey}, MaxAuthTries: 30})
	offered, err := w.offers(other.Command(deadline(t), t, o, w.computer.socket(), "true"))
	if err != nil || len(offered) != 14 || offered[0] != "key-08" {
		t.Errorf("--max-keys 0: offered %q, %v", offered, err)
	}
}

// waitDocument waits until a document of the agent's holds text.
func (w *world) waitDocument(name, text string) {
	w.Helper()
	waitFor(w, text+" in "+name, func() bool {
		return strings.Contains(read(w, w.computer.dir+"/agent/"+name), text)
	})
}

// attacker: root on a bastion. The session certificate, which signs without
// asking anybody, is neither seen nor usable through a forwarded agent.
func TestForwardedAgentHasNoCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	ca := w.requestCertificate()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w := &world{TB: t, computer: w.computer, phone: w.phone, agent: w.agent}
		trusts := sshdtest.Config{TrustedUserCAKeys: []string{ca}}
		n := named{"bastion": o.StartServer(t, trusts), "inner": o.StartServer(t, sshdtest.Config{
			TrustedUserCAKeys: []string{ca}, AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey},
		}), "target": o.StartServer(t, trusts)}
		config, there := n.config(t, w.computer.socket()), n.config(t, "SSH_AUTH_SOCK")
		before := w.approvals()
		hop := o.SSH + " -F " + there + " -A inner "
		for where, command := range map[string]string{"bastion": o.SSHAdd + " -l", "inner": hop + o.SSHAdd + " -l"} {
			out := must(t, w.runs(o, config, "-A", "bastion", command))
			if strings.Contains(out, "-CERT") || !strings.Contains(out, w.identity("ssh-ed25519").Fingerprint) {
				t.Errorf("on %s ssh-add -l lists:\n%s", where, out)
			}
		}
		if n := w.approvals() - before; n != 1 { // bastion by certificate, inner by the phone
			t.Errorf("the phone approved %d signatures, want 1", n)
		}
		onward := o.SSH + " -F " + there + " target true"
		if _, _, err := finish(w.runs(o, config, "-A", "bastion", onward)); err == nil {
			t.Error("logged in onward by the certificate")
		}
		must(t, w.runs(o, config, "-J", "bastion", "target", "true")) // the better way

		// It knows the certificate from the login, and asks with it all the same.
		list := o.Add(t, w.computer.socket(), "-L") // the certificate is the last, as this connection is not bound
		line := list[strings.LastIndex(strings.TrimSuffix(list, "\n"), "\n")+1:]
		certificate, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		target := newServerKey(t)
		i := newIntruder(t, w.forwarded(o, config, "bastion"), certificate)
		data := login(certificate, sessionID(9), "root", &target)
		if err := i.sign(data); err == nil {
			t.Errorf("the certificate signed through the bastion: %s", line)
		}
		if code, sentence := w.lastFailure(); code != "policyDenied" || !strings.Contains(sentence, "another host") {
			t.Errorf("status: %s, %q", code, sentence)
		}
	})
	w.agent.stop()
	w.startAgent("--forward-certificate")
	w.waitConnected()
	ca = w.requestCertificate()
	o := sshdtest.New(t)
	trusts := sshdtest.Config{TrustedUserCAKeys: []string{ca}}
	n := named{"bastion": o.StartServer(t, trusts), "target": o.StartServer(t, trusts)}
	onward := o.SSH + " -F " + n.config(t, "SSH_AUTH_SOCK") + " target echo arrived"
	if out := must(t, w.runs(o, n.config(t, w.computer.socket()), "-A", "bastion", onward)); out != "arrived\n" {
		t.Errorf("--forward-certificate: %q", out)
	}
}

// A hundred bindings: sixteen count, and the agent lives.
func TestSixteenBindings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	i := newIntruder(t, w.computer.socket(), w.identity("ssh-ed25519").key(t))
	hop := newServerKey(t)
	taken := 0
	for n := range 100 {
		session := binary.BigEndian.AppendUint32(make([]byte, 28), uint32(n))
		bound := hop.binds(t, session, true)
		if _, err := i.agent.Extension("session-bind@openssh.com", bound.Marshal()); err == nil {
			taken++
		}
	}
	if taken != 16 {
		t.Errorf("%d bindings were taken", taken)
	}
	answer, err := i.agent.Extension("query", nil)
	if err != nil || !strings.Contains(string(answer), "session-bind@openssh.com") {
		t.Errorf("query: %q, %v", answer, err)
	}
}
