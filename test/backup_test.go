package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh/agent"

	"vmux/internal/doctor"
	"vmux/internal/sshdtest"
)

const backupPassphrase = "K7QXM-2VDTA-ZB4HP-N6RWC"

// backup makes a backup of a phone and returns its path.
func (w *world) backup() string {
	w.Helper()
	path := filepath.Join(w.phone.dir, "phone.age")
	w.phone.run("phone", "backup", path, "--passphrase-file", w.phone.file("backup.pass", backupPassphrase+"\n"), "--key-passphrase-file", w.passphraseFile)
	return path
}

// The phone is gone. Its backup, restored on another machine, logs in with the same key;
// and on the computer retire says what to do about the first.
func TestRestoredPhoneLogsIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	line := w.identity("ssh-ed25519").PublicKey
	ca := w.requestCertificate()
	waysIn := func(want string) {
		w.Helper()
		waitFor(w, "vmux doctor to say of the ways in: "+want, func() bool {
			var findings []doctor.Finding
			if err := json.Unmarshal([]byte(w.computer.try("doctor", "--json").stdout), &findings); err != nil {
				w.Fatal(err)
			}
			return slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.Check == "ways in" && f.Code == want })
		})
	}
	waysIn("one")
	file := w.backup() // while the phone runs
	waysIn("kept")
	if out := w.phone.run("phone", "log"); !strings.Contains(out, "in an encrypted backup") {
		t.Errorf("the log does not know of the backup:\n%s", out)
	}
	w.phoneRun.stop()
	w.waitStatus("Phone not connected")
	script := w.computer.run("phone", "retire", deviceOf(t, w.computer.run("devices", "--json")))
	blob := strings.Fields(line)[1]
	for _, want := range []string{blob, strings.Fields(ca)[1], "vmux server untrust --key retired-1.pub --all", "vmux server untrust --ca", "ssh-keygen -k -f retired.krl retired-ca.pub", "vmux unpair "} {
		if !strings.Contains(script, want) {
			t.Errorf("retire does not say %q:\n%s", want, script)
		}
	}

	w.phone = newHome(t)
	w.passphraseFile = w.phone.file("passphrase", passphrase+"\n")
	pass := w.phone.file("backup.pass", "k7qxm 2vdta zb4hp n6rwc\n")
	if out := w.phone.run("phone", "restore", file, "--dry-run", "--passphrase-file", pass); !strings.Contains(out, "ssh-ed25519  is restored") || len(w.identities()) > 0 {
		t.Errorf("to look at the backup said %q", out)
	}
	w.phone.run("phone", "restore", file, "--passphrase-file", pass, "--key-passphrase-file", w.passphraseFile)
	if got := strings.TrimSpace(w.phone.run("phone", "ca", "show")); strings.Fields(got)[1] != strings.Fields(ca)[1] {
		t.Errorf("the CA is %q, was %q", got, ca)
	}
	w.startPhone()
	w.pair()
	o := sshdtest.Old(t)
	server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{line}})
	must(t, server.Command(deadline(t), t, o, w.computer.socket(), "true"))
}

