package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshdtest"
	"vmux/test/browser"
	"vmux/test/web"
)

// What the web app may take. There is nothing to compare it with.
const (
	downloadBound = 2.3e6 // bytes
	sheetBound    = 60e-3 // seconds from the request to the sheet
	tapBound      = 60e-3 // from the tap to the signature
)

// appStarts are what starting it may take, in seconds: in a new profile, and again in
// each once the service worker has its files.
var appStarts = []struct {
	where        string
	slowness     float64 // of the browser's CPU
	first, again float64
}{
	{"", 1, .9, .4},
	{", CPU throttled 4 ×", 4, 2, .9}, // as on a middling phone
}

// measurePhone looks at the web app in headless Chromium, as the hub's program
// serves it.
func (b *bench) measurePhone() {
	url, _ := b.startAppHub()
	b.measureDownload(url)
	b.measureAppStart(url)
	b.measureApproval(url)
}

// startAppHub starts the hub's own program and returns its URL.
func (b *bench) startAppHub() (url string, pid int) {
	dir := b.TempDir()
	cmd := b.world.command(dir, "--listen", "127.0.0.1:0")
	cmd.Path = filepath.Join(filepath.Dir(b.world.program), "vmux-hub")
	path := filepath.Join(dir, "log")
	log, err := os.Create(path)
	b.must(err)
	defer log.Close()
	cmd.Stderr = log
	pid = b.startProcess(cmd)
	b.must(waitFor("the hub", func() bool {
		text, err := os.ReadFile(path)
		if found := regexp.MustCompile(`hub is ready" url=(\S+)`).FindSubmatch(text); found != nil {
			url = string(found[1])
		}
		return err == nil && url != ""
	}))
	return url, pid
}

// measureDownload fetches the signer as browsers do.
func (b *bench) measureDownload(url string) {
	request, err := http.NewRequest(http.MethodGet, url+"/vmux.wasm", nil)
	b.must(err)
	request.Header.Set("Accept-Encoding", "br")
	answer, err := http.DefaultClient.Do(request)
	b.must(err)
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	b.must(err)
	if answer.StatusCode != http.StatusOK {
		b.Fatalf("vmux-hub was built without the app (status %d): run make build", answer.StatusCode)
	}
	if answer.Header.Get("Content-Encoding") != "br" && !b.quick { // a test has no time to compress
		b.Fatalf("the signer does not come compressed by brotli")
	}
	b.table.within("web app, signer as it is downloaded", megabytes, []float64{float64(n)}, downloadBound)
}

func (b *bench) measureAppStart(url string) {
	first, again := make([][]float64, len(appStarts)), make([][]float64, len(appStarts))
	for range min(b.rounds, 7) {
		for i, c := range appStarts {
			one, others := b.startApp(url, c.slowness)
			first[i], again[i] = append(first[i], one), append(again[i], others...)
		}
	}
	for i, c := range appStarts {
		b.table.within("web app, navigation to ready, new profile"+c.where, seconds, first[i], c.first)
		b.table.within("web app, navigation to ready, again"+c.where, seconds, again[i], c.again)
	}
}

func (b *bench) startApp(url string, slowness float64) (first float64, others []float64) {
	s := &scope{} // ends the browser before the next one starts
	defer s.end()
	page := web.StartBrowser(s).Tab()
	page.Throttle(slowness)
	start := func() float64 {
		page.Go(url + "/")
		return b.number(page, `performance.getEntriesByName('vmux-ready')[0].startTime / 1000`)
	}
	first = start()
	// Once in use it has stored all files; before, it answers no request.
	b.number(page, `(await navigator.serviceWorker.ready) && new Promise((done) => {
		const look = () => navigator.serviceWorker.controller ? done(1) : setTimeout(look, 20);
		look();
	})`)
	for range min(b.rounds, 4) {
		page.Go("about:blank")
		others = append(others, start())
	}
	return first, others
}

// number evaluates an expression in a page whose app has started.
func (b *bench) number(page *web.Page, expression string) (value float64) {
	b.must(page.Run("return "+expression, &value))
	return value
}

