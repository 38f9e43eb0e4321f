// Command build makes the parts of the web app that are compiled, into
// web/phone/dist: the wasm program, compressed, and Go's own support for them.
// Then it notes what a hub serves of all this, for `vmux hub verify`.
// `make build` runs it in the module's root. What has not changed is not
// compressed again: at this strength that takes most of a minute.
package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/andybalholm/brotli"

	"vmux/internal/hubpage"
)

// signer is compiled to dist/vmux.wasm.
const signer = "./cmd/vmux-phone-wasm"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

// distFolder is where the files go unless it is told otherwise: where web/phone
// embeds them.
const distFolder = "web/phone/dist"

// options are where the files go, and whether they are compressed: tests that
// change them often have no time for it, nor for building the app at all where it
// is only compared.
type options struct {
	to    string
	plain bool
	list  string
}

func run() error {
	var o options
	flag.StringVar(&o.to, "to", distFolder, "write to this folder")
	flag.BoolVar(&o.plain, "plain", false, "compress nothing")
	flag.StringVar(&o.list, "list", "", "build nothing, and only note what a hub serves of the app in this folder, into the file that -to names")
	flag.Parse()
	if o.list != "" {
		return note(o.list, o.to)
	}
	return o.build()
}

func (o options) build() error {
	temp, err := os.MkdirTemp("", "vmux-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := os.MkdirAll(o.to, 0o755); err != nil {
		return err
	}
	if err := errors.Join(o.support(), o.compile(filepath.Join(temp, "vmux"))); err != nil || o.to != distFolder {
		return err
	}
	return note("web/phone", hubpage.ListFile)
}

// compile builds the signer and compresses it, if it is another than the one that
// is there.
func (o options) compile(wasm string) error {
	// Not the revision, which would make the app another one at each commit, and where the
	// source came without git.
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", wasm, signer)
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", signer, err, out)
	}
	b, err := os.ReadFile(wasm)
	if err != nil {
		return err
	}
	target := filepath.Join(o.to, "vmux.wasm")
	if o.plain {
		return replace(target, b)
	}
	if same(target, b) {
		return nil
	}
	// The .gz is what same looks at, so it is written last.
	if err := write(target+".br", b, func(w io.Writer) io.WriteCloser {
		// 8 MiB (RFC 7932 section 9.1): the program is longer than the usual window.
		return brotli.NewWriterOptions(w, brotli.WriterOptions{Quality: brotli.BestCompression, LGWin: 23})
	}); err != nil {
		return err
	}
	return write(target+".gz", b, func(w io.Writer) io.WriteCloser {
		z, _ := gzip.NewWriterLevel(w, gzip.BestCompression) // the level is a valid one
		return z
	})
}

// same reports whether target, compressed both ways, is what b is.
func same(target string, b []byte) bool {
	if _, err := os.Stat(target + ".br"); err != nil {
		return false
	}
	f, err := os.Open(target + ".gz")
	if err != nil {
		return false
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return false
	}
	old, err := io.ReadAll(z)
	return err == nil && bytes.Equal(old, b)
}

func write(path string, b []byte, compressor func(io.Writer) io.WriteCloser) error {
	var packed bytes.Buffer
	w := compressor(&packed)
	if _, err := w.Write(b); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return replace(path, packed.Bytes())
}

// support copies what Go needs of JavaScript, from the very version that
// compiles.
func (o options) support() error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js"))
	if err != nil {
		return err
	}
	return replace(filepath.Join(o.to, "wasm_exec.js"), b)
}

// replace writes a file as a whole: a hub may be compiled meanwhile.
func replace(path string, b []byte) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
