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

	"github.com/chromedp/chromedp"
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
func (w *world) writeUntilFull(t *testing.T, label string) (kept int) {
	t.Helper()
	for range 20 {
		args := map[string]string{"label": fmt.Sprint(label, kept), "algorithm": "ssh-rsa"}
		err := w.page.Call("createVault", args, nil)
		if err == nil {
			kept++
			continue
		}
		var f *Failure
		if !errors.As(err, &f) || f.Code != "storage" || !strings.Contains(f.Message, noSpace) || f.Hint == "" {
			t.Fatalf("on a full disk: %v", err)
		}
		return kept
	}
	t.Fatal("the disk is never full")
	return kept
}

// changeUntilFull changes a key until the browser cannot keep it. That failure is the
// last thing that is tried: a page that opens its store anew on a full disk may bring
// Chromium down at the next reload.
func (w *world) changeUntilFull(t *testing.T) {
	t.Helper()
	key := w.page.Identity("key").Fingerprint
	for n := range 20 {
		if w.page.Call("setPrincipals", map[string]any{"fingerprint": key, "principals": []string{fmt.Sprint("user", n)}}, nil) != nil {
			return
		}
	}
	t.Fatal("the disk is never full")
}

const noSpace = "no space is left on this device"

// A disk that is really full: nothing more is kept, and the app says why. What
// was stored before stays, and the app goes on as soon as there is room.
func TestFullDisk(t *testing.T) {
	disk := newSmallDisk(t, 256)
	w := &world{hub: StartHub(t), browser: StartBrowser(t,
		chromedp.ExecPath(disk.browser), chromedp.UserDataDir(filepath.Join(disk.dir, "profile")))}
	own := NewSoftAuthenticator()
	w.open(t, own)
	w.page.MustCall("createCA", map[string]any{"kind": "vault", "principals": []string{me(t)}}, nil)
	w.mustLogin(t)
	var before, s State
	w.page.State(&before)
	keys := 1

	disk.fill("filler", 0)
	keys += w.writeUntilFull(t, "a")
	w.page.WantFailure("storage", "createPasskey", map[string]string{"label": "face"})
	w.page.WantFailure("storage", "rename", map[string]string{"name": "other"})
	_, cmd := w.login(t)
	if out, err := finish(cmd, func() {
		w.page.Tap("Approve")
		w.page.Shows("The phone cannot write its activity log, and signs nothing without it. Is it out of space?")
		_ = cmd.Process.Kill()
	}); err == nil {
		t.Errorf("logged in without a record: %s", out)
	}
	disk.remove("filler")
	w.page.MustCall("createVault", map[string]string{"label": "room", "algorithm": "ssh-ed25519"}, nil)
	keys++
	w.mustLogin(t)

	disk.fill("filler", 0)
	w.changeUntilFull(t)
	w.page.Reload()
	w.page.Shows("The app could not start")
	w.page.Shows(noSpace)
	disk.remove("filler")
	w.page.Reload()
	w.page.MustCall("createVault", map[string]string{"label": "more room", "algorithm": "ssh-ed25519"}, nil)
	keys++
	w.mustLogin(t)

	for range 2 { // the first start writes, too
		w.browser.Restart()
		w.open(t, own)
		if w.page.State(&s); s.DeviceID != before.DeviceID || len(s.Identities) != keys || s.CA == nil || s.CA.Line != before.CA.Line || s.DeviceName != before.DeviceName {
			t.Fatalf("lost: %+v, want %d keys and what was in %+v", s, keys, before)
		}
		w.mustLogin(t)
	}
}

// useQuota writes files of its own until the browser keeps nothing more.
const useQuota = `(async () => {
		let last = '';
		const folder = await navigator.storage.getDirectory();
		for (const size of [8 << 20, 1 << 20, 64 << 10, 4 << 10, 512]) {
			for (let n = 0; n < 1000; n++) {
				try {
					const file = await (await folder.getFileHandle(size + '.' + n, { create: true })).createWritable();
					await file.write(new Uint8Array(size));
					await file.close();
				} catch (e) {
					last = e.name;
					break;
				}
			}
		}
		return last === 'QuotaExceededError';
	})()`

const freeQuota = `(async () => {
		const folder = await navigator.storage.getDirectory();
		for (const name of await Array.fromAsync(folder.keys())) {
			await folder.removeEntry(name);
		}
		return true;
	})()`

// A quota that is used up, by the browser's own rules: the app cannot start, and
// says why. With room again it starts. Whether the browser has kept the store is not
// in the app's hands; that it has not is said.
func TestFullQuota(t *testing.T) {
	disk := newSmallDisk(t, 256) // for a quota that is soon used up
	w := &world{hub: StartHub(t), browser: StartBrowser(t,
		chromedp.ExecPath(disk.browser), chromedp.UserDataDir(filepath.Join(disk.dir, "profile")))}
	own := NewSoftAuthenticator()
	w.open(t, own)
	w.mustLogin(t)
	var before, s State
	w.page.State(&before)
	w.page.evaluate(useQuota)
	// Chromium looks at the quota now and then only, at a later start at the latest.
	waitFor(t, "the app could not start", func() bool {
		w.browser.Restart()
		w.page = w.browser.Tab()
		w.page.UseSoftAuthenticator(own)
		w.page.Go(w.hub.URL + "/")
		w.page.waitTrue("the app starts, or says that it cannot", `/could not start|Computers|What was kept/.test(document.body.innerText)`)
		return w.page.is(`document.body.innerText.includes('The app could not start')`)
	})
	w.page.Shows(noSpace)
	w.page.evaluate(freeQuota)
	w.page.Reload()
	w.page.Hides("The app could not start")
	if w.page.State(&s); s.DeviceID != before.DeviceID {
		w.page.Shows(notice)
	} else if len(s.Identities) != len(before.Identities) || len(s.Computers) != len(before.Computers) {
		t.Errorf("half of it was kept: %+v, of %+v", s, before)
	}
	t.Logf("the store was kept: %v", s.DeviceID == before.DeviceID)
}

const notice = "What was kept here is gone"

// A browser that has deleted the store by itself does not let a phone begin anew as
// if nothing had been: it is said until the person has taken note.
func TestStoreThatVanished(t *testing.T) {
	hub := StartHub(t)
	page := StartBrowser(t).Open(hub.URL + "/")
	var before, s State
	page.State(&before)
	page.Shows("How to begin")
	page.Hides(notice)
	page.Go(hub.URL + "/manifest.webmanifest") // of the same origin, and holds no store open
	page.evaluate(`new Promise((resolve) => {
		const request = indexedDB.deleteDatabase('vmux');
		request.onsuccess = () => resolve(true);
	})`)
	page.Go(hub.URL + "/")
	page.Shows(notice)
	page.Reload()
	page.Shows(notice)
	if page.State(&s); s.DeviceID == before.DeviceID {
		t.Error("the device key came back")
	}
	page.Tap("Begin anew")
	page.Hides(notice)
	page.Reload()
	page.Shows("How to begin")
	page.Hides(notice)
	page.MustCall("wipe", nil, nil) // by the person's own wish
	page.Reload()
	page.Shows("How to begin")
	page.Hides(notice)
}
