package test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshctx"
	"vmux/internal/sshdtest"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// record is a line of `vmux phone log --json`.
type record struct {
	Kind, RequestID, What, Decision, Code, Message, Serial string
	ContextQuality                                         string
	Count                                                  int // of a merged record
	Asked                                                  []struct{ What string }
	Grant                                                  bool
	Lines                                                  []struct {
		Name, Value, Quality string
		Warning              bool
	}
}

// says returns the value of a line and how far it can be believed: "root
// (verified)"; "" if there is no such line.
func (r record) says(name string) string {
	for _, l := range r.Lines {
		if l.Name == name {
			return l.Value + " (" + l.Quality + ")"
		}
	}
	return ""
}

// records are those of signatures, oldest first.
func (w *world) records() []record {
	w.Helper()
	var list []record
	for line := range strings.Lines(w.phone.run("phone", "log", "--json")) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			w.Fatalf("phone log: %v\n%s", err, line)
		}
		if r.Kind == "sign" {
			list = append(list, r)
		}
	}
	return list
}

// since returns the records after the first n, which must be count.
func (w *world) since(n, count int) []record {
	w.Helper()
	list := w.records()[n:]
	if len(list) != count {
		w.Fatalf("%d records, want %d: %+v", len(list), count, list)
	}
	return list
}

// expect compares what a record says with pairs of a line's name and its text.
func (w *world) expect(r record, quality, what string, lines ...string) {
	w.Helper()
	if r.ContextQuality != quality || r.What != what {
		w.Errorf("the phone showed %s %q, want %s %q", r.ContextQuality, r.What, quality, what)
	}
	for i := 0; i < len(lines); i += 2 {
		if got := r.says(lines[i]); got != lines[i+1] {
			w.Errorf("%s: the phone showed %q, want %q", lines[i], got, lines[i+1])
		}
	}
}

// named are servers by the names that their user types.
type named map[string]*sshdtest.Server

// config writes an ssh_config that knows the servers by their names, with the
// agent at socket, and returns its path.
func (n named) config(t testing.TB, socket string) string {
	t.Helper()
	dir := t.TempDir()
	text, hosts := "", ""
	for name, s := range n {
		text += fmt.Sprintf("Host %s\n HostName 127.0.0.1\n HostKeyAlias %s\n Port %d\n User %s\n", name, name, s.Port, s.User)
		hosts += name + " " + s.HostKey + "\n"
	}
	known := filepath.Join(dir, "known_hosts")
	text += "Host *\n UserKnownHostsFile " + known + `
 GlobalKnownHostsFile /dev/null
 StrictHostKeyChecking yes
 UpdateHostKeys no
 BatchMode yes
 PreferredAuthentications publickey
 IdentityFile none
 ControlPath none
 ConnectTimeout 60
 IdentityAgent ` + socket + "\n"
	path := filepath.Join(dir, "ssh_config")
	for file, text := range map[string]string{path: text, known: hosts} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// knows gives the computer's user a known_hosts of the servers, with hashed
// names.
func (w *world) knows(n named) {
	w.Helper()
	dir := filepath.Join(w.computer.dir, ".ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.Fatal(err)
	}
	text := ""
	for name, s := range n {
		text += name + " " + s.HostKey + "\n"
	}
	file := filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	sshdtest.Old(w).Keygen(w, "-H", "-f", file)
}

// runs is `ssh -F CONFIG ARGS…` of the computer's user.
func (w *world) runs(o sshdtest.OpenSSH, config string, args ...string) *exec.Cmd {
	w.Helper()
	return w.computer.commandOf(deadline(w), o.SSH, append([]string{"-F", config}, args...)...)
}

func fingerprintOf(t testing.TB, authorized string) string {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(authorized))
	if err != nil {
		t.Fatal(err)
	}
	return ssh.FingerprintSHA256(key)
}

