package keyfile

import (
	"bytes"
	"crypto"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/crypto/ssh"
)

const secret = "pass wörd 2"

// desk is a folder in which the real programs make key files.
type desk struct {
	*testing.T
	dir string
}

func newDesk(t *testing.T) desk { return desk{t, t.TempDir()} }

func (d desk) path(name string) string { return filepath.Join(d.dir, name) }

// run runs a program in the folder and returns what it prints.
func (d desk) run(name string, args ...string) string {
	d.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = d.dir
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		d.Fatalf("%s %q: %v: %s (make setup installs what the tests need)", name, args, err, failed.Bytes())
	}
	return string(out)
}

func (d desk) read(name string) []byte {
	d.Helper()
	b, err := os.ReadFile(d.path(name))
	if err != nil {
		d.Fatal(err)
	}
	return b
}

func (d desk) write(name, text string) {
	d.Helper()
	if err := os.WriteFile(d.path(name), []byte(text), 0o600); err != nil {
		d.Fatal(err)
	}
}

// public is a key's line for authorized_keys, without its comment.
func public(t testing.TB, key crypto.PrivateKey) string {
	t.Helper()
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
}

func fields(line string) string { return strings.Join(strings.Fields(line)[:2], " ") }

// reads checks that a file is read with its passphrase, told to be encrypted
// without it, and told apart from one with a wrong passphrase.
func (d desk) reads(name string, passphrase string, want string) {
	d.Helper()
	file := d.read(name)
	before := bytes.Clone(file)
	key, err := Parse(file, []byte(passphrase))
	if err != nil {
		d.Errorf("%s: %v", name, err)
		return
	}
	if got := public(d, key); got != want {
		d.Errorf("%s: read as %s, want %s", name, got, want)
	}
	if passphrase != "" {
		if _, err := Parse(file, nil); !errors.Is(err, ErrEncrypted) {
			d.Errorf("%s without its passphrase: %v", name, err)
		}
		if _, err := Parse(file, []byte("wrong")); !errors.Is(err, ErrWrongPassphrase) {
			d.Errorf("%s with a wrong passphrase: %v", name, err)
		}
	}
	if !bytes.Equal(file, before) {
		d.Errorf("%s: the caller's file was changed", name)
	}
}

var kinds = [][]string{{"ed25519"}, {"ecdsa", "256"}, {"ecdsa", "384"}, {"ecdsa", "521"}, {"rsa", "2048"}}

// keygen makes a key of ssh-keygen's and returns its public line.
func (d desk) keygen(name string, kind []string, args ...string) string {
	d.Helper()
	all := append([]string{"-q", "-t", kind[0], "-f", name, "-C", "a comment"}, args...)
	if len(kind) > 1 {
		all = append(all, "-b", kind[1])
	}
	d.run("ssh-keygen", all...)
	return fields(string(d.read(name + ".pub")))
}

// Every cipher that ssh-keygen -Z takes: 1Password exports aes256-gcm.
func TestOpenSSH(t *testing.T) {
	d := newDesk(t)
	for cipher := range opensshCiphers {
		want := d.keygen(cipher, kinds[0], "-Z", cipher, "-a", "3", "-N", secret)
		d.reads(cipher, secret, want)
		file := d.read(cipher)
		broken := bytes.Replace(file, []byte("\n"), []byte("\nA"), 3)
		var e *Error
		if _, err := Parse(broken, []byte(secret)); !errors.As(err, &e) || !strings.Contains(e.Error(), "damaged") {
			t.Errorf("%s, damaged: %v", cipher, err)
		}
	}
	for i, kind := range kinds {
		name := strings.Join(kind, "")
		d.reads(name, secret, d.keygen(name, kind, "-N", secret))
		d.reads(name+"none", "", d.keygen(name+"none", kind, "-N", ""))
		if i == 0 {
			continue
		}
		d.reads(name+"pem", "", d.keygen(name+"pem", kind, "-m", "PEM", "-N", ""))
		d.reads(name+"pemsecret", secret, d.keygen(name+"pemsecret", kind, "-m", "PEM", "-N", secret))
		d.reads(name+"pkcs8", "", d.keygen(name+"pkcs8", kind, "-m", "PKCS8", "-N", ""))
		d.reads(name+"pkcs8secret", secret, d.keygen(name+"pkcs8secret", kind, "-m", "PKCS8", "-N", secret))
	}
}

