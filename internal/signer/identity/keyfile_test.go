package identity

import (
	"cmp"
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

	"vmux/internal/testkit"
	"vmux/internal/wire"
)

var secret = []byte("a passphrase")

// Every key that the phone makes signs, and ssh-keygen decrypts its file.
func TestCreatedKeyFiles(t *testing.T) {
	store := &testkit.Documents{}
	l := newList(t, store, nil)
	for _, algorithm := range []string{"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-ed25519", "ssh-rsa"} {
		t.Run(algorithm, func(t *testing.T) {
			id, err := l.Create(algorithm, algorithm, 0, secret)
			if err != nil {
				t.Fatal(err)
			}
			exported, err := l.Export(id)
			if err != nil {
				t.Fatal(err)
			}
			path := testkit.WriteFile(t, "key", exported)
			public := strings.Fields(testkit.Keygen(t, "-y", "-P", string(secret), "-f", path))
			if want := strings.Fields(id.AuthorizedKey()); public[0] != want[0] || public[1] != want[1] {
				t.Errorf("ssh-keygen -y reads %s", public)
			}
			if line := testkit.Keygen(t, "-l", "-f", path); !strings.Contains(line, " "+id.Fingerprint()+" ") {
				t.Errorf("ssh-keygen -l says %s, the phone %s", line, id.Fingerprint())
			}
			if exec.Command("ssh-keygen", "-y", "-P", "", "-f", path).Run() == nil {
				t.Error("the exported key is not encrypted")
			}
			wantSigns(t, Files{store}, id, cmp.Or(map[string]string{"ssh-rsa": "rsa-sha2-512"}[algorithm], algorithm), secret)
		})
	}
}

func TestImport(t *testing.T) {
	l := newList(t, &testkit.Documents{}, nil)
	for _, c := range []struct{ name, passphrase, args string }{
		{"OpenSSH Ed25519", "old one", "-t ed25519"},
		{"OpenSSH ECDSA, not encrypted", "", "-t ecdsa -b 521"},
		{"PEM RSA", "old one", "-t rsa -b 2048 -m PEM"},
		{"PKCS8 ECDSA, not encrypted", "", "-t ecdsa -m PKCS8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			testkit.Keygen(t, append([]string{"-q", "-N", c.passphrase, "-f", path}, strings.Fields(c.args)...)...)
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if c.passphrase != "" {
				if _, err := l.Import(c.name, file, nil, secret); !errors.Is(err, ErrEncrypted) {
					t.Errorf("without its passphrase: %v", err)
				}
				if _, err := l.Import(c.name, file, []byte("wrong"), secret); !errors.Is(err, ErrWrongPassphrase) {
					t.Errorf("with a wrong passphrase: %v", err)
				}
			}
			id, err := l.Import(c.name, file, []byte(c.passphrase), secret)
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
			exported, err := l.Export(id)
			if err != nil {
				t.Fatal(err)
			}
			testkit.Keygen(t, "-y", "-P", string(secret), "-f", testkit.WriteFile(t, "exported", exported))
		})
	}
}

func TestImportRefuses(t *testing.T) {
	l := newList(t, &testkit.Documents{}, nil)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(short)})
	if _, err := l.Import("short", weak, nil, secret); err == nil || !strings.Contains(err.Error(), "1024 bits") {
		t.Errorf("an RSA key of 1024 bits: %v", err)
	}
	if err := checkImported(&dsa.PrivateKey{}); wire.CodeOf(err) != wire.CodeAlgorithmUnsupported {
		t.Errorf("a DSA key: %v", err)
	}
	if _, err := l.Import("text", []byte("hunter2"), nil, secret); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("no key at all: %v", err)
	}
}

func TestKeysThatAreNotMade(t *testing.T) {
	store := &testkit.Documents{}
	l := newList(t, store, nil)
	if _, err := l.Create("short", "ssh-rsa", 2048, secret); err == nil {
		t.Error("made an RSA key of 2048 bits")
	}
	if _, err := l.Create("none", "ssh-ed25519", 0, nil); !errors.Is(err, ErrNoPassphrase) {
		t.Errorf("without a passphrase: %v", err)
	}
	if _, err := l.Create("dsa", "ssh-dss", 0, secret); wire.CodeOf(err) != wire.CodeAlgorithmUnsupported {
		t.Errorf("a DSA key: %v", err)
	}
	if names, _ := store.List(""); len(names) != 0 {
		t.Errorf("failures left %v", names)
	}
}

// A key of which one value is left is not wiped: each of those that the standard
// library derives from RSA's primes gives them away.
func TestWipeLeavesNothingOfAKey(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
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
	Wipe(key)
	for name, v := range values {
		for _, word := range v.Bits() {
			if word != 0 {
				t.Errorf("%s is not wiped", name)
				break
			}
		}
	}
	Wipe(&rsa.PrivateKey{}) // one of which nothing was ever read
}
