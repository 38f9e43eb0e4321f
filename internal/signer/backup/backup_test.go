package backup

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/policy"
)

const passphrase = "correct horse battery staple"

func document(t *testing.T) Document {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewPrivateKey(private, "work")
	if err != nil {
		t.Fatal(err)
	}
	blob, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return Document{
		CreatedAt: time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC),
		Keys: []Key{{
			Label: "work", PublicKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(blob))) + " work", PrivateKey: key,
			Enabled: true, Default: true, Rules: policy.Rules{Users: []string{"deploy"}},
		}},
		Missing: []Missing{{Label: "phone", PublicKey: "sk-ecdsa…", Provider: "passkey"}},
	}
}

func TestBackupOpensToWhatWasSealed(t *testing.T) {
	doc := document(t)
	file, err := Seal(doc, []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(file, []byte("work")) || !bytes.HasPrefix(file, []byte(armor.Header)) {
		t.Errorf("the file is %.60q", file)
	}
	again, err := Open(file, []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	if again.Keys[0].Rules.Users[0] != "deploy" || !again.CreatedAt.Equal(doc.CreatedAt) || again.Missing[0] != doc.Missing[0] {
		t.Errorf("the backup has become %+v", again)
	}
	if _, _, err := again.Keys[0].PrivateKey.Key(doc.Keys[0].PublicKey); err != nil {
		t.Error(err)
	}
	other := document(t)
	if _, _, err := again.Keys[0].PrivateKey.Key(other.Keys[0].PublicKey); !errors.Is(err, ErrDamaged) {
		t.Errorf("a private key passes for that of another public line: %v", err)
	}
	again.Wipe()
	if _, _, err := again.Keys[0].PrivateKey.Key(doc.Keys[0].PublicKey); err == nil {
		t.Error("a wiped document still holds its key")
	}
}

// sealed is a document of any text, encrypted as cheaply as can be.
func sealed(t *testing.T, plain string, factor int) []byte {
	t.Helper()
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(factor)
	var b bytes.Buffer
	w, err := age.Encrypt(&b, r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// text is a binary age file in its other form.
func text(t *testing.T, file []byte) string {
	t.Helper()
	var b strings.Builder
	w := armor.NewWriter(&b)
	if _, err := w.Write(file); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWhatCannotBeOpened(t *testing.T) {
	doc := document(t)
	plain, err := doc.encode()
	if err != nil {
		t.Fatal(err)
	}
	whole := sealed(t, string(plain), 1)
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-20] ^= 1
	mac := regexp.MustCompile(`--- ....`).ReplaceAll(whole, []byte("--- AAAA"))
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var toKey bytes.Buffer
	w, err := age.Encrypt(&toKey, key.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	replaced := func(old, new string) []byte { return sealed(t, strings.Replace(string(plain), old, new, 1), 1) }
	for name, test := range map[string]struct {
		file       []byte
		passphrase string
		want       error
	}{
		"whole":              {whole, passphrase, nil},
		"whole, as text":     {[]byte(text(t, whole)), passphrase, nil},
		"text out of a mail": {[]byte("\ufeff\r\n" + strings.ReplaceAll(text(t, whole), "\n", "\r\n") + "\r\n\r\n"), passphrase, nil},
		"copied passphrase":  {whole, " " + passphrase + "\n", nil},
		"wrong passphrase":   {whole, "another one", ErrWrongPassphrase},
		"no passphrase":      {whole, "", ErrWrongPassphrase},
		"flipped":            {flipped, passphrase, ErrDamaged},
		"changed head":       {mac, passphrase, ErrDamaged},
		"newer":              {replaced(`"version": 1`, `"version": 2`), passphrase, ErrNewer},
		"a new restriction":  {replaced(`"users"`, `"usersByNight"`), passphrase, ErrNewer},
		"older than any":     {replaced(`"version": 1`, `"version": 0`), passphrase, ErrDamaged},
		"another type":       {replaced(`"enabled": true`, `"enabled": "true"`), passphrase, ErrDamaged},
		"another document":   {sealed(t, `{"version": 1}`, 1), passphrase, ErrNotBackup},
		"no document":        {sealed(t, "my diary", 1), passphrase, ErrNotBackup},
		"empty":              {nil, passphrase, ErrNotBackup},
		"a key":              {[]byte("-----BEGIN OPENSSH PRIVATE KEY-----\n"), passphrase, ErrNotBackup},
		"to a key":           {toKey.Bytes(), passphrase, ErrNotBackup},
		"too large":          {make([]byte, MaxSize+1), passphrase, ErrNotBackup},
		"too costly":         {bytes.Replace(whole, []byte(" 1\n"), []byte(" 30\n"), 1), passphrase, ErrTooCostly},
	} {
		if _, err := Open(test.file, []byte(test.passphrase)); !errors.Is(err, test.want) || test.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		want := test.want
		if !errors.Is(want, ErrNotBackup) || strings.HasSuffix(name, "document") { // the passphrase shows it
			want = nil
		}
		if err := Check(test.file); err != want {
			t.Errorf("%s: checked: %v, want %v", name, err, want)
		}
	}
}

// A file that is cut off anywhere is told so, and gives nothing.
func TestCutOffBackup(t *testing.T) {
	plain, err := document(t).encode()
	if err != nil {
		t.Fatal(err)
	}
	whole := sealed(t, string(plain), 1)
	for _, file := range [][]byte{whole, []byte(text(t, whole))} {
		for n := 60; n < len(file)-1; n += 7 {
			doc, err := Open(file[:n], []byte(passphrase))
			if doc != nil || !errors.Is(err, ErrDamaged) {
				t.Fatalf("%d of %d bytes: %v", n, len(file), err)
			}
		}
	}
}

func TestPassphrases(t *testing.T) {
	one, two := NewPassphrase(), NewPassphrase()
	if one == two || !regexp.MustCompile(`^([A-Z2-7]{5}-){3}[A-Z2-7]{5}$`).MatchString(one) || CheckPassphrase([]byte(one)) != nil {
		t.Errorf("new passphrases: %q, %q", one, two)
	}
	for typed, meant := range map[string]string{
		strings.ToLower(one):                   one,
		strings.ReplaceAll(one, "-", " "):      one,
		strings.ReplaceAll(one, "-", "\u2013"): one,
		"\t" + one + "\r\n":                    one,
		"\ufeff" + one + "\r\n":                one,
		strings.ReplaceAll(one, "-", "\u00a0"): one,
		strings.NewReplacer("O", "0", "I", "1", "B", "8").Replace("OIB22-" + one[6:]): "OIB22-" + one[6:],
		"\ufeffmy own one":          "my own one",
		" my own one ":              "my own one",
		"my own one, with - dashes": "my own one, with - dashes",
	} {
		if got := tidy(typed); got != meant {
			t.Errorf("tidy(%q) = %q, want %q", typed, got, meant)
		}
	}
	for _, bad := range []string{"", "short", "elevenchars", "aaaaaaaaaaaaaaaa", "twelve chars ", "\xff\xfe not a text at all"} {
		if CheckPassphrase([]byte(bad)) == nil {
			t.Errorf("%q is taken for a passphrase", bad)
		}
	}
}

// A private key stands in the document alone, whoever prints or logs it.
func TestPrivateKeyIsShownNowhere(t *testing.T) {
	doc := document(t)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("backup", "key", doc.Keys[0].PrivateKey)
	shown := log.String() + fmt.Sprintf("%v %+v %#v %s", doc, doc, doc.Keys[0].PrivateKey, doc.Keys[0].PrivateKey)
	secret, err := doc.Keys[0].PrivateKey.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{string(secret[40:80]), fmt.Sprint(secret[40:80])} {
		if strings.Contains(shown, strings.Trim(part, "[]")) {
			t.Error("a private key was shown")
		}
	}
	if b, err := json.Marshal(doc); err != nil || !bytes.Contains(b, []byte("OPENSSH PRIVATE KEY")) {
		t.Errorf("the document does not hold its key: %v", err)
	}
}