// OpenSSL's encrypted PKCS #8 under each key derivation and cipher, and the PEM
// before it.
func TestOpenSSL(t *testing.T) {
	d := newDesk(t)
	pass := []string{"-passout", "pass:" + secret}
	for name, args := range map[string][]string{"ec": {"EC", "-pkeyopt", "ec_paramgen_curve:P-256"}, "rsa": {"RSA"}, "ed": {"ED25519"}} {
		d.run("openssl", append([]string{"genpkey", "-out", name, "-algorithm"}, args...)...)
		key, err := Parse(d.read(name), nil)
		if err != nil {
			t.Fatal(err)
		}
		want := public(t, key)
		for how, args := range map[string][]string{
			"aes128": {"-v2", "aes-128-cbc"}, "aes192": {"-v2", "aes-192-cbc"}, "aes256": {"-v2", "aes-256-cbc"}, "3des": {"-v2", "des3"},
			"sha1": {"-v2prf", "hmacWithSHA1"}, "sha224": {"-v2prf", "hmacWithSHA224"}, "sha384": {"-v2prf", "hmacWithSHA384"},
			"sha512": {"-v2prf", "hmacWithSHA512"}, "sha512-256": {"-v2prf", "hmacWithSHA512-256"}, "scrypt": {"-scrypt"}, "many": {"-iter", "100000"},
		} {
			file := name + how
			d.run("openssl", append(append([]string{"pkcs8", "-topk8", "-in", name, "-out", file}, args...), pass...)...)
			d.reads(file, secret, want)
		}
		// Encrypted under an empty passphrase is as good as not encrypted.
		d.run("openssl", "pkcs8", "-topk8", "-in", name, "-out", name+"empty", "-passout", "pass:")
		d.reads(name+"empty", "", want)
		if name == "ed" {
			continue
		}
		for _, cipher := range []string{"-aes128", "-aes192", "-aes256", "-des3"} {
			d.run("openssl", append([]string{name}, legacy(name, cipher, pass)...)...)
			d.reads(name+cipher, secret, want)
		}
	}
	d.run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-out", "params")
	key, err := Parse(d.read("params"), nil)
	if err != nil {
		t.Fatalf("with EC PARAMETERS before: %v", err)
	}
	public(t, key)
	// The curve may be written out in place of its name.
	for _, curve := range []string{"prime256v1", "secp384r1", "secp521r1"} {
		for _, form := range []string{"compressed", "uncompressed"} {
			d.run("openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-conv_form", form, "-out", "named")
			d.run("openssl", "ec", "-in", "named", "-param_enc", "explicit", "-out", "explicit")
			d.run("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", "explicit", "-out", "explicit8")
			want := fields(d.run("ssh-keygen", "-y", "-f", "named"))
			d.reads("explicit", "", want)
			d.reads("explicit8", "", want)
		}
	}
}

func legacy(name, cipher string, pass []string) []string {
	args := []string{"-in", name, "-out", name + cipher, cipher}
	if name == "rsa" {
		args = append(args, "-traditional")
	}
	return append(args, pass...)
}

// PuTTY's format, both versions, with and without passphrase.
func TestPuTTY(t *testing.T) {
	d := newDesk(t)
	d.write("old", secret)
	d.write("none", "")
	for _, kind := range [][]string{{"ed25519"}, {"ecdsa", "-b", "256"}, {"ecdsa", "-b", "384"}, {"ecdsa", "-b", "521"}, {"rsa", "-b", "2048"}} {
		for name, params := range map[string]string{
			"2": "version=2", "3": "version=3", "argon2i": "version=3,kdf=argon2i", "memory": "version=3,memory=64,passes=5,parallelism=3",
		} {
			for _, phrase := range []string{"old", "none"} {
				file := strings.Join(kind, "") + name + phrase
				d.run("puttygen", append([]string{"-q", "-o", file, "--random-device", "/dev/urandom", "--ppk-param", params, "--new-passphrase", phrase, "-C", "a  comment ", "-t"}, kind...)...)
				want := fields(d.run("puttygen", "-L", file))
				passphrase := secret
				if phrase == "none" {
					passphrase = ""
				}
				d.reads(file, passphrase, want)
				d.write(file, strings.ReplaceAll(string(d.read(file)), "\n", "\r\n"))
				d.reads(file, passphrase, want)
				if phrase == "none" {
					if _, err := Parse(d.read(file), []byte(secret)); err != nil { // as ssh-keygen: not needed, not minded
						t.Errorf("%s with a passphrase that it does not need: %v", file, err)
					}
					_, err := Parse(bytes.Replace(d.read(file), []byte("a  comment"), []byte("another"), 1), nil)
					wantError(t, file+" changed", err, "damaged", "")
				}
			}
		}
	}
}

