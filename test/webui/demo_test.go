package webui

import (
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"vmux/internal/sshdtest"
	"vmux/internal/testkit"
	"vmux/test/browser"
	"vmux/test/web"
)

// demo is `vmux demo` on a terminal, before which somebody sits.
type demo struct {
	t    *testing.T
	cmd  *exec.Cmd
	keys *os.File
	tmp  string

	mu   sync.Mutex
	said strings.Builder
	read sync.WaitGroup
}

// startDemo starts it with programs that are found before all others.
func startDemo(t *testing.T, programs string, args ...string) *demo {
	t.Helper()
	tmp, err := os.MkdirTemp("", "d") // short: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{t: t, tmp: tmp, cmd: exec.Command(filepath.Join(web.BuildHub(t), "vmux"), append([]string{"demo"}, args...)...)}
	d.cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "PATH="+programs+":"+os.Getenv("PATH"))
	// The terminal is wide enough for the codes.
	if d.keys, err = pty.StartWithSize(d.cmd, &pty.Winsize{Rows: 60, Cols: 200}); err != nil {
		t.Fatal(err)
	}
	d.read.Go(func() { _, _ = io.Copy(d, d.keys) })
	t.Cleanup(func() {
		_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) // also what a failed test left of it
		_ = d.keys.Close()
		_ = d.cmd.Wait()
		d.read.Wait()
		if t.Failed() {
			t.Logf("on the terminal:\n%s", d.text())
		}
		_ = os.RemoveAll(tmp)
	})
	return d
}

func (d *demo) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said.Write(b)
}

// text is all that stands on the terminal.
func (d *demo) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.ReplaceAll(d.said.String(), "\r\n", "\n")
}

// says waits until the terminal shows what the pattern matches, and returns its
// last match's first group.
func (d *demo) says(pattern string) string {
	d.t.Helper()
	p := regexp.MustCompile("(?m)" + pattern)
	var m [][]string
	waitFor(d.t, "the demonstration says "+pattern, func() bool {
		m = p.FindAllStringSubmatch(d.text(), -1)
		return m != nil
	})
	return m[len(m)-1][len(p.SubexpNames())-1]
}

// waitFor waits for what nothing announces.
var waitFor = testkit.WaitFor

// ends waits for its own end, which leaves nothing.
func (d *demo) ends() {
	d.t.Helper()
	d.says(`(?s)\nDone in .*see README.md.*\n`)
	if err := d.cmd.Wait(); err != nil {
		d.t.Errorf("it ended with %v", err)
	}
	if err := syscall.Kill(-d.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		d.t.Errorf("it left processes: %v", err)
	}
	if left, err := os.ReadDir(d.tmp); err != nil || len(left) > 0 {
		d.t.Errorf("it left %v, %v", left, err)
	}
}

// desktop is a folder with an xdg-open that only writes down what it opens, and
// with the clients of an OpenSSH.
func desktop(t *testing.T, o sshdtest.OpenSSH) (dir, opened string) {
	t.Helper()
	dir = t.TempDir()
	opened = filepath.Join(dir, "opened")
	script := "#!/bin/sh\nprintf %s \"$1\" >'" + opened + ".new' && mv '" + opened + ".new' '" + opened + "'\n"
	if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"ssh": o.SSH, "ssh-add": o.SSHAdd, "ssh-keygen": o.SSHKeygen} {
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, opened
}

// The demonstration in the user's own browser, which it opens by itself, by
// nothing but what terminal and page say: paired, a key and a CA made, approved
// twice, and logged in to a real sshd by key and by certificate. With an SSH
// client that knows passkeys both are passkeys, else both are in the vault.
func TestDemoWeb(t *testing.T) {
	t.Parallel()
	for _, o := range sshdtest.Both(t) {
		t.Run(o.Name, func(t *testing.T) {
			programs, opened := desktop(t, o)
			d := startDemo(t, programs, "--web")
			d.says("waiting for the page to be paired")
			var address []byte
			waitFor(t, "the browser is opened", func() bool {
				var err error
				address, err = os.ReadFile(opened)
				return err == nil
			})
			if string(address) != d.says(`^ +(http://(?:vmux\.)?localhost:\S+#\S+)$`) {
				t.Fatalf("it opened %s", address)
			}
			p := d.openPage(chromium(t), string(address))
			d.byHand(p, o.AtLeast(10, 3))
		})
	}
}

