// Package webapp serves the phone's web app: files that do not change while the
// hub runs, with the headers that keep everything else out of the page. It knows
// nothing of what the files do.
package webapp

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
)

// Policy is a Content-Security-Policy, of which apps make theirs: nothing
// inline, nothing foreign, WebAssembly, and connections to the hub alone.
const Policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; " +
	"img-src 'self' data:; connect-src 'self'; manifest-src 'self'; worker-src 'self'; media-src 'self' blob:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// permissions lets the page use what it needs and nothing that it does not, also
// if a script got into it.
const permissions = "camera=(self), publickey-credentials-get=(self), publickey-credentials-create=(self), " +
	"clipboard-read=(self), clipboard-write=(self), " +
	"microphone=(), geolocation=(), display-capture=(), usb=(), serial=(), hid=(), midi=(), payment=(), " +
	"accelerometer=(), gyroscope=(), magnetometer=()"

// index is what is served as "/".
const index = "index.html"

// maxCompressed bounds the files that are compressed here, in bytes. What is
// larger comes compressed, or goes out as it is.
const maxCompressed = 256 << 10

// Handler serves the files. Make it with New.
type Handler struct {
	files  fs.FS
	policy string
	served map[string]served // by name; what is not in it is not there
}

// served is one file in all the forms it can be sent in, best first.
type served struct {
	contentType string
	immutable   bool
	forms       []form
}

// form is one file in one encoding.
type form struct {
	encoding string // "br", "gzip" or "": as it is
	name     string // of the file that holds it
	data     []byte // instead of name, if it was compressed here
	unpack   bool   // name is compressed, and has to be sent as it was before
	size     int64
	etag     string
}

// New reads the app's files once, for their sizes and hashes, and again at each request;
// without index.html every page says that the app is missing. Beside NAME or instead of
// it there may be NAME.br and NAME.gz, which are the same file compressed with brotli or
// gzip; NAME.br alone is not served. Policy is the Content-Security-Policy.
func New(files fs.FS, policy string) (*Handler, error) {
	h := &Handler{files: files, policy: policy, served: map[string]served{}}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() || hidden(name) {
			return err
		}
		return h.add(name)
	})
	if err != nil {
		return nil, fmt.Errorf("web app: %w", err)
	}
	for name, s := range h.served {
		if err := h.complete(name, &s); err != nil {
			return nil, fmt.Errorf("web app: %s: %w", name, err)
		}
		h.served[name] = s
	}
	return h, nil
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") || strings.Contains(name, "/.") }

// add takes a file in, under the name it is asked for by.
func (h *Handler) add(name string) error {
	f := form{name: name}
	plain := name
	switch path.Ext(name) {
	case ".br":
		f.encoding, plain = "br", strings.TrimSuffix(name, ".br")
	case ".gz":
		f.encoding, plain = "gzip", strings.TrimSuffix(name, ".gz")
	}
	file, err := h.files.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	hash := sha256.New()
	if f.size, err = io.Copy(hash, file); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	f.etag = fmt.Sprintf(`"%.16x"`, hash.Sum(nil))
	s := h.served[plain]
	s.forms = append(s.forms, f)
	h.served[plain] = s
	return nil
}

// hashed are names that change with what is in the file.
var hashed = regexp.MustCompile(`[-.][0-9a-f]{16,64}\.`)

// complete puts the forms of a file in order and adds those that are missing.
func (h *Handler) complete(name string, s *served) error {
	s.contentType = contentType(name)
	s.immutable = hashed.MatchString(path.Base(name))
	find := func(encoding string) *form {
		for i := range s.forms {
			if s.forms[i].encoding == encoding {
				return &s.forms[i]
			}
		}
		return nil
	}
	br, gz, plain := find("br"), find("gzip"), find("")
	if plain == nil && gz != nil {
		plain = &form{name: gz.name, unpack: true, size: -1, etag: `"plain-` + gz.etag[1:]}
	}
	if gz == nil && plain != nil && isText(s.contentType) && plain.size <= maxCompressed {
		var err error
		if gz, err = h.compress(plain); err != nil {
			return err
		}
	}
	s.forms = nil
	for _, f := range []*form{br, gz, plain} {
		if f != nil {
			s.forms = append(s.forms, *f)
		}
	}
	return nil
}