// On Windows a passphrase is in its code page, by PuTTYgen whatever the file's format.
func TestPassphraseOfWindows(t *testing.T) {
	d := newDesk(t)
	const typed = "schön Ñ"
	raw := "sch\xf6n \xd1"
	d.write("phrase", raw)
	for name, params := range map[string]string{"2": "version=2", "3": "version=3"} {
		d.run("puttygen", "-q", "-o", name, "-t", "ed25519", "--random-device", "/dev/urandom", "--ppk-param", params, "--new-passphrase", "phrase")
		d.reads(name, typed, fields(d.run("puttygen", "-L", name)))
	}
	d.reads("openssh", typed, d.keygen("openssh", kinds[0], "-a", "3", "-N", raw))
	d.reads("pem", typed, d.keygen("pem", kinds[1], "-m", "PEM", "-N", raw))
	d.reads("utf8", typed, d.keygen("utf8", kinds[0], "-a", "3", "-N", typed))
	for _, other := range []string{"schon", "Łódź", "sch\xf6n"} { // the same, or not to be written so, or no text
		if got := latin1([]byte(other)); got != nil {
			t.Errorf("%q: %q", other, got)
		}
	}
}

// How files look after a mail, a chat, YAML or Windows.
func TestSurroundings(t *testing.T) {
	d := newDesk(t)
	want := d.keygen("key", kinds[0], "-N", "")
	wantSecret := d.keygen("secret", kinds[1], "-m", "PEM", "-N", secret)
	d.run("puttygen", "-q", "key", "-o", "key.ppk", "-O", "private")
	for _, f := range []struct{ name, passphrase, want string }{{"key", "", want}, {"secret", secret, wantSecret}, {"key.ppk", "", want}} {
		text := string(d.read(f.name))
		indented := "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
		forms := map[string]string{
			"byte order mark":   "\xef\xbb\xbf" + text,
			"CR LF":             strings.ReplaceAll(text, "\n", "\r\n"),
			"CR":                strings.ReplaceAll(text, "\n", "\r"),
			"indented":          "key: |\n" + indented + "\n",
			"tabs":              strings.ReplaceAll(indented, "  ", "\t"),
			"without last end":  strings.TrimSpace(text),
			"text after":        text + "\nRegards,\nme\n",
			"text before":       "My key:\n" + text,
			"empty lines":       "\n\n" + text + "\n\n",
			"UTF-16":            utf16le(text),
			"all of it at once": utf16le(strings.ReplaceAll("key: |\n"+indented+"\nmore: 1", "\n", "\r\n")),
		}
		if f.name != "key.ppk" {
			forms["blanks after"] = strings.ReplaceAll(text, "\n", "  \n")
			forms["joined"] = strings.ReplaceAll(text, "\n", " ")
			forms["backslashes"] = `"` + strings.ReplaceAll(text, "\n", `\n`) + `"`
			forms["backslashes, CR"] = `"` + strings.ReplaceAll(text, "\n", `\r\n`) + `"`
			forms["Markdown"] = "```\n" + text + "```\n"
		}
		for how, form := range forms {
			file := f.name + how
			d.write(file, form)
			d.reads(file, f.passphrase, f.want)
		}
	}
}

func utf16le(text string) string {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(text)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

func wantError(t *testing.T, name string, err error, text, hint string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("%s: %v, want an *Error", name, err)
		return
	}
	if !strings.Contains(e.Error(), text) || !strings.Contains(e.Hint("NAME"), hint) || strings.Contains(e.Hint("NAME"), "FILE") {
		t.Errorf("%s: %q, hint %q; want %q and %q", name, e.Error(), e.Hint("NAME"), text, hint)
	}
}

