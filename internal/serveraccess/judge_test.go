package serveraccess

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/state"
)

// newPasskey is the public key of one.
func newPasskey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	const kind = "sk-ecdsa-sha2-nistp256@openssh.com"
	return kind + " " + base64.StdEncoding.EncodeToString(ssh.Marshal(struct {
		Kind, Curve string
		Point       []byte
		Application string
	}{kind, "nistp256", point, "example.com"}))
}

// Of each identity it is said whether it works, and the first line that is missing.
func TestJudge(t *testing.T) {
	passkey := newPasskey(t)
	short, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(&short.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
	const algorithms = "ssh-ed25519,sk-ecdsa-sha2-nistp256@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com"
	seen := func(lines ...string) Facts {
		f := Facts{Software: "OpenSSH_9.2p1"}
		f.read(append([]string{
			"system Linux", "account deploy", "uid 1000", "config /etc/ssh/sshd_config", "seen account", "keysfile /home/deploy/.ssh/authorized_keys",
			"sshd pubkeyacceptedalgorithms " + algorithms, "sshd casignaturealgorithms ssh-ed25519", "sshd trustedusercakeys none",
			"sshd authorizedprincipalsfile none", "sshd authorizedprincipalscommand none", "sshd strictmodes yes",
		}, lines...))
		return f
	}
	with := func(f Facts, keyword, value string) Facts {
		f.Config[keyword] = value
		return f
	}
	key, ca := Candidate{Name: "key", Line: newKey}, Candidate{Name: "phone", Line: newKey, CA: true, Principals: []string{"deploy"}}
	unread := seen()
	unread.Config = nil
	old := seen()
	old.Software = "OpenSSH_8.2p1"
	root := with(seen(), "permitrootlogin", "no")
	root.Root = true
	forced := with(seen("key "+newKey), "permitrootlogin", "forced-commands-only")
	forced.Root = true
	for _, test := range []struct {
		name          string
		facts         Facts
		candidate     Candidate
		missing, file string
	}{
		{"a key that is there", seen("key " + newKey), key, "", ""},
		{"behind a comment", seen("key # "+newKey, "key "), key, newKey, "/home/deploy/.ssh/authorized_keys"},
		{"as a CA's", seen("key cert-authority " + newKey), key, "a line of the key without cert-authority", "/home/deploy/.ssh/authorized_keys"},
		{"as a CA's and by itself", seen("key cert-authority "+newKey, "key "+newKey), key, "", ""},
		{"that has expired", seen(`key expiry-time="20200101Z" ` + newKey), key, "a line of the key without expiry-time", "/home/deploy/.ssh/authorized_keys"},
		{"that will expire", seen(`key no-pty,expiry-time="299901010000" ` + newKey), key, "", ""},
		{"no logins by key", with(seen("key "+newKey), "authenticationmethods", "password keyboard-interactive"), key, "AuthenticationMethods publickey", "/etc/ssh/sshd_config"},
		{"a key and a password", with(seen("key "+newKey), "authenticationmethods", "publickey,password"), key, "", ""},
		{"a short RSA key", with(with(seen("key "+rsaKey), "requiredrsasize", "3072"), "pubkeyacceptedalgorithms", "rsa-sha2-512"), Candidate{Line: rsaKey}, "RequiredRSASize 2048", "/etc/ssh/sshd_config"},
		{"with others who may write", seen("key "+newKey, "loose /home/deploy"), key, "chmod go-w /home/deploy", ""},
		{"that nobody minds", with(seen("key "+newKey, "loose /home/deploy"), "strictmodes", "no"), key, "", ""},
		{"unless a command prints it", with(seen(), "authorizedkeyscommand", "/bin/keys"), key, newKey, "/home/deploy/.ssh/authorized_keys, unless AuthorizedKeysCommand prints it"},
		{"no keys", with(seen("key "+newKey), "pubkeyauthentication", "no"), key, "PubkeyAuthentication yes", "/etc/ssh/sshd_config"},
		{"no root", root, key, "PermitRootLogin prohibit-password", "/etc/ssh/sshd_config"},
		{"root's forced commands", forced, key, "PermitRootLogin prohibit-password", "/etc/ssh/sshd_config"},
		{"no such algorithm", with(seen("key "+newKey), "pubkeyacceptedalgorithms", "ssh-rsa"), key, "PubkeyAcceptedAlgorithms +ssh-ed25519", "/etc/ssh/sshd_config"},
		{"not read", unread, key, newKey, "/home/deploy/.ssh/authorized_keys"},
		{"a passkey", seen(), Candidate{Line: passkey}, "verify-required " + passkey, "/home/deploy/.ssh/authorized_keys"},
		{"a passkey that is there", seen("key verify-required " + passkey), Candidate{Line: passkey}, "", ""},
		{"a passkey and an old server", old, Candidate{Line: passkey}, "OpenSSH 8.4 or newer, for passkeys", ""},
		{"a CA", seen(), ca, "TrustedUserCAKeys /etc/ssh/vmux_ca.pub", "/etc/ssh/sshd_config"},
		{"a CA in a file", with(seen(), "trustedusercakeys", "/etc/cas"), ca, newKey, "/etc/cas"},
		{"a CA that is there", with(seen("ca "+newKey), "trustedusercakeys", "/etc/cas"), ca, "", ""},
		{"a passkey's CA", seen(), Candidate{Line: passkey, CA: true}, "CASignatureAlgorithms +webauthn-sk-ecdsa-sha2-nistp256@openssh.com", "/etc/ssh/sshd_config"},
		{
			"other principals", with(seen("ca "+newKey), "trustedusercakeys", "/etc/cas"), Candidate{Line: newKey, CA: true, Principals: []string{"alice"}},
			"deploy among the certificate's principals (alice)", "",
		},
	} {
		v := test.facts.Judge(test.candidate)
		if v.Missing != test.missing || v.In != test.file || v.Works != (test.missing == "") || v.Unsure != (test.facts.Config == nil) {
			t.Errorf("%s: %+v", test.name, v)
		}
		if want := strings.HasSuffix(test.missing, strings.Fields(newKey)[1]+" phone") || strings.HasPrefix(test.missing, "TrustedUser") || strings.HasPrefix(test.missing, "verify"); v.Trust != want {
			t.Errorf("%s: trust would help: %v", test.name, v.Trust)
		}
	}
	if (Facts{Software: "OpenSSH_for_Windows_9.5"}).Windows() != true || (Facts{Software: "dropbear_2022.83"}).AtLeast(1, 0) {
		t.Error("other servers")
	}
}

// What ssh -v tells.
func TestLog(t *testing.T) {
	var f Facts
	f.readLog("debug1: Remote protocol version 2.0, remote software version OpenSSH_9.2p1 Debian-2\r\ndebug1: Server host key: ssh-ed25519 SHA256:abc\r\n" +
		"debug1: kex_input_ext_info: server-sig-algs=<ssh-ed25519,rsa-sha2-256>\r\n")
	if f.Software != "OpenSSH_9.2p1 Debian-2" || f.HostKey != "SHA256:abc" || len(f.Algorithms) != 2 {
		t.Errorf("%+v", f)
	}
	log := "debug1: Server accepts key: /x ED25519 SHA256:one explicit agent\ndebug1: Server accepts key: /y RSA SHA256:two\nAuthenticated to x using \"publickey\".\n"
	if keys, in := Accepted(log); !in || len(keys) != 2 || keys[1] != "SHA256:two" {
		t.Errorf("%v %v", keys, in)
	}
	if got := LastWords("OpenSSH_9.2p1\ndebug1: x\nalice@x: Permission denied (publickey).\ndebug1: y\n"); got != "alice@x: Permission denied (publickey)." {
		t.Errorf("%q", got)
	}
}

// What was put in is found again by its key, whatever it is called by then.
func TestRecord(t *testing.T) {
	t.Setenv("VMUX_HOME", t.TempDir())
	home, err := state.Find()
	if err != nil {
		t.Fatal(err)
	}
	open := func() *Record {
		t.Helper()
		r, err := OpenRecord(home)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	f, put := Facts{HostKey: "SHA256:abc", Account: "deploy"}, Placed{File: "/x", Newline: true}
	for range 2 {
		if err := open().Put(f, newKey, put); err != nil {
			t.Fatal(err)
		}
	}
	renamed := strings.Replace(newKey, " phone", " tablet", 1)
	if line, p := open().Of(f, renamed); line != newKey || p != put {
		t.Errorf("%q %+v", line, p)
	}
	if line, p := open().Of(Facts{HostKey: "SHA256:other", Account: "deploy"}, renamed); line != renamed || p != (Placed{}) {
		t.Errorf("another server: %q %+v", line, p)
	}
	if err := open().Taken(f, renamed); err != nil {
		t.Fatal(err)
	}
	if r := open(); len(r.entries) != 0 {
		t.Errorf("%+v", r.entries)
	}

	// Two commands at once, of which each waits for a person.
	first, second := open(), open()
	if err := errors.Join(first.Put(f, newKey, put), second.Put(Facts{HostKey: "SHA256:other"}, newKey, put)); err != nil {
		t.Fatal(err)
	}
	if r := open(); len(r.entries) != 2 {
		t.Errorf("%+v", r.entries)
	}
}
