package web

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"

	"vmux/test/browser"
)

// smallDisk is a file system of that size for a browser's profile alone, which
// nobody else sees and which is gone after the test.
type smallDisk struct {
	t       *testing.T
	dir     string // as the browser sees it
	inside  string // the same, for this process
	browser string // a program that starts Chromium there
}

func newSmallDisk(t *testing.T, megabytes int) *smallDisk {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("Chromium is missing: run `make setup`")
	}
	d := &smallDisk{t: t, dir: t.TempDir()}
	args, enter := []string{"--mount"}, "--mount"
	if os.Getuid() != 0 {
		args, enter = append(args, "--user", "--map-root-user"), enter+" --user --preserve-credentials"
	}
	mount := fmt.Sprintf("mount -t tmpfs -o size=%dm tmpfs '%s' && echo mounted && exec cat", megabytes, d.dir)
	holder := exec.Command("unshare", append(args, "sh", "-c", mount)...)
	end, err1 := holder.StdinPipe()
	out, err2 := holder.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := holder.Start(); err != nil {
		t.Fatalf("%v: run `make setup`", err)
	}
	t.Cleanup(func() {
		_ = end.Close()
		_ = holder.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		t.Fatalf("no small disk: %q, %v", line, err)
	}
	d.inside = fmt.Sprintf("/proc/%d/root%s", holder.Process.Pid, d.dir)
	d.browser = filepath.Join(t.TempDir(), "chromium")
	script := fmt.Sprintf("#!/bin/sh\nexec nsenter --target %d %s '%s' \"$@\"\n", holder.Process.Pid, enter, chromium)
	if err := os.WriteFile(d.browser, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

// fill leaves no more than that many bytes of it free, and none if that is 0.
func (d *smallDisk) fill(name string, free int64) {
	d.t.Helper()
	f, err := os.Create(filepath.Join(d.inside, name))
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	n, _ := io.Copy(f, io.LimitReader(zeros{}, 1<<40)) // until it fails
	if err := f.Truncate(max(0, n-free)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *smallDisk) remove(name string) {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.inside, name)); err != nil {
		d.t.Fatal(err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// writeUntilFull makes keys until the browser cannot keep one more, and returns
// how many it kept.
func (w *world) writeUntilFull(t *testing.T) (kept int) {
	t.Helper()
	for range 20 {
		args := map[string]string{"label": fmt.Sprint("key", kept), "algorithm": "ssh-rsa"}
		err := w.page.Call("createVault", args, nil)
		if err == nil {
			kept++
			continue
		}
		var f *Failure
		if !errors.As(err, &f) || f.Code != "storage" || f.Hint == "" {
			t.Fatalf("on a full disk: %v", err)
		}
		// Chromium may call the write in which the disk ran full an unknown error; it is
		// said as one, and the next is told for what it is.
		if strings.Contains(f.Message, noSpace) {
			return kept
		}
		t.Logf("on a full disk, at first: %v", err)
		if !strings.Contains(f.Message, "UnknownError") {
			t.FailNow()
		}
	}
	t.Fatal("the app never says that the disk is full")
	return kept
}

const noSpace = "no space is left on this device"

// A disk that is really full: nothing more is kept, the app says why and warns on
// Home, and goes on once there is room. What the browser's own store makes of a record
// that the full disk has torn is its affair: it may delete itself at a later start.
// What it has kept is whole, and a loss is said.
func TestFullDisk(t *testing.T) {
	disk := newSmallDisk(t, 256)
	w := &world{hub: StartHub(t), browser: StartBrowser(t,
		chromedp.ExecPath(disk.browser), chromedp.UserDataDir(filepath.Join(disk.dir, "profile")))}
	own := browser.NewSoftAuthenticator()
	w.open(t, own)
	w.page.MustCall("createCA", map[string]any{"kind": "vault", "principals": []string{me(t)}}, nil)
	w.mustLogin(t)
	var before State
	w.page.State(&before)

	disk.fill("filler", 0)
	keys := 1 + w.writeUntilFull(t)
	w.page.Wants(warning)
	disk.remove("filler")
	for _, again := range []func(){w.page.Reload, func() {
		w.browser.Restart()
		w.page = w.browser.Tab()
		w.page.UseSoftAuthenticator(own)
		w.page.Go(w.hub.URL + "/")
	}} {
		again()
		if !w.keptOrSaid(t, before, keys) {
			return
		}
		w.page.Hides(warning)
		w.page.MustCall("createVault", map[string]string{"label": fmt.Sprint("room", keys), "algorithm": "ssh-ed25519"}, nil)
		keys++
		w.mustLogin(t)
	}
}

// keptOrSaid reports whether the phone is the same as before, with so many keys.
func (w *world) keptOrSaid(t *testing.T, before State, keys int) bool {
	t.Helper()
	var s State
	w.page.State(&s)
	if s.DeviceID != before.DeviceID {
		w.page.Wants(notice)
		t.Log("the browser has deleted its store, and it is said")
		return false
	}
	if len(s.Identities) != keys || len(s.Computers) != len(before.Computers) || s.CA == nil || s.CA.Line != before.CA.Line {
		t.Fatalf("half of it was kept: %+v, want %d keys and what was in %+v", s, keys, before)
	}
	w.page.WaitComputer()
	return true
}

// limitQuota has the browser let the page's origin store so many bytes in all; 0 ends that.
func (p *Page) limitQuota(origin string, bytes float64) {
	p.T.Helper()
	params := storage.OverrideQuotaForOriginParams{Origin: origin}
	if bytes > 0 {
		params.QuotaSize = &bytes
	}
	browser.Send(p, storage.OverrideQuotaForOrigin, params)
}

// A quota that is used up: the app cannot start, and says why. With room again it
// starts, and has what it had.
func TestFullQuota(t *testing.T) {
	w := &world{hub: StartHub(t), browser: StartBrowser(t)}
	own := browser.NewSoftAuthenticator()
	w.open(t, own)
	w.mustLogin(t)
	var before, s State
	w.page.State(&before)
	w.browser.Restart() // Chromium remembers for a while how much room there was
	w.page = w.browser.Tab()
	w.page.UseSoftAuthenticator(own)
	w.page.limitQuota(w.hub.URL, 1)
	w.page.Go(w.hub.URL + "/")
	w.page.Wants("The app could not start")
	w.page.Wants(noSpace)
	w.page.limitQuota(w.hub.URL, 0)
	w.page.Reload()
	w.page.Hides("The app could not start")
	if w.page.State(&s); s.DeviceID != before.DeviceID || len(s.Identities) != len(before.Identities) || len(s.Computers) != len(before.Computers) {
		t.Errorf("kept: %+v, of %+v", s, before)
	}
	w.mustLogin(t)
}

const warning = "Hardly any space is left"

// Home warns while the space is low, as far as a browser tells. Chromium names ten
// gigabytes, whatever the quota is; Safari and Firefox tell.
func TestLowQuota(t *testing.T) {
	hub := StartHub(t)
	page := NewBrowser(t).Tab()
	page.UseSoftAuthenticator(browser.NewSoftAuthenticator())
	page.BeforeLoad("navigator.storage.estimate = async () => ({ usage: 100 << 20, quota: Number(localStorage.getItem('quota') ?? 1e10) })")
	page.Go(hub.URL + "/")
	page.Wants("How to begin")
	page.Hides(warning)
	page.Do("localStorage.setItem('quota', 116 << 20)")
	page.Reload()
	page.Wants(warning)
	page.Wants("The browser lets vmux store 16 MB more.")
	page.Wants("Free some space on this device.")
	page.MustCall("createPasskey", map[string]string{"label": "face"}, nil)
	page.Wants(warning) // on Home with something on it, too
	page.Do("localStorage.removeItem('quota')")
	page.Reload()
	page.Wants("Identities")
	page.Hides(warning)
}

const notice = "What was kept here is gone"

// A browser that has deleted the store by itself does not let a phone begin anew as
// if nothing had been: it is said until the person has taken note.
func TestStoreThatVanished(t *testing.T) {
	hub := StartHub(t)
	page := NewBrowser(t).Open(hub.URL + "/")
	var before, s State
	page.State(&before)
	page.Wants("How to begin")
	page.Hides(notice)
	page.Go(hub.URL + "/manifest.webmanifest") // of the same origin, and holds no store open
	page.Check(`new Promise((resolve) => {
		const request = indexedDB.deleteDatabase('vmux');
		request.onsuccess = () => resolve(true);
	})`)
	page.Go(hub.URL + "/")
	page.Wants(notice)
	page.Reload()
	page.Wants(notice)
	if page.State(&s); s.DeviceID == before.DeviceID {
		t.Error("the device key came back")
	}
	page.Tap("Begin anew")
	page.Hides(notice)
	page.Reload()
	page.Wants("How to begin")
	page.Hides(notice)
	page.MustCall("wipe", nil, nil) // by the person's own wish
	page.Reload()
	page.Wants("How to begin")
	page.Hides(notice)
}

// A browser that gives back no device key, and all else, has not deleted the keys: nobody is
// told to take them off the servers, and they sign once the computer is paired again. It may
// give it back later, as after a restart: until the person goes on without it, it is kept.
func TestDeviceKeyThatVanished(t *testing.T) {
	w := newWorld(t)
	w.mustLogin(t)
	const lost = "Your computers do not know this phone any more"
	const unreadable = "The browser does not give back the key of this device"
	w.page.Lacks(lost, notice)
	// change has the store's keys changed while no page of the app is there.
	change := func(what string) {
		w.page.Go(w.hub.URL + "/manifest.webmanifest")
		w.page.Check(`new Promise((resolve) => {
			const request = indexedDB.open('vmux');
			request.onsuccess = () => {
				const transaction = request.result.transaction('own', 'readwrite'), own = transaction.objectStore('own');
				` + what + `;
				transaction.oncomplete = () => { request.result.close(); resolve(true); };
			};
		})`)
		w.page.Go(w.hub.URL + "/")
	}
	change("own.get('deviceKey').onsuccess = (event) => { own.put(event.target.result, 'kept'); own.put(null, 'deviceKey'); }")
	for range 2 {
		w.page.Wants("The app could not start", unreadable)
		w.page.Reload()
	}
	change("own.get('kept').onsuccess = (event) => own.put(event.target.result, 'deviceKey')")
	w.page.WaitComputer()
	w.page.Lacks(lost, notice)
	w.mustLogin(t)

	change("own.put(null, 'deviceKey')")
	w.page.Wants(unreadable)
	w.page.Tap("Go on without it")
	for range 2 { // also when it is opened once more
		w.page.Wants(lost)
		w.page.Lacks(notice)
		w.page.Reload()
	}
	w.page.Wants(lost)
	w.agent.Pair(w.page)
	w.page.Tap("Hide this")
	w.page.Hides(lost)
	w.page.Reload()
	w.page.WaitComputer()
	w.page.Lacks(lost, notice)
	w.mustLogin(t)
}