// What cannot be read is named, with what helps. Whatever is given for a private
// key by mistake is named, too.
func TestWhatIsNotRead(t *testing.T) {
	d := newDesk(t)
	d.keygen("key", kinds[0], "-N", "")
	d.keygen("rsa", kinds[4], "-m", "PEM", "-N", "")
	d.keygen("ca", kinds[0], "-N", "")
	d.run("ssh-keygen", "-q", "-s", "ca", "-I", "id", "-n", "root", "key.pub")
	d.write("message", "x")
	d.run("ssh-keygen", "-q", "-Y", "sign", "-f", "key", "-n", "file", "message")
	openssl := func(args ...string) { d.run("openssl", args...) }
	openssl("genpkey", "-algorithm", "X25519", "-out", "x25519")
	openssl("genpkey", "-algorithm", "ED448", "-out", "ed448")
	openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1", "-out", "k256")
	openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-224", "-out", "p224")
	openssl("ecparam", "-name", "brainpoolP256r1", "-genkey", "-noout", "-param_enc", "explicit", "-out", "brainpool")
	openssl("genrsa", "-traditional", "-primes", "3", "-out", "three", "2048")
	openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_pubexp:4294967297", "-out", "exponent")
	openssl("dsaparam", "-genkey", "-noout", "-out", "dsa", "1024")
	openssl("pkcs8", "-topk8", "-nocrypt", "-in", "dsa", "-out", "dsa8")
	openssl("pkcs8", "-topk8", "-in", "rsa", "-out", "pbes1", "-v1", "PBE-SHA1-3DES", "-passout", "pass:"+secret)
	openssl("pkcs8", "-topk8", "-in", "rsa", "-out", "camellia", "-v2", "camellia256", "-passout", "pass:"+secret)
	openssl("rsa", "-traditional", "-in", "rsa", "-out", "aria", "-aria256", "-passout", "pass:"+secret)
	openssl("rsa", "-in", "rsa", "-outform", "DER", "-out", "der")
	openssl("rsa", "-in", "rsa", "-pubout", "-out", "public.pem")
	openssl("req", "-x509", "-key", "rsa", "-subj", "/CN=x", "-out", "x509")
	openssl("pkcs12", "-export", "-inkey", "rsa", "-in", "x509", "-passout", "pass:"+secret, "-out", "p12")
	d.write("phrase", secret)
	d.run("puttygen", "-q", "-t", "ed25519", "--random-device", "/dev/urandom", "--new-passphrase", "phrase", "--ppk-param", "kdf=argon2d", "-o", "argon2d")
	d.run("puttygen", "-q", "-t", "ed448", "--random-device", "/dev/urandom", "--new-passphrase", "message", "-o", "ed448.ppk")
	d.run("puttygen", "-q", "rsa", "-o", "ssh.com", "-O", "private-sshcom")
	d.write("ssh2.pub", d.run("ssh-keygen", "-e", "-f", "key.pub"))
	key := string(d.read("key"))
	d.write("cut", key[:len(key)/2])
	d.write("headless", key[strings.Index(key, "\n"):])
	d.write("empty", " \n")
	d.write("words", "correct horse battery staple\n")
	d.write("options.pub", "no-pty "+string(d.read("key.pub")))
	d.write("known_hosts", "host.example "+string(d.read("key.pub")))
	for _, c := range []struct{ name, text, hint string }{
		{"key.pub", "public key", "without .pub"}, {"options.pub", "public key", "without .pub"}, {"known_hosts", "public key", ""},
		{"key-cert.pub", "SSH certificate", "without -cert.pub"}, {"public.pem", "public key", ""}, {"ssh2.pub", "public key", ""},
		{"message.sig", "a signature", ""}, {"x509", "X.509", ""}, {"p12", "PKCS #12", "openssl pkcs12 -in NAME"}, {"der", "DER", "-in NAME"},
		{"x25519", "X25519", ""}, {"ed448", "Ed448", ""}, {"k256", "curve", ""}, {"p224", "P-224", ""}, {"brainpool", "curve", ""},
		{"three", "two primes", "new key"}, {"exponent", "31 bits", "new key"}, {"dsa", "DSA", "new key"}, {"dsa8", "DSA", ""},
		{"pbes1", "pbeWithSHA1And3-KeyTripleDES-CBC", "ssh-keygen -p -f NAME"}, {"camellia", "CAMELLIA-256-CBC", "ssh-keygen -p -f NAME"},
		{"aria", "ARIA-256-CBC", "ssh-keygen -p -Z aes256-ctr -f NAME"}, {"argon2d", "Argon2d", "kdf=argon2id"}, {"ed448.ppk", "ssh-ed448", ""},
		{"ssh.com", "ssh.com", "ssh-keygen -i -f NAME"}, {"cut", "END OPENSSH PRIVATE KEY", ""}, {"headless", "first line", ""}, {"empty", "empty", ""}, {"words", "no private key file", ""},
	} {
		_, err := Parse(d.read(c.name), []byte(secret))
		wantError(t, c.name, err, c.text, c.hint)
		if _, err := Parse(d.read(c.name), nil); errors.Is(err, ErrEncrypted) && c.name != "argon2d" {
			t.Errorf("%s: a passphrase is asked for in vain", c.name)
		}
	}
	// The lines that are hinted at do help.
	d.run("ssh-keygen", "-q", "-p", "-Z", "aes256-ctr", "-P", secret, "-N", secret, "-f", "aria")
	d.run("ssh-keygen", "-q", "-p", "-P", secret, "-N", secret, "-f", "pbes1")
	d.run("ssh-keygen", "-q", "-p", "-P", secret, "-N", secret, "-f", "camellia")
	d.run("puttygen", "argon2d", "-P", "--old-passphrase", "phrase", "--new-passphrase", "phrase", "--ppk-param", "kdf=argon2id", "-o", "argon2id")
	d.write("from-ssh.com", d.run("ssh-keygen", "-i", "-f", "ssh.com"))
	for name, passphrase := range map[string]string{"aria": secret, "pbes1": secret, "camellia": secret, "argon2id": secret, "from-ssh.com": ""} {
		if _, err := Parse(d.read(name), []byte(passphrase)); err != nil {
			t.Errorf("%s, as the hint says: %v", name, err)
		}
	}
}

