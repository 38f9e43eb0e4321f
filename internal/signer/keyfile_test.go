package signer

import (
	"bytes"
	"context"
	"crypto/dsa" //lint:ignore SA1019 made to be refused
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// keygen runs the real ssh-keygen.
func keygen(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Fatal("ssh-keygen is missing: run `make setup`")
	}
	out, err := exec.CommandContext(t.Context(), "ssh-keygen", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen %s: %v: %s", args[0], err, out)
	}
	return string(out)
}

func writeFile(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every key that the phone makes signs, and ssh-keygen decrypts its file.
func TestCreatedKeyFiles(t *testing.T) {
	p := newPhone(t)
	for _, algorithm := range []string{"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-ed25519", "ssh-rsa"} {
		t.Run(algorithm, func(t *testing.T) {
			p.t = t
			id, err := p.Create(algorithm, algorithm, 0, secret)
			if err != nil {
				t.Fatal(err)
			}
			exported, err := p.Export(id)
			if err != nil {
				t.Fatal(err)
			}
			path := writeFile(t, "key", exported)
			public := strings.Fields(keygen(t, "-y", "-P", string(secret), "-f", path))
			if want := strings.Fields(id.AuthorizedKey()); public[0] != want[0] || public[1] != want[1] {
				t.Errorf("ssh-keygen -y reads %s", public)
			}
			if line := keygen(t, "-l", "-f", path); !strings.Contains(line, " "+id.Fingerprint()+" ") {
				t.Errorf("ssh-keygen -l says %s, the phone %s", line, id.Fingerprint())
			}
			if exec.Command("ssh-keygen", "-y", "-P", "", "-f", path).Run() == nil {
				t.Error("the exported key is not encrypted")
			}
			r := p.request(id)
			p.wantSignature(p.ask(t.Context(), r), id, r)
		})
	}
}

func TestImport(t *testing.T) {
	p := newPhone(t)
	for _, c := range []struct{ name, passphrase, args string }{
		{"OpenSSH Ed25519", "old one", "-t ed25519"},
		{"OpenSSH ECDSA, not encrypted", "", "-t ecdsa -b 521"},
		{"PEM RSA", "old one", "-t rsa -b 2048 -m PEM"},
		{"PKCS8 ECDSA, not encrypted", "", "-t ecdsa -m PKCS8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			keygen(t, append([]string{"-q", "-N", c.passphrase, "-f", path}, strings.Fields(c.args)...)...)
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if c.passphrase != "" {
				if _, err := p.Import(c.name, file, nil, secret); !errors.Is(err, ErrEncrypted) {
					t.Errorf("without its passphrase: %v", err)
				}
				if _, err := p.Import(c.name, file, []byte("wrong"), secret); !errors.Is(err, ErrWrongPassphrase) {
					t.Errorf("with a wrong passphrase: %v", err)
				}
			}
			id, err := p.Import(c.name, file, []byte(c.passphrase), secret)
			if err != nil {
				t.Fatal(err)
			}
			public, err := os.ReadFile(path + ".pub")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Fields(string(public))[1] != strings.Fields(id.AuthorizedKey())[1] {
				t.Errorf("imported %s, want %s", id.AuthorizedKey(), public)
			}
			exported, err := p.Export(id)
			if err != nil {
				t.Fatal(err)
			}
			keygen(t, "-y", "-P", string(secret), "-f", writeFile(t, "exported", exported))
		})
	}
}

func TestImportRefuses(t *testing.T) {
	p := newPhone(t)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(short)})
	if _, err := p.Import("short", weak, nil, secret); err == nil || !strings.Contains(err.Error(), "1024 bits") {
		t.Errorf("an RSA key of 1024 bits: %v", err)
	}
	if err := checkImported(&dsa.PrivateKey{}); wire.CodeOf(err) != wire.CodeAlgorithmUnsupported {
		t.Errorf("a DSA key: %v", err)
	}
	if _, err := p.Import("text", []byte("hunter2"), nil, secret); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("no key at all: %v", err)
	}
}

