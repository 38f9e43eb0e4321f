// Package camera makes pictures of QR codes, as a phone's camera sees them, and reads
// them by the web app's own reader under Node. It is for tests, and no part of the
// product.
package camera

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Read returns the text of the QR code in each picture; empty where none was found.
func Read(t testing.TB, pictures ...*image.Gray) []string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	here := filepath.Dir(file)
	dir := t.TempDir()
	static := filepath.Join(here, "../../web/phone/static")
	for to, from := range map[string]string{
		"read.js": filepath.Join(here, "testdata/read.js"), "reader.js": filepath.Join(static, "reader.js"),
		"qr/decode.js": filepath.Join(static, "qr/decode.js"), "qr/index.js": filepath.Join(static, "qr/index.js"),
	} {
		copyFile(t, filepath.Join(dir, to), from)
	}
	// A page says of each script that it is a module; Node wants to be told once.
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"type": "module"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var input, stderr bytes.Buffer
	for _, p := range pictures {
		size := binary.LittleEndian.AppendUint32(nil, uint32(p.Rect.Dx()))
		input.Write(binary.LittleEndian.AppendUint32(size, uint32(p.Rect.Dy())))
		input.Write(p.Pix)
	}
	cmd := exec.Command("node", "read.js")
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, &input, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node (`make setup` installs it): %v\n%s", err, stderr.String())
	}
	var texts []string
	for line := range bytes.Lines(out) {
		var text string // null leaves it empty
		if err := json.Unmarshal(line, &text); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
	}
	if len(texts) != len(pictures) {
		t.Fatalf("%d answers for %d pictures", len(texts), len(pictures))
	}
	return texts
}

func copyFile(t testing.TB, to, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
