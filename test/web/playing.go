package web

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing/fstest"

	"vmux/web/phone"
)

// idle is a program in WebAssembly that does nothing.
const idle = "\x00asm\x01\x00\x00\x00"

// NativeApp is the app from the source tree with a core that the tests have in their own
// process, and with changes to its files by name.
func NativeApp(changes map[string]string) (fs.FS, error) {
	app, err := sources("native.js", "dist/wasm_exec.js")
	for name, text := range changes {
		app["static/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	return app, err
}

// Pictures is the app from the source tree with states that are there to be looked at.
func Pictures() (fs.FS, error) { return sources("pictures.js", "static/core.js") }

// sources are the app's files, with one of testdata in a place.
func sources(double, place string) (fstest.MapFS, error) {
	app := fstest.MapFS{"dist/vmux.wasm": {Data: []byte(idle)}, "dist/wasm_exec.js": {}} // both are asked for at once
	tree := os.DirFS(filepath.Join(root, "web/phone"))
	err := fs.WalkDir(tree, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(tree, name)
		app[name] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		return nil, err
	}
	data, err := fs.ReadFile(tree, "testdata/"+double)
	app[place] = &fstest.MapFile{Data: data}
	return app, err
}

// StartPictures serves Pictures until the test ends.
func StartPictures(t TB) *Hub {
	t.Helper()
	files, err := Pictures()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return startHub(t, files)
}

func startHub(t TB, files fs.FS) *Hub {
	t.Helper()
	app, err := phone.New(files)
	if err != nil {
		t.Fatalf("%v", err)
	}
	h := &Hub{t: t, app: app.Files(), state: t.TempDir(), port: "0"}
	h.Start()
	t.Cleanup(h.Stop)
	return h
}