// A browser without any authenticator does as well, with any SSH client.
func TestDemoWebWithoutAuthenticator(t *testing.T) {
	t.Parallel()
	programs, _ := desktop(t, sshdtest.Old(t))
	d := startDemo(t, programs, "--web")
	p := d.openBarePage(chromium(t), d.says(`^ +(http://(?:vmux\.)?localhost:\S+#\S+)$`))
	p.Wants("Pair with this computer?")
	p.Tap("Pair")
	p.says("Paired with")
	d.says("so does a passphrase key, for a browser that has no passkeys")
	account := d.says(`for the account (\S+),`)
	p.Screen("identities")
	p.Tap("Create a key")
	p.Fill("Name", "demo")
	p.Click("[data-key=kind-passphrase]")
	p.Fill("New passphrase", phrase)
	p.Fill("Once more", phrase)
	p.Tap("Create")
	p.says("demo is ready.")
	p.Screen("ca")
	p.Tap("Create a CA")
	p.Click("[data-key=ca-kind-passphrase]")
	p.Fill("Account names", account)
	p.Fill("Passphrase of the vault", phrase)
	p.Tap("Create")
	p.says("The CA is ready.")
	d.acceptsCA(p)
	for _, request := range []string{"wants to log in as " + account, "asks for a Session certificate"} {
		p.Wants(request)
		p.Fill("Passphrase of the vault", phrase)
		p.approve(request)
	}
	d.says(`accepted ED25519 SHA256:`)
	d.says(`accepted ECDSA-CERT SHA256:`)
	d.ends()
	p.Tolerate("ERR_CONNECTION_REFUSED") // the hub is gone
}

// openPage opens an address with what comes after the hub's own, where there is an
// authenticator.
func (d *demo) openPage(c *browser.Chromium, address string) *tab {
	d.t.Helper()
	p := d.openBarePage(c, address)
	p.Authenticator(browser.AuthenticatorOptions{})
	return p
}

// openBarePage does so where there is none.
func (d *demo) openBarePage(c *browser.Chromium, address string) *tab {
	d.t.Helper()
	url, path, _ := strings.Cut(address, "/#")
	h := &hub{t: d.t, Server: &httptest.Server{URL: url}}
	if path != "" {
		path = "#" + path
	}
	return openIn(d.t, c, h, view{path: path})
}

// byHand does on the page what the demonstration asks for, from the pairing on.
func (d *demo) byHand(p *tab, passkeys bool) {
	d.t.Helper()
	p.Wants("Pair with this computer?", d.says(`shows this computer's device ID: ([a-z2-7 ]+)$`))
	p.Tap("Pair")
	p.says("Paired with") // and goes home by itself
	d.says("waiting for a key and a CA")
	account, login := d.says(`for the account (\S+),`), "accepted ECDSA-SK SHA256:"
	if passkeys {
		p.makeKey("demo", "")
		p.makeCA("passkey", account)
		d.acceptsCA(p)
	} else {
		login = "accepted ED25519 SHA256:"
		p.makeKey("useless", "")
		d.says("a passkey cannot be used with OpenSSH 9.* create a vault key or a passphrase key as well")
		p.makeCA("vault", account)
		d.acceptsCA(p)
		p.Click("[data-key=\"switch-Computers may ask by themselves\"]")
		p.approve("asks by itself for a Session certificate", account, "On behalf of useless SHA256:", "Signed by The CA of this phone Vault")
		p.makeKey("demo", "Ed25519")
	}
	p.approve("wants to log in as " + account)
	d.says(login)
	p.approve("asks for a Session certificate", account)
	d.says(`accepted ECDSA-CERT SHA256:`)
	d.ends()
	for _, want := range []string{"by phone-held key     1 login", "by certificate        5 logins", "nobody asked"} {
		d.says(want)
	}
	p.Screen("activity")
	p.Wants("Session certificate", account+"@", "Approved")
	p.Tolerate("ERR_CONNECTION_REFUSED") // the hub is gone
}

// acceptsCA compares the CA's fingerprint on both screens.
func (d *demo) acceptsCA(p *tab) {
	d.t.Helper()
	p.Wants(d.says(`It has to be (SHA256:\S+)\.$`))
	d.says("Press Enter if it is")
	if _, err := d.keys.Write([]byte("\n")); err != nil {
		d.t.Fatal(err)
	}
	d.says(`computer\$ vmux ca accept --fingerprint SHA256:`)
}

func (p *tab) makeKey(name, algorithm string) {
	p.t.Helper()
	p.Screen("identities")
	p.Tap("Create a key")
	p.Fill("Name", name)
	if algorithm != "" {
		p.Do("document.querySelector('[data-key=kind-vault]').click()")
		p.Tap(algorithm)
	}
	p.Tap("Create")
	p.Wants(name + " is ready.")
	p.WaitFor("Array.from(document.querySelectorAll('main bdi')).some((e) => e.textContent === " + browser.Quoted(name) + ")")
}

func (p *tab) makeCA(kind, account string) {
	p.t.Helper()
	p.Screen("ca")
	p.Tap("Create a CA")
	p.Click("[data-key=ca-kind-" + kind + "]")
	p.Fill("Account names", account)
	p.Tap("Create")
	p.says("The CA is ready.")
}

// approve taps Approve on the sheet that shows these texts, and sees it go.
// Another may come at once.
func (p *tab) approve(texts ...string) {
	p.t.Helper()
	p.Wants(texts...)
	p.WaitFor("!" + approveButton + ".disabled")
	p.Tap("Approve")
	p.WaitFor("!document.querySelector('dialog')?.innerText.replace(/\\s+/g, ' ').includes(" + browser.Quoted(texts[0]) + ")")
}