func TestPhoneVerifiesWhereOpenSSHLogsIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	accepts := sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}}
	user := username(t)
	both(t, func(t *testing.T, servers sshdtest.OpenSSH) {
		n := named{}
		for _, name := range []string{"prod", "bastion", "inner"} {
			n[name+"."+servers.Name] = servers.StartServer(t, accepts)
		}
		w.knows(n)
		prod, bastion, inner := "prod."+servers.Name, "bastion."+servers.Name, "inner."+servers.Name
		is := func(name string) string { return fingerprintOf(t, n[name].HostKey) + " (verified)" }
		both(t, func(t *testing.T, client sshdtest.OpenSSH) {
			w := &world{TB: t, computer: w.computer, phone: w.phone}
			config := n.config(t, w.computer.socket())
			t.Run("plain", func(t *testing.T) {
				before := len(w.records())
				must(t, w.runs(client, config, prod, "true"))
				r := w.since(before, 1)[0]
				w.expect(r, "verified", user+"@"+titleOf(r, prod), "server", is(prod), "name", prod+" (claimed)", "through", "")
				if user := strings.TrimSuffix(r.says("user"), ", for the first time on this server (verified)"); !strings.HasPrefix(user, username(t)) {
					t.Errorf("user: %q", r.says("user"))
				}
				if p := r.says("program"); !strings.HasPrefix(p, "ssh ← ") || !strings.HasSuffix(p, "(claimed)") {
					t.Errorf("program: %q", p)
				}
			})
			t.Run("ssh -J", func(t *testing.T) {
				before := len(w.records())
				must(t, w.runs(client, config, "-J", bastion, prod, "true"))
				two := w.since(before, 2)
				w.expect(two[0], "verified", user+"@"+titleOf(two[0], bastion), "server", is(bastion), "through", "")
				w.expect(two[1], "verified", user+"@"+prod, "server", is(prod), "through", "")
			})
			t.Run("agent forwarding over two hops", func(t *testing.T) {
				before := len(w.records())
				onHop := client.SSH + " -F " + n.config(t, "SSH_AUTH_SOCK")
				out := must(t, w.runs(client, config, "-A", bastion, onHop+" -A "+inner+" "+onHop+" "+prod+" echo arrived"))
				if out != "arrived\n" {
					t.Errorf("the last hop printed %q", out)
				}
				three := w.since(before, 3)
				w.expect(three[0], "verified", user+"@"+bastion, "server", is(bastion), "through", "")
				// Names are hashed, and what is typed on the bastion is not known here.
				w.expect(three[1], "verified", three[1].What, "server", is(inner), "through", bastion+" (verified)", "name", "")
				via := bastion + " → " + fingerprintOf(t, n[inner].HostKey)
				w.expect(three[2], "verified", user+"@"+prod, "server", is(prod), "through", via+" (verified)")
			})
		})
	})
}

// titleOf is the host in a title: marked where the phone does not know it yet.
func titleOf(r record, name string) string {
	if r.says("seen") == "never before by this phone (verified)" {
		return name + " (claimed)"
	}
	return name
}

// A server with a host certificate, which clients know by its CA: the phone
// shows the key that ssh-keygen -l shows, however often it is certified.
func TestServerWithHostCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w := &world{TB: t, computer: w.computer, phone: w.phone}
		dir, name := t.TempDir(), o.Name+".prod.example"
		ca, host := filepath.Join(dir, "ca"), filepath.Join(dir, "host")
		for _, key := range []string{ca, host} {
			o.Keygen(t, "-q", "-t", "ecdsa", "-N", "", "-C", "", "-f", key)
		}
		known := "@cert-authority *.example " + read(t, ca+".pub")
		config := filepath.Join(dir, "ssh_config")
		for serial := range 2 {
			o.Keygen(t, "-q", "-s", ca, "-I", "prod", "-h", "-n", name, "-z", fmt.Sprint(serial), host+".pub")
			server := o.StartServer(t, sshdtest.Config{
				AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey},
				Extra:          []string{"HostKey " + host, "HostCertificate " + host + "-cert.pub"},
			})
			text := read(t, named{name: server}.config(t, w.computer.socket()))
			for path, text := range map[string]string{
				config: "UserKnownHostsFile " + w.computer.file("known_hosts", known) + "\n" + text,
				filepath.Join(w.computer.dir, ".ssh", "known_hosts"): known,
			} {
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := len(w.records())
			must(t, w.runs(o, config, name, "true"))
			r := w.since(before, 1)[0]
			fingerprint := strings.Fields(o.Keygen(t, "-l", "-f", host+".pub"))[1]
			seen := map[int]string{0: "never before by this phone (verified)", 1: "before (verified)"}[serial]
			w.expect(r, "verified", username(t)+"@"+titleOf(r, name), "server", fingerprint+" (verified)", "seen", seen, "warning", "")
		}
	})
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Programs that do not bind the session, and sign what does not name the server.
func TestOtherClientsAreShownAsWhatTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{w.identity("ssh-ed25519").PublicKey}})
		path := w.computer.file("greeting", "welcome\n")
		for _, c := range otherClients {
			before := len(w.records())
			cmd := c.make(deadline(t), t, server, path)
			cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+w.computer.socket(), "PATH=/usr/bin:/bin")
			if out := must(t, cmd); out != "welcome\n" {
				t.Errorf("%s printed %q", c.name, out)
			}
			r := w.since(before, 1)[0]
			w.expect(r, "claimed", server.User+"@unknown", "user", server.User+" (verified)", "name", "", "through", "",
				"server", "not known: nothing in what is signed names it (verified)")
			if p := r.says("program"); !strings.Contains(p, filepath.Base(cmd.Path)) && !strings.Contains(p, c.name) {
				t.Errorf("%s: program %q", c.name, p)
			}
		}
	})
}

// serverKey is a server that need not run: what its clients tell of it suffices.
type serverKey struct{ ssh.Signer }

func newServerKey(t testing.TB) serverKey {
	t.Helper()
	signer := testkit.NewKey(t)
	return serverKey{signer}
}

func (k serverKey) blob() []byte        { return k.PublicKey().Marshal() }
func (k serverKey) fingerprint() string { return ssh.FingerprintSHA256(k.PublicKey()) }

