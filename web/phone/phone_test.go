package phone

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

const worker = "first\n" + workerMark + "\nlast\n"

// small is an app of three files, one of them built.
func small(t *testing.T) fstest.MapFS {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte("the signer"))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{
		"static/index.html":   {Data: []byte("page")},
		"static/sw.js":        {Data: []byte(worker)},
		"static/views/one.js": {Data: []byte("one")},
		"dist/.gitignore":     {Data: []byte("*")},
		"dist/vmux.wasm.gz":   {Data: packed.Bytes()},
		"dist/vmux.wasm.br":   {Data: []byte("as brotli")},
	}
}

func hash(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

// A release can be compared by anybody who has sha256sum: the version is the
// hash of its output.
func TestVersionIsTheHashOfTheFiles(t *testing.T) {
	want := hash("page") + "  index.html\n" + hash(worker) + "  sw.js\n" +
		hash("one") + "  views/one.js\n" + hash("the signer") + "  vmux.wasm\n"
	if got, err := manifest(small(t)); err != nil || got != want {
		t.Errorf("the manifest is (%v)\n%swant\n%s", err, got, want)
	}
	b, err := New(small(t))
	if err != nil || b.version != hash(want) {
		t.Errorf("version %s, %v", b.version, err)
	}
}

func TestWorkerAndPageKnowTheirVersion(t *testing.T) {
	b, err := New(small(t))
	if err != nil {
		t.Fatal(err)
	}
	page, err := fs.ReadFile(b.files, "version.js")
	if err != nil || string(page) != `export const version = "`+b.version+"\";\n" {
		t.Errorf("version.js is %q, %v", page, err)
	}
	text, err := fs.ReadFile(b.files, "sw.js")
	m := regexp.MustCompile(`(?m)^const app = (.*);$`).FindSubmatch(text)
	if err != nil || m == nil {
		t.Fatalf("sw.js is %q, %v", text, err)
	}
	var list struct {
		Version string
		Files   map[string]string
	}
	if err := json.Unmarshal(m[1], &list); err != nil {
		t.Fatal(err)
	}
	// The worker is not in its own list: the browser keeps it.
	want := map[string]string{
		"index.html": hash("page"), "views/one.js": hash("one"),
		"vmux.wasm": hash("the signer"), "version.js": hash(string(page)),
	}
	if list.Version != b.version || fmt.Sprint(list.Files) != fmt.Sprint(want) {
		t.Errorf("sw.js names version %s of %v", list.Version, list.Files)
	}
}

func TestAnyChangeIsAnotherVersion(t *testing.T) {
	before, err := New(small(t))
	if err != nil {
		t.Fatal(err)
	}
	for name := range small(t) {
		if strings.HasSuffix(name, ".br") || strings.Contains(name, "/.") {
			continue
		}
		changed := small(t)
		changed["static/more.js"] = &fstest.MapFile{Data: changed[name].Data}
		if after, err := New(changed); err != nil || after.version == before.version {
			t.Errorf("another file beside %s: %v, version %s as before", name, err, after.version)
		}
	}
}

func TestWorkerWithoutAPlaceForTheList(t *testing.T) {
	files := small(t)
	files["static/sw.js"] = &fstest.MapFile{Data: []byte("no mark")}
	if _, err := New(files); err == nil {
		t.Error("a service worker without the list of files would never update")
	}
}

func TestFilesAreAFileSystem(t *testing.T) {
	b, err := New(small(t))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	err = fs.WalkDir(b.files, ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	want := "index.html sw.js version.js views/one.js vmux.wasm.br vmux.wasm.gz"
	if got := strings.Join(names, " "); err != nil || got != want {
		t.Errorf("the files are %s (%v), want %s", got, err, want)
	}
	if _, err := b.files.Open(".gitignore"); err == nil {
		t.Error("a hidden file is served")
	}
}

// What is embedded makes an app.
func TestEmbedded(t *testing.T) {
	if version := app().Version(); version != hash(app().list) {
		t.Errorf("version %s is not the hash of the manifest", version)
	}
	for _, name := range []string{"index.html", "sw.js", "version.js"} {
		if _, err := fs.Stat(Files(), name); err != nil {
			t.Error(err)
		}
	}
}

// Anybody can compute the version without a program of vmux.
func TestAppVersionScript(t *testing.T) {
	var stderr bytes.Buffer
	cmd := exec.Command("../../scripts/app-version.sh")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if want := app().list + "version " + app().Version() + "\n"; string(out) != want {
		t.Errorf("the script prints\n%swant\n%s", out, want)
	}
}