// watch notes when a sheet has been drawn and when the finger was lifted last, in
// milliseconds of the clock that this process has, too.
const watch = `
	globalThis.seen = { drawn: 0, tapped: 0 };
	addEventListener('pointerup', () => { seen.tapped = Date.now(); }, true);
	let last = null;
	new MutationObserver(() => {
		const sheet = document.querySelector('dialog.request[open]');
		if (sheet && sheet !== last) {
			last = sheet;
			seen.drawn = 0;
			requestAnimationFrame(() => requestAnimationFrame(() => { seen.drawn = Date.now(); }));
		}
	}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ['open'] });`

// Expressions that wait until the sheet is drawn, and until there is none.
const (
	drawn = `new Promise((done) => {
		const look = () => document.querySelector('dialog.request[open]') && seen.drawn ? done(seen.drawn / 1000) : setTimeout(look, 5);
		look();
	})`
	closed = `new Promise((done) => {
		const look = () => document.querySelector('dialog.request') ? setTimeout(look, 20) : done(0);
		look();
	})`
	tapped = `seen.tapped / 1000`
)

// measureApproval asks for a passkey's signature through the hub and taps.
func (b *bench) measureApproval(url string) {
	page := web.StartBrowser(b).Tab()
	page.BeforeLoad(watch)
	page.Go(url + "/")
	page.Authenticator(browser.AuthenticatorOptions{})
	agent := web.RunAgent(b, b.world.program, url)
	agent.Pair(page)
	page.MustCall("createPasskey", map[string]string{"label": "bench"}, nil)
	blob := b.onlyKey("the passkey", agent.Socket)
	var toSheet, toSignature []float64
	for range b.rounds + 2 { // the first are not warm yet
		one, other := b.approval(page, func() {
			c, err := dialAgent(agent.Socket)
			b.must(err)
			defer c.conn.Close()
			b.must(c.conn.SetDeadline(time.Now().Add(30 * time.Second)))
			b.must(c.ask(signRequestOf(blob, fileMessage()), msgSignResponse))
		})
		toSheet, toSignature = append(toSheet, one), append(toSignature, other)
	}
	b.table.within("web app, request to sheet drawn, through a hub", seconds, toSheet[2:], sheetBound)
	b.table.within("web app, tap on Approve to the client's signature", seconds, toSignature[2:], tapBound)
	b.noteLogins(page, agent)
}

// approval runs what asks, and taps Approve: the seconds from asking until the
// sheet is drawn, and from the tap to the end.
func (b *bench) approval(page *web.Page, ask func()) (toSheet, fromTap float64) {
	b.number(page, closed)
	end := make(chan time.Time, 1)
	failed := make(chan error, 1)
	begin := time.Now()
	go func() {
		failed <- b.catch(ask)
		end <- time.Now()
	}()
	toSheet = b.number(page, drawn) - unixSeconds(begin)
	page.Tap("Approve")
	b.must(<-failed)
	return toSheet, unixSeconds(<-end) - b.number(page, tapped)
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// fileMessage is what `ssh-keygen -Y sign` has signed (PROTOCOL.sshsig): the app
// signs nothing that it cannot name.
func fileMessage() []byte {
	return append([]byte("SSHSIG"), ssh.Marshal(struct{ Namespace, Reserved, Hash, Message string }{
		"file", "", "sha512", string(make([]byte, 64)),
	})...)
}

// noteLogins tells what whole logins take, with what ssh and sshd do.
func (b *bench) noteLogins(page *web.Page, agent *web.Agent) {
	server := b.old.StartServer(b, sshdtest.Config{AuthorizedKeys: []string{page.Identity("bench").AuthorizedKey}})
	var toSheet, toEnd []float64
	for range min(b.rounds, 3) {
		one, other := b.approval(page, func() {
			ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			defer cancel()
			if out, err := server.Command(ctx, b, b.new, agent.Socket, "true").CombinedOutput(); err != nil {
				b.Fatalf("ssh by passkey: %v\n%s", err, out)
			}
		})
		toSheet, toEnd = append(toSheet, one), append(toEnd, other)
	}
	b.table.note("ssh by passkey, from its start to the sheet: %s; from the tap to its end: %s", spread(toSheet), spread(toEnd))
}

func spread(values []float64) string {
	return fmt.Sprintf("%s (%s–%s)", seconds(median(values)), seconds(slices.Min(values)), seconds(slices.Max(values)))
}