func isText(contentType string) bool {
	return strings.HasPrefix(contentType, "text/") || strings.Contains(contentType, "json") || strings.Contains(contentType, "xml")
}

// compress returns nil if there is nothing to gain.
func (h *Handler) compress(plain *form) (*form, error) {
	data, err := fs.ReadFile(h.files, plain.name)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // which writes to memory, and cannot fail
	_, _ = z.Write(data)
	_ = z.Close()
	if b.Len() >= len(data) {
		return nil, nil
	}
	return &form{encoding: "gzip", data: b.Bytes(), size: int64(b.Len()), etag: `"gzip-` + plain.etag[1:]}, nil
}

// types are the files that a web app consists of. The machine's own table is not
// asked: it differs from one to the next, and nosniff makes a wrong type fatal.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
	".json": "application/json", ".webmanifest": "application/manifest+json",
	".wasm": "application/wasm", ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon",
	".webp": "image/webp", ".jpg": "image/jpeg", ".woff2": "font/woff2", ".txt": "text/plain; charset=utf-8",
}

func contentType(name string) string {
	if t := types[path.Ext(name)]; t != "" {
		return t
	}
	return "application/octet-stream"
}

// ServeHTTP serves GET and HEAD. A name is looked up in the list of files made
// at New, so no path leads anywhere else.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	SecurityHeaders(w.Header(), h.policy)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "This can only be read.", http.StatusMethodNotAllowed)
		return
	}
	if _, ok := h.served[index]; !ok {
		missing(w)
		return
	}
	name, absolute := strings.CutPrefix(r.URL.Path, "/")
	if name == "" {
		name = index
	}
	s, ok := h.served[name]
	f, acceptable := choose(s.forms, r.Header.Values("Accept-Encoding"))
	if !ok || !absolute || !acceptable {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "There is nothing here.", http.StatusNotFound)
		return
	}
	h.send(w, r, s, f)
}

// SecurityHeaders sets the headers that every page of a hub has.
func SecurityHeaders(header http.Header, policy string) {
	header.Set("Content-Security-Policy", policy)
	header.Set("Permissions-Policy", permissions)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
}

func missing(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, `<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>vmux hub</title>
<h1>This hub has no phone app</h1>
<p>It was built without the web app, so it carries messages only.
Whoever runs it can put that right: <code>make build</code>, then start <code>bin/vmux-hub</code> again.</p>
</html>
`)
}

func (h *Handler) send(w http.ResponseWriter, r *http.Request, s served, f form) {
	header := w.Header()
	// no-transform: the app compares its files with their hashes.
	header.Set("Cache-Control", "no-cache, no-transform")
	if s.immutable {
		header.Set("Cache-Control", "public, max-age=31536000, immutable, no-transform")
	}
	header.Set("ETag", f.etag)
	header.Set("Vary", "Accept-Encoding")
	if matches(r.Header.Values("If-None-Match"), f.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body, err := h.open(f)
	if err != nil {
		header.Del("ETag")
		http.Error(w, "This file cannot be read.", http.StatusInternalServerError)
		return
	}
	defer body.Close()
	header.Set("Content-Type", s.contentType)
	if f.encoding != "" {
		header.Set("Content-Encoding", f.encoding)
	}
	if f.size >= 0 {
		header.Set("Content-Length", fmt.Sprint(f.size))
	}
	if r.Method == http.MethodHead {
		return
	}
	_, _ = io.Copy(w, body) // the reader went away
}

func (h *Handler) open(f form) (io.ReadCloser, error) {
	if f.data != nil {
		return io.NopCloser(bytes.NewReader(f.data)), nil
	}
	file, err := h.files.Open(f.name)
	if err != nil || !f.unpack {
		return file, err
	}
	z, err := gzip.NewReader(file)
	if err != nil {
		file.Close()
		return nil, err
	}
	return unpacked{z, file}, nil
}

// unpacked closes the file that a gzip.Reader reads from.
type unpacked struct {
	io.Reader
	io.Closer
}
