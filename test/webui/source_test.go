package webui

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"vmux/test/browser"
	"vmux/web/phone"
)

// Node's types are checked for the app, and for what stands in places of it in tests.
func TestTypes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	web := os.DirFS(filepath.Join(root, "web/phone"))
	for name, place := range map[string]string{"static": "static", "types": "types", "testdata": "static"} {
		sub, err := fs.Sub(web, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(dir, place), sub); err != nil {
			t.Fatal(err)
		}
	}
	config, err := fs.ReadFile(web, "tsconfig.json")
	if err != nil {
		t.Fatal(err)
	}
	version, err := fs.ReadFile(phone.Files(), "version.js")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"tsconfig.json": config, "static/version.js": version} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tsc, err := filepath.Abs(filepath.Join(root, ".cache/npm/node_modules/typescript/bin/tsc"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if out, err := program(ctx, dir, "node", tsc, "-p", "."); err != nil {
		t.Errorf("tsc (`make setup` installs it): %v\n%s", err, out)
	}
}

// Text never becomes markup or code: what could do so is in no file.
func TestNothingParsesText(t *testing.T) {
	t.Parallel()
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|\beval\(|new Function|setAttribute\('style'|javascript:`)
	static := os.DirFS(filepath.Join(root, "web/phone/static"))
	err := fs.WalkDir(static, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".js" {
			return err
		}
		text, err := fs.ReadFile(static, path)
		if found := forbidden.Find(text); found != nil {
			t.Errorf("%s has %s", path, found)
		}
		if strings.HasPrefix(path, "qr/") {
			return err // a library, as it is: what it does is its own tests' and test/camera's
		}
		if !strings.HasPrefix(string(text), "// @ts-check\n") {
			t.Errorf("%s does not begin with // @ts-check", path)
		}
		if n := strings.Count(string(text), "\n"); n > 600 {
			t.Errorf("%s has %d lines, more than 600", path, n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := fs.ReadFile(static, "index.html")
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script(\s[^>]*)?>[^<]|https?://`).Find(page); found != nil {
		t.Errorf("index.html has %q", found)
	}
}

// A browser asks for all modules at once, also for those that others import.
func TestModulesAreAskedForAtOnce(t *testing.T) {
	t.Parallel()
	imports := regexp.MustCompile(`(?m)^import (?:[^']* from )?'(\.[^']+)';`)
	want := []string{"wasm_exec.js"} // of core.js, when it begins
	for queue := []string{"app.js"}; len(queue) > 0; queue = queue[1:] {
		text, err := fs.ReadFile(phone.Files(), queue[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range imports.FindAllStringSubmatch(string(text), -1) {
			if name := path.Join(path.Dir(queue[0]), m[1]); !slices.Contains(want, name) {
				want, queue = append(want, name), append(queue, name)
			}
		}
	}
	page, err := fs.ReadFile(phone.Files(), "index.html")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile(`<link rel="modulepreload" href="([^"]+)">`).FindAllStringSubmatch(string(page), -1) {
		got = append(got, m[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("index.html has modulepreload for\n%s, and what is imported is\n%s", got, want)
	}
}

// icons are those that the manifest, iOS and notifications want, in pixels.
var icons = []struct {
	name string
	size int64
	html string // what is drawn, on a page of that size
}{
	{"icon-192.png", 192, `<img src="icon.svg">`},
	{"icon-512.png", 512, `<img src="icon.svg">`},
	// No transparent corners: iOS fills them with black.
	{"apple-touch-icon.png", 180, filled + `"padding:20%"><img src="badge.svg">`},
	// Android cuts a circle out of it: the drawing is inside 80 %.
	{"maskable-512.png", 512, filled + `"padding:24%"><img src="badge.svg">`},
	{"badge.png", 96, `<img src="badge.svg">`},
}

// filled is a page with the ground of icon.svg to its edges.
const filled = `<style>body{background:linear-gradient(135deg,#5b6cff,#2a2fb8)}</style><body style=`

// The pictures are drawn by the browser, from icon.svg; -write draws them anew.
func TestIcons(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(root, "web/phone/static/icons")
	for _, icon := range icons {
		if *write {
			drawIcon(t, folder, icon.name, icon.size, icon.html)
		}
		checkPNG(t, filepath.Join(folder, icon.name), int(icon.size), int(icon.size))
	}
	text, err := os.ReadFile(filepath.Join(root, "web/phone/static/manifest.webmanifest"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Icons []struct{ Src, Sizes, Purpose string }
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	for _, i := range manifest.Icons {
		if _, err := os.Stat(filepath.Join(folder, "..", i.Src)); err != nil {
			t.Error(err)
		}
	}
}

func drawIcon(t *testing.T, folder, name string, size int64, html string) {
	t.Helper()
	absolute, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "icon.html")
	text := fmt.Sprintf(`<!doctype html><base href="file://%s/"><style>html,body{margin:0;block-size:100%%;box-sizing:border-box}img{display:block;inline-size:100%%;block-size:100%%}</style>%s`, absolute, html)
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := open(t, startPictures(t), view{})
	p.look(view{width: size, height: size})
	p.scale(size)
	p.Go("file://" + page)
	browser.SavePNG(t, filepath.Join(folder, name), p.Picture())
}

// Browsers that can install the app find nothing in its way.
func TestInstallable(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	p := open(t, h, view{})
	p.WaitFor("navigator.serviceWorker.controller")
	if errors := p.installabilityErrors(); len(errors) != 0 {
		t.Errorf("it cannot be installed: %v", errors)
	}
}
