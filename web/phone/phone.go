// Package phone is the phone web app as files, the way a hub serves them, and
// the version that these files make. No code of the app runs here: it runs in a
// browser. What needs no building lies in static; `make build` puts the signer,
// compiled to WebAssembly, into dist.
package phone

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"vmux/internal/hub/webapp"
)

// ContentSecurityPolicy is the header under which the app works, and the only
// one that a hub should serve it with: that of any app, and no text that becomes
// markup.
const ContentSecurityPolicy = webapp.Policy + "; require-trusted-types-for 'script'; trusted-types vmux"

// The two files that are made when they are asked for: both name the version,
// so neither can be part of it.
const (
	versionFile = "version.js"
	workerFile  = "sw.js"
)

// workerMark is the line of static/sw.js that the list of files replaces.
const workerMark = "const app = { version: '', files: {} };"

//go:embed static all:dist
var embedded embed.FS

// App is the app's files put together.
type App struct {
	files   *tree
	version string
	list    string // as sha256sum writes it
}

var app = sync.OnceValue(func() *App {
	a, err := New(embedded)
	if err != nil {
		panic("phone: " + err.Error()) // what is embedded was there when this was compiled
	}
	return a
})

// Files are the files of the app that this program holds; see App.Files.
func Files() fs.FS { return app().Files() }

// Built reports whether this program holds the signer. Without it, as on a
// fresh clone before `make build`, the page can only say so.
func Built() bool {
	_, err := fs.Stat(embedded, "dist/vmux.wasm.gz")
	return err == nil
}

// New puts an app together from the folders static and dist of a file system.
func New(from fs.FS) (*App, error) {
	list, err := manifest(from)
	if err != nil {
		return nil, err
	}
	a := &App{
		files:   &tree{from: from, made: map[string][]byte{}},
		version: fmt.Sprintf("%x", sha256.Sum256([]byte(list))),
		list:    list,
	}
	return a, a.addVersion()
}

// Files returns the app's files under the names they are served by. Next to a
// compressed file NAME.br or NAME.gz there is no NAME: it is served under that
// name with the Content-Encoding br or gzip.
func (a *App) Files() fs.FS { return a.files }

// Version returns the app's version: 64 hexadecimal digits, the SHA-256 of the
// manifest.
func (a *App) Version() string { return a.version }

// addVersion tells page and service worker what they consist of. The browser
// looks for a new version by comparing the service worker's bytes, so the
// version must be among these.
func (a *App) addVersion() error {
	files := map[string]string{}
	for line := range strings.Lines(a.list) {
		hash, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if name != workerFile { // the browser keeps that one itself
			files[name] = hash
		}
	}
	page := []byte("export const version = \"" + a.version + "\";\n")
	files[versionFile] = fmt.Sprintf("%x", sha256.Sum256(page))
	a.files.made[versionFile] = page

	contents, err := json.Marshal(map[string]any{"version": a.version, "files": files})
	if err != nil {
		return err
	}
	worker, err := fs.ReadFile(a.files, workerFile)
	if err != nil {
		return err
	}
	before, after, found := bytes.Cut(worker, []byte(workerMark))
	if !found {
		return fmt.Errorf("%s has no place for the list of files", workerFile)
	}
	a.files.made[workerFile] = slices.Concat(before, []byte("const app = "), contents, []byte(";"), after)
	return nil
}

// manifest lists the app's files as sha256sum writes them, sorted by name: one
// "HEX  NAME" a line. Compressed files are listed as what they contain, and sw.js as
// it stands in the repository, before the list is put into it.
func manifest(from fs.FS) (string, error) {
	hashes := map[string]string{}
	err := each(from, func(name string, data []byte) error {
		if strings.HasSuffix(name, ".br") { // the same as its .gz, which can be read here
			return nil
		}
		h := sha256.New()
		if err := unpack(h, name, data); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		hashes[plainName(name)] = hex.EncodeToString(h.Sum(nil))
		return nil
	})
	var list strings.Builder
	for _, name := range slices.Sorted(maps.Keys(hashes)) {
		fmt.Fprintf(&list, "%s  %s\n", hashes[name], name)
	}
	return list.String(), err
}

func unpack(to io.Writer, name string, data []byte) error {
	var from io.Reader = bytes.NewReader(data)
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(from)
		if err != nil {
			return err
		}
		from = z
	}
	_, err := io.Copy(to, from)
	return err
}

// each visits the files of static and dist by the name they are served under.
func each(from fs.FS, visit func(name string, data []byte) error) error {
	for _, root := range []string{"static", "dist"} {
		err := fs.WalkDir(from, root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
				return err
			}
			data, err := fs.ReadFile(from, path)
			if err != nil {
				return err
			}
			return visit(strings.TrimPrefix(path, root+"/"), data)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func plainName(name string) string {
	return strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".br")
}
