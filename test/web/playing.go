package web

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"vmux/web/phone"
)

// preload is the line of index.html that fetches the signer early, which the
// playing core has none of.
var preload = regexp.MustCompile(`.*rel="preload" href="vmux.wasm".*\n`)

// PlayingApp is the app from the source tree, with a core that plays the part of
// the signer, and with changes to its files by name.
func PlayingApp(t TB, changes map[string]string) fs.FS {
	t.Helper()
	dir := t.TempDir()
	static := filepath.Join(dir, "static")
	err := os.CopyFS(static, os.DirFS(filepath.Join(root, "web/phone/static")))
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "dist"), 0o700)
	}
	write := func(name string, data []byte) {
		if err == nil {
			err = os.WriteFile(filepath.Join(static, name), data, 0o600)
		}
	}
	core, coreErr := os.ReadFile(filepath.Join(root, "web/phone/testdata/fakecore.js"))
	index, indexErr := os.ReadFile(filepath.Join(root, "web/phone/static/index.html"))
	if coreErr != nil || indexErr != nil {
		t.Fatalf("%v, %v", coreErr, indexErr)
	}
	write("core.js", core)
	write("index.html", preload.ReplaceAll(index, nil))
	for name, text := range changes {
		write(name, []byte(text))
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	return os.DirFS(dir)
}

// StartPlayingHub serves PlayingApp until the test ends.
func StartPlayingHub(t TB) *Hub {
	t.Helper()
	return startHub(t, PlayingApp(t, nil))
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
