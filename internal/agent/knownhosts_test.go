package agent

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
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
	prod, odd, stranger := hostKey(t), hostKey(t), hostKey(t)
	line := func(hosts string, key ssh.PublicKey) string {
		return hosts + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + "\n"
	}
	plain := filepath.Join(t.TempDir(), "known_hosts")
	text := "# comment\nnot a line at all\n" +
		line("prod.example,192.0.2.7", prod) + line("@revoked bad.example", stranger) + line("[odd.example]:2222", odd)
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
		{"revoked", plain, stranger, "ssh bad.example", ""},
		{"hashed", hashed, prod, "ssh -v deploy@PROD.example uptime", "prod.example"},
		{"hashed, with a port", hashed, odd, "sftp -oPort=2222 odd.example", "[odd.example]:2222"},
		{"hashed, as a URI", hashed, prod, "ssh ssh://root@prod.example:22", "prod.example"},
		{"hashed, not typed", hashed, prod, "ssh alias", ""},
		{"no such file", plain + "x", prod, "ssh prod.example", ""},
	} {
		got := hostNameOf([]string{test.file}, test.key.Marshal(), hostCandidates(strings.Fields(test.args)))
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// A server with a host certificate is known by its CA, and by the names that
// the certificate gives it.
func TestHostNameOfCertificate(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
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
		if got := hostNameOf([]string{file}, cert.Marshal(), hostCandidates(strings.Fields(test.args))); got != test.want {
			t.Errorf("%s, %s: got %q, want %q", test.line, test.args, got, test.want)
		}
	}
}

// A word of a command line is compared and never shown unless a known_hosts
// file has it too.
func TestHostCandidates(t *testing.T) {
	got := hostCandidates([]string{"ssh", "-p2222", "-o", "HostName=a.example", "-i", "/home/u/.ssh/id", "u@b.example", "rm -rf /"})
	want := []string{"[a.example]:2222", "a.example", "[b.example]:2222", "b.example"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
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
	if got := hostNameOf(files, hostKey(t).Marshal(), []string{"prod.example"}); got != "" {
		t.Errorf("got %q", got)
	}
}
