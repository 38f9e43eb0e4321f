package web

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"vmux/test/browser"
)

// platformWorld is a paired phone with a vault key, whose page has those quirks.
func platformWorld(t *testing.T, quirks ...string) *world {
	t.Helper()
	w := &world{hub: StartHub(t), browser: NewBrowser(t)}
	w.page = w.browser.Tab()
	for _, name := range quirks {
		w.page.Quirk(name)
	}
	w.page.Go(w.hub.URL + "/")
	w.authenticator = w.page.Authenticator(browser.AuthenticatorOptions{})
	w.agent = StartAgent(t, w.hub.URL)
	w.agent.Pair(w.page)
	w.page.MustCall("createVault", map[string]string{"label": "key", "algorithm": "ssh-ed25519"}, nil)
	w.listed(t)
	return w
}

// mustLoginByTap logs in with a tap on Approve, before which something happens.
func (w *world) mustLoginByTap(t *testing.T, before string) {
	t.Helper()
	server, cmd := w.login(t)
	out, err := finish(cmd, func() {
		w.page.WaitFor("document.querySelector('dialog[open] .approve')?.checkVisibility()")
		w.page.Do("" + before + "")
		w.page.Tap("Approve")
	})
	if err != nil || out != "in\n" {
		t.Fatalf("after %s: %v\n%s\n%s\n%s", before, err, out, server.Log(), w.page.Console())
	}
}

// A browser that has taken the database from a page: the tap that notices it counts,
// and nothing is lost or loaded again, whichever way the database fails.
func TestDeadDatabase(t *testing.T) {
	w := platformWorld(t, "dead-database", "lost-database-server", "hung-transaction")
	w.page.Do("globalThis.loadedOnce = true")
	var before, s State
	w.page.State(&before)
	ways := []string{
		"background['dead-database']()",
		"background['dead-database']('UnknownError')",
		"background['dead-database']('TransactionInactiveError')",
		"background['dead-database']('NotFoundError')",
		"background['lost-database-server'](1)",
		"background['lost-database-server'](2)", // opening anew fails as well
		"background['hung-transaction']()",
		"background['hung-transaction'](1)",
	}
	for _, way := range ways {
		w.mustLoginByTap(t, way)
		if list := records(w.page, t); list[0].Decision != "approved" {
			t.Errorf("after %s the log begins with %+v", way, list[0])
		}
	}
	w.page.MustCall("createVault", map[string]string{"label": "more", "algorithm": "ssh-ed25519"}, nil)
	w.page.Check("loadedOnce")
	w.page.Reload()
	if w.page.State(&s); s.DeviceID != before.DeviceID || len(s.Identities) != 2 || s.Vault == nil || s.Vault.Keys != 2 {
		t.Errorf("after all: %+v", s)
	}
	if n := len(records(w.page, t)); n < len(ways) {
		t.Errorf("%d records of %d logins", n, len(ways))
	}
	var check struct{ Problems []string }
	w.page.MustCall("verifyActivity", nil, &check)
	if len(check.Problems) > 0 {
		t.Errorf("the log is damaged: %v", check.Problems)
	}
}

// A database that stays dead is said, with what to do, and the page goes on once it is back.
func TestDatabaseThatStaysDead(t *testing.T) {
	w := platformWorld(t, "lost-database-server")
	w.page.Do("background['lost-database-server'](1e6)")
	err := w.page.Call("rename", map[string]string{"name": "other"}, nil)
	var f *Failure
	if !errors.As(err, &f) || f.Code != "storage" || f.Message != "The browser does not keep what vmux stores (UnknownError)." ||
		f.Hint != "Close the app and open it again, not in private browsing. If that does not help, restart this device. Do not delete this site’s data: your keys are in it." {
		t.Errorf("%+v", f)
	}
	w.page.Do("background['lost-database-server'](0)")
	w.page.MustCall("rename", map[string]string{"name": "mine"}, nil)
	w.mustLogin(t)
}

// What was deleted under a page is not begun anew in silence: the page ends and says so,
// and the next one says what is lost.
func TestStoreDeletedUnderThePage(t *testing.T) {
	hub := StartHub(t)
	browser := NewBrowser(t)
	first := browser.Open(hub.URL + "/")
	var s State
	first.State(&s)
	first.Check(`new Promise((resolve) => { indexedDB.deleteDatabase('vmux').onsuccess = () => resolve(true); })`)
	var f *Failure
	if err := first.Call("rename", map[string]string{"name": "other"}, nil); !errors.As(err, &f) || f.Code != "cleared" {
		t.Errorf("%v", err)
	}
	first.Wants("This page has ended")
	first.Wants("What was stored here has been deleted, by the browser or in another tab.")
	first.Tap("Reload")
	first.Wants(notice)
}

// A database without its stores, as of a browser that was ended while it made them.
func TestHalfMadeDatabase(t *testing.T) {
	hub := StartHub(t)
	page := NewBrowser(t).Open(hub.URL + "/manifest.webmanifest")
	page.Check(`new Promise((resolve) => { indexedDB.open('vmux', 3).onsuccess = (e) => { e.target.result.close(); resolve(true); }; })`)
	page.Go(hub.URL + "/")
	page.Wants("How to begin")
	page.MustCall("rename", map[string]string{"name": "mine"}, nil)
	page.Reload()
	var s State
	if page.State(&s); s.DeviceName != "mine" {
		t.Errorf("kept: %+v", s)
	}
}