// A wrong passphrase may be corrected twice.
func TestWrongPassphrase(t *testing.T) {
	p := newPhone(t)
	id, err := p.Create("a", "ssh-ed25519", 0, secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		answers []string
		tries   int
		want    wire.Code
	}{
		{[]string{"wrong", "", string(secret)}, 3, ""},
		{[]string{"wrong", "wrong", "wrong", string(secret)}, maxPassphraseTries, wire.CodeAuthenticationFailed},
	} {
		tries := 0
		p.approver.Passphrase = func(_ context.Context, r PassphraseRequest) ([]byte, error) {
			if tries++; r.Attempt != tries || r.Label.String() != "a" {
				t.Errorf("attempt %d of %s, want %d", r.Attempt, r.Label, tries)
			}
			return []byte(c.answers[tries-1]), nil
		}
		answer := p.ask(t.Context(), p.request(id))
		if got := codeOf(answer.Error); got != c.want || tries != c.tries {
			t.Errorf("answered %q after %d tries, want %q after %d", got, tries, c.want, c.tries)
		}
	}
	p.approver.Passphrase = func(context.Context, PassphraseRequest) ([]byte, error) { return nil, errors.New("no terminal") }
	p.wantCode(p.ask(t.Context(), p.request(id)), wire.CodeAuthenticationFailed)
}

// What a person typed is overwritten as soon as it has been used.
func TestPassphraseIsWiped(t *testing.T) {
	p := newPhone(t)
	id, err := p.Create("a", "ssh-ed25519", 0, secret)
	if err != nil {
		t.Fatal(err)
	}
	typed := bytes.Clone(secret)
	p.approver.Passphrase = func(context.Context, PassphraseRequest) ([]byte, error) { return typed, nil }
	if answer := p.ask(t.Context(), p.request(id)); answer.Error != nil {
		t.Fatal(answer.Error)
	}
	if !bytes.Equal(typed, make([]byte, len(secret))) {
		t.Error("the passphrase is still there")
	}
}

func TestNothingSecretRestsInTheStore(t *testing.T) {
	store := &testkit.Documents{}
	s, err := New(Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create("a", "ecdsa-sha2-nistp256", 0, secret); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateCA([]string{"root"}, secret); err != nil {
		t.Fatal(err)
	}
	names, _ := store.List("")
	if len(names) != 6 { // two of them the log
		t.Fatalf("documents: %v", names)
	}
	for _, name := range names {
		b, _ := store.Get(name)
		if bytes.Contains(b, secret) {
			t.Errorf("%s holds the passphrase", name)
		}
		if strings.HasPrefix(name, "keys/") {
			var missing *ssh.PassphraseMissingError
			if _, err := ssh.ParseRawPrivateKey(b); !errors.As(err, &missing) {
				t.Errorf("%s can be read without the passphrase: %v", name, err)
			}
		}
	}
}

func TestKeysThatAreNotMade(t *testing.T) {
	p := newPhone(t)
	if _, err := p.Create("short", "ssh-rsa", 2048, secret); err == nil {
		t.Error("made an RSA key of 2048 bits")
	}
	if _, err := p.Create("none", "ssh-ed25519", 0, nil); !errors.Is(err, ErrNoPassphrase) {
		t.Errorf("without a passphrase: %v", err)
	}
	if _, err := p.Create("dsa", "ssh-dss", 0, secret); wire.CodeOf(err) != wire.CodeAlgorithmUnsupported {
		t.Errorf("a DSA key: %v", err)
	}
	if names, _ := p.cfg.Store.List(""); len(names) != 0 {
		t.Errorf("failures left %v", names)
	}
}

// A key of which one value is left is not wiped: each of those that the standard
// library derives from RSA's primes gives them away.
func TestWipeLeavesNothingOfAKey(t *testing.T) {
	shared, err := sharedRSA()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS1PrivateKey(x509.MarshalPKCS1PrivateKey(shared.(*rsa.PrivateKey)))
	if err != nil {
		t.Fatal(err)
	}
	third := rsa.CRTValue{Exp: big.NewInt(3), Coeff: big.NewInt(5), R: big.NewInt(7)} // of a third prime
	//lint:ignore SA1019 made to be wiped
	key.Precomputed.CRTValues = []rsa.CRTValue{third}
	values := map[string]*big.Int{
		"D": key.D, "P": key.Primes[0], "Q": key.Primes[1],
		"Dp": key.Precomputed.Dp, "Dq": key.Precomputed.Dq, "Qinv": key.Precomputed.Qinv,
		"Exp": third.Exp, "Coeff": third.Coeff, "R": third.R,
	}
	for name, v := range values {
		if v == nil || v.Sign() == 0 {
			t.Fatalf("%s is nothing before it is wiped", name)
		}
	}
	wipe(key)
	for name, v := range values {
		for _, word := range v.Bits() {
			if word != 0 {
				t.Errorf("%s is not wiped", name)
				break
			}
		}
	}
	wipe(&rsa.PrivateKey{}) // one of which nothing was ever read
}
