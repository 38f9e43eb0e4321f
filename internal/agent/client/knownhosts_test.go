package client

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshconfig"
	"vmux/internal/testkit"
)

func hostKey(t *testing.T) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestHostNameOf(t *testing.T) {
	prod, odd, revoked := hostKey(t), hostKey(t), hostKey(t)
	line := func(hosts string, key ssh.PublicKey) string {
		return hosts + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + "\n"
	}
	plain := filepath.Join(t.TempDir(), "known_hosts")
	text := "# comment\nnot a line at all\n" +
		line("prod.example,192.0.2.7", prod) + line("@revoked bad.example", revoked) + line("[odd.example]:2222", odd)
	if err := os.WriteFile(plain, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	hashed := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(hashed, []byte(line("prod.example", prod)+line("[odd.example]:2222", odd)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-H", "-f", hashed).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen -H: %v: %s", err, out)
	}
	for _, test := range []struct {
		name, file string
		key        ssh.PublicKey
		args       string
		want       string
	}{
		{"first name", plain, prod, "ssh", "prod.example"},
		{"the name that was typed", plain, prod, "ssh root@192.0.2.7", "192.0.2.7"},
		{"another name was typed", plain, prod, "ssh alias", "prod.example"},
		{"port", plain, odd, "ssh -p 2222 odd.example", "[odd.example]:2222"},
		{"revoked", plain, revoked, "ssh bad.example", ""},
		{"hashed", hashed, prod, "ssh -v deploy@PROD.example uptime", "prod.example"},
		{"hashed, with a port", hashed, odd, "sftp -oPort=2222 odd.example", "[odd.example]:2222"},
		{"hashed, as a URI", hashed, prod, "ssh ssh://root@prod.example:22", "prod.example"},
		{"hashed, not typed", hashed, prod, "ssh alias", ""},
		{"no such file", plain + "x", prod, "ssh prod.example", ""},
	} {
		got := hostName([]string{test.file}, test.key.Marshal(), namesIn(test.args))
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// A server with a host certificate is known by its CA, and by the names that
// the certificate gives it.
func TestHostNameOfCertificate(t *testing.T) {
	ca := testkit.NewKey(t)
	prod := hostKey(t)
	cert := &ssh.Certificate{Key: prod, CertType: ssh.HostCert, ValidPrincipals: []string{"prod.example", "192.0.2.7"}}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		line string
		key  ssh.PublicKey
		args string
		want string
	}{
		{"@cert-authority *.example ", ca.PublicKey(), "ssh", "prod.example"},
		{"@cert-authority *.example ", ca.PublicKey(), "ssh -p 22 192.0.2.7", "192.0.2.7"},
		{"@cert-authority *.example ", hostKey(t), "ssh prod.example", ""},
		{"prod.example ", ca.PublicKey(), "ssh prod.example", ""},
		{"pinned.example ", prod, "ssh prod.example", "pinned.example"},
	} {
		file := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(file, append([]byte(test.line), ssh.MarshalAuthorizedKey(test.key)...), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := hostName([]string{file}, cert.Marshal(), namesIn(test.args)); got != test.want {
			t.Errorf("%s, %s: got %q, want %q", test.line, test.args, got, test.want)
		}
	}
}

// namesIn are the names by which such a client looks for its server's key.
func namesIn(line string) []string {
	return sshconfig.Read(sshconfig.Client{Args: strings.Fields(line)}).Names
}

// A host key of a type that this program does not know has a name all the same, a
// revoked one has none, and a pattern is as good as a name.
func TestHostNameOfOddLines(t *testing.T) {
	blob := []byte("\x00\x00\x00\x0fssh-of-tomorrow\x00\x00\x00\x01x")
	key := " ssh-of-tomorrow " + base64.StdEncoding.EncodeToString(blob) + " a comment\r\n"
	for line, want := range map[string]string{
		"prod.example" + key:                     "prod.example",
		"  prod.example" + key:                   "prod.example",
		"*.example,!other.example" + key:         "prod.example",
		"*.example,!prod.example" + key:          "",
		"@revoked prod.example" + key:            "",
		"#prod.example" + key:                    "",
		"[prod.example]:22,[prod.example]" + key: "[prod.example]:22",
	} {
		file := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := hostName([]string{file}, blob, namesIn("ssh prod.example")); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

// A FIFO that nobody writes to, or a device without end, as a known_hosts file must
// not hold up a signature.
func TestHostNameOfWhatIsNoFile(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "known_hosts")
	if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		t.Fatalf("mkfifo: %v: %s", err, out)
	}
	files := []string{fifo, "/dev/zero", filepath.Dir(fifo)}
	if got := hostName(files, hostKey(t).Marshal(), []string{"prod.example"}); got != "" {
		t.Errorf("got %q", got)
	}
}