// What cannot be restored says so in one sentence with a hint, and changes nothing.
func TestBackupsThatCannotBeRestored(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("work", "ssh-ed25519")
	whole := w.backup()
	text, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	if r := w.phone.try("phone", "backup", whole, "--key-passphrase-file", w.passphraseFile); r.exit != 2 || !strings.Contains(r.stderr, "is there already") {
		t.Errorf("a backup over another: exit %d, %q", r.exit, r.stderr)
	}
	small := filepath.Join(w.phone.dir, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	ours := w.phone.file("backup.pass", backupPassphrase+"\n")
	vmux := w.phone.command(deadline(t), "phone", "backup", filepath.Join(small, "full.age"), "--passphrase-file", ours, "--key-passphrase-file", w.passphraseFile)
	script := `mount -t tmpfs -o size=4k tmpfs "$0" && head -c 4096 /dev/zero > "$0/other" && "$@"; echo "exit $?"; ls "$0"`
	export := w.phone.command(deadline(t), "phone", "identity", "export", "work", "--out", filepath.Join(small, "full.key"))
	first := newHome(t).command(deadline(t), "phone", "identity", "list")
	first.Env = append(first.Env, "VMUX_HOME="+small)
	for what, vmux := range map[string]*exec.Cmd{"backup": vmux, "exported key": export, "new state folder": first} {
		onFull := exec.CommandContext(deadline(t), "unshare", append([]string{"-rm", "sh", "-c", script, small, vmux.Path}, vmux.Args[1:]...)...)
		onFull.Env = vmux.Env
		if out, err := onFull.CombinedOutput(); err != nil || !strings.Contains(string(out), "free some space there") || !strings.HasSuffix(strings.TrimSuffix(string(out), "phone\n"), "exit 1\nother\n") {
			t.Errorf("a %s on a full disk: %v\n%s", what, err, out)
		}
	}
	if r := w.phone.try("phone", "backup", filepath.Join(small, "none", "x.age"), "--key-passphrase-file", "is not read"); r.exit != 2 || !strings.Contains(r.stderr, "a folder that is there") {
		t.Errorf("a backup in no folder: exit %d, %q", r.exit, r.stderr)
	}
	given := strings.Count(w.phone.run("phone", "log"), "  exported ")
	if r := w.phone.try("phone", "identity", "export", "work", "--out", ours); r.exit != 2 || !strings.Contains(r.stderr, "is there already") {
		t.Errorf("an exported key in place of another file: exit %d, %q", r.exit, r.stderr)
	}
	if n := strings.Count(w.phone.run("phone", "log"), "  exported "); n != given {
		t.Error("the log says that a key was given out that was not")
	}
	wrong := w.phone.file("wrong", "not the passphrase\n")
	elsewhere := filepath.Join(w.phone.dir, "other.age")
	if r := w.phone.try("phone", "backup", elsewhere, "--passphrase-file", ours); r.exit != 1 || !strings.HasSuffix(r.stderr, "Passphrase of work\nhint: --key-passphrase-file FILE\n") {
		t.Errorf("a backup without anybody to ask: exit %d, %q", r.exit, r.stderr)
	}
	if r := w.phone.try("phone", "backup", elsewhere, "--passphrase-file", wrong, "--key-passphrase-file", wrong); r.exit != 1 || !strings.Contains(r.stderr, "is not that of work") {
		t.Errorf("a backup without the key's passphrase: exit %d, %q", r.exit, r.stderr)
	}
	if _, err := os.Stat(elsewhere); err == nil {
		t.Error("and it is there")
	}
	fresh := newHome(t)
	right := fresh.file("right", backupPassphrase+"\n")
	before := fresh.run("phone", "identity", "list", "--json")
	for name, r := range map[string]result{
		"wrong passphrase": fresh.try("phone", "restore", whole, "--passphrase-file", wrong),
		"marked":           fresh.try("phone", "restore", "-", "--passphrase-file", "-"),
		"cut off":          fresh.try("phone", "restore", fresh.file("cut.age", string(text[:len(text)*2/3])), "--passphrase-file", right),
		"no backup":        fresh.try("phone", "restore", right, "--passphrase-file", right),
	} {
		if r.exit == 0 || r.stdout != "" || strings.Count(r.stderr, "vmux:") != 1 || !strings.Contains(r.stderr, "hint: ") || strings.Contains(r.stderr, backupPassphrase) {
			t.Errorf("%s: exit %d, %q, %q", name, r.exit, r.stdout, r.stderr)
		}
	}
	if r := fresh.try("phone", "restore", right); r.exit != 1 || !strings.Contains(r.stderr, "vmux: this is no backup of a phone\nhint: ") {
		t.Errorf("what is no backup, and nobody is asked for a passphrase: exit %d, %q", r.exit, r.stderr)
	}
	composed := fresh.file("composed", "Schl\u00fcssel im Schuppen\n")
	decomposed := w.phone.file("decomposed", "Schlu\u0308ssel im Schuppen\n")
	w.phone.run("phone", "backup", elsewhere, "--passphrase-file", decomposed, "--key-passphrase-file", w.passphraseFile)
	fresh.run("phone", "restore", "--dry-run", elsewhere, "--passphrase-file", composed)
	if after := fresh.run("phone", "identity", "list", "--json"); after != before {
		t.Errorf("the keys became %s", after)
	}
}

// A backup that is piped, as from another machine by ssh, leaves the terminal to be asked on:
// age, gpg and ssh-keygen ask there as well.
func TestPipedBackupIsAskedAboutOnTheTerminal(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("work", "ssh-ed25519")
	fresh := newHome(t)
	vmux := fresh.command(deadline(t), "phone", "restore", "--dry-run", "-")
	cmd := exec.CommandContext(deadline(t), "sh", append([]string{"-c", `cat "$0" | "$@"`, w.backup(), vmux.Path}, vmux.Args[1:]...)...)
	cmd.Env = vmux.Env
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	if _, err := tty.WriteString(backupPassphrase + "\n"); err != nil {
		t.Fatal(err)
	}
	shown, _ := io.ReadAll(tty) // until the other end is closed, which is an error
	if err := cmd.Wait(); err != nil || !strings.Contains(string(shown), "key  work  is restored") {
		t.Errorf("%v: %q", err, shown)
	}
}

// keyFile is where the phone keeps its only key.
func (w *world) keyFile(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.phone.dir, "phone", "keys", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	return files[0]
}

// The list of keys is lost, and their files are there: as docs/troubleshooting.md has it they are
// imported from where they lie, and nobody is told to remove them then.
func TestKeysWithoutTheirList(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("work", "ssh-ed25519")
	line := w.identity("work").PublicKey
	if err := os.Remove(filepath.Join(w.phone.dir, "phone", "identities.json")); err != nil {
		t.Fatal(err)
	}
	keyFile := w.keyFile(t)
	key, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file    string
		removed bool
	}{{keyFile, false}, {w.phone.file("copy", string(key)), true}} {
		r := w.phone.try("phone", "identity", "create", "--label", "work", "--import", c.file, "--passphrase-file", w.passphraseFile)
		if r.exit != 0 || w.identity("work").PublicKey != line || strings.Contains(r.stderr, ": remove ") != c.removed {
			t.Errorf("exit %d, %q", r.exit, r.stderr)
		}
		w.phone.run("phone", "identity", "delete", "work", "--yes")
	}
}

