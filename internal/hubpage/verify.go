package hubpage

import (
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/andybalholm/brotli"
)

const (
	// maxFile bounds one file of a page, in bytes, uncompressed.
	maxFile = 64 << 20
	// fileTime bounds the fetching of one file, which a hub may delay for ever.
	fileTime = time.Minute

	indexFile   = "index.html"
	workerFile  = "sw.js"
	versionFile = "version.js"
)

// Report is what a comparison found.
type Report struct {
	URL     string `json:"url"`
	Version string `json:"version"`          // of the app of this program's build
	Serves  string `json:"serves,omitempty"` // the version that the hub's page calls itself, if that is another
	Files   int    `json:"files"`            // how many were compared
	// Differences are none if the hub serves what was built.
	Differences []Difference `json:"differences"`
}

// Difference is one thing that the hub serves otherwise.
type Difference struct {
	Path string `json:"path"`
	What string `json:"what"` // a piece of a sentence, for people
}

// visitors are the two browsers that phones have, as far as a request shows them.
// Each takes another encoding, so that both forms of a compressed file are seen.
var visitors = []struct{ name, agent, encodings string }{
	{"an iPhone", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1", "br, gzip"},
	{"an Android phone", "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36", "gzip"},
}

// foreign are files that the app does not have, and by which a hub would give its
// passkeys to others: to pages elsewhere (WebAuthn Level 3, section 5.11), to
// Android apps (Digital Asset Links), to iOS apps (webcredentials).
var foreign = []string{
	".well-known/webauthn", ".well-known/assetlinks.json",
	".well-known/apple-app-site-association", "apple-app-site-association",
}

// harmful are headers that the app is served without.
var harmful = map[string]string{
	"Service-Worker-Allowed":      "lets a service worker rule over more than its folder",
	"Clear-Site-Data":             "makes the browser delete the phone's keys",
	"Refresh":                     "leads to another page",
	"Link":                        "loads files that the app does not name",
	"Origin-Trial":                "switches features of the browser on",
	"Access-Control-Allow-Origin": "lets other pages read this one",
}

// Verify fetches every file of the page at origin, which is a URL without a slash
// at its end, as a phone would, and compares it with the list. Redirections count
// as differences; the client must not follow them. An error means that it could
// not be compared.
func Verify(ctx context.Context, client *http.Client, origin string, l *List) (Report, error) {
	v := &verifier{client: client, origin: origin, list: l, seen: map[Difference]bool{}}
	v.report = Report{URL: origin, Version: l.Version, Files: len(l.Files), Differences: []Difference{}}
	for _, visitor := range visitors {
		v.name, v.header = visitor.name, http.Header{
			"User-Agent": {visitor.agent}, "Accept-Encoding": {visitor.encodings}, "Accept-Language": {"en"},
		}
		if err := v.visit(ctx); err != nil {
			return v.report, err
		}
	}
	return v.report, nil
}

type verifier struct {
	client *http.Client
	origin string
	list   *List
	report Report
	seen   map[Difference]bool

	// Of one visit.
	name   string
	header http.Header
}

// visit looks at everything once. What is asked for under several headers may be
// answered by each of them.
func (v *verifier) visit(ctx context.Context) error {
	document := http.Header{"Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Mode": {"navigate"}, "Accept": {"text/html,*/*;q=0.8"}}
	worker := http.Header{"Service-Worker": {"script"}, "Sec-Fetch-Dest": {"serviceworker"}, "Sec-Fetch-Mode": {"same-origin"}, "Accept": {"*/*"}}
	script := http.Header{"Sec-Fetch-Dest": {"empty"}, "Sec-Fetch-Mode": {"cors"}, "Accept": {"*/*"}}
	if err := v.file(ctx, "", v.list.Files[indexFile], document); err != nil {
		return err
	}
	if err := v.file(ctx, workerFile, v.list.Files[workerFile], worker); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(v.list.Files)) {
		if err := v.file(ctx, name, v.list.Files[name], script); err != nil {
			return err
		}
	}
	for _, name := range append(slices.Clone(foreign), strings.ToLower(rand.Text())) {
		if err := v.absent(ctx, name, document); err != nil {
			return err
		}
	}
	return nil
}