// What ssh-keygen does not make any more, or only with a device, is made here:
// the outside of its file tells all that counts.
func TestOpenSSHThatIsNotRead(t *testing.T) {
	d := newDesk(t)
	d.keygen("secret", kinds[0], "-N", secret)
	block, err := findPEM(d.read("secret"))
	if err != nil {
		t.Fatal(err)
	}
	var f opensshFile
	if err := ssh.Unmarshal(block.Bytes[len(opensshMagic):], &f); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change     func(*opensshFile)
		text, hint string
	}{
		{func(f *opensshFile) { f.Cipher = "blowfish-cbc" }, "blowfish-cbc", "ssh-keygen -p -Z aes256-ctr -f NAME"},
		{func(f *opensshFile) { f.Cipher = "evil\x1b[2J\ncipher" }, "evil?[2J?cipher", ""},
		{func(f *opensshFile) { f.KDF = "argon3" }, "argon3", ""},
		{func(f *opensshFile) {
			f.KDFOptions = ssh.Marshal(struct {
				Salt   []byte
				Rounds uint32
			}{[]byte("salt"), 1 << 30})
		}, "too long", "ssh-keygen -p -a 100 -f NAME"},
		{func(f *opensshFile) { f.Private = f.Private[1:] }, "damaged", ""},
		{func(f *opensshFile) { f.Keys = 2 }, "damaged", ""},
		{func(f *opensshFile) { f.KDFOptions = nil }, "damaged", ""},
		{func(f *opensshFile) { f.Public = publicOf("sk-ssh-ed25519@openssh.com") }, "inside of a security key", "--upstream"},
		{func(f *opensshFile) { f.Public = publicOf("sk-ecdsa-sha2-nistp256@openssh.com") }, "inside of a security key", "--upstream"},
		{func(f *opensshFile) { f.Public = publicOf("ssh-dss") }, "DSA", "new key"},
		{func(f *opensshFile) { f.Public = publicOf("ssh-xmss@openssh.com") }, "ssh-xmss@openssh.com", ""},
	} {
		g := f
		c.change(&g)
		_, err := parseOpenSSH(append([]byte(opensshMagic), ssh.Marshal(g)...), []byte(secret))
		wantError(t, c.text, err, c.text, c.hint)
	}
	// A half of another key's.
	d.keygen("other", kinds[0], "-N", "")
	g := f
	other, err := findPEM(d.read("other"))
	if err != nil {
		t.Fatal(err)
	}
	var o opensshFile
	if err := ssh.Unmarshal(other.Bytes[len(opensshMagic):], &o); err != nil {
		t.Fatal(err)
	}
	g.Public = o.Public
	_, err = parseOpenSSH(append([]byte(opensshMagic), ssh.Marshal(g)...), []byte(secret))
	wantError(t, "another's half", err, "private half is not that", "")
}

func publicOf(algorithm string) []byte { return ssh.Marshal(struct{ Name string }{algorithm}) }

// Nothing that a file says makes the phone compute for ever, or fail.
func FuzzParse(f *testing.F) {
	f.Add([]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----"), []byte("x"))
	f.Add([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----"), []byte("x"))
	f.Add([]byte("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPublic-Lines: 1\nAAAA\nPrivate-Lines: 1\nAAAA\nPrivate-MAC: 00"), []byte(""))
	f.Fuzz(func(t *testing.T, file, passphrase []byte) {
		if key, err := Parse(file, passphrase); err == nil {
			public(t, key)
		}
	})
}