// docs/phone.md has ssh-keygen give a key file another passphrase, where it lies.
func TestSSHKeygenChangesAPassphrase(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("work", "ssh-ed25519")
	keyFile := w.keyFile(t)
	const other = "another one"
	if out, err := exec.CommandContext(deadline(t), "ssh-keygen", "-p", "-P", passphrase, "-N", other, "-f", keyFile).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pass := w.phone.file("backup.pass", backupPassphrase+"\n")
	for n, c := range []struct {
		passphrase string
		exit       int
	}{{passphrase, 1}, {other, 0}} {
		key := w.phone.file("key.pass", c.passphrase+"\n")
		if r := w.phone.try("phone", "backup", filepath.Join(w.phone.dir, fmt.Sprintf("%d.age", n)), "--passphrase-file", pass, "--key-passphrase-file", key); r.exit != c.exit {
			t.Errorf("the passphrase %q: exit %d, %q", c.passphrase, r.exit, r.stderr)
		}
	}
}

// `age -d` of another maker opens a backup, and what is in it is a key that ssh takes.
func TestAgeOpensABackup(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("work", "ssh-ed25519")
	cmd := exec.CommandContext(deadline(t), "age", "-d", "-o", filepath.Join(w.phone.dir, "plain.json"), w.backup()) // `make setup` installs it
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	if _, err := tty.WriteString(backupPassphrase + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("age -d: %v", err)
	}
	plain, err := os.ReadFile(filepath.Join(w.phone.dir, "plain.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Version int
		Keys    []struct{ Label, PrivateKey string }
	}
	if err := json.Unmarshal(plain, &doc); err != nil || doc.Version != 1 || len(doc.Keys) != 1 || doc.Keys[0].Label != "work" {
		t.Fatalf("in it is %s: %v", bytes.TrimSpace(plain)[:60], err)
	}
	key := w.phone.file("work.key", doc.Keys[0].PrivateKey)
	public, err := exec.CommandContext(deadline(t), "ssh-keygen", "-y", "-f", key).Output()
	if want := strings.Fields(w.identity("work").PublicKey)[1]; err != nil || strings.Fields(string(public))[1] != want {
		t.Errorf("its key is %s, want %s: %v", public, want, err)
	}
}

// The new phone has the name, a key and the CA of the one that is gone. Each is told by its
// ID, and what both have is not to be taken off the servers for nothing.
func TestRetiringOneOfTwoPhonesOfOneName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	ca := w.requestCertificate()
	w.phone.run("phone", "name", "--name", "iPhone")
	file := w.backup()
	w.createIdentity("own", "ssh-ed25519")
	gone := deviceOf(t, w.computer.run("devices", "--json"))
	restored := &world{TB: t, computer: w.computer, phone: newHome(t)}
	restored.passphraseFile = restored.phone.file("passphrase", passphrase+"\n")
	restored.phone.run("phone", "restore", file, "--passphrase-file", restored.phone.file("backup.pass", backupPassphrase), "--key-passphrase-file", restored.passphraseFile)
	restored.phone.run("phone", "name", "--name", "iPhone")
	restored.startPhone()
	restored.pair()
	waitFor(t, "all keys of both phones", func() bool {
		return strings.Count(read(t, w.computer.dir+"/agent/cached-keys.json"), `"fingerprint"`) == 3
	})
	if r := w.computer.try("phone", "retire", "iPhone"); r.exit == 0 || !strings.Contains(r.stderr, "by its ID") {
		t.Errorf("by the name of both: exit %d, %q, %q", r.exit, r.stdout, r.stderr)
	}
	script := w.computer.run("phone", "retire", gone[:8])
	for _, want := range []string{"# Key ssh-ed25519\n# It is also on iPhone: take it off", "# Key own\necho ", "on all servers that trust it.\n# It is also on iPhone: take it off", "untrust --ca --phone " + gone, "vmux unpair " + gone} {
		if !strings.Contains(script, want) {
			t.Errorf("retire does not say %q:\n%s", want, script)
		}
	}
	if out := w.computer.run("ca"); strings.Count(out, "ecdsa") != 1 || !strings.Contains(out, strings.Fields(ca)[1]) {
		t.Errorf("one CA of two phones is %q", out)
	}
	if r := w.computer.try("doctor", "--json"); !strings.Contains(r.stdout, "keys are held by iPhone, iPhone") {
		t.Errorf("two phones of one name are one to vmux doctor:\n%s", r.stdout)
	}
	c, err := net.Dial("unix", w.computer.socket())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := agent.NewClient(c).Lock([]byte("lock")); err != nil {
		t.Fatal(err)
	}
	if r := w.computer.try("phone", "retire", gone); r.exit == 0 || r.stdout != "" || !strings.Contains(r.stderr, "ssh-add -X") {
		t.Errorf("of a locked agent: exit %d, %q, %q", r.exit, r.stdout, r.stderr)
	}
}