// file compares one file.
func (v *verifier) file(ctx context.Context, name string, want File, header http.Header) error {
	ctx, cancel := context.WithTimeout(ctx, fileTime)
	defer cancel()
	r, err := v.get(ctx, name, header)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	switch {
	case r.StatusCode >= 300 && r.StatusCode < 400:
		v.differs(name, "leads elsewhere: to %q", r.Header.Get("Location"))
		return nil
	case r.StatusCode != http.StatusOK:
		v.differs(name, "is not served: HTTP status %d", r.StatusCode)
		return nil
	}
	v.headers(name, want, r.Header)
	hash := sha256.New()
	var kept strings.Builder // of version.js
	to := io.Writer(hash)
	if name == versionFile {
		to = io.MultiWriter(hash, &kept)
	}
	body, err := plain(r)
	if err != nil {
		v.differs(name, "cannot be read: %v", err)
		return nil
	}
	n, err := io.Copy(to, io.LimitReader(body, maxFile+1))
	switch got := hex.EncodeToString(hash.Sum(nil)); {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("fetch /%s: %w", name, err)
	case err != nil:
		v.differs(name, "cannot be read: %v", err)
	case n > maxFile:
		v.differs(name, "is larger than any file of the app")
	case got != want.SHA256:
		v.differs(name, "is another file: its SHA-256 is %s, that of the build %s", got, want.SHA256)
	}
	if said := saysVersion.FindStringSubmatch(kept.String()); said != nil && said[1] != v.list.Version {
		v.report.Serves = said[1]
	}
	return nil
}

var saysVersion = regexp.MustCompile(`^export const version = "([0-9a-f]{64})";`)

// headers compares what the browser is told of a file.
func (v *verifier) headers(name string, want File, got http.Header) {
	if t := got.Get("Content-Type"); t != want.ContentType {
		v.differs(name, "is served as %q, not as %q", t, want.ContentType)
	}
	for _, header := range slices.Sorted(maps.Keys(v.list.Headers)) {
		if all := got.Values(header); len(all) != 1 || all[0] != v.list.Headers[header] {
			v.differs(name, "has another %s: %q", header, strings.Join(all, ", "))
		}
	}
	for _, header := range slices.Sorted(maps.Keys(harmful)) {
		if all := got.Values(header); len(all) > 0 {
			v.differs(name, "has the header %s, which %s: %q", header, harmful[header], strings.Join(all, ", "))
		}
	}
}

// absent demands that there is no such file.
func (v *verifier) absent(ctx context.Context, name string, header http.Header) error {
	ctx, cancel := context.WithTimeout(ctx, fileTime)
	defer cancel()
	r, err := v.get(ctx, name, header)
	if err != nil {
		return err
	}
	r.Body.Close()
	if r.StatusCode < 400 {
		v.differs(name, "is served, HTTP status %d, and is no file of the app", r.StatusCode)
	}
	return nil
}

func (v *verifier) get(ctx context.Context, name string, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.origin+"/"+name, nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, v.header)
	maps.Copy(request.Header, header)
	return v.client.Do(request)
}

// differs notes a difference once, though several visits see it.
func (v *verifier) differs(name, format string, args ...any) {
	d := Difference{Path: "/" + name, What: fmt.Sprintf(format, args...)}
	if !v.seen[d] {
		v.seen[d] = true
		v.report.Differences = append(v.report.Differences, d)
	}
}

// plain is an answer's body as the browser's page gets it.
func plain(r *http.Response) (io.Reader, error) {
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "":
		return r.Body, nil
	case "br":
		return brotli.NewReader(r.Body), nil
	case "gzip":
		return gzip.NewReader(r.Body)
	default:
		return nil, fmt.Errorf("its encoding is %q", encoding)
	}
}