// A page that the browser has frozen, or put aside and brought back, goes on: what it
// was writing is written, and it is at its hub again.
func TestFrozenPage(t *testing.T) {
	w := platformWorld(t)
	w.page.Do("globalThis.loadedOnce = true")
	for range 2 {
		browser.Send(w.page, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: page.SetWebLifecycleStateStateFrozen})
		browser.Send(w.page, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: page.SetWebLifecycleStateStateActive})
		w.mustLogin(t)
	}
	// For real: to another page and back.
	w.page.Go(w.hub.URL + "/manifest.webmanifest")
	w.page.Do("setTimeout(() => history.back())")
	w.page.Wants("Identities")
	t.Log("the browser kept the page:", w.page.Run("if (!globalThis.loadedOnce) { throw { code: 'no', message: '' }; }", nil) == nil)
	w.page.Do("globalThis.loadedOnce = true")
	w.mustLogin(t)
	// Put aside with a write on its way: the events of a page in the cache of pages.
	var name string
	err := w.page.Run(`
		const writing = core.call('rename', { name: 'renamed aside' });
		dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }));
		document.dispatchEvent(new Event('freeze'));
		const first = await Promise.race([writing.then(() => 'written'), new Promise((r) => setTimeout(r, 300, 'waits'))]);
		document.dispatchEvent(new Event('resume'));
		dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }));
		await writing;
		return first + ', then ' + (await core.state()).deviceName;`, &name)
	if err != nil || name != "waits, then renamed aside" {
		t.Errorf("%q, %v", name, err)
	}
	w.page.Check("loadedOnce")
	w.mustLogin(t)
}

// Two pages that begin at the same moment: one has the store, and says nothing; the
// other says where to go on, and has it after a reload.
func TestTwoPagesAtOnce(t *testing.T) {
	hub := StartHub(t)
	browser := NewBrowser(t)
	pages := []*Page{browser.Tab(), browser.Tab()}
	pages[0].Go(hub.URL + "/")
	pages[0].WaitFor("navigator.serviceWorker.controller?.state === 'activated' && document.documentElement.dataset.ready === 'true'")
	for round := range 3 {
		done := make(chan struct{})
		for _, p := range pages {
			go func() { p.Go(fmt.Sprint(hub.URL, "/?", round)); done <- struct{}{} }()
		}
		for range pages {
			<-done
		}
		var on, ended *Page
		waitFor(t, "one of two pages goes on", func() bool {
			on, ended = nil, nil
			for _, p := range pages {
				err := p.Run("await core.state(); if (document.documentElement.dataset.ready !== 'true') { throw { code: 'notYet' }; }", nil)
				var f *Failure
				if errors.As(err, &f) && f.Code == "otherTab" {
					ended = p
				} else if err == nil {
					on = p
				}
			}
			return on != nil && ended != nil
		})
		ended.Wants("vmux was opened in another tab or window.")
		if round == 0 {
			ended.Tap("Reload")
		} else { // a notification was tapped, and the browser has brought this page to the front
			ended.Do("navigator.serviceWorker.dispatchEvent(new MessageEvent('message', { data: { type: 'foreground' } }))")
		}
		on.Wants("vmux was opened in another tab or window.")
		ended.MustCall("rename", map[string]string{"name": "mine"}, nil)
	}
}

// Chromium keeps long values in files of their own, beside its database, and where one of
// these is lost it reads nothing of the store any more (super-productivity#607, altair#2147,
// exilence-next#678). A log of some months is that long.
func TestLongDocument(t *testing.T) {
	profile := t.TempDir()
	hub := StartHub(t)
	page := StartBrowser(t, chromedp.UserDataDir(profile)).Open(hub.URL + "/")
	page.MustCall("rename", map[string]string{"name": "mine"}, nil)
	// Bytes that cannot be compressed, and one that is appended.
	kept := browser.Eval[string](page, `(async () => {
		const long = new Uint8Array((1 << 20) + 6);
		for (let i = 0; i < long.length; i += 65536) { crypto.getRandomValues(long.subarray(i, i + 65536)); }
		const { put, append } = await import('./storage.js');
		await put('spare', long.slice(0, -1));
		await append('spare', long.slice(-1));
		return `+hexHash+`(long);
	})()`)
	files, err := filepath.Glob(filepath.Join(profile, "*", "IndexedDB", "*.blob"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.RemoveAll(f); err != nil {
			t.Fatal(err)
		}
	}
	page.Reload()
	var s State
	if page.State(&s); s.DeviceName != "mine" {
		t.Errorf("kept: %+v", s)
	}
	found := browser.Eval[string](page, `(async () => {
		const wait = (request) => new Promise((resolve) => { request.onsuccess = () => resolve(request.result); });
		const store = (await wait(indexedDB.open('vmux'))).transaction('documents').objectStore('documents');
		const pieces = await wait(store.getAll(IDBKeyRange.bound(['spare'], ['spare', Infinity])));
		return `+hexHash+`(new Uint8Array(await new Blob(pieces).arrayBuffer()));
	})()`)
	if found != kept {
		t.Errorf("of what was stored as %s there is %s", kept, found)
	}
}

// hexHash is a function that returns the SHA-256 of bytes.
const hexHash = `(async (bytes) => Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)), (b) => b.toString(16)).join(' '))`
