package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/andybalholm/brotli"
)

// maxDownload bounds what each visitor of the web app downloads of the signer,
// in bytes, compressed with brotli. Reading and showing sudo's challenges is 8,000 of it,
// the vault that a passphrase opens 13,000, and the age format of a backup 116,000: 83,000
// for regexp, which age compiles one expression by at each start, and 8,000 for hpke.
// Brotli's own choices make 8,000 more or less of a program that is no larger: 13,755,793
// bytes became 2,489,834, and 13,754,467 became 2,498,071.
const maxDownload = 2_505_000

// What make build leaves is what this tree builds, in both compressions, and
// small enough. It is built here, since a copy that is there may be an old one.
func TestSignerIsSmall(t *testing.T) {
	t.Chdir("../../..")
	o := options{to: t.TempDir()}
	// In a process of its own: the race detector would make compressing last
	// ten times as long.
	if out, err := exec.Command("go", "run", "./web/phone/build", "-to", o.to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	packed, err := os.ReadFile(filepath.Join(o.to, "vmux.wasm.br"))
	if err != nil {
		t.Fatal(err)
	}
	if len(packed) > maxDownload {
		t.Errorf("the signer is %d bytes, over %d", len(packed), maxDownload)
	}
	t.Logf("%d bytes", len(packed))
	fromBrotli, err := io.ReadAll(brotli.NewReader(bytes.NewReader(packed)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(o.to, "vmux.wasm.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	fromGzip, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(fromBrotli, fromGzip) {
		t.Errorf("the two compressions differ: %v", err)
	}
	if !same(filepath.Join(o.to, "vmux.wasm"), fromGzip) || same(filepath.Join(o.to, "vmux.wasm"), fromGzip[1:]) {
		t.Error("a file that has not changed is not known again")
	}
}