// binds is a binding to a session, which the host key has signed.
func (k serverKey) binds(t testing.TB, session []byte, forwarding bool) sshctx.Binding {
	t.Helper()
	signature, err := k.Sign(rand.Reader, session)
	if err != nil {
		t.Fatal(err)
	}
	return sshctx.Binding{HostKey: k.blob(), SessionID: session, Signature: ssh.Marshal(signature), Forwarding: forwarding}
}

// login is what a client asks to have signed; to names the server, if any.
func login(key ssh.PublicKey, session []byte, user string, to *serverKey) []byte {
	c := sshctx.Context{
		Kind: sshctx.UserAuth, SessionID: session, User: user, Service: "ssh-connection",
		Algorithm: key.Type(), PublicKey: key.Marshal(),
	}
	if to != nil {
		c.Kind, c.HostKey = sshctx.HostBound, to.blob()
	}
	return c.Marshal()
}

func sessionID(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }

// attacker: a computer in wrong hands. What it says beside the bytes is shown as
// its word; what contradicts them is refused.
func TestPhoneShowsWhatTheBytesSay(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("ssh-ed25519", "ssh-ed25519")
	w.startPhone()
	c, key := pairWrongComputer(w), w.identity("ssh-ed25519").key(t)
	prod, evil := newServerKey(t), newServerKey(t)
	forged := prod.binds(t, sessionID(1), false).Marshal()
	forged[len(forged)-3] ^= 1
	asks := func(data []byte, name string, bindings ...[]byte) wire.SignResponse {
		t.Helper()
		r := c.request(key, patience)
		r.DataToSign, r.Bindings, r.Context = data, bindings, wire.Context{ContextQuality: wire.QualityClaimed, HostName: name}
		return c.asks(r.RequestID, r)
	}
	toProd, toEvil, plain := login(key, sessionID(1), "root", &prod), login(key, sessionID(1), "root", &evil), login(key, sessionID(1), "root", nil)
	bound := prod.binds(t, sessionID(1), false).Marshal()
	verified := func(k serverKey) string { return k.fingerprint() + " (verified)" }
	for _, lie := range []struct {
		name, claim     string
		data            []byte
		bindings        [][]byte
		quality, what   string
		server, warning string
	}{
		{"none", "prod.example", toProd, [][]byte{bound}, "verified", "root@prod.example (claimed)", verified(prod), ""},
		{"another name for a known server", "harmless.example", toProd, nil, "verified", "root@prod.example", verified(prod), ""},
		{"a stripped binding", "", toProd, nil, "verified", "root@harmless.example", verified(prod), ""},
		{"a stripped binding, and bytes without a server", "prod.example", plain, nil, "claimed", "root@prod.example (claimed)",
			"not known: nothing in what is signed names it (verified)", ""},
		{"a known name for another server", "prod.example", toEvil, nil, "verified", "root@prod.example (claimed)", verified(evil),
			"prod.example had another host key: " + verified(prod)},
	} {
		t.Run(lie.name, func(t *testing.T) {
			w := &world{TB: t, phone: w.phone}
			before := len(w.records())
			answer := asks(lie.data, lie.claim, lie.bindings...)
			r := w.since(before, 1)[0]
			w.expect(r, lie.quality, lie.what, "user", r.says("user"), "server", lie.server, "warning", lie.warning)
			if !strings.HasPrefix(r.says("user"), "root") {
				t.Errorf("user %q", r.says("user"))
			}
			var signature ssh.Signature
			if err := ssh.Unmarshal(answer.Signature, &signature); err != nil || key.Verify(lie.data, &signature) != nil {
				t.Errorf("not signed: %+v", answer)
			}
		})
	}
	for name, lie := range map[string]struct {
		data     []byte
		bindings [][]byte
	}{
		"a binding for another session":            {plain, [][]byte{prod.binds(t, sessionID(2), false).Marshal()}},
		"a binding for another server":             {toProd, [][]byte{evil.binds(t, sessionID(1), false).Marshal()}},
		"a binding that the server did not sign":   {toProd, [][]byte{forged}},
		"a login to a session that is forwarded":   {plain, [][]byte{prod.binds(t, sessionID(1), true).Marshal()}},
		"a hop behind the login":                   {toProd, [][]byte{bound, evil.binds(t, sessionID(3), true).Marshal()}},
		"a login with another key than that asked": {login(evil.PublicKey(), sessionID(1), "root", &prod), nil},
	} {
		before := w.sheets("refused")
		answer := asks(lie.data, "prod.example", lie.bindings...)
		if n := w.sheets("refused"); answer.Error == nil || answer.Error.Code != wire.CodePolicyDenied || n != before+1 || len(answer.Signature) > 0 {
			t.Errorf("%s: %+v, and the log has %d refused, before %d", name, answer, n, before)
		}
		list := w.records() // what is refused in one minute is one record
		r := list[len(list)-1]
		named := []string{r.What}
		for _, a := range r.Asked {
			named = append(named, a.What)
		}
		if want := map[bool]string{true: "unknown", false: "root@prod.example (claimed)"}[name == "a login with another key than that asked"]; !slices.Contains(named, want) {
			t.Errorf("%s: the log says %q, want %q", name, named, want)
		}
	}
}
