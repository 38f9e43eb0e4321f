package test

import (
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/sshdtest"
)

// logsInAs starts a login to a server by the name that the person types, with what
// ssh's configuration says beside.
func (w *world) logsInAs(o sshdtest.OpenSSH, name string, s *sshdtest.Server, options ...string) <-chan error {
	w.Helper()
	n := named{name: s}
	w.knows(n)
	cmd := w.runs(o, n.config(w, w.computer.socket()), append(options, name, "true")...)
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	return done
}

// Two servers behind one name: the second one has to be acknowledged, once. From
// then on a switch between the two is none.
func TestPoolIsAcknowledgedOnce(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t)
	o := sshdtest.New(t)
	one, two := w.server(o), w.server(o)
	approved := 0
	logIn := func(s *sshdtest.Server, key string) {
		t.Helper()
		done := w.logsInAs(o, "pool.example", s)
		approved++
		person.waitCount("Approved.", approved, key)
		if err := w.wait(done); err != nil {
			t.Fatal(err)
		}
	}
	logIn(one, "y")
	logIn(two, "C")
	for _, s := range []*sshdtest.Server{one, two, one} {
		logIn(s, "y")
	}
	if n := person.count("had another host key"); n != 1 {
		t.Errorf("warned %d times of another host key, want once", n)
	}
	hosts := w.phone.run("phone", "hosts")
	for _, s := range []*sshdtest.Server{one, two} {
		if !strings.Contains(hosts, fingerprintOf(t, s.HostKey)+"  pool.example  as ") {
			t.Errorf("vmux phone hosts:\n%s", hosts)
		}
	}
	// One of the two is forgotten: it would have to be acknowledged anew.
	w.phone.run("phone", "hosts", "forget", fingerprintOf(t, two.HostKey))
	logIn(two, "C")
}

// One server with an Ed25519 and an RSA key. Which of them ssh takes depends on
// what it finds in known_hosts; that is no change.
func TestServerWithKeysOfTwoTypes(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w, person := askingWorld(t)
		rsa := filepath.Join(t.TempDir(), "rsa")
		o.Keygen(t, "-q", "-t", "rsa", "-b", "3072", "-N", "", "-C", "", "-f", rsa)
		s := o.StartServer(t, sshdtest.Config{
			AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey},
			Extra:          []string{"HostKey " + rsa},
		})
		keys := []string{s.HostKey, strings.TrimSpace(read(t, rsa+".pub"))}
		for i, key := range []string{keys[0], keys[1], keys[0], keys[1]} {
			s.HostKey = key // the one that known_hosts has, so that ssh asks for its type
			done := w.logsInAs(o, "prod.example", s)
			person.waitCount("Approved.", i+1, "y")
			if err := w.wait(done); err != nil {
				t.Fatal(err)
			}
			r := w.since(i, 1)[0]
			w.expect(r, "verified", username(t)+"@"+map[bool]string{true: "prod.example (claimed)", false: "prod.example"}[i < 2],
				"server", fingerprintOf(t, key)+" (verified)", "warning", "", "seen", []string{
					"never before by this phone (verified)",
					"never before by this phone, which knows prod.example by a host key of another type: ssh-ed25519 (verified)",
					"before (verified)", "before (verified)",
				}[i])
		}
	})
}
